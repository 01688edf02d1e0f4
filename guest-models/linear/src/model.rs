//! The linear model as bytes: what the builder appends and the kernel reads. Owns the format, which is versioned because
//! kernel and builder of one module may be years apart from whoever inspects it.
//!
//! All little-endian, in this order:
//!
//! | field | type |
//! |---|---|
//! | magic `SVLN`, version 1, link (0 identity, 1 logistic) | 3 × u32 |
//! | columns of the shared row, of a candidate's row | 2 × u32 |
//! | symbol terms of the shared row, of a candidate's row | 2 × u32 |
//! | weights in all symbol tables together | u32 |
//! | intercept | f64 |
//! | a weight a column, shared then candidate; 0 for a symbol | f64 each |
//! | symbol terms, shared then candidate: column, first weight, weights, 0, weight of any other text | 4 × u32, f64 each |
//! | weights of the symbol tables | f64 each |

const MAGIC: u32 = u32::from_le_bytes(*b"SVLN");
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 40;
const TERM_BYTES: usize = 24;

/// What the margin goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Nothing: the score is the margin.
    Identity,
    /// `1 / (1 + e^-margin)`.
    Logistic,
}

/// A model to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// What the margin goes through.
    pub link: Link,
    /// The margin when every column is missing.
    pub intercept: f64,
    /// The columns of the shared row.
    pub shared: Vec<Term>,
    /// The columns of a candidate's row.
    pub candidate: Vec<Term>,
}

/// What a column contributes to the margin.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// Its value times this weight.
    Number(f64),
    /// The weight of its symbol.
    Symbol {
        /// By the symbol's index.
        table: Vec<f64>,
        /// For any other text.
        other: f64,
    },
}

/// A model as read, in place.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    /// What the margin goes through.
    pub link: Link,
    /// The margin when every column is missing.
    pub intercept: f64,
    /// The columns of the shared row.
    pub shared: Side<'a>,
    /// The columns of a candidate's row.
    pub candidate: Side<'a>,
}

/// One of the two rows.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    pub(crate) weights: &'a [[u8; 8]],
    terms: &'a [[u8; TERM_BYTES]],
    tables: &'a [[u8; 8]],
}

/// A symbol's column and its weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SymbolTerm<'a> {
    pub(crate) column: usize,
    table: &'a [[u8; 8]],
    other: f64,
}

// === impl Weights ===

impl Weights {
    /// The model as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (mut dense, mut terms, mut tables) = (Vec::new(), Vec::new(), Vec::new());
        let mut symbols = [0u32; 2];
        for (side, columns) in [&self.shared, &self.candidate].into_iter().enumerate() {
            for (column, term) in columns.iter().enumerate() {
                match term {
                    Term::Number(weight) => dense.push(*weight),
                    Term::Symbol { table, other } => {
                        dense.push(0.0);
                        symbols[side] += 1;
                        for word in [column, tables.len(), table.len(), 0] {
                            terms.extend((word as u32).to_le_bytes());
                        }
                        terms.extend(other.to_le_bytes());
                        tables.extend(table);
                    }
                }
            }
        }
        let link = match self.link {
            Link::Identity => 0,
            Link::Logistic => 1,
        };
        let widths = [self.shared.len() as u32, self.candidate.len() as u32];
        let header = [MAGIC, VERSION, link, widths[0], widths[1], symbols[0], symbols[1], tables.len() as u32];
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(self.intercept.to_le_bytes());
        bytes.extend(dense.iter().flat_map(|weight| weight.to_le_bytes()));
        bytes.extend(terms);
        bytes.extend(tables.iter().flat_map(|weight: &f64| weight.to_le_bytes()));
        bytes
    }
}

// === impl Model ===

impl<'a> Model<'a> {
    /// Reads what [`Weights::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// When the bytes are not such a model, all of it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        Self::parse(bytes).ok_or_else(|| "no linear model of version 1 is appended".to_owned())
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let (words, intercept) = header.split_at(HEADER_BYTES - 8);
        let mut words = words.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        let mut next = || words.next();
        if next()? != MAGIC || next()? != VERSION {
            return None;
        }
        let link = match next()? {
            0 => Link::Identity,
            1 => Link::Logistic,
            _ => return None,
        };
        let mut count = || next().map(|count| count as usize);
        let (shared, candidate) = (count()?, count()?);
        let (shared_terms, candidate_terms, tables) = (count()?, count()?, count()?);

        let (shared_weights, rest) = take::<8>(rest, shared)?;
        let (candidate_weights, rest) = take::<8>(rest, candidate)?;
        let (shared_terms, rest) = take::<TERM_BYTES>(rest, shared_terms)?;
        let (candidate_terms, rest) = take::<TERM_BYTES>(rest, candidate_terms)?;
        let (tables, rest) = take::<8>(rest, tables)?;
        let shared = Side { weights: shared_weights, terms: shared_terms, tables };
        let candidate = Side { weights: candidate_weights, terms: candidate_terms, tables };
        (rest.is_empty() && shared.fits() && candidate.fits()).then_some(Self {
            link,
            intercept: f64::from_le_bytes(*intercept.as_array()?),
            shared,
            candidate,
        })
    }
}

/// The first `count` records of `N` bytes, and the rest.
fn take<const N: usize>(bytes: &[u8], count: usize) -> Option<(&[[u8; N]], &[u8])> {
    let (records, rest) = bytes.split_at_checked(count.checked_mul(N)?)?;
    Some((records.as_chunks().0, rest))
}

// === impl Side ===

impl<'a> Side<'a> {
    /// How many columns the row has.
    pub fn width(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn symbols(&self) -> impl Iterator<Item = SymbolTerm<'a>> + use<'a> {
        let tables = self.tables;
        self.terms.iter().filter_map(move |term| SymbolTerm::read(term, tables))
    }

    fn fits(&self) -> bool {
        let fits = |term| SymbolTerm::read(term, self.tables).is_some_and(|term| term.column < self.width());
        self.terms.iter().all(fits)
    }
}

// === impl SymbolTerm ===

impl<'a> SymbolTerm<'a> {
    fn read(term: &[u8; TERM_BYTES], tables: &'a [[u8; 8]]) -> Option<Self> {
        let word = |i: usize| Some(u32::from_le_bytes(*term.get(4 * i..4 * i + 4)?.as_array()?) as usize);
        let table = tables.get(word(1)?..)?.get(..word(2)?)?;
        Some(Self { column: word(0)?, table, other: f64::from_le_bytes(*term.get(16..)?.as_array()?) })
    }

    /// What a column of this value contributes: nothing when it is missing.
    pub(crate) fn weight(&self, value: f64) -> f64 {
        if value.is_nan() {
            return 0.0;
        }
        // A negative index saturates to 0 on its way to usize, so it is looked at first.
        let known = (value >= 0.0).then(|| self.table.get(value as usize)).flatten();
        known.map_or(self.other, |weight| f64::from_le_bytes(*weight))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_cut_or_longer_model_is_refused() {
        let bytes = Weights {
            link: Link::Logistic,
            intercept: 1.0,
            shared: vec![Term::Symbol { table: vec![1.0, 2.0], other: 3.0 }],
            candidate: vec![Term::Number(4.0)],
        }
        .to_bytes();
        assert!(Model::read(&bytes).is_ok());
        for end in 0..bytes.len() {
            assert!(Model::read(&bytes[..end]).is_err(), "{end} bytes");
        }
        assert!(Model::read(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
