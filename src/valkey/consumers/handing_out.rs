//! What was claimed on Valkey, as consumers in memory hand it out: from there on a worker needs not
//! know where it comes from.

use super::{HandedOut, SharedClaim};
use crate::api::delivery;
use crate::moment::Moment;
use crate::topic::{
    Claim, Claimed, Claims, Draft, Gap, GapReason, Position, TopicHash, TopicName, TopicStore,
};

impl SharedClaim {
    /// Frames the messages and dates everything by the clocks of this process. Entries of the
    /// stream that nobody of ours has written are left out; their positions are returned, to be
    /// acknowledged, or they would come again for ever.
    pub fn hand_out(
        &self,
        topic: &TopicName,
        store: &TopicStore,
        now: Moment,
        claims: &mut Claims,
    ) -> (Claim, Vec<Position>) {
        let mut framing = Framing {
            topic,
            hash: TopicHash::of(topic.as_str()),
            store,
            now,
            now_millis: self.now_millis,
            frame: Vec::new(),
            strays: Vec::new(),
        };
        framing.messages(&self.messages, &mut claims.messages);
        framing.messages(&self.dead, &mut claims.dead);
        claims.gaps.clear();
        let gaps = self.gaps.iter().map(|(from, to)| Gap {
            from: store.id(framing.hash, *from),
            to: store.id(framing.hash, *to),
            reason: GapReason::Trimmed,
        });
        claims.gaps.extend(gaps);
        let due = |millis: u64| later(now.monotonic_micros, millis);
        let claim = Claim {
            more: self.more,
            next_due: self.next_due.map_or(u64::MAX, due),
        };
        (claim, framing.strays)
    }
}

/// How the messages of one claim are framed.
struct Framing<'a> {
    topic: &'a TopicName,
    hash: TopicHash,
    store: &'a TopicStore,
    now: Moment,
    now_millis: u64,
    /// Used for one after the other.
    frame: Vec<u8>,
    strays: Vec<Position>,
}

impl Framing<'_> {
    fn messages(&mut self, handed_out: &[HandedOut], claimed: &mut Vec<Claimed>) {
        claimed.clear();
        for handed in handed_out {
            match self.message(handed) {
                Some(message) => claimed.push(message),
                None => self.strays.push(handed.position),
            }
        }
    }

    fn message(&mut self, handed: &HandedOut) -> Option<Claimed> {
        self.frame.clear();
        let layout = delivery::restore(&handed.stored_part, self.topic.as_str(), &mut self.frame)?;
        // Valkey's clock says how old it is, and that it has not expired.
        let now = self.now.monotonic_micros;
        let age = self.now_millis.saturating_sub(handed.position.millis());
        let expires_at = handed.ttl.map_or(u64::MAX, |ttl| {
            let lives = ttl.saturating_mul(1_000);
            later(now, lives.saturating_sub(age))
        });
        let draft = Draft::new(&self.frame, layout, expires_at, self.store.budget());
        let stored_at = now.saturating_sub(age.saturating_mul(1_000));
        let message = self
            .store
            .cold_message(self.hash, handed.position, draft, stored_at);
        Some(Claimed {
            message,
            attempt: handed.attempt,
        })
    }
}

/// Microseconds, so many milliseconds later.
fn later(micros: u64, millis: u64) -> u64 {
    micros.saturating_add(millis.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{Budget, Epoch, HistoryLimits, StoreLimits};

    const NOW: Moment = Moment {
        wall_micros: 5_000_000_000,
        monotonic_micros: 9_000_000,
    };

    fn store() -> TopicStore {
        let limits = StoreLimits {
            history: HistoryLimits {
                messages_max: 10,
                bytes_max: u64::MAX,
                retention_micros: u64::MAX,
            },
            topics_max: 1,
            metered_topics_max: 1,
            consumers_max: 1,
            group_members_max: 1,
            client_retention: 1,
        };
        TopicStore::following(limits, 1, Epoch::new(3), Budget::new(1 << 30))
    }

    fn handed(millis: u64, ttl: Option<u64>, part: &str) -> HandedOut {
        HandedOut {
            position: Position::new(millis, 1),
            attempt: 2,
            ttl,
            stored_part: part.as_bytes().to_vec(),
        }
    }

    #[test]
    fn messages_are_framed_and_dated() {
        let (store, topic) = (store(), TopicName::parse("t").unwrap());
        let part = r#""topic":"t","payload":{},"timestamp":"2026-01-31T12:00:00.123456Z","metadata":null}"#;
        let claim = SharedClaim {
            more: true,
            next_due: Some(20),
            serial: 1,
            place: Position::new(9_000, 0),
            messages: vec![handed(8_000, Some(3), part), handed(8_500, None, "stray")],
            dead: vec![handed(7_000, None, part)],
            gaps: vec![(Position::ZERO, Position::new(5, 0))],
            now_millis: 10_000,
        };
        let mut claims = Claims::default();
        let (again, strays) = claim.hand_out(&topic, &store, NOW, &mut claims);
        assert!(again.more && again.next_due == 9_020_000);
        assert_eq!(strays, [Position::new(8_500, 1)]);
        let [one] = &claims.messages[..] else {
            panic!("one is ours");
        };
        let message = &one.message;
        assert_eq!(
            (one.attempt, message.position()),
            (2, Position::new(8_000, 1))
        );
        assert_eq!(
            (message.stored_at(), message.expires_at()),
            (7_000_000, 10_000_000)
        );
        let id = store.id(TopicHash::of("t"), message.position()).encode();
        assert_eq!(delivery::message_id(message.frame()), id);
        assert_eq!(claims.dead[0].message.expires_at(), u64::MAX);
        assert_eq!(claims.gaps[0].to.position, Position::new(5, 0));
        // What was there before has gone.
        let (_, strays) = claim.hand_out(&topic, &store, NOW, &mut claims);
        assert_eq!(
            (claims.messages.len(), claims.gaps.len(), strays.len()),
            (1, 1, 1)
        );
    }
}
