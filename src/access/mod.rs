//! Who may do what (SPEC section 12): credentials, and what they allow.

mod admissions;
mod api_key;
mod caller;
mod gate;
mod grant;
mod jwt;
mod pattern;
mod revocation;
mod trust;
mod wanted;

pub use admissions::{Admissions, TICKET_SECONDS, TooManyTickets};
pub use api_key::{API_KEYS_MAX, ApiKey, ApiKeyError, ApiKeys, Digest};
pub use caller::Caller;
pub use gate::Gate;
pub use grant::{Grant, PATTERNS_MAX, Permission};
pub use jwt::{KeyError, TOKEN_BYTES_MAX, Terms, TokenError, VerificationKey, Verified, Verifier};
pub use pattern::{NoPattern, Pattern};
pub use revocation::{NoRoom, REVOCATIONS_MAX, Revocation, Revocations};
pub use trust::{Authority, Denied, Trust};
pub use wanted::WantedKeys;
