//! What is done beside the workers: reading files that they must not wait for.

mod trust;

pub use trust::load;
