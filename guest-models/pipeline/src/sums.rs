//! Dot products, in lanes that are the same on every machine: natively as arrays, in a module by SIMD written by hand, which
//! gains three to four times over what the compiler makes of the arrays. Owns them and the steps made of them.

use crate::columns::symbol;
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
    let to = narrow.get_mut(first..first.checked_add(n)?)?;
    to.iter_mut().zip(tape.get(from..from.checked_add(n)?)?).for_each(|(to, x)| *to = *x as f32);
    Some(())
}

pub(crate) fn length(fields: &mut Reader<'_>, tape: &mut [f64], narrow: &[f32]) -> Option<()> {
    let (n, at, first) = (fields.word()?, fields.word()?, fields.word()?);
    let vector = narrow.get(at..)?.get(..n)?;
    *tape.get_mut(first)? = f64::from(dot32(vector, bytes_of(vector)).sqrt());
    Some(())
}

pub(crate) fn dot(fields: &mut Reader<'_>, tape: &mut [f64], narrow: &[f32]) -> Option<()> {
    let (n, a, b, first) = (fields.word()?, fields.word()?, fields.word()?, fields.word()?);
    let [a, b] = [narrow.get(a..)?.get(..n)?, narrow.get(b..)?.get(..n)?];
    *tape.get_mut(first)? = f64::from(dot32(a, bytes_of(b)));
    Some(())
}

pub(crate) fn linear32(fields: &mut Reader<'_>, tape: &mut [f64], narrow: &[f32]) -> Option<()> {
    let (n, at, outputs) = (fields.word()?, fields.word()?, fields.word()?);
    let (first, base) = (fields.word()?, fields.word()?);
    let x = narrow.get(at..)?.get(..n)?;
    let weights = fields.words(n.checked_mul(outputs)?)?;
    for output in 0..outputs {
        let sum = *tape.get(base + output)? as f32 + dot32(x, weights.get(output * n..)?.get(..n)?);
        *tape.get_mut(first + output)? = f64::from(sum);
    }
    Some(())
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
    place: usize,
    n: usize,
    at: usize,
    first: usize,
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
        if let Some(index) = symbol(*tape.get(self.place)?, self.symbols) {
            let vector = self.vectors.get(index * self.n..)?.get(..self.n)?;
            let dot = dot32(narrow.get(self.at..)?.get(..self.n)?, vector);
            // Place 0 is no length: the dot product itself is the answer.
            let length = if self.length == 0 { 1.0 } else { *tape.get(self.length)? as f32 };
            answer = if length == 0.0 { 0.0 } else { dot / length };
        }
        *tape.get_mut(self.first)? = f64::from(answer);
        Some(())
    }
}

fn bytes_of(singles: &[f32]) -> &[[u8; 4]] {
    #![expect(unsafe_code, reason = "a vector of the machine read as one of the program")]
    // SAFETY: an f32 is four bytes, every pattern of which is a [u8; 4], and the alignment of those is 1.
    unsafe { core::slice::from_raw_parts(singles.as_ptr().cast(), singles.len()) }
}

/// In sixteen lanes of f32. The lengths are equal multiples of 16.
fn dot32(a: &[f32], b: &[[u8; 4]]) -> f32 {
    #[cfg(target_arch = "wasm32")]
    return simd::dot32(a, b);
    #[cfg(not(target_arch = "wasm32"))]
    lanes::dot32(a, b)
}

/// In eight lanes of f64. The lengths are equal multiples of 8.
fn dot64(a: &[f64], b: &[[u8; 8]]) -> f64 {
    #[cfg(target_arch = "wasm32")]
    return simd::dot64(a, b);
    #[cfg(not(target_arch = "wasm32"))]
    lanes::dot64(a, b)
}

#[cfg(not(target_arch = "wasm32"))]
mod lanes {
    pub(super) fn dot32(a: &[f32], b: &[[u8; 4]]) -> f32 {
        let mut lanes = [0.0f32; 16];
        for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
            for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *lane += a * f32::from_le_bytes(*b);
            }
        }
        let [a, b, c, d, e, f, g, h]: [f32; 8] = core::array::from_fn(|i| lanes[i] + lanes[i + 8]);
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    pub(super) fn dot64(a: &[f64], b: &[[u8; 8]]) -> f64 {
        let mut lanes = [0.0f64; 8];
        for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
            for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *lane += a * f64::from_le_bytes(*b);
            }
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

#[cfg(target_arch = "wasm32")]
mod simd {
    #![expect(unsafe_code, reason = "vector loads take raw pointers")]

    use core::arch::wasm32::{
        f32x4_add, f32x4_extract_lane, f32x4_mul, f64x2_add, f64x2_extract_lane, f64x2_mul, i32x4_shuffle, v128,
        v128_load,
    };

    pub(super) fn dot32(a: &[f32], b: &[[u8; 4]]) -> f32 {
        wide32(a, b)
    }

    pub(super) fn dot64(a: &[f64], b: &[[u8; 8]]) -> f64 {
        wide64(a, b)
    }

    #[target_feature(enable = "simd128")]
    fn wide32(a: &[f32], b: &[[u8; 4]]) -> f32 {
        let zero = core::arch::wasm32::f32x4_splat(0.0);
        let mut lanes = [zero; 4];
        for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
            for (i, lane) in lanes.iter_mut().enumerate() {
                // SAFETY: both chunks hold four vectors.
                let [a, b] = unsafe { [load(a.as_ptr().cast(), i), load(b.as_ptr().cast(), i)] };
                *lane = f32x4_add(*lane, f32x4_mul(a, b));
            }
        }
        let [a, b, c, d] = lanes;
        let four = f32x4_add(f32x4_add(a, c), f32x4_add(b, d));
        let two = f32x4_add(four, i32x4_shuffle::<2, 3, 0, 1>(four, four));
        f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
    }

    #[target_feature(enable = "simd128")]
    fn wide64(a: &[f64], b: &[[u8; 8]]) -> f64 {
        let zero = core::arch::wasm32::f64x2_splat(0.0);
        let mut lanes = [zero; 4];
        for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
            for (i, lane) in lanes.iter_mut().enumerate() {
                // SAFETY: both chunks hold four vectors.
                let [a, b] = unsafe { [load(a.as_ptr().cast(), i), load(b.as_ptr().cast(), i)] };
                *lane = f64x2_add(*lane, f64x2_mul(a, b));
            }
        }
        let [a, b, c, d] = lanes;
        let two = f64x2_add(f64x2_add(a, c), f64x2_add(b, d));
        f64x2_extract_lane::<0>(two) + f64x2_extract_lane::<1>(two)
    }

    /// Vector `i` from `start` on.
    #[target_feature(enable = "simd128")]
    unsafe fn load(start: *const v128, i: usize) -> v128 {
        // SAFETY: the caller's promise; a load may be unaligned.
        unsafe { v128_load(start.add(i)) }
    }
}
