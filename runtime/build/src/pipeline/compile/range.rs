//! Between which bounds every column lies, as far as the steps tell: what the manifest says of an output. Rounding keeps order,
//! so bounds that went through the same operations in the same order hold to the bit. NaN lies between any bounds.

use crate::pipeline::Pipeline;
use crate::pipeline::step::{Function, Precision, Step};
use crate::pipeline::trees::{Tree, Trees};

/// The bounds of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
}

const ANY: Range = Range { low: f64::NEG_INFINITY, high: f64::INFINITY };
const SHARE: Range = Range { low: 0.0, high: 1.0 };
const POSITIVE: Range = Range { low: 0.0, high: f64::INFINITY };

/// The bounds of every column.
pub(super) fn ranges(pipeline: &Pipeline) -> Vec<Range> {
    let mut ranges = vec![ANY; pipeline.input_width()];
    for step in &pipeline.steps {
        let own = step_ranges(step, &ranges);
        ranges.extend(own);
    }
    ranges
}

fn step_ranges(step: &Step, ranges: &[Range]) -> Vec<Range> {
    let at = |column: &u32| ranges[*column as usize];
    let each = |columns: &[u32], f: &dyn Fn(usize, Range) -> Range| -> Vec<Range> {
        columns.iter().enumerate().map(|(i, column)| f(i, at(column))).collect()
    };
    match step {
        Step::Impute { columns, values } => each(columns, &|i, range| range.with(values[i])),
        Step::Scale { columns, subtract, divide, multiply, add } => each(columns, &|i, range| {
            let of = |list: &[f64]| list.get(i).copied();
            let range = of(subtract).map_or(range, |value| range.map(|x| x - value));
            let range = of(divide).map_or(range, |value| range.map(|x| x / value));
            let range = of(multiply).map_or(range, |value| range.map(|x| x * value));
            of(add).map_or(range, |value| range.map(|x| x + value))
        }),
        Step::Clip { columns, low, high } => {
            each(columns, &|_, range| range.map(|x| if x < *low { *low } else { x.min(*high) }))
        }
        Step::Apply { columns, function } => each(columns, &|_, range| applied(*function, range)),
        Step::Softmax { columns, .. } => vec![SHARE; columns.len()],
        Step::IsMissing { columns } => vec![SHARE; columns.len()],
        Step::OneHot { width, .. } => vec![SHARE; *width as usize],
        Step::Normalize { columns } => {
            let positive = columns.iter().all(|column| at(column).low >= 0.0);
            vec![if positive { POSITIVE } else { ANY }; columns.len()]
        }
        Step::Sums { terms } => terms
            .iter()
            .map(|term| {
                let bound = |of: fn(Range) -> f64| term.iter().fold(0.0, |sum, column| sum + of(at(column)));
                Range::new(bound(|range| range.low), bound(|range| range.high))
            })
            .collect(),
        Step::Interpolate { columns, y, .. } => {
            // Between two points rounding may leave the segment by a bit; 0 is the bound that must hold.
            let range = y.iter().fold(Range::new(f64::INFINITY, f64::NEG_INFINITY), |range, y| range.with(*y));
            let rising = y.is_sorted();
            each(columns, &|_, _| if rising { range } else { ANY })
        }
        Step::Prior { columns, .. } => {
            each(columns, &|_, range| if range.low >= 0.0 && range.high <= 1.0 { SHARE } else { ANY })
        }
        Step::Table { width, rows, other, missing, .. } => (0..*width as usize)
            .map(|column| {
                let values = rows.chunks(*width as usize).chain([&other[..], missing]).map(|row| row[column]);
                values.fold(Range::new(f64::INFINITY, f64::NEG_INFINITY), Range::with)
            })
            .collect(),
        Step::Index { .. } => vec![Range::new(-1.0, f64::INFINITY)],
        Step::Bins { .. } => vec![POSITIVE],
        Step::Trees(trees) => of_trees(trees),
        Step::ZeroIsMissing { columns } => each(columns, &|_, range| range),
        Step::Products { .. } | Step::Linear { .. } | Step::Embedding { .. } | Step::Dot { .. } => {
            vec![ANY; step.width()]
        }
    }
}

fn applied(function: Function, range: Range) -> Range {
    match function {
        Function::Sigmoid => SHARE,
        Function::Exp | Function::Sqrt | Function::Square | Function::Abs => POSITIVE,
        Function::Relu => Range::new(range.low.max(0.0), range.high.max(0.0)),
        Function::RoundF32 => range.map(|x| f64::from(x as f32)),
        Function::Trunc => range.map(f64::trunc),
        Function::Negate => range.map(|x| -x),
        Function::Tanh => Range::new(if range.low >= 0.0 { 0.0 } else { -1.0 }, 1.0),
        Function::Log1p | Function::Expm1 if range.low >= 0.0 => POSITIVE,
        Function::Log | Function::Log2 | Function::Log10 | Function::Log1p | Function::Expm1 | Function::Reciprocal => {
            ANY
        }
    }
}

/// Every tree adds at least its smallest leaf.
fn of_trees(trees: &Trees) -> Vec<Range> {
    let round = |value: f64| if trees.precision == Precision::F32 { f64::from(value as f32) } else { value };
    let mut ranges: Vec<Range> = trees.base.iter().map(|base| Range::new(round(*base), round(*base))).collect();
    for tree in &trees.trees {
        let width = trees.leaf_width(tree);
        let first = if width == 1 { tree.output as usize } else { 0 };
        for (output, range) in ranges[first..].iter_mut().take(width).enumerate() {
            let leaf = leaves(tree, output).map(|value| round(round(value) * round(tree.weight.unwrap_or(1.0))));
            let leaf = leaf.fold(Range::new(f64::INFINITY, f64::NEG_INFINITY), Range::with);
            *range = Range::new(round(range.low + leaf.low), round(range.high + leaf.high));
        }
    }
    let divide = trees.divide.map_or(1.0, round);
    ranges.into_iter().map(|range| range.map(|x| round(x / divide))).collect()
}

fn leaves(tree: &Tree, output: usize) -> impl Iterator<Item = f64> {
    let leaves = tree.feature.iter().zip(&tree.threshold).filter(|(feature, _)| **feature < 0);
    leaves.map(move |(_, first)| tree.values[*first as usize + output])
}

// === impl Range ===

impl Range {
    fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }

    /// Reaching to a value too.
    fn with(self, value: f64) -> Self {
        Self::new(self.low.min(value), self.high.max(value))
    }

    /// Through a function that never falls or never rises.
    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let (a, b) = (f(self.low), f(self.high));
        if a.is_nan() || b.is_nan() { ANY } else { Self::new(a.min(b), a.max(b)) }
    }
}
