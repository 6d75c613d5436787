//! The spool over real files, against a list; cut, changed and refused by its disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::segment::{HEAD_LEN, HEADER_LEN};
use super::*;

const ALL: usize = usize::MAX;

fn at(wall_micros: u64) -> Moment {
    Moment {
        wall_micros,
        monotonic_micros: 0,
    }
}

fn record(appended_at: u64, part: &[u8]) -> OwnedRecord {
    OwnedRecord {
        appended_at,
        topic: "orders".into(),
        messages: vec![OwnedMessage {
            token: [u8::try_from(appended_at & 0xff).unwrap(); 16],
            ttl: None,
            expires_at: Some(appended_at + 1),
            stored_part: part.into(),
        }],
    }
}

fn append(spool: &mut Spool, records: &[OwnedRecord]) -> Result<(), SpoolError> {
    let now = at(records.first().map_or(0, |record| record.appended_at));
    let borrowed: Vec<_> = records.iter().map(OwnedRecord::borrowed).collect();
    spool.append(&borrowed, now)
}

/// Each at its time.
fn append_each(spool: &mut Spool, records: &[OwnedRecord]) {
    for record in records {
        append(spool, std::slice::from_ref(record)).unwrap();
    }
}

/// The segments that are there, by name.
fn segments(directory: &TempDir) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "segment"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn check(spool: &Spool, directory: &TempDir, kept: &[OwnedRecord]) {
    let files: usize = segments(directory).values().map(Vec::len).sum();
    assert_eq!(spool.bytes(), files as u64);
    assert_eq!(spool.len(), kept.len() as u64);
    assert_eq!(spool.is_empty(), kept.is_empty());
    assert_eq!(spool.oldest_at().is_some(), !kept.is_empty());
    assert!(spool.oldest_at() <= kept.first().map(|record| record.appended_at));
    assert_eq!(spool.lost(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Peek(usize, usize),
    Confirm(usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => vec(prop_oneof![0..300_usize, 3_000..9_000_usize], 0..6).prop_map(Step::Append),
        3 => (0..10_usize, 0..6_000_usize).prop_map(|(records, bytes)| Step::Peek(records, bytes)),
        3 => (0..10_usize).prop_map(Step::Confirm),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn is_a_list_that_outlives_the_process(steps in vec(step(), 1..60)) {
        const BYTES_MAX: u64 = 48 << 10;
        let directory = TempDir::new().unwrap();
        let mut spool = Spool::open(directory.path(), BYTES_MAX).unwrap();
        let (mut kept, mut peeked) = (Vec::new(), 0);
        for (now, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(lens) => {
                    let of = |len| record(now as u64, &vec![b'x'; len]);
                    let records: Vec<_> = lens.into_iter().map(of).collect();
                    let frames: usize = records
                        .iter()
                        .map(|it| HEADER_LEN + HEAD_LEN + it.borrowed().encoded_len().unwrap())
                        .sum();
                    let before = spool.bytes();
                    match append(&mut spool, &records) {
                        Ok(()) => kept.extend(records),
                        Err(SpoolError::Full) => {
                            prop_assert!(before + frames as u64 > BYTES_MAX);
                            prop_assert_eq!(spool.bytes(), before);
                        }
                        Err(error) => panic!("{error}"),
                    }
                    prop_assert!(spool.bytes() <= BYTES_MAX);
                }
                Step::Peek(records, bytes) => {
                    let found = spool.peek(records, bytes).unwrap();
                    peeked = found.len();
                    prop_assert!(peeked <= records && kept.starts_with(&found));
                    prop_assert_eq!(peeked == 0, records == 0 || kept.is_empty());
                    let len: usize = found
                        .iter()
                        .map(|it| HEAD_LEN + it.borrowed().encoded_len().unwrap())
                        .sum();
                    prop_assert!(peeked <= 1 || len <= bytes);
                }
                Step::Confirm(count) => {
                    spool.confirm(count).unwrap();
                    kept.drain(..count.min(peeked));
                    peeked -= count.min(peeked);
                }
                Step::Reopen => {
                    drop(spool);
                    spool = Spool::open(directory.path(), BYTES_MAX).unwrap();
                    let recovered = Recovered { records: kept.len() as u64, ..Recovered::default() };
                    prop_assert_eq!(spool.recovered(), recovered);
                    peeked = 0;
                }
            }
            check(&spool, &directory, &kept);
        }
        prop_assert_eq!(spool.peek(ALL, ALL).unwrap(), kept);
    }
}

/// A directory with one segment of three records, the segment, and where its frames begin and end.
fn three() -> (TempDir, Vec<OwnedRecord>, PathBuf, Vec<u8>, Vec<usize>) {
    let directory = TempDir::new().unwrap();
    let records: Vec<_> = [&b"one"[..], b"", b"three"]
        .into_iter()
        .map(|part| record(5, part))
        .collect();
    let mut spool = Spool::open(directory.path(), 1 << 20).unwrap();
    append(&mut spool, &records).unwrap();
    let (path, bytes) = segments(&directory).pop_first().unwrap();
    let mut ends = vec![HEADER_LEN];
    for record in &records {
        ends.push(ends[ends.len() - 1] + HEAD_LEN + record.borrowed().encoded_len().unwrap());
    }
    assert_eq!(ends[3], bytes.len());
    (directory, records, path, bytes, ends)
}

#[test]
fn every_torn_end_is_cut_off_and_told() {
    let (directory, records, path, bytes, ends) = three();
    for cut in 0..=bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let mut spool = Spool::open(directory.path(), 1 << 20).unwrap();
        let whole = ends[1..].iter().filter(|end| **end <= cut).count();
        let lost = match whole {
            0 if cut >= HEADER_LEN => cut - HEADER_LEN,
            0 => cut,
            _ => cut - ends[whole],
        };
        let recovered = spool.recovered();
        assert_eq!(
            (recovered.records, recovered.lost_bytes),
            (whole as u64, lost as u64),
            "{cut}"
        );
        assert_eq!(recovered.damaged_segments, u64::from(lost > 0));
        check(&spool, &directory, &records[..whole]);
        assert_eq!(spool.peek(ALL, ALL).unwrap(), records[..whole]);
        let more = record(6, b"more");
        append(&mut spool, std::slice::from_ref(&more)).unwrap();
        assert_eq!(spool.peek(ALL, ALL).unwrap().pop(), Some(more));
        spool.confirm(ALL).unwrap();
        check(&spool, &directory, &[]);
        // The mark would say that all of this number is done.
        fs::remove_file(directory.path().join("confirmed")).unwrap();
    }
}

#[test]
fn every_changed_byte_costs_one_record_or_the_rest() {
    let (directory, records, path, bytes, ends) = three();
    for at in 0..bytes.len() {
        for mask in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            fs::write(&path, &changed).unwrap();
            let mut spool = Spool::open(directory.path(), 1 << 20).unwrap();
            let mut expected = records.clone();
            if at >= HEADER_LEN {
                let hit = ends.iter().filter(|end| **end <= at).count() - 1;
                if at < ends[hit] + HEAD_LEN {
                    expected.truncate(hit);
                } else {
                    expected.remove(hit);
                }
            }
            assert_eq!(spool.peek(ALL, ALL).unwrap(), expected, "byte {at}");
            assert_eq!(spool.recovered().damaged_segments, 1);
            check(&spool, &directory, &expected);
        }
    }
}

#[test]
fn damage_in_the_middle_costs_no_other_segment() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(directory.path(), 64 << 10).unwrap();
    let mut records: Vec<_> = (0..9).map(|time| record(time, &[b'x'; 1_500])).collect();
    append_each(&mut spool, &records);
    drop(spool);
    let files: Vec<_> = segments(&directory).into_iter().collect();
    assert!(files.len() > 3);
    let (path, mut bytes) = files[1].clone();
    bytes[HEADER_LEN] ^= 1;
    fs::write(path, &bytes).unwrap();
    let mut spool = Spool::open(directory.path(), 64 << 10).unwrap();
    records.drain(2..4);
    assert_eq!(
        spool.recovered().lost_bytes,
        (bytes.len() - HEADER_LEN) as u64
    );
    assert_eq!(spool.peek(ALL, ALL).unwrap(), records);
    check(&spool, &directory, &records);
}

#[test]
fn damage_while_it_is_open_is_passed_over_and_counted() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(directory.path(), 64 << 10).unwrap();
    let records: Vec<_> = (0..8).map(|time| record(time, &[b'x'; 1_500])).collect();
    append_each(&mut spool, &records);
    let files: Vec<_> = segments(&directory).into_iter().collect();
    fs::remove_file(&files[0].0).unwrap();
    let mut bytes = files[1].1.clone();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&files[1].0, bytes).unwrap();
    fs::write(&files[3].0, b"").unwrap();
    let expected: Vec<_> = [2, 4, 5].map(|at| records[at].clone()).to_vec();
    assert_eq!(spool.peek(ALL, ALL).unwrap(), expected);
    assert_eq!((spool.len(), spool.lost()), (3, 5));
    append(&mut spool, &records[..1]).unwrap();
    spool.confirm(3).unwrap();
    assert_eq!(spool.peek(ALL, ALL).unwrap(), records[..1]);
    spool.confirm(1).unwrap();
    assert!(spool.is_empty() && segments(&directory).is_empty());
}

#[test]
fn a_disk_that_refuses_leaves_what_was_there() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(directory.path(), 64 << 10).unwrap();
    let mut kept = vec![record(1, b"first")];
    append(&mut spool, &kept).unwrap();
    // Part of the next write reaches the segment before the disk is full.
    let (path, mut bytes) = segments(&directory).pop_first().unwrap();
    bytes.extend(b"torn");
    fs::write(&path, bytes).unwrap();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    spool.tail.as_mut().unwrap().file = full;
    let batch: Vec<_> = (0..4).map(|_| record(2, &[b'y'; 3_000])).collect();
    let error = append(&mut spool, &[&[record(2, b"y")], &batch[..]].concat()).unwrap_err();
    assert!(matches!(error, SpoolError::Io(error) if error.kind() == io::ErrorKind::StorageFull));
    check(&spool, &directory, &kept);
    // A later piece of a batch fails: a file of its number is in the way.
    append(&mut spool, &[record(2, b"y")]).unwrap();
    kept.push(record(2, b"y"));
    let name = format!("{:016x}.segment", spool.next_number + 1);
    let in_the_way = directory.path().join(name);
    fs::create_dir(&in_the_way).unwrap();
    append(&mut spool, &batch).unwrap_err();
    fs::remove_dir(&in_the_way).unwrap();
    check(&spool, &directory, &kept);
    append(&mut spool, &batch).unwrap();
    kept.extend(batch);
    check(&spool, &directory, &kept);
    drop(spool);
    let mut spool = Spool::open(directory.path(), 64 << 10).unwrap();
    assert_eq!(spool.recovered().lost_bytes, 0);
    assert_eq!(spool.peek(ALL, ALL).unwrap(), kept);
}

#[test]
fn a_lost_mark_replays_and_loses_nothing() {
    let (directory, records, path, bytes, _) = three();
    let mut spool = Spool::open(directory.path(), 1 << 20).unwrap();
    spool.peek(2, ALL).unwrap();
    spool.confirm(2).unwrap();
    assert_eq!(spool.oldest_at(), Some(5));
    drop(spool);
    let mark = directory.path().join("confirmed");
    let content = fs::read(&mark).unwrap();
    let open = || Spool::open(directory.path(), 1 << 20).unwrap();
    for at in 0..content.len() {
        let mut changed = content.clone();
        changed[at] ^= 1;
        fs::write(&mark, changed).unwrap();
        assert_eq!(open().peek(ALL, ALL).unwrap(), records);
    }
    fs::write(&mark, &content).unwrap();
    let mut spool = open();
    assert_eq!(spool.peek(ALL, ALL).unwrap(), records[2..]);
    spool.confirm(1).unwrap();
    drop(spool);
    // A segment that was removed, and is there again after the end of the machine.
    fs::write(&path, bytes).unwrap();
    let mut spool = open();
    assert!(spool.is_empty() && segments(&directory).is_empty());
    append(&mut spool, &records).unwrap();
    drop(spool);
    assert_eq!(open().len(), 3);
}

#[test]
fn is_one_users_and_of_one_version() {
    let (directory, records, path, mut bytes, _) = three();
    let spool = Spool::open(directory.path(), 100).unwrap();
    let second = Spool::open(directory.path(), 100).unwrap_err();
    assert!(matches!(second, SpoolError::Locked));
    drop(spool);
    let mut spool = Spool::open(directory.path(), 100).unwrap();
    assert_eq!(spool.len(), 3);
    let error = append(&mut spool, &records[..1]).unwrap_err();
    assert!(matches!(error, SpoolError::Full));
    let nothing = Record {
        topic: "t",
        messages: Vec::new(),
    };
    let error = spool.append(&[nothing], at(0)).unwrap_err();
    assert!(matches!(error, SpoolError::Record(RecordError::Messages)));
    drop(spool);
    bytes[7] = 2;
    let checksum = crc32fast::hash(&bytes[..16]);
    bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let error = Spool::open(directory.path(), 100).unwrap_err();
    let expected = SpoolError::Version {
        number: 0,
        version: 2,
    };
    assert_eq!(error.to_string(), expected.to_string());
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

/// A measurement, to be run by hand with the release profile.
#[test]
#[ignore = "measures the disk"]
fn append_and_replay_throughput() {
    for (batch, batches) in [(1, 500_u32), (64, 500)] {
        let directory = TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mut spool = Spool::open(directory.path(), 256 << 20).unwrap();
        let records = vec![record(0, &[b'x'; 256]); batch];
        let start = Instant::now();
        for _ in 0..batches {
            append(&mut spool, &records).unwrap();
        }
        let rate =
            |start: Instant| f64::from(batches) * batch as f64 / start.elapsed().as_secs_f64();
        println!("append, batches of {batch}: {:.0} records/s", rate(start));
        let start = Instant::now();
        while !spool.is_empty() {
            let count = spool.peek(100, 1 << 20).unwrap().len();
            spool.confirm(count).unwrap();
        }
        println!("peek and confirm by 100: {:.0} records/s", rate(start));
    }
}
