//! How the decided settings must fit together.

use std::net::IpAddr;

use super::catalogue as all;
use super::error::ConfigError;
use super::table::About;
use super::typed::Typed;
use super::value::Value;
use super::{Config, OnOutage, ValkeySettings};

/// How settings fit together.
///
/// # Errors
///
/// The first setting that does not fit, and what it does not fit to.
pub(super) fn check(config: &Config, typed: &Typed) -> Result<(), ConfigError> {
    check_sizes(config, typed)?;
    if let Some(valkey) = &config.valkey {
        check_valkey(valkey, config.message_bytes_max(), typed)?;
    }
    let (idle, ping) = (config.ws_idle_timeout, config.ws_ping_interval);
    if idle <= ping {
        let about = &all::WS_IDLE_TIMEOUT.quantity.about;
        let other = (&all::WS_PING_INTERVAL.quantity.about, "ws-ping-interval");
        return Err(typed.contradiction(about, "longer than", other, (idle.show(), ping.show())));
    }
    let is_open = !config.insecure_no_auth && !config.access.asks_for_credentials();
    if !is_loopback(config.host) && is_open {
        let source = typed.source(&all::HOST.about);
        return Err(ConfigError::Exposed(source, config.host.to_string()));
    }
    Ok(())
}

/// What must hold what.
fn check_sizes(config: &Config, typed: &Typed) -> Result<(), ConfigError> {
    let head = &all::HEAD_BYTES_MAX.quantity.about;
    let target = &all::TARGET_BYTES_MAX.quantity.about;
    let message = &all::MAX_MESSAGE_SIZE.quantity.about;
    let outbox = &all::OUTBOX_BYTES_MAX.quantity.about;
    let topic = &all::TOPIC_BYTES_MAX.quantity.about;
    let memory = &all::MEMORY_MAX.quantity.about;
    let client = &all::CLIENT_BYTES_MAX.quantity.about;
    let client_bytes = match config.client_bytes_max {
        0 => usize::MAX,
        bytes => bytes,
    };
    let largest = config.message_bytes_max();
    let one = "the largest message of max-message-size";
    let eight = "eight of the largest messages of max-message-size";
    let several = MESSAGES_IN_MEMORY_MIN.saturating_mul(largest);
    for (holder, bytes, held, needed, bound) in [
        (
            head,
            config.head_bytes_max,
            target,
            "target-bytes-max",
            config.target_bytes_max,
        ),
        (outbox, config.outbox_bytes_max, message, one, largest),
        (client, client_bytes, message, one, largest),
        (topic, config.topic_bytes_max, message, one, largest),
        (memory, config.memory_max, message, eight, several),
        (
            memory,
            config.memory_max,
            outbox,
            "outbox-bytes-max",
            config.outbox_bytes_max,
        ),
    ] {
        if bytes < bound {
            let values = (format!("{bytes} bytes"), format!("{bound} bytes"));
            return Err(typed.contradiction(holder, "at least", (held, needed), values));
        }
    }
    Ok(())
}

/// What must hold messages on their way to Valkey.
fn check_valkey(valkey: &ValkeySettings, largest: usize, typed: &Typed) -> Result<(), ConfigError> {
    let bound = MESSAGES_ON_THE_WAY_MIN.saturating_mul(largest);
    let spool = match valkey.on_outage {
        OnOutage::Reject => None,
        OnOutage::Spool { bytes_max, .. } => Some((&all::SPOOL_BYTES_MAX, bytes_max)),
    };
    let queue = (&all::VALKEY_QUEUE_BYTES_MAX, valkey.queue_bytes_max as u64);
    for (holder, bytes) in [Some(queue), spool].into_iter().flatten() {
        if bytes < bound as u64 {
            let needed = "two of the largest messages of max-message-size";
            let held = (&all::MAX_MESSAGE_SIZE.quantity.about, needed);
            let values = (format!("{bytes} bytes"), format!("{bound} bytes"));
            return Err(typed.contradiction(&holder.quantity.about, "at least", held, values));
        }
    }
    Ok(())
}

/// The least room on the way to Valkey in messages of the largest size: one waits while another is
/// written. As neither may be less than 1 MiB, a bulk fits as well, in which each of 100 messages gets an
/// envelope.
const MESSAGES_ON_THE_WAY_MIN: usize = 2;

/// The least memory budget in messages of the largest size: with less, one publisher of such messages
/// would push everything else out.
const MESSAGES_IN_MEMORY_MIN: usize = 8;

impl Typed {
    /// `other` is the setting that does not fit, and what of it is needed; the values are those of the two.
    pub(super) fn contradiction(
        &self,
        about: &About,
        relation: &str,
        (other, needed): (&About, &str),
        (value, bound): (String, String),
    ) -> ConfigError {
        let other_source = self.source(other);
        ConfigError::Contradiction {
            setting: about.name,
            source_of: self.source(about),
            value,
            relation: format!("{relation} {needed}, {other_source}, which is {bound}"),
        }
    }
}

fn is_loopback(host: IpAddr) -> bool {
    host.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use crate::config::decide::tests::decided;

    fn refused(flags: &[(&'static str, &str)]) -> String {
        decided(flags).unwrap_err().to_string()
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        assert_eq!(
            refused(&[("ws-idle-timeout", "20")]),
            "the setting ws-idle-timeout, given by --ws-idle-timeout, cannot be 20s: it must be longer \
             than ws-ping-interval, left at its default, which is 20s"
        );
        assert_eq!(
            refused(&[("outbox-bytes-max", "1MiB")]),
            "the setting outbox-bytes-max, given by --outbox-bytes-max, cannot be 1048576 bytes: it must \
             be at least the largest message of max-message-size, left at its default, which is 1050112 \
             bytes"
        );
        for (flags, start) in [
            (
                [("head-bytes-max", "8KiB"), ("port", "1")],
                "the setting head-bytes-max",
            ),
            (
                [("topic-bytes-max", "1MiB"), ("port", "1")],
                "the setting topic-bytes-max",
            ),
            (
                [("memory-max", "16MiB"), ("max-message-size", "2MiB")],
                "the setting memory-max",
            ),
            (
                [("memory-max", "16MiB"), ("outbox-bytes-max", "17MiB")],
                "the setting memory-max",
            ),
        ] {
            let sentence = refused(&flags);
            assert!(sentence.starts_with(start), "{sentence}");
            assert!(sentence.contains("it must be at least"), "{sentence}");
        }
    }

    #[test]
    fn other_addresses_than_loopback_need_the_flag() {
        for host in ["0.0.0.0", "::", "192.168.0.1", "::ffff:10.0.0.1"] {
            let sentence = refused(&[("host", host)]);
            let start =
                format!("the setting host, given by --host, cannot be {host}: no credentials");
            assert!(sentence.starts_with(&start), "{sentence}");
            assert!(sentence.contains("--insecure-no-auth"), "{sentence}");
            let (config, warnings) =
                decided(&[("host", host), ("insecure-no-auth", "on")]).unwrap();
            assert_eq!(config.host.to_string(), host);
            assert_eq!(warnings.len(), 1);
        }
        for host in ["127.0.0.2", "::1", "localhost", "::ffff:127.0.0.1"] {
            assert!(decided(&[("host", host)]).unwrap().1.is_empty());
        }
    }
}
