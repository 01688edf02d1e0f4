//! Who is best of normal distributions: the points of the integral, and the distribution's function at them. Every decision asks it
//! anew, because what is known of a request makes other distributions; so points are few, and functions are looked up.
//!
//! The integral goes over panels, each with the points of Gauss and Legendre's rule. A panel is cut in halves as long as it is wide
//! beside the narrowest distribution that has something to say there: the integrand is smooth, and six points are enough for it.

use std::sync::LazyLock;

use super::Contest;
use crate::logistic::sigmoid;

/// What one candidate is worth, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, above 0.
    pub deviation: f64,
}

/// Beyond so many deviations from its mean a distribution has nothing to say.
const REACH: f64 = 5.0;
/// The widest a panel may be, in deviations.
const WIDTH: f64 = 2.0;
/// The most panels: with more that differ in width, the widest stay as they are.
const MAX_PANELS: usize = 32;
/// Gauss and Legendre's rule for six points on the interval from -1 to 1: where, and with which weight. The other three mirror them.
const RULE: [(f64, f64); 3] = [
    (0.238_619_186_083_196_9, 0.467_913_934_572_691_05),
    (0.661_209_386_466_264_5, 0.360_761_573_048_138_6),
    (0.932_469_514_203_152, 0.171_324_492_379_170_36),
];

/// The standard normal distribution, by cubics between points an eighth apart that have its values and slopes: right to a millionth.
struct Table {
    /// By cell: the cubic of the distribution function and that of the density.
    cells: Vec<[[f64; 4]; 2]>,
}

/// Where the table ends on either side.
const END: f64 = 8.0;
/// Cells of a unit.
const CELLS: f64 = 8.0;

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

// === impl Normal ===

impl Normal {
    /// Of a logit: the logarithm of the rate times `boost`, as a normal distribution. By the delta method: that of the middle, with the
    /// slope there.
    pub(crate) fn log_rate(self, boost: f64) -> Self {
        let rate = sigmoid(self.mean);
        Self { mean: libm::log(boost * rate), deviation: self.deviation * (1.0 - rate) }
    }

    fn reach(&self, deviations: f64) -> f64 {
        self.mean + deviations * self.deviation
    }
}

// === impl Contest ===

impl Contest {
    /// Between normal distributions, for so many places; `None` has no part in it.
    pub fn between_normals(values: &[Option<Normal>], places: usize) -> Self {
        let mut floors: Vec<f64> = values.iter().flatten().map(|value| value.reach(-REACH)).collect();
        floors.sort_unstable_by(|a, b| b.total_cmp(a));
        let floor = floors.get(places.saturating_sub(1)).or(floors.last()).copied().unwrap_or(0.0);
        let can_win: Vec<bool> =
            values.iter().map(|value| value.is_some_and(|value| value.reach(REACH) >= floor)).collect();
        let winners: Vec<Normal> =
            values.iter().flatten().filter(|value| value.reach(REACH) >= floor).copied().collect();
        let panels = panels(&winners, floor);
        let mut contest = Self::of(places, panels.len() * 2 * RULE.len(), &can_win);
        let table = &*TABLE;
        for value in &winners {
            let per = 1.0 / value.deviation;
            for (middle, half) in &panels {
                let weight = half * per;
                let (at, half) = ((middle - value.mean) * per, half * per);
                for (point, share) in RULE {
                    for side in [-point, point] {
                        let (below, density) = table.at(at + side * half);
                        contest.mass.push(weight * share * density);
                        contest.below.push(below);
                    }
                }
            }
        }
        contest
    }
}

/// The panels of the integral from `floor` on, each as its middle and half its width.
fn panels(winners: &[Normal], floor: f64) -> Vec<(f64, f64)> {
    let end = winners.iter().map(|value| value.reach(REACH)).fold(floor, f64::max);
    // A panel, and how wide it is beside the narrowest that is at home there.
    let panel = |from: f64, to: f64| {
        let is_there = |value: &&Normal| value.reach(-REACH) < to && value.reach(REACH) > from;
        let narrowest = winners.iter().filter(is_there).map(|value| value.deviation).fold(f64::INFINITY, f64::min);
        (from, to, (to - from) / narrowest)
    };
    let mut panels = vec![panel(floor, end)];
    while panels.len() < MAX_PANELS {
        let widest = panels.iter().enumerate().max_by(|(_, a), (_, b)| a.2.total_cmp(&b.2));
        let Some((at, (from, to, _))) = widest.map(|(at, panel)| (at, *panel)).filter(|(_, panel)| panel.2 > WIDTH)
        else {
            break;
        };
        let middle = 0.5 * (from + to);
        panels[at] = panel(from, middle);
        panels.push(panel(middle, to));
    }
    panels.into_iter().map(|(from, to, _)| (0.5 * (from + to), 0.5 * (to - from))).collect()
}

// === impl Table ===

impl Table {
    fn new() -> Self {
        let width = 1.0 / CELLS;
        // Of a function's values and slopes at both ends of a cell, in cells.
        let cubic = |from: (f64, f64), to: (f64, f64)| {
            let (rise, one, two) = (to.0 - from.0, from.1 * width, to.1 * width);
            [from.0, one, 3.0 * rise - 2.0 * one - two, one + two - 2.0 * rise]
        };
        let cells = (0..(2.0 * END * CELLS) as usize).map(|cell| {
            let (from, to) = (cell as f64 * width - END, (cell + 1) as f64 * width - END);
            let (low, high) = (density(from), density(to));
            [cubic((below(from), low), (below(to), high)), cubic((low, -from * low), (high, -to * high))]
        });
        Self { cells: cells.collect() }
    }

    /// The distribution function and the density.
    fn at(&self, z: f64) -> (f64, f64) {
        let place = (z + END) * CELLS;
        let Some([below, density]) = self.cells.get(place as usize).filter(|_| place >= 0.0) else {
            return (f64::from(z > 0.0), 0.0);
        };
        let t = place - (place as usize) as f64;
        let of = |cubic: &[f64; 4]| cubic[0] + t * (cubic[1] + t * (cubic[2] + t * cubic[3]));
        (of(below), of(density))
    }
}

fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

fn density(z: f64) -> f64 {
    const PEAK: f64 = 0.398_942_280_401_432_7;
    PEAK * libm::exp(-0.5 * z * z)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odds(values: &[Normal], places: usize, alive: &[u32]) -> Vec<f64> {
        let values: Vec<_> = values.iter().copied().map(Some).collect();
        Contest::between_normals(&values, places).odds(alive)
    }

    fn all(values: &[Normal]) -> Vec<u32> {
        (0..values.len() as u32).collect()
    }

    fn normal(mean: f64, deviation: f64) -> Normal {
        Normal { mean, deviation }
    }

    /// By Simpson's rule in steps of a hundredth of the narrowest deviation.
    fn exactly(values: &[Normal]) -> Vec<f64> {
        let step = values.iter().map(|value| value.deviation).fold(f64::INFINITY, f64::min) / 100.0;
        let from = values.iter().map(|value| value.reach(-9.0)).fold(f64::INFINITY, f64::min);
        let to = values.iter().map(|value| value.reach(9.0)).fold(f64::NEG_INFINITY, f64::max);
        let n = ((to - from) / step) as usize / 2 * 2;
        let mut odds = vec![0.0; values.len()];
        for at in 0..=n {
            let x = from + at as f64 * step;
            let share = if at == 0 || at == n { 1.0 } else { [2.0, 4.0][at % 2] };
            for (who, value) in values.iter().enumerate() {
                let others = values.iter().enumerate().filter(|(other, _)| *other != who);
                let others: f64 = others.map(|(_, other)| below((x - other.mean) / other.deviation)).product();
                let here = density((x - value.mean) / value.deviation) / value.deviation;
                odds[who] += share * here * others * step / 3.0;
            }
        }
        odds
    }

    #[test]
    fn the_table_is_right_to_a_millionth() {
        for at in -100_000..100_000 {
            let z = f64::from(at) / 1e4;
            let (found, dense) = TABLE.at(z);
            assert!((found - below(z)).abs() < 1e-6 && (dense - density(z)).abs() < 1e-6, "{z}: {found} {dense}");
        }
        assert_eq!((TABLE.at(f64::INFINITY), TABLE.at(f64::NEG_INFINITY)), ((1.0, 0.0), (0.0, 0.0)));
    }

    #[test]
    fn two_are_as_the_closed_form_says() {
        for (one, two) in [
            (normal(0.0, 1.0), normal(0.0, 1.0)),
            (normal(-3.0, 0.1), normal(-2.9, 0.15)),
            (normal(-3.0, 0.01), normal(-2.0, 1.5)),
            (normal(0.0, 1e-4), normal(0.5, 2.0)),
            (normal(5.0, 0.5), normal(-5.0, 3.0)),
        ] {
            let spread = (one.deviation * one.deviation + two.deviation * two.deviation).sqrt();
            let (found, expected) = (odds(&[one, two], 1, &[0, 1])[0], below((one.mean - two.mean) / spread));
            assert!((found - expected).abs() < 1e-4, "{one:?} against {two:?}: {found}, expected {expected}");
        }
    }

    #[test]
    fn many_are_as_a_fine_grid_says() {
        let check = |values: &[Normal]| {
            let (found, expected) = (odds(values, 1, &all(values)), exactly(values));
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-4, "{values:?}: {worst}: {found:?}, expected {expected:?}");
            assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        };
        // Alike, ever better known, some of them new, and one that is far ahead.
        let of = |n: u32, value: fn(f64) -> Normal| (0..n).map(|at| value(f64::from(at))).collect::<Vec<_>>();
        check(&of(20, |at| normal(-2.5 - 0.02 * at, 0.3)));
        check(&of(20, |at| normal(-2.5 + 0.05 * at, 0.4 - 0.019 * at)));
        check(&of(20, |at| if at < 15.0 { normal(-2.5 - 0.01 * at, 0.05) } else { normal(-1.0, 1.4) }));
        check(&of(5, |at| normal(at * 0.7, 0.2)));
        check(&of(3, |at| normal(-at, 1.0 + 3.0 * at)));
    }

    #[test]
    fn who_has_no_part_has_no_odds_and_who_is_left_has_those_of_who_is_left() {
        let values = [normal(6.0, 0.1), normal(0.0, 1.0), normal(0.0, 1.0)];
        assert_eq!(odds(&values, 1, &[1, 2]), [0.0, 0.0], "they were never to win the one place");
        assert!(odds(&values, 2, &[1, 2]).iter().all(|odd| (odd - 0.5).abs() < 1e-9));
        let contest = Contest::between_normals(&[None, Some(values[1]), Some(values[2])], 1);
        let found = contest.odds(&[0, 1, 2]);
        assert!(found[0] == 0.0 && (found[1] - 0.5).abs() < 1e-9, "{found:?}");
        assert_eq!(Contest::between_normals(&[None, None], 1).odds(&[0, 1]), [0.0, 0.0]);
        assert!(Contest::between_normals(&[], 1).odds(&[]).is_empty());
        let many: Vec<Normal> = (0..200).map(|at| normal(f64::from(at % 7), 10.0 / f64::from(at + 1))).collect();
        assert!((odds(&many, 10, &all(&many)).iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
