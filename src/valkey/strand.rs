//! From entries of a stream to messages that can be delivered.

use super::entry::{RawEntry, RawStrand};
use super::job::Strand;
use crate::api::delivery;
use crate::moment::Moment;
use crate::topic::{Draft, Message, Position, TopicHash, TopicName, TopicStore};

/// The messages of a strand that was read behind `behind`.
pub(super) fn frame(
    raw: &RawStrand,
    topic: &TopicName,
    behind: Position,
    store: &TopicStore,
    now: Moment,
) -> Strand {
    let begins_behind = begins_behind(raw, behind);
    let reached = raw
        .entries
        .last()
        .map_or(begins_behind, |entry| entry.position);
    let hash = TopicHash::of(topic.as_str());
    let mut frame = Vec::new();
    let framed = raw.entries.iter().filter_map(|entry| {
        let age = Age::of(entry, raw.now_millis, now)?;
        message(entry, topic, hash, &age, store, &mut frame)
    });
    Strand {
        messages: framed.collect(),
        begins_behind,
        reached,
        has_more: raw.has_more,
    }
}

/// Behind which position the stream holds everything, seen from `behind` on.
pub(super) fn begins_behind(raw: &RawStrand, behind: Position) -> Position {
    // The chain of predecessors: only what trimming took stands between an entry's and the one
    // that was read before it.
    let known = raw
        .entries
        .first()
        .map_or(raw.last, |entry| entry.predecessor);
    known.max(behind)
}

/// A message's times on the monotonic clock, in microseconds.
struct Age {
    stored_at: u64,
    expires_at: u64,
}

impl Age {
    /// `None` when its `ttl` is over. Valkey's clock says how old it is.
    fn of(entry: &RawEntry, now_millis: u64, now: Moment) -> Option<Age> {
        let stored_millis = entry.position.millis();
        let age_millis = now_millis.saturating_sub(stored_millis);
        let expires_at = match entry.ttl {
            None => u64::MAX,
            Some(ttl) => {
                let left = stored_millis.saturating_add(ttl.saturating_mul(1_000));
                let left = left.checked_sub(now_millis).filter(|left| *left > 0)?;
                now.monotonic_micros
                    .saturating_add(left.saturating_mul(1_000))
            }
        };
        Some(Age {
            stored_at: now
                .monotonic_micros
                .saturating_sub(age_millis.saturating_mul(1_000)),
            expires_at,
        })
    }
}

fn message(
    entry: &RawEntry,
    topic: &TopicName,
    hash: TopicHash,
    age: &Age,
    store: &TopicStore,
    frame: &mut Vec<u8>,
) -> Option<Message> {
    frame.clear();
    let Some(layout) = delivery::restore(&entry.stored_part, topic.as_str(), frame) else {
        tracing::warn!("an entry of a topic's stream in Valkey is none of ours: it is left out");
        return None;
    };
    let draft = Draft::new(frame, layout, age.expires_at, store.budget());
    Some(store.cold_message(hash, entry.position, draft, age.stored_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(millis: u64, predecessor: u64, ttl: Option<u64>) -> RawEntry {
        RawEntry {
            position: Position::new(millis, 0),
            predecessor: Position::new(predecessor, 0),
            ttl,
            stored_part: Vec::new(),
        }
    }

    #[test]
    fn a_stream_begins_behind_what_its_first_entry_names() {
        let strand = |entries: Vec<RawEntry>, last| RawStrand {
            entries,
            has_more: false,
            last: Position::new(last, 0),
            now_millis: 0,
        };
        let at = |millis| Position::new(millis, 0);
        for (raw, behind, expected) in [
            (strand(vec![entry(5, 4, None)], 5), 2, 4),
            (strand(vec![entry(5, 4, None)], 5), 4, 4),
            (strand(vec![entry(9, 2, None)], 9), 4, 4),
            (strand(vec![entry(1, 0, None)], 1), 0, 0),
            (strand(vec![], 7), 3, 7),
            (strand(vec![], 0), 3, 3),
        ] {
            assert_eq!(begins_behind(&raw, at(behind)), at(expected), "{raw:?}");
        }
    }

    #[test]
    fn ages_are_measured_by_valkeys_clock() {
        let now = Moment {
            wall_micros: 0,
            monotonic_micros: 50_000_000,
        };
        let age = |ttl| Age::of(&entry(1_000_000, 0, ttl), 1_010_000, now);
        let forever = age(None).unwrap();
        assert_eq!(
            (forever.stored_at, forever.expires_at),
            (40_000_000, u64::MAX)
        );
        assert_eq!(age(Some(15)).unwrap().expires_at, 55_000_000);
        assert!(age(Some(10)).is_none() && age(Some(1)).is_none());
        assert_eq!(age(Some(u64::MAX)).unwrap().expires_at, u64::MAX);
        // Valkey's clock stepped back.
        let ahead = Age::of(&entry(1_000_000, 0, Some(1)), 999_000, now).unwrap();
        assert_eq!(
            (ahead.stored_at, ahead.expires_at),
            (50_000_000, 52_000_000)
        );
    }
}
