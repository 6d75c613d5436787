//! From worker to worker: news through mailboxes, wake-ups through doorbells. No sockets.
//!
//! ```text
//!   worker A                                   worker B
//!   Sender ──push──► ring (SPSC) ──pop──► Receiver
//!      └────────── ring() ──► Doorbell ◄── sleep ──┘
//! ```

mod doorbell;
mod mailbox;
mod sync;

pub use doorbell::Doorbell;
pub use mailbox::{Receiver, Sender, mailbox};

#[cfg(all(test, loom))]
mod models;
