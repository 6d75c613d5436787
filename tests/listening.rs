//! Where the server listens, and where it refuses to.

use test_util::{Http, Program, Server, with_workers};

#[test]
fn other_addresses_than_loopback_are_refused_without_credentials() {
    for host in ["0.0.0.0", "::"] {
        let (code, log) = Program::new(&["--host", host, "--port", "0"]).run();
        assert_eq!(code, Some(2), "{log}");
        assert!(
            log.contains("--insecure-no-auth"),
            "it says what would be needed: {log}"
        );
    }
}

#[test]
fn with_the_flag_any_address_is_listened_on() {
    with_workers(|workers| {
        let flags = [
            "--workers",
            workers,
            "--host",
            "0.0.0.0",
            "--insecure-no-auth",
        ];
        let server = Server::start(&flags);
        let port = server.addr().port();
        let response = Http::open(([127, 0, 0, 1], port).into()).get("/health");
        assert_eq!(response.status, 200);
        let headers = [("Host", "proxy.example")];
        let mut http = Http::open(([127, 0, 0, 1], port).into());
        let response = http.request("GET", "/health", &headers, b"");
        assert_eq!(response.status, 200, "hosts are checked on loopback only");
        let log = server.log().to_ascii_lowercase();
        assert!(log.contains("warn"), "it is said at start:\n{log}");
    });
}

#[test]
fn a_second_server_on_the_same_port_fails_to_start() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let port = server.addr().port().to_string();
        for _ in 0..3 {
            let (code, log) = Program::new(&["--port", &port, "--workers", workers]).run();
            assert!(code.is_some_and(|code| code != 0), "{code:?}: {log}");
            assert!(
                log.contains(&port),
                "it says which address is in use: {log}"
            );
        }
        assert_eq!(server.get("/health").status, 200);
    });
}

#[test]
fn a_port_can_be_used_again_at_once() {
    with_workers(|workers| {
        let mut first = Server::start(&["--workers", workers]);
        let port = first.addr().port().to_string();
        assert_eq!(first.get("/health").status, 200);
        assert_eq!(first.stop(), Some(0));
        let second = Server::start(&["--workers", workers, "--port", &port]);
        assert_eq!(second.get("/health").status, 200);
    });
}

#[test]
fn port_0_chooses_a_free_port_for_all_workers() {
    let first = Server::start(&["--workers", "4"]);
    let second = Server::start(&["--workers", "4"]);
    assert_ne!(first.addr().port(), second.addr().port());
    for _ in 0..50 {
        // Each connection of its own may go to another worker.
        assert_eq!(first.get("/health").status, 200);
        assert_eq!(second.get("/health").status, 200);
    }
}

#[test]
fn an_address_that_is_none_is_refused() {
    let (code, log) = Program::new(&["--host", "not an address", "--port", "0"]).run();
    assert_eq!(code, Some(2), "{log}");
    let (code, log) = Program::new(&["--port", "65536"]).run();
    assert_eq!(code, Some(2), "{log}");
}
