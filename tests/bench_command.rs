//! `pulsar-proxy bench`: every load in every form, what it notices, and how it ends.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use test_util::{DEADLINE, Server, wait_until};

/// Small loads, one of each kind.
const SMALL: [&[&str]; 6] = [
    &["publish", "--connections", "4"],
    &[
        "publish",
        "--connections",
        "2",
        "--rate",
        "200",
        "--bulk",
        "2",
    ],
    &["fanout", "--subscribers", "8", "--topics", "2"],
    &["fanout", "--subscribers", "8", "--rate", "100"],
    &["idle", "--connections", "150"],
    &["poll", "--subscribers", "120"],
];

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulsar-proxy"));
    command.arg("bench").args(arguments).env_clear();
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A fan-out to three that goes on for an hour and has begun.
fn hour_long(server: &Server) -> Child {
    let url = url(server);
    let arguments =
        "fanout --subscribers 3 --rate 100 --duration 1h --warmup 0 --output json --url";
    let arguments: Vec<&str> = arguments.split(' ').chain([&*url]).collect();
    let child = bench(&arguments).spawn().expect("it starts");
    wait_until("messages are published", DEADLINE, || {
        server.metric("proxy_messages_received_total", &[]) > 5.0
    });
    child
}

fn output(arguments: &[&str]) -> Output {
    bench(arguments).output().expect("it runs")
}

/// Runs a load for a moment against a server; returns the exit code and the result.
fn measure(server: &Server, arguments: &[&str]) -> (Option<i32>, Value) {
    let url = url(server);
    let common = [
        "--url",
        &url,
        "--duration",
        "0.3",
        "--warmup",
        "0.1",
        "--output",
        "json",
    ];
    // The last of what is given twice would be an error, so what a test chooses goes alone.
    let common = common.chunks(2).filter(|it| !arguments.contains(&it[0]));
    let common: Vec<_> = common.flatten().copied().collect();
    let output = output(&[arguments, &common].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        report.unwrap_or_else(|error| panic!("{error}: {said}")),
    )
}

fn url(server: &Server) -> String {
    format!("http://{}", server.addr())
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn every_load_is_measured_and_consistent() {
    let server = Server::start(&[]);
    for load in SMALL {
        let (code, report) = measure(&server, load);
        assert_eq!(
            (code, &report["passed"]),
            (Some(0), &true.into()),
            "{report:#}"
        );
        assert_eq!(report["server"]["pid"], server.pid());
        assert_eq!(report["server"]["version"], report["version"]);
        assert_eq!(report["server"]["topics_left"], 0);
        let run = &report["runs"][0];
        assert_eq!(run["scenario"], load[0]);
        let published = number(&run["published"]);
        let audience = number(&run["subscribers"]) / number(&run["topics"]);
        assert!(published > 0.0, "{run:#}");
        assert_eq!(number(&run["delivered"]), published * audience, "{run:#}");
        for fault in [
            "lost",
            "doubled",
            "misordered",
            "unexpected",
            "refused",
            "unanswered",
        ] {
            assert_eq!(run["faults"][fault], 0, "{run:#}");
        }
        let latency = &run["publish_latency"];
        let percentiles = ["p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms"];
        let percentiles = percentiles.map(|name| number(&latency[name]));
        assert!(percentiles.is_sorted() && percentiles[0] > 0.0, "{run:#}");
        let requests = published / number(&run["messages_per_request"]);
        assert_eq!(number(&latency["count"]), requests, "{run:#}");
        assert_eq!(
            run["delivery_latency"].is_null(),
            audience == 0.0,
            "{run:#}"
        );
        assert!(
            number(&run["server"]["cpu_us_per_operation"]) > 0.0,
            "{run:#}"
        );
        assert!(number(&run["server"]["resident_bytes"]) > 1e6, "{run:#}");
        let grown = &run["server"]["bytes_per_connection"];
        assert_eq!(
            grown.is_null(),
            !["idle", "poll"].contains(&load[0]),
            "{run:#}"
        );
    }
    wait_until("no topic is left", DEADLINE, || {
        server.get("/api/v1/topics").json() == Value::Array(Vec::new())
    });
}

#[test]
fn all_of_them_run_against_servers_of_their_own_in_text_and_markdown() {
    let small = ["--duration", "0.2", "--warmup", "0", "--size", "128"];
    for (form, mark) in [("text", "  checked"), ("markdown", "|---|")] {
        let arguments = [
            &["fanout", "--subscribers", "5", "--output", form],
            &small[..],
        ]
        .concat();
        let output = output(&arguments);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let command = format!("pulsar-proxy bench {}", arguments.join(" "));
        for wanted in [
            mark,
            "publish → delivery",
            "every message accepted and delivered once and in order",
            "against a server of its own",
            &command,
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
    }
    let rest = ["--output", "json", "--", "--workers", "1"];
    let output = output(&[&["publish", "--connections", "2"], &small[..], &rest].concat());
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["server"]["arguments"][1], "1");
    assert_eq!(report["passed"], true);
}

#[test]
fn refusals_are_counted_and_told() {
    let server = Server::start(&["--rate-limit-per-client", "60"]);
    let (code, report) = measure(&server, &["publish", "--connections", "2"]);
    let run = &report["runs"][0];
    assert_eq!((code, &run["passed"]), (Some(1), &false.into()));
    assert!(number(&run["faults"]["refused"]) > 0.0, "{run:#}");
    let first = run["faults"]["first"].as_str().unwrap_or_default();
    assert!(first.contains("429"), "{first}");

    let keys =
        "load:read+write:sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let server = Server::start(&["--api-keys", keys]);
    let (code, report) = measure(&server, &["fanout", "--subscribers", "2"]);
    let failure = report["failure"].as_str().unwrap_or_default();
    assert_eq!(code, Some(1));
    assert!(
        failure.starts_with("fanout: connection 1 of 2: answered 401"),
        "{failure}"
    );
}

#[test]
fn a_server_that_is_full_says_at_which_connection() {
    let server = Server::start(&["--max-connections", "3"]);
    let (code, report) = measure(&server, &["idle", "--connections", "5"]);
    let failure = report["failure"].as_str().unwrap_or_default();
    assert_eq!(code, Some(1));
    assert!(
        failure.starts_with("idle: connection 4 of 5: "),
        "{failure}"
    );
}

#[test]
fn a_stalled_server_delays_all_that_were_to_be_sent() {
    const STALL: Duration = Duration::from_secs(1);
    let server = Server::start(&[]);
    let arguments = [
        "publish",
        "--connections",
        "4",
        "--rate",
        "200",
        "--duration",
        "3",
        "--warmup",
        "0",
    ];
    let before = server.metric("proxy_messages_received_total", &[]);
    let (code, report) = thread::scope(|scope| {
        let measured = scope.spawn(|| measure(&server, &arguments));
        wait_until("messages are published", DEADLINE, || {
            server.metric("proxy_messages_received_total", &[]) > before + 50.0
        });
        server.signal("STOP");
        let stopped = Instant::now();
        // The stall itself is what is tested: its length, not something to wait for.
        thread::sleep(STALL.saturating_sub(stopped.elapsed()));
        server.signal("CONT");
        measured.join().expect("it is measured")
    });
    let run = &report["runs"][0];
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(
        (&run["published"], &run["unsent"]),
        (&600.into(), &0.into()),
        "{run:#}"
    );
    // A third of all was to be sent while the server stood still, evenly spread over a second, although only
    // four could be on their way: a tenth of all waited for more than seven tenths of it.
    let latency = &run["publish_latency"];
    assert_eq!(latency["count"], 600);
    assert!(number(&latency["p90_ms"]) > 600.0, "{run:#}");
    assert!(number(&latency["p99_ms"]) > 900.0, "{run:#}");
    assert!(number(&latency["max_ms"]) >= 980.0, "{run:#}");
}

#[test]
fn the_first_signal_ends_it_with_what_it_has() {
    let server = Server::start(&[]);
    for signal in ["INT", "HUP"] {
        let mut child = hour_long(&server);
        kill(signal, child.id());
        let (code, report) = ended(&mut child);
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(report["interrupted"], true);
        let run = &report["runs"][0];
        assert_eq!(number(&run["delivered"]), 3.0 * number(&run["published"]));
    }
}

#[test]
fn connections_are_checked_though_a_signal_ends_the_silence() {
    let server = Server::start(&[]);
    let url = url(&server);
    let arguments = "idle --connections 20 --duration 1h --output json --url";
    let arguments: Vec<&str> = arguments.split(' ').chain([&*url]).collect();
    let mut child = bench(&arguments).spawn().expect("it starts");
    server.wait_for_metric("proxy_websocket_connections_active", &[], 20.0);
    kill("INT", child.id());
    let (code, report) = ended(&mut child);
    let run = &report["runs"][0];
    assert_eq!(
        (code, &run["delivered"]),
        (Some(0), &20.into()),
        "{report:#}"
    );
}

#[test]
fn a_measurement_that_never_began_has_not_passed() {
    let server = Server::start(&[]);
    let url = url(&server);
    let arguments = "publish --connections 2 --warmup 1h --output json --url";
    let arguments: Vec<&str> = arguments.split(' ').chain([&*url]).collect();
    let mut child = bench(&arguments).spawn().expect("it starts");
    wait_until("messages are published", DEADLINE, || {
        server.metric("proxy_messages_received_total", &[]) > 5.0
    });
    kill("TERM", child.id());
    let (code, report) = ended(&mut child);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(
        (&report["passed"], &report["runs"]),
        (&false.into(), &Value::Array(Vec::new())),
        "{report:#}"
    );
}

#[test]
fn the_second_signal_ends_it_and_the_server_that_it_has_started() {
    let arguments = ["publish", "--connections", "2", "--duration", "1h"];
    let mut child = bench(&arguments).spawn().expect("it starts");
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let mut server = 0;
    wait_until("the server is started", DEADLINE, || {
        let text = fs::read_to_string(&children).unwrap_or_default();
        server = text.trim().parse().unwrap_or(0);
        server != 0
    });
    // It answers nothing, so that the first signal alone ends nothing soon.
    kill("STOP", server);
    kill("INT", child.id());
    kill("TERM", child.id());
    let status = child.wait().expect("it has ended");
    assert_eq!(status.code(), Some(130), "{status}");
    assert!(!Path::new(&format!("/proc/{server}")).exists());
}

#[test]
fn a_server_that_goes_away_is_noticed() {
    let mut server = Server::start(&[]);
    let mut child = hour_long(&server);
    server.stop();
    let (code, report) = ended(&mut child);
    assert_eq!(
        (code, &report["passed"]),
        (Some(1), &false.into()),
        "{report:#}"
    );
    let faults = &report["runs"][0]["faults"];
    assert!(number(&faults["disconnected"]) >= 3.0, "{report:#}");
    assert!(faults["first"].is_string(), "{report:#}");
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let port = test_util::ports::free_port();
    let nobody = format!("http://127.0.0.1:{port}");
    for (arguments, code, sentence) in [
        (
            &["publish", "--url", &*nobody][..],
            3,
            "no connection to 127.0.0.1",
        ),
        (
            &["publish", "--url", "https://127.0.0.1"],
            2,
            "plain HTTP over TCP only",
        ),
        (
            &["publish", "--", "--no-such-flag"],
            1,
            "the server did not start",
        ),
        (&["publish", "--rate", "0"], 2, "--rate"),
    ] {
        let output = output(arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(sentence), "{said}");
    }
    // Neither the commands nor their servers find room for so many.
    let mut shell = Command::new("sh");
    let script = "ulimit -n 256; exec \"$0\" bench idle --connections 1000 --duration 0.1";
    let output = shell
        .args(["-c", script, env!("CARGO_BIN_EXE_pulsar-proxy")])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("descriptors, and 256 are allowed"), "{said}");
}

#[test]
fn a_credential_is_shown_and_not_told() {
    const SECRET: &str = "a secret for tests: 0123456789abcdef";
    let server = Server::start(&["--jwt-secret-key", SECRET]);
    let made = Command::new(env!("CARGO_BIN_EXE_pulsar-proxy"))
        .args([
            "token",
            "make",
            "--subject",
            "me",
            "--permissions",
            "read,write",
        ])
        .env_clear()
        .env("JWT_SECRET_KEY", SECRET)
        .output()
        .expect("it runs");
    let token = String::from_utf8(made.stdout).expect("a text");
    let token = token.trim();
    let arguments = ["fanout", "--subscribers", "2", "--credential", token];
    let (code, report) = measure(&server, &arguments);
    assert_eq!(code, Some(0), "{report:#}");
    assert!(!report.to_string().contains(token));
    // Deleting a topic takes more than this token allows.
    assert_eq!(report["server"]["topics_left"], 1);
}

fn kill(signal: &str, process: u32) {
    let kill = format!("kill -{signal} {process}");
    let status = Command::new("sh").args(["-c", &kill]).status();
    assert!(status.expect("a shell can be started").success());
}

/// The exit code and the result of a command that ends.
fn ended(child: &mut Child) -> (Option<i32>, Value) {
    let mut said = String::new();
    let mut stdout = child.stdout.take().expect("an output");
    stdout.read_to_string(&mut said).expect("a text");
    let code = child.wait().expect("it has ended").code();
    (code, serde_json::from_str(&said).expect("JSON"))
}
