//! The check that every test with credentials makes of its servers' logs and metrics notices what it is for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use test_util::secrets::{note_sent, note_settings};
use test_util::{Http, Server};

#[test]
fn a_secret_in_a_log_or_metric_is_noticed() {
    let ends_well = |server: Server| catch_unwind(AssertUnwindSafe(|| drop(server))).is_ok();
    Http::open(Server::start(&[]).addr())
        .send("GET / HTTP/1.1\r\nAuthorization: Bearer abcdefg\r\n\r\n");
    assert!(ends_well(Server::start(&[])));
    // Both words stand there always.
    note_sent(b"GET /?a=b&token=proxy_messages_received_total HTTP/1.1\r\n\r\n");
    assert!(!ends_well(Server::start(&[])), "it is in the metrics");
    note_settings([("PULSAR_JWT_SECRET_KEY", "listening")]);
    assert!(!ends_well(Server::start(&[])), "it is in the log");
}
