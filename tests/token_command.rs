//! `pulsar-proxy token`: what it makes is what the server takes.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use test_util::{Http, Server};

const SECRET: &str = "a secret for tests: 0123456789abcdef";
const KEYS: &str = "src/access/jwt/verifier/tests";

/// Runs the command; returns whether it succeeded, and what it said.
fn run(arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pulsar-proxy"))
        .arg("token")
        .args(arguments)
        .env_clear()
        .env("JWT_SECRET_KEY", SECRET)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("an input");
    // It may not read.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("a text");
    (output.status.success(), said.trim().to_owned())
}

fn made(arguments: &[&str]) -> String {
    let (succeeded, said) = run(arguments, "");
    assert!(succeeded, "{said}");
    said
}

fn status(server: &Server, method: &str, path: &str, credential: &str) -> u16 {
    let credential = format!("Bearer {credential}");
    let headers = [("Authorization", &*credential)];
    Http::open(server.addr())
        .request(method, path, &headers, b"")
        .status
}

#[test]
fn a_key_that_it_makes_opens_a_server() {
    let said = made(&["key", "me", "--permissions", "read"]);
    let (key, line) = said.split_once('\n').expect("two lines");
    let key = key.strip_prefix("key:").expect("the key").trim();
    let line = line.strip_prefix("--api-keys:").expect("the line").trim();
    let server = Server::start(&["--api-keys", line]);
    assert_eq!(status(&server, "GET", "/api/v1/topics", key), 200);
    assert_eq!(status(&server, "DELETE", "/api/v1/topics/a", key), 403);
    let (_, hash) = run(&["hash"], &format!("{key}\n"));
    assert!(line.ends_with(&hash), "{line} {hash}");
    assert_ne!(said, made(&["key", "me", "--permissions", "read"]));
}

#[test]
fn a_token_that_it_signs_is_accepted_and_shown() {
    let rights = [
        "--subject",
        "ann",
        "--permissions",
        "read,write",
        "--publish",
        "in-*,news",
    ];
    let token = made(&[&["make"], &rights[..]].concat());
    let server = Server::start(&["--jwt-secret-key", SECRET]);
    assert_eq!(status(&server, "GET", "/api/v1/topics", &token), 200);
    for (arguments, input) in [(["inspect", &token], ""), (["inspect", "-"], &*token)] {
        let (_, shown) = run(&arguments, input);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(shown["verdict"], "accepted as sub:ann");
        assert_eq!(shown["header"]["alg"], "HS256");
        assert_eq!(shown["claims"]["publish"][1], "news");
    }
    let expired = made(&["make", "--expires-in", "0s"]);
    assert!(made(&["inspect", &expired]).contains("refused: The token has expired"));
}

#[test]
fn private_keys_of_every_kind_sign() {
    for (name, algorithm) in [
        ("rsa", "RS256"),
        ("p256", "ES256"),
        ("p384", "ES384"),
        ("ed25519", "EdDSA"),
    ] {
        let private = format!("{KEYS}/{name}.pem");
        let rights = ["--permissions", "read", "--key-id", "k1"];
        let token = made(&[&["make", "--private-key", &private], &rights[..]].concat());
        let server = Server::start(&["--jwt-public-key", &here(&format!("{KEYS}/{name}.pub.pem"))]);
        assert_eq!(
            status(&server, "GET", "/api/v1/topics", &token),
            200,
            "{name}"
        );
        let shown: Value = serde_json::from_str(&made(&["inspect", &token])).expect("JSON");
        assert_eq!(
            (&shown["header"]["alg"], &shown["header"]["kid"]),
            (&algorithm.into(), &"k1".into())
        );
    }
}

fn here(path: &str) -> String {
    let directory = std::env::current_dir().expect("a directory");
    directory.join(path).display().to_string()
}

#[test]
fn what_no_server_would_take_is_not_made() {
    for (arguments, sentence) in [
        (
            &["make", "--permissions", "root"][..],
            "--permissions: \"root\" is none",
        ),
        (&["make", "--publish", "a b"], "--publish: \"a b\" is none"),
        (
            &["make", "--private-key", "Cargo.toml"],
            "no private key of a kind",
        ),
        (&["make", "--private-key", "/nowhere"], "No such file"),
        (&["key", "a b"], "the name of key 1"),
        (
            &["key", "a", "--permissions", "root"],
            "a permission of key a",
        ),
        (&["inspect", "x.y.z"], "this is no JSON Web Token"),
        (&["hash"], "standard input is empty"),
    ] {
        let (succeeded, said) = run(arguments, "");
        assert!(!succeeded && said.contains(sentence), "{said}");
        assert!(!said.contains(SECRET));
    }
}
