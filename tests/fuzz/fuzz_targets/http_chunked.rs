//! A chunked body decodes to the same data however it is cut, within its limit. The first byte of
//! the input is the length of its pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::http::{BodyError, ChunkedDecoder};

const BODY_MAX: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let Some((&len, input)) = data.split_first() else {
        return;
    };
    let whole = decode([input]);
    let in_pieces = decode(input.chunks(usize::from(len).max(1)));
    assert_eq!(whole, in_pieces);
    if let Ok((data, consumed, done)) = whole {
        assert!(data.len() <= BODY_MAX && data.len() <= consumed);
        assert!(!done || input[..consumed].ends_with(b"\r\n\r\n"));
        round_trip(&data, usize::from(len).max(1));
    }
});

type Outcome = Result<(Vec<u8>, usize, bool), BodyError>;

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = ChunkedDecoder::default();
    let (mut out, mut total, mut complete) = (Vec::new(), 0, false);
    for piece in pieces {
        let (consumed, done) = decoder.decode(piece, BODY_MAX, &mut out)?;
        assert!(done || consumed == piece.len());
        (total, complete) = (total + consumed, done);
    }
    Ok((out, total, complete))
}

fn round_trip(data: &[u8], chunk_len: usize) {
    let mut encoded = Vec::new();
    for chunk in data.chunks(chunk_len) {
        encoded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        encoded.extend_from_slice(chunk);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(b"0\r\n\r\n");
    let expected = (data.to_vec(), encoded.len(), true);
    assert_eq!(decode([&encoded[..]]), Ok(expected));
}
