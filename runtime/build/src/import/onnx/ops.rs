//! The operators: what each computes of one row. Owns the list of them; `arithmetic`, `layers` and `shapes` have their meaning.

mod arithmetic;
mod layers;
mod shapes;

use super::graph::Walk;
use super::model::Node;
use super::value::{Constant, Value};
use crate::pipeline::step::Column;
use crate::pipeline::{Function, Step};
use arithmetic::Operation;

const SUPPORTED: &str = "Add, BatchNormalization, Concat, Constant, Div, Dropout, Flatten, Gather and Shape of shapes, Gemm, \
     Identity, MatMul, Mul, Relu, Reshape, Sigmoid, Softmax, Squeeze, Sub, Tanh, Transpose of constants, Unsqueeze";

/// Computes a node's first output.
pub(super) fn compute(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    if !matches!(node.domain, "" | "ai.onnx") {
        return Err(format!("an operator of {:?}; only ONNX's own are supported: {SUPPORTED}", node.domain));
    }
    match node.op {
        "Add" => arithmetic::compute(walk, node, Operation::Add),
        "Sub" => arithmetic::compute(walk, node, Operation::Sub),
        "Mul" => arithmetic::compute(walk, node, Operation::Mul),
        "Div" => arithmetic::compute(walk, node, Operation::Div),
        "Relu" => layers::activation(walk, node, Function::Relu),
        "Tanh" => layers::activation(walk, node, Function::Tanh),
        "Sigmoid" => layers::activation(walk, node, Function::Sigmoid),
        "Softmax" => layers::softmax(walk, node),
        "Gemm" => layers::gemm(walk, node),
        "MatMul" => layers::matmul(walk, node),
        "BatchNormalization" => layers::batch_normalization(walk, node),
        "Dropout" => layers::dropout(walk, node),
        "Identity" => walk.value(node, 0),
        "Constant" => constant(node),
        "Concat" => shapes::concat(walk, node),
        "Reshape" => shapes::reshape(walk, node),
        "Flatten" => shapes::flatten(walk, node),
        "Squeeze" => shapes::squeeze(walk, node),
        "Unsqueeze" => shapes::unsqueeze(walk, node),
        "Transpose" => shapes::transpose(walk, node),
        "Shape" => shapes::shape(walk, node),
        "Gather" => shapes::gather(walk, node),
        _ => Err(format!("the operator is not supported; supported are {SUPPORTED}")),
    }
}

/// A function of every column.
pub(super) fn apply(columns: &[Column], function: Function) -> Step {
    Step::Apply { columns: columns.to_vec(), function }
}

fn constant(node: &Node<'_>) -> Result<Value, String> {
    let scalar = |float: f32| Constant { dims: Vec::new(), data: [f64::from(float)].into() };
    if let Some(tensor) = node.tensor("value") {
        Value::read(tensor)
    } else if let Some(float) = node.float("value_float") {
        Ok(Value::Floats(scalar(float)))
    } else if let Some(int) = node.int("value_int") {
        Ok(Value::Ints(Constant { dims: Vec::new(), data: [int].into() }))
    } else if let Some(floats) = node.floats("value_floats") {
        Ok(Value::Floats(Constant::list(floats.iter().map(|float| f64::from(*float)).collect())))
    } else if let Some(ints) = node.ints("value_ints") {
        Ok(Value::Ints(Constant::list(ints.to_vec())))
    } else {
        Err("it has no value of numbers".into())
    }
}

/// An axis of a tensor of `rank` dimensions; a negative one counts from the end.
fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(from_start)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("axis {axis} of a tensor with {rank} dimensions"))
}
