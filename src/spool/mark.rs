//! The mark: up to where the records are confirmed, as bytes.

use super::segment::HEADER_LEN;

const MAGIC: &[u8; 8] = b"PXMARK\0\x01";
/// Bytes of a mark.
pub(super) const LEN: usize = 28;

/// A place in a segment. All segments before it are confirmed, and so is this one up to `offset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// Number of the segment.
    pub(super) number: u64,
    /// Where a frame of the segment ends; at least the length of its header.
    pub(super) offset: u64,
}

impl Mark {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend(MAGIC);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.offset.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// `None` if it is damaged: then more is replayed than need be, and nothing is lost.
    pub(super) fn decode(bytes: &[u8]) -> Option<Mark> {
        let (content, checksum) = bytes.split_last_chunk()?;
        let (magic, rest) = content.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let offset = u64::from_le_bytes(rest.try_into().ok()?);
        let fits = crc32fast::hash(content).to_le_bytes() == *checksum && magic == MAGIC;
        (fits && offset >= HEADER_LEN as u64).then_some(Mark {
            number: u64::from_le_bytes(*number),
            offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_whole_or_not_at_all() {
        let mark = Mark {
            number: 3,
            offset: u64::MAX,
        };
        let bytes = mark.encode();
        assert_eq!(bytes.len(), LEN);
        assert_eq!(Mark::decode(&bytes), Some(mark));
        for at in 0..LEN {
            assert_eq!(Mark::decode(&bytes[..at]), None);
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(Mark::decode(&changed), None);
        }
        assert_eq!(Mark::decode(&[&bytes[..], b"x"].concat()), None);
    }
}
