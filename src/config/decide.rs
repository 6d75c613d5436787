//! From what was typed to what holds: parses every text, applies bounds and defaults, and checks the
//! settings against each other.

use std::time::Duration;

use super::catalogue as all;
use super::check::check;
use super::error::ConfigError;
use super::table::Quantity;
use super::typed::Typed;
use super::value::{self, Count, Size, Value};
use super::{
    AllowedHosts, Config, ENVELOPE_BYTES_MAX, LogFormat, LogLevel, Machine, PROXY_IDLE_MARGIN,
    WORKERS_MAX,
};

/// Decides every setting. Also returns what the operator should be told once there is a log.
///
/// # Errors
///
/// The first setting that does not allow a start, with its source and what is allowed.
pub fn decide(typed: &Typed, machine: Machine) -> Result<(Config, Vec<String>), ConfigError> {
    refuse_what_is_not_built(typed)?;
    let max_message_size = size(typed.fixed(&all::MAX_MESSAGE_SIZE)?);
    let outbox = typed.computed(&all::OUTBOX_BYTES_MAX)?;
    let memory = typed.computed(&all::MEMORY_MAX)?;
    let workers = typed.computed(&all::WORKERS)?;
    let config = Config {
        host: typed.read(
            &all::HOST,
            value::parse_address,
            "an IPv4 or IPv6 address or localhost",
        )?,
        port: port(typed.fixed(&all::PORT)?),
        workers: workers.map_or_else(|| machine.cores.clamp(1, WORKERS_MAX), count),
        app_name: typed.read(
            &all::APP_NAME,
            app_name,
            "a text of 1 to 255 printable characters",
        )?,
        drain_delay: typed.fixed(&all::DRAIN_DELAY)?,
        drain_timeout: typed.fixed(&all::DRAIN_TIMEOUT)?,
        hot_tier_retention: typed.fixed(&all::HOT_TIER_RETENTION)?,
        max_messages_per_topic: count(typed.fixed(&all::MAX_MESSAGES_PER_TOPIC)?),
        topic_bytes_max: size(typed.fixed(&all::TOPIC_BYTES_MAX)?),
        memory_max: size(memory.unwrap_or_else(|| default_memory(machine))),
        client_retention: typed.fixed(&all::CLIENT_RETENTION)?,
        dead_letter_topic: typed.get(&all::DEAD_LETTER_TOPIC.about).cloned(),
        max_connections: count(typed.fixed(&all::MAX_CONNECTIONS)?),
        http_connections_max: count(typed.fixed(&all::HTTP_CONNECTIONS_MAX)?),
        topics_max: count(typed.fixed(&all::TOPICS_MAX)?),
        max_message_size,
        subscriptions_max: count(typed.fixed(&all::SUBSCRIPTIONS_MAX)?),
        consumers_max: count(typed.fixed(&all::CONSUMERS_MAX)?),
        group_members_max: count(typed.fixed(&all::GROUP_MEMBERS_MAX)?),
        idempotency_bytes_max: size(typed.fixed(&all::IDEMPOTENCY_BYTES_MAX)?),
        head_timeout: typed.fixed(&all::HEAD_TIMEOUT)?,
        body_timeout: typed.fixed(&all::BODY_TIMEOUT)?,
        keep_alive_timeout: typed.fixed(&all::KEEP_ALIVE_TIMEOUT)?,
        head_bytes_max: size(typed.fixed(&all::HEAD_BYTES_MAX)?),
        headers_max: count(typed.fixed(&all::HEADERS_MAX)?),
        target_bytes_max: size(typed.fixed(&all::TARGET_BYTES_MAX)?),
        pipeline_max: count(typed.fixed(&all::PIPELINE_MAX)?),
        proxy_idle_timeout: proxy_idle_timeout(typed)?,
        ws_ping_interval: typed.fixed(&all::WS_PING_INTERVAL)?,
        ws_idle_timeout: typed.fixed(&all::WS_IDLE_TIMEOUT)?,
        lag_timeout: typed.fixed(&all::LAG_TIMEOUT)?,
        ws_compression: typed.switch(&all::WS_COMPRESSION)?,
        ws_echo: typed.switch(&all::WS_ECHO)?,
        outbox_bytes_max: outbox.map_or_else(|| default_outbox(max_message_size), size),
        insecure_no_auth: typed.switch(&all::INSECURE_NO_AUTH)?,
        allowed_origins: typed.list(&all::ALLOWED_ORIGINS, value::parse_origin, ORIGINS)?,
        allowed_hosts: allowed_hosts(typed)?,
        log_level: typed.read(&all::LOG_LEVEL, log_level, LEVELS)?,
        log_format: typed.read(&all::LOG_FORMAT, log_format, "auto, text or json")?,
        metrics_topics_max: count(typed.fixed(&all::METRICS_TOPICS_MAX)?),
    };
    check(&config, typed)?;
    let mut warnings = typed.warnings.clone();
    warnings.extend(exposure(&config));
    Ok((config, warnings))
}

const ORIGINS: &str = "a comma-separated list of origins as scheme://host[:port], or null";
const HOSTS: &str = "a comma-separated list of host names or addresses without port, or *";
const LEVELS: &str = "DEBUG, INFO, WARNING, ERROR or CRITICAL";

/// Half of the machine's memory, but never so little that nothing works.
fn default_memory(machine: Machine) -> Size {
    let Quantity { min, max, .. } = all::MEMORY_MAX.quantity;
    Size((machine.memory / 2).clamp(min.0, max.0))
}

fn default_outbox(max_message_size: usize) -> usize {
    size(Size(all::OUTBOX_BYTES_DEFAULT)).max(max_message_size + ENVELOPE_BYTES_MAX)
}

/// What an operator who switched the protection off should see at every start.
fn exposure(config: &Config) -> Option<String> {
    config.insecure_no_auth.then(|| {
        format!(
            "--insecure-no-auth is on and no credentials are configured: whoever reaches {} may publish \
             and subscribe",
            config.host
        )
    })
}

/// Settings that the contract names and this version does not have: the default is a promise that
/// nothing is lost, any other value would be swallowed.
fn refuse_what_is_not_built(typed: &Typed) -> Result<(), ConfigError> {
    let backend = |text: &str| match text.to_ascii_lowercase().as_str() {
        "memory" => Some(true),
        "valkey" => Some(false),
        _ => None,
    };
    let memory = typed.read(&all::STORAGE_BACKEND, backend, "memory")?;
    typed.refuse_unless(
        memory,
        &all::STORAGE_BACKEND.about,
        all::STORAGE_BACKEND.default,
    )?;
    typed.fixed(&all::PERSISTENT_TIER_RETENTION)?;
    typed.fixed(&all::RATE_LIMIT_PER_CLIENT)?;
    Ok(())
}

fn allowed_hosts(typed: &Typed) -> Result<AllowedHosts, ConfigError> {
    let part = |text: &str| match text {
        "*" => Some(None),
        host => value::parse_host(host).map(Some),
    };
    let parts = typed.list(&all::ALLOWED_HOSTS, part, HOSTS)?;
    let listed: Option<Vec<String>> = parts.into_iter().collect();
    Ok(listed.map_or(AllowedHosts::Any, AllowedHosts::Listed))
}

/// Off, or long enough that an answer before it is not at once.
fn proxy_idle_timeout(typed: &Typed) -> Result<Duration, ConfigError> {
    let setting = &all::PROXY_IDLE_TIMEOUT;
    let timeout = typed.fixed(setting)?;
    match typed.get(&setting.quantity.about) {
        Some(given) if !timeout.is_zero() && timeout <= PROXY_IDLE_MARGIN => {
            let (margin, max) = (PROXY_IDLE_MARGIN.show(), setting.quantity.max.show());
            let allowed = format!("0, or a duration longer than {margin} up to {max}");
            Err(given.refused(setting.quantity.about.name, allowed))
        }
        _ => Ok(timeout),
    }
}

fn app_name(text: &str) -> Option<String> {
    let fits = (1..=255).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn log_level(text: &str) -> Option<LogLevel> {
    LogLevel::ALL
        .into_iter()
        .find(|level| level.name().eq_ignore_ascii_case(text))
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Some(LogFormat::Auto),
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn port(Count(number): Count) -> u16 {
    u16::try_from(number).expect("the range of the port ends at 65535")
}

/// As many as the address space holds, where it is smaller than the number.
fn count(Count(number): Count) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn size(Size(bytes): Size) -> usize {
    count(Count(bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Layers;
    use crate::config::catalogue::SETTINGS;

    const MACHINE: Machine = Machine {
        cores: 4,
        memory: 8 << 30,
    };

    pub(in crate::config) fn decided(
        flags: &[(&'static str, &str)],
    ) -> Result<(Config, Vec<String>), ConfigError> {
        let flags = flags.iter().map(|(name, text)| (*name, (*text).to_owned()));
        let layers = Layers {
            flags: flags.collect(),
            ..Layers::default()
        };
        decide(&layers.merge()?, MACHINE)
    }

    fn config(flags: &[(&'static str, &str)]) -> Config {
        decided(flags).unwrap().0
    }

    fn refused(flags: &[(&'static str, &str)]) -> String {
        decided(flags).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let (config, warnings) = decided(&[]).unwrap();
        assert!(warnings.is_empty());
        assert_eq!(config.address().to_string(), "127.0.0.1:8080");
        assert_eq!(config.workers, 4);
        assert_eq!(config.app_name, "Pulsar Proxy");
        assert_eq!(
            (config.log_level, config.log_format),
            (LogLevel::Info, LogFormat::Auto)
        );
        assert_eq!(config.hot_tier_retention, Duration::from_secs(600));
        assert_eq!(config.max_messages_per_topic, 1_000_000);
        assert_eq!(config.topic_bytes_max, 256 << 20);
        assert_eq!(config.memory_max, 4 << 30);
        assert_eq!(
            (config.max_connections, config.http_connections_max),
            (10_000, 1_024)
        );
        assert_eq!(
            (config.topics_max, config.subscriptions_max),
            (100_000, 100)
        );
        assert_eq!(config.max_message_size, 1_048_576);
        assert_eq!(config.idempotency_bytes_max, 64 << 20);
        assert_eq!(config.client_retention, Duration::from_secs(86_400));
        assert_eq!(
            (config.consumers_max, config.group_members_max),
            (10_000, 1_000)
        );
        assert_eq!(config.dead_letter_topic, None);
        assert_eq!(config.proxy_idle_timeout, Duration::ZERO);
        assert_eq!(config.head_timeout, Duration::from_secs(10));
        assert_eq!(config.body_timeout, Duration::from_secs(30));
        assert_eq!(config.keep_alive_timeout, Duration::from_secs(75));
        assert_eq!(
            (config.head_bytes_max, config.target_bytes_max),
            (32 << 10, 16 << 10)
        );
        assert_eq!((config.headers_max, config.pipeline_max), (100, 16));
        assert_eq!(config.ws_ping_interval, Duration::from_secs(20));
        assert_eq!(config.ws_idle_timeout, Duration::from_secs(60));
        assert_eq!(config.lag_timeout, Duration::from_secs(30));
        assert!(!config.ws_compression && !config.ws_echo && !config.insecure_no_auth);
        assert_eq!(config.outbox_bytes_max, (1 << 20) + ENVELOPE_BYTES_MAX);
        assert_eq!(config.metrics_topics_max, 1_000);
        assert_eq!(
            (config.drain_delay, config.drain_timeout),
            (Duration::ZERO, Duration::from_secs(30))
        );
        assert!(config.allowed_origins.is_empty());
        assert_eq!(config.allowed_hosts, AllowedHosts::Listed(Vec::new()));
    }

    #[test]
    fn a_default_that_is_typed_changes_nothing() {
        for setting in SETTINGS {
            let text = setting.default_text();
            let computed = ["workers", "memory-max", "outbox-bytes-max"];
            if !text.is_empty() && !computed.contains(&setting.about().name) {
                assert_eq!(
                    config(&[(setting.about().name, &text)]),
                    config(&[]),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn computed_defaults_follow_machine_and_settings() {
        let typed = Typed::default();
        let small = decide(
            &typed,
            Machine {
                cores: 0,
                memory: 0,
            },
        )
        .unwrap()
        .0;
        assert_eq!((small.workers, small.memory_max), (1, 16 << 20));
        let large = decide(
            &typed,
            Machine {
                cores: 500,
                memory: u64::MAX,
            },
        )
        .unwrap()
        .0;
        assert_eq!((large.workers, large.memory_max), (64, 16 << 40));
        let little = config(&[("max-message-size", "4KiB")]);
        assert_eq!(little.outbox_bytes_max, 1 << 20);
    }

    #[test]
    fn every_setting_is_read() {
        for (flag, text, expected) in [
            ("host", "::1", "host: ::1"),
            ("port", "0", "port: 0"),
            ("workers", "64", "workers: 64"),
            ("app-name", "x y", "app_name: \"x y\""),
            ("drain-delay", "1", "drain_delay: 1s"),
            ("drain-timeout", "0", "drain_timeout: 0ns"),
            ("hot-tier-retention", "1m30s", "hot_tier_retention: 90s"),
            ("max-messages-per-topic", "1", "max_messages_per_topic: 1,"),
            ("topic-bytes-max", "2MiB", "topic_bytes_max: 2097152"),
            ("memory-max", "16MiB", "memory_max: 16777216"),
            ("client-retention", "1h", "client_retention: 3600s"),
            ("dead-letter-topic", "lost", "text: \"lost\""),
            ("max-connections", "1", "max_connections: 1,"),
            ("http-connections-max", "17", "http_connections_max: 17"),
            ("topics-max", "2", "topics_max: 2,"),
            ("max-message-size", "1KiB", "max_message_size: 1024"),
            ("subscriptions-max", "3", "subscriptions_max: 3,"),
            ("consumers-max", "1", "consumers_max: 1,"),
            ("group-members-max", "1", "group_members_max: 1,"),
            (
                "idempotency-bytes-max",
                "128KiB",
                "idempotency_bytes_max: 131072,",
            ),
            ("head-timeout", "500ms", "head_timeout: 500ms"),
            ("body-timeout", "0.5", "body_timeout: 500ms"),
            ("keep-alive-timeout", "1h", "keep_alive_timeout: 3600s"),
            ("head-bytes-max", "16KiB", "head_bytes_max: 16384"),
            ("headers-max", "256", "headers_max: 256"),
            ("target-bytes-max", "64", "target_bytes_max: 64,"),
            ("pipeline-max", "1", "pipeline_max: 1,"),
            ("proxy-idle-timeout", "6", "proxy_idle_timeout: 6s"),
            ("ws-ping-interval", "1", "ws_ping_interval: 1s"),
            ("ws-idle-timeout", "21", "ws_idle_timeout: 21s"),
            ("lag-timeout", "1", "lag_timeout: 1s"),
            ("ws-compression", "1", "ws_compression: true"),
            ("ws-echo", "on", "ws_echo: true"),
            ("outbox-bytes-max", "2MiB", "outbox_bytes_max: 2097152"),
            ("insecure-no-auth", "on", "insecure_no_auth: true"),
            (
                "allowed-origins",
                "null, http://A:80",
                "allowed_origins: [\"null\", \"http://a\"]",
            ),
            (
                "allowed-hosts",
                "A,[::1]",
                "allowed_hosts: Listed([\"a\", \"::1\"])",
            ),
            ("allowed-hosts", "a,*", "allowed_hosts: Any"),
            ("log-level", "critical", "log_level: Critical"),
            ("log-format", "JSON", "log_format: Json"),
            ("metrics-topics-max", "0", "metrics_topics_max: 0"),
        ] {
            let text = format!("{:?}", config(&[(flag, text)]));
            assert!(text.contains(expected), "{expected} not in {text}");
        }
    }

    #[test]
    fn a_wrong_value_names_setting_source_and_what_is_allowed() {
        for (flag, text, allowed) in [
            (
                "host",
                "example.com",
                "an IPv4 or IPv6 address or localhost",
            ),
            ("port", "65536", "a whole number from 0 to 65535"),
            ("port", "-1", "a whole number from 0 to 65535"),
            ("port", "", "a whole number from 0 to 65535"),
            ("workers", "65", "a whole number from 1 to 64"),
            ("app-name", "", "a text of 1 to 255 printable characters"),
            (
                "http-connections-max",
                "16",
                "a whole number from 17 to 16000000",
            ),
            ("headers-max", "257", "a whole number from 1 to 256"),
            (
                "head-timeout",
                "0",
                "a duration such as 500ms, 10s or 1m30s, a plain number being seconds, from 10ms to 1h",
            ),
            (
                "max-message-size",
                "1 GiB",
                "a size such as 64KiB or 1MiB, a plain number being bytes, from 1KiB to 64MiB",
            ),
            (
                "proxy-idle-timeout",
                "5",
                "0, or a duration longer than 5s up to 1h",
            ),
            ("group-members-max", "0", "a whole number from 1 to 100000"),
            ("ws-echo", "maybe", "true, 1, yes, on, false, 0, no or off"),
            ("allowed-origins", "example.com", ORIGINS),
            ("allowed-hosts", "example.com:80", HOSTS),
            ("log-level", "LOUD", LEVELS),
            ("log-format", "xml", "auto, text or json"),
            ("storage-backend", "disk", "memory"),
        ] {
            assert_eq!(
                refused(&[(flag, text)]),
                format!(
                    "the setting {flag}, given by --{flag}, cannot be {text:?}: allowed is {allowed}"
                )
            );
        }
    }

    #[test]
    fn a_wrong_value_stays_on_its_line() {
        let text = format!("a\n{}", "b".repeat(1_000));
        let sentence = refused(&[("log-level", &text)]);
        assert!(
            sentence.len() < 250 && !sentence.contains('\n'),
            "{sentence}"
        );
    }

    #[test]
    fn what_is_not_built_takes_its_default_only() {
        for (flag, text, default) in [
            ("storage-backend", "valkey", "memory"),
            ("persistent-tier-retention", "5s", "1day"),
            ("rate-limit-per-client", "60", "0"),
        ] {
            assert_eq!(
                refused(&[(flag, text)]),
                format!(
                    "the setting {flag}, given by --{flag}, cannot be {text:?}: this version does not \
                     have that part yet, and only the default, {default}, is allowed"
                )
            );
        }
        assert_eq!(
            config(&[("persistent-tier-retention", "86400")]),
            config(&[])
        );
        assert_eq!(
            config(&[
                ("storage-backend", "Memory"),
                ("rate-limit-per-client", "0")
            ]),
            config(&[])
        );
    }
}
