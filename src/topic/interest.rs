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
    marks: Marks,
    local: LocalTopic,
    /// All messages up to this sequence have been read.
    read: u64,
}

/// A reader's worker (7 bits), its `pending` mark, and how many subscriptions its connections have
/// (24 bits): one word, since every topic has a reader or two.
#[derive(Clone, Copy, Debug)]
struct Marks(u32);

impl Marks {
    const PENDING: u32 = 1 << 7;
    const SUBSCRIPTION: u32 = 1 << 8;

    /// Those of a worker with one subscription.
    fn of(worker: WorkerIndex) -> Marks {
        debug_assert!(usize::from(worker) < WORKERS_MAX);
        Marks(u32::from(worker) | Self::SUBSCRIPTION)
    }

    fn worker(self) -> WorkerIndex {
        (self.0 & (Self::PENDING - 1)) as WorkerIndex
    }

    fn is_pending(self) -> bool {
        self.0 & Self::PENDING != 0
    }

    fn set_pending(&mut self) {
        self.0 |= Self::PENDING;
    }

    fn clear_pending(&mut self) {
        self.0 &= !Self::PENDING;
    }

    fn subscriptions(self) -> u32 {
        self.0 / Self::SUBSCRIPTION
    }

    /// One subscription more; a process has no descriptors for more than fit.
    fn join(&mut self) {
        self.0 = self.0.saturating_add(Self::SUBSCRIPTION);
    }

    fn leave(&mut self) {
        self.0 -= Self::SUBSCRIPTION * u32::from(self.subscriptions() > 0);
    }
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
            .find(|reader| reader.marks.worker() == worker)
            .map(|reader| reader.local)
    }

    /// Adds a reader that has read everything up to `read`, with its first subscription.
    pub(super) fn register(&mut self, worker: WorkerIndex, local: LocalTopic, read: u64) {
        debug_assert!(self.local(worker).is_none(), "a worker registers once");
        self.readers.push(Reader {
            marks: Marks::of(worker),
            local,
            read,
        });
        self.readers.shrink_to_fit();
    }

    /// One more connection of a reader subscribes.
    pub(super) fn join(&mut self, worker: WorkerIndex) {
        if let Some(reader) = self.reader_mut(worker) {
            reader.marks.join();
        }
    }

    /// A connection of a reader has gone, and the reader stays.
    pub(super) fn leave(&mut self, worker: WorkerIndex) {
        if let Some(reader) = self.reader_mut(worker) {
            reader.marks.leave();
        }
    }

    /// Subscriptions of all readers.
    pub(super) fn subscriptions(&self) -> u64 {
        let subscriptions = self
            .readers
            .iter()
            .map(|reader| reader.marks.subscriptions());
        subscriptions.map(u64::from).sum()
    }

    /// Removes a reader, and with it its mark.
    pub(super) fn drop_reader(&mut self, worker: WorkerIndex) {
        self.readers
            .retain(|reader| reader.marks.worker() != worker);
    }

    /// Collects those who have not been told yet and marks them.
    pub(super) fn tell(&mut self, news: &mut Vec<News>) {
        self.tell_some(u64::MAX, news);
    }

    /// As [`Interest::tell`], for those alone whose bits are set in `workers`.
    pub(super) fn tell_some(&mut self, workers: u64, news: &mut Vec<News>) {
        for reader in &mut self.readers {
            if !reader.marks.is_pending() && workers >> reader.marks.worker() & 1 == 1 {
                reader.marks.set_pending();
                news.push(News {
                    worker: reader.marks.worker(),
                    local: reader.local,
                });
            }
        }
    }

    /// What `worker` has read before; from now on it has read up to `sequence`, and its mark is
    /// cleared. `None` when it is no reader.
    pub(super) fn advance(&mut self, worker: WorkerIndex, sequence: u64) -> Option<u64> {
        let reader = self.reader_mut(worker)?;
        reader.marks.clear_pending();
        Some(std::mem::replace(&mut reader.read, sequence))
    }

    /// What `worker` has read.
    pub(super) fn read(&self, worker: WorkerIndex) -> Option<u64> {
        self.readers
            .iter()
            .find(|reader| reader.marks.worker() == worker)
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
            .find(|reader| reader.marks.worker() == worker)
    }
}
