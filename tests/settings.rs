//! Wrong settings stop the start: exit code 2 and one sentence that names the setting, its source and
//! what is allowed, whatever the source is.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the program in the directory with the arguments and an otherwise empty environment.
fn run(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pulsar-proxy"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(directory)
        .output()
        .expect("the program was built")
}

/// The sentence of a start that is refused.
fn refused(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = run(directory, arguments, environment);
    let sentence = String::from_utf8(output.stderr).expect("sentences are UTF-8");
    assert_eq!(output.status.code(), Some(2), "{sentence}");
    assert!(output.stdout.is_empty());
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    sentence.trim_end().to_owned()
}

const PORTS: &str = "allowed is a whole number from 0 to 65535";

#[test]
fn wrong_values_are_refused_from_every_source() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert_eq!(
        refused(path, &["--port", "70000"], &[]),
        format!("pulsar-proxy: the setting port, given by --port, cannot be \"70000\": {PORTS}")
    );
    assert_eq!(
        refused(path, &["serve", "--port=x"], &[]),
        format!("pulsar-proxy: the setting port, given by --port, cannot be \"x\": {PORTS}")
    );
    for name in ["PULSAR_PORT", "PULSAR_HTTP_PORT", "HTTP_PORT"] {
        assert_eq!(
            refused(path, &[], &[(name, "x")]),
            format!(
                "pulsar-proxy: the setting port, given by the environment variable {name}, cannot be \
                 \"x\": {PORTS}"
            )
        );
    }
    fs::write(path.join("p.toml"), "port = -1\n").unwrap();
    assert_eq!(
        refused(path, &["--config", "p.toml"], &[]),
        format!(
            "pulsar-proxy: the setting port, given by port in the file p.toml, cannot be \"-1\": {PORTS}"
        )
    );
    fs::write(path.join(".env"), "HTTP_PORT=y\n").unwrap();
    assert_eq!(
        refused(path, &["--config", "p.toml"], &[]),
        format!(
            "pulsar-proxy: the setting port, given by HTTP_PORT in the file .env, cannot be \"y\": {PORTS}"
        )
    );
}

#[test]
fn the_stronger_source_is_the_one_that_counts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(
        path.join(".env"),
        "PULSAR_CONFIG=p.toml\nPULSAR_WORKERS=0\n",
    )
    .unwrap();
    fs::write(path.join("p.toml"), "workers = 99\nlog_level = \"LOUD\"\n").unwrap();
    let sentence = refused(path, &["--workers", "65"], &[("WORKERS", "66")]);
    assert!(
        sentence.contains("given by --workers, cannot be \"65\""),
        "{sentence}"
    );
    let sentence = refused(path, &[], &[("WORKERS", "66")]);
    assert!(
        sentence.contains("variable WORKERS, cannot be \"66\""),
        "{sentence}"
    );
    let sentence = refused(path, &[], &[("WORKERS", "")]);
    assert!(
        sentence.contains("PULSAR_WORKERS in the file .env, cannot be \"0\""),
        "{sentence}"
    );
    let sentence = refused(path, &[], &[("WORKERS", "1")]);
    assert!(
        sentence.contains("log_level in the file p.toml, cannot be \"LOUD\""),
        "{sentence}"
    );
}

#[test]
fn files_that_cannot_be_used_refuse_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let sentence = refused(path, &["--config", "no.toml"], &[]);
    assert!(
        sentence.contains("given by --config, names the file no.toml"),
        "{sentence}"
    );
    fs::write(path.join("p.toml"), "port =\n").unwrap();
    let sentence = refused(path, &[], &[("PULSAR_CONFIG", "p.toml")]);
    assert!(
        sentence.contains("the file p.toml, line 1, is not valid TOML"),
        "{sentence}"
    );
    fs::write(path.join("p.toml"), "http_port = 1\n").unwrap();
    let sentence = refused(path, &["--config", "p.toml"], &[]);
    assert!(
        sentence.contains("the setting http_port in the file p.toml is unknown"),
        "{sentence}"
    );
    fs::write(path.join(".env"), "A=1\nAPP_NAME=Pulsar Proxy\n").unwrap();
    let sentence = refused(path, &[], &[]);
    assert!(sentence.contains("the file .env in the working directory is malformed in line 2"));
}

#[test]
fn other_addresses_than_loopback_are_refused_without_credentials() {
    let directory = tempfile::tempdir().unwrap();
    for host in ["0.0.0.0", "::", "10.0.0.1"] {
        let sentence = refused(directory.path(), &["--host", host], &[]);
        assert!(sentence.contains("given by --host"), "{sentence}");
        assert!(
            sentence.contains("no credentials are configured"),
            "{sentence}"
        );
        assert!(sentence.contains("--insecure-no-auth"), "{sentence}");
        refused(
            directory.path(),
            &["--host", host, "--insecure-no-auth=off"],
            &[],
        );
    }
}

#[test]
fn a_short_token_key_is_refused_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["JWT_SECRET_KEY", "PULSAR_JWT_SECRET_KEY"] {
        let sentence = refused(directory.path(), &[], &[(name, "hunter2")]);
        assert!(
            sentence.contains("jwt-secret-key: the secret is shorter than 32 bytes")
                && !sentence.contains("hunter2"),
            "{sentence}"
        );
    }
}

#[test]
fn a_spool_needs_valkey_and_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let sentence = refused(directory.path(), &["--on-outage", "spool"], &[]);
    assert!(
        sentence.contains("storage-backend, left at its default, which is memory"),
        "{sentence}"
    );
    let environment = [("STORAGE_BACKEND", "valkey"), ("PULSAR_ON_OUTAGE", "spool")];
    let sentence = refused(directory.path(), &[], &environment);
    assert!(
        sentence.contains("the setting spool-dir, left at its default, cannot be none"),
        "{sentence}"
    );
}

#[test]
fn secrets_of_valkey_are_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let secret = "hunter2".repeat(1_000);
    let environment = [("STORAGE_BACKEND", "valkey"), ("VALKEY_PASSWORD", &secret)];
    let sentence = refused(directory.path(), &[], &environment);
    assert!(
        sentence.contains("valkey-password, given by the environment variable VALKEY_PASSWORD"),
        "{sentence}"
    );
    assert!(!sentence.contains("hunter2"), "{sentence}");
    fs::write(
        directory.path().join("p.toml"),
        "storage_backend = \"valkey\"\nvalkey_password = hunter2\n",
    )
    .unwrap();
    let sentence = refused(directory.path(), &["--config", "p.toml"], &[]);
    assert!(
        sentence.contains("line 2") && !sentence.contains("hunter2"),
        "{sentence}"
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--ws-ping-interval", "2m"];
    let sentence = refused(directory.path(), &arguments, &[]);
    assert!(
        sentence.contains("ws-idle-timeout, left at its default, cannot be 1m"),
        "{sentence}"
    );
    assert!(
        sentence.contains("given by --ws-ping-interval, which is 2m"),
        "{sentence}"
    );
}

#[test]
fn a_dead_letter_topic_that_is_no_topic_name_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let allowed = "allowed is a topic name: 1 to 255 letters, numbers, - and _, not only - and _";
    assert_eq!(
        refused(
            directory.path(),
            &["--dead-letter-topic", "a b", "--log-level=error"],
            &[]
        ),
        format!(
            "pulsar-proxy: the setting dead-letter-topic, given by --dead-letter-topic, cannot be \
             \"a b\": {allowed}"
        )
    );
    let environment = [("PULSAR_DEAD_LETTER_TOPIC", "--")];
    let sentence = refused(directory.path(), &[], &environment);
    assert!(
        sentence.contains("variable PULSAR_DEAD_LETTER_TOPIC"),
        "{sentence}"
    );
}

#[test]
fn unknown_flags_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let arguments: [&[&str]; 4] = [
        &["--prot", "1"],
        &["--port"],
        &["listen"],
        &["--port", "1", "serve"],
    ];
    for arguments in arguments {
        let output = run(directory.path(), arguments, &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(arguments[0]), "{text}");
    }
}

#[test]
fn help_lists_every_part_and_version_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), &["--help"], &[("HTTP_PORT", "wrong")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for part in [
        "Server:",
        "Storage:",
        "Limits:",
        "HTTP:",
        "WebSocket:",
        "Access:",
        "--head-timeout",
    ] {
        assert!(text.contains(part), "{part}");
    }
    // Wrapped as the terminal wants it.
    let text: Vec<&str> = text.split_whitespace().collect();
    let port = "[default: 8080] [env: PULSAR_PORT, PULSAR_HTTP_PORT, HTTP_PORT]";
    assert!(text.join(" ").contains(port));
    let output = run(directory.path(), &["--version"], &[]);
    let version = format!("pulsar-proxy {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), version);
}
