//! What happens to consumers, at random.

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::ClaimRules;

pub(super) const CLIENTS: [&str; 3] = ["a", "b", "c"];
pub(super) const MILLI: u64 = 1_000;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Publish(usize, Option<u64>),
    Wait(u64),
    /// At a group, or at the client's own consumer.
    Attach {
        client: usize,
        in_group: bool,
        is_poll: bool,
        rules: ClaimRules,
        earliest: bool,
        reset: bool,
    },
    Detach(Index),
    /// A member claims, because it has been told or by itself, and buries what is dead or does not.
    Claim(Index, usize, bool),
    /// A worker looks at its news, and all of its members claim all they can.
    Wake(u8),
    Acknowledge(Index, usize, Option<bool>, bool),
    Nack(Index, usize, Option<bool>, u64),
    Sweep,
}

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let ttl = prop::option::weighted(0.2, 1..60u64);
    let rules =
        (5..40u64, 1..5u32, 0..3u32).prop_map(|(timeout, window, max_deliveries)| ClaimRules {
            ack_timeout: timeout * MILLI,
            window,
            max_deliveries,
        });
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.1),
    );
    let attach = (0..CLIENTS.len(), flags, rules).prop_map(
        |(client, (in_group, is_poll, earliest, reset), rules)| Attach {
            client,
            in_group,
            is_poll,
            rules,
            earliest,
            reset,
        },
    );
    let preferred = || prop::option::of(any::<bool>());
    let client = || 0..CLIENTS.len();
    let acknowledge = (
        any::<Index>(),
        client(),
        preferred(),
        prop::bool::weighted(0.2),
    );
    let delay = prop_oneof![Just(0), 1..30u64];
    prop_oneof![
        5 => (1..4usize, ttl).prop_map(|(count, ttl)| Publish(count, ttl)),
        3 => (1..30u64).prop_map(Wait),
        4 => attach,
        2 => any::<Index>().prop_map(Detach),
        8 => (any::<Index>(), 1..4usize, any::<bool>()).prop_map(|(it, most, bury)| Claim(it, most, bury)),
        4 => (0..2u8).prop_map(Wake),
        8 => acknowledge.prop_map(|(id, client, on, all)| Acknowledge(id, client, on, all)),
        3 => (any::<Index>(), client(), preferred(), delay).prop_map(|(id, client, on, delay)| Nack(id, client, on, delay)),
        1 => Just(Sweep),
    ]
}
