//! How topics are found again without their names.

use super::shard::SlotKey;

/// Finds a topic without its name, as long as it exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicHandle {
    shard: u16,
    /// The slot and its generation, in halves: so a handle takes ten bytes, and what holds one has
    /// room for another small thing.
    slot: [u16; 2],
    generation: [u16; 2],
}

impl TopicHandle {
    pub(super) fn new(shard: u16, key: SlotKey) -> TopicHandle {
        let halves = |number: u32| [(number >> 16) as u16, number as u16];
        TopicHandle {
            shard,
            slot: halves(key.slot),
            generation: halves(key.generation),
        }
    }

    pub(super) fn shard(self) -> u16 {
        self.shard
    }

    pub(super) fn key(self) -> SlotKey {
        let whole = |[high, low]: [u16; 2]| u32::from(high) << 16 | u32::from(low);
        SlotKey {
            slot: whole(self.slot),
            generation: whole(self.generation),
        }
    }
}

/// Where a topic stands: a handle without the generation, so that the index by hash takes 16 bytes a
/// topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) slot: u32,
    pub(super) shard: u16,
}
