//! Any bytes are inflated within bounds or refused, and what was inflated comes back when it is
//! compressed and inflated again. The first two bytes of the input are the bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::ws::deflate::{InflateError, compress, inflate};
use pulsar_proxy::ws::{Opcode, frame};

fuzz_target!(|data: &[u8]| {
    let Some((bound, payload)) = data.split_first_chunk() else {
        return;
    };
    let bytes_max = usize::from(u16::from_le_bytes(*bound));
    let inflated = inflate(payload, bytes_max);
    match &inflated {
        Ok(bytes) => {
            assert!(bytes.len() <= bytes_max && bytes.capacity() <= bytes_max + 1);
            if let Some(less) = bytes.len().checked_sub(1) {
                assert_eq!(inflate(payload, less), Err(InflateError::TooBig));
            }
            round_trip(bytes, 9);
        }
        // The verdict on the bytes before the bound does not depend on where it is.
        Err(InflateError::TooBig) => assert!(inflate(payload, bytes_max / 2).is_err()),
        Err(InflateError::Malformed) => {
            assert_eq!(inflate(payload, 1 << 24), Err(InflateError::Malformed));
        }
    }
    assert_eq!(
        inflate(payload, bytes_max),
        inflated,
        "nothing is remembered"
    );
    round_trip(payload, 15);
});

fn round_trip(bytes: &[u8], window_bits: u8) {
    let whole = compress(Opcode::Text, bytes, window_bits).expect("zlib has this window");
    let (opcode, payload) = frame::parts(&whole).expect("a whole frame");
    assert_eq!(opcode, Opcode::Text);
    assert_eq!(inflate(payload, bytes.len()).as_deref(), Ok(bytes));
}
