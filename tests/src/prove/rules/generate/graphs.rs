//! Graphs of every shape that the profile has. Owns which node sees which names: what is not handed on is not there.

use serde_json::{Map, Value, json};

use super::INPUTS;
use super::cells::{self, Kind};
use crate::harness::Random;

/// A file's nodes and edges, the outputs that are compared, and how a table that collects does.
pub(super) struct Shape {
    pub(super) nodes: Vec<Value>,
    pub(super) edges: Vec<Value>,
    pub(super) outputs: Vec<&'static str>,
    pub(super) collect: Map<String, Value>,
    /// What the refusal may say, where GoRules' answer would hang on what is not told.
    pub(super) may_be_refused: Vec<&'static str>,
}

/// Names and their types.
type Names = Vec<(String, Kind)>;

/// A table's columns.
struct Columns {
    inputs: Names,
    outputs: Vec<(&'static str, Kind)>,
}

/// A graph; all shapes come round.
pub(super) fn shape(random: &mut Random, number: usize) -> Shape {
    match number % 12 {
        0 => one_table(random),
        1 => collecting_table(random),
        2 => table_then_keys(random),
        3 => keys_then_table(random),
        4 => branches(random, true),
        5 => branches(random, false),
        6 => several_branches(random),
        7 => join(random),
        8 => groups(random),
        9 => group_again(random),
        10 => group_or_value(random),
        _ => gate(random),
    }
}

fn input() -> Value {
    json!({ "id": "in", "type": "inputNode", "name": "Request" })
}

fn output() -> Value {
    json!({ "id": "out", "type": "outputNode", "name": "Response" })
}

/// Edges such as `in-T`, or `S:s0-A` from a statement of a switch.
fn edges(written: &[&str]) -> Vec<Value> {
    let edge = |written: &&str| {
        let (from, to) = written.split_once('-').unwrap_or_default();
        let (from, handle) = from.split_once(':').map_or((from, None), |(from, handle)| (from, Some(handle)));
        let mut edge = json!({ "id": written, "type": "edge", "sourceId": from, "targetId": to });
        if let Some(handle) = handle {
            edge["sourceHandle"] = Value::from(handle);
        }
        edge
    };
    written.iter().map(edge).collect()
}

fn shape_of(nodes: Vec<Value>, edges_: &[&str], outputs: &[&'static str]) -> Shape {
    let nodes = std::iter::once(input()).chain(nodes).chain([output()]).collect();
    Shape { nodes, edges: edges(edges_), outputs: outputs.to_vec(), collect: Map::new(), may_be_refused: Vec::new() }
}

fn inputs() -> Names {
    INPUTS.iter().map(|(group, name, kind)| (format!("{group}.{name}"), *kind)).collect()
}

fn own(names: &[(&str, Kind)]) -> Names {
    names.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
}

fn columns(random: &mut Random, outputs: &[(&'static str, Kind)], names: &[(String, Kind)]) -> Columns {
    let count = 1 + random.below(4);
    let inputs = (0..count).map(|_| {
        if random.below(8) == 0 {
            // Each cell is a statement of its own.
            return (String::new(), Kind::Flag);
        }
        let (name, kind) = random.pick(names).clone();
        let computed = kind != Kind::Text && random.below(5) == 0;
        (if computed { cells::value(random, kind, names, 1) } else { name }, kind)
    });
    Columns { inputs: inputs.collect(), outputs: outputs.to_vec() }
}

fn table(random: &mut Random, id: &str, columns: &Columns, names: &[(String, Kind)], more: Value) -> Value {
    let rows = 1 + random.below(8);
    let rules: Vec<Value> = (0..rows)
        .map(|row| {
            let mut rule = json!({ "_id": format!("{id}{row}") });
            for (at, (name, kind)) in columns.inputs.iter().enumerate() {
                // The text of an input can be tested, that of a key cannot.
                rule[format!("i{at}")] = Value::from(match name.as_str() {
                    "" if coin(random) => String::new(),
                    "" => cells::value(random, Kind::Flag, names, 2),
                    name => cells::test(random, *kind, names, cells::is_input(name)),
                });
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
        "hitPolicy": "first",
        "inputs": heads("i", columns.inputs.iter().map(|(name, _)| name.as_str()).collect()),
        "outputs": heads("o", columns.outputs.iter().map(|(name, _)| *name).collect()),
        "rules": rules,
    });
    if let (Some(content), Value::Object(more)) = (content.as_object_mut(), more) {
        content.extend(more);
    }
    json!({ "id": id, "type": "decisionTableNode", "name": id, "content": content })
}

/// An expression node; a later key may read an earlier one as `$.key`.
fn keys(random: &mut Random, id: &str, keys: &[(&str, Kind)], names: &[(String, Kind)], more: Value) -> Value {
    let mut seen = names.to_vec();
    let expressions: Vec<Value> = keys
        .iter()
        .enumerate()
        .map(|(at, (key, kind))| {
            let value = cells::value(random, *kind, &seen, 2);
            seen.push((format!("$.{key}"), *kind));
            json!({ "id": format!("{id}{at}"), "key": key, "value": value })
        })
        .collect();
    let mut content = json!({ "expressions": expressions });
    if let (Some(content), Value::Object(more)) = (content.as_object_mut(), more) {
        content.extend(more);
    }
    json!({ "id": id, "type": "expressionNode", "name": id, "content": content })
}

/// A switch of so many statements; the last one always holds when there is a default.
fn switch(
    random: &mut Random,
    id: &str,
    hit: &str,
    statements: usize,
    default: bool,
    names: &[(String, Kind)],
) -> Value {
    let statements: Vec<Value> = (0..statements)
        .map(|at| {
            let is_default = default && at + 1 == statements;
            let condition = if is_default { String::new() } else { cells::value(random, Kind::Flag, names, 2) };
            json!({ "id": format!("s{at}"), "condition": condition })
        })
        .collect();
    json!({ "id": id, "type": "switchNode", "name": id, "content": { "hitPolicy": hit, "statements": statements } })
}

fn passes(pass: bool) -> Value {
    json!({ "passThrough": pass })
}

fn coin(random: &mut Random) -> bool {
    random.below(2) == 1
}

fn one_table(random: &mut Random) -> Shape {
    let columns = columns(random, &[("x", Kind::Number), ("y", Kind::Number), ("t", Kind::Text)], &inputs());
    let table = table(random, "T", &columns, &inputs(), json!({}));
    shape_of(vec![table], &["in-T", "T-out"], &["x", "y", "t"])
}

fn collecting_table(random: &mut Random) -> Shape {
    let columns = columns(random, &[("x", Kind::Number), ("y", Kind::Number), ("t", Kind::Text)], &inputs());
    let table = table(random, "T", &columns, &inputs(), json!({ "hitPolicy": "collect" }));
    let mut shape = shape_of(vec![table], &["in-T", "T-out"], &["x", "y", "t"]);
    for output in ["x", "y", "t"] {
        let word = if output == "t" { "count" } else { *random.pick(&["sum", "min", "max", "count"]) };
        shape.collect.insert(output.to_owned(), Value::from(word));
    }
    shape
}

fn table_then_keys(random: &mut Random) -> Shape {
    let columns = columns(random, &[("x", Kind::Number), ("t", Kind::Text), ("f", Kind::Flag)], &inputs());
    let table = table(random, "T", &columns, &inputs(), passes(true));
    let mut seen = inputs();
    seen.extend(own(&[("x", Kind::Number), ("t", Kind::Text)]));
    let keys = keys(random, "E", &[("y", Kind::Number), ("k", Kind::Text)], &seen, passes(true));
    shape_of(vec![table, keys], &["in-T", "T-E", "E-out"], &["x", "t", "f", "y", "k"])
}

fn keys_then_table(random: &mut Random) -> Shape {
    let given = [("a", Kind::Number), ("y", Kind::Number), ("k", Kind::Text)];
    let keys = keys(random, "E", &given, &inputs(), passes(true));
    let mut seen = inputs();
    seen.extend(own(&given));
    // `y` is given before: a row that does not fire leaves it.
    let columns = columns(random, &[("x", Kind::Number), ("y", Kind::Number)], &seen);
    let table = table(random, "T", &columns, &seen, passes(true));
    shape_of(vec![keys, table], &["in-E", "E-T", "T-out"], &["x", "y", "k"])
}

/// One of three ways, or none of them; `y` is given before and arrives by the ways that pass it.
fn branches(random: &mut Random, default: bool) -> Shape {
    let before = keys(random, "E", &[("y", Kind::Number)], &inputs(), passes(true));
    let mut seen = inputs();
    seen.extend(own(&[("y", Kind::Number)]));
    let switch = switch(random, "S", "first", 3, default, &seen);
    let outputs = [("x", Kind::Number), ("t", Kind::Text)];
    let columns = columns(random, &outputs, &seen);
    let pass = [0; 3].map(|_| coin(random));
    let nodes = vec![
        before,
        switch,
        table(random, "A", &columns, &seen, passes(pass[0])),
        keys(random, "B", &outputs, &seen, passes(pass[1])),
        table(random, "C", &columns, &seen, passes(pass[2])),
    ];
    let edges = ["in-E", "E-S", "S:s0-A", "S:s1-B", "S:s2-C", "A-out", "B-out", "C-out"];
    let outputs: &[&str] = if pass.contains(&true) { &["x", "t", "y"] } else { &["x", "t"] };
    shape_of(nodes, &edges, outputs)
}

/// Any of two ways, which give different names.
fn several_branches(random: &mut Random) -> Shape {
    let default = coin(random);
    let switch = switch(random, "S", "collect", 2, default, &inputs());
    let outputs = [("x", Kind::Number), ("t", Kind::Text)];
    let columns = columns(random, &outputs, &inputs());
    let [a, b] = [0; 2].map(|_| passes(coin(random)));
    let nodes = vec![
        switch,
        table(random, "A", &columns, &inputs(), a),
        keys(random, "B", &[("y", Kind::Number), ("k", Kind::Text)], &inputs(), b),
    ];
    shape_of(nodes, &["in-S", "S:s0-A", "S:s1-B", "A-out", "B-out"], &["x", "t", "y", "k"])
}

/// A way that may be taken and one that always is meet before the end: what only the first brings may be missing there.
fn join(random: &mut Random) -> Shape {
    let before = keys(random, "E", &[("a", Kind::Number)], &inputs(), passes(true));
    let mut seen = inputs();
    seen.extend(own(&[("a", Kind::Number)]));
    let (statements, hit) = (1 + random.below(2) as usize, *random.pick(&["first", "collect"]));
    let switch = switch(random, "S", hit, statements, false, &seen);
    let columns = columns(random, &[("x", Kind::Number), ("t", Kind::Text)], &seen);
    let pass = coin(random);
    let first = table(random, "A", &columns, &seen, passes(pass));
    let always = keys(random, "B", &[("y", Kind::Number), ("f", Kind::Flag)], &seen, passes(false));
    let mut here = own(&[("x", Kind::Number), ("t", Kind::Text), ("y", Kind::Number), ("f", Kind::Flag)]);
    // A second statement leads straight to where the ways meet, and passes all.
    if pass || statements == 2 {
        here.extend(seen);
    }
    let on = passes(coin(random));
    let given = [("k", Kind::Text), ("z", Kind::Number)];
    let joined = if coin(random) {
        keys(random, "J", &given, &here, on)
    } else {
        let columns = self::columns(random, &given, &here);
        table(random, "J", &columns, &here, on)
    };
    let mut edges = vec!["in-E", "E-S", "E-B", "S:s0-A", "A-J", "B-J", "J-out"];
    if statements == 2 {
        edges.push("S:s1-J");
    }
    shape_of(vec![before, switch, first, always, joined], &edges, &["k", "z"])
}

/// Groups of values: a node that reads one, a table that reads one and writes another.
fn groups(random: &mut Random) -> Shape {
    let of_user: Names = INPUTS
        .iter()
        .filter(|(group, ..)| *group == "user")
        .map(|(_, name, kind)| ((*name).to_owned(), *kind))
        .collect();
    let pass = coin(random);
    let given = [("a", Kind::Number), ("k", Kind::Text)];
    let more = json!({ "inputField": "user", "outputPath": "g", "passThrough": true });
    let first = keys(random, "E", &given, &of_user, more);
    let in_group = own(&given);
    let columns = columns(random, &[("x", Kind::Number), ("t", Kind::Text)], &in_group);
    let more = json!({ "inputField": "g", "outputPath": "r.s", "passThrough": pass });
    let table = table(random, "T", &columns, &in_group, more);
    let outputs: &[&str] = if pass { &["r.s.x", "r.s.t", "g.a", "g.k"] } else { &["r.s.x", "r.s.t"] };
    shape_of(vec![first, table], &["in-E", "E-T", "T-out"], outputs)
}

/// A table that writes into a group that is there already, or meets it: what becomes of the group when no row fires.
fn group_again(random: &mut Random) -> Shape {
    let path = *random.pick(&["user", "g", "g.h"]);
    let given = [("a", Kind::Number), ("k", Kind::Text)];
    let before = keys(random, "E", &given, &inputs(), json!({ "outputPath": "g", "passThrough": true }));
    let mut seen = inputs();
    seen.extend(own(&[("g.a", Kind::Number), ("g.k", Kind::Text)]));
    let (pass, meets) = (coin(random), coin(random));
    let columns = columns(random, &[("x", Kind::Number), ("t", Kind::Text)], &seen);
    let mut table = table(random, "T", &columns, &seen, json!({ "outputPath": path, "passThrough": pass }));
    let last = json!({ "_id": "last", "o0": cells::number_text(random), "o1": "'vip'" });
    let is_sure = coin(random);
    if let Some(rules) = table["content"]["rules"].as_array_mut() {
        // Of two rows, often none fires.
        rules.truncate(2);
        rules.extend(is_sure.then_some(last));
    }
    let mut here = if pass || meets { seen } else { Names::new() };
    here.extend([(format!("{path}.x"), Kind::Number), (format!("{path}.t"), Kind::Text)]);
    let mut joined = keys(random, "J", &[("z", Kind::Number), ("q", Kind::Text)], &here, passes(false));
    if pass || meets {
        let read = if path == "user" { "user.age ?? 100" } else { "g.a ?? 100" };
        joined["content"]["expressions"][0]["value"] = Value::from(read);
    }
    let mut edges = vec!["in-E", "E-T", "T-J", "J-out"];
    if meets {
        edges.push("E-J");
    }
    let shape = shape_of(vec![before, table, joined], &edges, &["z", "q"]);
    Shape { may_be_refused: vec!["GoRules takes all of", "GoRules may take all of"], ..shape }
}

/// A node that gives a value in the place of a group of inputs, or a group in the place of an input.
fn group_or_value(random: &mut Random) -> Shape {
    let key = *random.pick(&["user", "user.age.n", "item", "context.n.n", "user.x"]);
    let pass = coin(random);
    let given = [(key, Kind::Number), ("a", Kind::Number)];
    let first = if coin(random) {
        keys(random, "E", &given, &inputs(), passes(pass))
    } else {
        let columns = columns(random, &given, &inputs());
        table(random, "E", &columns, &inputs(), passes(pass))
    };
    let mut seen = inputs();
    seen.extend(own(&[("a", Kind::Number)]));
    let mut last = keys(random, "J", &[("z", Kind::Number), ("q", Kind::Text)], &seen, passes(false));
    let read = *random.pick(&["user.age ?? 100", "item.price ?? 100", "context.n ?? 100"]);
    last["content"]["expressions"][0]["value"] = Value::from(read);
    let mut edges = vec!["in-E", "E-J", "J-out"];
    if !pass {
        edges.push("in-J");
    }
    let shape = shape_of(vec![first, last], &edges, &["z", "q"]);
    Shape { may_be_refused: vec!["one is a value, the other a group of values"], ..shape }
}

/// A switch that leads straight to the answer: what was given before arrives or not.
fn gate(random: &mut Random) -> Shape {
    let given = [("x", Kind::Number), ("t", Kind::Text)];
    let pass = coin(random);
    let before = keys(random, "E", &given, &inputs(), passes(pass));
    let mut seen = own(&given);
    if pass {
        seen.extend(inputs());
    }
    let hit = *random.pick(&["first", "collect"]);
    let switch = switch(random, "S", hit, 2, false, &seen);
    let beside = keys(random, "B", &[("y", Kind::Number)], &inputs(), passes(false));
    let nodes = vec![before, switch, beside];
    if coin(random) {
        shape_of(nodes, &["in-E", "E-S", "S:s0-out", "in-B", "B-out", "S:s1-out"], &["x", "t", "y"])
    } else {
        let second = keys(random, "F", &[("k", Kind::Text)], &seen, passes(true));
        let nodes = nodes.into_iter().chain([second]).collect();
        shape_of(nodes, &["in-E", "E-S", "S:s0-out", "in-B", "B-out", "S:s1-F", "F-out"], &["x", "t", "y", "k"])
    }
}
