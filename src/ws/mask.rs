//! Masking (RFC 6455 section 5.3).

/// Masks or unmasks `data` in place, which stands `offset` bytes behind the start of the payload.
pub fn apply(mut mask: [u8; 4], offset: usize, data: &mut [u8]) {
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = data.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(mask: [u8; 4], offset: usize, data: &mut [u8]) {
        for (index, byte) in data.iter_mut().enumerate() {
            *byte ^= mask[(offset + index) % 4];
        }
    }

    #[test]
    fn example_of_the_rfc() {
        // RFC 6455 section 5.7: "Hello" masked with 37 fa 21 3d.
        let mut data = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply([0x37, 0xfa, 0x21, 0x3d], 0, &mut data);
        assert_eq!(&data, b"Hello");
    }

    proptest! {
        #[test]
        fn as_the_naive_way(mask: [u8; 4], offset in 0..1000usize, data: Vec<u8>) {
            let (mut fast, mut slow) = (data.clone(), data);
            apply(mask, offset, &mut fast);
            naive(mask, offset, &mut slow);
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn in_two_pieces(mask: [u8; 4], data: Vec<u8>, split: prop::sample::Index) {
            let (mut whole, mut pieces) = (data.clone(), data);
            apply(mask, 0, &mut whole);
            let split = split.index(pieces.len() + 1);
            let (front, back) = pieces.split_at_mut(split);
            apply(mask, 0, front);
            apply(mask, split, back);
            prop_assert_eq!(whole, pieces);
        }
    }
}
