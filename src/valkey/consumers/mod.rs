//! At-least-once consumers (SPEC sections 5 and 7) whose state all instances share on Valkey. What
//! they are, and how they behave, is said in [`crate::topic`]'s consumers, which these resemble as
//! far as anybody outside can tell:
//!
//! ```text
//!              claim                settle
//!   stream ────────────► pending ──────────► gone
//!                          │   ▲
//!        timeout, nack,    │   │ claim (one more attempt)
//!        member gone,      ▼   │
//!        lease over       due ──────────────► dead ── bury ──► gone
//! ```
//!
//! Each task is one script, hence atomic, also on Cluster: all keys of a topic are in one slot. A
//! claim or an acknowledgement costs what it hands out or settles, by the logarithm of what is
//! pending. The clock is Valkey's.
//!
//! An instance that dies cannot say that its members go. So their seats are leases, which each
//! instance renews by a refresh every [`REFRESH_EVERY`]; what is held by a seat whose lease is over
//! is due again, as if its member had left. Who claims renews its lease too, and has its seat back
//! if its lease was over and nobody has taken over meanwhile.
//!
//! A reply may get lost on its way. Attaching, settling, burying and refreshing may simply be done
//! again with the same call. So may claiming: a claim says which claim's reply came last, and what
//! was handed out by later ones counts as never delivered and is handed out again at once.
//!
//! Different from consumers in memory:
//!
//! - The number of consumers is bounded per topic, not over all topics.
//! - What is said by a client that is no member any more is judged by the last [`GROUPS_MAX`]
//!   groups of the topic that it joined, for as long as a consumer without members is kept.
//! - At most a thousand pending messages become due, or are given up as lost, in one claim; the
//!   next one goes on.

mod call;
mod handing_out;
mod read;
mod reply;
mod script;
mod task;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use read::Unreadable;
pub use reply::{ConsumerReply, HandedOut, NoRoom, SharedAttached, SharedClaim, Unseated};
pub use task::{
    AttachShared, ClaimShared, ConsumerAction, ConsumerTask, ConsumerTerms, Settling, SharedMember,
    SharedSeat, SharedStart, Standing,
};

/// How often an instance renews the leases of its seats.
pub const REFRESH_EVERY: Duration = Duration::from_secs(2);
/// How long a lease is: a refresh may fail or be late, twice.
pub const LEASE: Duration = Duration::from_secs(6);
/// Most groups of one topic that are remembered for a client.
pub const GROUPS_MAX: usize = 16;
/// Most seats that one refresh may renew; each costs Valkey a few microseconds.
pub const REFRESH_SEATS_MAX: usize = 256;
