//! The steps made of dot products.

use selvedge_guest::Call;

use crate::columns::symbol;
use crate::dot::{bytes_of, dot64, dots32};
use crate::program::Reader;

pub(crate) fn narrow(fields: &mut Reader<'_>, tape: &[f64], narrow: &mut [f32]) -> Option<()> {
    let (n, first) = (fields.word()?, fields.word()?);
    let to = narrow.get_mut(first..first.checked_add(n)?)?;
    for (to, place) in to.iter_mut().zip(fields.words(n)?) {
        *to = *tape.get(u32::from_le_bytes(*place) as usize)? as f32;
    }
    Some(())
}

pub(crate) fn narrow_row(fields: &mut Reader<'_>, tape: &[f64], narrow: &mut [f32]) -> Option<()> {
    let (n, first, from) = (fields.word()?, fields.word()?, fields.word()?);
    round(tape.get(from..from.checked_add(n)?)?, narrow.get_mut(first..first.checked_add(n)?)?);
    Some(())
}

/// Two at once in a module.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn round(columns: &[f64], singles: &mut [f32]) {
    let ((columns, columns_left), (singles, singles_left)) = (columns.as_chunks::<32>(), singles.as_chunks_mut::<32>());
    for (singles, columns) in singles.iter_mut().zip(columns) {
        for (single, x) in singles.iter_mut().zip(columns) {
            *single = *x as f32;
        }
    }
    for (single, x) in singles_left.iter_mut().zip(columns_left) {
        *single = *x as f32;
    }
}

pub(crate) fn length(fields: &mut Reader<'_>, tape: &mut [f64], narrow: &[f32]) -> Option<()> {
    let (n, at, first) = (fields.word()?, fields.word()?, fields.word()?);
    let vector = narrow.get(at..)?.get(..n)?;
    *tape.get_mut(first)? = f64::from(dot(vector, bytes_of(vector)).sqrt());
    Some(())
}

pub(crate) fn dot_product(fields: &mut Reader<'_>, tape: &mut [f64], narrow: &[f32]) -> Option<()> {
    let (n, a, b, first) = (fields.word()?, fields.word()?, fields.word()?, fields.word()?);
    let [a, b] = [narrow.get(a..)?.get(..n)?, narrow.get(b..)?.get(..n)?];
    *tape.get_mut(first)? = f64::from(dot(a, bytes_of(b)));
    Some(())
}

pub(crate) fn linear32(fields: &mut Reader<'_>, tape: &mut [f64], narrow: &[f32]) -> Option<()> {
    let (n, at, outputs) = (fields.word()?, fields.word()?, fields.word()?);
    let (first, base) = (fields.word()?, fields.word()?);
    let x = narrow.get(at..)?.get(..n)?;
    let weights = fields.words(n.checked_mul(outputs)?)?;
    let row = |output: usize| weights.get(output * n..)?.get(..n);
    let mut add = |output: usize, dot: f32| {
        *tape.get_mut(first + output)? = f64::from(*tape.get(base + output)? as f32 + dot);
        Some(())
    };
    // Two at once read the row once.
    for output in (0..outputs).step_by(2) {
        if output + 1 < outputs {
            let dots = dots32(x, [row(output)?, row(output + 1)?]);
            add(output, dots[0])?;
            add(output + 1, dots[1])?;
        } else {
            add(output, dot(x, row(output)?))?;
        }
    }
    Some(())
}

fn dot(a: &[f32], b: &[[u8; 4]]) -> f32 {
    let [dot] = dots32(a, [b]);
    dot
}

pub(crate) fn linear64(fields: &mut Reader<'_>, tape: &mut [f64]) -> Option<()> {
    let (n, at, outputs) = (fields.word()?, fields.word()?, fields.word()?);
    let (first, base) = (fields.word()?, fields.word()?);
    let weights = fields.numbers(n.checked_mul(outputs)?)?;
    for output in 0..outputs {
        let x = tape.get(at..)?.get(..n)?;
        let sum = *tape.get(base + output)? + dot64(x, weights.get(output * n..)?.get(..n)?);
        *tape.get_mut(first + output)? = sum;
    }
    Some(())
}

/// The dot product of a symbol's vector with the one beside the tape.
pub(crate) struct Embedding<'a> {
    pub(crate) place: usize,
    n: usize,
    at: usize,
    pub(crate) first: usize,
    length: usize,
    symbols: usize,
    vectors: &'a [[u8; 4]],
}

// === impl Embedding ===

impl<'a> Embedding<'a> {
    pub(crate) fn read(fields: &mut Reader<'a>) -> Option<Self> {
        let (place, n, at) = (fields.word()?, fields.word()?, fields.word()?);
        let (first, length, symbols) = (fields.word()?, fields.word()?, fields.word()?);
        let vectors = fields.words(n.checked_mul(symbols)?)?;
        Some(Self { place, n, at, first, length, symbols, vectors })
    }

    pub(crate) fn run(&self, tape: &mut [f64], narrow: &[f32]) -> Option<()> {
        let mut answer = 0.0;
        if let Some(vector) = self.vector(*tape.get(self.place)?) {
            answer = self.answer(dot(narrow.get(self.at..)?.get(..self.n)?, vector), tape)?;
        }
        *tape.get_mut(self.first)? = f64::from(answer);
        Some(())
    }

    /// The answers for all candidates, whose symbols stand in their column `column`, when nothing else is asked of them.
    pub(crate) fn all(&self, call: Call<'_>, column: usize, tape: &[f64], narrow: &[f32]) -> Option<Vec<f64>> {
        let person = narrow.get(self.at..)?.get(..self.n)?;
        let mut answers = Vec::with_capacity(call.count());
        let mut symbols = call.rows().map(|row| row.get(column).copied());
        while let Some(a) = symbols.next() {
            let a = self.vector(a?);
            let Some(b) = symbols.next() else {
                answers.push(match a {
                    Some(a) => f64::from(self.answer(dot(person, a), tape)?),
                    None => 0.0,
                });
                break;
            };
            let b = self.vector(b?);
            // Two at once read the person's vector once; a symbol without one is paired with the other's.
            let Some(some) = a.or(b) else {
                answers.extend([0.0; 2]);
                continue;
            };
            let dots = dots32(person, [a.unwrap_or(some), b.unwrap_or(some)]);
            for (symbol, dot) in [a, b].into_iter().zip(dots) {
                answers.push(if symbol.is_some() { f64::from(self.answer(dot, tape)?) } else { 0.0 });
            }
        }
        Some(answers)
    }

    fn vector(&self, x: f64) -> Option<&[[u8; 4]]> {
        let index = symbol(x, self.symbols)?;
        self.vectors.get(index * self.n..)?.get(..self.n)
    }

    /// Place 0 is no length: the dot product itself is the answer.
    fn answer(&self, dot: f32, tape: &[f64]) -> Option<f32> {
        if self.length == 0 {
            return Some(dot);
        }
        let length = *tape.get(self.length)? as f32;
        Some(if length == 0.0 { 0.0 } else { dot / length })
    }
}
