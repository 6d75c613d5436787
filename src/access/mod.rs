//! Who may do what (SPEC section 12): credentials, and what they allow.

mod grant;
mod pattern;

pub use grant::{Grant, PATTERNS_MAX, Permission};
pub use pattern::{NoPattern, Pattern};
