//! What clients were charged by one instance, as the others hear of it: a short stream that all write and read.

use redis::Value;

use super::entry::bytes;
use super::job::Call;
use super::keys::Keys;

const CHARGES: &str = include_str!("charges.lua");
/// Bytes of one charge.
const CHARGE_BYTES: usize = 24;

/// So much was charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedCharge {
    /// Who, by a number that is the same everywhere.
    pub who: u128,
    /// Of which limit.
    pub limit: u32,
    /// How much.
    pub count: u32,
}

/// The call that tells the others of charges, and asks for theirs behind the entry `last`, which is empty at
/// first: then those of the last minute are told.
pub fn exchange(keys: &Keys, last: &[u8], instance: &str, charges: &[SharedCharge]) -> Call {
    let mut told = Vec::with_capacity(charges.len() * CHARGE_BYTES);
    for charge in charges {
        told.extend_from_slice(&charge.who.to_be_bytes());
        told.extend_from_slice(&charge.limit.to_be_bytes());
        told.extend_from_slice(&charge.count.to_be_bytes());
    }
    Call {
        script: CHARGES,
        keys: vec![keys.plain("charges").into_bytes()],
        args: vec![last.to_vec(), instance.as_bytes().to_vec(), told],
        // What is told twice is charged twice.
        is_repeatable: false,
    }
}

/// Reads the answer: the last entry, and what the others have charged. `None` if it is none.
pub fn heard(answer: &Value) -> Option<(Vec<u8>, Vec<SharedCharge>)> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let (last, told) = parts.split_first()?;
    let charges = told.iter().filter_map(bytes).flat_map(charges_of);
    Some((bytes(last)?.to_vec(), charges.collect()))
}

fn charges_of(told: &[u8]) -> impl Iterator<Item = SharedCharge> {
    told.chunks_exact(CHARGE_BYTES).filter_map(|charge| {
        Some(SharedCharge {
            who: u128::from_be_bytes(*charge.first_chunk()?),
            limit: u32::from_be_bytes(*charge.get(16..)?.first_chunk()?),
            count: u32::from_be_bytes(*charge.get(20..)?.first_chunk()?),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard() {
        let charge = |who| SharedCharge {
            who,
            limit: 600,
            count: 7,
        };
        let told = [charge(1), charge(u128::MAX)];
        let call = exchange(&Keys::new("pulsar:"), b"1-0", "me", &told);
        assert_eq!(call.keys, [b"pulsar:charges"]);
        let answer = |charges: Vec<u8>| {
            let texts = [b"2-0".to_vec(), charges].map(Value::BulkString);
            Value::Array(texts.to_vec())
        };
        let (last, charges) = heard(&answer(call.args[2].clone())).unwrap();
        assert_eq!((&*last, &*charges), (&b"2-0"[..], &told[..]));
        let (_, cut) = heard(&answer(call.args[2][..30].to_vec())).unwrap();
        assert_eq!(cut, told[..1]);
        assert_eq!(heard(&Value::Array(Vec::new())), None);
        assert_eq!(heard(&Value::Nil), None);
    }
}
