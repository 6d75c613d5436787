//! The checker of at-least-once delivery notices what is wrong, or it would prove nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use serde_json::Value;
use test_util::journal::Journal;
use test_util::owed::Delivery;

const TIMEOUT: Duration = Duration::from_secs(1);
const ID: &str = "msg_1";

fn delivery(attempt: u64) -> Delivery {
    Delivery {
        topic: "t".to_owned(),
        id: ID.to_owned(),
        attempt,
        payload: Value::Null,
        metadata: Value::Null,
    }
}

/// What the checker says to what happened to one message; `None` when it finds nothing.
fn complaint(journal: &Journal, happened: impl FnOnce(&Journal)) -> Option<String> {
    let checked = catch_unwind(AssertUnwindSafe(|| {
        happened(journal);
        journal.check(&[ID.to_owned()]);
    }));
    checked.err().map(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => "a panic without a text".to_owned(),
    })
}

fn assert_fine(happened: impl FnOnce(&Journal)) {
    assert_eq!(complaint(&Journal::new("c", TIMEOUT), happened), None);
}

fn assert_found(what: &str, happened: impl FnOnce(&Journal)) {
    let complaint = complaint(&Journal::new("c", TIMEOUT), happened);
    let complaint = complaint.unwrap_or_else(|| panic!("not found: {what}"));
    assert!(complaint.contains(what), "{complaint}");
}

#[test]
fn redeliveries_have_causes() {
    let long_ago = || Instant::now() - 2 * TIMEOUT;
    assert_fine(|it| it.delivered(0, &delivery(1), Instant::now()));
    assert_fine(|it| {
        it.delivered(0, &delivery(1), long_ago());
        it.delivered(0, &delivery(2), Instant::now());
    });
    assert_fine(|it| {
        it.delivered(0, &delivery(1), Instant::now());
        it.nacked(0, ID);
        it.delivered(1, &delivery(2), Instant::now());
        it.lost(1);
        it.delivered(2, &delivery(4), Instant::now());
    });
    assert_found("without a cause", |it| {
        it.delivered(0, &delivery(1), Instant::now());
        it.delivered(0, &delivery(2), Instant::now());
    });
    assert_found("without a cause", |it| {
        it.delivered(0, &delivery(1), Instant::now());
        it.nacked(0, ID);
        it.lost(1);
        it.delivered(0, &delivery(2), Instant::now());
        it.delivered(0, &delivery(3), Instant::now());
    });
    assert_found("lacks an attempt", |it| {
        it.delivered(0, &delivery(1), long_ago());
        it.delivered(0, &delivery(3), Instant::now());
    });
    assert_found("lacks an attempt", |it| {
        it.delivered(0, &delivery(2), Instant::now());
    });
    assert_found("twice", |it| {
        it.delivered(0, &delivery(1), Instant::now());
        it.delivered(1, &delivery(1), Instant::now());
    });
}

#[test]
fn polls_give_nothing_back() {
    let lose = |it: &Journal| {
        it.delivered(0, &delivery(1), Instant::now());
        it.lost(0);
        it.delivered(1, &delivery(2), Instant::now());
    };
    assert_eq!(complaint(&Journal::new("c", TIMEOUT), lose), None);
    let found = complaint(&Journal::of_polls("c", TIMEOUT), lose);
    assert!(found.is_some_and(|it| it.contains("without a cause")));
}

#[test]
fn nothing_comes_after_its_confirmed_ack() {
    let long_ago = || Instant::now() - 2 * TIMEOUT;
    assert_fine(|it| {
        it.delivered(0, &delivery(1), long_ago());
        it.delivered(0, &delivery(2), long_ago());
        it.asked([ID]);
        it.confirmed(Some(0), [ID]);
    });
    assert_found("after its ack", |it| {
        it.delivered(0, &delivery(1), long_ago());
        it.asked([ID]);
        it.confirmed(Some(0), [ID]);
        it.delivered(0, &delivery(2), long_ago());
    });
    assert_found("after its ack", |it| {
        it.delivered(0, &delivery(1), long_ago());
        it.asked([ID]);
        it.confirmed(None, [ID]);
        it.delivered(1, &delivery(2), Instant::now() + TIMEOUT);
    });
}

#[test]
fn all_is_delivered_and_acknowledged() {
    assert_found("never came", |_| {});
    assert_found("not published", |it| {
        it.delivered(0, &delivery(1), Instant::now());
        let other = Delivery {
            id: "msg_2".to_owned(),
            ..delivery(1)
        };
        it.delivered(0, &other, Instant::now());
    });
    assert_found("not pending", |it| {
        it.delivered(0, &delivery(1), Instant::now());
        it.refused(ID, "NOT_PENDING");
    });
    assert_found("refused", |it| it.refused(ID, "UNKNOWN"));
    let journal = Journal::new("c", TIMEOUT);
    journal.delivered(0, &delivery(1), Instant::now());
    assert_eq!(journal.open(&[ID.to_owned()]), [ID]);
    journal.asked([ID]);
    assert!(journal.open(&[ID.to_owned()]).is_empty());
}
