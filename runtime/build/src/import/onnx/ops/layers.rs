//! Layers and activations.

use std::rc::Rc;

use super::super::graph::Walk;
use super::super::model::Node;
use super::super::value::{Constant, Rows, Value, broadcast, places, size};
use super::{apply, axis};
use crate::pipeline::step::Column;
use crate::pipeline::{Function, Precision, Step};

/// A node's input that depends on the graph's.
fn rows(walk: &Walk<'_>, node: &Node<'_>, index: usize) -> Result<Rows, String> {
    match walk.value(node, index)? {
        Value::Rows(rows) => Ok(rows),
        Value::Floats(_) | Value::Ints(_) => {
            Err(format!("its input {index} is a constant; one that is given is expected"))
        }
    }
}

/// A node's input that is known.
fn weights(walk: &Walk<'_>, node: &Node<'_>, index: usize) -> Result<Constant<f64>, String> {
    match walk.value(node, index)? {
        Value::Floats(constant) => Ok(constant),
        Value::Rows(_) => {
            Err(format!("its input {index} depends on the graph's inputs; constant weights are expected"))
        }
        Value::Ints(_) => Err(format!("its input {index} is of integers; floats are expected")),
    }
}

pub(super) fn activation(walk: &mut Walk<'_>, node: &Node<'_>, function: Function) -> Result<Value, String> {
    let rows = rows(walk, node, 0)?;
    let input = walk.rounded(rows)?;
    let mut output = walk.push(input.dims.clone(), apply(&input.columns, function))?;
    if function == Function::Sigmoid {
        output.margins = Some(input.columns);
    }
    Ok(Value::Rows(output))
}

/// Over the last dimension; before opset 13 over all from `axis` on, which is 1 unless it is said.
pub(super) fn softmax(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let rows = rows(walk, node, 0)?;
    let input = walk.rounded(rows)?;
    let (is_flat, default) = if walk.opset < 13 { (true, 1) } else { (false, -1) };
    let over = axis(node.int("axis").unwrap_or(default), input.rank())?;
    let group = match over {
        0 => return Err("it normalises over the batch, which mixes its rows".into()),
        over if is_flat || over == input.dims.len() => size(&input.dims[over - 1..]).unwrap_or(0),
        over => return Err(format!("axis {over} is not the last one")),
    };
    let mut columns: Vec<Column> = Vec::with_capacity(input.columns.len());
    for group in input.columns.chunks(group.max(1)) {
        let step = Step::Softmax { columns: group.to_vec(), precision: Precision::F64 };
        columns.extend(walk.push(vec![group.len()], step)?.columns.iter());
    }
    let mut output = Rows::new(input.dims, columns);
    output.margins = Some(input.columns);
    Ok(Value::Rows(output))
}

/// `alpha A B + beta C`, the factors multiplied into the weights.
pub(super) fn gemm(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let (a, b) = (rows(walk, node, 0)?, weights(walk, node, 1)?);
    if node.int("transA").unwrap_or(0) != 0 {
        return Err("transA, which exchanges the batch with the features".into());
    }
    let is_transposed = node.int("transB").unwrap_or(0) != 0;
    let b = if is_transposed && b.dims.len() == 2 { b.transposed(&[1, 0]) } else { b };
    let [features, outputs] = b.dims[..] else {
        return Err(format!("weights of the shape {:?}; two dimensions are expected", b.dims));
    };
    let factor = |name: &str, constant: Constant<f64>| match node.float(name) {
        None | Some(1.0) => constant.data,
        Some(factor) => constant.data.iter().map(|value| f64::from(*value as f32 * factor)).collect::<Rc<[f64]>>(),
    };
    let intercept = match walk.optional(node, 2)? {
        None => vec![0.0; outputs],
        Some(_) => {
            let c = weights(walk, node, 2)?;
            let tail = match c.dims.as_slice() {
                [1, tail @ ..] if c.dims.len() == 2 => tail.to_vec(),
                dims if dims.len() < 2 => dims.to_vec(),
                dims => return Err(format!("a bias of the shape {dims:?}; one row is expected")),
            };
            if broadcast(&tail, &[outputs])? != [outputs] {
                return Err(format!("a bias of the shape {:?} for {outputs} outputs", c.dims));
            }
            let c = factor("beta", c);
            places(&tail, &[outputs]).iter().map(|place| c[*place]).collect()
        }
    };
    if a.dims.len() != 1 {
        return Err(format!("its input has {} dimensions; two are expected", a.rank()));
    }
    let b = factor("alpha", b);
    linear(walk, &a, &b, features, &intercept).map(Value::Rows)
}

/// The last dimension times a constant matrix.
pub(super) fn matmul(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let (a, b) = (rows(walk, node, 0)?, weights(walk, node, 1)?);
    let (features, outputs, is_vector) = match b.dims[..] {
        [features] => (features, 1, true),
        [features, outputs] => (features, outputs, false),
        _ => return Err(format!("weights of the shape {:?}; one or two dimensions are expected", b.dims)),
    };
    let mut output = linear(walk, &a, &b.data, features, &vec![0.0; outputs])?;
    if is_vector {
        output.dims.pop();
    }
    Ok(Value::Rows(output))
}

/// Every run of `features` columns times the weights (a row of outputs for each feature), plus the intercept.
fn linear(walk: &mut Walk<'_>, a: &Rows, weights: &[f64], features: usize, intercept: &[f64]) -> Result<Rows, String> {
    let outputs = intercept.len();
    match a.dims.last() {
        Some(last) if *last == features && features > 0 && outputs > 0 => {}
        last => return Err(format!("weights for {features} features and {outputs} outputs, its input has {last:?}")),
    }
    let by_output: Vec<f64> =
        (0..outputs).flat_map(|output| (0..features).map(move |i| weights[i * outputs + output])).collect();
    let mut columns: Vec<Column> = Vec::new();
    for run in a.columns.chunks(features) {
        walk.spend(by_output.len())?;
        let step = Step::Linear {
            columns: run.to_vec(),
            weights: by_output.clone(),
            intercept: intercept.to_vec(),
            precision: Precision::F32,
        };
        columns.extend(walk.push(vec![outputs], step)?.columns.iter());
    }
    let mut dims = a.dims.clone();
    dims.pop();
    dims.push(outputs);
    Ok(Rows::new(dims, columns))
}

/// `(x - mean) / sqrt(var + epsilon) * scale + bias` for each channel, which is the first dimension of a row.
pub(super) fn batch_normalization(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    if node.int("training_mode").unwrap_or(0) != 0 {
        return Err("it is in training mode; call model.eval() before the export".into());
    }
    let input = rows(walk, node, 0)?;
    let input = walk.rounded(input)?;
    let channels = *input.dims.first().ok_or("its input has no channels")?;
    let mut parameters = Vec::with_capacity(4);
    for index in 1..5 {
        let constant = weights(walk, node, index)?;
        if constant.dims != [channels] {
            return Err(format!("its input {index} has the shape {:?}, for {channels} channels", constant.dims));
        }
        parameters.push(constant.data);
    }
    let [scale, bias, mean, variance] = parameters.try_into().map_err(|_| "its parameters")?;
    let epsilon = f64::from(node.float("epsilon").unwrap_or(1e-5));
    let width = input.columns.len();
    walk.spend(width * 4)?;
    let each = |list: &dyn Fn(usize) -> f64| (0..width).map(|i| list(i * channels / width)).collect::<Vec<_>>();
    let divide = each(&|channel| (variance[channel] + epsilon).sqrt());
    if divide.iter().any(|value| value.is_nan() || *value <= 0.0) {
        return Err("a variance that is not above 0".into());
    }
    let step = Step::Scale {
        columns: input.columns.to_vec(),
        subtract: each(&|channel| mean[channel]),
        divide,
        multiply: each(&|channel| scale[channel]),
        add: each(&|channel| bias[channel]),
    };
    walk.push(input.dims, step).map(Value::Rows)
}

/// Nothing, unless it is in training mode.
pub(super) fn dropout(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    match walk.optional(node, 2)? {
        None => walk.value(node, 0),
        Some(Value::Ints(training)) if training.data.iter().all(|flag| *flag == 0) => walk.value(node, 0),
        Some(_) => Err("it is in training mode; call model.eval() before the export".into()),
    }
}
