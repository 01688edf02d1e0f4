//! The block: how events and decision records travel and rest. One block is one group commit of one lane, one entry of a
//! segment file and one message on NATS. Owns the format and nothing else: no files, no link.
//!
//! # The format, version 5
//!
//! A block is a header of 84 bytes and a body. All fixed-width integers are little-endian.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `SVBK` |
//! | 4 | 1 | version: 5; versions 4 and 3 have fewer columns of records, version 2 no column `joined`, version 1 no codec 2 either |
//! | 5 | 1 | lane: 0 rewards, 1 decisions, 2 events |
//! | 6 | 1 | codec of the body: 0 none, 1 zstd, 2 zstd with plain cells |
//! | 7 | 1 | bytes of the node's name, 1 to 32 |
//! | 8 | 8 | epoch |
//! | 16 | 8 | seq of the first item, from 1; the others follow without a gap |
//! | 24 | 4 | items, 1 to 65,536 |
//! | 28 | 4 | bytes of the body before compression, at most 32 MiB |
//! | 32 | 4 | bytes of the body as it stands, at most 32 MiB |
//! | 36 | 4 | CRC-32C (Castagnoli) of the body as it stands |
//! | 40 | 8 | when the block was sealed, µs since 1970 UTC, signed |
//! | 48 | 32 | the node's name, then zeros |
//! | 80 | 4 | CRC-32C of bytes 0 to 79 |
//!
//! The first 5 bytes and the last 4 of the header are the same in every version: a reader tells a newer block from damage.
//!
//! A body is one struct of columns in the postcard wire format (<https://postcard.jamesmunns.com/wire-format>): fields in
//! order without names; u16, u32, u64 as LEB128 varints; i64 zigzagged first; a vector or text as its length (varint) and
//! then its elements or UTF-8 bytes; u8 and f64 as they are. Lanes 0 and 2 hold the columns that
//! `block/events.rs` lists, lane 1 those of `block/records.rs`. Their shared ideas:
//!
//! - **Texts** are kept once: `text` has them one after another, `text_bytes` the length of each. A column of texts holds
//!   numbers: 0 is none, `n` is the n-th text.
//! - **Delta** columns hold differences: the first from 0, each next from the one before, wrapping at 64 bits.
//! - **Lists** are two columns: the length for each item, and the elements of all items one after another.
//! - **Rows** of numbers are kept once as well, by their bits; see `records`.
//!
//! A body of codec 2 is a u32, so many bytes of zstd that hold the columns, and then the cells of all rows, row after row,
//! as f64: cells that do not shrink are not worth compressing. The column `row_cells` is empty then. Bytes before compression
//! are those of columns and cells.
//!
//! A reader must refuse a block whose columns do not fit each other, and must not trust any number before it is checked:
//! [`decode`] never takes more memory than [`MAX_RAW_BYTES`] and [`MAX_WEIGHT`] allow.

mod columns;
mod events;
mod header;
mod records;

use std::fmt;

use selvedge_decision::record::Inputs;
use selvedge_decision::{Epoch, NodeId, Record, TimeUs};

pub use header::Header;

use super::Lane;
use crate::events::Event;
use header::Codec;

/// What a block begins with.
pub const MAGIC: [u8; 4] = *b"SVBK";
/// The format's version as it is written; older ones are read.
pub const VERSION: u8 = 5;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 84;
/// Items in a block.
pub const MAX_ITEMS: usize = 65_536;
/// Bytes of a body, before and after compression.
pub const MAX_RAW_BYTES: usize = 32 * 1024 * 1024;
/// What the items of a block may weigh together in memory, in bytes.
pub const MAX_WEIGHT: usize = 16 * 1024 * 1024;

/// What a block holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Items {
    /// Events or rewards.
    Events(Vec<Event>),
    /// Decision records.
    Records(Vec<Record>),
}

/// Where a block's items come from; the encoder takes the rest from the items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The lane.
    pub lane: Lane,
    /// The node.
    pub node: NodeId,
    /// Its run.
    pub epoch: Epoch,
    /// The first item's seq, from 1.
    pub first_seq: u64,
    /// When the block is sealed.
    pub sealed_us: TimeUs,
}

/// Why bytes are not a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    /// The bytes do not begin with a block's header.
    #[error("not a block: {0}")]
    Header(&'static str),
    /// A block of a version this runtime does not read.
    #[error("a block of version {0}, written by a newer version of Selvedge; this one reads version {VERSION}")]
    Version(u8),
    /// Fewer or more bytes than the header says.
    #[error("the block has {found} bytes, its header says {expected}")]
    Length {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        expected: usize,
    },
    /// The body is not what was written.
    #[error("the block's body does not match its checksum")]
    Checksum,
    /// The body does not decompress.
    #[error("the block's body does not decompress: {0}")]
    Compression(String),
    /// The columns contradict each other or the header.
    #[error("the block's columns do not fit: {0}")]
    Columns(String),
    /// The items would take more memory than a block may.
    #[error("the block's items take more than {MAX_WEIGHT} bytes")]
    TooLarge,
}

/// Why items do not go into a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotEncode {
    /// None, or too many.
    #[error("{0} items in a block; 1 to {MAX_ITEMS} are allowed")]
    Count(usize),
    /// More than a reader would take.
    #[error("the items weigh {0} bytes; {MAX_WEIGHT} are allowed")]
    Weight(usize),
    /// A body larger than the format allows, or zstd failed.
    #[error("the body cannot be written: {0}")]
    Body(String),
}

/// Writes blocks; keeps its buffers and the compressor's tables between them.
pub struct Encoder {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    raw: Vec<u8>,
    /// Cells that are not compressed.
    plain: Vec<u8>,
}

/// Encodes one block. To write many, keep an [`Encoder`].
pub fn encode(stamp: &Stamp, items: &Items) -> Result<Vec<u8>, CannotEncode> {
    let mut block = Vec::new();
    let mut encoder = Encoder::new(1);
    match items {
        Items::Events(events) => encoder.events(stamp, events, &mut block)?,
        Items::Records(records) => encoder.records(stamp, records, &mut block)?,
    }
    Ok(block)
}

/// Decodes one block, all of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<(Header, Items), BadBlock> {
    let header = Header::read(bytes)?;
    let body = header.body(bytes)?;
    let raw_bytes = header.raw_bytes as usize;
    let (packed, cells) = match header.codec {
        Codec::None | Codec::Zstd => (body, &[][..]),
        Codec::PlainCells => plain_cells(body)?,
    };
    let raw;
    let columns = match header.codec {
        Codec::None => packed,
        Codec::Zstd | Codec::PlainCells => {
            raw = zstd::bulk::decompress(packed, raw_bytes.saturating_sub(cells.len()))
                .map_err(|error| BadBlock::Compression(error.to_string()))?;
            &raw
        }
    };
    let found = columns.len() + cells.len();
    if found != raw_bytes {
        return Err(BadBlock::Length { found, expected: raw_bytes });
    }
    let items = match header.lane {
        Lane::Decisions => Items::Records(records::decode(columns, cells, header.count as usize, header.version)?),
        _ if header.codec == Codec::PlainCells => return Err(BadBlock::Header("events have no cells")),
        Lane::Rewards | Lane::Events => Items::Events(events::decode(columns, header.count as usize, header.version)?),
    };
    Ok((header, items))
}

/// The compressed columns and the plain cells of a body of codec 2.
fn plain_cells(body: &[u8]) -> Result<(&[u8], &[u8]), BadBlock> {
    let cut = || BadBlock::Columns("the body ends before its cells begin".to_owned());
    let (packed_bytes, rest) = body.split_first_chunk().ok_or_else(cut)?;
    rest.split_at_checked(u32::from_le_bytes(*packed_bytes) as usize).ok_or_else(cut)
}

/// What a record weighs in memory, in bytes: the measure of every bound on records that are not on disk yet.
pub fn record_weight(record: &Record) -> usize {
    records::weight(record)
}

/// The part of [`record_weight`] that goes when the inputs go.
pub fn inputs_weight(inputs: &Inputs) -> usize {
    records::inputs_weight(inputs)
}

// === impl Items ===

impl Items {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Events(events) => events.len(),
            Self::Records(records) => records.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl Encoder ===

impl Encoder {
    /// An encoder that compresses with zstd's `level`; without a compressor (out of memory), bodies stay as they are.
    pub fn new(level: i32) -> Self {
        Self { compressor: zstd::bulk::Compressor::new(level).ok(), raw: Vec::new(), plain: Vec::new() }
    }

    /// Appends a block of events to `out`; on an error `out` is as it was.
    pub fn events(&mut self, stamp: &Stamp, events: &[Event], out: &mut Vec<u8>) -> Result<(), CannotEncode> {
        check(events.len(), events.iter().map(Event::weight).sum())?;
        self.raw.clear();
        self.plain.clear();
        events::encode(events, &mut self.raw).map_err(|error| CannotEncode::Body(error.to_string()))?;
        self.seal(stamp, events.len(), out)
    }

    /// Appends a block of records to `out`; on an error `out` is as it was.
    pub fn records(&mut self, stamp: &Stamp, records: &[Record], out: &mut Vec<u8>) -> Result<(), CannotEncode> {
        check(records.len(), records.iter().map(records::weight).sum())?;
        self.raw.clear();
        self.plain.clear();
        let compressor = &mut self.compressor;
        let shrinks = |sample: &[u8]| compressor.as_mut().is_none_or(|zstd| shrinks(zstd, sample));
        records::encode(records, shrinks, &mut self.raw, &mut self.plain)
            .map_err(|error| CannotEncode::Body(error.to_string()))?;
        self.seal(stamp, records.len(), out)
    }

    fn seal(&mut self, stamp: &Stamp, count: usize, out: &mut Vec<u8>) -> Result<(), CannotEncode> {
        let raw_bytes = self.raw.len() + self.plain.len();
        if raw_bytes > MAX_RAW_BYTES {
            return Err(CannotEncode::Body(format!("{raw_bytes} bytes; {MAX_RAW_BYTES} are allowed")));
        }
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        let codec = if self.plain.is_empty() { self.pack(out) } else { self.pack_beside_cells(out)? };
        let body = &out[start + HEADER_BYTES..];
        let header = Header {
            lane: stamp.lane,
            node: stamp.node.clone(),
            epoch: stamp.epoch,
            first_seq: stamp.first_seq,
            count: count as u32,
            sealed_us: stamp.sealed_us,
            version: VERSION,
            codec,
            raw_bytes: raw_bytes as u32,
            body_bytes: body.len() as u32,
            body_crc: crc32c::crc32c(body),
        };
        if let Some(place) = out[start..].first_chunk_mut() {
            header.write(place);
        }
        Ok(())
    }

    /// Appends the columns, compressed if that makes them smaller.
    fn pack(&mut self, out: &mut Vec<u8>) -> Codec {
        let start = out.len();
        match self.compress(out) {
            Ok(bytes) if bytes < self.raw.len() => Codec::Zstd,
            _ => {
                out.truncate(start);
                out.extend_from_slice(&self.raw);
                Codec::None
            }
        }
    }

    /// Appends the columns, compressed, and the cells, plain; on an error `out` is as it was before the header.
    fn pack_beside_cells(&mut self, out: &mut Vec<u8>) -> Result<Codec, CannotEncode> {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        match self.compress(out) {
            Ok(bytes) => {
                out[start..start + 4].copy_from_slice(&(bytes as u32).to_le_bytes());
                out.extend_from_slice(&self.plain);
                Ok(Codec::PlainCells)
            }
            Err(why) => {
                out.truncate(start - HEADER_BYTES);
                Err(CannotEncode::Body(why))
            }
        }
    }

    /// Appends the columns, compressed; how many bytes that takes.
    fn compress(&mut self, out: &mut Vec<u8>) -> Result<usize, String> {
        let zstd = self.compressor.as_mut().ok_or("there is no compressor")?;
        let start = out.len();
        out.resize(start + zstd::zstd_safe::compress_bound(self.raw.len()), 0);
        let bytes = zstd.compress_to_buffer(&self.raw, &mut out[start..]).map_err(|error| error.to_string())?;
        out.truncate(start + bytes);
        Ok(bytes)
    }
}

/// Whether compressing is worth its time: a sample loses at least an eighth.
fn shrinks(zstd: &mut zstd::bulk::Compressor<'_>, sample: &[u8]) -> bool {
    zstd.compress(sample).is_ok_and(|packed| packed.len() < sample.len() / 8 * 7)
}

fn check(count: usize, weight: usize) -> Result<(), CannotEncode> {
    if count == 0 || count > MAX_ITEMS {
        Err(CannotEncode::Count(count))
    } else if weight > MAX_WEIGHT {
        Err(CannotEncode::Weight(weight))
    } else {
        Ok(())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
