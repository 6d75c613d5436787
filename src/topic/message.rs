//! Messages: framed once before they are stored, shared by reference ever after.

use std::sync::OnceLock;

use triomphe::ThinArc;

use super::budget::{Budget, Charge};
use super::history::Place;
use super::id::{MessageId, Position};

/// Bytes that a message costs beside its frame: the header, the allocation's own, the log's slot.
pub const MESSAGE_OVERHEAD_BYTES: usize = 128;

/// Bytes that a compressed frame costs beside itself: counts, charge, the allocation's own.
const COMPRESSED_OVERHEAD_BYTES: usize = 48;

/// A stored message: one allocation that history, fan-out and outboxes share. Cloning counts a
/// reference; the bytes are never copied.
#[derive(Clone, Debug)]
pub struct Message(ThinArc<Header, u8>);

#[derive(Debug)]
struct Header {
    sequence: u64,
    position: Position,
    /// Monotonic microseconds.
    stored_at: u64,
    /// Monotonic microseconds; `u64::MAX` for messages without a `ttl`.
    expires_at: u64,
    charge: Charge,
    /// Made on first need; `None` inside when there is no use in it. Its one owner is this header:
    /// the count of references makes it a pointer of eight bytes.
    compressed: OnceLock<Option<ThinArc<Charge, u8>>>,
}

// Every message has one, compressed or not.
const _: () = assert!(size_of::<Header>() <= MESSAGE_OVERHEAD_BYTES - 40);

impl Message {
    /// Place in the topic's log: dense, local to this process.
    pub fn sequence(&self) -> u64 {
        self.0.header.header.sequence
    }

    /// Place in the topic as the outside sees it.
    pub fn position(&self) -> Position {
        self.0.header.header.position
    }

    /// Both of these.
    pub(super) fn place(&self) -> Place {
        Place {
            sequence: self.sequence(),
            position: self.position(),
        }
    }

    /// When it was stored, in monotonic microseconds.
    pub fn stored_at(&self) -> u64 {
        self.0.header.header.stored_at
    }

    /// When its `ttl` ends, in monotonic microseconds; `u64::MAX` for never.
    pub fn expires_at(&self) -> u64 {
        self.0.header.header.expires_at
    }

    /// The whole WebSocket frame of its delivery.
    pub fn frame(&self) -> &[u8] {
        &self.0.slice
    }

    /// The whole compressed WebSocket frame of its delivery, if that was made and is of use.
    pub fn compressed_frame(&self) -> Option<&[u8]> {
        let made = self.0.header.header.compressed.get()?;
        made.as_ref().map(|made| &made.slice)
    }

    /// The same; the first who asks has it made from the plain frame, by `compress`, which says
    /// `None` when there is no use in it. Who asks meanwhile waits, since that is faster than to
    /// make it twice. It is counted in the byte budget, and not made while that is exceeded: then
    /// the plain frame has to do.
    pub fn compressed_frame_or(
        &self,
        compress: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Option<&[u8]> {
        let header = &self.0.header.header;
        let budget = header.charge.budget();
        if header.compressed.get().is_none() && budget.excess() == 0 {
            header.compressed.get_or_init(|| {
                let made = compress(self.frame())?;
                let charge = budget.charge(made.len() + COMPRESSED_OVERHEAD_BYTES);
                Some(ThinArc::from_header_and_slice(charge, &made))
            });
        }
        self.compressed_frame()
    }

    /// Bytes it costs while it lives, overhead included; without its compressed frame.
    pub fn cost(&self) -> u64 {
        self.0.header.header.charge.bytes()
    }
}

/// A message that is framed but not stored yet: it has one owner, and its id is a placeholder.
#[derive(Debug)]
pub struct Draft {
    message: Message,
    id_at: u32,
    topic_at: u32,
    topic_len: u32,
}

/// Where in a frame the parts stand that a topic needs to know.
#[derive(Clone, Copy, Debug)]
pub struct FrameLayout {
    /// First byte of the message id, [`MessageId::LEN`] bytes long.
    pub id_at: usize,
    /// First byte of the topic's name.
    pub topic_at: usize,
    /// Bytes of the topic's name.
    pub topic_len: usize,
}

impl Draft {
    /// Takes a frame with a placeholder for the id. `expires_at` is in monotonic microseconds,
    /// `u64::MAX` for never.
    ///
    /// # Panics
    /// When the layout points outside the frame or the name is not UTF-8.
    pub fn new(
        frame: &[u8],
        layout: FrameLayout,
        expires_at: u64,
        budget: &'static Budget,
    ) -> Draft {
        assert!(
            layout.id_at + MessageId::LEN <= frame.len(),
            "the id stands in the frame"
        );
        let name = &frame[layout.topic_at..layout.topic_at + layout.topic_len];
        debug_assert!(std::str::from_utf8(name).is_ok(), "a topic's name is UTF-8");
        let header = Header {
            sequence: 0,
            position: Position::ZERO,
            stored_at: 0,
            expires_at,
            charge: budget.charge(frame.len() + MESSAGE_OVERHEAD_BYTES),
            compressed: OnceLock::new(),
        };
        Draft {
            message: Message(ThinArc::from_header_and_slice(header, frame)),
            id_at: layout.id_at as u32,
            topic_at: layout.topic_at as u32,
            topic_len: layout.topic_len as u32,
        }
    }

    /// The name of the topic that it goes to.
    pub fn topic(&self) -> &str {
        std::str::from_utf8(self.topic_bytes()).expect("checked by Draft::new")
    }

    /// That name's bytes: cheaper where only equality or some order matters.
    pub fn topic_bytes(&self) -> &[u8] {
        let start = self.topic_at as usize;
        &self.message.frame()[start..start + self.topic_len as usize]
    }

    /// The frame, in which the id is still missing.
    pub fn frame(&self) -> &[u8] {
        self.message.frame()
    }

    /// When its `ttl` ends, in monotonic microseconds; `u64::MAX` for never.
    pub fn expires_at(&self) -> u64 {
        self.message.expires_at()
    }

    /// Bytes it costs.
    pub fn cost(&self) -> u64 {
        self.message.cost()
    }

    /// The message at its place: writes its id into the frame.
    pub(super) fn store(mut self, sequence: u64, id: &MessageId, stored_at: u64) -> Message {
        let id_at = self.id_at as usize;
        self.message.0.with_arc_mut(|shared| {
            let owned = triomphe::Arc::get_mut(shared).expect("a draft has one owner");
            let header = owned.header_mut();
            header.sequence = sequence;
            header.position = id.position;
            header.stored_at = stored_at;
            owned.slice_mut()[id_at..id_at + MessageId::LEN].copy_from_slice(&id.encode());
        });
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(budget: &'static Budget) -> Message {
        let frame = [b"xtopic".as_slice(), &[b'-'; MessageId::LEN]].concat();
        let layout = FrameLayout {
            id_at: 6,
            topic_at: 1,
            topic_len: 5,
        };
        let id = MessageId::parse(&"msg_0".replace('0', &"0".repeat(30))).unwrap();
        Draft::new(&frame, layout, u64::MAX, budget).store(7, &id, 0)
    }

    #[test]
    fn the_compressed_frame_is_made_once_and_counted() {
        let budget = Budget::new(1 << 20);
        let message = message(budget);
        let plain = budget.used_exactly();
        assert_eq!(message.compressed_frame(), None);
        let other = message.clone();
        let made = message.compressed_frame_or(|frame| Some(frame[..6].to_vec()));
        assert_eq!(made, Some(&b"xtopic"[..]));
        let again = other.compressed_frame_or(|_| panic!("made twice"));
        assert_eq!(again, Some(&b"xtopic"[..]));
        assert_eq!(other.compressed_frame(), Some(&b"xtopic"[..]));
        assert_eq!(
            budget.used_exactly(),
            plain + 6 + COMPRESSED_OVERHEAD_BYTES as u64
        );
        drop((message, other));
        assert_eq!(budget.used_exactly(), 0);
    }

    #[test]
    fn what_is_of_no_use_is_not_tried_again() {
        let budget = Budget::new(1 << 20);
        let message = message(budget);
        assert_eq!(message.compressed_frame_or(|_| None), None);
        assert_eq!(message.compressed_frame_or(|_| panic!("tried twice")), None);
        assert_eq!(message.cost(), budget.used_exactly());
    }

    #[test]
    fn none_is_made_while_the_budget_is_exceeded() {
        let budget = Budget::new(100);
        let message = message(budget);
        assert_eq!(message.compressed_frame_or(|_| panic!("too much")), None);
        // What is compressed already stays so.
        let budget = Budget::new(1 << 20);
        let message = self::message(budget);
        message.compressed_frame_or(|_| Some(vec![1]));
        let _more = budget.charge(2 << 20);
        assert_eq!(message.compressed_frame_or(|_| None), Some(&[1][..]));
    }
}
