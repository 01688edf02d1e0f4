//! Rules as people write them: what cells and graphs mean, what is refused and how it is told, what lints find, CSV, tests,
//! and files that are meant to hurt.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "rules/csv.rs"]
mod csv;
#[path = "rules/hostile.rs"]
mod hostile;
#[path = "rules/lints.rs"]
mod lints;
#[path = "rules/meaning.rs"]
mod meaning;
#[path = "rules/refused.rs"]
mod refused;
#[path = "rules/tests.rs"]
mod tests;

use selvedge_build::rules::{self, Rules, trial};
use serde_json::{Map, Value, json};

/// The inputs that the tests' tables may name.
fn inputs() -> Value {
    json!({
        "user.age": "number", "user.segment": "symbol", "user.vip": "flag", "item.price": "number",
        "item.kind": { "type": "symbol", "symbols": ["vip", "bag"] },
    })
}

/// A file of one table: heads of inputs and outputs, and rows of cells.
fn table(inputs_: &[&str], outputs: &[&str], rows: &[&[&str]]) -> Value {
    let heads = |prefix: &str, fields: &[&str]| -> Vec<Value> {
        let fields = fields.iter().enumerate();
        fields.map(|(at, field)| json!({ "id": format!("{prefix}{at}"), "name": field, "field": field })).collect()
    };
    let rules: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(row, cells)| {
            let mut rule = Map::from_iter([("_id".to_owned(), Value::from(format!("r{row}")))]);
            for (at, cell) in cells.iter().enumerate() {
                let id = if at < inputs_.len() { format!("i{at}") } else { format!("o{}", at - inputs_.len()) };
                rule.insert(id, Value::from(*cell));
            }
            Value::from(rule)
        })
        .collect();
    let content = json!({
        "hitPolicy": "first", "inputs": heads("i", inputs_), "outputs": heads("o", outputs), "rules": rules,
    });
    json!({
        "nodes": [
            { "id": "in", "type": "inputNode", "name": "in" },
            { "id": "t", "type": "decisionTableNode", "name": "T", "content": content },
            { "id": "out", "type": "outputNode", "name": "out" },
        ],
        "edges": [{ "id": "a", "sourceId": "in", "targetId": "t" }, { "id": "b", "sourceId": "t", "targetId": "out" }],
        "x-selvedge": { "inputs": inputs() },
    })
}

fn read(file: &Value) -> Result<Rules, String> {
    rules::read("r.jdm.json", file.to_string().as_bytes()).map_err(|bad| bad.to_string())
}

#[track_caller]
fn refused(file: &Value, expected: &str) {
    let error = read(file).expect_err("this is refused");
    assert!(error.contains(expected), "{error}\nexpected {expected}");
}

/// A file of these nodes between `in` and `out`, and edges such as `in>S S.s0>A A>out`.
fn graph(nodes: &[Value], edges: &str) -> Value {
    let ends =
        [("in", "inputNode"), ("out", "outputNode")].map(|(id, kind)| json!({ "id": id, "type": kind, "name": id }));
    let edge = |written: &str| {
        let (from, to) = written.split_once('>').unwrap();
        let (from, handle) = from.split_once('.').map_or((from, None), |(from, handle)| (from, Some(handle)));
        json!({ "id": written, "sourceId": from, "targetId": to, "sourceHandle": handle })
    };
    let edges: Vec<Value> = edges.split_whitespace().map(edge).collect();
    let nodes: Vec<&Value> = ends.iter().chain(nodes).collect();
    json!({ "nodes": nodes, "edges": edges, "x-selvedge": { "inputs": inputs() } })
}

/// An expression node.
fn keys(id: &str, keys: &[(&str, &str)], pass: bool) -> Value {
    let expressions: Vec<Value> = keys.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    json!({ "id": id, "type": "expressionNode", "name": id, "content": { "expressions": expressions, "passThrough": pass } })
}

/// A switch with statements `s0`, `s1`, …
fn switch(id: &str, hit: &str, conditions: &[&str]) -> Value {
    let conditions = conditions.iter().enumerate();
    let statements: Vec<Value> =
        conditions.map(|(at, condition)| json!({ "id": format!("s{at}"), "condition": condition })).collect();
    json!({ "id": id, "type": "switchNode", "name": id, "content": { "hitPolicy": hit, "statements": statements } })
}

/// The table of a file of one, as a node of another.
fn table_node(id: &str, inputs: &[&str], outputs: &[&str], rows: &[&[&str]]) -> Value {
    let mut node = table(inputs, outputs, rows)["nodes"][1].clone();
    node["id"] = json!(id);
    node["name"] = json!(id);
    node
}

/// The outputs of a table for one input, as JSON.
#[track_caller]
fn answers(file: &Value, input: Value, expected: Value) {
    let rules = read(file).unwrap();
    let case = json!({ "name": "", "input": input, "expect": expected });
    let tried = trial::run(&rules.program, &serde_json::from_value(case).unwrap()).unwrap();
    assert!(tried.wrong.is_empty(), "{:?}", tried.wrong);
}
