//! Dot products, in lanes that are the same on every machine: natively as arrays, in a module by SIMD written by hand, which
//! gains three to four times over what the compiler makes of the arrays.

/// A vector of the machine read as one of the program.
pub(crate) fn bytes_of(singles: &[f32]) -> &[[u8; 4]] {
    #![expect(unsafe_code, reason = "a vector of the machine read as one of the program")]
    // SAFETY: an f32 is four bytes, every pattern of which is a [u8; 4], and the alignment of those is 1.
    unsafe { core::slice::from_raw_parts(singles.as_ptr().cast(), singles.len()) }
}

/// The products of one row with several, in sixteen lanes of f32. The lengths are equal multiples of 16.
pub(crate) fn dots32<const N: usize>(a: &[f32], rows: [&[[u8; 4]]; N]) -> [f32; N] {
    #[cfg(target_arch = "wasm32")]
    return simd::dots32(a, rows);
    #[cfg(not(target_arch = "wasm32"))]
    rows.map(|row| lanes::dot32(a, row))
}

/// In eight lanes of f64. The lengths are equal multiples of 8.
pub(crate) fn dot64(a: &[f64], b: &[[u8; 8]]) -> f64 {
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

/// A vector of the machine has 128 bits, and every product is summed in four of them. An engine looks at its clock at the
/// head of a loop, with all that it has at hand put aside, so eight steps are made a round; and between two of them stands a
/// branch, without which an engine loads all that a round needs before it multiplies.
#[cfg(target_arch = "wasm32")]
mod simd {
    #![expect(unsafe_code, reason = "vector loads take raw pointers")]

    use core::arch::wasm32::{
        f32x4_add, f32x4_extract_lane, f32x4_mul, f32x4_splat, f64x2_add, f64x2_extract_lane, f64x2_mul, i32x4_shuffle,
        v128, v128_load,
    };
    use core::hint::black_box;

    /// Vectors that a product is summed in.
    const LANES: usize = 4;
    /// Vectors of a step: with more, what it loads does not fit beside the sums of two rows.
    const STEP: usize = 2;
    /// Steps of a round.
    const ROUND: usize = 8;

    #[target_feature(enable = "simd128")]
    pub(super) fn dots32<const N: usize>(a: &[f32], rows: [&[[u8; 4]]; N]) -> [f32; N] {
        let steps = rows.iter().fold(a.len(), |len, row| len.min(row.len())) / 8;
        // SAFETY: so many steps of two times four numbers stand in each.
        let lanes = unsafe { sums::<true, N>(steps, a.as_ptr().cast(), rows.map(|row| row.as_ptr().cast())) };
        core::array::from_fn(|i| across32(lanes[i]))
    }

    #[target_feature(enable = "simd128")]
    pub(super) fn dot64(a: &[f64], b: &[[u8; 8]]) -> f64 {
        let steps = a.len().min(b.len()) / 4;
        // SAFETY: so many steps of two times two numbers stand in each.
        let [lanes] = unsafe { sums::<false, 1>(steps, a.as_ptr().cast(), [b.as_ptr().cast()]) };
        across64(lanes)
    }

    /// The lanes of each row's product with `a`, of f32 when `SINGLE`, else of f64.
    #[target_feature(enable = "simd128")]
    #[inline]
    unsafe fn sums<const SINGLE: bool, const N: usize>(
        mut steps: usize,
        mut a: *const v128,
        mut rows: [*const v128; N],
    ) -> [[v128; LANES]; N] {
        let mut lanes = [[f32x4_splat(0.0); LANES]; N];
        'all: loop {
            for step in 0..ROUND {
                if step == steps {
                    break 'all;
                }
                for at in step * STEP..(step + 1) * STEP {
                    // SAFETY: the caller's promise: so many steps are left; a load may be unaligned.
                    unsafe {
                        let x = v128_load(a.add(at));
                        for (lanes, row) in lanes.iter_mut().zip(&rows) {
                            let lane = &mut lanes[at % LANES];
                            *lane = multiply_add::<SINGLE>(*lane, x, v128_load(row.add(at)));
                        }
                    }
                }
            }
            steps -= ROUND;
            // SAFETY: at most the end of each. Unseen, so that loads keep their constant offsets.
            unsafe {
                a = black_box(a.add(ROUND * STEP));
                rows = rows.map(|row| black_box(row.add(ROUND * STEP)));
            }
        }
        lanes
    }

    #[target_feature(enable = "simd128")]
    #[inline]
    fn multiply_add<const SINGLE: bool>(sum: v128, a: v128, b: v128) -> v128 {
        if SINGLE { f32x4_add(sum, f32x4_mul(a, b)) } else { f64x2_add(sum, f64x2_mul(a, b)) }
    }

    #[target_feature(enable = "simd128")]
    #[inline]
    fn across32([a, b, c, d]: [v128; LANES]) -> f32 {
        let four = f32x4_add(f32x4_add(a, c), f32x4_add(b, d));
        let two = f32x4_add(four, i32x4_shuffle::<2, 3, 0, 1>(four, four));
        f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
    }

    #[target_feature(enable = "simd128")]
    #[inline]
    fn across64([a, b, c, d]: [v128; LANES]) -> f64 {
        let two = f64x2_add(f64x2_add(a, c), f64x2_add(b, d));
        f64x2_extract_lane::<0>(two) + f64x2_extract_lane::<1>(two)
    }
}
