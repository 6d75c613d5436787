//! WebSocket on byte slices (RFC 6455, SPEC section 5).
//!
//! Functions of bytes: no socket, no clock, no JSON. [`handshake`] judges the upgrade, an
//! [`Assembler`] turns what the client sends into messages and control frames, and [`frame`] and
//! [`close`] write what the server sends.

mod assembler;
pub mod close;
pub mod frame;
pub mod handshake;
pub mod mask;
mod message;

pub use assembler::{Assembler, AssemblerError, AssemblerLimits, Event, Fed};
pub use close::CloseCode;
pub use frame::Opcode;
