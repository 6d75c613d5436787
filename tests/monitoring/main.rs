//! What an operator looks at works: a real Prometheus scrapes running servers under load, and every question of
//! the dashboard and of the alerts is answered. `deploy/` and `docs/OPERATIONS.md` are held against each other.

mod dashboard;
mod load;
mod prometheus;
mod texts;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;
use tempfile::TempDir;
use test_util::valkey::instance;
use test_util::{DEADLINE, Server, ValkeySetup, wait_until};

use dashboard::Question;
use load::{Load, PAUSE};
use prometheus::Prometheus;

/// How often Prometheus scrapes, and over how much time rates are taken.
const SCRAPE_INTERVAL: &str = "500ms";
const RATE_INTERVAL: &str = "3s";
/// How long the load goes on, and how far back questions look: further than all of it takes.
const LOAD: Duration = Duration::from_secs(7);
const LOOK_BACK_SECONDS: u64 = 60;

/// Questions that are answered in rare trouble alone, and which.
const RARE: [(&str, &str); 1] = [("marks: Restarts", "no instance was started again")];

const BOUNDS: [&str; 16] = [
    "--workers",
    "2",
    "--topic-bytes-max",
    "2MiB",
    "--outbox-bytes-max",
    "256KiB",
    "--max-message-size",
    "64KiB",
    "--lag-timeout",
    "1s",
    "--dead-letter-topic",
    "dead",
    "--http-connections-max",
    "64",
    "--metrics-topics-max",
    "100",
];

#[test]
fn every_question_of_the_dashboard_and_of_the_alerts_is_answered() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = ValkeySetup::new().start();
    let in_memory = Server::start(&BOUNDS);
    let spool = folder.path().join("spool");
    let spool = spool.to_string_lossy();
    let behind = ["--on-outage", "spool", "--spool-dir", &spool];
    let on_valkey = instance(store.port(), &[&BOUNDS[..], &behind].concat());
    on_valkey.wait_until_ready();
    let guarded = guarded(&folder);
    let servers = [&in_memory, &on_valkey, &guarded];
    let addresses = servers.map(Server::addr);
    let Some(prometheus) = Prometheus::start(&addresses, SCRAPE_INTERVAL) else {
        return;
    };
    let mut loads = [Load::on(&in_memory), Load::on(&on_valkey)];
    let end = Instant::now() + LOAD;
    while Instant::now() < end {
        loads.iter_mut().for_each(Load::play);
        thread::sleep(PAUSE);
    }
    let up = "count(up == 1)";
    wait_until("all have been scraped", DEADLINE, || {
        prometheus.query(up)[0]["value"][1] == "3"
    });

    let questions = dashboard::questions();
    let silent: Vec<&str> = questions
        .iter()
        .filter(|question| !is_answered(&prometheus, question))
        .map(|question| &*question.place)
        .collect();
    let rare = RARE.map(|(place, _)| place);
    assert_eq!(
        silent, rare,
        "those without an answer are those of which that is known"
    );
    assert_rules(&prometheus);
    // What was dropped into the topic for dead letters is seen; nothing is broken.
    wait_until("the alert of dead letters fires", DEADLINE, || {
        is_firing(&prometheus, "PulsarProxyDeadLetters")
    });
    assert!(!is_firing(&prometheus, "PulsarProxyInternalErrors"));
    for server in servers {
        assert_lint(&server.metrics());
    }
}

/// Whether there is a number at some time.
fn is_answered(prometheus: &Prometheus, question: &Question) -> bool {
    let expression = question.filled(RATE_INTERVAL);
    let series = prometheus.query_range(&expression, LOOK_BACK_SECONDS);
    let values = series.iter().flat_map(|it| it["values"].as_array());
    let mut numbers = values.flatten().filter_map(|pair| pair[1].as_str());
    numbers.any(|number| number.parse::<f64>().is_ok_and(f64::is_finite))
}

fn is_firing(prometheus: &Prometheus, alert: &str) -> bool {
    let query = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
    !prometheus.query(&query).is_empty()
}

/// All rules are loaded, and none has an error; each can be asked by hand as well.
fn assert_rules(prometheus: &Prometheus) {
    let is_evaluated = |rule: &Value| rule["health"] != "unknown";
    wait_until("rules are evaluated", DEADLINE, || {
        prometheus.rules().iter().all(is_evaluated)
    });
    let rules = prometheus.rules();
    assert!(rules.len() > 40, "{}", rules.len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        prometheus.query(rule["query"].as_str().expect("a rule has an expression"));
    }
}

/// `promtool` dislikes one name, which is given (SPEC section 10), and nothing else.
fn assert_lint(page: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there where Prometheus is");
    let mut input = promtool.stdin.take().expect("standard input is piped");
    input.write_all(page.as_bytes()).expect("promtool reads");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let remarks = said.lines().filter(|line| !line.is_empty());
    let remarks: Vec<&str> = remarks
        .filter(|line| !line.starts_with("proxy_topic_message_count "))
        .collect();
    assert!(remarks.is_empty(), "{remarks:#?}");
}

/// A server with a certificate and a key set that it fetches.
fn guarded(folder: &TempDir) -> Server {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::write(path("cert.pem"), cert.pem()).expect("a file can be written");
    fs::write(path("key.pem"), signing_key.serialize_pem()).expect("a file can be written");
    let url = format!("http://{}/keys", key_set());
    Server::start(&[
        "--tls-port",
        "0",
        "--tls-cert",
        &path("cert.pem"),
        "--tls-key",
        &path("key.pem"),
        "--jwt-jwks",
        &url,
        "--jwt-jwks-refresh",
        "1s",
    ])
}

/// Where a key set can be fetched.
fn key_set() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Who asked sees what goes wrong.
            let _ = give_keys(stream);
        }
    });
    address
}

fn give_keys(mut stream: TcpStream) -> Option<()> {
    let mut head = BufReader::new(stream.try_clone().ok()?).lines();
    while !head.next()?.ok()?.is_empty() {}
    // 32 bytes of nothing in particular.
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";
    let body = format!(r#"{{"keys":[{{"kty":"oct","alg":"HS256","kid":"a","k":"{key}"}}]}}"#);
    let length = body.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).ok()
}
