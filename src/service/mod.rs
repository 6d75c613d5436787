//! What is done beside the workers: reading files that they must not wait for.

mod credentials;
mod key_set;
mod trust;
mod watch;

pub use credentials::Credentials;
pub use trust::files;
pub use watch::Watch;
