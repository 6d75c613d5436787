//! What a client sends becomes the same events however it is cut, within the limits. The first
//! byte of the input is the length of its pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::ws::{Assembler, AssemblerError, AssemblerLimits, Event};

const LIMITS: AssemblerLimits = AssemblerLimits {
    message_bytes_max: 300,
    fragments_max: 5,
    takes_compressed: true,
};

fuzz_target!(|data: &[u8]| {
    let Some((&len, input)) = data.split_first() else {
        return;
    };
    let whole = feed([input]);
    let in_pieces = feed(input.chunks(usize::from(len).max(1)));
    assert_eq!(whole, in_pieces);
});

/// The events as text, and how many bytes remain or what went wrong.
type Outcome = (Vec<String>, Result<usize, AssemblerError>);

fn feed<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
    let mut assembler = Assembler::default();
    let (mut kept, mut events) = (Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let fed = match assembler.feed(&mut kept, &LIMITS) {
                Ok(fed) => fed,
                Err(error) => {
                    assert!(matches!(error.close_code().get(), 1002 | 1007 | 1009));
                    return (events, Err(error));
                }
            };
            if let Some(event) = fed.event {
                check(&event);
                events.push(format!("{event:?}"));
            }
            let consumed = fed.consumed;
            if consumed == 0 {
                break;
            }
            kept.drain(..consumed);
        }
        assert!(kept.len() <= 130, "only a header or control frame is left");
    }
    (events, Ok(kept.len()))
}

fn check(event: &Event<'_>) {
    match event {
        Event::Text(text) => assert!(text.len() <= LIMITS.message_bytes_max),
        Event::Binary(bytes) => assert!(bytes.len() <= LIMITS.message_bytes_max),
        Event::Ping(bytes) | Event::Pong(bytes) => assert!(bytes.len() <= 125),
        Event::Close(close) => assert!(close.is_none_or(|(_, reason)| reason.len() <= 123)),
    }
}
