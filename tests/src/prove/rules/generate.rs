//! Files inside of the profile, and inputs that try them. Owns the shapes of graphs; cells and expressions are
//! `generate/cells.rs`.

mod cells;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::cells::{Kind, number_text};
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

/// A file and contexts for it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Case {
    pub(super) graph: Value,
    pub(super) contexts: Vec<Value>,
    /// For a table that collects: how each output's values become one.
    collect: Map<String, Value>,
}

/// A table's columns.
struct Columns {
    inputs: Vec<(String, Kind)>,
    outputs: Vec<(&'static str, Kind)>,
}

// === impl Case ===

impl Case {
    /// What zen's result says of the outputs: those that have a value, by name.
    pub(super) fn expected(&self, result: &Value) -> Map<String, Value> {
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
        for output in ["x", "y", "t", "f", "k"] {
            match result.get(output) {
                None | Some(Value::Null) => {}
                Some(Value::Number(number)) => {
                    drop(named.insert(output.to_owned(), Value::from(number.as_f64().unwrap_or(f64::NAN) + 0.0)));
                }
                Some(other) => drop(named.insert(output.to_owned(), other.clone())),
            }
        }
        named
    }
}

/// A case.
pub(super) fn case(random: &mut Random, number: usize, contexts: usize) -> Case {
    let mut collect = Map::new();
    let (nodes, edges, outputs) = match number % 5 {
        0 => one_table(random, "first"),
        1 => {
            for output in ["x", "y", "t"] {
                let word = if output == "t" { "count" } else { *random.pick(&["sum", "min", "max", "count"]) };
                collect.insert(output.to_owned(), Value::from(word));
            }
            one_table(random, "collect")
        }
        2 => table_then_keys(random),
        3 => keys_then_table(random),
        _ => branches(random),
    };
    let outputs: Map<String, Value> = outputs.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
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
    Case { graph, contexts: (0..contexts).map(|_| context(random)).collect(), collect }
}

fn context(random: &mut Random) -> Value {
    let mut context = json!({});
    for (group, name, kind) in INPUTS {
        let value = match kind {
            _ if random.below(8) == 0 => Value::Null,
            Kind::Number => serde_json::from_str(&number_text(random)).unwrap_or_default(),
            Kind::Flag => Value::from(random.below(2) == 1),
            Kind::Text => Value::from(*random.pick(&cells::TEXTS)),
        };
        context[group][name] = value;
    }
    context
}

fn input() -> Value {
    json!({ "id": "in", "type": "inputNode", "name": "Request" })
}

fn output() -> Value {
    json!({ "id": "out", "type": "outputNode", "name": "Response" })
}

fn edge(from: &str, to: &str, handle: Option<&str>) -> Value {
    let mut edge = json!({ "id": format!("{from}-{to}"), "type": "edge", "sourceId": from, "targetId": to });
    if let Some(handle) = handle {
        edge["sourceHandle"] = Value::from(handle);
    }
    edge
}

fn columns(random: &mut Random, outputs: &[(&'static str, Kind)], names: &[(String, Kind)]) -> Columns {
    let count = 1 + random.below(4);
    let inputs = (0..count).map(|_| {
        let (name, kind) = random.pick(names).clone();
        let computed = kind == Kind::Number && random.below(5) == 0;
        (if computed { cells::number(random, names, 1) } else { name }, kind)
    });
    Columns { inputs: inputs.collect(), outputs: outputs.to_vec() }
}

fn names() -> Vec<(String, Kind)> {
    INPUTS.iter().map(|(group, name, kind)| (format!("{group}.{name}"), *kind)).collect()
}

fn table(random: &mut Random, id: &str, hit: &str, columns: &Columns, names: &[(String, Kind)], more: &Value) -> Value {
    let rows = 1 + random.below(8);
    let rules: Vec<Value> = (0..rows)
        .map(|row| {
            let mut rule = json!({ "_id": format!("r{row}") });
            for (at, (name, kind)) in columns.inputs.iter().enumerate() {
                // The text of an input can be tested, that of a key cannot.
                let plain = INPUTS.iter().any(|(group, own, _)| format!("{group}.{own}") == *name);
                rule[format!("i{at}")] = Value::from(cells::test(random, *kind, names, plain));
            }
            for (at, (_, kind)) in columns.outputs.iter().enumerate() {
                let blank = random.below(6) == 0 && row > 0;
                rule[format!("o{at}")] =
                    Value::from(if blank { String::new() } else { cells::value(random, *kind, names, 2) });
            }
            rule
        })
        .collect();
    let heads = |prefix: &str, fields: Vec<&str>| -> Vec<Value> {
        fields
            .iter()
            .enumerate()
            .map(|(at, field)| json!({ "id": format!("{prefix}{at}"), "name": field, "field": field }))
            .collect()
    };
    let mut content = json!({
        "hitPolicy": hit,
        "inputs": heads("i", columns.inputs.iter().map(|(name, _)| name.as_str()).collect()),
        "outputs": heads("o", columns.outputs.iter().map(|(name, _)| *name).collect()),
        "rules": rules,
    });
    if let (Some(content), Some(more)) = (content.as_object_mut(), more.as_object()) {
        content.extend(more.clone());
    }
    json!({ "id": id, "type": "decisionTableNode", "name": id, "content": content })
}

fn keys(random: &mut Random, id: &str, keys: &[(&str, Kind)], names: &[(String, Kind)], pass: bool) -> Value {
    let expressions: Vec<Value> = keys
        .iter()
        .enumerate()
        .map(|(at, (key, kind))| {
            json!({ "id": format!("{id}{at}"), "key": key, "value": cells::value(random, *kind, names, 2) })
        })
        .collect();
    json!({ "id": id, "type": "expressionNode", "name": id, "content": { "expressions": expressions, "passThrough": pass } })
}

type Shape = (Vec<Value>, Vec<Value>, Vec<&'static str>);

fn one_table(random: &mut Random, hit: &str) -> Shape {
    let columns = columns(random, &[("x", Kind::Number), ("y", Kind::Number), ("t", Kind::Text)], &names());
    let table = table(random, "T", hit, &columns, &names(), &json!({}));
    (vec![input(), table, output()], vec![edge("in", "T", None), edge("T", "out", None)], vec!["x", "y", "t"])
}

fn table_then_keys(random: &mut Random) -> Shape {
    let columns = columns(random, &[("x", Kind::Number), ("t", Kind::Text), ("f", Kind::Flag)], &names());
    let table = table(random, "T", "first", &columns, &names(), &json!({ "passThrough": true }));
    let mut seen = names();
    seen.extend([("x".to_owned(), Kind::Number), ("t".to_owned(), Kind::Text)]);
    let keys = keys(random, "E", &[("y", Kind::Number), ("k", Kind::Text)], &seen, true);
    let edges = vec![edge("in", "T", None), edge("T", "E", None), edge("E", "out", None)];
    (vec![input(), table, keys, output()], edges, vec!["x", "t", "f", "y", "k"])
}

fn keys_then_table(random: &mut Random) -> Shape {
    let given = [("a", Kind::Number), ("y", Kind::Number), ("k", Kind::Text)];
    let keys = keys(random, "E", &given, &names(), true);
    let mut seen = names();
    seen.extend(given.map(|(name, kind)| (name.to_owned(), kind)));
    // `y` is given before: a row that does not fire leaves it.
    let columns = columns(random, &[("x", Kind::Number), ("y", Kind::Number)], &seen);
    let table = table(random, "T", "first", &columns, &seen, &json!({ "passThrough": true }));
    let edges = vec![edge("in", "E", None), edge("E", "T", None), edge("T", "out", None)];
    (vec![input(), keys, table, output()], edges, vec!["x", "y", "k"])
}

fn branches(random: &mut Random) -> Shape {
    let statements: Vec<Value> = (0..2)
        .map(|at| json!({ "id": format!("s{at}"), "condition": cells::value(random, Kind::Flag, &names(), 2) }))
        .chain([json!({ "id": "s2", "condition": "" })])
        .collect();
    let switch = json!({ "id": "S", "type": "switchNode", "name": "S", "content": { "hitPolicy": "first", "statements": statements } });
    let outputs = [("x", Kind::Number), ("t", Kind::Text)];
    let columns = columns(random, &outputs, &names());
    let a = table(random, "A", "first", &columns, &names(), &json!({}));
    let b = keys(random, "B", &outputs, &names(), false);
    let c = table(random, "C", "first", &columns, &names(), &json!({}));
    let edges = vec![
        edge("in", "S", None),
        edge("S", "A", Some("s0")),
        edge("S", "B", Some("s1")),
        edge("S", "C", Some("s2")),
        edge("A", "out", None),
        edge("B", "out", None),
        edge("C", "out", None),
    ];
    (vec![input(), switch, a, b, c, output()], edges, vec!["x", "t"])
}
