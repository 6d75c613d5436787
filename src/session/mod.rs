//! One client's conversation without its socket: bytes, time and deliveries in; bytes and
//! [`Effect`]s out.

mod close_reason;
mod exchange;

pub use close_reason::CloseReason;
pub use exchange::Exchange;
