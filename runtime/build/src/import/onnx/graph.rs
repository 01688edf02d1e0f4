//! The walk over a graph's nodes. Owns which tensors are known at each node, what a walk may cost, and how a mistake names
//! its node.

use std::collections::HashMap;

use super::model::{Graph, Node};
use super::ops;
use super::value::{Rows, Value};
use crate::import::BadModel;
use crate::import::tape::Tape;
use crate::pipeline::Step;
use crate::pipeline::step::Column;

/// The most numbers that a graph's tensors, weights included, may have together: a few bytes can name a large tensor often.
const MAX_NUMBERS: usize = 32_000_000;

/// The state of a walk.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) tape: Tape,
    pub(super) opset: i64,
    /// The size of the batch, where the graph fixes it.
    pub(super) batch: Option<i64>,
    values: HashMap<&'a str, Value>,
    inputs: Column,
    spent: usize,
}

/// The graph's own constants.
pub(super) fn initializers<'a>(graph: &Graph<'a>) -> Result<HashMap<&'a str, Value>, BadModel> {
    let mut values = HashMap::new();
    for tensor in &graph.initializers {
        let bad = |why: String| BadModel::new(format!("graph.initializer {:?}", tensor.name), why);
        let value = Value::read(tensor).map_err(bad)?;
        if values.insert(tensor.name, value).is_some() {
            return Err(bad("stands twice".into()));
        }
    }
    Ok(values)
}

// === impl Walk ===

impl<'a> Walk<'a> {
    pub(super) fn new(tape: Tape, constants: HashMap<&'a str, Value>, opset: i64) -> Self {
        Self { tape, opset, batch: None, values: constants, inputs: 0, spent: 0 }
    }

    /// Takes an input of the graph.
    pub(super) fn input(&mut self, name: &'a str, batch: Option<i64>, rows: Rows) -> Result<(), BadModel> {
        self.inputs += rows.columns.len() as Column;
        self.batch = self.batch.or(batch);
        let at = || format!("graph.input {name:?}");
        if self.values.insert(name, Value::Rows(rows)).is_some() {
            return Err(BadModel::new(at(), "stands twice"));
        }
        Ok(())
    }

    /// Computes a node.
    pub(super) fn node(&mut self, index: usize, node: &Node<'a>) -> Result<(), BadModel> {
        let bad = |why: String| {
            let name = if node.name.is_empty() { node.outputs.first().copied().unwrap_or_default() } else { node.name };
            BadModel::new(format!("graph.node[{index}] {name:?} ({})", node.op), why)
        };
        let value = ops::compute(self, node).map_err(bad)?;
        let Some(output) = node.outputs.first().filter(|name| !name.is_empty()) else {
            return Err(bad("it has no output".into()));
        };
        if self.values.insert(output, value).is_some() {
            return Err(bad(format!("its output {output:?} stands twice")));
        }
        Ok(())
    }

    /// The tensor `name`, when it depends on an input.
    pub(super) fn rows(&self, name: &str) -> Option<&Rows> {
        match self.values.get(name) {
            Some(Value::Rows(rows)) => Some(rows),
            Some(Value::Floats(_) | Value::Ints(_)) | None => None,
        }
    }

    /// A node's input, which must be there.
    pub(super) fn value(&self, node: &Node<'_>, index: usize) -> Result<Value, String> {
        self.optional(node, index)?.ok_or_else(|| format!("its input {index} is left out"))
    }

    /// A node's input, `None` when it is left out.
    pub(super) fn optional(&self, node: &Node<'_>, index: usize) -> Result<Option<Value>, String> {
        match node.inputs.get(index).filter(|name| !name.is_empty()) {
            None => Ok(None),
            Some(name) => match self.values.get(name) {
                Some(value) => Ok(Some(value.clone())),
                None => Err(format!("it reads {name:?}, which no node before it makes")),
            },
        }
    }

    /// Counts numbers that are made.
    pub(super) fn spend(&mut self, numbers: usize) -> Result<(), String> {
        self.spent = self.spent.saturating_add(numbers);
        if self.spent > MAX_NUMBERS {
            return Err(format!("the network has more than {MAX_NUMBERS} weights and intermediate numbers"));
        }
        Ok(())
    }

    /// Appends a step; its columns in the shape `dims`.
    pub(super) fn push(&mut self, dims: Vec<usize>, step: Step) -> Result<Rows, String> {
        self.spend(step.width())?;
        let columns: Vec<Column> = self.tape.push(step)?.collect();
        Ok(Rows::new(dims, columns))
    }

    /// As the network sees a tensor: an input's own columns are rounded to f32.
    pub(super) fn rounded(&mut self, rows: Rows) -> Result<Rows, String> {
        if rows.columns.iter().all(|column| *column >= self.inputs) {
            return Ok(rows);
        }
        self.push(rows.dims, ops::apply(&rows.columns, crate::pipeline::Function::RoundF32))
    }
}
