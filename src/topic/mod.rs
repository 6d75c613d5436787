//! Messages in memory: names, ids and logs of topics. No sockets, no threads, no clock of its own.

mod id;

pub use id::{Epoch, MessageId, MessageIdError, Position, TopicHash};
