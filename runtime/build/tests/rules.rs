//! Rules as people write them: what is refused and how it is told, what lints find, what cells mean, and CSV.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use selvedge_build::rules::{self, Code, Rules, lint, trial};
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

/// The outputs of a table for one input, as JSON.
#[track_caller]
fn answers(file: &Value, input: Value, expected: Value) {
    let rules = read(file).unwrap();
    let case = json!({ "name": "", "input": input, "expect": expected });
    let tried = trial::run(&rules.program, &serde_json::from_value(case).unwrap()).unwrap();
    assert!(tried.wrong.is_empty(), "{:?}", tried.wrong);
}

#[test]
fn mistakes_quote_table_row_and_column() {
    let check =
        |cell: &str, expected: &str| refused(&table(&["user.age"], &["x"], &[&["", "1"], &[cell, "1"]]), expected);
    check("'a'", "r.jdm.json: \"T\", row 2, column \"user.age\", `'a'`: the two sides of `==` are a number and a text");
    check("> 'a'", "`>` compares numbers, but a text stands beside it");
    check("[1..", "found the end, expected");
    check("5 6", "found `6` at character 3");
    check("user.aged", "nothing gives `user.aged`; declare it in x-selvedge");
    check("user.aged", "did you mean `user.age`?");
    check("lower($)", "the function `lower` is not in the profile");
    check("min(1, 2)", "write `min([a, b])`");
    check("round($, 2) == 1", "rounding to decimals is not exact");
    check("> 5 and", "expected a value");
    let check = |cell: &str, expected: &str| refused(&table(&["user.segment"], &["x"], &[&[cell, "1"]]), expected);
    check("5", "are a text and a number");
    check("[1..5]", "a range holds numbers");
    check("== user.vip", "a text and a flag");
    let check =
        |cell: &str, expected: &str| refused(&table(&["user.age"], &["boost"], &[&["", "1"], &["", cell]]), expected);
    check("'a'", "row 2, column \"boost\", `'a'`: gives a text, while rows before give a number");
    check("user.segment + 'x'", "texts cannot be joined");
}

#[test]
fn what_is_outside_of_the_profile_is_refused_by_name() {
    let with = |edit: &dyn Fn(&mut Value)| {
        let mut file = table(&["user.age"], &["x"], &[&["> 5", "1"]]);
        edit(&mut file);
        file
    };
    let check = |edit: &dyn Fn(&mut Value), expected: &str| refused(&with(edit), expected);
    check(&|file| file["nodes"][1]["type"] = json!("functionNode"), "\"T\": node \"t\" is a functionNode: JavaScript");
    check(&|file| file["nodes"][1]["type"] = json!("customNode"), "is a customNode, which is not in the profile");
    check(&|file| file["nodes"][1]["content"]["hitPolicy"] = json!("unique"), "hit policy \"unique\"");
    check(&|file| file["nodes"][1]["content"]["executionMode"] = json!("loop"), "runs as a loop");
    check(&|file| file["nodes"][1]["content"]["hitPolicy"] = json!("collect"), "nothing says how the values");
    check(&|file| file["edges"] = json!([]), "no edge leads to node \"t\"");
    check(&|file| file["edges"][0]["targetId"] = json!("z"), "names the node \"z\"");
    check(&|file| file["nodes"][2]["type"] = json!("inputNode"), "has no outputNode");
    check(
        &|file| file["edges"].as_array_mut().unwrap().push(json!({ "id": "c", "sourceId": "t", "targetId": "t" })),
        "the edges make a circle through [\"T\", \"out\"]",
    );
    check(&|file| file["x-selvedge"]["rowz"] = json!(1), "unknown field `rowz`");
    check(&|file| file["x-selvedge"]["outputs"] = json!({ "z": {} }), "nothing gives `z`");
    check(
        &|file| file["x-selvedge"]["outputs"] = json!({ "x": { "type": "flag" } }),
        "`x` is a number, and x-selvedge says",
    );
    check(
        &|file| file["nodes"][1]["content"]["outputs"][0]["field"] = json!("eligible"),
        "the runtime needs that it is a flag",
    );
    check(&|file| file["x-selvedge"]["dates"] = json!({ "r0": { "from": "soon" } }), "neither a date such as");
    check(
        &|file| file["x-selvedge"]["dates"] = json!({ "r0": { "from": "2026-02-01", "until": "2026-01-01" } }),
        "it never holds",
    );
    refused(&json!({ "nodes": 3 }), "nodes");
    assert!(rules::read("r.jdm.json", &vec![b'['; 1 << 20]).is_err(), "deep nesting is an error");
    assert!(rules::read("r.jdm.json", &vec![b' '; 5 << 20]).is_err(), "too large is an error");
}

#[test]
fn two_ways_of_one_name_are_refused_unless_a_switch_keeps_them_apart() {
    let key = |id: &str, value: &str| json!({ "id": id, "type": "expressionNode", "name": id, "content": { "expressions": [{ "key": "x", "value": value }] } });
    let edge = |from: &str, to: &str, handle: &str| json!({ "id": format!("{from}{to}"), "sourceId": from, "targetId": to, "sourceHandle": handle });
    let file = |switch: Value, edges: Vec<Value>| {
        let mut nodes = vec![json!({ "id": "in", "type": "inputNode", "name": "in" }), key("a", "1"), key("b", "2")];
        nodes.push(json!({ "id": "out", "type": "outputNode", "name": "out" }));
        nodes.extend(switch.is_object().then_some(switch));
        json!({ "nodes": nodes, "edges": edges, "x-selvedge": { "inputs": inputs() } })
    };
    let ends = || [edge("a", "out", ""), edge("b", "out", "")];
    let both = [edge("in", "a", ""), edge("in", "b", "")].into_iter().chain(ends()).collect();
    refused(&file(Value::Null, both), "`x` arrives here with different values, from a and b");
    let statements = json!([{ "id": "s0", "condition": "user.age > 5" }, { "id": "s1", "condition": "" }]);
    let switch = json!({ "id": "s", "type": "switchNode", "name": "s", "content": { "hitPolicy": "first", "statements": statements } });
    let edges = [edge("in", "s", ""), edge("s", "a", "s0"), edge("s", "b", "s1")].into_iter().chain(ends()).collect();
    let file = file(switch, edges);
    answers(&file, json!({ "user.age": 6 }), json!({ "x": 1 }));
    answers(&file, json!({ "user.age": 5 }), json!({ "x": 2 }));
    answers(&file, json!({}), json!({ "x": 2 }));
}

#[test]
fn what_differs_from_zen_is_as_documented() {
    let cell = |column: &str, cell: &str| table(&[column], &["x"], &[&[cell, "1"]]);
    let (hit, miss) = (json!({ "x": 1 }), json!({ "x": null }));
    answers(&cell("user.age", "-"), json!({}), hit.clone());
    answers(&cell("user.segment", "not('a', 'b')"), json!({ "user.segment": "c" }), hit.clone());
    answers(&cell("user.segment", "not('a', 'b')"), json!({ "user.segment": "b" }), miss.clone());
    answers(&cell("user.age", "not([1..5])"), json!({ "user.age": 6 }), hit.clone());
    answers(&cell("user.age", "not([1..5])"), json!({}), miss.clone());
    answers(&cell("user.age", "($ > 1 and $ < 5)"), json!({ "user.age": 2 }), hit.clone());
    answers(&cell("user.age", "== 0.1 + 0.2"), json!({ "user.age": 0.3 }), miss.clone());
    answers(&cell("user.segment", "== item.kind"), json!({ "user.segment": "z", "item.kind": "z" }), miss);
    answers(&cell("user.segment", "== item.kind"), json!({ "user.segment": "bag", "item.kind": "bag" }), hit);
    let handed_on = table(&["user.segment"], &["t"], &[&["!= 'a'", "user.segment"]]);
    answers(&handed_on, json!({ "user.segment": "unheard" }), json!({ "t": null, "row": 0 }));
    let mut failing = table(&["user.age"], &["x"], &[&["", "1"]]);
    failing["nodes"][1] = json!({ "id": "t", "type": "expressionNode", "name": "T", "content": {
        "expressions": [{ "key": "x", "value": "user.age + 1" }, { "key": "y", "value": "2" }] } });
    answers(&failing, json!({}), json!({ "x": null, "y": 2 }));
}

#[test]
fn defaults_dates_and_derived_inputs() {
    let boosts = table(&["user.age"], &["boost", "eligible"], &[&["> 5", "2", "false"]]);
    answers(&boosts, json!({ "user.age": 6 }), json!({ "boost": 2, "eligible": false, "row": 0 }));
    answers(&boosts, json!({}), json!({ "boost": 1, "eligible": true, "row": null }));
    let manifest = read(&boosts).unwrap().manifest();
    assert_eq!(manifest.outputs[0].min, Some(1.0), "the least of what rows write and of the default");

    let mut dated = table(&["user.segment"], &["x"], &[&["startsWith($, 'v')", "1"], &["", "2"]]);
    dated["x-selvedge"]["dates"] = json!({ "r0": { "from": "2026-11-25", "until": "2026-11-26T12:00:00Z" } });
    let rules = read(&dated).unwrap();
    let check = |now: &str, expected: f64| {
        let case = json!({ "name": "", "now": now, "input": { "user.segment": "vip" }, "expect": { "x": expected } });
        let tried = trial::run(&rules.program, &serde_json::from_value(case).unwrap()).unwrap();
        assert!(tried.wrong.is_empty(), "{now}: {:?}", tried.wrong);
    };
    check("2026-11-24T23:59:59Z", 2.0);
    check("2026-11-25T00:00:00Z", 1.0);
    check("2026-11-26T11:59:59Z", 1.0);
    check("2026-11-26T12:00:00Z", 2.0);
}

#[test]
fn lints_find_what_never_fires_and_what_is_forgotten() {
    let check = |columns: &[&str], rows: &[&[&str]], expected: &[(Code, Option<usize>)]| {
        let rules = read(&table(columns, &["x"], rows)).unwrap();
        let found: Vec<_> = lint::lint(&rules)
            .into_iter()
            .filter(|finding| finding.code != Code::UnusedInput)
            .map(|finding| (finding.code, finding.place.row))
            .collect();
        assert_eq!(found, expected, "{rows:?}");
    };
    check(&["user.age"], &[&["> 5", "1"], &["<= 5", "2"]], &[]);
    check(&["user.age"], &[&["> 5", "1"], &["< 5", "2"]], &[(Code::Gap, None)]);
    check(&["user.age"], &[&["", "1"], &["< 5", "2"]], &[(Code::UnreachableRow, Some(2))]);
    // Two rows together hide the third.
    check(
        &["user.age"],
        &[&["> 3", "1"], &["<= 3", "2"], &["[1..9]", "3"]],
        &[(Code::UnreachableRow, Some(3)), (Code::Overlap, Some(3))],
    );
    check(&["user.age"], &[&["[5..1]", "1"], &["", "2"]], &[(Code::Contradiction, Some(1))]);
    check(&["user.age"], &[&["> 5 and < 3", "1"], &["", "2"]], &[(Code::Contradiction, Some(1))]);
    check(&["user.segment"], &[&["'a'", "1"], &["not in ['a']", "2"]], &[]);
    check(&["user.vip"], &[&["true", "1"]], &[(Code::Gap, None)]);
    check(
        &["user.vip", "user.age"],
        &[&["true", "", "1"], &["", "> 1", "2"], &["", "", "3"]],
        &[(Code::Overlap, Some(2))],
    );
    // Nothing is concluded from a cell that reads another input.
    check(&["user.age"], &[&["> item.price", "1"], &["< 5", "2"], &[">= 5", "3"]], &[]);
    // Only what is missing reaches the second row.
    check(&["user.age"], &[&["> 5, <= 5", "1"], &["null", "2"]], &[]);
    let unused = lint::lint(&read(&table(&["user.age"], &["x"], &[&["", "1"]])).unwrap());
    assert!(unused.iter().any(|finding| finding.code == Code::UnusedInput && finding.message.contains("item.price")));
}

#[test]
fn a_table_survives_csv_and_back() {
    let mut file = table(
        &["user.segment", "item.price", "item.kind"],
        &["boost", "badge"],
        &[
            &["'vip', 'new'", "[1..5)", "", "1.5", "'gold'"],
            &["not in ['old']", "> 5 and < 9", "!= 'bag'", "item.price / 2", ""],
        ],
    );
    file["x-selvedge"]["inputs"] = json!({
        "user.segment": "symbol", "item.kind": { "type": "symbol", "missing": "error" },
        "item.price": { "type": "number", "scope": "shared", "missing": { "default": 2.5 } },
    });
    file["nodes"][1]["content"]["rules"][1]["_description"] = json!("a note, with a comma");
    file["nodes"][1]["content"]["rules"][1]["_until"] = json!("2026-12-01");
    let csv = rules::to_csv("r.jdm.json", file.to_string().as_bytes()).unwrap();
    let head = "user.segment: symbol,item.price: number shared default=2.5,item.kind: symbol required,> boost: number,> badge: symbol,note,until";
    assert_eq!(csv.lines().nth(1), Some(head), "{csv}");
    assert_eq!(csv.lines().nth(2), Some("\"vip, new\",[1..5),,1.5,gold,,"), "{csv}");
    let again = rules::read("T.csv", csv.as_bytes()).unwrap_or_else(|bad| panic!("{bad}\n{csv}"));
    let first = read(&file).unwrap();
    assert_eq!(again.program.inputs, first.program.inputs);
    let [a, b] = [&first, &again].map(|rules| rules.program.tables().next().unwrap().rows.len());
    assert_eq!(a, b);
    for (segment, price, kind) in [("vip", 2.0, "bag"), ("x", 6.0, "shoe"), ("old", 6.0, "shoe"), ("x", 6.0, "bag")] {
        let case = json!({ "name": "", "now": "2026-11-01T00:00:00Z", "expect": {},
            "input": { "user.segment": segment, "item.price": price, "item.kind": kind } });
        let case = serde_json::from_value(case).unwrap();
        let [a, b] = [&first, &again].map(|rules| {
            let call = trial::call(&rules.program, &case).unwrap();
            format!("{:?}", rules::evaluate(&rules.program, &call.shared, &call.candidates))
        });
        assert_eq!(a, b, "{segment} {price} {kind}");
    }
}

#[test]
fn csv_mistakes_are_told() {
    let check = |text: &str, expected: &str| {
        let error = rules::read("boost.csv", text.as_bytes()).expect_err("this is refused").to_string();
        assert!(error.contains(expected), "{error}\nexpected {expected}");
    };
    check("", "has no line that names the columns");
    check("user.age: nubmer,> x\n1,2\n", "column \"user.age: nubmer\": the word \"nubmer\" of its head is not known");
    check("user.age,> x\n1,2,3\n", "\"boost\", row 1: has 3 cells, the first line names 2 columns");
    check("user.age,user.age,> x\n1,2,3\n", "stands twice");
    check("user.age\n1\n", "has no output column");
    check("user.age: number,> x\nvip,1\n", "\"boost\", row 1, column \"user.age\", `vip`: nothing gives `vip`");
    check("# hit: collect x=mean\nuser.age,> x\n1,1\n", "`x=mean` is not such as boost=sum");
    check("user.age,> x\n\"1,1\n", "a quote is opened and not closed");
}

#[test]
fn a_toml_file_beside_says_what_x_selvedge_would() {
    let csv = "user.segment,item.price,> x\nvip,> 5,1\n";
    let toml = "rows = 7\n[inputs]\n\"item.price\" = { type = \"number\", scope = \"shared\" }\n[outputs]\nx = { default = 0 }\n";
    let rules = rules::read_with("a.csv", csv.as_bytes(), Some(("a.toml", toml))).unwrap();
    assert_eq!(rules.manifest().limits.rows, 7);
    assert_eq!(rules.manifest().candidate_width(), 0);
    let check = |toml: &str, expected: &str| {
        let error = rules::read_with("a.csv", csv.as_bytes(), Some(("a.toml", toml))).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}\nexpected {expected}");
    };
    check("row = 1\n", "a.toml:1: row: found the integer");
    check("[inputs]\na = 3\n", "a.toml:2: inputs.a: expected a type such as");
    check("rowz = 1\n", "did you mean \"row");
    let jdm = table(&["user.age"], &["x"], &[&["", "1"]]).to_string();
    let error = rules::read_with("a.jdm.json", jdm.as_bytes(), Some(("a.toml", ""))).expect_err("said twice");
    assert!(error.to_string().contains("keep one of them"));
}
