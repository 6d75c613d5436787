//! What is told of the instance as a whole: its version, whether it is ready, and the bounds to which
//! other metrics come near.

use std::time::Duration;

use super::catalogue::Family;
use super::sample::{Kind, gauge};

/// What the instance is and may have.
#[derive(Clone, Debug)]
pub struct InstanceStats {
    /// Of the program.
    pub version: &'static str,
    /// What `/ready` looks at, and whether that is as it should be.
    pub checks: [(&'static str, bool); 3],
    /// Connections by the bound that they count against, as there are and as there may be.
    pub connections: [(&'static str, [usize; 2]); 2],
    /// Topics that there may be.
    pub topics_max: usize,
    /// When the certificate ends, in seconds since the Unix epoch; `None` without TLS.
    pub certificate_expires_at: Option<i64>,
    /// Keys that are fetched; `None` where none are.
    pub fetched_keys: Option<FetchedKeys>,
}

/// Keys for tokens that are fetched again and again.
#[derive(Clone, Copy, Debug)]
pub struct FetchedKeys {
    /// When they were fetched last, in seconds since the Unix epoch, 0 for never.
    pub fetched_at: u64,
    /// How long after that they are to be fetched again.
    pub refresh: Duration,
}

/// The families.
pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "proxy_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1; the label tells what runs.",
        samples: |view| vec![gauge(&[("version", view.instance.version)], 1.0)],
    },
    Family {
        name: "proxy_ready_ratio",
        kind: Kind::Gauge,
        labels: &["check"],
        help: "1 for each check of /ready that is passed, else 0.",
        samples: |view| {
            let checks = view.instance.checks.iter();
            checks
                .map(|(check, passed)| gauge(&[("check", check)], f64::from(*passed)))
                .collect()
        },
    },
    Family {
        name: "proxy_counted_connections",
        kind: Kind::Gauge,
        labels: &["bound"],
        help: "Connections by what they count against: consumers, which are WebSockets, streams and pollers, or others.",
        samples: |view| {
            let connections = view.instance.connections.iter();
            connections
                .map(|(bound, [count, _])| gauge(&[("bound", bound)], *count as f64))
                .collect()
        },
    },
    Family {
        name: "proxy_max_connections",
        kind: Kind::Gauge,
        labels: &["bound"],
        help: "How many of these there may be.",
        samples: |view| {
            let connections = view.instance.connections.iter();
            connections
                .map(|(bound, [_, max])| gauge(&[("bound", bound)], *max as f64))
                .collect()
        },
    },
    Family {
        name: "proxy_store_max_topics",
        kind: Kind::Gauge,
        labels: &[],
        help: "How many topics there may be.",
        samples: |view| vec![gauge(&[], view.instance.topics_max as f64)],
    },
    Family {
        name: "proxy_certificate_expiry_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the certificate ends that clients are shown, in seconds since the Unix epoch.",
        samples: |view| {
            let ends = view.instance.certificate_expires_at;
            ends.map(|at| gauge(&[], at as f64)).into_iter().collect()
        },
    },
    Family {
        name: "proxy_jwks_fetched_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the keys for tokens were fetched last, in seconds since the Unix epoch; 0 for never.",
        samples: |view| {
            let keys = view.instance.fetched_keys;
            keys.map(|keys| gauge(&[], keys.fetched_at as f64))
                .into_iter()
                .collect()
        },
    },
    Family {
        name: "proxy_jwks_refresh_interval_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "How long after that they are to be fetched again.",
        samples: |view| {
            let keys = view.instance.fetched_keys;
            keys.map(|keys| gauge(&[], keys.refresh.as_secs_f64()))
                .into_iter()
                .collect()
        },
    },
];

#[cfg(test)]
mod tests {
    use super::super::Scrape;
    use super::super::tests::{INSTANCE, Parsed, busy, scrape};
    use super::*;

    #[test]
    fn the_instance_tells_what_it_is_and_may_have() {
        let (workers, store) = busy();
        let parsed = Parsed::of(&scrape(&workers, &store));
        for (series, value) in [
            (r#"proxy_build_info{version="1.2.3"}"#, 1.0),
            (r#"proxy_ready_ratio{check="storage"}"#, 1.0),
            (r#"proxy_ready_ratio{check="workers"}"#, 0.0),
            (r#"proxy_counted_connections{bound="consumers"}"#, 3.0),
            (r#"proxy_max_connections{bound="consumers"}"#, 4.0),
            (r#"proxy_counted_connections{bound="others"}"#, 5.0),
            (r#"proxy_max_connections{bound="others"}"#, 6.0),
            ("proxy_store_max_topics", 77.0),
            ("proxy_certificate_expiry_timestamp_seconds", 88.0),
            ("proxy_jwks_fetched_timestamp_seconds", 99.0),
            ("proxy_jwks_refresh_interval_seconds", 11.0),
        ] {
            parsed.is(series, value);
        }
        let without = InstanceStats {
            certificate_expires_at: None,
            fetched_keys: None,
            ..INSTANCE.clone()
        };
        let scrape = Scrape {
            instance: &without,
            ..scrape(&workers, &store)
        };
        let parsed = Parsed::of(&scrape);
        parsed.lacks("certificate");
        parsed.lacks("jwks");
    }
}
