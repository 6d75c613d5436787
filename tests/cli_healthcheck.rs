//! `pulsar-proxy healthcheck`: it finds the server beside it by the same settings, however that listens.

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use tempfile::TempDir;
use test_util::ports::free_port;
use test_util::{Ended, Program, Running, Server};

/// A server on a port of its own, and its flags.
fn started(flags: &[&str]) -> (Server, Vec<String>) {
    let port = free_port().to_string();
    let flags = [flags, &["--port", &port]].concat();
    let server = Program::new(&flags).start();
    (server, flags.iter().map(ToString::to_string).collect())
}

/// Asks for the health of a server with these flags.
fn ask(flags: &[String], more: &[&str]) -> Ended {
    let mut arguments = vec!["healthcheck"];
    arguments.extend(flags.iter().map(String::as_str));
    arguments.extend(more);
    Running::run(&arguments, &[], "")
}

fn assert_says(ended: &Ended, sentence: &str) {
    assert_eq!(
        (ended.code, ended.output.trim()),
        (Some(0), sentence),
        "{ended:?}"
    );
}

fn assert_fails(ended: &Ended, sentence: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.errors.contains(sentence) && ended.output.is_empty(),
        "{ended:?}"
    );
    assert_eq!(ended.errors.lines().count(), 1, "{ended:?}");
}

/// An authority, and what it has issued for servers and clients, in files.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Files {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let directory = tempfile::tempdir().expect("a folder");
        let files = Files { directory };
        files.write("ca.pem", &authority.pem());
        for name in ["server", "client", "other"] {
            let key = KeyPair::generate().expect("a key");
            let host = format!("{name}.example");
            let mut params = CertificateParams::new(vec![host.clone()]).expect("a name");
            // One with the name of its issuer passes for self-signed.
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, host);
            let certificate = params.signed_by(&key, &authority).expect("it is signed");
            files.write(&format!("{name}.pem"), &certificate.pem());
            files.write(&format!("{name}.key"), &key.serialize_pem());
        }
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).expect("it is written");
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

#[test]
fn it_finds_the_server_by_its_settings() {
    for host in [
        &["--host", "127.0.0.1"][..],
        &["--insecure-no-auth", "--host", "0.0.0.0"],
        &["--insecure-no-auth", "--host", "::"],
    ] {
        let (_server, flags) = started(host);
        assert_says(&ask(&flags, &[]), "ready");
        assert_says(&ask(&flags, &["--live"]), "alive");
    }
    let port = free_port().to_string();
    let _server = Program::new(&["--port", &port]).start();
    // What is meant for commands that talk to other servers does not count.
    let environment = [("HTTP_PORT", &*port), ("PULSAR_URL", "http://127.0.0.1:1")];
    assert_says(&Running::run(&["healthcheck"], &environment, ""), "ready");
    let url = format!("http://127.0.0.1:{port}");
    assert_says(
        &Running::run(&["healthcheck", "--url", &url], &[], ""),
        "ready",
    );
}

#[test]
fn credentials_proxies_and_sockets_are_no_hindrance() {
    let (_server, flags) = started(&["--jwt-secret-key", "a secret for tests: 0123456789abcdef"]);
    assert_says(&ask(&flags, &[]), "ready");
    let trusted = ["--proxy-protocol", "--trusted-proxies", "127.0.0.0/8"];
    let (_server, flags) = started(&trusted);
    assert_says(&ask(&flags, &[]), "ready");
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("p.sock").display().to_string();
    let _server = Server::start(&["--unix-socket", &socket]);
    let flags = ["--port", "0", "--unix-socket", &socket].map(str::to_owned);
    assert_says(&ask(&flags, &[]), "ready");
    let url = format!("unix:{socket}");
    assert_says(
        &Running::run(&["healthcheck", "--url", &url], &[], ""),
        "ready",
    );
}

#[test]
fn certificates_of_any_name_and_of_clients_are_no_hindrance() {
    let files = Files::new();
    let (certificate, key) = (files.path("server.pem"), files.path("server.key"));
    let authority = files.path("ca.pem");
    let pair = ["--tls-cert", &certificate, "--tls-key", &key];
    let (server, flags) = started(&pair);
    assert_says(&ask(&flags, &[]), "ready");
    let url = format!("https://{}", server.addr());
    let arguments = ["healthcheck", "--url", &url, "--ca-file", &authority];
    assert_fails(&Running::run(&arguments, &[], ""), "is not trusted");
    let mutual = [&pair[..], &["--tls-client-ca", &authority]].concat();
    let (_server, flags) = started(&mutual);
    assert_fails(&ask(&flags, &[]), "give --client-cert and --client-key");
    let (certificate, key) = (files.path("client.pem"), files.path("client.key"));
    let shown = ["--client-cert", &certificate, "--client-key", &key];
    assert_says(&ask(&flags, &shown), "ready");
    let socket = files.path("p.sock");
    let (_server, flags) = started(&[&mutual[..], &["--unix-socket", &socket]].concat());
    assert_says(&ask(&flags, &[]), "ready");
}

#[test]
fn a_new_certificate_that_cannot_be_used_ends_no_server() {
    let files = Files::new();
    let (certificate, key) = (files.path("server.pem"), files.path("server.key"));
    let (_server, flags) = started(&["--tls-cert", &certificate, "--tls-key", &key]);
    fs::copy(files.path("other.pem"), &certificate).expect("it is replaced");
    let sentence = format!("ready, but the certificate is not that of {certificate}");
    assert_says(&ask(&flags, &[]), &sentence);
}

#[test]
fn what_is_not_ready_fails_in_one_sentence() {
    let (server, flags) = started(&["--drain-delay", "1m"]);
    server.signal("TERM");
    server.wait_until_unready();
    assert_fails(&ask(&flags, &[]), "not ready: ");
    assert_says(&ask(&flags, &["--live"]), "alive");
    drop(server);
    assert_fails(&ask(&flags, &[]), "is a server running there?");
    let port = |number: &str| ["--port", number].map(str::to_owned);
    assert_fails(&ask(&port("0"), &[]), "give --url");
    assert_fails(&ask(&port("x"), &[]), "the setting port");
    let nonsense = ask(&["--nonsense".to_owned()], &[]);
    assert_eq!(nonsense.code, Some(1), "container engines know no other");
}
