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

mod handle;
pub mod idempotency;
mod job;
mod keys;
mod post;
mod spooling;

pub use handle::{Health, KeepLimits, Valkey};
pub use job::{Job, Outgoing, Publication, ReadOn, Refused, Reply, Strand, Task, Waiter};
pub use keys::Keys;
pub use post::{Mail, Post};
