//! The exponential function, closer to the exact number than `libm`'s: a softmax divides sums of them, and what trainers
//! compute with the system's mathematics has to come out the same to 2 ulp. Nothing but arithmetic that IEEE 754 fixes, so
//! every machine gives the same bits.

use core::f64::consts::LOG2_E;

/// ln 2 in two parts; the first ends in so many zeros that its product with an exponent is exact.
const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
/// Above it, e^x is no finite number; below the other, it is nearer to 0 than to the smallest one.
const LARGEST: f64 = 709.782_712_893_384;
const SMALLEST: f64 = -745.133_219_101_941_2;
/// 1/3!, 1/4!, ..., as far as they count at |r| <= ln 2 / 2.
const COEFFICIENTS: [f64; 12] = coefficients();

const fn coefficients() -> [f64; 12] {
    let (mut list, mut factorial, mut at) = ([0.0; 12], 2.0, 0);
    while at < list.len() {
        factorial *= (at + 3) as f64;
        list[at] = 1.0 / factorial;
        at += 1;
    }
    list
}

/// e^x, at most 0.57 ulp from the exact number where that is normal.
///
/// x = k ln 2 + r; e^r = 1 + r + r²/2 + r³ (1/3! + r/4! + …), of which the first three are summed with what
/// their rounding loses.
pub fn exp(x: f64) -> f64 {
    if x.is_nan() || x > LARGEST {
        return x + f64::INFINITY;
    }
    if x < SMALLEST {
        return 0.0;
    }
    let k = (x * LOG2_E).round_ties_even();
    let (high, low) = (x - k * LN_2[0], k * LN_2[1]);
    let r = high - low;
    let r_lost = (high - r) - low;
    let square = r * r;
    let series = COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| sum * r + coefficient);
    let (sum, lost) = sum(1.0, r);
    let (sum, lost_too) = self::sum(sum, square / 2.0);
    let rest = lost + lost_too + r_lost * (1.0 + r) + r * square * series;
    scale(sum + rest, k as i64)
}

/// a + b and what rounding lost of it, where |a| >= |b|.
fn sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, b - (sum - a))
}

/// y 2^k, for k from -1,075 to 1,024, rounded once more only where it is subnormal.
fn scale(y: f64, k: i64) -> f64 {
    let power = |k: i64| f64::from_bits(((1_023 + k) as u64) << 52);
    let half = k / 2;
    if k.abs() < 1_023 { y * power(k) } else { y * power(half) * power(k - half) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of x and e^x, which was computed with 60 digits and rounded once.
    const CASES: &str = include_str!("../../../tests/cases/exp.csv");

    #[test]
    fn the_exact_number_is_rounded_to_its_neighbour_nearly_always() -> Result<(), Box<dyn core::error::Error>> {
        let (mut cases, mut exact) = (0, 0);
        for line in CASES.lines() {
            let (x, expected) = line.split_once(',').ok_or("no pair")?;
            let (x, expected): (f64, f64) = (x.parse()?, expected.parse()?);
            let apart = exp(x).to_bits().abs_diff(expected.to_bits());
            assert!(apart <= 1, "e^{x:?} is {expected:?}, not {:?}", exp(x));
            (cases, exact) = (cases + 1, exact + usize::from(apart == 0));
        }
        assert!(exact * 100 >= cases * 99, "{exact} of {cases}");
        Ok(())
    }

    #[test]
    fn what_has_no_rounding_is_exact() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp(f64::INFINITY), f64::INFINITY);
        assert_eq!(exp(-746.0), 0.0);
        assert_eq!(exp(710.0), f64::INFINITY);
        assert!(exp(f64::NAN).is_nan());
    }
}
