//! From bytes to logs: what channels say and what streams hold.

use super::super::channel::{Said, SaidMessage, parse};
use super::super::entry::{RawEntry, RawStrand};
use super::Feeds;
use super::followed::Held;
use super::mending::{Misfit, Settle};
use crate::api::delivery::restore;
use crate::moment::Moment;
use crate::topic::{Draft, Fed, News, Position, TopicName};

const MICROS_PER_SECOND: u64 = 1_000_000;

/// Room that is used again for each message.
#[derive(Default, Debug)]
pub(in crate::valkey) struct Scratch {
    frame: Vec<u8>,
    pub(super) news: Vec<News>,
}

impl Feeds {
    /// A topic's channel has said something. What it means is in the store, and its readers know
    /// of it, when this returns.
    pub(in crate::valkey) fn heard(
        &self,
        topic: &TopicName,
        payload: &[u8],
        now: Moment,
        scratch: &mut Scratch,
    ) {
        match parse(payload) {
            Some(Said::Message(message)) => self.heard_message(topic, &message, now, scratch),
            Some(Said::Restart(position)) => {
                // The log may have been read on from the stream past that.
                self.store.skip(topic, position, &mut scratch.news);
                // Consumers may have been owed what nobody had to read any more.
                self.store.call_all(topic, &mut scratch.news);
                self.change(|state, out| state.restarted(topic, position, false, out));
            }
            Some(Said::Wake) => self.store.call_all(topic, &mut scratch.news),
            None => complain(topic),
        }
        self.post.news(&mut scratch.news);
    }

    fn heard_message(
        &self,
        topic: &TopicName,
        message: &SaidMessage<'_>,
        now: Moment,
        scratch: &mut Scratch,
    ) {
        let ttl = message.ttl;
        let (predecessor, position) = (message.predecessor, message.position);
        if self.is_restarting() {
            // Fed, it would be forgotten, and come again to readers who have seen it.
            let draft = self.draft(topic, message.stored_part, expiry(now, ttl, 0), scratch);
            let held = draft.map(|draft| Held {
                predecessor,
                position,
                draft,
            });
            if self.change(|state, _| state.hold_back(topic, || held)) {
                return;
            }
        }
        for is_second in [false, true] {
            let draft = self.draft(topic, message.stored_part, expiry(now, ttl, 0), scratch);
            let Some(draft) = draft else {
                complain(topic);
                return;
            };
            let news = &mut scratch.news;
            let newest = match self
                .store
                .feed(topic, predecessor, position, draft, now, news)
            {
                Fed::Appended => return self.figures.fed.add(),
                Fed::Known => return,
                // A message that is to expire may have done so: that leaves no trace in the log.
                Fed::Foreign if ttl.is_some() => return,
                Fed::Foreign => return self.start_over(topic, predecessor, scratch),
                Fed::Missing { newest } => Some(newest),
                Fed::NotOpen => None,
            };
            let hold = || {
                // The frame is still there, and this is rare.
                let draft = self.draft(topic, message.stored_part, expiry(now, ttl, 0), scratch);
                draft.map(|draft| Held {
                    predecessor,
                    position,
                    draft,
                })
            };
            if self.change(|state, out| state.misfit(topic, newest, is_second, hold, out))
                == Misfit::Settled
            {
                return;
            }
        }
    }

    /// The stream is another than the log was made from: what it has behind `predecessor` counts.
    fn start_over(&self, topic: &TopicName, predecessor: Position, scratch: &mut Scratch) {
        tracing::warn!("the stream of topic \"{topic}\" is not what it was: reading it anew");
        self.store.restart(topic, predecessor, &mut scratch.news);
        self.change(|state, out| state.restarted(topic, predecessor, true, out));
    }

    /// Puts a part of a stream into the log.
    pub(super) fn mend(&self, topic: &TopicName, strand: &RawStrand) {
        let mut scratch = Scratch::default();
        if let Some(behind) = self.change(|state, _| state.awaits_strand(topic)) {
            let reached = self.append(topic, behind, strand, &mut scratch);
            self.post.news(&mut scratch.news);
            let has_more = strand.has_more;
            self.change(|state, out| state.mended(topic, reached, has_more, out));
        } else {
            // Nothing of it is of use any more; what comes instead is known already.
            self.change(|state, out| state.mended(topic, Position::ZERO, false, out));
        }
        self.settle(topic, &mut scratch);
    }

    fn append(
        &self,
        topic: &TopicName,
        behind: Position,
        strand: &RawStrand,
        scratch: &mut Scratch,
    ) -> Position {
        let now = self.clock.now();
        let mut reached = behind;
        for entry in &strand.entries {
            if self.append_entry(topic, entry, strand.now_millis, now, scratch) == Fed::Foreign {
                // The stream is read anew, and with it this message.
                self.start_over(topic, entry.predecessor, scratch);
                return reached;
            }
            reached = entry.position;
        }
        if !strand.has_more && strand.last > reached {
            // The newest message is not in the stream any more, nor is any before it.
            self.store.skip(topic, strand.last, &mut scratch.news);
            reached = strand.last;
        }
        reached
    }

    fn append_entry(
        &self,
        topic: &TopicName,
        entry: &RawEntry,
        now_millis: u64,
        now: Moment,
        scratch: &mut Scratch,
    ) -> Fed {
        let age = 1000 * now_millis.saturating_sub(entry.position.millis());
        let expires_at = expiry(now, entry.ttl, age);
        let Some(draft) = self.draft(topic, &entry.stored_part, expires_at, scratch) else {
            complain(topic);
            return Fed::Known;
        };
        let stored_at = now.monotonic_micros.saturating_sub(age);
        let (predecessor, position) = (entry.predecessor, entry.position);
        let news = &mut scratch.news;
        let store = &self.store;
        let fed = store.mend(topic, predecessor, position, draft, stored_at, now, news);
        match fed {
            Fed::Appended => self.figures.mended.add(),
            // As with messages of the channel: it may have expired.
            Fed::Foreign if entry.ttl.is_some() => return Fed::Known,
            _ => {}
        }
        fed
    }

    /// Feeds what was held until nothing is, while the follower may go on to hold more.
    pub(super) fn settle(&self, topic: &TopicName, scratch: &mut Scratch) {
        loop {
            let now = self.clock.now();
            match self.change(|state, out| state.settle(topic, now.monotonic_micros, out)) {
                Settle::Feed(held) => self.feed_held(topic, held, now, scratch),
                Settle::Done => return,
            }
        }
    }

    fn feed_held(&self, topic: &TopicName, held: Vec<Held>, now: Moment, scratch: &mut Scratch) {
        for message in held {
            let (predecessor, position) = (message.predecessor, message.position);
            let news = &mut scratch.news;
            let fed = self
                .store
                .feed(topic, predecessor, position, message.draft, now, news);
            match fed {
                Fed::Appended => self.figures.fed.add(),
                Fed::Missing { newest } => {
                    self.change(|state, _| state.unsettled(topic, newest));
                    break;
                }
                Fed::Known | Fed::Foreign | Fed::NotOpen => {}
            }
        }
        self.post.news(&mut scratch.news);
    }

    fn draft(
        &self,
        topic: &TopicName,
        stored_part: &[u8],
        expires_at: u64,
        scratch: &mut Scratch,
    ) -> Option<Draft> {
        scratch.frame.clear();
        let layout = restore(stored_part, topic.as_str(), &mut scratch.frame)?;
        let budget = self.store.budget();
        Some(Draft::new(&scratch.frame, layout, expires_at, budget))
    }
}

fn complain(topic: &TopicName) {
    tracing::warn!("what the channel or stream of topic \"{topic}\" holds is not ours: left out");
}

/// When a message expires that is `age` microseconds old.
fn expiry(now: Moment, ttl: Option<u64>, age: u64) -> u64 {
    ttl.map_or(u64::MAX, |ttl| {
        let ttl = ttl.saturating_mul(MICROS_PER_SECOND);
        now.monotonic_micros.saturating_add(ttl).saturating_sub(age)
    })
}
