//! What the commands that talk to a server need: its address and a credential, connections, HTTP, WebSocket.
//!
//! It knows the server as any stranger does, by `docs/PROTOCOL.md` alone, and shares no codec with it. The
//! command line says what is wanted; a function here carries it out on the calling thread.

mod backoff;
mod dial;
mod failure;
mod harmless;
mod health;
mod http;
mod interrupt;
mod publish;
mod remote;
mod stream;
mod subscribe;
mod tls;
mod url;

pub use failure::{Failure, FailureKind};
pub(crate) use harmless::harmless;
pub use health::{Beside, Healthcheck, healthcheck};
pub use publish::{Publish, publish};
pub use remote::{Credential, Identity, Remote};
pub use subscribe::{Subscribe, subscribe};
pub use url::{ServerUrl, UrlError};
