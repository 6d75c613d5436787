//! Valkey as it is run: with TLS, users and passwords, shared with others, and watched by sentinels.

use serde_json::json;
use test_util::checker::Ledger;
use test_util::consumer::{Consumer, Transport};
use test_util::valkey::{instance, instances};
use test_util::{
    Client, DEADLINE, RoamingPublisher, Server, Valkey, ValkeySentinel, ValkeySetup, wait_until,
};

/// What a user may do for an instance to work: everything below its prefix, and nothing to the server itself.
const USER: &str = "pulsar on >word ~pulsar:* &pulsar:* +@all -@dangerous +info";

#[test]
fn tls_and_a_user_that_may_do_no_more_than_needed() {
    let valkey = ValkeySetup::new()
        .tls()
        .user("default off")
        .user("admin on >secret ~* &* +@all")
        .login("admin", "secret")
        .user(USER)
        .start();
    let ca_file = valkey.ca_file().to_string_lossy().into_owned();
    let with = |password: &str, ca_file: &[&str]| {
        let user = ["--valkey-username", "pulsar", "--valkey-password", password];
        let tls = ["--valkey-use-tls"];
        instance(valkey.tls_port(), &[&user[..], &tls, ca_file].concat())
    };
    let [one, other] = [(); 2].map(|()| with("word", &["--valkey-ca-file", &ca_file]));
    one.wait_until_ready();
    other.wait_until_ready();
    let mut live = Client::subscribed(other.addr(), &["t"]);
    let answer = one.publish("t", &json!({"n": 1}));
    assert_eq!(live.read_json()["message_id"], answer["message_id"]);

    let stranger = with("wrong", &["--valkey-ca-file", &ca_file]);
    let distrusting = with("word", &[]);
    for (server, why) in [(&stranger, "the password"), (&distrusting, "the authority")] {
        wait_until("it says why not", DEADLINE, || {
            server.log().contains("WARN")
        });
        assert_eq!(server.get("/ready").status, 503, "{why} is wrong");
        assert!(!server.log().contains("\"wrong\""), "{}", server.log());
    }
}

#[test]
fn prefixes_and_databases_are_apart() {
    let valkey = Valkey::start();
    let [first] = instances(valkey.port(), &["--valkey-prefix", "one:"]);
    let [second] = instances(valkey.port(), &["--valkey-prefix", "two:"]);
    let [third] = instances(valkey.port(), &["--valkey-db", "3"]);
    let [fourth] = instances(valkey.port(), &["--valkey-db", "4"]);
    let servers = [&first, &second, &third, &fourth];
    let mut readers = servers.map(|server| Client::subscribed(server.addr(), &["t"]));
    for (number, server) in servers.iter().enumerate() {
        server.publish("t", &json!({ "n": number }));
    }
    for (number, reader) in readers.iter_mut().enumerate() {
        assert_eq!(reader.read_json()["payload"], json!({ "n": number }));
    }
    for (number, server) in servers.iter().enumerate() {
        server.publish("t", &json!({ "last": number }));
    }
    for (number, reader) in readers.iter_mut().enumerate() {
        let message = reader.read_json();
        assert_eq!(
            message["payload"],
            json!({ "last": number }),
            "its own alone"
        );
    }
    let keys: Vec<String> = valkey.command(&["KEYS", "*"]);
    let apart = |key: &String| key.starts_with("one:") || key.starts_with("two:");
    assert!(keys.iter().all(apart), "{keys:?}");
}

#[test]
fn sentinels_tell_who_is_the_primary() {
    let mut pair = ValkeySentinel::start();
    let hosts = pair.hosts();
    let flags = [
        "--valkey-mode",
        "sentinel",
        "--valkey-host",
        &hosts,
        "--valkey-timeout",
        "1s",
    ];
    let servers: [Server; 2] = std::array::from_fn(|_| start(&flags));
    let ledger = Ledger::default();
    let mut publisher = RoamingPublisher::new(&ledger, &[servers[0].addr()], "p");
    let mut live = Consumer::new(servers[1].addr(), Transport::WebSocket, &["t"], 1);
    (0..20).for_each(|_| assert_eq!(publisher.publish_at_last("t"), 0));
    live.read_all(&ledger);
    wait_until("the replica has all", DEADLINE, || {
        pair.stores()
            .iter()
            .all(|store| store.stream("t").len() == 20)
    });

    let old = pair.kill_primary();
    servers[0].wait_until_unready();
    let new = pair.wait_for_primary();
    assert_ne!(old, new);
    publisher.assert_goes_on(&mut live, &ledger, "t");
    servers.iter().for_each(Server::wait_until_ready);
    (0..20).for_each(|_| assert_eq!(publisher.publish_at_last("t"), 0));
    live.check_all(&servers[0], &ledger, &["t"]);
}

/// Starts a server that is ready with these flags.
fn start(flags: &[&str]) -> Server {
    let server = Server::start(&[&["--storage-backend", "valkey"], flags].concat());
    server.wait_until_ready();
    server
}
