//! ONNX files of small networks, as PyTorch exports them. Owns how a graph's inputs and outputs become the pipeline's; `wire`
//! and `model` read the file, `value` has tensors, `graph` walks the nodes, `ops` knows the operators.
//!
//! Every tensor that depends on an input has the batch as its first dimension, and one row of it is a list of columns: what
//! mixes rows is refused. Weights and sums are f32, as in the runtime the file was made for, though summed in another order;
//! what stands between two sums is not rounded again.

mod graph;
mod model;
mod ops;
mod value;
mod wire;

use selvedge_decision::manifest::Kind;

use super::tape::Tape;
use super::{BadModel, MAX_FEATURES, names};
use crate::pipeline::step::Column;
use crate::pipeline::{Answer, Answers, MAX_OUTPUTS, Pipeline, PipelineInput};
use graph::Walk;
use model::{FLOAT, Port};
use value::{Rows, size, type_name};

/// The operator sets whose meaning `ops` has.
const OLDEST_OPSET: i64 = 11;
const NEWEST_OPSET: i64 = 23;

/// The longest name of an input or output, in bytes: each of its numbers is called after it.
const MAX_NAME: usize = 1_000;

/// Whether a file is a message with the fields of a model.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    model::is_one(bytes)
}

/// Reads an ONNX model.
///
/// A graph's input of one number is an input of its name, a longer one becomes the numbers `NAME_0`, `NAME_1`, …; `names`
/// renames the numbers of all inputs in their order or, where there are as many names as inputs, makes each a vector of that
/// name. An output that a sigmoid or softmax ends with is a probability, and what that reads is its margin.
///
/// # Errors
///
/// With the node and its operator, or the path inside the file, and what is wrong there.
pub fn read(bytes: &[u8], names: Option<&[String]>) -> Result<Pipeline, BadModel> {
    let model = model::model(bytes)?;
    let opset = model.opset.unwrap_or_default();
    if !(OLDEST_OPSET..=NEWEST_OPSET).contains(&opset) {
        let why = format!(
            "version {opset} of ONNX's operators; this builder reads {OLDEST_OPSET} to {NEWEST_OPSET}; export with \
             opset_version=17, for example"
        );
        return Err(BadModel::new("opset_import", why));
    }
    for (at, ports) in [("graph.input", &model.graph.inputs), ("graph.output", &model.graph.outputs)] {
        if let Some(i) = ports.iter().position(|port| port.name.len() > MAX_NAME) {
            let why = format!("a name of {} bytes, at most {MAX_NAME}", ports[i].name.len());
            return Err(BadModel::new(format!("{at}[{i}]"), why));
        }
    }
    let constants = graph::initializers(&model.graph)?;
    let ports: Vec<&Port<'_>> = model.graph.inputs.iter().filter(|port| !constants.contains_key(port.name)).collect();
    let shapes = ports.iter().map(|port| shape(port)).collect::<Result<Vec<_>, _>>()?;
    let inputs = inputs(&ports, &shapes, names)?;

    let mut walk = Walk::new(Tape::new(inputs), constants, opset);
    let mut first: Column = 0;
    for (port, (batch, dims)) in ports.iter().zip(shapes) {
        let end = first + size(&dims).unwrap_or(0) as Column;
        walk.input(port.name, batch, Rows::new(dims, (first..end).collect::<Vec<_>>()))?;
        first = end;
    }
    for (index, node) in model.graph.nodes.iter().enumerate() {
        walk.node(index, node)?;
    }
    let outputs = outputs(&walk, &model.graph.outputs)?;
    let made_by = [model.producer, model.producer_version].join(" ").trim().to_owned();
    walk.tape.finish("onnx", Some(made_by).filter(|made_by| !made_by.is_empty()), outputs)
}

/// The size of the batch, where it is fixed, and the dimensions of a row.
fn shape(port: &Port<'_>) -> Result<(Option<i64>, Vec<usize>), BadModel> {
    let bad = |why: String| Err(BadModel::new(format!("graph.input {:?}", port.name), why));
    if port.data_type != FLOAT {
        let why = format!(
            "its type is {}; only float (32 bits) is supported. Categories go in as numbers of their own, one-hot",
            type_name(port.data_type)
        );
        return bad(why);
    }
    let Some([batch, dims @ ..]) = port.dims.as_deref() else {
        return bad("it has no shape with a batch in it; [batch, features] is expected".into());
    };
    let row: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from((*dim)?).ok()).collect();
    match row.filter(|row| !row.is_empty()) {
        Some(row) if size(&row).is_some_and(|size| (1..=MAX_FEATURES).contains(&size)) => Ok((*batch, row)),
        Some(row) => bad(format!("a row of the shape {row:?}; between 1 and {MAX_FEATURES} numbers are expected")),
        None if dims.is_empty() => bad("its only dimension is the batch; [batch, features] is expected".into()),
        None => bad("only the first dimension, the batch, may be of any size".into()),
    }
}

fn inputs(
    ports: &[&Port<'_>],
    shapes: &[(Option<i64>, Vec<usize>)],
    given: Option<&[String]>,
) -> Result<Vec<PipelineInput>, BadModel> {
    let widths: Vec<usize> = shapes.iter().map(|(_, dims)| size(dims).unwrap_or(0)).collect();
    let total: usize = widths.iter().sum();
    if total > MAX_FEATURES {
        return Err(BadModel::new("graph.input", format!("{total} numbers in all, at most {MAX_FEATURES}")));
    }
    if let Some(given) = given.filter(|given| given.len() == ports.len() && given.len() != total) {
        names::fit(given, ports.len())?;
        let input = |(name, width): (&String, &usize)| match width {
            1 => PipelineInput::number(name),
            _ => PipelineInput { kind: Kind::Vector, len: Some(*width as u32), ..PipelineInput::number(name) },
        };
        return Ok(given.iter().zip(&widths).map(input).collect());
    }
    let mut in_file = Vec::with_capacity(total);
    for (port, width) in ports.iter().zip(widths) {
        match width {
            1 => in_file.push(port.name.to_owned()),
            _ => in_file.extend((0..width).map(|i| format!("{}_{i}", port.name))),
        }
    }
    let names = names::choose(given, in_file, "graph.input", total)?;
    Ok(names.into_iter().map(PipelineInput::number).collect())
}

fn outputs(walk: &Walk<'_>, ports: &[Port<'_>]) -> Result<Answers, BadModel> {
    let mut rows: Vec<(&str, &Rows)> = Vec::new();
    let mut total = 0;
    for port in ports {
        let bad = |why: String| BadModel::new(format!("graph.output {:?}", port.name), why);
        let own = walk.rows(port.name).ok_or_else(|| bad("it does not depend on an input".into()))?;
        // A few bytes can name a long row often: it is counted before any of its numbers gets a name.
        total += own.columns.len();
        if total > MAX_OUTPUTS || rows.len() == MAX_OUTPUTS {
            return Err(bad(format!("{total} numbers so far, at most {MAX_OUTPUTS} can be answered")));
        }
        if rows.iter().any(|(name, _)| *name == port.name) {
            return Err(bad("stands twice".into()));
        }
        rows.push((port.name, own));
    }
    let answers = |columns: fn(&Rows) -> &[Column]| {
        let mut answers = Vec::new();
        for (name, rows) in &rows {
            let columns = columns(rows);
            for (i, column) in columns.iter().enumerate() {
                let name = match (total, columns.len()) {
                    (1, _) => "score".to_owned(),
                    (_, 1) => (*name).to_owned(),
                    // The classes of the only output that ends with a softmax need no other name.
                    _ if ports.len() == 1 && rows.margins.is_some() => format!("class_{i}"),
                    _ => format!("{name}_{i}"),
                };
                answers.push(Answer { name, column: *column });
            }
        }
        answers
    };
    let margin = answers(|rows| rows.margins.as_deref().unwrap_or(&rows.columns));
    let is_linked = rows.iter().any(|(_, rows)| rows.margins.is_some());
    let probability = if is_linked { answers(|rows| &rows.columns) } else { Vec::new() };
    Ok(Answers { margin, probability })
}

#[cfg(test)]
mod tests;
