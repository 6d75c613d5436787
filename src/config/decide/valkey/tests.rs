//! The tier's defaults, every setting of it by itself, what contradicts, and what is ignored.

use super::*;
use crate::config::catalogue::SETTINGS;
use crate::config::decide::tests::decided;
use crate::config::{Layers, Machine, decide as decide_all};

type Flags<'a> = &'a [(&'static str, &'a str)];

const BACKEND: (&str, &str) = ("storage-backend", "valkey");

fn with_backend<'a>(flags: Flags<'a>) -> Vec<(&'static str, &'a str)> {
    [&[BACKEND], flags].concat()
}

fn settings(flags: Flags<'_>) -> ValkeySettings {
    let (config, warnings) = decided(&with_backend(flags)).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    config.valkey.unwrap()
}

fn refused(flags: Flags<'_>) -> String {
    decided(&with_backend(flags)).unwrap_err().to_string()
}

fn warned(flags: Flags<'_>) -> Vec<String> {
    decided(flags).unwrap().1
}

#[test]
fn defaults_are_those_of_the_contract() {
    let hour = Duration::from_secs(3_600);
    let expected = ValkeySettings {
        topology: ValkeyTopology::Standalone,
        addresses: vec![("127.0.0.1".to_owned(), 6_379)],
        username: None,
        password: None,
        sentinel_username: None,
        sentinel_password: None,
        db: 0,
        use_tls: false,
        ca_file: None,
        prefix: "pulsar:".to_owned(),
        timeout: Duration::from_secs(5),
        queue_bytes_max: 64 << 20,
        wait: 0,
        linger: Duration::from_secs(10),
        retention: 24 * hour,
        last_retention: 48 * hour,
        on_outage: OnOutage::Reject,
    };
    assert_eq!(settings(&[]), expected);
    assert_eq!(
        decided(&[("storage-backend", "Memory")]).unwrap(),
        decided(&[]).unwrap()
    );
    let shorter = [
        ("persistent-tier-retention", "1h"),
        ("client-retention", "2h"),
    ];
    assert_eq!(settings(&shorter).last_retention, 3 * hour);
}

#[test]
fn every_setting_of_the_tier_is_known_here() {
    let of_tier = |name: &str| {
        ["valkey-", "spool-", "on-outage", "persistent-"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let declared = SETTINGS
        .iter()
        .map(|setting| setting.about().name)
        .filter(|name| of_tier(name));
    assert!(declared.eq(ALL.iter().map(|about| about.name)));
}

#[test]
fn a_default_that_is_typed_changes_nothing() {
    for setting in SETTINGS {
        let (about, text) = (setting.about(), setting.default_text());
        let alone = !about.name.contains("sentinel") && !about.name.starts_with("spool");
        if ALL.iter().any(|of_tier| of_tier.name == about.name)
            && alone
            && !["valkey-port", "valkey-ca-file"].contains(&about.name)
        {
            assert_eq!(
                settings(&[(about.name, &text)]),
                settings(&[]),
                "{}",
                about.name
            );
        }
    }
}

#[test]
fn every_setting_is_read() {
    for (flag, text, expected) in [
        (
            "valkey-host",
            "Db.example",
            "addresses: [(\"db.example\", 6379)]",
        ),
        (
            "valkey-host",
            "[FD00::1]:7000,",
            "addresses: [(\"fd00::1\", 7000)]",
        ),
        ("valkey-port", "1", "addresses: [(\"127.0.0.1\", 1)]"),
        ("valkey-mode", "CLUSTER", "topology: Cluster"),
        ("valkey-username", "me", "username: Some(Secret(..))"),
        ("valkey-username", "", "username: None"),
        ("valkey-password", "hunter2", "password: Some(Secret(..))"),
        ("valkey-password", "", "password: None"),
        ("valkey-db", "2147483646", "db: 2147483646"),
        ("valkey-use-tls", "on", "use_tls: true"),
        ("valkey-prefix", "", "prefix: \"\""),
        ("valkey-prefix", "a~!", "prefix: \"a~!\""),
        ("valkey-timeout", "100ms", "timeout: 100ms"),
        ("valkey-queue-bytes-max", "4MiB", "queue_bytes_max: 4194304"),
        ("valkey-wait", "16", "wait: 16"),
        ("valkey-linger", "1h", "linger: 3600s"),
        ("persistent-tier-retention", "1", "retention: 1s"),
        ("on-outage", "REJECT", "on_outage: Reject"),
    ] {
        let text = format!("{:?}", settings(&[(flag, text)]));
        assert!(text.contains(expected), "{expected} not in {text}");
    }
    let tls = settings(&[("valkey-use-tls", "on"), ("valkey-ca-file", "ca.pem")]);
    assert_eq!(tls.ca_file, Some(PathBuf::from("ca.pem")));
    let spool = [
        ("on-outage", "Spool"),
        ("spool-dir", "/s"),
        ("spool-bytes-max", "3MiB"),
    ];
    let directory = PathBuf::from("/s");
    let bytes_max = 3 << 20;
    assert_eq!(
        settings(&spool).on_outage,
        OnOutage::Spool {
            directory,
            bytes_max
        }
    );
}

#[test]
fn several_nodes_and_sentinels_have_their_ports() {
    let named = |host: &str, port| (host.to_owned(), port);
    let hosts = ("valkey-host", "a, b:1,[::1],[::2]:2");
    let cluster = settings(&[("valkey-mode", "cluster"), hosts, ("valkey-port", "7000")]);
    let addresses = [
        named("a", 7_000),
        named("b", 1),
        named("::1", 7_000),
        named("::2", 2),
    ];
    assert_eq!(cluster.addresses, addresses);
    let sentinel = settings(&[
        ("valkey-mode", "sentinel"),
        ("valkey-host", "a,b:1"),
        ("valkey-sentinel-username", "watcher"),
        ("valkey-sentinel-password", "hunter2"),
        ("valkey-db", "3"),
    ]);
    let master = "mymaster".to_owned();
    assert_eq!(sentinel.topology, ValkeyTopology::Sentinel { master });
    assert_eq!(sentinel.addresses, [named("a", 26_379), named("b", 1)]);
    assert_eq!(sentinel.sentinel_username.unwrap().expose(), "watcher");
    assert_eq!(sentinel.sentinel_password.unwrap().expose(), "hunter2");
    assert_eq!(sentinel.db, 3);
}

#[test]
fn a_wrong_value_names_setting_source_and_what_is_allowed() {
    let many = vec!["a"; VALKEY_ADDRESSES_MAX + 1].join(",");
    let long = "a".repeat(VALKEY_PREFIX_MAX + 1);
    let ports = "a whole number from 1 to 65535";
    for (flag, text, allowed) in [
        ("valkey-host", "redis://a", HOSTS),
        ("valkey-host", "::1", HOSTS),
        ("valkey-host", "a:0", HOSTS),
        ("valkey-host", ",", HOSTS),
        ("valkey-host", "", HOSTS),
        ("valkey-port", "0", ports),
        ("valkey-port", "65536", ports),
        ("valkey-mode", "replica", MODES),
        ("valkey-db", "-1", "a whole number from 0 to 2147483646"),
        (
            "valkey-use-tls",
            "maybe",
            "true, 1, yes, on, false, 0, no or off",
        ),
        ("valkey-prefix", "{a}", PREFIXES),
        ("valkey-prefix", "a b", PREFIXES),
        ("valkey-prefix", "ä", PREFIXES),
        ("valkey-prefix", &long, PREFIXES),
        ("valkey-wait", "17", "a whole number from 0 to 16"),
        ("on-outage", "wait", OUTAGES),
        ("storage-backend", "redis", BACKENDS),
    ] {
        assert_eq!(
            refused(&[(flag, text)]),
            format!(
                "the setting {flag}, given by --{flag}, cannot be {text:?}: allowed is {allowed}"
            )
        );
    }
    for (flag, text, bounds) in [
        ("valkey-timeout", "99ms", "from 100ms to 1m"),
        ("valkey-linger", "999ms", "from 1s to 1h"),
        ("persistent-tier-retention", "0", "from 1s to "),
        ("valkey-queue-bytes-max", "1000000", "from 1MiB to 1TiB"),
    ] {
        let sentence = refused(&[(flag, text)]);
        assert!(sentence.contains(bounds), "{sentence}");
    }
    let sentence = refused(&[("valkey-mode", "cluster"), ("valkey-host", &many)]);
    assert!(sentence.ends_with(HOSTS), "{sentence}");
    for master in ["", "a b", &"a".repeat(256)] {
        let sentence = refused(&[
            ("valkey-mode", "sentinel"),
            ("valkey-sentinel-master", master),
        ]);
        assert!(sentence.ends_with(MASTERS), "{sentence}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let mode = "with valkey-mode, given by --valkey-mode, which is cluster";
    assert_eq!(
        refused(&[("valkey-mode", "cluster"), ("valkey-db", "1")]),
        format!("the setting valkey-db, given by --valkey-db, cannot be 1: it must be 0 {mode}")
    );
    assert_eq!(
        refused(&[("valkey-host", "a,b")]),
        "the setting valkey-host, given by --valkey-host, cannot be 2 hosts: it must be one host with \
         valkey-mode, left at its default, which is standalone"
    );
    assert_eq!(
        refused(&[("on-outage", "spool"), ("spool-dir", "")]),
        "the setting spool-dir, given by --spool-dir, cannot be none: it must be a directory with \
         on-outage, given by --on-outage, which is spool"
    );
    assert_eq!(
        decided(&[("on-outage", "spool"), ("spool-dir", "/s")])
            .unwrap_err()
            .to_string(),
        "the setting on-outage, given by --on-outage, cannot be spool: it must be reject with \
         storage-backend, left at its default, which is memory"
    );
    let large = ("max-message-size", "2MiB");
    let two = "it must be at least two of the largest messages of max-message-size";
    let queue = refused(&[
        ("valkey-queue-bytes-max", "4MiB"),
        large,
        ("outbox-bytes-max", "4MiB"),
    ]);
    assert!(
        queue.contains("valkey-queue-bytes-max") && queue.contains(two),
        "{queue}"
    );
    let spool = [
        ("on-outage", "spool"),
        ("spool-dir", "/s"),
        ("spool-bytes-max", "4MiB"),
        large,
    ];
    let spool = refused(&spool);
    assert!(
        spool.contains("spool-bytes-max") && spool.contains(two),
        "{spool}"
    );
}

#[test]
fn what_has_nothing_to_do_is_told_of() {
    let ignored = |flag: &str, because: &str| {
        format!("the setting {flag}, given by --{flag}, is ignored: {because}")
    };
    for about in ALL {
        // Wrong values too: nothing reads them. What an outage does is read, to refuse a spool.
        let text = if about.name == "on-outage" {
            "reject"
        } else {
            "{hunter2}"
        };
        let warnings = warned(&[(about.name, text)]);
        assert_eq!(warnings, [ignored(about.name, "storage-backend is memory")]);
    }
    for about in SENTINEL {
        for mode in ["standalone", "cluster"] {
            let warnings = warned(&[BACKEND, ("valkey-mode", mode), (about.name, "x")]);
            assert_eq!(
                warnings,
                [ignored(about.name, &format!("valkey-mode is {mode}"))]
            );
        }
    }
    let warnings = warned(&[BACKEND, ("valkey-ca-file", "x")]);
    assert_eq!(
        warnings,
        [ignored("valkey-ca-file", "valkey-use-tls is off")]
    );
    let warnings = warned(&[BACKEND, ("spool-dir", "x"), ("spool-bytes-max", "2MiB")]);
    let because = "on-outage is reject";
    assert_eq!(
        warnings,
        [
            ignored("spool-dir", because),
            ignored("spool-bytes-max", because)
        ]
    );
}

#[test]
fn no_secret_is_shown() {
    let secret = "hunter2".repeat(1 + SECRET_BYTES_MAX / 7);
    for setting in [
        &all::VALKEY_USERNAME,
        &all::VALKEY_PASSWORD,
        &all::VALKEY_SENTINEL_USERNAME,
        &all::VALKEY_SENTINEL_PASSWORD,
    ] {
        let name = setting.about.name;
        let sentence = refused(&[("valkey-mode", "sentinel"), (name, &secret)]);
        assert_eq!(
            sentence,
            format!(
                "the setting {name}, given by --{name}, cannot be a text of {} bytes: allowed is {SECRETS}",
                secret.len()
            )
        );
        let decided = decided(&[BACKEND, ("valkey-mode", "sentinel"), (name, "hunter2")]);
        let text = format!("{decided:?}");
        assert!(
            text.contains("Secret(..)") && !text.contains("hunter2"),
            "{text}"
        );
    }
}

#[test]
fn the_names_of_old_work_as_they_are() {
    let old = [
        ("STORAGE_BACKEND", "valkey"),
        ("VALKEY_HOST", "localhost"),
        ("VALKEY_PORT", "6380"),
        ("VALKEY_USERNAME", "me"),
        ("VALKEY_PASSWORD", ""),
        ("VALKEY_DB", "2"),
        ("VALKEY_USE_TLS", "True"),
        ("PERSISTENT_TIER_RETENTION", "3600"),
    ];
    let machine = Machine {
        cores: 1,
        memory: 1 << 30,
    };
    for prefix in ["", "PULSAR_"] {
        let mut layers = Layers::default();
        for (name, text) in old {
            layers
                .environment
                .insert(format!("{prefix}{name}"), text.into());
        }
        let (config, warnings) = decide_all(&layers.merge().unwrap(), machine).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let settings = config.valkey.unwrap();
        assert_eq!(settings.addresses, [("localhost".to_owned(), 6_380)]);
        assert_eq!(settings.username.unwrap().expose(), "me");
        assert_eq!(settings.password, None);
        assert_eq!((settings.db, settings.use_tls), (2, true));
        assert_eq!(settings.retention, Duration::from_secs(3_600));
    }
    let mut layers = Layers::default();
    layers
        .dotenv
        .insert("VALKEY_PASSWORD".into(), "hunter2".into());
    layers
        .environment
        .insert("VALKEY_MODE".into(), "cluster".into());
    let (config, warnings) = decide_all(&layers.merge().unwrap(), machine).unwrap();
    assert_eq!(config.valkey, None);
    assert_eq!(
        warnings,
        [
            "the setting valkey-password, given by VALKEY_PASSWORD in the file .env, is ignored: \
          storage-backend is memory"
        ]
    );
}
