//! The reference evaluation: what every step means, to the bit, in plain code. Golden vectors come from it, and the kernel must
//! agree with it. Owns no layout and no speed.

mod sums;
#[cfg(test)]
mod tests;

use selvedge_decision::manifest::Scope;
use selvedge_pipeline::exp::exp;

use super::step::{Function, Precision, Step, ZERO};
use super::{Answer, OutputKind, Pipeline};

/// The answers of a call, row-major: a row of the outputs of this kind for each of `count` candidates. `shared` and
/// `candidates` hold the inputs of the scope in their order.
///
/// # Errors
///
/// When there are no outputs of this kind, or the rows are not as wide as the inputs.
pub fn evaluate(
    pipeline: &Pipeline,
    output: OutputKind,
    shared: &[f64],
    candidates: &[f64],
    count: usize,
) -> Result<Vec<f64>, String> {
    let answers = pipeline.answers(output).ok_or("the pipeline has no such outputs")?;
    let widths = [Scope::Shared, Scope::Candidate].map(|scope| pipeline.width_of(scope));
    if shared.len() != widths[0] || Some(candidates.len()) != count.checked_mul(widths[1]) {
        return Err(format!("the pipeline takes {} shared columns and {} a candidate", widths[0], widths[1]));
    }
    let scopes = pipeline.scopes();
    let row = |candidate: usize| {
        let own = &candidates[candidate * widths[1]..][..widths[1]];
        let tape = fill(pipeline, &scopes, join(pipeline, shared, own));
        answers.iter().map(|Answer { column, .. }| tape[*column as usize]).collect::<Vec<_>>()
    };
    Ok((0..count).flat_map(row).collect())
}

/// All columns of one row. `row` holds all inputs in their order, of whichever scope.
pub fn tape(pipeline: &Pipeline, row: &[f64]) -> Vec<f64> {
    fill(pipeline, &pipeline.scopes(), row.to_vec())
}

/// The row of all inputs in their order, of a call's shared row and a candidate's own.
pub fn join<'a>(pipeline: &Pipeline, mut shared: &'a [f64], mut own: &'a [f64]) -> Vec<f64> {
    let mut row = Vec::with_capacity(shared.len() + own.len());
    for input in &pipeline.inputs {
        let side = if input.scope() == Scope::Shared { &mut shared } else { &mut own };
        let (columns, rest) = side.split_at(input.width());
        row.extend_from_slice(columns);
        *side = rest;
    }
    row
}

fn fill(pipeline: &Pipeline, scopes: &[Scope], mut tape: Vec<f64>) -> Vec<f64> {
    for step in &pipeline.steps {
        let columns = columns(step, &tape, scopes);
        tape.extend(columns);
    }
    tape
}

/// What one step appends.
fn columns(step: &Step, tape: &[f64], scopes: &[Scope]) -> Vec<f64> {
    let at = |column: &u32| tape[*column as usize];
    let each = |columns: &[u32], f: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
        columns.iter().enumerate().map(|(i, column)| f(i, at(column))).collect()
    };
    match step {
        Step::Impute { columns, values } => each(columns, &|i, x| if x.is_nan() { values[i] } else { x }),
        Step::IsMissing { columns } => each(columns, &|_, x| f64::from(x.is_nan())),
        Step::ZeroIsMissing { columns } => each(columns, &|_, x| if x.abs() <= ZERO { f64::NAN } else { x }),
        Step::Scale { columns, subtract, divide, multiply, add } => each(columns, &|i, mut x| {
            if let Some(subtract) = subtract.get(i) {
                x -= subtract;
            }
            if let Some(divide) = divide.get(i) {
                x /= divide;
            }
            if let Some(multiply) = multiply.get(i) {
                x *= multiply;
            }
            if let Some(add) = add.get(i) {
                x += add;
            }
            x
        }),
        Step::Clip { columns, low, high } => each(columns, &|_, x| clip(x, *low, *high)),
        Step::Apply { columns, function } => each(columns, &|_, x| apply(*function, x)),
        Step::Products { terms } => terms.iter().map(|term| term.iter().map(at).fold(1.0, |a, x| a * x)).collect(),
        Step::Sums { terms } => terms.iter().map(|term| term.iter().map(at).fold(0.0, |a, x| a + x)).collect(),
        Step::Index { column, values } => vec![index(at(column), values)],
        Step::Bins { column, edges } => vec![bins(at(column), edges)],
        Step::OneHot { column, width, slots, other, missing } => {
            let x = at(column);
            let slot = if x.is_nan() { *missing } else { symbol(x, slots.len()).map_or(*other, |i| slots[i]) };
            (0..*width as i32).map(|i| f64::from(i == slot)).collect()
        }
        Step::Table { column, width, rows, other, missing } => {
            let (x, width) = (at(column), *width as usize);
            let known = |i: usize| &rows[i * width..][..width];
            let row = if x.is_nan() { missing } else { symbol(x, rows.len() / width).map_or(&other[..], known) };
            row.to_vec()
        }
        Step::Linear { columns, weights, intercept, precision } => {
            sums::linear(tape, scopes, columns, weights, intercept, *precision)
        }
        Step::Softmax { columns, precision } => softmax(columns.iter().map(at).collect(), *precision),
        Step::Normalize { columns } => normalize(columns.iter().map(at).collect()),
        Step::Interpolate { columns, x, y } => each(columns, &|_, value| interpolate(value, x, y)),
        Step::Prior { columns, kept } => each(columns, &|_, p| p / (p + (1.0 - p) / kept)),
        Step::Embedding { column, columns, vectors, cosine } => {
            vec![sums::embedding(at(column), columns.iter().map(at), vectors, *cosine)]
        }
        Step::Dot { a, b } => vec![f64::from(sums::dot32(a.iter().map(at), b.iter().map(at)))],
        Step::Trees(trees) => sums::trees(trees, tape),
    }
}

fn clip(x: f64, low: f64, high: f64) -> f64 {
    if x < low {
        low
    } else if x > high {
        high
    } else {
        x
    }
}

fn apply(function: Function, x: f64) -> f64 {
    match function {
        Function::Log => libm::log(x),
        Function::Log2 => libm::log2(x),
        Function::Log10 => libm::log10(x),
        Function::Log1p => libm::log1p(x),
        Function::Exp => exp(x),
        Function::Expm1 => libm::expm1(x),
        Function::Sqrt => x.sqrt(),
        Function::Square => x * x,
        Function::Abs => x.abs(),
        Function::Negate => -x,
        Function::Reciprocal => 1.0 / x,
        Function::Sigmoid => 1.0 / (1.0 + exp(-x)),
        Function::Tanh => libm::tanh(x),
        Function::Relu if x > 0.0 || x.is_nan() => x,
        Function::Relu => 0.0,
        Function::RoundF32 => f64::from(x as f32),
        Function::Trunc => x.trunc(),
    }
}

/// The index of a symbol of which there are `count`; `None` for another text. The value is not NaN.
fn symbol(x: f64, count: usize) -> Option<usize> {
    let index = (x >= 0.0).then_some(x as usize)?;
    (index < count).then_some(index)
}

fn index(x: f64, values: &[f64]) -> f64 {
    if x.is_nan() {
        return x;
    }
    let before = values.partition_point(|value| *value < x);
    if values.get(before).is_some_and(|value| *value == x) { before as f64 } else { -1.0 }
}

fn bins(x: f64, edges: &[f64]) -> f64 {
    if x.is_nan() { x } else { edges.partition_point(|edge| *edge <= x) as f64 }
}

fn softmax(mut x: Vec<f64>, precision: Precision) -> Vec<f64> {
    let max = x.iter().fold(f64::NEG_INFINITY, |max, x| if *x > max { *x } else { max });
    let round = |value: f64| if precision == Precision::F32 { f64::from(value as f32) } else { value };
    for x in &mut x {
        *x = round(exp(round(*x - max)));
    }
    let sum = round(x.iter().fold(0.0, |sum, x| sum + x));
    x.into_iter().map(|x| round(x / sum)).collect()
}

fn normalize(x: Vec<f64>) -> Vec<f64> {
    let sum = x.iter().fold(0.0, |sum, x| sum + x);
    let share = 1.0 / x.len() as f64;
    x.into_iter().map(|x| if sum == 0.0 { share } else { x / sum }).collect()
}

fn interpolate(value: f64, x: &[f64], y: &[f64]) -> f64 {
    if value.is_nan() {
        return value;
    }
    let right = x.partition_point(|x| *x <= value);
    if right == 0 || right == x.len() {
        return y[right.saturating_sub(1)];
    }
    let slope = (y[right] - y[right - 1]) / (x[right] - x[right - 1]);
    slope * (value - x[right - 1]) + y[right - 1]
}
