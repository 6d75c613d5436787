use governor::clock::FakeRelativeClock;

use super::limit::{CLIENTS_MAX, SHARED_BUCKETS};
use super::*;

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("something")
}

#[test]
fn a_bucket_is_emptied_and_fills_again() {
    let clock = FakeRelativeClock::default();
    let quotas = Quotas::with_clock(60, false, clock.clone());
    let who = Who(7);
    let standing = |remaining, full_in| Standing {
        limit: 60,
        remaining,
        full_in,
    };
    assert_eq!(
        quotas.charge(who, None, count(1)),
        Ok(Some(standing(59, 1)))
    );
    assert_eq!(
        quotas.charge(who, None, count(50)),
        Ok(Some(standing(9, 51)))
    );
    let refused = Exhausted {
        standing: standing(9, 51),
        retry_after: Some(1),
    };
    assert_eq!(
        quotas.charge(who, None, count(10)),
        Err(refused),
        "all or nothing"
    );
    assert_eq!(
        quotas.charge(who, None, count(9)),
        Ok(Some(standing(0, 60)))
    );
    let empty = quotas.charge(who, None, count(3)).unwrap_err();
    assert_eq!(
        (empty.standing, empty.retry_after),
        (standing(0, 60), Some(3))
    );
    clock.advance(Duration::from_millis(2_500));
    assert_eq!(
        quotas.charge(who, None, count(2)),
        Ok(Some(standing(0, 60)))
    );
    clock.advance(PERIOD);
    assert_eq!(
        quotas.charge(who, None, count(60)),
        Ok(Some(standing(0, 60)))
    );
}

#[test]
fn more_than_ever_fits_is_never_allowed() {
    let quotas = Quotas::new(10, false);
    let refused = quotas.charge(Who(7), None, count(11)).unwrap_err();
    assert_eq!(refused.retry_after, None);
    assert!(quotas.charge(Who(7), None, count(10)).is_ok());
}

#[test]
fn a_limit_of_its_own_goes_first_and_zero_is_none() {
    let quotas = Quotas::new(1, false);
    let who = Who(7);
    assert!(quotas.charge(who, None, count(1)).is_ok());
    assert!(quotas.charge(who, None, count(1)).is_err());
    assert_eq!(quotas.charge(who, Some(0), count(100)), Ok(None));
    let own = quotas.charge(who, Some(100), count(1)).unwrap().unwrap();
    assert_eq!((own.limit, own.remaining), (100, 99));
    let open = Quotas::new(0, false);
    assert!(!open.has_default());
    assert_eq!(open.charge(who, None, count(100)), Ok(None));
}

#[test]
fn clients_are_told_apart_by_address_and_network() {
    let at = |text: &str| Who::at(text.parse().expect("an address"));
    assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
    assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
    assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
}

#[test]
fn threads_share_a_bucket_to_the_message() {
    let clock = FakeRelativeClock::default();
    let quotas = Quotas::with_clock(1_000, false, clock);
    let taken: u32 = std::thread::scope(|scope| {
        let run = || {
            (0..500)
                .filter(|_| quotas.charge(Who(7), None, count(1)).is_ok())
                .count() as u32
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|it| it.join().expect("it ends"))
            .sum()
    });
    assert_eq!(taken, 1_000);
}

#[test]
fn too_many_clients_share_what_there_is() {
    let clock = FakeRelativeClock::default();
    let quotas = Quotas::with_clock(60, false, clock.clone());
    for number in 0..CLIENTS_MAX {
        assert!(quotas.charge(Who(number as u128), None, count(60)).is_ok());
    }
    quotas.sweep();
    let far = Who(SHARED_BUCKETS * 1_000_000 + 7);
    assert!(
        quotas.charge(far, None, count(60)).is_err(),
        "it shares the bucket of 7"
    );
    clock.advance(2 * PERIOD);
    quotas.sweep();
    assert!(quotas.charge(far, None, count(60)).is_ok());
    assert_eq!(quotas.limit(count(60)).len(), 1);
}

#[test]
fn what_others_charge_is_owed_and_paid_first() {
    let clock = FakeRelativeClock::default();
    let quotas = Quotas::with_clock(60, true, clock.clone());
    let charged = |count| Charge {
        who: Who(7),
        limit: NonZeroU32::new(60).expect("something"),
        count,
    };
    quotas
        .charge(Who(7), None, count(10))
        .expect("there is enough");
    quotas
        .charge(Who(7), None, count(20))
        .expect("there is enough");
    assert_eq!(quotas.take_charges(9), [charged(30)]);
    assert_eq!(quotas.take_charges(9), []);

    quotas.owe([charged(20)]);
    let left = quotas
        .charge(Who(7), None, count(1))
        .expect("there is enough");
    assert_eq!(left.expect("a limit").remaining, 9);
    quotas.owe([charged(12)]);
    let owing = quotas.charge(Who(7), None, count(1)).unwrap_err();
    assert_eq!((owing.standing.remaining, owing.retry_after), (0, Some(4)));
    assert!(
        quotas.charge(Who(8), None, count(60)).is_ok(),
        "others owe nothing"
    );

    clock.advance(Duration::from_secs(2));
    quotas.owe([]);
    assert_eq!(
        quotas
            .charge(Who(7), None, count(1))
            .unwrap_err()
            .retry_after,
        Some(2)
    );
    clock.advance(Duration::from_secs(2));
    quotas.owe([]);
    let paid = quotas
        .charge(Who(7), None, count(1))
        .expect("nothing is owed");
    assert_eq!(paid.expect("a limit").remaining, 0);
}

#[test]
fn debts_end_some_day() {
    let clock = FakeRelativeClock::default();
    let quotas = Quotas::with_clock(60, true, clock.clone());
    let limit = NonZeroU32::new(60).expect("something");
    quotas.owe([Charge {
        who: Who(7),
        limit,
        count: u32::MAX,
    }]);
    for _ in 0..10 {
        assert!(quotas.charge(Who(7), None, count(1)).is_err());
        clock.advance(PERIOD);
        quotas.owe([]);
    }
    assert!(quotas.charge(Who(7), None, count(1)).is_ok());
}
