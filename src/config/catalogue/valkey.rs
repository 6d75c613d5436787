//! The persistent tier.

use std::time::Duration;

use super::super::table::{About, Fixed, Group};

pub(crate) const PERSISTENT_TIER_RETENTION: Fixed<Duration> = Fixed::new(
    About::new(
        "persistent-tier-retention",
        Group::Storage,
        "DURATION",
        "Age at which a message leaves the persistent tier",
    )
    .plain_name("PERSISTENT_TIER_RETENTION")
    .not_built(),
    Duration::from_secs(86_400),
    Duration::from_secs(1),
    Duration::from_secs(3_650 * 86_400),
);
