//! What counts as the same number.

/// The most by which a number may differ.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parity {
    /// So many numbers of 64 bits lie between.
    Ulps(u64),
    /// So many numbers of 32 bits lie between.
    SingleUlps(u64),
    /// By this share of the expected number, or this absolutely where that is below 1.
    Relative(f64),
}

// === impl Parity ===

impl Parity {
    pub(super) fn holds(self, found: f64, expected: f64) -> bool {
        if found.is_nan() || expected.is_nan() {
            return found.is_nan() && expected.is_nan();
        }
        match self {
            Self::Ulps(most) => place(found.to_bits() as i64).abs_diff(place(expected.to_bits() as i64)) <= most,
            Self::SingleUlps(most) => {
                let place = |value: f64| i64::from(single((value as f32).to_bits() as i32));
                f64::from(found as f32) == found && place(found).abs_diff(place(expected)) <= most
            }
            Self::Relative(most) => found == expected || (found - expected).abs() <= most * expected.abs().max(1.0),
        }
    }
}

/// Bits as a number that rises with what they mean; 0 and -0 are neighbours.
fn place(bits: i64) -> i64 {
    if bits < 0 { i64::MIN.wrapping_sub(bits).wrapping_sub(1) } else { bits }
}

fn single(bits: i32) -> i32 {
    if bits < 0 { i32::MIN.wrapping_sub(bits).wrapping_sub(1) } else { bits }
}

/// The area under the ROC curve: the share of pairs of a positive and a negative that stand in order, ties by half.
pub(super) fn auc(scores: &[f64], labels: &[f64]) -> f64 {
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().map(|label| *label > 0.5)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut pairs, mut negatives, mut positives) = (0.0, 0.0, 0.0);
    for tie in order.chunk_by(|a, b| a.0 == b.0) {
        let above = tie.iter().filter(|(_, positive)| *positive).count() as f64;
        let below = tie.len() as f64 - above;
        pairs += above * (negatives + below / 2.0);
        (positives, negatives) = (positives + above, negatives + below);
    }
    pairs / (positives * negatives)
}

/// How near to 0 and 1 a probability may come before it is scored, as the known results were: a model that is as good as sure
/// and wrong must not outweigh all others.
const SUREST: f64 = 1e-6;

/// The mean logarithmic loss of probabilities.
#[expect(clippy::disallowed_methods, reason = "a figure that is compared to four digits")]
pub(super) fn log_loss(scores: &[f64], labels: &[f64]) -> f64 {
    let loss = |(p, label): (&f64, &f64)| {
        let p = p.clamp(SUREST, 1.0 - SUREST);
        -(if *label > 0.5 { p } else { 1.0 - p }).ln()
    };
    scores.iter().zip(labels).map(loss).sum::<f64>() / scores.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_is_counted_in_numbers_between() {
        let next = f64::from_bits(1.0_f64.to_bits() + 1);
        assert!(Parity::Ulps(1).holds(next, 1.0) && !Parity::Ulps(0).holds(next, 1.0));
        assert!(Parity::Ulps(1).holds(-0.0, 0.0) && !Parity::Ulps(0).holds(-0.0, 0.0));
        let beside = f64::from(f32::from_bits(1.0_f32.to_bits() + 1));
        assert!(Parity::SingleUlps(1).holds(beside, 1.0) && !Parity::SingleUlps(0).holds(beside, 1.0));
        assert!(!Parity::SingleUlps(9).holds(0.1, 0.1), "0.1 is no f32");
        assert!(Parity::Relative(0.1).holds(11.0, 10.0) && !Parity::Relative(0.1).holds(0.5, 0.3));
        assert!(Parity::Ulps(0).holds(f64::NAN, f64::NAN) && !Parity::Relative(1.0).holds(f64::NAN, 1.0));
    }

    #[test]
    fn figures_are_those_of_the_textbook() {
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &[0.0, 0.0, 1.0, 1.0]), 0.75);
        assert_eq!(auc(&[0.5, 0.5], &[0.0, 1.0]), 0.5);
        assert!((log_loss(&[0.5, 0.5], &[0.0, 1.0]) - std::f64::consts::LN_2).abs() < 1e-15);
        assert!((log_loss(&[0.0], &[1.0]) - 6.0 * std::f64::consts::LN_10).abs() < 1e-9, "sure and wrong");
    }
}
