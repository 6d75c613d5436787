//! Messages: framed once before they are stored, shared by reference ever after.

use triomphe::ThinArc;

use super::budget::{Budget, Charge};
use super::history::Place;
use super::id::{MessageId, Position};

/// Bytes that a message costs beside its frame: the header, the allocation's own, the log's slot.
pub const MESSAGE_OVERHEAD_BYTES: usize = 128;

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
}

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

    /// Bytes it costs while it lives, overhead included.
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
