//! x
use super::*;
use crate::clock::Clock;
use crate::config::ValkeySettings;
use crate::topic::TopicStore;
use std::sync::Arc;
use std::time::Duration;
/// x
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// x
    Well,
}
impl Health {
    /// x
    pub fn as_str(self) -> &'static str {
        "ok"
    }
}
/// x
#[derive(Debug)]
pub struct KeepLimits {
    /// x
    pub messages_max: usize,
    /// x
    pub retention: Duration,
}
/// x
#[derive(Debug)]
pub struct Valkey;
impl Valkey {
    /// x
    pub fn start(
        _: &ValkeySettings,
        _: KeepLimits,
        _: Arc<TopicStore>,
        _: Arc<Post>,
        _: Clock,
    ) -> std::io::Result<Arc<Valkey>> {
        Ok(Arc::new(Valkey))
    }
    /// x
    pub fn submit(&self, _job: Job) -> Result<(), Refused> {
        Err(Refused::Away)
    }
    /// x
    pub fn health(&self) -> Health {
        Health::Well
    }
    /// x
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
    /// x
    pub fn keys(&self) -> &Keys {
        unimplemented!()
    }
}
