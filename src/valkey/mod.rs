//! The tier behind memory: messages, consumers and what must be known of both, on Valkey, so that
//! they outlive the process and any number of instances act as one.
//!
//! ```text
//!             Job                      one pipeline                 XADD, SPUBLISH, ...
//!   worker ─────────► queue ─► lane ═══════════════════► Valkey ═══════════════════════╗
//!      ▲                        │ Reply                                                ║ channels
//!      └──────── Inbox ◄────────┴───────── follower ◄══════════════════════════════════╝
//!                  news                       │ feed
//!                                             ▼
//!                                         TopicStore
//! ```
//!
//! Workers never wait: what needs Valkey is parked and goes on with the reply. The threads here
//! block on sockets instead.

pub mod admissions;
mod breaker;
pub mod catalogue;
mod cell;
pub mod channel;
pub mod charges;
mod commands;
mod connect;
pub mod consumers;
mod counters;
mod entry;
mod feeds;
mod flight;
mod follower;
mod greeting;
mod handle;
pub mod idempotency;
mod job;
mod keys;
mod lane;
mod lanes;
mod link;
mod moving;
mod node;
mod order;
mod post;
mod queue;
pub mod revocations;
mod scripts;
mod search;
mod slots;
mod spooling;
mod starting;
mod strand;
mod surveyor;
mod trouble;

pub use cell::Cell;
pub use counters::{Ending, Operation, ValkeyCounters};
pub use entry::{RawEntry, RawStrand};
pub use handle::{Health, KeepLimits, Tools, Valkey};
pub use job::{Call, Job, Outgoing, Publication, ReadOn, Refused, Reply, Strand, Task, Waiter};
pub use keys::Keys;
pub use order::{Left, Listener, Order};
pub use post::{Mail, Post};
