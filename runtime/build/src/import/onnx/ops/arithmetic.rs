//! Add, Sub, Mul and Div, of constants and rows.

use super::super::graph::Walk;
use super::super::model::Node;
use super::super::value::{Constant, Rows, Value, broadcast, places};
use super::apply;
use crate::pipeline::step::Column;
use crate::pipeline::{Function, Step};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
}

pub(super) fn compute(walk: &mut Walk<'_>, node: &Node<'_>, operation: Operation) -> Result<Value, String> {
    match (walk.value(node, 0)?, walk.value(node, 1)?) {
        (Value::Rows(a), Value::Rows(b)) => both(walk, a, b, operation).map(Value::Rows),
        (Value::Rows(rows), Value::Floats(constant)) => with(walk, rows, &constant, operation, false).map(Value::Rows),
        (Value::Floats(constant), Value::Rows(rows)) => with(walk, rows, &constant, operation, true).map(Value::Rows),
        (Value::Floats(a), Value::Floats(b)) => constants(walk, &a, &b, operation),
        (..) => Err("its inputs are integers; only floats can be computed with".into()),
    }
}

/// Rows and a constant; `reversed` when the constant is the first.
fn with(
    walk: &mut Walk<'_>,
    rows: Rows,
    constant: &Constant<f64>,
    operation: Operation,
    reversed: bool,
) -> Result<Rows, String> {
    let rows = walk.rounded(rows)?;
    let tail = match constant.dims.as_slice() {
        [1, tail @ ..] if constant.dims.len() == rows.rank() => tail,
        dims if dims.len() < rows.rank() => dims,
        dims => return Err(format!("a constant of the shape {dims:?} has different numbers for different rows")),
    };
    let dims = broadcast(&rows.dims, tail)?;
    let mut columns: Vec<Column> = places(&rows.dims, &dims).iter().map(|place| rows.columns[*place]).collect();
    let numbers: Vec<f64> = places(tail, &dims).iter().map(|place| constant.data[*place]).collect();
    walk.spend(numbers.len())?;
    if operation == Operation::Div && reversed {
        columns = walk.push(dims.clone(), apply(&columns, Function::Reciprocal))?.columns.to_vec();
    }
    if operation == Operation::Div && !reversed && numbers.contains(&0.0) {
        return Err("a division by 0".into());
    }
    let none = Vec::new;
    let minus = vec![-1.0; numbers.len()];
    let (subtract, divide, multiply, add) = match (operation, reversed) {
        (Operation::Add, _) => (none(), none(), none(), numbers),
        (Operation::Sub, false) => (numbers, none(), none(), none()),
        (Operation::Sub, true) => (none(), none(), minus, numbers),
        (Operation::Mul, _) | (Operation::Div, true) => (none(), none(), numbers, none()),
        (Operation::Div, false) => (none(), numbers, none(), none()),
    };
    walk.push(dims, Step::Scale { columns, subtract, divide, multiply, add })
}

fn both(walk: &mut Walk<'_>, a: Rows, b: Rows, operation: Operation) -> Result<Rows, String> {
    if a.rank() != b.rank() {
        return Err(format!("tensors of {} and {} dimensions would mix the rows of a batch", a.rank(), b.rank()));
    }
    let (a, b) = (walk.rounded(a)?, walk.rounded(b)?);
    let dims = broadcast(&a.dims, &b.dims)?;
    let b = match operation {
        Operation::Add | Operation::Mul => b,
        Operation::Sub => walk.push(b.dims.clone(), apply(&b.columns, Function::Negate))?,
        Operation::Div => walk.push(b.dims.clone(), apply(&b.columns, Function::Reciprocal))?,
    };
    let pairs = places(&a.dims, &dims).into_iter().zip(places(&b.dims, &dims));
    let terms: Vec<Vec<Column>> = pairs.map(|(i, j)| vec![a.columns[i], b.columns[j]]).collect();
    walk.spend(2 * terms.len())?;
    let step = match operation {
        Operation::Add | Operation::Sub => Step::Sums { terms },
        Operation::Mul | Operation::Div => Step::Products { terms },
    };
    walk.push(dims, step)
}

/// Computed at once, in f32 as the network would.
fn constants(walk: &mut Walk<'_>, a: &Constant<f64>, b: &Constant<f64>, operation: Operation) -> Result<Value, String> {
    let dims = broadcast(&a.dims, &b.dims)?;
    let compute = |(i, j): (usize, usize)| {
        let (a, b) = (a.data[i] as f32, b.data[j] as f32);
        f64::from(match operation {
            Operation::Add => a + b,
            Operation::Sub => a - b,
            Operation::Mul => a * b,
            Operation::Div => a / b,
        })
    };
    let data: Vec<f64> = places(&a.dims, &dims).into_iter().zip(places(&b.dims, &dims)).map(compute).collect();
    walk.spend(data.len())?;
    match data.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("it computes {value} of constants")),
        None => Ok(Value::Floats(Constant { dims, data: data.into() })),
    }
}
