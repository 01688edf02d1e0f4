#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::outbox::block::encode;
use crate::outbox::samples::{event, events, record, stamp};

fn block(lane: Lane, first_seq: u64, count: u64) -> Vec<u8> {
    encode(&stamp(lane, first_seq), &Items::Events(events(first_seq..first_seq + count))).unwrap()
}

#[test]
fn every_item_is_counted_once() {
    let mut reader = Reader::new();
    let seqs = |entries: Vec<Entry>| entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    assert_eq!(seqs(reader.block(&block(Lane::Events, 1, 3)).unwrap()), [1, 2, 3]);
    assert_eq!(seqs(reader.block(&block(Lane::Events, 1, 3)).unwrap()), [0; 0], "the same block again");
    assert_eq!(seqs(reader.block(&block(Lane::Events, 3, 3)).unwrap()), [4, 5], "an overlapping block");
    assert_eq!(seqs(reader.block(&block(Lane::Rewards, 1, 3)).unwrap()), [1, 2, 3], "another lane");
    let mut other = stamp(Lane::Events, 1);
    other.epoch = Epoch::new(2, 2);
    let again = encode(&other, &Items::Events(vec![event(1)])).unwrap();
    assert_eq!(seqs(reader.block(&again).unwrap()), [1], "another run");
    assert_eq!((reader.count(Lane::Events), reader.count(Lane::Rewards), reader.seen_again()), (6, 3, 4));
}

#[test]
fn what_is_kept_elsewhere_is_not_read_again() {
    let mut reader = Reader::new();
    let (node, epoch) = (stamp(Lane::Events, 1).node, Epoch::new(1, 2));
    reader.skip(node.clone(), epoch, Lane::Events, 2..4);
    reader.skip(node, epoch, Lane::Events, 9..9);
    let entries = reader.block(&block(Lane::Events, 1, 4)).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(reader.seen_again(), 2);
}

#[test]
fn an_item_knows_its_place() {
    let entries = Reader::new().block(&block(Lane::Events, 7, 2)).unwrap();
    assert_eq!(entries[1].seq, 8);
    assert_eq!(entries[1].item, Item::Event(event(8)));
    assert_eq!((entries[1].node.as_str(), entries[1].epoch), ("edge-1", Epoch::new(1, 2)));
    let records = encode(&stamp(Lane::Decisions, 3), &Items::Records(vec![record(3)])).unwrap();
    let entries = Reader::new().block(&records).unwrap();
    match &entries[0].item {
        Item::Record(found) => assert_eq!(found.to_bytes(), record(3).to_bytes()),
        Item::Event(found) => assert!(found.name.is_empty(), "a record came back as an event"),
    }
}

#[test]
fn what_is_missing_is_told() {
    let mut reader = Reader::new();
    for first in [3, 9, 5] {
        reader.block(&block(Lane::Events, first, 2)).unwrap();
    }
    let gaps: Vec<_> = reader.gaps().map(|gap| gap.seqs).collect();
    assert_eq!(gaps, [1..3, 7..9]);
}

proptest! {
    #[test]
    fn ranges_are_a_set(added in proptest::collection::vec((0..60u64, 1..12u64), 0..30)) {
        let mut ranges = Ranges::default();
        let mut model = BTreeSet::new();
        for (start, count) in added {
            let fresh: Vec<u64> = ranges.add(start..start + count).into_iter().flatten().collect();
            let expected: Vec<u64> = (start..start + count).filter(|seq| !model.contains(seq)).collect();
            prop_assert_eq!(fresh, expected);
            model.extend(start..start + count);
            let all: Vec<u64> = ranges.0.iter().flat_map(|(&start, &end)| start..end).collect();
            prop_assert_eq!(all, model.iter().copied().collect::<Vec<_>>());
            let bounds: Vec<(u64, u64)> = ranges.0.iter().map(|(&start, &end)| (start, end)).collect();
            prop_assert!(bounds.windows(2).all(|pair| pair[0].1 < pair[1].0), "adjacent ranges are one");
        }
    }
}
