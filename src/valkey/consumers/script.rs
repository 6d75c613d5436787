//! The scripts.

macro_rules! script {
    ($file:literal) => {
        concat!(include_str!("common.lua"), include_str!($file))
    };
}

pub(super) const ATTACH: &str = script!("attach.lua");
pub(super) const CLAIM: &str = script!("claim.lua");
pub(super) const SETTLE: &str = script!("settle.lua");
pub(super) const DETACH: &str = script!("detach.lua");
pub(super) const BURY: &str = script!("bury.lua");
pub(super) const DROP: &str = script!("drop.lua");
pub(super) const REFRESH: &str = script!("refresh.lua");
