use super::*;
use crate::ws::frame::FrameError;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;
use std::io::Write;

const LIMITS: AssemblerLimits = AssemblerLimits {
    message_bytes_max: 1000,
    fragments_max: 4,
    takes_compressed: true,
};

/// An event that borrows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(CloseCode, String)>),
}

fn owned(event: Event<'_>) -> Owned {
    match event {
        Event::Text(text) => Owned::Text(text.to_owned()),
        Event::Binary(bytes) => Owned::Binary(bytes.to_vec()),
        Event::Ping(bytes) => Owned::Ping(bytes.to_vec()),
        Event::Pong(bytes) => Owned::Pong(bytes.to_vec()),
        Event::Close(close) => Owned::Close(close.map(|(code, text)| (code, text.to_owned()))),
    }
}

type Outcome = (Vec<Owned>, Result<usize, AssemblerError>);

/// Feeds pieces as a connection does, keeping what is not consumed: the events, and how many
/// bytes remain or what went wrong.
fn feed<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
    let mut assembler = Assembler::default();
    let (mut kept, mut events) = (Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let fed = match assembler.feed(&mut kept, &LIMITS) {
                Ok(fed) => fed,
                Err(error) => return (events, Err(error)),
            };
            let consumed = fed.consumed;
            events.extend(fed.event.map(owned));
            if consumed == 0 {
                break;
            }
            kept.drain(..consumed);
        }
        assert!(kept.len() <= 130, "only a header or control frame is left");
    }
    (events, Ok(kept.len()))
}

/// Whole, byte by byte, and in two pieces at every place: all must agree.
fn outcome(input: &[u8]) -> Outcome {
    let expected = feed([input]);
    assert_eq!(feed(input.chunks(1)), expected, "byte by byte");
    for split in 0..=input.len() {
        let (front, back) = input.split_at(split);
        assert_eq!(feed([front, back]), expected, "split at {split}");
    }
    expected
}

fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        fin,
        is_compressed: false,
        opcode,
        mask: [0x37, 0xfa, 0x21, 0x3d],
        payload_len: payload.len() as u64,
    };
    let mut out = Vec::new();
    frame::encode_client_frame(&header, payload, &mut out);
    out
}

/// The first frame of a compressed message, or all of it.
fn compressed_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = frame(fin, opcode, payload);
    out[0] |= 0x40;
    out
}

/// A payload as a client compresses it.
fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.flush().unwrap();
    let mut out = encoder.get_ref().clone();
    out.truncate(out.len() - 4);
    out
}

fn events(frames: &[Vec<u8>]) -> Vec<Owned> {
    let (events, rest) = outcome(&frames.concat());
    assert_eq!(rest, Ok(0));
    events
}

fn error(frames: &[Vec<u8>]) -> AssemblerError {
    outcome(&frames.concat()).1.unwrap_err()
}

#[test]
fn idle_is_small() {
    assert!(size_of::<Assembler>() <= 16);
}

#[test]
fn whole_frames_are_borrowed_from_the_input() {
    let mut input = frame(true, Opcode::Text, b"Hello");
    let (start, end) = (input.as_ptr() as usize, input.len());
    let mut assembler = Assembler::default();
    let fed = assembler.feed(&mut input, &LIMITS).unwrap();
    let Some(Event::Text(text)) = fed.event else {
        panic!("no text");
    };
    assert_eq!((text, fed.consumed), ("Hello", end));
    assert_eq!(text.as_ptr() as usize, start + 6);
    assert!(assembler.message.is_none());
}

#[test]
fn memory_is_freed_when_the_message_was_read() {
    let mut input = [
        frame(false, Opcode::Binary, b"a"),
        frame(true, Opcode::Continuation, b"b"),
    ]
    .concat();
    let mut assembler = Assembler::default();
    let first = assembler.feed(&mut input, &LIMITS).unwrap().consumed;
    assert!(assembler.message.is_some());
    let fed = assembler.feed(&mut input[first..], &LIMITS).unwrap();
    assert_eq!(fed.event, Some(Event::Binary(b"ab")));
    assert_eq!(assembler.feed(&mut [], &LIMITS), Ok(Fed::NOTHING));
    assert!(assembler.message.is_none());
}

#[test]
fn memory_grows_with_what_arrives() {
    let limits = AssemblerLimits {
        message_bytes_max: 1 << 40,
        ..LIMITS
    };
    let mut input = vec![0x82, 0xff, 0, 0, 0, 0x80, 0, 0, 0, 0, 1, 2, 3, 4, 5];
    let mut assembler = Assembler::default();
    assert_eq!(assembler.feed(&mut input, &limits).unwrap().consumed, 15);
    let message = assembler.message.as_ref().unwrap();
    assert!(message.len() == 1 && message.capacity() < 100);
}

#[test]
fn control_frames_stand_between_fragments() {
    let frames = [
        frame(false, Opcode::Text, b"Hel"),
        frame(true, Opcode::Ping, b"now"),
        frame(false, Opcode::Continuation, b""),
        frame(true, Opcode::Pong, b""),
        frame(true, Opcode::Continuation, b"lo"),
        frame(true, Opcode::Binary, b""),
        frame(true, Opcode::Close, b"\x03\xe8bye"),
    ];
    let expected = [
        Owned::Ping(b"now".to_vec()),
        Owned::Pong(vec![]),
        Owned::Text("Hello".to_owned()),
        Owned::Binary(vec![]),
        Owned::Close(Some((CloseCode::NORMAL, "bye".to_owned()))),
    ];
    assert_eq!(events(&frames), expected);
}

#[test]
fn characters_may_be_cut_by_fragments() {
    let text = "κόσμε 𝄞".as_bytes();
    for split in 0..=text.len() {
        let (front, back) = text.split_at(split);
        let frames = [
            frame(false, Opcode::Text, front),
            frame(true, Opcode::Continuation, back),
        ];
        assert_eq!(events(&frames), [Owned::Text("κόσμε 𝄞".to_owned())]);
    }
    let cut = [frame(true, Opcode::Text, &text[..1])];
    assert_eq!(error(&cut), AssemblerError::InvalidUtf8);
    let cut = [
        frame(false, Opcode::Text, &text[..1]),
        frame(true, Opcode::Continuation, b""),
    ];
    assert_eq!(error(&cut), AssemblerError::InvalidUtf8);
}

#[test]
fn bad_text_is_refused_before_the_frame_ends() {
    // RFC 3629: no surrogates, nothing above U+10FFFF, no longer forms than needed.
    let bad: [&[u8]; 6] = [
        b"a\xff",
        b"a\xc0",
        b"\xed\xa0",
        b"\xf4\x90",
        b"\xe0\x80",
        b"\xcea",
    ];
    for front in bad {
        let mut input = frame(true, Opcode::Text, &[front, &b"a".repeat(50)].concat());
        input.truncate(6 + front.len());
        assert_eq!(
            outcome(&input),
            (vec![], Err(AssemblerError::InvalidUtf8)),
            "{front:x?}"
        );
    }
    assert_eq!(events(&[frame(true, Opcode::Binary, b"\xff")]).len(), 1);
}

#[test]
fn sizes_are_decided_at_the_header() {
    let big = |opcode, len: usize| {
        let mut input = frame(true, opcode, &vec![b'a'; len]);
        input.truncate(8);
        input
    };
    assert_eq!(error(&[big(Opcode::Text, 1001)]), AssemblerError::TooBig);
    assert_eq!(outcome(&big(Opcode::Text, 1000)).1, Ok(0));
    let first = frame(false, Opcode::Binary, b"ab");
    let frames = [first.clone(), big(Opcode::Continuation, 999)];
    assert_eq!(error(&frames), AssemblerError::TooBig);
    let frames = [first, big(Opcode::Continuation, 998)];
    assert_eq!(outcome(&frames.concat()).1, Ok(0));
    let absurd = vec![
        0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
    ];
    assert_eq!(error(&[absurd]), AssemblerError::TooBig);
}

#[test]
fn fragments_are_counted() {
    let fragment = || frame(false, Opcode::Continuation, b"");
    let last = frame(true, Opcode::Continuation, b"");
    let first = frame(false, Opcode::Text, b"");
    let four = [first.clone(), fragment(), fragment(), last.clone()];
    assert_eq!(events(&four), [Owned::Text(String::new())]);
    let five = [first, fragment(), fragment(), fragment(), last];
    assert_eq!(error(&five), AssemblerError::TooManyFragments);
}

#[test]
fn messages_do_not_interleave() {
    let first = frame(false, Opcode::Text, b"a");
    let frames = [first.clone(), frame(true, Opcode::Text, b"b")];
    assert_eq!(error(&frames), AssemblerError::ExpectedContinuation);
    let alone = [frame(true, Opcode::Continuation, b"a")];
    assert_eq!(error(&alone), AssemblerError::UnexpectedContinuation);
    let frames = [
        first,
        frame(true, Opcode::Continuation, b"b"),
        alone.concat(),
    ];
    let (events, end) = outcome(&frames.concat());
    assert_eq!(events, [Owned::Text("ab".to_owned())]);
    assert_eq!(end, Err(AssemblerError::UnexpectedContinuation));
}

#[test]
fn compressed_messages_are_inflated() {
    // RFC 7692 section 7.2.3.1: in one frame, and in two with a ping between them.
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let frames = [
        compressed_frame(true, Opcode::Text, hello),
        compressed_frame(false, Opcode::Binary, &hello[..3]),
        frame(true, Opcode::Ping, b""),
        frame(true, Opcode::Continuation, &hello[3..]),
        frame(true, Opcode::Text, b"plain"),
        compressed_frame(true, Opcode::Text, b"\x00"),
    ];
    let expected = [
        Owned::Text("Hello".to_owned()),
        Owned::Ping(vec![]),
        Owned::Binary(b"Hello".to_vec()),
        Owned::Text("plain".to_owned()),
        Owned::Text(String::new()),
    ];
    assert_eq!(events(&frames), expected);
    let mut input = frames.concat();
    let mut assembler = Assembler::default();
    assert_eq!(assembler.feed(&mut input, &LIMITS).unwrap().inflated, 5);
}

#[test]
fn only_the_first_frame_is_marked_and_only_if_agreed() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let frames = [
        compressed_frame(false, Opcode::Text, &hello[..3]),
        compressed_frame(true, Opcode::Continuation, &hello[3..]),
    ];
    let reserved = AssemblerError::Frame(FrameError::ReservedBit);
    assert_eq!(error(&frames), reserved);
    assert_eq!(
        error(&[compressed_frame(true, Opcode::Ping, b"")]),
        reserved
    );
    let limits = AssemblerLimits {
        takes_compressed: false,
        ..LIMITS
    };
    let mut input = compressed_frame(true, Opcode::Text, hello);
    let refused = Assembler::default().feed(&mut input, &limits).unwrap_err();
    assert_eq!(refused, reserved);
    assert_eq!(refused.close_code().get(), 1002);
}

#[test]
fn inflated_messages_keep_the_rules() {
    let of = |bytes: &[u8]| compressed_frame(true, Opcode::Text, &compress(bytes));
    assert_eq!(events(&[of(&[b'a'; 1000])]).len(), 1);
    assert_eq!(error(&[of(&[b'a'; 1001])]), AssemblerError::TooBig);
    assert_eq!(error(&[of(&vec![0; 1 << 20])]), AssemblerError::TooBig);
    assert_eq!(error(&[of(b"a\xff")]), AssemblerError::InvalidUtf8);
    assert_eq!(
        error(&[of("é".as_bytes().split_at(1).0)]),
        AssemblerError::InvalidUtf8
    );
    let malformed = error(&[compressed_frame(true, Opcode::Binary, b"\xff")]);
    assert_eq!(malformed, AssemblerError::MalformedDeflate);
    assert_eq!(malformed.close_code().get(), 1007);
    // What comes is bounded as well, at the header.
    let mut long = compressed_frame(true, Opcode::Text, &[0; 1001]);
    long.truncate(8);
    assert_eq!(error(&[long]), AssemblerError::TooBig);
}

#[test]
fn errors_have_close_codes() {
    let code = |frames: &[Vec<u8>]| error(frames).close_code().get();
    assert_eq!(code(&[vec![0x83]]), 1002);
    assert_eq!(code(&[frame(true, Opcode::Continuation, b"")]), 1002);
    assert_eq!(code(&[frame(true, Opcode::Close, b"\x03")]), 1002);
    assert_eq!(code(&[frame(true, Opcode::Close, b"\x03\xe8\xff")]), 1007);
    assert_eq!(code(&[frame(true, Opcode::Text, b"\xff")]), 1007);
    assert_eq!(code(&[frame(true, Opcode::Text, &[b'a'; 1001])]), 1009);
}

#[test]
fn what_is_not_complete_remains() {
    let ping = frame(true, Opcode::Ping, &[0; 125]);
    assert_eq!(outcome(&ping[..ping.len() - 1]), (vec![], Ok(130)));
    assert_eq!(outcome(&[0x81, 0xff, 0]), (vec![], Ok(3)));
}

fn any_payload() -> impl Strategy<Value = (bool, Vec<u8>)> {
    prop_oneof![
        "\\PC{0,40}".prop_map(|text| (true, text.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| (false, bytes)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trip((is_text, payload) in any_payload(), is_compressed: bool, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let sent = if is_compressed { compress(&payload) } else { payload.clone() };
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(sent.len() + 1)).collect();
        cuts.sort_unstable();
        let mut opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        let (mut frames, mut start) = (Vec::new(), 0);
        for cut in cuts {
            frames.push(frame(false, opcode, &sent[start..cut]));
            (opcode, start) = (Opcode::Continuation, cut);
        }
        frames.push(frame(true, opcode, &sent[start..]));
        if is_compressed {
            frames[0][0] |= 0x40;
        }
        let expected = if is_text {
            Owned::Text(String::from_utf8(payload).unwrap())
        } else {
            Owned::Binary(payload)
        };
        prop_assert_eq!(events(&frames), [expected]);
    }

    #[test]
    fn any_frames_get_one_outcome(frames in prop::collection::vec((any::<bool>(), prop::sample::select(vec![
        Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong,
    ]), prop_oneof![
        "[aé𝄞]{0,8}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
    ]), 0..6)) {
        let frames: Vec<_> = frames.iter().map(|(fin, opcode, payload)| frame(*fin, *opcode, payload)).collect();
        // `outcome` compares.
        let _ = outcome(&frames.concat());
    }

    #[test]
    fn any_bytes_get_one_outcome(input in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = outcome(&input);
    }
}
