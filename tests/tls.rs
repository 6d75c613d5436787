//! HTTPS and the Unix socket: what clients see, and what changes while they are connected.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_util::everywhere::everywhere;
use test_util::{DEADLINE, Http, Program, Server, wait_until, with_workers};
use tungstenite::{Message, WebSocket};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// An authority with what it has issued, in files.
struct Issued {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Issued {
    fn new() -> Issued {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let issued = Issued {
            directory: tempfile::tempdir().expect("a folder"),
            authority,
        };
        fs::write(issued.path("ca.pem"), issued.authority.pem()).expect("it is written");
        issued.issue("server", "localhost");
        issued.issue("client", "somebody");
        issued
    }

    /// A certificate and its key in `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, host: &str) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        // One with the name of its issuer passes for self-signed.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, host);
        let certificate = params
            .signed_by(&key, &self.authority)
            .expect("it is signed");
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("it is written");
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("it is written");
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        self.path(file)
            .to_str()
            .expect("a folder's name")
            .to_owned()
    }

    /// Flags for HTTPS on a port of its own.
    fn flags(&self) -> Vec<String> {
        let (certificate, key) = (self.text("server.pem"), self.text("server.key"));
        let flags = [
            "--tls-port",
            "0",
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
        ];
        flags.into_iter().map(str::to_owned).collect()
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion], shows: bool) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.authority.der().clone())
            .expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = if shows {
            let chain = CertificateDer::from_pem_file(self.path("client.pem")).expect("PEM");
            let key = PrivateKeyDer::from_pem_file(self.path("client.key")).expect("PEM");
            builder
                .with_client_auth_cert(vec![chain], key)
                .expect("a pair")
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    fn connect(&self, address: SocketAddr) -> Tls {
        connect(address, self.client(rustls::ALL_VERSIONS, false)).expect("a handshake")
    }
}

/// A connection after its handshake.
fn connect(address: SocketAddr, config: ClientConfig) -> io::Result<Tls> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    let name = "localhost".try_into().expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(client, socket);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

fn start(place: impl Fn(&[&str]) -> Server, flags: &[String]) -> Server {
    place(&flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Where HTTPS is, which the log says.
fn tls_address(server: &Server) -> SocketAddr {
    let log = server.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut addresses = lines.filter_map(|event| event["tls_address"].as_str()?.parse().ok());
    addresses.next_back().expect("it is logged")
}

/// One request on a connection; the answer's status and body.
fn ask(stream: &mut (impl Read + Write), request: &str) -> (u16, Vec<u8>) {
    stream.write_all(request.as_bytes()).expect("it is sent");
    answer(stream)
}

fn answer(stream: &mut impl Read) -> (u16, Vec<u8>) {
    let mut bytes = Vec::new();
    let end = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        bytes.push(byte[0]);
        if bytes.ends_with(b"\r\n\r\n") {
            break bytes.len();
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head[9..12].parse().expect("a status");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).expect("a body");
    (status, body)
}

fn post(topic: &str, payload: &Value) -> String {
    let body = json!({"topic": topic, "payload": {"is": payload}}).to_string();
    let head =
        "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn subscribed(stream: Tls, topic: &str) -> WebSocket<Tls> {
    let (mut websocket, _) =
        tungstenite::client("wss://localhost/ws", stream).expect("a handshake");
    let subscribe = json!({"type": "subscribe", "topics": [topic], "client_id": "c"});
    websocket
        .send(Message::text(subscribe.to_string()))
        .expect("it is sent");
    assert_eq!(next(&mut websocket)["type"], "subscribed");
    websocket
}

fn next(websocket: &mut WebSocket<Tls>) -> Value {
    loop {
        let message = websocket.read().expect("a message");
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
}

#[test]
fn https_serves_what_http_serves() {
    let issued = Issued::new();
    everywhere(|place| {
        let server = start(|flags| place.start(flags), &issued.flags());
        let address = tls_address(&server);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = issued.client(&[version], false);
            let mut http = connect(address, config.clone()).expect("a handshake");
            assert_eq!(http.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(ask(&mut http, &get("/health")).0, 200);

            let stream = connect(address, config).expect("a handshake");
            let mut websocket = subscribed(stream, "t");
            let large = "x".repeat(900_000);
            for payload in [json!(1), json!(large), json!(2)] {
                assert_eq!(ask(&mut http, &post("t", &payload)).0, 201);
                assert!(next(&mut websocket)["payload"]["is"] == payload);
            }
            // Without TLS beside it.
            server.publish("t", &json!({"is": "plain"}));
            assert_eq!(next(&mut websocket)["payload"]["is"], "plain");
        }
        let mut http = issued.connect(address);
        let many = (0..50).map(|_| get("/health")).collect::<String>();
        http.write_all(many.as_bytes()).expect("they are sent");
        for _ in 0..50 {
            assert_eq!(answer(&mut http).0, 200);
        }
    });
}

#[test]
fn a_client_that_reads_slowly_gets_everything_in_order() {
    let issued = Issued::new();
    with_workers(|workers| {
        let start = |flags: &[&str]| Server::start(&[flags, &["--workers", workers]].concat());
        let server = self::start(start, &issued.flags());
        let mut websocket = subscribed(issued.connect(tls_address(&server)), "t");
        let text = "y".repeat(100_000);
        let mut http = Http::open(server.addr());
        for number in 0..100 {
            http.publish(&json!({"topic": "t", "payload": {"number": number, "text": text}}));
        }
        for number in 0..100 {
            assert_eq!(next(&mut websocket)["payload"]["number"], number);
        }
        websocket.close(None).expect("it is sent");
        while let Ok(message) = websocket.read() {
            assert!(message.is_close(), "{message}");
        }
    });
}

#[test]
fn what_is_no_tls_ends_alone() {
    let issued = Issued::new();
    let more = ["--head-timeout", "300ms"].map(str::to_owned);
    let flags = [issued.flags(), more.to_vec()].concat();
    let server = start(Server::start, &flags);
    let address = tls_address(&server);
    let mut good = issued.connect(address);
    assert_eq!(ask(&mut good, &get("/health")).0, 200);
    for first in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01",
        b"",
        &[0; 70_000],
    ] {
        let mut socket = TcpStream::connect(address).expect("it listens");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        // It may be closed before all is sent.
        let _ = socket.write_all(first);
        // An alert and the end, or the end alone: also for one who never goes on.
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes);
        assert!(bytes.is_empty() || bytes[0] == 21, "{bytes:?}");
    }
    assert_eq!(ask(&mut good, &get("/health")).0, 200);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn who_is_turned_away_is_told_so_in_tls() {
    let issued = Issued::new();
    let more = ["--http-connections-max", "17", "--workers", "1"].map(str::to_owned);
    let server = start(Server::start, &[issued.flags(), more.to_vec()].concat());
    let address = tls_address(&server);
    // One ordinary place and 16 for operators, who have it for a second.
    let held: Vec<Tls> = (0..17).map(|_| issued.connect(address)).collect();
    let mut turned = issued.connect(address);
    assert_eq!(answer(&mut turned).0, 503);
    assert_eq!(turned.read(&mut [0]).expect("an end that is told"), 0);
    drop(held);
}

#[test]
fn another_certificate_is_shown_when_the_files_change() {
    let issued = Issued::new();
    let server = start(Server::start, &issued.flags());
    let address = tls_address(&server);
    let shown = || {
        issued
            .connect(address)
            .conn
            .peer_certificates()
            .map(<[_]>::to_vec)
    };
    let first = shown();
    let mut websocket = subscribed(issued.connect(address), "t");

    issued.issue("server", "localhost");
    wait_until("the files are seen", DEADLINE, || shown() != first);
    let second = shown();
    issued.issue("server", "localhost");
    server.signal("HUP");
    wait_until("the signal is seen", DEADLINE, || shown() != second);
    let third = shown();

    let good = fs::read(issued.path("server.pem")).expect("it is there");
    fs::write(issued.path("server.pem"), "nothing").expect("it is written");
    let complaint = || server.log().contains("the certificate stays as it was");
    wait_until("it is said", DEADLINE, complaint);
    assert_eq!(shown(), third);
    fs::write(issued.path("server.pem"), good).expect("it is written");

    server.publish("t", &json!({"is": 1}));
    assert_eq!(
        next(&mut websocket)["payload"]["is"],
        1,
        "connections go on"
    );
}

#[test]
fn clients_must_show_a_certificate_of_the_authority() {
    let (issued, other) = (Issued::new(), Issued::new());
    let more = ["--tls-client-ca".to_owned(), issued.text("ca.pem")];
    with_workers(|workers| {
        let more = [&more[..], &["--workers".to_owned(), workers.to_owned()]].concat();
        let server = start(Server::start, &[issued.flags(), more].concat());
        let address = tls_address(&server);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut good = connect(address, issued.client(&[version], true)).expect("it is known");
            assert_eq!(ask(&mut good, &get("/health")).0, 200);
            let strange = {
                let chain = CertificateDer::from_pem_file(other.path("client.pem")).expect("PEM");
                let key = PrivateKeyDer::from_pem_file(other.path("client.key")).expect("PEM");
                let mut roots = RootCertStore::empty();
                roots
                    .add(issued.authority.der().clone())
                    .expect("a certificate");
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                ClientConfig::builder_with_provider(provider)
                    .with_protocol_versions(&[version])
                    .expect("versions")
                    .with_root_certificates(roots)
                    .with_client_auth_cert(vec![chain], key)
                    .expect("a pair")
            };
            for config in [issued.client(&[version], false), strange] {
                // In TLS 1.3 the client learns of it with its first read.
                let refused = connect(address, config).and_then(|mut stream| {
                    stream.write_all(get("/health").as_bytes())?;
                    stream.read_exact(&mut [0])
                });
                refused.expect_err("it shows none that is known");
            }
        }
        assert_eq!(
            server.get("/health").status,
            200,
            "the plain port asks for none"
        );
    });
}

fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program is installed");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that has ended needs no more of it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[test]
fn curl_openssl_and_python_agree_with_it() {
    let issued = Issued::new();
    let more = ["--tls-client-ca".to_owned(), issued.text("ca.pem")];
    let server = start(Server::start, &[issued.flags(), more.to_vec()].concat());
    let port = tls_address(&server).port();
    let files = [
        issued.text("ca.pem"),
        issued.text("client.pem"),
        issued.text("client.key"),
    ];
    let [ca, certificate, key] = files.each_ref().map(String::as_str);
    let url = format!("https://localhost:{port}/health");
    let resolve = format!("localhost:{port}:127.0.0.1");
    let with = ["--cert", certificate, "--key", key];
    let curl = ["-sS", "--cacert", ca, "--resolve", &resolve, &url];
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        let output = run("curl", &[&curl[..], &with, version].concat(), "");
        assert!(output.status.success(), "{output:?}");
        assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok());
    }
    assert!(
        !run("curl", &curl, "").status.success(),
        "without a certificate"
    );
    let old = run(
        "curl",
        &[&curl[..], &with, &["--tls-max", "1.1"]].concat(),
        "",
    );
    assert!(!old.status.success(), "TLS 1.1 is not spoken");

    let at = format!("127.0.0.1:{port}");
    let client = [
        "s_client",
        "-connect",
        &at,
        "-servername",
        "localhost",
        "-alpn",
        "h2,http/1.1",
    ];
    let client = [
        &client[..],
        &["-CAfile", ca, "-verify_return_error", "-cert", certificate],
    ]
    .concat();
    let client = [&client[..], &["-key", key]].concat();
    let session = issued.text("session.pem");
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let keep = [version, "-ign_eof", "-sess_out", &session];
        let output = run("openssl", &[&client[..], &keep].concat(), request);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("ALPN protocol: http/1.1"), "{text}");
        assert!(
            text.contains("Verification: OK") && text.contains("HTTP/1.1 200"),
            "{text}"
        );
        let resume = [version, "-ign_eof", "-sess_in", &session];
        let output = run("openssl", &[&client[..], &resume].concat(), request);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("Reused, TLSv1"),
            "the session is resumed: {text}"
        );
        assert!(text.contains("HTTP/1.1 200"), "{text}");
    }

    let script = "
import http.client, json, ssl, sys
port, ca, certificate, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
client = http.client.HTTPSConnection('localhost', int(port), context=context)
for number in range(3):
    body = json.dumps({'topic': 't', 'payload': {'is': 'z' * 200_000}})
    client.request('POST', '/api/v1/messages', body, {'Content-Type': 'application/json'})
    answer = client.getresponse()
    assert answer.status == 201, answer.read()
    answer.read()
";
    // The name must lead to the address that is listened on.
    let script = script.replace("'localhost', int(port)", "'127.0.0.1', int(port)");
    let script = script.replace(
        "context.load",
        "context.check_hostname = False\ncontext.load",
    );
    let python = ["-c", &script, &port.to_string(), ca, certificate, key];
    let output = run("python3", &python, "");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_certificate_alone_takes_the_port() {
    let issued = Issued::new();
    let pair = issued.flags()[2..].to_vec();
    let server = start(Server::start, &pair);
    assert!(
        !server.log().contains("tls_address"),
        "there is one address"
    );
    assert_eq!(
        ask(&mut issued.connect(server.addr()), &get("/health")).0,
        200
    );
}

#[test]
fn files_that_are_no_pair_refuse_the_start() {
    let (issued, other) = (Issued::new(), Issued::new());
    let cases = [
        (
            issued.text("server.pem"),
            other.text("server.key"),
            "does not fit",
        ),
        (issued.text("missing"), issued.text("server.key"), "missing"),
        (
            issued.text("server.key"),
            issued.text("server.key"),
            "no certificate",
        ),
    ];
    for (certificate, key, why) in cases {
        let flags = ["--port", "0", "--tls-cert", &certificate, "--tls-key", &key];
        let (code, log) = Program::new(&flags).run();
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains("tls-cert") && log.contains(why), "{log}");
        let secret = fs::read_to_string(&key).unwrap_or_default();
        let leaked = secret.lines().skip(1).any(|line| log.contains(line));
        assert!(!leaked, "{log}");
    }
}

#[test]
fn a_unix_socket_serves_as_well_and_is_removed_at_the_end() {
    with_workers(|workers| {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("proxy.sock");
        let text = path.to_str().expect("a folder's name");
        let flags = ["--unix-socket", text, "--workers", workers];
        let mut server = Server::start(&flags);
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o660);
        for _ in 0..20 {
            let mut stream = UnixStream::connect(&path).expect("it listens");
            stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            assert_eq!(ask(&mut stream, &post("t", &json!("u"))).0, 201);
            assert_eq!(ask(&mut stream, &get("/api/v1/topics")).0, 200);
        }
        assert_eq!(server.get("/health").status, 200);
        assert_taken(text);
        assert_eq!(server.stop(), Some(0));
        assert!(!path.exists());
        give_way(&path, &flags);
    });
}

/// No second server listens where one does, nor in place of a file.
fn assert_taken(path: &str) {
    let file = format!("{path}.txt");
    fs::write(&file, "mine").expect("it is written");
    for taken in [path, &file] {
        let (code, log) = Program::new(&["--port", "0", "--unix-socket", taken]).run();
        assert!(
            code.is_some_and(|code| code != 0) && log.contains(taken),
            "{log}"
        );
    }
    assert_eq!(fs::read_to_string(file).expect("it is there"), "mine");
}

/// What a killed server has left is no hindrance.
fn give_way(path: &Path, flags: &[&str]) {
    let mut killed = Server::start(flags);
    killed.signal("KILL");
    killed.wait(Duration::from_secs(5));
    assert!(path.exists());
    let server = Server::start(flags);
    let mut stream = UnixStream::connect(path).expect("it listens");
    assert_eq!(ask(&mut stream, &get("/health")).0, 200);
    drop(server);
}
