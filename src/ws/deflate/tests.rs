use std::io::Write;

use flate2::write::{DeflateDecoder, DeflateEncoder};
use proptest::prelude::*;

use super::*;

const MAX: usize = 1000;

/// Compresses as a client does, at the best level.
fn client_payload(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.flush().unwrap();
    let mut out = encoder.get_ref().clone();
    assert!(out.ends_with(&FLUSH_TAIL));
    out.truncate(out.len() - FLUSH_TAIL.len());
    out
}

/// The same with a last block, and what must follow it (RFC 7692 section 7.2.3.4).
fn client_payload_with_last_block(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    let mut out = encoder.finish().unwrap();
    out.push(0);
    out
}

/// Inflates a frame of the server by other code.
fn client_inflate(frame: &[u8]) -> Vec<u8> {
    assert_eq!(frame[0] & 0xf0, 0xc0, "FIN and RSV1");
    let (_, payload) = frame::parts(frame).unwrap();
    let mut decoder = DeflateDecoder::new(Vec::new());
    decoder.write_all(payload).unwrap();
    decoder.write_all(&CLOSING).unwrap();
    decoder.finish().unwrap()
}

fn frame_of(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode_header(Opcode::Text, payload.len(), &mut out);
    out.extend_from_slice(payload);
    out
}

#[test]
fn examples_of_the_rfc() {
    // RFC 7692 sections 7.2.3.1 to 7.2.3.6.
    let messages: [(&[u8], &[u8]); 6] = [
        (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
        (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello"),
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),
        (
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            b"Hello",
        ),
        (b"\x02\x00", b""),
        (b"\x00", b""),
    ];
    for (payload, text) in messages {
        assert_eq!(inflate(payload, MAX).as_deref(), Ok(text), "{payload:x?}");
    }
}

#[test]
fn an_earlier_message_is_not_referred_to() {
    // RFC 7692 section 7.2.3.2: the second "Hello" of a client that keeps its window.
    let second = b"\xf2\x00\x11\x00\x00";
    assert_eq!(
        inflate(b"\xf2\x48\xcd\xc9\xc9\x07\x00", MAX).unwrap(),
        b"Hello"
    );
    assert_eq!(inflate(second, MAX), Err(InflateError::Malformed));
}

#[test]
fn what_is_cut_or_malformed_is_refused() {
    let whole = client_payload(&b"a message that is cut somewhere".repeat(3));
    for len in 0..whole.len() {
        let cut = inflate(&whole[..len], MAX);
        assert_eq!(cut, Err(InflateError::Malformed), "first {len} bytes");
    }
    let malformed: [&[u8]; 5] = [
        b"",
        b"\x07",
        b"\xff\xff\xff",
        b"\x00\x05\x00\xfa\x00Hello",
        // A last block, and nothing behind it.
        b"\xf3\x48\xcd\xc9\xc9\x07\x00",
    ];
    for payload in malformed {
        let inflated = inflate(payload, MAX);
        assert_eq!(inflated, Err(InflateError::Malformed), "{payload:x?}");
    }
}

#[test]
fn the_bound_is_exact() {
    for (bytes_max, len) in [
        (0, 0),
        (0, 1),
        (1, 1),
        (MAX, MAX),
        (MAX, MAX + 1),
        (4096, 4096),
    ] {
        let payload = client_payload(&vec![b'a'; len]);
        let inflated = inflate(&payload, bytes_max);
        if len > bytes_max {
            assert_eq!(inflated, Err(InflateError::TooBig), "{len} of {bytes_max}");
        } else {
            let inflated = inflated.unwrap();
            assert_eq!(inflated.len(), len);
            assert!(inflated.capacity() <= bytes_max + 1);
        }
    }
}

#[test]
fn a_bomb_is_left_where_it_passes_the_bound() {
    let bomb = client_payload(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(inflate(&bomb, MAX), Err(InflateError::TooBig));
    INFLATER.with_borrow(|inflater| {
        let made = inflater.as_ref().unwrap().total_out();
        assert_eq!(made, MAX as u64 + 1, "no byte more was made");
    });
    // And many last blocks without a byte of text.
    let empty = b"\x03\x00".repeat(100_000);
    assert_eq!(inflate(&[&empty[..], b"\x00"].concat(), MAX).unwrap(), b"");
}

#[test]
fn only_what_shrinks_is_compressed() {
    let text = br#"{"type":"message","topic":"orders","payload":{"orders":"orders"}}"#;
    assert!(text.len() >= PAYLOAD_LEN_MIN);
    let frame = compressed(&frame_of(text)).unwrap();
    assert!(frame.len() < text.len());
    assert_eq!(client_inflate(&frame), text);
    assert_eq!(compressed(&frame_of(&text[..PAYLOAD_LEN_MIN - 1])), None);
    let noise: Vec<u8> = std::iter::repeat_with({
        let mut random = fastrand::Rng::with_seed(1);
        move || random.u8(..)
    })
    .take(100_000)
    .collect();
    assert_eq!(compressed(&frame_of(&noise)), None);
    assert_eq!(compress(Opcode::Text, text, 8), None, "zlib cannot");
    // Noise does not harm what comes next.
    for _ in 0..20 {
        let frame = compress(Opcode::Text, &noise, WINDOW_BITS_MAX).unwrap();
        assert_eq!(client_inflate(&frame), noise);
        assert_eq!(compressed(&frame_of(&noise)), None);
        assert_eq!(client_inflate(&compressed(&frame_of(text)).unwrap()), text);
    }
}

#[test]
fn lengths_of_headers() {
    for len in [125, 126, 127, 65_535, 65_536, 10_000_000] {
        let payload = vec![b'a'; len];
        let frame = compressed(&frame_of(&payload)).unwrap();
        assert_eq!(client_inflate(&frame), payload);
    }
    let mut random = fastrand::Rng::with_seed(2);
    let hex: Vec<u8> = (0..200_000).map(|_| random.digit(16) as u8).collect();
    let frame = compressed(&frame_of(&hex)).unwrap();
    assert_eq!(frame[1], 127);
    assert_eq!(client_inflate(&frame), hex);
}

/// Text with repetitions near and far.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[a-f]{1,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..600),
        (any::<u8>(), 1..2000usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    (prop::collection::vec(piece, 0..8), 1..4usize)
        .prop_map(|(pieces, n)| pieces.concat().repeat(n))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_clients_compress_is_inflated(text in any_text(), spare in 0..3usize) {
        for payload in [client_payload(&text), client_payload_with_last_block(&text)] {
            let inflated = inflate(&payload, text.len() + spare);
            prop_assert_eq!(inflated.as_deref(), Ok(&text[..]));
            if !text.is_empty() {
                prop_assert_eq!(inflate(&payload, text.len() - 1), Err(InflateError::TooBig));
            }
        }
    }

    #[test]
    fn what_the_server_compresses_clients_inflate(text in any_text(), window_bits in 8..=15u8) {
        if let Some(frame) = compress(Opcode::Binary, &text, window_bits) {
            prop_assert!(frame.len() <= HEADER_LEN_MAX + room(text.len()));
            prop_assert_eq!(frame[0], 0xc2);
            prop_assert_eq!(&client_inflate(&frame), &text);
            // A small window is kept: nothing farther back is referred to.
            let (_, payload) = frame::parts(&frame).unwrap();
            let mut inflater = Decompress::new_with_window_bits(false, window_bits.max(9));
            let mut out = Vec::with_capacity(text.len() + 1);
            let input = [payload, &CLOSING].concat();
            let mut at = 0;
            // A few bytes at a time, so that only the window remembers.
            while at < input.len() {
                let mut piece = Vec::with_capacity(64);
                let before = inflater.total_in();
                let status = inflater.decompress_vec(&input[at..], &mut piece, FlushDecompress::None);
                prop_assert!(status.is_ok(), "{status:?}");
                at += (inflater.total_in() - before) as usize;
                out.extend_from_slice(&piece);
                if matches!(status, Ok(Status::StreamEnd)) {
                    break;
                }
            }
            prop_assert_eq!(&out, &text);
        }
    }

    #[test]
    fn noise_is_compressed_and_declined_in_any_order(lens in prop::collection::vec(0..20_000usize, 1..4), seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        for len in lens {
            let noise: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
            prop_assert_eq!(compressed(&frame_of(&noise)), None);
            for window_bits in [9, WINDOW_BITS_MAX] {
                let frame = compress(Opcode::Text, &noise, window_bits).expect("room for all");
                prop_assert_eq!(&client_inflate(&frame), &noise);
            }
        }
    }

    #[test]
    fn any_bytes_are_inflated_within_bounds(payload: Vec<u8>, bytes_max in 0..5000usize) {
        if let Ok(inflated) = inflate(&payload, bytes_max) {
            prop_assert!(inflated.len() <= bytes_max);
            prop_assert!(inflated.capacity() <= bytes_max + 1);
        }
    }
}
