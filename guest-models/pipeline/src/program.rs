//! A pipeline as the kernel runs it: what the builder appends. Owns the format, which is versioned because kernel and builder
//! of one module may be years apart from whoever inspects it, and the reading of it in place.
//!
//! The tape has *places* of f64: 0 holds NaN, then the shared columns, then a candidate's, then what the steps append. All
//! is little-endian; offsets are counted from the program's first byte, which stands at a multiple of 64.
//!
//! | field | type |
//! |---|---|
//! | magic `SVPL`, version 1 | 2 × u32 |
//! | columns of the shared row, of a candidate's row | 2 × u32 |
//! | places; f32 kept beside them; outputs | 3 × u32 |
//! | end of the shared steps, of the candidate's steps, as offsets | 2 × u32 |
//! | the place of each output | u32 each |
//! | the steps of a call, then those of a candidate | records |
//!
//! A record begins at a multiple of 8 with its [`Op`] and its own length in bytes (2 × u32); then come its fields as [`Op`]
//! lists them: u32 each, `[u32]` and `[f32]` without padding, `[f64]` at the next multiple of 8. `n` is the length of the lists
//! that name no other; `first` is the first place that is written.

const MAGIC: u32 = u32::from_le_bytes(*b"SVPL");
/// The version this kernel runs.
pub const VERSION: u32 = 1;
const HEADER_WORDS: usize = 9;

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What a record does, and its fields after code and length.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Op {
            $($(#[$doc])* $name = $code,)*
        }

        impl Op {
            fn of(code: usize) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

ops! {
    /// n, first, places; copies.
    Copy = 0,
    /// n, first, places, `[f64]` values.
    Impute = 1,
    /// n, first, places.
    IsMissing = 2,
    /// n, first, places.
    ZeroIsMissing = 3,
    /// n, first, places, which (1 subtract, 2 divide, 4 multiply, 8 add), `[f64]` n for each of these.
    Scale = 4,
    /// n, first, places, `[f64]` low and high.
    Clip = 5,
    /// n, first, places, function (the builder's order).
    Apply = 6,
    /// n, first, then for each a length and as many places.
    Products = 7,
    /// As `Products`.
    Sums = 8,
    /// place, first, n, `[f64]` values.
    Index = 9,
    /// place, first, n, `[f64]` edges.
    Bins = 10,
    /// place, first, width, slot of another text, slot of a missing value, n, slots; no slot is 0xffffffff.
    OneHot = 11,
    /// place, first, width, n, `[f64]` n rows, the row of another text, that of a missing value.
    Table = 12,
    /// n, first, places, precision (0 is f64).
    Softmax = 13,
    /// n, first, places.
    Normalize = 14,
    /// n, first, places, points, `[f64]` x, y.
    Interpolate = 15,
    /// n, first, places, `[f64]` kept.
    Prior = 16,
    /// n, where in the f32, places; rounds columns to f32.
    Narrow = 17,
    /// n, where in the f32, first; the length of a vector.
    Length = 18,
    /// n (a multiple of 16), where in the f32, outputs, first, place of what the sums begin with; weights `[f32]` n an output.
    Linear32 = 19,
    /// n (a multiple of 8), where on the tape, outputs, first, place of what the sums begin with; weights `[f64]` n an output.
    Linear64 = 20,
    /// place, n (a multiple of 16), where in the f32, first, place of the length (0 for none), symbols; vectors `[f32]`.
    Embedding = 21,
    /// n (a multiple of 16), where in the f32 both are, first.
    Dot = 22,
    /// `forest` says it.
    Trees = 23,
    /// n, first, `[f64]` values; writes them.
    Constant = 24,
    /// n, first, from; the negations of places that follow each other.
    Negate = 25,
    /// n, where in the f32, from; rounds columns that follow each other to f32.
    NarrowRow = 26,
}

/// A program as read, in place.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// Columns of the shared row.
    pub shared: usize,
    /// Columns of a candidate's row.
    pub candidate: usize,
    pub(crate) places: usize,
    pub(crate) narrow: usize,
    pub(crate) outputs: &'a [[u8; 4]],
    bytes: &'a [u8],
    /// Where the shared records begin, where the candidate's, and where these end.
    bounds: [usize; 3],
}

/// Reads fields one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// From the program's first byte on.
    bytes: &'a [u8],
    at: usize,
}

// === impl Program ===

impl<'a> Program<'a> {
    /// The program in `bytes`; `None` when they hold none of this version.
    ///
    /// # Safety
    ///
    /// The builder wrote it: the walk of trees does not check the places and nodes that it names.
    #[expect(unsafe_code, reason = "says what the walk of trees relies on")]
    pub unsafe fn trust(bytes: &'a [u8]) -> Option<Self> {
        let mut header = Reader { bytes, at: 0 };
        if header.word()? != MAGIC as usize || header.word()? != VERSION as usize {
            return None;
        }
        let [shared, candidate, places, narrow] = [header.word()?, header.word()?, header.word()?, header.word()?];
        let [outputs, shared_end, end] = [header.word()?, header.word()?, header.word()?];
        let outputs = header.words(outputs)?;
        let start = header.at.next_multiple_of(8);
        let fits = start <= shared_end && shared_end <= end && end == bytes.len() && shared + candidate < places;
        fits.then_some(Self { shared, candidate, places, narrow, outputs, bytes, bounds: [start, shared_end, end] })
    }

    pub(crate) fn shared_ops(&self) -> Reader<'a> {
        self.ops(0)
    }

    pub(crate) fn candidate_ops(&self) -> Reader<'a> {
        self.ops(1)
    }

    fn ops(&self, which: usize) -> Reader<'a> {
        let [at, end] = [self.bounds[which], self.bounds[which + 1]];
        Reader { bytes: self.bytes.get(..end).unwrap_or(&[]), at }
    }
}

/// What the builder writes.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Columns of the shared row.
    pub shared: u32,
    /// Columns of a candidate's row.
    pub candidate: u32,
    /// Places of the tape.
    pub places: u32,
    /// f32 kept beside it.
    pub narrow: u32,
    /// The place of each output.
    pub outputs: Vec<u32>,
    /// The steps of a call.
    pub shared_ops: Vec<Record>,
    /// The steps of a candidate.
    pub candidate_ops: Vec<Record>,
}

/// One step to be written.
#[derive(Debug, Clone)]
pub struct Record {
    op: Op,
    fields: Vec<Field>,
}

#[derive(Debug, Clone)]
enum Field {
    Words(Vec<u32>),
    Singles(Vec<f32>),
    Numbers(Vec<f64>),
    Nodes(Vec<u8>),
}

// === impl Draft ===

impl Draft {
    /// The program as bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let header =
            [MAGIC, VERSION, self.shared, self.candidate, self.places, self.narrow, self.outputs.len() as u32, 0, 0];
        let mut bytes: Vec<u8> = header.iter().chain(&self.outputs).flat_map(|word| word.to_le_bytes()).collect();
        align(&mut bytes, 8);
        for (which, ops) in [self.shared_ops, self.candidate_ops].into_iter().enumerate() {
            ops.into_iter().for_each(|record| record.write(&mut bytes));
            let at = (HEADER_WORDS - 2 + which) * 4;
            let end = bytes.len() as u32;
            bytes[at..at + 4].copy_from_slice(&end.to_le_bytes());
        }
        bytes
    }
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

// === impl Record ===

impl Record {
    /// A step without fields yet.
    pub fn new(op: Op) -> Self {
        Self { op, fields: Vec::new() }
    }

    /// Adds u32.
    pub fn words(mut self, words: impl IntoIterator<Item = u32>) -> Self {
        self.fields.push(Field::Words(words.into_iter().collect()));
        self
    }

    /// Adds f32.
    pub fn singles(mut self, singles: Vec<f32>) -> Self {
        self.fields.push(Field::Singles(singles));
        self
    }

    /// Adds f64.
    pub fn numbers(mut self, numbers: impl IntoIterator<Item = f64>) -> Self {
        self.fields.push(Field::Numbers(numbers.into_iter().collect()));
        self
    }

    /// Adds the nodes of trees, at a multiple of 64.
    pub fn nodes(mut self, nodes: Vec<u8>) -> Self {
        self.fields.push(Field::Nodes(nodes));
        self
    }

    fn write(self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.extend((self.op as u32).to_le_bytes());
        bytes.extend([0; 4]);
        for field in self.fields {
            match field {
                Field::Words(words) => bytes.extend(words.iter().flat_map(|word| word.to_le_bytes())),
                Field::Singles(singles) => bytes.extend(singles.iter().flat_map(|single| single.to_le_bytes())),
                Field::Numbers(numbers) => {
                    align(bytes, 8);
                    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
                }
                Field::Nodes(nodes) => {
                    align(bytes, 64);
                    bytes.extend(nodes);
                }
            }
        }
        align(bytes, 8);
        let len = (bytes.len() - start) as u32;
        bytes[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The record that comes next; goes on behind it.
    pub(crate) fn record(&mut self) -> Option<Self> {
        let record = *self;
        let len = Self { at: self.at + 4, ..record }.word()?;
        self.at = self.at.checked_add(len.max(8))?;
        Some(record)
    }

    /// The code of a record, and over its length.
    pub(crate) fn code(&mut self) -> Option<Op> {
        let op = Op::of(self.word()?)?;
        self.word()?;
        Some(op)
    }

    pub(crate) fn word(&mut self) -> Option<usize> {
        let [word] = self.words(1)? else { return None };
        Some(u32::from_le_bytes(*word) as usize)
    }

    pub(crate) fn words(&mut self, n: usize) -> Option<&'a [[u8; 4]]> {
        Some(self.take(n, 4)?.as_chunks().0)
    }

    pub(crate) fn numbers(&mut self, n: usize) -> Option<&'a [[u8; 8]]> {
        self.at = self.at.next_multiple_of(8);
        Some(self.take(n, 8)?.as_chunks().0)
    }

    pub(crate) fn number(&mut self) -> Option<f64> {
        let [number] = self.numbers(1)? else { return None };
        Some(f64::from_le_bytes(*number))
    }

    /// `n` nodes of 16 bytes.
    pub(crate) fn nodes(&mut self, n: usize) -> Option<&'a [u8]> {
        self.at = self.at.next_multiple_of(64);
        self.take(n, 16)
    }

    fn take(&mut self, n: usize, size: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..n.checked_mul(size)?)?;
        self.at += taken.len();
        Some(taken)
    }
}
