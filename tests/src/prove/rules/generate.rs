//! Files inside of the profile, and inputs that try them. Owns what a case is; the shapes of graphs are `generate/graphs.rs`,
//! cells and expressions `generate/cells.rs`.

mod cells;
mod graphs;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::cells::{Kind, number_text};
use self::graphs::Shape;
use crate::harness::Random;

/// The inputs by name.
const INPUTS: [(&str, &str, Kind); 6] = [
    ("user", "age", Kind::Number),
    ("user", "segment", Kind::Text),
    ("user", "vip", Kind::Flag),
    ("item", "price", Kind::Number),
    ("item", "category", Kind::Text),
    ("context", "n", Kind::Number),
];

/// Candidates of one request.
const CANDIDATES: usize = 4;

/// A file and contexts for it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Case {
    pub(super) graph: Value,
    pub(super) contexts: Vec<Value>,
    /// For a table that collects: how each output's values become one.
    #[serde(default)]
    collect: Map<String, Value>,
    /// What the refusal may say when the file is refused; nothing when it may not be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) may_be_refused: Vec<String>,
}

// === impl Case ===

impl Case {
    /// What zen's result says of outputs: those that have a value, by name.
    pub(super) fn expected<'n>(&self, result: &Value, names: impl Iterator<Item = &'n str>) -> Map<String, Value> {
        let mut named = Map::new();
        if let Value::Array(rows) = result {
            for (output, aggregate) in &self.collect {
                let values = rows.iter().filter_map(|row| row.get(output).filter(|value| !value.is_null()));
                let numbers = || values.clone().filter_map(Value::as_f64);
                let value = match aggregate.as_str() {
                    Some("sum") => Some(numbers().sum::<f64>() + 0.0),
                    Some("count") => Some(values.clone().count() as f64),
                    Some("min") => numbers().reduce(f64::min),
                    _ => numbers().reduce(f64::max),
                };
                named.extend(value.map(|value| (output.clone(), Value::from(value))));
            }
            return named;
        }
        for name in names {
            let value = name.split('.').try_fold(result, |group, part| group.get(part));
            match value {
                None | Some(Value::Null) => {}
                Some(Value::Number(number)) => {
                    drop(named.insert(name.to_owned(), Value::from(number.as_f64().unwrap_or(f64::NAN) + 0.0)));
                }
                Some(other) => drop(named.insert(name.to_owned(), other.clone())),
            }
        }
        named
    }
}

/// A case.
pub(super) fn case(random: &mut Random, number: usize, requests: usize) -> Case {
    let Shape { nodes, edges, outputs, collect, may_be_refused } = graphs::shape(random, number);
    let outputs: Map<String, Value> = outputs.into_iter().map(|name| (name.to_owned(), json!({}))).collect();
    let inputs = INPUTS.iter().map(|(group, name, kind)| {
        let mut def = json!({ "type": kind.word() });
        if *kind == Kind::Text {
            // A file whose cells name no text at all may still hand one on.
            def["symbols"] = json!(["vip"]);
        }
        (format!("{group}.{name}"), def)
    });
    let inputs: Map<String, Value> = inputs.collect();
    let mut settings = json!({ "inputs": inputs, "outputs": outputs });
    if !collect.is_empty() {
        settings["collect"] = json!({ "T": collect });
    }
    let graph = json!({ "contentType": "application/vnd.gorules.decision", "nodes": nodes, "edges": edges, "x-selvedge": settings });
    let contexts = (0..requests).flat_map(|_| request(random)).collect();
    let may_be_refused = may_be_refused.into_iter().map(str::to_owned).collect();
    Case { graph, contexts, collect, may_be_refused }
}

/// The contexts of one request, one for each candidate.
fn request(random: &mut Random) -> Vec<Value> {
    let mut shared = json!({});
    for (group, name, kind) in INPUTS.iter().filter(|(group, ..)| *group != "item") {
        shared[group][name] = value(random, *kind);
    }
    let candidate = |random: &mut Random| {
        let mut context = shared.clone();
        for (group, name, kind) in INPUTS.iter().filter(|(group, ..)| *group == "item") {
            context[group][name] = value(random, *kind);
        }
        context
    };
    (0..CANDIDATES).map(|_| candidate(random)).collect()
}

fn value(random: &mut Random, kind: Kind) -> Value {
    match kind {
        _ if random.below(8) == 0 => Value::Null,
        Kind::Number => serde_json::from_str(&number_text(random)).unwrap_or_default(),
        Kind::Flag => Value::from(random.below(2) == 1),
        Kind::Text => Value::from(*random.pick(&cells::TEXTS)),
    }
}
