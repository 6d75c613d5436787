//! Between threads: news through mailboxes from worker to worker, inboxes for what other threads
//! have to say to a worker, wake-ups through doorbells. No sockets.
//!
//! ```text
//!   worker A                                   worker B
//!   Sender ──push──► ring (SPSC) ──pop──► Receiver
//!      └────────── ring() ──► Doorbell ◄── sleep ──┘
//! ```

mod doorbell;
mod inbox;
mod mailbox;
mod sync;

pub use doorbell::Doorbell;
pub use inbox::Inbox;
pub use mailbox::{Receiver, Sender, mailbox};

#[cfg(all(test, loom))]
mod models;
