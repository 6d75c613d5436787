//! TLS on connections from clients: what certificates and keys in files come to, and the layer
//! between a socket and what is said on it. No sockets and no threads of its own; the workers drive it.

mod certificate;
mod channel;
mod load;

pub use certificate::Certificate;
pub use channel::{CHANNEL_BYTES_IDLE, CHANNEL_BYTES_MAX, Channel};
pub use load::{Loaded, TlsError, TlsFiles, load};

/// The only protocol that is spoken inside, as it is named in ALPN (RFC 7301 section 6).
pub const ALPN_HTTP_1_1: &[u8] = b"http/1.1";
