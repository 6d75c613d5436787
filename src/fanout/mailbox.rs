//! A bounded ring of news from one worker to another. It carries topics, never messages.

use std::sync::Arc;

use super::doorbell::Doorbell;
use super::sync::{Consumer, Producer, RingBuffer};

/// The sending end.
#[derive(Debug)]
pub struct Sender {
    #[cfg(not(loom))]
    ring: Producer<u32>,
    #[cfg(loom)]
    ring: Producer,
    doorbell: Arc<Doorbell>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver {
    #[cfg(not(loom))]
    ring: Consumer<u32>,
    #[cfg(loom)]
    ring: Consumer,
}

/// A ring for `capacity` items to the owner of `doorbell`.
pub fn mailbox(capacity: usize, doorbell: Arc<Doorbell>) -> (Sender, Receiver) {
    let (producer, consumer) = RingBuffer::new(capacity);
    (
        Sender {
            ring: producer,
            doorbell,
        },
        Receiver { ring: consumer },
    )
}

impl Sender {
    /// Puts an item into the ring, or, when that is full, asks the owner to look at all its topics:
    /// nothing is lost either way. The owner learns of it when [`Sender::ring`] is called.
    pub fn push(&mut self, item: u32) {
        if self.ring.push(item).is_err() {
            self.doorbell.ask_to_look_at_all();
        }
    }

    /// Whether the owner must be woken to see what was pushed.
    #[must_use]
    pub fn ring(&self) -> bool {
        self.doorbell.ring()
    }
}

impl Receiver {
    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<u32> {
        self.ring.pop().ok()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_falls_back_when_full() {
        let doorbell = Arc::new(Doorbell::default());
        let (mut sender, mut receiver) = mailbox(2, Arc::clone(&doorbell));
        for item in [1, 2] {
            sender.push(item);
        }
        assert!(!doorbell.take_look_at_all());
        sender.push(3);
        assert_eq!(
            (receiver.pop(), receiver.pop(), receiver.pop()),
            (Some(1), Some(2), None)
        );
        assert!(doorbell.take_look_at_all() && !doorbell.take_look_at_all());
    }

    #[test]
    fn rings_a_sleeper_once() {
        let doorbell = Arc::new(Doorbell::default());
        let (sender, _receiver) = mailbox(2, Arc::clone(&doorbell));
        assert!(!sender.ring(), "awake");
        doorbell.prepare_to_sleep();
        assert!(sender.ring() && !sender.ring());
        doorbell.prepare_to_sleep();
        doorbell.wake_up();
        assert!(!sender.ring(), "awake again");
    }
}
