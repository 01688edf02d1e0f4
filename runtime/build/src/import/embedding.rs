//! Item vectors: as JSON Lines (`{"id": "sku-1", "vector": [0.1, …]}`) or CSV (`id,v0,v1,…`). Owns both notations and the
//! model made of them: the dot product, or the cosine, of the candidate's vector and the user's.

mod csv;
mod lines;

use std::collections::HashMap;

use selvedge_decision::manifest::{Kind, Scope};

use super::tape::Tape;
use super::{BadModel, names};
use crate::pipeline::{Answer, Answers, MAX_SYMBOLS, Pipeline, PipelineInput, Step};

/// The input that says which vector is meant, unless it is named otherwise.
const ID: &str = "candidate.id";
/// The input that it is multiplied with, unless it is named otherwise.
const USER: &str = "user.vector";
/// The longest vector.
const MAX_LEN: usize = 65_536;

/// How two vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Metric {
    #[default]
    Dot,
    Cosine,
}

/// The vectors read so far.
#[derive(Debug, Default)]
struct Vectors {
    metric: Metric,
    /// The length of every vector; 0 before the first.
    len: usize,
    ids: Vec<String>,
    /// The line in which each id stands.
    lines: HashMap<String, usize>,
    /// Row-major.
    values: Vec<f64>,
}

/// Whether a file holds vectors: its first line that is none of comment and blank begins a record with an id.
pub(super) fn is_one(text: &[u8]) -> bool {
    lines::is_one(text) || csv::is_one(text)
}

/// Reads a file of vectors. `names` are those of the id input and the user's vector, or of the user's vector alone.
///
/// # Errors
///
/// With the line and what is wrong there.
pub fn read(bytes: &[u8], names: Option<&[String]>) -> Result<Pipeline, BadModel> {
    let text = std::str::from_utf8(bytes).map_err(|error| BadModel::whole(format!("not UTF-8: {error}")))?;
    let vectors = if lines::is_one(bytes.trim_ascii_start()) { lines::read(text)? } else { csv::read(text)? };
    if vectors.ids.is_empty() {
        return Err(BadModel::whole("no vector stands in it"));
    }
    let (id, user) = match names {
        None => (ID, USER),
        Some([user]) => (ID, user.as_str()),
        Some(given) => {
            names::fit(given, 2)?;
            (given[0].as_str(), given[1].as_str())
        }
    };
    pipeline(vectors, id, user)
}

fn pipeline(vectors: Vectors, id: &str, user: &str) -> Result<Pipeline, BadModel> {
    let Vectors { metric, len, ids, mut values, .. } = vectors;
    let cosine = metric == Metric::Cosine;
    if cosine {
        values.chunks_exact_mut(len).for_each(normalise);
    }
    // The vectors are the candidates', whatever the input is called.
    let id = PipelineInput { scope: Some(Scope::Candidate), ..PipelineInput::symbol(id, ids) };
    let user = PipelineInput { kind: Kind::Vector, len: Some(len as u32), ..PipelineInput::number(user) };
    let mut tape = Tape::new(vec![id, user]);
    let step = Step::Embedding { column: 0, columns: (1..=len as u32).collect(), vectors: values, cosine };
    let score = tape.push(step).map_err(BadModel::whole)?.start;
    let margin = vec![Answer { name: "score".into(), column: score }];
    tape.finish("embedding", None, Answers { margin, probability: Vec::new() })
}

/// To length 1; the zero vector stays. Scaled by its largest value first, so that no square overflows.
fn normalise(vector: &mut [f64]) {
    let largest = vector.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if largest == 0.0 {
        return;
    }
    let norm = vector.iter().map(|value| (value / largest) * (value / largest)).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|value| *value = *value / largest / norm);
}

// === impl Vectors ===

impl Vectors {
    /// Adds the vector that stands in `line`.
    fn push(&mut self, line: usize, id: String, vector: &[f64]) -> Result<(), BadModel> {
        let bad = |why: String| Err(BadModel::new(format!("line {line}"), why));
        if id.is_empty() || id.contains('\0') {
            return bad("the id is empty, or has a U+0000 in it".into());
        }
        if let Some(before) = self.lines.insert(id.clone(), line) {
            return bad(format!("the id {id:?} stands in line {before} already"));
        }
        if self.ids.len() == MAX_SYMBOLS {
            return bad(format!(
                "more than {MAX_SYMBOLS} vectors, which is what a module can tell apart; split the catalogue, or keep the vectors as a feature of the view and let the input be `item.vector`"
            ));
        }
        if self.ids.is_empty() {
            self.len = vector.len();
        }
        if vector.is_empty() || vector.len() > MAX_LEN {
            return bad(format!("a vector of {} numbers; between 1 and {MAX_LEN} are expected", vector.len()));
        }
        if vector.len() != self.len {
            return bad(format!("a vector of {} numbers, those before it have {}", vector.len(), self.len));
        }
        if let Some(i) = vector.iter().position(|value| !(*value as f32).is_finite()) {
            return bad(format!("number {i} of the vector, {}, is beyond the range of f32", vector[i]));
        }
        self.ids.push(id);
        self.values.extend_from_slice(vector);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
