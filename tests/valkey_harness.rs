//! The stores that the other tests start, and the network in front of them, do what the tests rely on.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use test_util::{
    DEADLINE, Valkey, ValkeyCluster, ValkeyProxy, ValkeySentinel, ValkeySetup, wait_until,
};

/// Long enough for an answer that is not held back.
const A_MOMENT: Duration = Duration::from_millis(50);

#[test]
fn what_is_durable_survives_a_kill_and_what_is_emptied_does_not() {
    let mut valkey = ValkeySetup::new().durable().start();
    let port = valkey.port();
    let () = valkey.command(&["SET", "k", "v"]);
    valkey.kill();
    assert!(valkey.try_command::<String>(&["PING"]).is_err());
    valkey.restart();
    assert_eq!(valkey.port(), port);
    assert_eq!(valkey.command::<String>(&["GET", "k"]), "v");
    valkey.stop();
    valkey.restart();
    assert_eq!(valkey.command::<String>(&["GET", "k"]), "v");
    valkey.restart_empty();
    assert_eq!(valkey.command::<u64>(&["DBSIZE"]), 0);
}

#[test]
fn a_store_that_hangs_answers_when_it_goes_on() {
    let valkey = Valkey::start();
    let mut raw = Raw::open(valkey.port());
    valkey.pause();
    raw.send("PING");
    assert_eq!(raw.read(A_MOMENT), None);
    valkey.resume();
    assert_eq!(raw.read(DEADLINE).as_deref(), Some("+PONG"));
    valkey.client_pause(200);
    let began = Instant::now();
    assert!(raw.answers());
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[test]
fn passwords_users_and_tls() {
    let valkey = ValkeySetup::new()
        .password("secret")
        .user("alice on >word ~* &* +@all")
        .tls()
        .start();
    assert_eq!(valkey.command::<String>(&["PING"]), "PONG");
    let mut raw = Raw::open(valkey.port());
    assert!(!raw.answers(), "no password");
    assert_eq!(raw.ask("AUTH alice word").as_deref(), Some("+OK"));
    assert!(raw.answers());
    assert!(valkey.ca_file().is_file());
    assert!(TcpStream::connect(("127.0.0.1", valkey.tls_port())).is_ok());
}

#[test]
fn a_proxy_cuts_refuses_delays_and_stalls() {
    let valkey = Valkey::start();
    let proxy = ValkeyProxy::start(valkey.address());
    let mut raw = Raw::open(proxy.port());
    assert!(raw.answers());
    assert_eq!((proxy.connections(), proxy.accepted()), (1, 1));

    proxy.cut();
    assert_eq!(raw.ask("PING"), None);
    assert_eq!(proxy.connections(), 0);

    let mut raw = Raw::open(proxy.port());
    assert!(raw.answers());
    proxy.refuse();
    assert!(raw.answers(), "what is open stays");
    let refused = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.accept();
    assert!(Raw::open(proxy.port()).answers());

    proxy.delay(Duration::from_millis(40));
    let began = Instant::now();
    assert!(raw.answers());
    assert!(began.elapsed() >= Duration::from_millis(80));
    proxy.delay(Duration::ZERO);

    proxy.stall();
    raw.send("PING");
    assert_eq!(raw.read(A_MOMENT), None);
    proxy.flow();
    assert_eq!(raw.read(DEADLINE).as_deref(), Some("+PONG"), "only late");
}

#[test]
fn a_proxy_loses_answers_but_not_requests() {
    let valkey = Valkey::start();
    let proxy = ValkeyProxy::start(valkey.address());
    let (mut raw, mut other) = (Raw::open(proxy.port()), Raw::open(proxy.port()));
    assert!(raw.answers() && other.answers());
    proxy.drop_replies();
    raw.send("INCR n");
    wait_until("it was carried out", DEADLINE, || {
        valkey.command::<Option<u64>>(&["GET", "n"]) == Some(1)
    });
    assert_eq!(raw.read(A_MOMENT), None);
    proxy.pass_replies();
    assert_eq!(raw.ask("PING"), None, "it lacks a reply");
    assert!(other.answers(), "it lacks none");
}

#[test]
fn a_cluster_fails_over_and_moves_slots() {
    let mut cluster = ValkeyCluster::start();
    let slot = cluster.slot("{k}");
    let primary = cluster.primary_of(slot).unwrap();
    let () = cluster.nodes()[primary].command(&["SET", "{k}", "v"]);
    let other = (primary + 1) % 3;
    cluster.move_slot(slot, other);
    assert_eq!(
        cluster.nodes()[other].command::<String>(&["GET", "{k}"]),
        "v"
    );
    let mut raw = Raw::open(cluster.nodes()[primary].port());
    let moved = raw.ask("GET {k}").unwrap_or_default();
    assert!(moved.starts_with("-MOVED"), "{moved}");
    cluster.wait_for_primary_of(slot);

    assert_eq!(cluster.kill_primary_of(slot), other);
    let successor = cluster.wait_for_primary_of(slot);
    assert_eq!(successor, other + 3, "its replica took over");
    let value = cluster.nodes()[successor].command::<Option<String>>(&["GET", "{k}"]);
    assert_eq!(value.as_deref(), Some("v"));
    cluster.node(other).restart();
    cluster.wait_until_complete();
}

#[test]
fn sentinels_fail_over() {
    let mut pair = ValkeySentinel::start();
    let old = pair.kill_primary();
    let new = pair.wait_for_primary();
    assert_ne!(old, new);
    pair.stores()[old].restart();
    wait_until("it is a replica", DEADLINE, || {
        pair.stores()[old].info_is("role", "slave")
    });
    assert_eq!(pair.wait_for_primary(), new);
}

/// A connection that speaks the protocol's inline form.
struct Raw(TcpStream);

impl Raw {
    fn open(port: u16) -> Raw {
        Raw(TcpStream::connect(("127.0.0.1", port)).expect("the store listens"))
    }

    fn send(&mut self, line: &str) {
        // An error means that the connection was cut, which the next read finds.
        let _ = self.0.write_all(format!("{line}\r\n").as_bytes());
    }

    /// The first line of what comes next; `None` when nothing comes in time, or the connection has ended.
    fn read(&mut self, timeout: Duration) -> Option<String> {
        let set = self.0.set_read_timeout(Some(timeout));
        set.expect("the timeout is not zero");
        let mut bytes = [0; 1024];
        let count = self.0.read(&mut bytes).ok().filter(|count| *count > 0)?;
        let text = String::from_utf8_lossy(&bytes[..count]);
        text.lines().next().map(str::to_owned)
    }

    fn ask(&mut self, line: &str) -> Option<String> {
        self.send(line);
        self.read(DEADLINE)
    }

    fn answers(&mut self) -> bool {
        self.ask("PING").as_deref() == Some("+PONG")
    }
}
