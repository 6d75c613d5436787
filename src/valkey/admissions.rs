//! Tickets that any instance may be shown, and that one of them takes.

use std::sync::Arc;

use redis::Value;

use super::entry::bytes;
use super::job::Call;
use super::keys::Keys;
use crate::access::{Caller, Digest, TICKET_SECONDS};

const GRANT: &str = "redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) return 1";
const TAKE: &str = "local caller = redis.call('GET', KEYS[1])
if caller then redis.call('DEL', KEYS[1]) end
return caller";

/// The call that has whoever shows the ticket with this hash first be this caller.
pub fn grant(keys: &Keys, ticket: &Digest, caller: &Caller) -> Call {
    Call {
        script: GRANT,
        keys: vec![name(keys, ticket)],
        args: vec![caller.to_bytes(), TICKET_SECONDS.to_string().into_bytes()],
        is_repeatable: true,
    }
}

/// The call that takes the ticket with this hash.
pub fn take(keys: &Keys, ticket: &Digest) -> Call {
    Call {
        script: TAKE,
        keys: vec![name(keys, ticket)],
        args: Vec::new(),
        // The second time it would be gone.
        is_repeatable: false,
    }
}

/// Reads the answer to [`take`]: whose it was, if it was there.
pub fn read_taken(answer: &Value) -> Option<Arc<Caller>> {
    let caller = Caller::of_bytes(bytes(answer)?)?;
    Some(Arc::new(caller))
}

fn name(keys: &Keys, ticket: &Digest) -> Vec<u8> {
    keys.plain(&format!("ticket:{ticket}")).into_bytes()
}
