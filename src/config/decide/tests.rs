//! Defaults, every setting by itself, and the sentences about wrong values.

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
    assert_eq!(config.valkey, None);
    assert_eq!(config.proxy_idle_timeout, Duration::ZERO);
    assert!(config.api_docs);
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
        let computed = [
            "tls-port",
            "workers",
            "memory-max",
            "outbox-bytes-max",
            "valkey-port",
        ];
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
        ("drain-reconnect-rate", "7", "drain_reconnect_rate: 7,"),
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
        ("api-docs", "off", "api_docs: false"),
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
        ("storage-backend", "disk", "memory or valkey"),
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
