//! Which primary of a cluster serves which slot, as plain values.

use crc::{CRC_16_XMODEM, Crc};

use super::connect::Address;

/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;
/// No lane.
const NOBODY: u16 = u16::MAX;
/// Numbers among which a hash tag is looked for: far more than there are slots.
const TAGS_MAX: u32 = 1 << 20;

const CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key or channel: that of its first hash tag, if it has one that is not empty.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let rest = &key[open + 1..];
        let close = memchr::memchr(b'}', rest).filter(|close| *close > 0)?;
        Some(&rest[..close])
    });
    CHECKSUM.checksum(tag.unwrap_or(key)) % SLOTS
}

/// Slots in a row that one primary serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Served {
    pub(super) first: u16,
    /// Inclusive.
    pub(super) last: u16,
    pub(super) primary: Address,
}

/// Which lane leads to which slot, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SlotMap {
    lanes: Box<[u16]>,
    /// Where each lane leads; `None` for one that is not needed now.
    addresses: Vec<Option<Address>>,
}

impl SlotMap {
    /// Nothing is known yet.
    pub(super) fn unknown() -> SlotMap {
        SlotMap {
            lanes: vec![NOBODY; usize::from(SLOTS)].into(),
            addresses: Vec::new(),
        }
    }

    /// The lane of a slot.
    pub(super) fn lane(&self, slot: u16) -> Option<usize> {
        let lane = *self.lanes.get(usize::from(slot))?;
        (lane != NOBODY).then_some(usize::from(lane))
    }

    /// Where each lane leads.
    pub(super) fn addresses(&self) -> &[Option<Address>] {
        &self.addresses
    }

    /// Whether some primary serves each slot.
    pub(super) fn is_whole(&self) -> bool {
        !self.lanes.contains(&NOBODY)
    }

    /// A hash tag whose slot a lane leads to.
    pub(super) fn tag(&self, lane: usize) -> Option<String> {
        let mut tags = (0..TAGS_MAX).map(|number| number.to_string());
        tags.find(|tag| self.lane(slot_of(tag.as_bytes())) == Some(lane))
    }

    /// The map when the cluster has become this. A lane stays with its primary. When that serves
    /// nothing any more, the lane leads to who serves most of what it led to; a primary for which
    /// no lane is left gets a new one.
    pub(super) fn follow(&self, served: &[Served]) -> SlotMap {
        let mut primaries: Vec<&Address> = served.iter().map(|one| &one.primary).collect();
        primaries.sort_unstable();
        primaries.dedup();
        let mut addresses: Vec<Option<Address>> = self.addresses.clone();
        for address in &mut addresses {
            address.take_if(|it| primaries.binary_search(&&*it).is_err());
        }
        for primary in primaries {
            let is_it = |address: &Option<Address>| address.as_ref() == Some(primary);
            if addresses.iter().any(is_it) {
                continue;
            }
            let free = (0..addresses.len()).filter(|lane| addresses[*lane].is_none());
            match free.max_by_key(|lane| self.common(*lane, primary, served)) {
                Some(lane) => addresses[lane] = Some(primary.clone()),
                None => addresses.push(Some(primary.clone())),
            }
        }
        let mut map = SlotMap {
            addresses,
            ..SlotMap::unknown()
        };
        for Served {
            first,
            last,
            primary,
        } in served
        {
            let lane = map
                .addresses
                .iter()
                .position(|it| it.as_ref() == Some(primary));
            let last = (*last).min(SLOTS - 1);
            if let (Some(lane), true) = (lane, *first <= last) {
                // There are no more primaries than slots.
                map.lanes[usize::from(*first)..=usize::from(last)].fill(lane as u16);
            }
        }
        map
    }

    /// How many of the slots that a lane led to a primary serves.
    fn common(&self, lane: usize, primary: &Address, served: &[Served]) -> usize {
        let theirs = served.iter().filter(|one| one.primary == *primary);
        let slots = theirs.flat_map(|one| one.first..=one.last);
        slots.filter(|slot| self.lane(*slot) == Some(lane)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        ("node".to_owned(), port)
    }

    fn thirds(ports: [u16; 3]) -> Vec<Served> {
        let bounds = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];
        let served = bounds.into_iter().zip(ports);
        let served = served.map(|((first, last), port)| Served {
            first,
            last,
            primary: address(port),
        });
        served.collect()
    }

    #[test]
    fn keys_have_the_slots_that_clusters_give_them() {
        // From `CLUSTER KEYSLOT`.
        let known: [(&str, u16); 7] = [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("pulsar:{foo}:log", 12_182),
            ("{foo}{bar}", 12_182),
            ("foo{}{bar}", 8_363),
            ("foo{{bar}}zap", 4_015),
            ("", 0),
        ];
        for (key, slot) in known {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn lanes_stay_with_their_primaries() {
        let map = SlotMap::unknown();
        assert_eq!((map.lane(0), map.is_whole()), (None, false));
        let map = map.follow(&thirds([1, 2, 3]));
        assert!(map.is_whole());
        assert_eq!(
            [0, 5_461, 16_383].map(|slot| map.lane(slot)),
            [Some(0), Some(1), Some(2)]
        );
        // Slots have moved from the first to the third.
        let mut moved = thirds([1, 2, 3]);
        moved[0].first = 100;
        moved.push(Served {
            first: 0,
            last: 99,
            primary: address(3),
        });
        let map = map.follow(&moved);
        assert_eq!(
            [0, 99, 100].map(|slot| map.lane(slot)),
            [Some(2), Some(2), Some(0)]
        );
        for lane in 0..3 {
            let tag = map.tag(lane).unwrap();
            assert_eq!(map.lane(slot_of(tag.as_bytes())), Some(lane));
        }
        assert_eq!(map.tag(3), None);
    }

    #[test]
    fn a_successor_takes_the_lane_over() {
        let map = SlotMap::unknown().follow(&thirds([1, 2, 3]));
        let map = map.follow(&thirds([1, 9, 3]));
        assert_eq!(map.lane(6_000), Some(1));
        assert_eq!(map.addresses()[1], Some(address(9)));
        // Two at once, each to who has its slots.
        let map = map.follow(&thirds([7, 9, 5]));
        assert_eq!(map.addresses(), [7, 9, 5].map(|port| Some(address(port))));
        assert_eq!([0, 16_383].map(|slot| map.lane(slot)), [Some(0), Some(2)]);
    }

    #[test]
    fn lanes_come_and_rest() {
        let map = SlotMap::unknown().follow(&thirds([1, 2, 3]));
        let map = map.follow(&thirds([1, 2, 2]));
        assert_eq!(map.addresses()[2], None);
        assert_eq!(map.lane(16_383), Some(1));
        let map = map.follow(&thirds([1, 2, 4]));
        assert_eq!(map.addresses()[2], Some(address(4)));
        let mut four = thirds([1, 2, 4]);
        four[0].last = 999;
        let map = map.follow(&four);
        assert_eq!(
            (map.lane(999), map.lane(1_000), map.is_whole()),
            (Some(0), None, false)
        );
        four.push(Served {
            first: 1_000,
            last: u16::MAX,
            primary: address(8),
        });
        assert_eq!(map.follow(&four).addresses().len(), 4);
    }
}
