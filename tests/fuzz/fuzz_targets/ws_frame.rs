//! A frame header gets one verdict as soon as it is certain, and encodes to the bytes that it was
//! decoded from.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::ws::frame::{self, CONTROL_PAYLOAD_MAX};
use pulsar_proxy::ws::mask;

fuzz_target!(|data: &[u8]| {
    judge(data, false);
    judge(data, true);
});

fn judge(data: &[u8], takes_compressed: bool) {
    let whole = frame::decode(data, takes_compressed);
    for len in 0..data.len().min(14) {
        let front = frame::decode(&data[..len], takes_compressed);
        assert!(front == Ok(None) || front == whole);
    }
    let Ok(Some((header, consumed))) = whole else {
        assert!(whole.is_err() || data.len() < 14);
        return;
    };
    assert!(header.payload_len < 1 << 63);
    assert!(!header.opcode.is_control() || header.payload_len <= CONTROL_PAYLOAD_MAX as u64);
    let rest = &data[consumed..];
    let Ok(len) = usize::try_from(header.payload_len) else {
        return;
    };
    assert_eq!(consumed, frame::header_len(len) + header.mask.len());
    if let Some(masked) = rest.get(..len) {
        let mut payload = masked.to_vec();
        mask::apply(header.mask, 0, &mut payload);
        let mut encoded = Vec::new();
        frame::encode_client_frame(&header, &payload, &mut encoded);
        assert_eq!(encoded, &data[..consumed + len]);
    }
}
