//! From bytes to whole messages and control frames (RFC 6455 sections 5.4, 5.5 and 8.1).
//!
//! A frame that is whole in the input is unmasked there and borrowed from it. Only a message that
//! comes in parts is gathered in memory of its own, which grows with what has arrived and is gone
//! as soon as the message was read.

use super::close::{self, CloseCode, CloseError};
use super::frame::{self, FrameError, FrameHeader, Opcode};
use super::mask;
use super::message::{Message, event};

/// Bounds of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblerLimits {
    /// Bytes of payload of a message, all fragments together.
    pub message_bytes_max: usize,
    /// Frames of a message that is fragmented.
    pub fragments_max: u32,
}

/// Assembles what one client sends.
#[derive(Debug, Default)]
pub struct Assembler {
    /// A message that has come in part, or was handed out by the last call.
    message: Option<Box<Message>>,
}

/// What one call of [`Assembler::feed`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed<'a> {
    /// Bytes of the input that must not be fed again; 0 when more bytes are needed.
    pub consumed: usize,
    /// What they completed. There is none without consumed bytes.
    pub event: Option<Event<'a>>,
}

/// Something that a client has sent completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping and its payload.
    Ping(&'a [u8]),
    /// A pong and its payload.
    Pong(&'a [u8]),
    /// A close frame with its code and reason, if it has them.
    Close(Option<(CloseCode, &'a str)>),
}

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblerError {
    /// A frame header is malformed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The payload of a close frame is malformed.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// A continuation without a message to continue.
    #[error("continuation without a message")]
    UnexpectedContinuation,
    /// A new message before the last one ended.
    #[error("new message between fragments")]
    ExpectedContinuation,
    /// More than [`AssemblerLimits::message_bytes_max`].
    #[error("message too big")]
    TooBig,
    /// More than [`AssemblerLimits::fragments_max`].
    #[error("too many fragments")]
    TooManyFragments,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
}

impl Assembler {
    /// Takes at most one event from the front of `input`, which may be unmasked in place.
    ///
    /// Feed again what was not consumed, until nothing is: then it waits for more bytes (at most
    /// 130 remain), and an assembler that is between messages owns no memory. The limits stay the
    /// same through a connection.
    ///
    /// # Errors
    /// As soon as it is certain. The connection is to be closed with
    /// [`AssemblerError::close_code`], and nothing more to be fed.
    pub fn feed<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &AssemblerLimits,
    ) -> Result<Fed<'a>, AssemblerError> {
        self.free_finished();
        let mut payload_at = 0;
        if !self.is_inside_frame() {
            let Some((header, header_len)) = frame::decode(input)? else {
                return Ok(Fed::NOTHING);
            };
            if header.opcode.is_control() {
                return control(&header, header_len, input);
            }
            self.admit(&header, limits)?;
            if self.message.is_none() && header.fin && is_whole(&header, header_len, input) {
                return unfragmented(&header, header_len, input);
            }
            let message = self
                .message
                .get_or_insert_with(|| Box::new(Message::new(header.opcode)));
            message.begin(&header);
            payload_at = header_len;
        }
        self.gather(payload_at, input)
    }

    /// Bytes that are allocated for a message that has come in part.
    pub fn held_bytes(&self) -> usize {
        self.message
            .as_ref()
            .map_or(0, |message| message.held_bytes())
    }

    /// The message that the last call handed out was read since.
    fn free_finished(&mut self) {
        self.message.take_if(|message| message.is_finished());
    }

    fn is_inside_frame(&self) -> bool {
        let message = self.message.as_ref();
        message.is_some_and(|message| message.is_inside_frame())
    }

    /// Decides at its header whether a data frame may come.
    fn admit(&self, header: &FrameHeader, limits: &AssemblerLimits) -> Result<(), AssemblerError> {
        // RFC 6455 section 5.4: fragments of two messages are never interleaved.
        let (assembled, fragments) = match (&self.message, header.opcode) {
            (None, Opcode::Continuation) => return Err(AssemblerError::UnexpectedContinuation),
            (None, _) => (0, 0),
            (Some(message), Opcode::Continuation) => (message.len(), message.fragments()),
            (Some(_), _) => return Err(AssemblerError::ExpectedContinuation),
        };
        let allowed = limits.message_bytes_max.saturating_sub(assembled);
        // usize has at most 64 bits on every platform that Rust knows.
        if header.payload_len > allowed as u64 {
            return Err(AssemblerError::TooBig);
        }
        let fragmented = fragments > 0 || !header.fin;
        if fragmented && fragments >= limits.fragments_max {
            return Err(AssemblerError::TooManyFragments);
        }
        Ok(())
    }

    /// Gathers what `input` has of the present frame's payload, from `payload_at` on.
    fn gather<'a>(
        &'a mut self,
        payload_at: usize,
        input: &mut [u8],
    ) -> Result<Fed<'a>, AssemblerError> {
        let Some(message) = self.message.as_deref_mut() else {
            return Ok(Fed::NOTHING);
        };
        let taken = message.take(&mut input[payload_at..])?;
        Ok(Fed {
            consumed: payload_at + taken,
            event: message.event()?,
        })
    }
}

impl Fed<'_> {
    /// More bytes are needed.
    const NOTHING: Self = Fed {
        consumed: 0,
        event: None,
    };
}

impl AssemblerError {
    /// What the connection is to be closed with.
    pub fn close_code(&self) -> CloseCode {
        match self {
            AssemblerError::Close(error) => error.close_code(),
            AssemblerError::TooBig | AssemblerError::TooManyFragments => CloseCode::TOO_BIG,
            AssemblerError::InvalidUtf8 => CloseCode::INVALID_DATA,
            AssemblerError::Frame(_)
            | AssemblerError::UnexpectedContinuation
            | AssemblerError::ExpectedContinuation => CloseCode::PROTOCOL_ERROR,
        }
    }
}

fn is_whole(header: &FrameHeader, header_len: usize, input: &[u8]) -> bool {
    header.payload_len <= (input.len() - header_len) as u64
}

/// The unmasked payload of a frame that is whole in the input.
fn payload<'a>(header: &FrameHeader, header_len: usize, input: &'a mut [u8]) -> &'a mut [u8] {
    // No more than the input has, so it fits.
    let payload = &mut input[header_len..][..header.payload_len as usize];
    mask::apply(header.mask, 0, payload);
    payload
}

/// A message of one frame, without a copy.
fn unfragmented<'a>(
    header: &FrameHeader,
    header_len: usize,
    input: &'a mut [u8],
) -> Result<Fed<'a>, AssemblerError> {
    let payload = payload(header, header_len, input);
    Ok(Fed {
        consumed: header_len + payload.len(),
        event: Some(event(header.opcode == Opcode::Text, payload)?),
    })
}

/// A control frame, which is never taken in part: it has at most 125 bytes of payload.
fn control<'a>(
    header: &FrameHeader,
    header_len: usize,
    input: &'a mut [u8],
) -> Result<Fed<'a>, AssemblerError> {
    if !is_whole(header, header_len, input) {
        return Ok(Fed::NOTHING);
    }
    let payload = payload(header, header_len, input);
    let consumed = header_len + payload.len();
    let event = match header.opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => Event::Close(close::parse(payload)?),
    };
    Ok(Fed {
        consumed,
        event: Some(event),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: AssemblerLimits = AssemblerLimits {
        message_bytes_max: 1000,
        fragments_max: 4,
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
            opcode,
            mask: [0x37, 0xfa, 0x21, 0x3d],
            payload_len: payload.len() as u64,
        };
        let mut out = Vec::new();
        frame::encode_client_frame(&header, payload, &mut out);
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
        fn round_trip((is_text, payload) in any_payload(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
            cuts.sort_unstable();
            let mut opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            let (mut frames, mut start) = (Vec::new(), 0);
            for cut in cuts {
                frames.push(frame(false, opcode, &payload[start..cut]));
                (opcode, start) = (Opcode::Continuation, cut);
            }
            frames.push(frame(true, opcode, &payload[start..]));
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
}
