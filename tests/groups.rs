//! Groups: several connections share the messages of a topic, each message for one of them (DESIGN
//! "Delivery modes").

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use test_util::owed::{Death, Lines, Owed, post_ack, publish_numbers, subscribe};
use test_util::{Client, Http, Server, everywhere};

/// How soon what a lost member held must have come to another.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A member of group `g` on topic `t`.
fn member(server: &Server, client_id: &str, window: u32) -> Owed {
    let fields = json!({"group": "g", "window": window});
    Owed::connect(server.addr(), client_id, "t", &fields)
}

#[test]
fn each_message_goes_to_one_member() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut members: Vec<Owed> = (0..8)
            .map(|index| member(&server, &format!("m{index}"), 10))
            .collect();
        publish_numbers(&server, "t", 0..100);
        let mut seen = BTreeSet::new();
        // Nobody acknowledges: the windows of all of them are filled.
        let mut held = Vec::new();
        for member in &mut members {
            let messages: Vec<_> = (0..10).map(|_| member.next_message()).collect();
            for message in &messages {
                assert_eq!(message.attempt, 1);
                assert!(seen.insert(message.numbered().0), "{message:?} came twice");
            }
            held.push(messages);
        }
        for (member, messages) in members.iter_mut().zip(&held) {
            member.assert_quiet();
            let ids: Vec<&str> = messages.iter().map(|it| it.id.as_str()).collect();
            member.settle(&ids);
        }
        while seen.len() < 100 {
            for member in &mut members {
                while let Some(message) = member.message_within(Duration::from_millis(1)) {
                    assert_eq!(message.attempt, 1);
                    assert!(seen.insert(message.numbered().0), "{message:?} came twice");
                    member.settle(&[&message.id]);
                }
            }
        }
        place.wait_for_pending(&server, 0);
        place.wait_for_consumers(&server, 1);
        assert_eq!(server.metric("proxy_redeliveries_total", &[]), 0.0);
    });
}

#[test]
fn what_a_lost_member_held_moves_at_once() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut stays = member(&server, "stays", 1000);
        for (turn, death) in (0..).zip(Death::ALL.into_iter().cycle().take(12)) {
            // The one that stays takes nothing as long as its window is full.
            stays.die(Death::Close);
            let mut goes = member(&server, "goes", 1000);
            let numbers = turn * 100..(turn + 1) * 100;
            let ids = publish_numbers(&server, "t", numbers.clone());
            let firsts: Vec<_> = numbers.clone().map(|number| (number, 1)).collect();
            assert_eq!(goes.take(100), firsts);
            stays = member(&server, "stays", 1000);
            stays.assert_quiet();

            let began = Instant::now();
            let kept = goes.die(death);
            let mut came = stays.take(100);
            assert!(
                began.elapsed() < AT_ONCE,
                "{death:?}: {:?}",
                began.elapsed()
            );
            came.sort_unstable();
            let seconds: Vec<_> = numbers.map(|number| (number, 2)).collect();
            assert_eq!(came, seconds, "{death:?}");
            stays.settle(&ids.iter().map(String::as_str).collect::<Vec<_>>());
            drop(kept);
        }
        server.wait_for_metric("proxy_redeliveries_total", &[], 1200.0);
        assert_eq!(server.metric("proxy_takeovers_total", &[]), 0.0);
    });
}

/// The connection of the lost member and those of the others are served by different threads as
/// often as not, and all of these sleep: whoever buries the one must wake the others.
#[test]
fn what_a_lost_member_held_wakes_who_sleeps() {
    const TURNS: u32 = 16;
    let server = Server::start(&["--workers", "4"]);
    let mut waited = Duration::ZERO;
    for turn in 0..TURNS {
        let mut goes = member(&server, "goes", 10);
        let ids = publish_numbers(&server, "t", [u64::from(turn)]);
        goes.take(1);
        let mut stays = member(&server, "stays", 10);
        stays.assert_quiet();
        let began = Instant::now();
        goes.die(Death::Reset);
        stays.take(1);
        waited += began.elapsed();
        stays.settle(&[&ids[0]]);
        stays.die(Death::Close);
    }
    assert!(waited < TURNS * Duration::from_millis(100), "{waited:?}");
}

#[test]
fn what_a_lost_member_held_is_shared_by_the_others() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut goes = member(&server, "goes", 40);
        publish_numbers(&server, "t", 0..40);
        assert_eq!(goes.take(40).len(), 40);
        let mut others: Vec<Owed> = (0..4)
            .map(|index| member(&server, &format!("m{index}"), 10))
            .collect();
        goes.die(Death::Reset);
        let mut seen = BTreeSet::new();
        for other in &mut others {
            seen.extend(other.take(10));
        }
        assert_eq!(seen, (0..40).map(|number| (number, 2)).collect());
    });
}

#[test]
fn unsubscribing_moves_at_once() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut goes = member(&server, "goes", 1000);
        let ids = publish_numbers(&server, "t", 0..3);
        assert_eq!(goes.take(3).len(), 3);
        let mut stays = member(&server, "stays", 1000);
        goes.unsubscribe("t");
        let mut came = stays.take(3);
        came.sort_unstable();
        assert_eq!(came, [(0, 2), (1, 2), (2, 2)]);
        goes.assert_quiet();
        stays.settle(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    });
}

#[test]
fn a_message_that_moved_cannot_be_acknowledged_by_its_old_member() {
    everywhere(|place| {
        let server = place.start(&[]);
        // One client on two connections, each of which holds all it may.
        let mut goes = member(&server, "old", 1);
        let mut ids = publish_numbers(&server, "t", [0]);
        assert_eq!(goes.take(1), [(0, 1)]);
        let mut stays = member(&server, "old", 1);
        ids.extend(publish_numbers(&server, "t", [1]));
        assert_eq!(stays.take(1), [(1, 1)]);
        let mut other = member(&server, "new", 10);
        goes.die(Death::Reset);
        assert_eq!(other.take(1), [(0, 2)]);

        let moved = ids[0].as_str();
        let reassigned = (0, vec![(moved.to_owned(), "REASSIGNED".to_owned())]);
        assert_eq!(stays.confirm(&json!({"message_id": moved})), reassigned);
        let by_http = json!({"message_ids": [moved], "client_id": "old"});
        assert_eq!(post_ack(server.addr(), &by_http), reassigned);
        stays.nack(moved, 0.0);
        stays.assert_quiet();
        other.assert_quiet();
        stays.settle(&[&ids[1]]);
        other.settle(&[moved]);
        let late = (0, vec![(moved.to_owned(), "NOT_PENDING".to_owned())]);
        assert_eq!(other.confirm(&json!({"message_id": moved})), late);
        for (result, count) in [
            ("reassigned", 2.0),
            ("acknowledged", 2.0),
            ("not_pending", 1.0),
        ] {
            server.wait_for_metric("proxy_acks_total", &[("result", result)], count);
        }
        place.wait_for_pending(&server, 0);
    });
}

#[test]
fn members_of_one_name_do_not_replace_each_other() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut members = [0, 1, 2].map(|_| member(&server, "same", 1));
        let ids = publish_numbers(&server, "t", 0..3);
        let mut came: Vec<_> = members.iter_mut().flat_map(|it| it.take(1)).collect();
        came.sort_unstable();
        assert_eq!(came, [(0, 1), (1, 1), (2, 1)]);
        members.iter_mut().for_each(Owed::assert_quiet);
        // An acknowledgement is the client's, on whichever of its connections.
        members[0].settle(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        publish_numbers(&server, "t", 3..6);
        let mut came: Vec<_> = members.iter_mut().flat_map(|it| it.take(1)).collect();
        came.sort_unstable();
        assert_eq!(came, [(3, 1), (4, 1), (5, 1)]);
        assert_eq!(server.metric("proxy_takeovers_total", &[]), 0.0);
    });
}

#[test]
fn each_group_and_each_client_gets_all() {
    everywhere(|place| {
        let server = place.start(&[]);
        publish_numbers(&server, "t", 0..20);
        let from_start = |client: &str, group: Option<&str>| {
            let mut fields = json!({"offset": "earliest"});
            if let Some(group) = group {
                fields["group"] = group.into();
            }
            Owed::connect(server.addr(), client, "t", &fields)
        };
        // The same name for a client and a group: they are two.
        for (client, group) in [("x", None), ("a", Some("x")), ("a", Some("y"))] {
            let mut owed = from_start(client, group);
            let expected: Vec<_> = (0..20).map(|number| (number, 1)).collect();
            assert_eq!(owed.take(20), expected, "{client} {group:?}");
        }
    });
}

#[test]
fn the_position_is_the_groups() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut first = member(&server, "first", 10);
        let ids = publish_numbers(&server, "t", 0..3);
        assert_eq!(first.take(3), [(0, 1), (1, 1), (2, 1)]);
        first.settle(&[&ids[0], &ids[1]]);
        first.die(Death::Close);
        server.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
        publish_numbers(&server, "t", 3..5);

        let fields = json!({"group": "g", "offset": "earliest"});
        let mut second = Owed::connect(server.addr(), "second", "t", &fields);
        let mut came = second.take(3);
        came.sort_unstable();
        assert_eq!(came, [(2, 2), (3, 1), (4, 1)]);
        second.assert_quiet();
        let mut third = Owed::connect(server.addr(), "third", "t", &fields);
        third.assert_quiet();
    });
}

#[test]
fn members_are_bounded() {
    everywhere(|place| {
        let server = place.start(&["--group-members-max", "2"]);
        let _first = member(&server, "a", 10);
        let second = member(&server, "b", 10);
        let mut third = Owed::connect(server.addr(), "c", "other", &json!({"group": "g"}));
        let more = json!({"group": "g"});
        third.client().send(&subscribe("c", "t", &more));
        let error = third.client().read_json();
        assert_eq!(error["code"], "LIMIT_EXCEEDED", "{error}");
        let mut refused = Client::connect(server.addr());
        refused.send(&subscribe("d", "t", &more));
        let error = refused.read_json();
        assert_eq!(error["code"], "SUBSCRIPTION_ERROR", "{error}");
        refused.expect_close();

        second.die(Death::Close);
        server.wait_for_metric("proxy_websocket_connections_active", &[], 2.0);
        third.subscribe("c", "t", &more);
    });
}

#[test]
fn a_stream_can_be_a_member() {
    everywhere(|place| {
        let server = place.start(&[]);
        let query = "topics=t&client_id=s&group=g&window=2&ack_timeout=3600";
        let mut lines = Lines::open(server.addr(), query);
        let mut owed = member(&server, "w", 2);
        let ids = publish_numbers(&server, "t", 0..4);
        let mut held = owed.take(2);
        held.extend((0..2).map(|_| lines.next_message().numbered()));
        held.sort_unstable();
        assert_eq!(held, [(0, 1), (1, 1), (2, 1), (3, 1)]);
        let (count, failed) = owed.confirm(&json!({"message_ids": ids}));
        assert_eq!((count, failed.len()), (2, 2), "{failed:?}");
        assert!(
            failed.iter().all(|(_, error)| error == "REASSIGNED"),
            "{failed:?}"
        );
        lines.die(Death::Reset);
        let again: BTreeSet<_> = owed
            .take(2)
            .into_iter()
            .map(|(_, attempt)| attempt)
            .collect();
        assert_eq!(again, BTreeSet::from([2]));
        owed.assert_quiet();
    });
}

#[test]
fn a_waiting_poll_gets_what_another_member_has_put_off() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut goes = member(&server, "goes", 10);
        let ids = publish_numbers(&server, "t", [0]);
        assert_eq!(goes.take(1), [(0, 1)]);
        let query = "topics=t&client_id=p&group=g&timeout=20";
        let mut http = Http::open(server.addr());
        http.send(http.encode("GET", &format!("/api/v1/poll?{query}"), &[], b""));
        server.wait_for_metric("proxy_poll_waiters", &[], 1.0);
        let began = Instant::now();
        goes.nack(&ids[0], 1.0);
        goes.assert_quiet();
        goes.die(Death::Close);
        let answer = http.read_response().json();
        assert_eq!(answer["messages"][0]["message_id"], ids[0], "{answer}");
        assert!(
            began.elapsed() < AT_ONCE + Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
    });
}
