//! Whether every message comes once and in order, and how often it does not.

use std::ops::Range;

use serde::Serialize;

use super::report::printable;

/// Gaps of one publisher and subscriber that are remembered. What comes late out of one that is forgotten
/// counts as doubled instead of misordered.
const GAPS_MAX: usize = 1024;

/// What was not as it must be, warm-up included.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Debug)]
pub struct Faults {
    /// Deliveries that are missing: accepted messages times those who should have had them.
    pub lost: u64,
    /// Deliveries of what was there before.
    pub doubled: u64,
    /// Deliveries behind a later message of the same publisher and topic.
    pub misordered: u64,
    /// Deliveries that nobody asked for: of another topic, or not of this run.
    pub unexpected: u64,
    /// Messages that the server did not accept.
    pub refused: u64,
    /// Messages without an answer when waiting for it was over.
    pub unanswered: u64,
    /// Connections that the server has ended.
    pub disconnected: u64,
    /// The first of them in words.
    pub first: Option<String>,
}

impl Faults {
    /// Whether there are none.
    pub fn is_clean(&self) -> bool {
        *self == Faults::default()
    }

    /// Remembers the first in words; says so as a function, since making them costs time.
    pub fn note(&mut self, words: impl FnOnce() -> String) {
        self.first.get_or_insert_with(|| printable(&words()));
    }

    /// Those that there are, in words; none if nothing went wrong.
    pub(super) fn words(&self) -> Vec<String> {
        let counts = [
            (self.lost, "lost"),
            (self.doubled, "doubled"),
            (self.misordered, "out of order"),
            (self.unexpected, "unexpected"),
            (self.refused, "refused"),
            (self.unanswered, "unanswered"),
            (self.disconnected, "connections ended by the server"),
        ];
        let there = counts.iter().filter(|(count, _)| *count > 0);
        there
            .map(|(count, what)| format!("{count} {what}"))
            .collect()
    }
}

/// The numbers of one publisher that have come to one subscriber.
#[derive(Clone, Default, Debug)]
pub struct Lane {
    /// The number after the highest that has come.
    next: u64,
    /// What is missing below, in order, without overlap; at most [`GAPS_MAX`].
    gaps: Vec<Range<u64>>,
}

/// How a message came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// In its place, or behind some that are missing so far.
    New,
    /// Behind a later one.
    Misordered,
    /// Once more.
    Doubled,
}

impl Lane {
    /// Takes note of message `number`.
    pub fn take(&mut self, number: u64) -> Arrival {
        if number == self.next {
            self.next += 1;
            return Arrival::New;
        }
        if number > self.next {
            if self.gaps.len() == GAPS_MAX {
                self.gaps.remove(0);
            }
            self.gaps.push(self.next..number);
            self.next = number + 1;
            return Arrival::New;
        }
        let Some(index) = self.gaps.iter().position(|gap| gap.contains(&number)) else {
            return Arrival::Doubled;
        };
        let Range { start, end } = self.gaps[index].clone();
        let rest = [start..number, number + 1..end];
        let rest = rest.into_iter().filter(|gap| !gap.is_empty());
        self.gaps.splice(index..=index, rest);
        if self.gaps.len() > GAPS_MAX {
            self.gaps.remove(0);
        }
        Arrival::Misordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn taken(numbers: &[u64]) -> Vec<Arrival> {
        let mut lane = Lane::default();
        numbers.iter().map(|number| lane.take(*number)).collect()
    }

    #[test]
    fn in_order_is_new() {
        assert_eq!(taken(&[0, 1, 2]), [Arrival::New; 3]);
    }

    #[test]
    fn what_is_lost_leaves_a_gap_and_no_more() {
        assert_eq!(taken(&[0, 5, 6]), [Arrival::New; 3]);
    }

    #[test]
    fn what_comes_twice_is_doubled() {
        let arrivals = taken(&[0, 1, 1, 0, 3, 3]);
        let expected = [
            Arrival::New,
            Arrival::New,
            Arrival::Doubled,
            Arrival::Doubled,
            Arrival::New,
            Arrival::Doubled,
        ];
        assert_eq!(arrivals, expected);
    }

    #[test]
    fn what_comes_late_is_misordered_once() {
        let arrivals = taken(&[4, 2, 2, 0, 1, 3, 3]);
        let expected = [
            Arrival::New,
            Arrival::Misordered,
            Arrival::Doubled,
            Arrival::Misordered,
            Arrival::Misordered,
            Arrival::Misordered,
            Arrival::Doubled,
        ];
        assert_eq!(arrivals, expected);
    }

    #[test]
    fn gaps_are_bounded() {
        let mut lane = Lane::default();
        for number in (1..).step_by(2).take(GAPS_MAX + 10) {
            lane.take(number);
        }
        assert_eq!(lane.gaps.len(), GAPS_MAX);
        assert_eq!(lane.take(0), Arrival::Doubled, "forgotten");
        assert_eq!(lane.take(20), Arrival::Misordered);
    }

    proptest! {
        /// The obvious twin remembers everything.
        #[test]
        fn arrivals_are_those_of_a_set(numbers in proptest::collection::vec(0_u64..40, 0..80)) {
            let (mut lane, mut seen) = (Lane::default(), BTreeSet::new());
            for number in numbers {
                let expected = match seen.last() {
                    _ if seen.contains(&number) => Arrival::Doubled,
                    Some(last) if *last > number => Arrival::Misordered,
                    _ => Arrival::New,
                };
                prop_assert_eq!(lane.take(number), expected);
                seen.insert(number);
            }
        }
    }
}
