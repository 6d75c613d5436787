//! When to look at which connection again: a wheel of coarse ticks.
//!
//! A connection's deadline moves with nearly every event, so the wheel is lazy: an entry stays
//! where it is when the deadline moves back, and is put where it belongs when it comes up.

use super::slots::ConnectionKey;

/// Length of a tick, in microseconds. Deadlines are kept to within one.
pub(super) const TICK_MICROS: u64 = 50_000;

/// Ticks of one turn of the wheel: 51 s. What is due later comes up once a turn and is put back.
const BUCKETS: usize = 1024;

/// What a connection remembers of its entry in the wheel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Scheduled {
    /// The tick in which its one valid entry comes up; `u32::MAX` for none.
    tick: u32,
}

impl Default for Scheduled {
    fn default() -> Scheduled {
        Scheduled { tick: u32::MAX }
    }
}

/// The wheel of one worker.
#[derive(Debug)]
pub(super) struct Deadlines {
    buckets: Box<[Vec<ConnectionKey>]>,
    /// All ticks before this one have come up.
    next_tick: u32,
}

impl Deadlines {
    /// A wheel that begins at `now_micros`.
    pub(super) fn new(now_micros: u64) -> Deadlines {
        Deadlines {
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            next_tick: tick_of(now_micros),
        }
    }

    /// Makes sure that the connection comes up at `deadline` (monotonic microseconds) or before.
    pub(super) fn schedule(
        &mut self,
        key: ConnectionKey,
        scheduled: &mut Scheduled,
        deadline: u64,
    ) {
        // One tick later, so that what comes up is due.
        let tick = tick_of(deadline).saturating_add(1).max(self.next_tick);
        if scheduled.tick <= tick {
            return;
        }
        let tick = tick.min(self.next_tick + BUCKETS as u32 - 1);
        scheduled.tick = tick;
        self.buckets[tick as usize % BUCKETS].push(key);
    }

    /// Collects the keys whose time has come by `now_micros`, with the tick that they stood in. Each is to be looked up, its
    /// deadline compared with now, and scheduled again, after [`Deadlines::came_up`].
    pub(super) fn due(&mut self, now_micros: u64, due: &mut Vec<(ConnectionKey, u32)>) {
        let now = tick_of(now_micros);
        while self.next_tick <= now {
            let bucket = &mut self.buckets[self.next_tick as usize % BUCKETS];
            let tick = self.next_tick;
            due.extend(bucket.drain(..).map(|key| (key, tick)));
            // A burst must not leave its room behind.
            bucket.shrink_to(64);
            self.next_tick += 1;
        }
    }

    /// Whether the entry is the valid one; it is used up then.
    pub(super) fn came_up(scheduled: &mut Scheduled, tick: u32) -> bool {
        let valid = scheduled.tick == tick;
        if valid {
            *scheduled = Scheduled::default();
        }
        valid
    }

    /// Microseconds until the next tick with an entry, at most `most`.
    pub(super) fn wait(&self, now_micros: u64, most: u64) -> u64 {
        let ticks = most.div_ceil(TICK_MICROS).min(BUCKETS as u64) as u32;
        let occupied = (0..ticks).find(|ahead| {
            let tick = self.next_tick.wrapping_add(*ahead);
            !self.buckets[tick as usize % BUCKETS].is_empty()
        });
        let Some(ahead) = occupied else { return most };
        let at = u64::from(self.next_tick + ahead) * TICK_MICROS;
        at.saturating_sub(now_micros).min(most)
    }
}

fn tick_of(micros: u64) -> u32 {
    u32::try_from(micros / TICK_MICROS).unwrap_or(u32::MAX - BUCKETS as u32)
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slots;
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn comes_up_when_due_and_not_before() {
        let key = Slots::default().insert_with(|_| ());
        let mut wheel = Deadlines::new(0);
        let mut scheduled = Scheduled::default();
        wheel.schedule(key, &mut scheduled, 10 * SECOND);
        wheel.schedule(key, &mut scheduled, 20 * SECOND);
        let mut due = Vec::new();
        wheel.due(10 * SECOND - 1, &mut due);
        assert!(due.is_empty());
        wheel.due(10 * SECOND + TICK_MICROS, &mut due);
        assert_eq!(due.len(), 1, "later deadlines keep the entry");
        assert!(Deadlines::came_up(&mut scheduled, due[0].1));
        assert!(!Deadlines::came_up(&mut scheduled, due[0].1));
    }

    #[test]
    fn an_earlier_deadline_makes_the_later_entry_stale() {
        let key = Slots::default().insert_with(|_| ());
        let mut wheel = Deadlines::new(0);
        let mut scheduled = Scheduled::default();
        wheel.schedule(key, &mut scheduled, 20 * SECOND);
        wheel.schedule(key, &mut scheduled, 5 * SECOND);
        let mut due = Vec::new();
        wheel.due(30 * SECOND, &mut due);
        let valid = due
            .iter()
            .filter(|(_, tick)| Deadlines::came_up(&mut scheduled, *tick));
        assert_eq!(valid.count(), 1);
    }

    #[test]
    fn beyond_one_turn_comes_up_early_to_be_put_back() {
        let key = Slots::default().insert_with(|_| ());
        let mut wheel = Deadlines::new(0);
        let mut scheduled = Scheduled::default();
        wheel.schedule(key, &mut scheduled, 3600 * SECOND);
        assert!(wheel.wait(0, 100 * SECOND) <= BUCKETS as u64 * TICK_MICROS);
        let mut due = Vec::new();
        wheel.due(BUCKETS as u64 * TICK_MICROS, &mut due);
        assert_eq!(due.len(), 1);
    }

    #[test]
    fn waits_until_the_next_entry() {
        let key = Slots::default().insert_with(|_| ());
        let mut wheel = Deadlines::new(0);
        assert_eq!(wheel.wait(0, SECOND), SECOND);
        wheel.schedule(key, &mut Scheduled::default(), 200_000);
        assert_eq!(wheel.wait(0, SECOND), 250_000);
    }
}
