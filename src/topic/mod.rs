//! Messages in memory: names, ids and logs of topics. No sockets, no threads, no clock of its own.
//!
//! [`TopicStore`] is the truth about every topic; whoever wants to know something reads its log
//! from a [`Place`]. It knows which workers care about a topic, never their connections.

mod budget;
mod catalogue;
mod cell;
mod claims;
mod consumer;
mod cursor;
mod eviction;
mod following;
mod freed;
mod handle;
mod history;
mod id;
mod interest;
mod message;
mod meter;
mod name;
mod page;
mod reading;
mod shard;
mod stats;
mod store;
mod subscription;

#[cfg(test)]
mod model_tests;

pub use budget::{Budget, Charge};
pub use catalogue::{CatalogueError, TopicDetails, TopicSummary, TopicTotals};
pub use consumer::{Ack, Attached, Claim, ClaimRules, Claimed, Claims, ConsumerName, Member, Seat};
pub use cursor::{Cursor, CursorError};
pub use following::Fed;
pub use handle::TopicHandle;
pub use history::{HistoryLimits, Place};
pub use id::{Epoch, MessageId, MessageIdError, Position, TopicHash};
pub use interest::{LocalTopic, News, WORKERS_MAX, WorkerIndex};
pub use message::{Draft, FrameLayout, MESSAGE_OVERHEAD_BYTES, Message};
pub use meter::{DeliveryKind, LATENCY_BUCKETS_MICROS, Meters, TopicCounts, TopicMeter};
pub use name::{TopicName, TopicNameError};
pub use page::{Order, Page, PageRequest};
pub use reading::{Batch, Reading};
pub use stats::{StoreStats, TopicStats};
pub use store::{Outcome, StoreError, StoreLimits, TopicStore};
pub use subscription::{Gap, GapReason, Start, Subscribed};
