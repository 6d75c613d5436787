//! What leaves the store without being asked for: what is too old, too much, idle or abandoned.

use smallvec::SmallVec;

use super::handle::TopicHandle;
use super::message::Message;
use super::shard::SlotKey;
use super::store::TopicStore;
use crate::moment::Moment;

/// Messages that one hold of a lock evicts at the most.
const EVICTIONS_PER_HOLD: usize = 1024;
/// Messages that one sweep evicts before the sockets have their turn again.
const EVICTIONS_PER_SWEEP: usize = 16 * EVICTIONS_PER_HOLD;
/// Slots that a sweep looks at in one hold of a lock.
const SWEEP_SLOTS_PER_HOLD: usize = 256;
/// Share of the byte budget that is freed beyond what is needed, so that eviction is not due again
/// with the next message.
const RELIEF_SHARE: u64 = 256;

impl TopicStore {
    /// Evicts what is due, drops abandoned consumers and frees idle topics in every `of`-th shard, beginning with `first`.
    /// Each worker sweeps its share on a timer. Returns whether more is due than one sweep takes:
    /// then the next should follow soon.
    pub fn sweep(&self, first: usize, of: usize, now: Moment) -> bool {
        let mut dropped = Vec::new();
        let mut evicted = 0;
        for index in (first..self.shards.len()).step_by(of.max(1)) {
            let mut from = Some(0);
            while let Some(slot) = from.filter(|_| evicted < EVICTIONS_PER_SWEEP) {
                from = self.sweep_slots(index as u16, slot, now, &mut dropped);
                evicted += dropped.len();
                dropped.clear();
            }
        }
        self.relieve(now.monotonic_micros, &mut dropped);
        evicted >= EVICTIONS_PER_SWEEP
    }

    /// Sweeps one run of slots, and says where the next begins: at the same slot when this hold of
    /// the lock has evicted its share.
    fn sweep_slots(
        &self,
        shard_index: u16,
        from: usize,
        now: Moment,
        dropped: &mut Vec<Message>,
    ) -> Option<usize> {
        let cell = &self.shards[shard_index as usize];
        let mut shard = cell.lock();
        let mut freed = Vec::new();
        let keys: SmallVec<[SlotKey; 16]> = shard.keys(from, SWEEP_SLOTS_PER_HOLD).collect();
        for key in keys {
            let Some(topic) = shard.get_mut(key) else {
                continue;
            };
            let (before, dropped_before) = (topic.history.bytes(), dropped.len());
            let most = EVICTIONS_PER_HOLD.saturating_sub(dropped.len());
            topic.evict(&self.limits.history, now.monotonic_micros, most, dropped);
            let after = topic.history.bytes();
            let retention = self.limits.client_retention;
            self.drop_abandoned(topic, retention, now.monotonic_micros);
            let is_idle = self.may_free(topic);
            cell.account(before, after, dropped.len() - dropped_before);
            if is_idle {
                freed.extend(self.free(&mut shard, TopicHandle::new(shard_index, key)));
            }
        }
        let next = if dropped.len() >= EVICTIONS_PER_HOLD {
            Some(from)
        } else {
            Some(from + SWEEP_SLOTS_PER_HOLD).filter(|next| *next < shard.slots())
        };
        if next.is_none() {
            // Once a sweep: it looks at every topic of the shard.
            cell.note_largest(shard.largest_bytes());
        }
        drop(shard);
        next
    }

    /// Brings the bytes in use below the bound, if history can: the oldest of the largest logs
    /// first, what live readers have not read last. Another worker that is at it suffices.
    pub(super) fn relieve(&self, now_micros: u64, dropped: &mut Vec<Message>) {
        if self.budget.excess() == 0 {
            return;
        }
        let Ok(_relief) = self.relief.try_lock() else {
            return;
        };
        let mut goal = self.budget.excess() + self.budget.bytes_max() / RELIEF_SHARE;
        for above_floor in [false, true] {
            let mut exhausted = vec![false; self.shards.len()];
            while goal > 0 {
                let Some(index) = self.largest_shard(&exhausted) else {
                    break;
                };
                let freed = self.trim_shard(index, goal, above_floor, now_micros, dropped);
                exhausted[index] = freed == 0;
                goal = goal.saturating_sub(freed);
            }
        }
    }

    fn largest_shard(&self, exhausted: &[bool]) -> Option<usize> {
        let bytes = |index: usize| self.shards[index].largest_bytes();
        let candidates = (0..self.shards.len()).filter(|index| !exhausted[*index]);
        candidates
            .max_by_key(|index| bytes(*index))
            .filter(|index| bytes(*index) > 0)
    }

    fn trim_shard(
        &self,
        index: usize,
        goal: u64,
        above_floor: bool,
        now_micros: u64,
        dropped: &mut Vec<Message>,
    ) -> u64 {
        let cell = &self.shards[index];
        let mut shard = cell.lock();
        let freed = shard.trim_largest(goal, EVICTIONS_PER_HOLD, above_floor, now_micros, dropped);
        cell.account(freed, 0, dropped.len());
        cell.note_largest(shard.largest_bytes());
        drop(shard);
        dropped.clear();
        freed
    }
}
