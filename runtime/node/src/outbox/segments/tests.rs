#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use selvedge_decision::NodeId;

use super::*;
use crate::outbox::block::{Items, VERSION, encode};
use crate::outbox::samples::{event, stamp};

/// A directory with one segment of five blocks; its blocks, and where each begins and the last ends.
struct Sample {
    dir: tempfile::TempDir,
    id: SegmentId,
    bytes: Vec<u8>,
    blocks: Vec<Vec<u8>>,
    bounds: Vec<usize>,
}

impl Sample {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let block = |n: u64| {
            encode(&stamp(Lane::Events, n * 10 + 1), &Items::Events((0..1 + n % 3).map(event).collect())).unwrap()
        };
        let blocks: Vec<Vec<u8>> = (0..5).map(block).collect();
        let mut bounds = vec![0];
        for block in &blocks {
            bounds.push(bounds.last().unwrap() + block.len());
        }
        let id = SegmentId { lane: Lane::Events, epoch: stamp(Lane::Events, 1).epoch, first_seq: 1 };
        let bytes = blocks.concat();
        Self { dir, id, bytes, blocks, bounds }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(self.id.to_string())
    }

    /// The blocks found after a start, and how many damaged places were stepped over.
    fn recovered(&self, bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
        std::fs::write(self.path(), bytes).unwrap();
        let disk = Disk::open(self.dir.path()).unwrap();
        let mut found = Vec::new();
        let mut damaged = 0;
        for segment in recover(&disk).unwrap() {
            let mut scan = Scan::open(&segment.path, segment.id, 0).unwrap();
            while let Some(next) = scan.next(segment.end).unwrap() {
                match next {
                    Found::Block { bytes, .. } => found.push(bytes),
                    Found::Corrupt { tail, .. } => {
                        assert!(!tail, "the tail was cut at the start");
                        damaged += 1;
                    }
                }
            }
            assert_eq!(std::fs::metadata(&segment.path).unwrap().len(), segment.end);
        }
        (found, damaged)
    }
}

// A crash may cut the last write anywhere: every block before the cut is there, nothing else is, and the next start goes on.
#[test]
fn a_segment_cut_anywhere_keeps_its_whole_blocks() {
    let sample = Sample::new();
    for length in 0..=sample.bytes.len() {
        let whole = sample.bounds.iter().filter(|&&bound| bound <= length).count() - 1;
        assert_eq!(sample.recovered(&sample.bytes[..length]), (sample.blocks[..whole].to_vec(), 0), "cut at {length}");
    }
}

#[test]
fn a_flipped_bit_anywhere_costs_one_block() {
    let sample = Sample::new();
    for at in 0..sample.bytes.len() {
        let mut bytes = sample.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        let hit = sample.bounds.iter().filter(|&&bound| bound <= at).count() - 1;
        let mut expected = sample.blocks.clone();
        expected.remove(hit);
        let damaged = usize::from(hit + 1 < sample.blocks.len());
        assert_eq!(sample.recovered(&bytes), (expected, damaged), "flipped at {at}");
    }
}

#[test]
fn garbage_behind_the_last_block_is_cut() {
    let sample = Sample::new();
    for tail in [&b"SVBK"[..], &[0; 5000], &sample.blocks[0][..HEADER_BYTES], &sample.blocks[0][..HEADER_BYTES + 7]] {
        assert_eq!(sample.recovered(&[&sample.bytes, tail].concat()), (sample.blocks.clone(), 0));
    }
}

#[test]
fn blocks_far_behind_damage_are_found() {
    let sample = Sample::new();
    for gap in [1, 83, 64 * 1024 - 3, 64 * 1024, 200_000] {
        let bytes = [&sample.blocks[0][..], &vec![b'S'; gap], &sample.blocks[1]].concat();
        assert_eq!(sample.recovered(&bytes), (sample.blocks[..2].to_vec(), 1), "gap of {gap}");
    }
}

#[test]
fn blocks_of_another_lane_or_epoch_do_not_belong() {
    let sample = Sample::new();
    let stranger = encode(&stamp(Lane::Rewards, 1), &Items::Events(vec![event(1)])).unwrap();
    let bytes = [&sample.blocks[0][..], &stranger, &sample.blocks[1]].concat();
    assert_eq!(sample.recovered(&bytes), (sample.blocks[..2].to_vec(), 1));
}

#[test]
fn a_segment_without_a_whole_block_is_deleted() {
    let sample = Sample::new();
    assert_eq!(sample.recovered(&sample.bytes[..50]), (Vec::new(), 0));
    assert!(!sample.path().exists());
}

#[test]
fn names_order_segments_as_they_were_written() {
    let id = |epoch: u32, first_seq| SegmentId { lane: Lane::Events, epoch: Epoch::new(epoch, 7), first_seq };
    let ids = [id(1, 1), id(1, 9), id(1, 10), id(2, 1), id(10, 1), id(10, u64::MAX)];
    let names: Vec<String> = ids.iter().map(SegmentId::to_string).collect();
    assert!(names.is_sorted(), "{names:?}");
    for (id, name) in ids.iter().zip(&names) {
        assert_eq!(name.parse(), Ok(*id));
    }
    for wrong in [
        "",
        "epoch",
        "lock",
        "events.seg",
        "events-1-2.seg",
        "things-0000000100000007-1.seg",
        "events-0000000100000007-1-2.seg",
    ] {
        assert_eq!(wrong.parse::<SegmentId>(), Err(()), "{wrong}");
    }
}

proptest! {
    // Whatever is done to the middle of a file: blocks that were not touched are found, in order, and nothing else.
    #[test]
    fn damage_never_invents_and_never_hides(from in 0..700usize, length in 1..400usize, fill in any::<u8>()) {
        let sample = Sample::new();
        let mut bytes = sample.bytes.clone();
        let from = from.min(bytes.len() - 1);
        let end = (from + length).min(bytes.len());
        bytes[from..end].fill(fill);
        let (found, _) = sample.recovered(&bytes);
        let untouched = (0..sample.blocks.len()).filter(|&n| bytes[sample.bounds[n]..sample.bounds[n + 1]] == sample.blocks[n][..]);
        let untouched: Vec<Vec<u8>> = untouched.map(|n| sample.blocks[n].clone()).collect();
        prop_assert_eq!(found, untouched);
    }
}

/// A block as a version to come may write it: the header's checksum holds, the rest is unknown.
fn newer(block: &[u8]) -> Vec<u8> {
    let mut block = block.to_vec();
    block[4] = VERSION + 1;
    let crc = crc32c::crc32c(&block[..80]);
    block[80..84].copy_from_slice(&crc.to_le_bytes());
    block
}

// After a downgrade the newer blocks were taken for a torn tail and cut.
#[test]
fn what_a_newer_version_wrote_is_never_cut() {
    let sample = Sample::new();
    for at in 0..sample.blocks.len() {
        let mut blocks = sample.blocks.clone();
        blocks[at] = newer(&blocks[at]);
        let bytes = blocks.concat();
        std::fs::write(sample.path(), &bytes).unwrap();
        let error = recover(&Disk::open(sample.dir.path()).unwrap()).unwrap_err().to_string();
        let newer = format!("version {}, written by a newer version", VERSION + 1);
        assert!(error.contains(&newer), "{error}");
        assert!(error.contains(&sample.id.to_string()), "{error}");
        assert_eq!(std::fs::read(sample.path()).unwrap(), bytes, "block {at}");
    }
}

// A directory in the place of the file: opening works, every read fails, and not for want of bytes.
#[test]
fn what_the_disk_does_not_give_is_no_torn_tail() {
    let sample = Sample::new();
    std::fs::create_dir(sample.path()).unwrap();
    std::fs::write(sample.path().join("inside"), &sample.bytes).unwrap();
    let error = cut_tail(&sample.path(), sample.id, sample.bytes.len() as u64).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    let mut scan = Scan::open(&sample.path(), sample.id, 0).unwrap();
    scan.next(sample.bytes.len() as u64).unwrap_err();
    assert!(sample.path().exists());
}

#[test]
fn another_nodes_name_is_kept() {
    // An operator renamed a node: what the old name wrote goes out under the old name.
    let sample = Sample::new();
    let old: NodeId = "edge-old".parse().unwrap();
    let mut of = stamp(Lane::Events, 1);
    of.node = old.clone();
    let block = encode(&of, &Items::Events(vec![event(1)])).unwrap();
    let (found, _) = sample.recovered(&block);
    assert_eq!(Header::read(&found[0]).unwrap().node, old);
}
