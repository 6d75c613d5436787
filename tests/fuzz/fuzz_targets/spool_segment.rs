//! Any bytes are a segment of a spool: its records come out as they were written, and what is passed
//! over is counted. The same bytes are also tried as a record behind its checksum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::spool::Record;
use pulsar_proxy::spool::segment::{Frames, check_header, encode};

fuzz_target!(|input: &[u8]| {
    let mut frames = Frames::new(input);
    let (mut before, mut damaged) = (0, 0);
    while let Some(frame) = frames.next() {
        let skipped = frames.damaged() - damaged;
        let bytes = &input[before + skipped..frames.used()];
        assert_eq!(written(&frame.record, frame.appended_at), bytes);
        (before, damaged) = (frames.used(), frames.damaged());
    }
    assert!(frames.used() <= input.len() && frames.damaged() <= frames.used());
    assert!(frames.next().is_none(), "the end is the end");

    if let Some(record) = Record::decode(input) {
        let frame = written(&record, 7);
        assert!(frame.ends_with(input));
        let mut frames = Frames::new(&frame);
        assert_eq!(frames.next().map(|it| it.record), Some(record.clone()));
        assert_eq!(frames.used(), frame.len());
        assert_eq!(record.to_owned(7).borrowed(), record);
    }
    // The checksum is in the input, so a fuzzer gets past it.
    let _ = check_header(0, input);
});

fn written(record: &Record<'_>, appended_at: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record, appended_at, &mut bytes).expect("what was read can be written");
    bytes
}
