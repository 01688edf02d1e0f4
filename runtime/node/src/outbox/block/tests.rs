#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use proptest::collection::vec;
use proptest::prelude::*;

use selvedge_decision::record::Lot;

use super::*;
use crate::outbox::samples::{any_event, any_record, event, record, stamp};

fn bytes_of(items: &Items) -> Vec<Vec<u8>> {
    match items {
        Items::Records(records) => records.iter().map(Record::to_bytes).collect(),
        Items::Events(_) => panic!("expected records"),
    }
}

fn sample_blocks() -> Vec<Vec<u8>> {
    let events = Items::Events((0..20).map(event).collect());
    let records = Items::Records((0..20).map(record).collect());
    vec![
        encode(&stamp(Lane::Events, 1), &events).unwrap(),
        encode(&stamp(Lane::Decisions, 1), &records).unwrap(),
        encode(&stamp(Lane::Rewards, 9), &Items::Events(vec![event(0)])).unwrap(),
    ]
}

/// A block with another body, its checksums right: what somebody would send who means harm.
fn forge(block: &[u8], raw: &[u8]) -> Vec<u8> {
    let mut header = Header::read(block).unwrap();
    header.codec = Codec::None;
    header.raw_bytes = raw.len() as u32;
    header.body_bytes = raw.len() as u32;
    header.body_crc = crc32c::crc32c(raw);
    let mut forged = [0; HEADER_BYTES];
    header.write(&mut forged);
    [&forged, raw].concat()
}

fn raw(block: &[u8]) -> Vec<u8> {
    let header = Header::read(block).unwrap();
    match header.codec {
        Codec::None | Codec::PlainCells => header.body(block).unwrap().to_vec(),
        Codec::Zstd => zstd::bulk::decompress(header.body(block).unwrap(), MAX_RAW_BYTES).unwrap(),
    }
}

#[test]
fn the_header_says_what_the_block_holds() {
    let block = encode(&stamp(Lane::Rewards, 41), &Items::Events(vec![event(1), event(2)])).unwrap();
    let header = Header::read(&block).unwrap();
    assert_eq!((header.lane, header.first_seq, header.count), (Lane::Rewards, 41, 2));
    assert_eq!(header.next_seq(), 43);
    assert_eq!(header.block_bytes(), block.len());
    assert_eq!(header.message_id(), "edge-1-0000000100000002-rewards-41");
}

// The bytes of a body as they lie in segments and streams, the same in every version: whoever changes them breaks every reader there is.
#[test]
fn the_format_stays_as_it_is() {
    let check = |bytes: &[u8], expected: u32| {
        // The compressor may change its mind; what is compressed may not.
        assert_eq!(crc32c::crc32c(bytes), expected, "{:#010x}", crc32c::crc32c(bytes));
    };
    let items = Items::Events((0..9).map(event).collect());
    let block = encode(&stamp(Lane::Events, 5), &items).unwrap();
    let (last, before) = raw(&block).split_last().map(|(last, before)| (*last, before.to_vec())).unwrap();
    check(&before, EVENTS_CRC);
    // Version 3 says that nothing was joined to any of them.
    assert_eq!(last, 0);
    assert_eq!(decode(&of_version(2, &forge(&block, &before))).unwrap().1, items);
    let records: Vec<Record> = (0..21).map(record).collect();
    let all = Items::Records(records.clone());
    check(&raw(&encode(&stamp(Lane::Decisions, 5), &all).unwrap()), RECORDS_CRC);
    // Version 4 knew nothing of models: the last three columns were missing.
    let plain: Vec<Record> = records.iter().cloned().map(|record| Record { model: None, ..record }).collect();
    let plain = Items::Records(plain);
    let block = encode(&stamp(Lane::Decisions, 5), &plain).unwrap();
    let whole = raw(&block);
    let models = (1 + 21) + 1 + 1;
    let before = &whole[..whole.len() - models];
    check(before, RECORDS_4_CRC);
    assert_eq!(format!("{:?}", decode(&of_version(4, &forge(&block, before))).unwrap().1), format!("{plain:?}"));
    // Before version 4 there was nothing of what such records do not have: nine more columns were missing.
    let bare = Items::Records(records.into_iter().map(bare).collect());
    let block = encode(&stamp(Lane::Decisions, 5), &bare).unwrap();
    let whole = raw(&block);
    let draws = 1 + 21;
    let younger = draws + (1 + 21) + (1 + 21) + 4 + (1 + 3) + (1 + 3) + models;
    let before = &whole[..whole.len() - younger];
    check(before, RECORDS_3_CRC);
    assert_eq!(format!("{:?}", decode(&of_version(3, &forge(&block, before))).unwrap().1), format!("{bare:?}"));
}

/// A block that says it is of an older version.
fn of_version(version: u8, block: &[u8]) -> Vec<u8> {
    let mut older = block.to_vec();
    older[4] = version;
    let crc = crc32c::crc32c(&older[..80]);
    older[80..84].copy_from_slice(&crc.to_le_bytes());
    older
}

/// A record without what versions 4 and 5 brought.
fn bare(record: Record) -> Record {
    let inputs = record.inputs.map(|inputs| Inputs { explores: true, learned: Vec::new(), ..inputs });
    let lots = vec![record.lots[0], Lot::Out];
    Record { lots, experiment: None, shadows: Vec::new(), model: None, inputs, ..record }
}

const EVENTS_CRC: u32 = 0x1c4c_14a5;
const RECORDS_CRC: u32 = 0xf9c5_1347;
const RECORDS_4_CRC: u32 = 0xb2f5_6c38;
const RECORDS_3_CRC: u32 = 0x68cc_8d74;

// A catalogue row that is in every decision must not be written for every decision.
#[test]
fn a_row_goes_once_a_block() {
    let with_rows = |count: u64| {
        let records = (0..count).map(|n| {
            let mut record = record(n);
            let row = |c: u64| {
                (0..100).map(move |cell| f64::from_bits((c * 1000 + cell).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            };
            record.inputs = Some(Inputs {
                explores: true,
                learned: Vec::new(),
                rate: 1.0,
                shared: vec![n as f64],
                candidates: (0..3).flat_map(row).collect(),
                refused: Vec::new(),
            });
            record
        });
        encode(&stamp(Lane::Decisions, 1), &Items::Records(records.collect())).unwrap().len()
    };
    let (one, hundred) = (with_rows(1), with_rows(100));
    assert!(one > 2400, "the rows do not compress: {one}");
    assert!(hundred < one + 100 * 60, "{hundred} against {one}");
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    for block in sample_blocks() {
        for at in 0..block.len() {
            let mut flipped = block.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(decode(&flipped).is_err(), "flipped at {at}");
            assert!(decode(&block[..at]).is_err(), "cut at {at}");
        }
        assert!(decode(&[&block[..], &[0]].concat()).is_err());
    }
}

// With the checksums made right again, only the checks of the columns stand between the bytes and the reader.
#[test]
fn forged_columns_are_refused_or_read_but_never_harm() {
    for block in sample_blocks() {
        let raw = raw(&block);
        assert!(decode(&forge(&block, &raw)).is_ok());
        for at in 0..raw.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut forged = raw.clone();
                forged[at] = value;
                decode(&forge(&block, &forged)).ok();
            }
            decode(&forge(&block, &raw[..at])).ok();
        }
    }
}

#[test]
fn a_small_block_cannot_ask_for_much_memory() {
    // One text of 64 KiB, which every one of 60,000 events says it has.
    let large = Event { properties: format!("{{\"x\":\"{}\"}}", "y".repeat(64 * 1024)), ..event(0) };
    let events: Vec<Event> = (0..200).map(|_| large.clone()).collect();
    let block = encode(&stamp(Lane::Events, 1), &Items::Events(events)).unwrap();
    assert!(block.len() < 2000, "the text is there once: {}", block.len());
    let events: Vec<Event> = (0..300).map(|_| large.clone()).collect();
    assert!(matches!(encode(&stamp(Lane::Events, 1), &Items::Events(events.clone())), Err(CannotEncode::Weight(_))));
    // The same past the encoder's check.
    let mut raw = Vec::new();
    events::encode(&events, &mut raw).unwrap();
    let mut header = Header::read(&block).unwrap();
    header.count = 300;
    let mut bytes = [0; HEADER_BYTES];
    header.write(&mut bytes);
    assert_eq!(decode(&forge(&[&bytes[..], &block[HEADER_BYTES..]].concat(), &raw)), Err(BadBlock::TooLarge));
}

#[test]
fn a_body_must_decompress_to_what_the_header_says() {
    let block = &sample_blocks()[0];
    let mut header = Header::read(block).unwrap();
    assert_eq!(header.codec, Codec::Zstd);
    for raw_bytes in [0, 1, header.raw_bytes - 1, header.raw_bytes + 1, MAX_RAW_BYTES as u32] {
        header.raw_bytes = raw_bytes;
        let mut bytes = [0; HEADER_BYTES];
        header.write(&mut bytes);
        assert!(decode(&[&bytes[..], &block[HEADER_BYTES..]].concat()).is_err(), "{raw_bytes}");
    }
}

#[test]
fn another_version_is_named() {
    // Before, bodies ended otherwise: the_format_stays_as_it_is reads such.
    let mut block = sample_blocks().remove(1);
    for (version, expected) in [(0, Some(0)), (5, None), (6, Some(6))] {
        block[4] = version;
        let crc = crc32c::crc32c(&block[..80]);
        block[80..84].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode(&block).err(), expected.map(BadBlock::Version), "{version}");
    }
}

/// Records with rows of 100 cells made by `cell` from the cell's number.
fn ranking(cell: fn(u64) -> f64) -> Items {
    let records = (0..5).map(|n| {
        let rows = (0..60).flat_map(|row| (0..100).map(move |at| cell((n + row) * 100 + at)));
        let inputs = Inputs {
            rate: 0.5,
            shared: vec![n as f64],
            candidates: rows.collect(),
            refused: vec![3],
            explores: true,
            learned: vec![],
        };
        let candidates = (0..60).map(|row| format!("sku-{}", n + row).into()).collect();
        Record { candidates, inputs: Some(inputs), ..record(n) }
    });
    Items::Records(records.collect())
}

fn scattered(n: u64) -> f64 {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

// Compressing cells that do not shrink was a third of what a ranking decision cost.
#[test]
fn cells_that_do_not_shrink_stay_plain() {
    let check = |items: &Items, expected: Codec| {
        let block = encode(&stamp(Lane::Decisions, 1), items).unwrap();
        assert_eq!(Header::read(&block).unwrap().codec, expected);
        assert_eq!(bytes_of(&decode(&block).unwrap().1), bytes_of(items));
        block
    };
    let block = check(&ranking(scattered), Codec::PlainCells);
    assert!(block.len() < 64 * 100 * 8 + 3_000, "each row once: {}", block.len());
    check(&ranking(|n| (n % 7) as f64), Codec::Zstd);
    check(&ranking(|n| f64::from(scattered(n) as f32)), Codec::Zstd);
    check(&Items::Records((0..20).map(record).collect()), Codec::Zstd);
}

#[test]
fn plain_cells_are_not_trusted() {
    let block = encode(&stamp(Lane::Decisions, 1), &ranking(scattered)).unwrap();
    let header = Header::read(&block).unwrap();
    let seal = |body: &[u8], raw_bytes: usize, lane: Lane| {
        let mut header = header.clone();
        (header.lane, header.raw_bytes) = (lane, raw_bytes as u32);
        (header.body_bytes, header.body_crc) = (body.len() as u32, crc32c::crc32c(body));
        let mut bytes = [0; HEADER_BYTES];
        header.write(&mut bytes);
        [&bytes, body].concat()
    };
    let (body, raw_bytes) = (&block[HEADER_BYTES..], header.raw_bytes as usize);
    assert!(decode(&seal(body, raw_bytes, Lane::Decisions)).is_ok());
    assert!(decode(&seal(body, raw_bytes, Lane::Events)).is_err(), "events have no cells");
    let row = 100 * 8;
    for less in [1, 8, row, body.len() - 4, body.len() - 3, body.len()] {
        let cut = &body[..body.len() - less];
        assert!(decode(&seal(cut, raw_bytes.saturating_sub(less), Lane::Decisions)).is_err(), "{less} bytes less");
    }
    let more = [body, &[0; 8]].concat();
    assert!(decode(&seal(&more, raw_bytes + 8, Lane::Decisions)).is_err(), "more cells than rows");
    for packed_bytes in [0, 1, u32::MAX] {
        let moved = [&packed_bytes.to_le_bytes(), &body[4..]].concat();
        assert!(decode(&seal(&moved, raw_bytes, Lane::Decisions)).is_err(), "{packed_bytes} bytes of columns");
    }
}

proptest! {
    #[test]
    fn events_come_back_as_they_were(events in vec(any_event(), 1..20), first_seq in 1..u64::MAX / 2) {
        let items = Items::Events(events);
        let block = encode(&stamp(Lane::Events, first_seq), &items).unwrap();
        let (header, found) = decode(&block).unwrap();
        prop_assert_eq!(found, items);
        prop_assert_eq!(header.first_seq, first_seq);
    }

    #[test]
    fn records_come_back_bit_for_bit(records in vec(any_record(), 1..12)) {
        let items = Items::Records(records);
        let block = encode(&stamp(Lane::Decisions, 1), &items).unwrap();
        let (_, found) = decode(&block).unwrap();
        prop_assert_eq!(bytes_of(&found), bytes_of(&items));
    }

    #[test]
    fn any_bytes_behind_a_good_header_are_read_or_refused(body in vec(any::<u8>(), 0..400), which in 0..3usize) {
        let block = sample_blocks().remove(which);
        decode(&forge(&block, &body)).ok();
    }
}
