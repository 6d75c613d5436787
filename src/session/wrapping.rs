//! Deliveries that are not a message's own frame: the same bytes with others around them.

use std::ops::Range;

use crate::topic::Message;

/// A message as one client gets it: a part of its frame, with bytes of the client's own before and
/// behind. The frame's bytes are shared, never copied.
#[derive(Debug)]
pub struct Wrapping {
    message: Message,
    part: Range<usize>,
    /// Head and tail, one behind the other.
    around: Box<[u8]>,
    head_len: usize,
}

impl Wrapping {
    /// `part` of a message's frame between the first `head_len` bytes of `around` and the rest.
    pub(super) fn new(
        message: &Message,
        part: Range<usize>,
        around: &[u8],
        head_len: usize,
    ) -> Wrapping {
        debug_assert!(part.end <= message.frame().len() && head_len <= around.len());
        Wrapping {
            message: message.clone(),
            part,
            around: around.into(),
            head_len,
        }
    }

    /// The bytes in order.
    pub fn slices(&self) -> [&[u8]; 3] {
        let (head, tail) = self.around.split_at(self.head_len);
        [head, &self.message.frame()[self.part.clone()], tail]
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.around.len() + self.part.len()
    }

    /// How much memory it takes beside the message.
    pub fn own_bytes(&self) -> usize {
        size_of::<Wrapping>() + self.around.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
