//! What the commands that talk to a server need: its address and a credential, connections, HTTP, WebSocket.
//!
//! It knows the server as any stranger does, by `docs/PROTOCOL.md` alone, and shares no codec with it. The
//! command line says what is wanted; a function here carries it out on the calling thread.

mod dial;
mod failure;
mod http;
mod publish;
mod remote;
mod stream;
mod tls;
mod url;

pub use failure::{Failure, FailureKind};
pub use publish::{Publish, publish};
pub use remote::{Credential, Identity, Remote};
pub use url::{ServerUrl, UrlError};
