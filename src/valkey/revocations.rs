//! Tokens that are called back on all instances: one list that all of them add to, and read on.

use redis::Value;

use super::entry::bytes;
use super::job::Call;
use super::keys::Keys;
use crate::access::{REVOCATIONS_MAX, Revocation};

const REVOKE: &str = include_str!("revoke.lua");
const REVOKED: &str = include_str!("revoked.lua");

/// Told at once; the rest is told the next time.
const TOLD_MAX: usize = 2_000;

/// The call that adds a revocation, at a time in seconds of Unix time.
pub fn revoke(keys: &Keys, revocation: &Revocation, now_unix: u64) -> Call {
    let end = revocation.kept_until;
    let end = (end != u64::MAX).then(|| end.to_string());
    Call {
        script: REVOKE,
        keys: names(keys, &["order", "ends"]),
        args: vec![
            revocation.whom.to_be_bytes().to_vec(),
            revocation.issued_until.to_be_bytes().to_vec(),
            revocation.kept_until.to_be_bytes().to_vec(),
            end.unwrap_or_default().into_bytes(),
            now_unix.to_string().into_bytes(),
            REVOCATIONS_MAX.to_string().into_bytes(),
        ],
        is_repeatable: true,
    }
}

/// Reads the answer to [`revoke`]: whether there was room. `None` if it is none.
pub fn read_revoked(answer: &Value) -> Option<bool> {
    match answer {
        Value::Int(added) => Some(*added == 1),
        _ => None,
    }
}

/// The call that asks for what was added behind the first `last` ones.
pub fn revoked(keys: &Keys, last: i64) -> Call {
    Call {
        script: REVOKED,
        keys: names(keys, &["order"]),
        args: vec![
            last.to_string().into_bytes(),
            TOLD_MAX.to_string().into_bytes(),
        ],
        is_repeatable: true,
    }
}

/// Reads the answer to [`revoked`]: how many were added until now, and those that had not been told.
/// `None` if it is none.
pub fn read_news(answer: &Value) -> Option<(i64, Vec<Revocation>)> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let (Value::Int(last), told) = parts.split_first()? else {
        return None;
    };
    let revocations = told.iter().filter_map(bytes).filter_map(revocation);
    Some((*last, revocations.collect()))
}

fn revocation(told: &[u8]) -> Option<Revocation> {
    Some(Revocation {
        whom: u128::from_be_bytes(*told.first_chunk()?),
        issued_until: u64::from_be_bytes(*told.get(16..)?.first_chunk()?),
        kept_until: u64::from_be_bytes(*told.get(24..)?.first_chunk()?),
    })
}

fn names(keys: &Keys, aside: &[&str]) -> Vec<Vec<u8>> {
    let name = "revocations";
    let aside = aside.iter().map(|aside| keys.beside(name, aside));
    let all = std::iter::once(keys.plain(name)).chain(aside);
    all.map(String::into_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_back_is_told() {
        let revocation = Revocation {
            whom: 1 << 120 | 7,
            issued_until: 5,
            kept_until: u64::MAX,
        };
        let call = revoke(&Keys::new("pulsar:"), &revocation, 9);
        assert_eq!(call.keys[1], b"pulsar:{pulsar:revocations}:order");
        assert_eq!(call.args[3], b"", "it is kept");
        let told = Value::BulkString(call.args[..3].concat());
        let news = Value::Array(vec![Value::Int(3), told.clone()]);
        assert_eq!(read_news(&news), Some((3, vec![revocation])));
        let cut = Value::Array(vec![Value::Int(3), Value::BulkString(vec![0; 31])]);
        assert_eq!(read_news(&cut), Some((3, Vec::new())));
        assert_eq!(read_news(&Value::Nil), None);
        assert_eq!(read_revoked(&Value::Int(0)), Some(false));
        assert_eq!(read_revoked(&Value::Nil), None);
    }
}
