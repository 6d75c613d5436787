//! What the mailboxes are made of: the real thing, or what `loom` can see into.

#[cfg(not(loom))]
pub(super) use {
    rtrb::{Consumer, Producer, RingBuffer},
    std::sync::atomic::{AtomicBool, Ordering, fence},
    std::sync::{Mutex, PoisonError},
};

#[cfg(loom)]
pub(super) use {
    loom::sync::Mutex,
    loom::sync::atomic::{AtomicBool, Ordering, fence},
    model::{Consumer, Producer, RingBuffer},
    std::sync::PoisonError,
};

/// A ring with the guarantees of `rtrb`'s and no more: an item is seen by who sees the tail behind
/// it. (A mutex would order pushing and looking, and hide a missing fence.)
#[cfg(loom)]
mod model {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug)]
    struct Shared {
        slots: Vec<AtomicUsize>,
        head: AtomicUsize,
        tail: AtomicUsize,
    }

    #[derive(Debug)]
    pub(in crate::fanout) struct RingBuffer;
    #[derive(Debug)]
    pub(in crate::fanout) struct Producer(Arc<Shared>);
    #[derive(Debug)]
    pub(in crate::fanout) struct Consumer(Arc<Shared>);

    impl RingBuffer {
        pub(in crate::fanout) fn new(capacity: usize) -> (Producer, Consumer) {
            let shared = Arc::new(Shared {
                slots: (0..capacity).map(|_| AtomicUsize::new(0)).collect(),
                head: AtomicUsize::new(0),
                tail: AtomicUsize::new(0),
            });
            (Producer(Arc::clone(&shared)), Consumer(shared))
        }
    }

    impl Producer {
        pub(in crate::fanout) fn push(&mut self, item: u32) -> Result<(), u32> {
            let tail = self.0.tail.load(Ordering::Relaxed);
            if tail - self.0.head.load(Ordering::Acquire) == self.0.slots.len() {
                return Err(item);
            }
            self.0.slots[tail % self.0.slots.len()].store(item as usize, Ordering::Relaxed);
            self.0.tail.store(tail + 1, Ordering::Release);
            Ok(())
        }
    }

    impl Consumer {
        pub(in crate::fanout) fn pop(&mut self) -> Result<u32, ()> {
            let head = self.0.head.load(Ordering::Relaxed);
            if head == self.0.tail.load(Ordering::Acquire) {
                return Err(());
            }
            let item = self.0.slots[head % self.0.slots.len()].load(Ordering::Relaxed);
            self.0.head.store(head + 1, Ordering::Release);
            Ok(item as u32)
        }

        pub(in crate::fanout) fn is_empty(&self) -> bool {
            self.0.head.load(Ordering::Relaxed) == self.0.tail.load(Ordering::Acquire)
        }
    }
}
