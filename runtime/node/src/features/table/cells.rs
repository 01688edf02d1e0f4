//! Rows of 64-bit cells that grow without moving. Owns memory and the row lock; must not know entities.
//!
//! A row is `[header, time, cells…]`. The header is a sequence lock: the generation of the slot in the high half, a count in
//! the low half that is odd while the row is written. A reader copies the row and believes the copy when the header was even
//! and the same before and after (Boehm, "Can seqlocks get along with programming language memory models?", 2012). All
//! cells are atomics, so a copy that raced is thrown away, never undefined. There is one writer at a time: the caller's lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use selvedge_decision::TimeUs;

/// Rows of one width.
pub(super) struct Cells {
    stride: usize,
    chunk_rows_log2: u32,
    /// Block `k` holds `FIRST_BLOCK << k` chunks; a block or chunk that exists never moves.
    blocks: [OnceLock<Box<[OnceLock<Chunk>]>>; BLOCKS],
    chunks: AtomicU64,
}

type Chunk = Box<[AtomicU64]>;

const HEADER: usize = 0;
const TIME: usize = 1;
const FIRST_CELL: usize = 2;

/// What a chunk should weigh: small enough to waste little on a small view, large enough to keep the index short.
const CHUNK_CELLS: usize = 32 * 1024;
const FIRST_BLOCK: usize = 64;
const BLOCKS: usize = 26;
/// How often a reader looks again before it lets another thread run, in case that is the writer.
const SPINS: u32 = 128;

// === impl Cells ===

impl Cells {
    /// Rows of `width` cells each.
    pub(super) fn new(width: usize) -> Self {
        let stride = width + FIRST_CELL;
        let chunk_rows_log2 = (CHUNK_CELLS / stride).max(1).ilog2();
        Self { stride, chunk_rows_log2, blocks: [const { OnceLock::new() }; BLOCKS], chunks: AtomicU64::new(0) }
    }

    /// Cells of a row.
    pub(super) fn width(&self) -> usize {
        self.stride - FIRST_CELL
    }

    /// Bytes of one row.
    pub(super) fn row_bytes(&self) -> u64 {
        (self.stride * size_of::<u64>()) as u64
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        self.chunks.load(Ordering::Relaxed) * (self.row_bytes() << self.chunk_rows_log2)
    }

    /// Bytes that writing row `index` would add: those of a chunk, when it is the first in its own.
    pub(super) fn bytes_for(&self, index: u32) -> u64 {
        if self.row(index).is_some() { 0 } else { self.row_bytes() << self.chunk_rows_log2 }
    }

    /// The generation of row `index`; 0 for a row that never was.
    pub(super) fn generation(&self, index: u32) -> u32 {
        self.row(index).map_or(0, |row| generation(row[HEADER].load(Ordering::Acquire)))
    }

    /// Copies row `index` into `into`, the shorter of both, if it still has `wanted` as its generation.
    pub(super) fn read(&self, index: u32, wanted: u32, into: &mut [u64]) -> Option<TimeUs> {
        let row = self.row(index)?;
        let header = &row[HEADER];
        let mut spins = 0;
        loop {
            let before = header.load(Ordering::Acquire);
            if generation(before) != wanted {
                return None;
            }
            if before & 1 == 0 {
                let time = row[TIME].load(Ordering::Relaxed);
                for (cell, from) in into.iter_mut().zip(&row[FIRST_CELL..]) {
                    *cell = from.load(Ordering::Relaxed);
                }
                fence(Ordering::Acquire);
                if header.load(Ordering::Relaxed) == before {
                    return Some(time as TimeUs);
                }
            }
            spins += 1;
            if spins % SPINS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }

    /// Writes row `index` as `generation`. One writer at a time.
    pub(super) fn write(&self, index: u32, generation: u32, time_us: TimeUs, cells: &[u64]) {
        let row = self.row_or_new(index);
        let done = begin(&row[HEADER], generation);
        row[TIME].store(time_us as u64, Ordering::Relaxed);
        for (cell, value) in row[FIRST_CELL..].iter().zip(cells) {
            cell.store(*value, Ordering::Relaxed);
        }
        row[HEADER].store(done, Ordering::Release);
    }

    /// Gives row `index` another generation, so that nobody reads it by the old one. One writer at a time.
    pub(super) fn retire(&self, index: u32, generation: u32) {
        if let Some(row) = self.row(index) {
            let done = begin(&row[HEADER], generation);
            row[HEADER].store(done, Ordering::Release);
        }
    }

    fn row(&self, index: u32) -> Option<&[AtomicU64]> {
        let (block, at, row) = self.place(index);
        let chunk = self.blocks.get(block)?.get()?.get(at)?.get()?;
        chunk.get(row * self.stride..(row + 1) * self.stride)
    }

    fn row_or_new(&self, index: u32) -> &[AtomicU64] {
        let (block, at, row) = self.place(index);
        let chunks = self.blocks[block].get_or_init(|| (0..FIRST_BLOCK << block).map(|_| OnceLock::new()).collect());
        let chunk = chunks[at].get_or_init(|| {
            self.chunks.fetch_add(1, Ordering::Relaxed);
            (0..self.stride << self.chunk_rows_log2).map(|_| AtomicU64::new(0)).collect()
        });
        &chunk[row * self.stride..(row + 1) * self.stride]
    }

    /// Block, chunk in the block, row in the chunk. 32 bits of index fit into the blocks whatever the stride.
    fn place(&self, index: u32) -> (usize, usize, usize) {
        let chunk = (index >> self.chunk_rows_log2) as usize + FIRST_BLOCK;
        let block = (chunk.ilog2() - FIRST_BLOCK.ilog2()) as usize;
        let row = index as usize & ((1 << self.chunk_rows_log2) - 1);
        (block, chunk - (FIRST_BLOCK << block), row)
    }
}

fn generation(header: u64) -> u32 {
    (header >> 32) as u32
}

/// Makes a header odd with the new generation and says what it is to become when the row is written.
fn begin(header: &AtomicU64, generation: u32) -> u64 {
    let count = header.load(Ordering::Relaxed) as u32 & !1;
    let high = u64::from(generation) << 32;
    header.store(high | u64::from(count | 1), Ordering::Relaxed);
    // What follows must not be seen before the odd count.
    fence(Ordering::Release);
    high | u64::from(count.wrapping_add(2))
}
