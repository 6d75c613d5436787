//! What is done beside the workers: reading files that they must not wait for.

mod trust;
mod watch;

pub use trust::{files, load};
pub use watch::Watch;
