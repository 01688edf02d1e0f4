//! A block's header: the fixed 84 bytes that `block.rs` lays out. Owns their checks; believes nothing before its checksum.

use selvedge_decision::{Epoch, NodeId, TimeUs};

use super::{BadBlock, HEADER_BYTES, MAGIC, MAX_ITEMS, MAX_RAW_BYTES, VERSION};
use crate::outbox::Lane;

/// Which items a block holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The lane.
    pub lane: Lane,
    /// The node they come from.
    pub node: NodeId,
    /// The run of that node.
    pub epoch: Epoch,
    /// The first item's seq; the others follow.
    pub first_seq: u64,
    /// How many items.
    pub count: u32,
    /// When the block was sealed.
    pub sealed_us: TimeUs,
    pub(super) version: u8,
    pub(super) codec: Codec,
    pub(super) raw_bytes: u32,
    pub(super) body_bytes: u32,
    pub(super) body_crc: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None = 0,
    Zstd = 1,
    PlainCells = 2,
}

// === impl Header ===

impl Header {
    /// Reads and checks the header that `bytes` begin with.
    pub fn read(bytes: &[u8]) -> Result<Self, BadBlock> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else { return Err(BadBlock::Header("too few bytes")) };
        if bytes[..4] != MAGIC {
            return Err(BadBlock::Header("it does not begin with SVBK"));
        }
        if crc32c::crc32c(&bytes[..80]) != read_u32(bytes, 80) {
            return Err(BadBlock::Header("the header does not match its checksum"));
        }
        if !(1..=VERSION).contains(&bytes[4]) {
            return Err(BadBlock::Version(bytes[4]));
        }
        let lane =
            Lane::ALL.into_iter().find(|lane| lane.code() == bytes[5]).ok_or(BadBlock::Header("unknown lane"))?;
        let codec = match bytes[6] {
            0 => Codec::None,
            1 => Codec::Zstd,
            2 if bytes[4] >= 2 => Codec::PlainCells,
            _ => return Err(BadBlock::Header("unknown codec")),
        };
        let name = bytes[48..80].get(..usize::from(bytes[7])).and_then(|name| std::str::from_utf8(name).ok());
        let node = name.and_then(|name| name.parse().ok()).ok_or(BadBlock::Header("the node's name is not one"))?;
        let header = Self {
            lane,
            node,
            epoch: Epoch(read_u64(bytes, 8)),
            first_seq: read_u64(bytes, 16),
            count: read_u32(bytes, 24),
            sealed_us: read_u64(bytes, 40) as TimeUs,
            version: bytes[4],
            codec,
            raw_bytes: read_u32(bytes, 28),
            body_bytes: read_u32(bytes, 32),
            body_crc: read_u32(bytes, 36),
        };
        if header.count == 0 || header.count as usize > MAX_ITEMS {
            return Err(BadBlock::Header("the number of items is out of bounds"));
        }
        if header.first_seq == 0 || header.first_seq.checked_add(u64::from(header.count)).is_none() {
            return Err(BadBlock::Header("the seq is out of bounds"));
        }
        if header.raw_bytes as usize > MAX_RAW_BYTES || header.body_bytes as usize > MAX_RAW_BYTES {
            return Err(BadBlock::Header("the body's size is out of bounds"));
        }
        Ok(header)
    }

    /// The seq after the last item's.
    pub fn next_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count))
    }

    /// Bytes of the whole block.
    pub fn block_bytes(&self) -> usize {
        HEADER_BYTES + self.body_bytes as usize
    }

    /// The `Nats-Msg-Id`, by which JetStream recognises a second copy of the block.
    pub fn message_id(&self) -> String {
        format!("{}-{}-{}-{}", self.node, self.epoch, self.lane, self.first_seq)
    }

    /// The checked body of a whole block.
    pub(in crate::outbox) fn body<'a>(&self, block: &'a [u8]) -> Result<&'a [u8], BadBlock> {
        if block.len() != self.block_bytes() {
            return Err(BadBlock::Length { found: block.len(), expected: self.block_bytes() });
        }
        let body = &block[HEADER_BYTES..];
        if crc32c::crc32c(body) == self.body_crc { Ok(body) } else { Err(BadBlock::Checksum) }
    }

    pub(super) fn write(&self, block: &mut [u8; HEADER_BYTES]) {
        let name = self.node.as_str().as_bytes();
        block[..4].copy_from_slice(&MAGIC);
        block[4..8].copy_from_slice(&[self.version, self.lane.code(), self.codec as u8, name.len() as u8]);
        block[8..16].copy_from_slice(&self.epoch.0.to_le_bytes());
        block[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        block[24..28].copy_from_slice(&self.count.to_le_bytes());
        block[28..32].copy_from_slice(&self.raw_bytes.to_le_bytes());
        block[32..36].copy_from_slice(&self.body_bytes.to_le_bytes());
        block[36..40].copy_from_slice(&self.body_crc.to_le_bytes());
        block[40..48].copy_from_slice(&self.sealed_us.to_le_bytes());
        block[48..48 + name.len()].copy_from_slice(name);
        let crc = crc32c::crc32c(&block[..80]);
        block[80..].copy_from_slice(&crc.to_le_bytes());
    }
}

fn read_u32(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn read_u64(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}
