//! What happens to consumers, at random.

use proptest::prelude::*;
use proptest::sample::Index;
use pulsar_proxy::topic::ClaimRules;

pub(crate) const CLIENTS: [&str; 3] = ["a", "b c", "\u{e9}:{d}"];

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// So many messages, with a `ttl` in seconds.
    Publish(usize, Option<u64>),
    /// So many milliseconds.
    Wait(u64),
    Attach {
        client: usize,
        in_group: bool,
        is_poll: bool,
        rules: ClaimRules,
        start: Option<Index>,
        reset: bool,
    },
    Detach(Index),
    /// A member claims, and buries what is dead or does not.
    Claim(Index, usize, bool),
    Acknowledge(Vec<Index>, usize, Option<bool>, bool),
    Nack(Index, usize, Option<bool>, u64),
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let ttl = prop::option::weighted(0.2, 1..3u64);
    let rules =
        (1..5u64, 1..5u32, 0..3u32).prop_map(|(timeout, window, max_deliveries)| ClaimRules {
            ack_timeout: timeout * 400_000,
            window,
            max_deliveries,
        });
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1));
    let start = prop::option::of(any::<Index>());
    let attach = (0..CLIENTS.len(), flags, rules, start).prop_map(
        |(client, (in_group, is_poll, reset), rules, start)| Attach {
            client,
            in_group,
            is_poll,
            rules,
            start,
            reset,
        },
    );
    let on = || prop::option::of(any::<bool>());
    let who = || 0..CLIENTS.len();
    let ids = prop::collection::vec(any::<Index>(), 1..4);
    let acknowledge = (ids, who(), on(), prop::bool::weighted(0.2));
    let delay = prop_oneof![Just(0), 1..1_500u64];
    prop_oneof![
        5 => (1..4usize, ttl).prop_map(|(count, ttl)| Publish(count, ttl)),
        3 => (1..1_500u64).prop_map(Wait),
        4 => attach,
        2 => any::<Index>().prop_map(Detach),
        10 => (any::<Index>(), 1..5usize, any::<bool>()).prop_map(|(it, most, bury)| Claim(it, most, bury)),
        8 => acknowledge.prop_map(|(ids, client, on, all)| Acknowledge(ids, client, on, all)),
        3 => (any::<Index>(), who(), on(), delay).prop_map(|(id, client, on, delay)| Nack(id, client, on, delay)),
    ]
}
