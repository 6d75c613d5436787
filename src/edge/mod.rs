//! Who a client is when balancers stand before the server: what they say of it, and who may say so.

mod forwarded;
pub mod proxy_protocol;

pub use forwarded::TrustedProxies;
