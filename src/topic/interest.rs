//! Which workers want a topic's news, and who of them has been told.

use smallvec::SmallVec;

/// Most workers that a store can serve: a worker rings its peers by a word of bits.
pub const WORKERS_MAX: usize = 64;

/// A worker's number, below [`WORKERS_MAX`].
pub type WorkerIndex = u8;

/// What a worker calls a topic in its own index; the store hands it back with each news.
pub type LocalTopic = u32;

/// Readers of one topic: the workers with at least one subscription.
///
/// A reader's `pending` mark is set when news is sent to it and cleared, under the same lock, when
/// it reads the log: at most one item per topic and worker is under way.
#[derive(Default, Debug)]
pub(super) struct Interest {
    readers: SmallVec<[Reader; 1]>,
}

#[derive(Clone, Copy, Debug)]
struct Reader {
    worker: WorkerIndex,
    pending: bool,
    local: LocalTopic,
    /// Subscriptions of its connections.
    subscriptions: u32,
    /// All messages up to this sequence have been read.
    read: u64,
}

/// News for one worker: which of its topics has some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct News {
    /// Whom to tell.
    pub worker: WorkerIndex,
    /// What the worker calls the topic.
    pub local: LocalTopic,
}

impl Interest {
    /// Whether no worker reads this topic.
    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    /// The name that `worker` gave to the topic, if it reads it.
    pub(super) fn local(&self, worker: WorkerIndex) -> Option<LocalTopic> {
        self.readers
            .iter()
            .find(|reader| reader.worker == worker)
            .map(|reader| reader.local)
    }

    /// Adds a reader that has read everything up to `read`, with its first subscription.
    pub(super) fn register(&mut self, worker: WorkerIndex, local: LocalTopic, read: u64) {
        debug_assert!(self.local(worker).is_none(), "a worker registers once");
        self.readers.push(Reader {
            worker,
            pending: false,
            local,
            subscriptions: 1,
            read,
        });
        self.readers.shrink_to_fit();
    }

    /// One more connection of a reader subscribes.
    pub(super) fn join(&mut self, worker: WorkerIndex) {
        if let Some(reader) = self.reader_mut(worker) {
            reader.subscriptions += 1;
        }
    }

    /// A connection of a reader has gone, and the reader stays.
    pub(super) fn leave(&mut self, worker: WorkerIndex) {
        if let Some(reader) = self.reader_mut(worker) {
            reader.subscriptions = reader.subscriptions.saturating_sub(1);
        }
    }

    /// Subscriptions of all readers.
    pub(super) fn subscriptions(&self) -> u64 {
        let subscriptions = self.readers.iter().map(|reader| reader.subscriptions);
        subscriptions.map(u64::from).sum()
    }

    /// Removes a reader, and with it its mark.
    pub(super) fn drop_reader(&mut self, worker: WorkerIndex) {
        self.readers.retain(|reader| reader.worker != worker);
    }

    /// Collects those who have not been told yet and marks them.
    pub(super) fn tell(&mut self, news: &mut Vec<News>) {
        self.tell_some(u64::MAX, news);
    }

    /// As [`Interest::tell`], for those alone whose bits are set in `workers`.
    pub(super) fn tell_some(&mut self, workers: u64, news: &mut Vec<News>) {
        for reader in &mut self.readers {
            if !reader.pending && workers >> reader.worker & 1 == 1 {
                reader.pending = true;
                news.push(News {
                    worker: reader.worker,
                    local: reader.local,
                });
            }
        }
    }

    /// What `worker` has read before; from now on it has read up to `sequence`, and its mark is
    /// cleared. `None` when it is no reader.
    pub(super) fn advance(&mut self, worker: WorkerIndex, sequence: u64) -> Option<u64> {
        let reader = self.reader_mut(worker)?;
        reader.pending = false;
        Some(std::mem::replace(&mut reader.read, sequence))
    }

    /// What `worker` has read.
    pub(super) fn read(&self, worker: WorkerIndex) -> Option<u64> {
        self.readers
            .iter()
            .find(|reader| reader.worker == worker)
            .map(|reader| reader.read)
    }

    /// What the slowest reader has read; `u64::MAX` without readers.
    pub(super) fn floor(&self) -> u64 {
        self.readers
            .iter()
            .map(|reader| reader.read)
            .min()
            .unwrap_or(u64::MAX)
    }

    fn reader_mut(&mut self, worker: WorkerIndex) -> Option<&mut Reader> {
        self.readers
            .iter_mut()
            .find(|reader| reader.worker == worker)
    }
}
