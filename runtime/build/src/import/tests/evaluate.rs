//! What the steps that these importers append compute, as plainly as can be said. Owns nothing else: it knows no other step.

use crate::pipeline::{Compare, Function, Pipeline, Precision, Step, Tree, Trees, step};

/// All columns for one row.
pub(super) fn tape(pipeline: &Pipeline, row: &[f64]) -> Vec<f64> {
    let mut tape = row.to_vec();
    for step in &pipeline.steps {
        let appended = appended(step, &tape);
        tape.extend(appended);
    }
    tape
}

fn appended(step: &Step, tape: &[f64]) -> Vec<f64> {
    let read = |columns: &[u32]| columns.iter().map(|column| tape[*column as usize]).collect::<Vec<f64>>();
    let each = |columns: &[u32], of: &dyn Fn(f64) -> f64| read(columns).into_iter().map(of).collect();
    match step {
        Step::ZeroIsMissing { columns } => each(columns, &|x| if x.abs() <= step::ZERO { f64::NAN } else { x }),
        Step::Scale { columns, divide, multiply, .. } => {
            let by = |list: &[f64]| list.first().copied().unwrap_or(1.0);
            each(columns, &|x| x / by(divide) * by(multiply))
        }
        Step::Clip { columns, low, high } => each(columns, &|x| x.clamp(*low, *high)),
        Step::Apply { columns, function } => each(columns, &|x| apply(*function, x)),
        Step::Products { terms } => terms.iter().map(|term| read(term).into_iter().product()).collect(),
        Step::Index { column, values } => each(&[*column], &|x| {
            let found = values.iter().position(|value| *value == x);
            if x.is_nan() { x } else { found.map_or(-1.0, |found| found as f64) }
        }),
        Step::Table { column, rows, other, missing, .. } => each(&[*column], &|x| match x {
            _ if x.is_nan() => missing[0],
            _ if x < 0.0 => other[0],
            _ => rows.get(x as usize).copied().unwrap_or(other[0]),
        }),
        Step::Softmax { columns, precision } => {
            let round = |x: f64| if *precision == Precision::F32 { f64::from(x as f32) } else { x };
            let columns = read(columns);
            let max = columns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = columns.iter().map(|x| round(apply(Function::Exp, round(x - max)))).collect();
            let sum = round(powers.iter().sum());
            powers.iter().map(|power| round(power / sum)).collect()
        }
        Step::Trees(trees) => sums(trees, tape),
        other => panic!("{other:?} is not for these importers"),
    }
}

#[allow(clippy::disallowed_methods, reason = "compared within some ulp")]
fn apply(function: Function, x: f64) -> f64 {
    match function {
        Function::Exp => x.exp(),
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::RoundF32 => f64::from(x as f32),
        Function::Trunc => x.trunc(),
        Function::Abs => x.abs(),
        Function::Log1p => x.ln_1p(),
        other => panic!("{other:?} is not for these importers"),
    }
}

fn sums(trees: &Trees, tape: &[f64]) -> Vec<f64> {
    let mut sums = trees.base.clone();
    for tree in &trees.trees {
        let (leaf, sum) = (leaf(trees, tree, tape), &mut sums[tree.output as usize]);
        *sum = match trees.precision {
            Precision::F32 => f64::from(*sum as f32 + leaf as f32 * tree.weight.unwrap_or(1.0) as f32),
            Precision::F64 => *sum + leaf,
        };
    }
    sums
}

fn leaf(trees: &Trees, tree: &Tree, tape: &[f64]) -> f64 {
    let mut node = 0;
    while tree.feature[node] >= 0 {
        let x = tape[trees.columns[tree.feature[node] as usize] as usize];
        let is_left = match (tree.set(node), trees.compare) {
            _ if x.is_nan() => tree.is_default_left(node),
            (Some(set), _) => x >= 0.0 && set.contains(&(x as u32)),
            (None, Compare::F32Less) => (x as f32) < tree.threshold[node] as f32,
            (None, _) => x <= tree.threshold[node],
        };
        node = if is_left { tree.left[node] } else { tree.right[node] } as usize;
    }
    tree.values[tree.threshold[node] as usize]
}
