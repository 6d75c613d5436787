//! `pulsar-proxy check`, `completions` and `man`: what they show, and what they hide.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

/// Runs the program in the directory with an otherwise empty environment.
fn run(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pulsar-proxy"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the program was built")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

/// The line of a setting in the text form, its columns separated by one space.
fn line(shown: &str, name: &str) -> String {
    let start = format!("{name} ");
    let line = shown.lines().find(|line| line.starts_with(&start));
    let words = line.expect("every setting is shown").split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

const KEY: &str = "me:read:sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const SECRETS: [(&str, &str); 4] = [
    ("JWT_SECRET_KEY", "hunter2 hunter2 hunter2 hunter2 hunter2"),
    ("VALKEY_PASSWORD", "hunter2"),
    ("PULSAR_VALKEY_SENTINEL_PASSWORD", "hunter2"),
    (
        "PULSAR_JWT_JWKS",
        "https://me:hunter2@keys.example/set?token=hunter2",
    ),
];

#[test]
fn every_setting_is_shown_with_its_origin_and_no_secret() {
    let directory = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("it is written");
    };
    write(
        ".env",
        "PULSAR_CONFIG=p.toml\nLOG_LEVEL=ERROR\nVALKEY_USERNAME=hunter2\n",
    );
    write("p.toml", "topics_max = 7\nstorage_backend = \"valkey\"\n");
    let environment = [&SECRETS[..], &[("WORKERS", "3"), ("PULSAR_PROT", "1")]].concat();
    let arguments = ["check", "--port", "9000", "--api-keys", KEY];
    let output = run(directory.path(), &arguments, &environment);
    let (shown, errors) = (text(output.stdout), text(output.stderr));
    assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{shown}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("sha256"),
        "{shown}"
    );
    for expected in [
        "port 9000 flag --port",
        "workers 3 environment WORKERS",
        "log-level ERROR .env LOG_LEVEL",
        "topics-max 7 file topics_max in p.toml",
        "host 127.0.0.1 default",
        "api-keys (hidden) flag --api-keys",
        "valkey-password (hidden) environment VALKEY_PASSWORD",
        "jwt-jwks https://…@keys.example/set?… environment PULSAR_JWT_JWKS",
        "outbox-bytes-max 1050112 decided 1MiB, or what one message needs",
    ] {
        let name = expected.split(' ').next().expect("a name");
        assert_eq!(line(&shown, name), expected);
    }
    for warning in ["PULSAR_PROT is ignored", "valkey-sentinel-password"] {
        let told = |line: &str| line.starts_with("warning: ") && line.contains(warning);
        assert!(shown.lines().any(told), "{warning}: {shown}");
    }
    let output = run(
        directory.path(),
        &[&arguments[..], &["--json"]].concat(),
        &environment,
    );
    let shown = text(output.stdout);
    assert!(
        !shown.contains("hunter2") && !shown.contains("sha256"),
        "{shown}"
    );
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["valid"], true);
    let settings = shown["settings"].as_array().expect("a list");
    let port = settings.iter().find(|setting| setting["name"] == "port");
    let port = port.expect("the port");
    assert_eq!(
        (&port["value"], &port["origin"]),
        (&"9000".into(), &"flag".into())
    );
    let help = text(run(directory.path(), &["--help"], &[]).stdout);
    for setting in settings {
        let flag = format!("--{}", setting["name"].as_str().expect("a name"));
        assert!(help.contains(&flag), "{flag}");
    }
}

#[test]
fn what_no_server_would_start_with_is_refused() {
    let directory = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("it is written");
    };
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    write(
        "c.pem",
        &params.self_signed(&key).expect("a certificate").pem(),
    );
    write("k.pem", &key.serialize_pem());
    write(
        "other.pem",
        &KeyPair::generate().expect("a key").serialize_pem(),
    );
    write("keys.toml", "[[keys]]\nnonsense = 1\n");
    let output = run(
        directory.path(),
        &["check", "--tls-cert", "c.pem", "--tls-key", "k.pem"],
        &[],
    );
    let shown = text(output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("The certificate in c.pem and its key can be used."),
        "{shown}"
    );
    for (arguments, environment, sentence) in [
        (
            &["--port", "x"][..],
            &[][..],
            "the setting port, given by --port",
        ),
        (&["--host", "0.0.0.0"], &[], "no credentials are configured"),
        (
            &["--tls-cert", "c.pem", "--tls-key", "other.pem"],
            &[],
            "does not fit",
        ),
        (
            &["--tls-cert", "c.pem", "--tls-key", "no.pem"],
            &[],
            "no.pem",
        ),
        (&["--api-keys-file", "keys.toml"], &[], "api-keys-file"),
        (&["--dead-letter-topic", "a b"], &[], "dead-letter-topic"),
        (&["--config", "no.toml"], &[], "names the file no.toml"),
        (
            &[],
            &[("JWT_SECRET_KEY", "hunter2")],
            "shorter than 32 bytes",
        ),
    ] {
        let arguments = [&["check"], arguments].concat();
        let output = run(directory.path(), &arguments, environment);
        let errors = text(output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(
            output.stdout.is_empty() && errors.contains(sentence),
            "{errors}"
        );
        assert!(
            errors.lines().count() == 1 && !errors.contains("hunter2"),
            "{errors}"
        );
        let output = run(
            directory.path(),
            &[&arguments[..], &["--json"]].concat(),
            environment,
        );
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(
            (output.status.code(), &said["valid"]),
            (Some(2), &false.into())
        );
        let told = said["error"].as_str().expect("a sentence");
        assert!(told.contains(sentence), "{said}");
    }
}

#[test]
fn a_server_is_not_warned_of_what_its_clients_read() {
    let directory = tempfile::tempdir().expect("a folder");
    let environment = [("PULSAR_URL", "http://a"), ("PULSAR_CREDENTIAL", "hunter2")];
    let shown = text(run(directory.path(), &["check"], &environment).stdout);
    assert!(
        !shown.contains("warning") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn shells_take_the_completions() {
    let directory = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(directory.path(), &["completions", shell], &[]);
        let script = text(output.stdout);
        assert_eq!(output.status.code(), Some(0));
        for word in ["healthcheck", "hot-tier-retention", "credential-file"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if shell == "bash" {
            let path = directory.path().join("completions");
            fs::write(&path, script).expect("it is written");
            let status = Command::new("bash").arg("-n").arg(&path).status();
            assert!(status.expect("there is a bash").success());
        }
    }
    let output = run(directory.path(), &["completions", "tcsh"], &[]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_manual_page_has_every_subcommand() {
    let directory = tempfile::tempdir().expect("a folder");
    let output = run(directory.path(), &["man"], &[]);
    let page = text(output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(page.contains(".TH pulsar-proxy 1"), "{page}");
    for name in [
        "SERVE",
        "PUB",
        "SUB",
        "TOKEN",
        "TOKEN MAKE",
        "CHECK",
        "HEALTHCHECK",
        "COMPLETIONS",
        "MAN",
    ] {
        let title = format!(".SH \"PULSAR-PROXY {name}\"");
        assert!(page.contains(&title), "{title}");
    }
    let explained = page.matches("leaves the history in memory").count();
    assert_eq!(explained, 1, "the settings stand on it once");
    assert!(page.contains("\\-\\-drain\\-timeout"), "{page}");
    let groff = Command::new("groff")
        .args(["-man", "-Tutf8", "-k", "-ww"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // Where there is no groff, nobody reads the page.
    if let Ok(mut groff) = groff {
        let mut stdin = groff.stdin.take().expect("it is piped");
        let writing = std::thread::spawn(move || stdin.write_all(page.as_bytes()));
        let output = groff.wait_with_output().expect("it ends");
        writing
            .join()
            .expect("it only writes")
            .expect("groff reads");
        let errors = text(output.stderr);
        assert!(
            output.status.success() && !errors.contains("error"),
            "{errors}"
        );
        // Titles are written over twice to be bold; options are not.
        assert!(text(output.stdout).contains("PULSAR_CLIENT_CERT]"));
    }
}
