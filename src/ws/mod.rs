//! WebSocket on byte slices (RFC 6455, SPEC section 5).
//!
//! Functions of bytes: no socket, no clock, no JSON. [`handshake`] judges the upgrade, an
//! [`Assembler`] turns what the client sends into messages and control frames, and [`frame`] and
//! [`close`] write what the server sends. [`extensions`] and [`deflate`] are permessage-deflate
//! (RFC 7692): what is agreed on, and compressing and inflating whole messages.

mod assembler;
pub mod close;
pub mod deflate;
pub mod extensions;
pub mod frame;
pub mod handshake;
pub mod mask;
mod message;

pub use assembler::{Assembler, AssemblerError, AssemblerLimits, Event, Fed};
pub use close::CloseCode;
pub use extensions::Deflate;
pub use frame::Opcode;
