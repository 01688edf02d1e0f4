//! What is refused, and how it is told.

use selvedge_build::rules;
use serde_json::{Value, json};

use crate::{answers, graph, inputs, keys, read, refused, switch, table, table_node};

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
        "the edges make a circle through [\"T\"]; a decision",
    );
    check(&|file| file["x-selvedge"]["rowz"] = json!(1), "unknown field `rowz`");
    check(
        &|file| file["x-selvedge"]["outputs"] = json!({ "boost": {} }),
        "column \"boost\": `outputs` of x-selvedge names `boost`, and nothing that reaches the outputNode gives it; add an \
         output column or a key of this name, or leave it out",
    );
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
fn what_a_module_cannot_do_is_refused() {
    let check = |column: &str, cell: &str, expected: &str| {
        refused(&table(&[column], &["x"], &[&[cell, "1"]]), expected);
    };
    check("user.age", "some([1, 2], # > $)", "a function over a list is not in the profile");
    check("user.age", "len([1, 2]) == $", "the function `len` is not in the profile");
    check("user.segment", "upper($) == 'A'", "the function `upper` is not in the profile");
    check("user.segment", "$ + 'a' == 'ba'", "texts cannot be joined");
    check("user.age", "> date('2026-01-01')", "the function `date` is not in the profile");
    check("user.age", "$ == [1, 2]", "a list stands where one value is needed");
    check("user.segment", "== user.age", "a text and a number");
    refused(&table(&["user.age"], &["x[]"], &[&["", "1"]]), "collects a list, which a module cannot answer");
    // Two inputs of any text at all cannot be told apart by numbers.
    let mut open = table(&["user.segment"], &["x"], &[&["== item.kind", "1"]]);
    open["x-selvedge"]["inputs"]["item.kind"] = json!("symbol");
    refused(&open, "`user.segment` and `item.kind` are compared, but no list says which texts they may have");
}

/// The bounds that `docs/rules.md` names.
#[test]
fn bounds_are_as_documented() {
    let cell = |cell: &str| table(&["user.age"], &["x"], &[&[cell, "1"]]);
    refused(&cell(&format!("> {}", "1".repeat(4_096))), "4098 bytes, at most 4096");
    refused(&cell(&format!("> 1{}", " + 1".repeat(500))), "at most 1000");
    refused(&cell(&format!("> {}1{}", "(".repeat(70), ")".repeat(70))), "nested deeper than 64 levels");
    let nodes: Vec<Value> = (0..1_001).map(|at| keys(&format!("n{at}"), &[], true)).collect();
    refused(&graph(&nodes, "in>out"), "1003 nodes, at most 1000");
    let rows = vec![&["", "1"][..]; 25_000];
    refused(&table(&["user.age"], &["x"], &rows), "more than 50000 cells");
    let outputs: Vec<String> = (0..256).map(|at| format!("x{at}")).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let row = vec!["1"; 256];
    let manifest = read(&table(&[], &outputs[..255], &[&row[..255]])).unwrap().manifest();
    assert_eq!(manifest.outputs.len(), 256, "`row` is one of them");
    refused(&table(&[], &outputs, &[&row]), "256 outputs, at most 255, and `row`");
}

#[test]
fn a_message_says_what_to_do() {
    let edit = |edit: &dyn Fn(&mut Value)| {
        let mut file = table(&["user.age"], &["x"], &[&["> 5", "1"], &["", "2"]]);
        edit(&mut file);
        file
    };
    let check = |change: &dyn Fn(&mut Value), expected: &str| refused(&edit(change), expected);
    check(
        &|file| file["x-selvedge"]["inputs"]["user.age"] = json!("nubmer"),
        "x-selvedge.inputs.user.age: unknown variant `nubmer`",
    );
    check(
        &|file| file["x-selvedge"]["inputs"]["user.age"] = json!({ "type": "number", "misssing": "error" }),
        "unknown field `misssing`",
    );
    check(&|file| file["x-selvedge"]["inputs"]["user.age"] = json!(5), "a type such as \"number\", or more");
    let missing = json!({ "type": "number", "missing": "err" });
    check(
        &|file| file["x-selvedge"]["inputs"]["user.age"] = missing.clone(),
        "user.age.missing: expected \"no-match\", \"error\", or a default",
    );
    check(
        &|file| file["x-selvedge"]["outputs"] = json!({ "x": { "default": [1] } }),
        "outputs.x.default: expected a number, true, false or a text",
    );
    check(
        &|file| file["x-selvedge"]["tests"] = json!([{ "name": "", "expect": 1 }]),
        "tests[0].expect: invalid type: integer `1`, expected outputs by name",
    );
    check(
        &|file| file["x-selvedge"]["tests"] = json!([{ "name": "", "expect": { "x": [] } }]),
        "tests[0].expect.x: expected a number, true, false or a text",
    );
    // What a module may not be names the file, too, and what to do about this very thing.
    let module = |change: &dyn Fn(&mut Value)| read(&edit(change)).unwrap().module().unwrap_err().to_string();
    let rows = module(&|file| file["x-selvedge"]["rows"] = json!(70_000));
    assert_eq!(
        rows,
        "r.jdm.json: manifest: limits.rows: 70000 is not between 1 and 65,536; say another number of `rows` [limit]"
    );
    let default = json!({ "type": "number", "missing": { "default": "a" } });
    let default = module(&|file| file["x-selvedge"]["inputs"]["user.age"] = default.clone());
    assert!(default.starts_with("r.jdm.json: manifest: inputs[0]") && !default.contains("rows"), "{default}");
    refused(
        &graph(&[keys("E", &[("x", "user.age"), ("y", "x * 2")], true)], "in>E E>out"),
        "a key of the same node is written `$.x`",
    );
    // A column that is wrong is told once, not in each of its cells.
    let file = table(&["user.aged"], &["x"], &[&["> 5", "1"], &["< 5", "2"], &["$ == 5", "3"]]);
    let error = read(&file).unwrap_err();
    assert_eq!(error.lines().count(), 1, "{error}");
    // Texts in both directions of a range.
    refused(&table(&["user.age"], &["x"], &[&["]1..4[", "1"]]), "`(1..5)` for between, `not in (1..5)` for outside");
    refused(&table(&["user.age"], &["x"], &[&["[1..4[", "1"]]), "`(1..5)` for between, `not in (1..5)` for outside");
    refused(&table(&["user.age"], &["x"], &[&["> .5", "1"]]), "write such as `0.5`");
    refused(&table(&["user.segment"], &["x"], &[&["not 'a'", "1"]]), "in an input cell write `not(\"a\")`, `!= \"a\"`");
    refused(
        &table(&["user.age"], &["x"], &[&["not [1, 2]", "1"]]),
        "`not` stands before what is neither true nor false",
    );
    // A node that sees a group only.
    let mut grouped = table(&["age"], &["x"], &[&["> item.price", "1"]]);
    grouped["nodes"][1]["content"]["inputField"] = json!("user");
    let told = "nothing gives `item.price`: by its input field this node sees the group `user` only; declare `user.item.price`";
    refused(&grouped, told);
    grouped["nodes"][1]["content"]["rules"][0]["i0"] = json!("> ages");
    refused(&grouped, "or leave the input field empty; did you mean `age`?");
    // Only the output that hands a text on needs to know which there are.
    let mut handed = table(&["user.segment"], &["t"], &[&["null", "user.segment"]]);
    handed["x-selvedge"]["inputs"] = json!({ "user.segment": "symbol" });
    refused(&handed, "r.jdm.json: \"T\", row 1, column \"t\", `user.segment`: hands a text on");
    let mut only_missing = table(&["user.segment"], &["x"], &[&["null", "1"], &["", "2"]]);
    only_missing["x-selvedge"]["inputs"] = json!({ "user.segment": "symbol" });
    answers(&only_missing, json!({ "user.segment": "any" }), json!({ "x": 2 }));
    answers(&only_missing, json!({}), json!({ "x": 1 }));
}

#[test]
fn settings_that_would_do_nothing_are_refused() {
    let with = |settings: Value| {
        let mut file = table(&["user.age"], &["x"], &[&["> 5", "1"], &["", "2"]]);
        for (key, value) in settings.as_object().unwrap() {
            file["x-selvedge"][key] = value.clone();
        }
        file
    };
    let check = |settings: Value, expected: &str| refused(&with(settings), expected);
    check(
        json!({ "dates": { "r7": { "from": "2030-01-01" } } }),
        "`dates` names the row \"r7\", and no row has this `_id`; did you mean \"r",
    );
    check(
        json!({ "collect": { "Tt": { "x": "sum" } } }),
        "`collect` names \"Tt\", which is no table; did you mean \"T\"?",
    );
    check(json!({ "collect": { "T": { "x": "sum" } } }), "only the first row that matches counts");
    check(json!({ "row": "Tt" }), "which is no table; did you mean \"T\"?");
    let mut collects = with(json!({ "collect": { "T": { "x": "sum", "xx": "sum" } } }));
    collects["nodes"][1]["content"]["hitPolicy"] = json!("collect");
    refused(&collects, "`collect` names `xx`, which is no output column; did you mean \"x\"?");
    let mut symbols = with(json!({}));
    symbols["x-selvedge"]["inputs"]["user.age"] = json!({ "type": "number", "symbols": ["a"] });
    refused(&symbols, "`user.age` is a number and has a list of symbols");
    let mut twice = with(json!({ "dates": { "r0": { "from": "2030-01-01" } } }));
    twice["nodes"][1]["content"]["rules"][1]["_id"] = json!("r0");
    refused(&twice, "2 rows have this `_id`");
    check(json!({ "dates": { "r0": {} } }), "`dates` says nothing of the row \"r0\"");
    let mut both = with(json!({ "dates": { "r0": { "from": "2030-01-01" } } }));
    both["nodes"][1]["content"]["rules"][0]["_from"] = json!("2031-01-01");
    refused(&both, "row 1: its own `_from` says 2031-01-01, and `dates` of x-selvedge 2030-01-01; keep one of them");
    let mut time = with(json!({ "dates": { "r0": { "from": "2030-01-01" } } }));
    time["x-selvedge"]["inputs"]["decision.epoch_seconds"] = json!("number");
    refused(&time, "`decision.epoch_seconds` is what a module reads here (dates read the time by it)");
    let derive = json!({ "type": "number", "scope": "shared", "derive": { "fn": "epoch_seconds" } });
    time["x-selvedge"]["inputs"]["decision.epoch_seconds"] = derive;
    read(&time).unwrap().module().unwrap();
    let same =
        [table_node("T", &["user.age"], &["x"], &[&["", "1"]]), table_node("U", &["user.age"], &["y"], &[&["", "1"]])];
    for settings in [json!({ "row": "T" }), json!({ "collect": { "T": { "x": "sum" } } })] {
        let mut file = graph(&same, "in>T in>U T>out U>out");
        file["nodes"][3]["name"] = json!("T");
        file["x-selvedge"].as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        refused(&file, "x-selvedge names the table \"T\", and 2 tables have this name");
    }
    // Two columns with one field: one of the values would be lost.
    refused(&table(&["user.age"], &["x", "x"], &[&["> 5", "1", ""], &["", "2", "3"]]), "two columns give `x`");
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
fn edges_and_names_are_checked() {
    let file = |edges: &str| graph(&[keys("A", &[("x", "1")], true), switch("S", "first", &["user.age > 5"])], edges);
    refused(&file("in>A in>A A>S S.s0>out"), "edges[1] leads to node \"A\" as one before it does");
    refused(&file("in>A A>S S.s0>out S.s0>out"), "edges[3] leads to node \"out\" as one before it does");
    refused(&file("in>A A>S S.s9>out"), "leaves the switch \"S\" by \"s9\"");
    // Of the nodes behind a circle, and before it, none is told.
    let three = ["A", "B", "C"].map(|id| keys(id, &[(id, "1")], true));
    let nodes: Vec<Value> = three.iter().cloned().chain([keys("D", &[], true), keys("E", &[], true)]).collect();
    refused(
        &graph(&nodes, "in>E E>A A>B B>C C>A C>D D>out"),
        "\"A\": the edges make a circle through [\"A\", \"B\", \"C\"];",
    );
    let clash = graph(&[keys("A", &[("g", "1")], true), keys("B", &[("g.x", "1")], true)], "in>A A>B B>out");
    refused(&clash, "`g.x` and `g`: one is a value, the other a group of values");
    let met = graph(&[keys("A", &[("g", "1")], true), keys("B", &[("g.x", "1")], true)], "in>A in>B A>out B>out");
    refused(&met, "`g` is a value and, by `g.x`, a group of values");
    // A value in the place of a group of inputs would hide them, and a group in the place of an input it.
    let clash = |key: &str, pass: bool, edges: &str| {
        graph(&[keys("A", &[(key, "1")], pass), keys("J", &[("z", "1")], true)], edges)
    };
    refused(
        &clash("user", true, "in>A A>J J>out"),
        "`user` and `user.age`: one is a value, the other a group of values",
    );
    refused(&clash("user.age.n", true, "in>A A>J J>out"), "`user.age.n` and `user.age`: one is a value");
    refused(&clash("user", false, "in>A A>J in>J J>out"), "`user` and the input `user.age` meet here");
    read(&clash("user", false, "in>A A>J J>out")).unwrap();
    let mut column = table(&["user.age"], &["user"], &[&["", "1"]]);
    column["nodes"][1]["content"]["passThrough"] = json!(true);
    refused(&column, "`user` and `user.age`: one is a value, the other a group of values");
    let mut inputs = table(&["user.age"], &["x"], &[&["", "1"]]);
    inputs["x-selvedge"]["inputs"]["user"] = json!("number");
    refused(&inputs, "column \"user.age\": the inputs `user` and `user.age`: one is a value, the other a group");
    let two = [switch("S", "collect", &["user.age > 5", "user.age > 2"]), keys("A", &[("x", "1")], false)];
    let both = [two[0].clone(), two[1].clone(), keys("B", &[("x", "2")], false)];
    refused(&graph(&both, "in>S S.s0>A S.s1>B A>out B>out"), "`x` arrives here with different values, from A and B");
    let wide = table_node("T", &["user.age"], &["x"; 1], &[&["", "1"]]);
    answers(&graph(&[wide], "in>T T>out"), json!({}), json!({ "x": 1 }));
}

/// The row that fired has this name.
#[test]
fn an_output_named_row_is_refused() {
    let named = table(&["user.age"], &["row"], &[&["> 5", "7"], &["", "8"]]);
    refused(&named, "column \"row\": `row` is which row of a table fired, and is added");
    refused(&graph(&[keys("E", &[("row", "7")], false)], "in>E E>out"), "give that another name");
    // A table that says what the answer's is: the value stays between the nodes.
    let mut first = named["nodes"][1].clone();
    first["content"]["passThrough"] = json!(true);
    let mut file = graph(&[first, keys("E", &[("x", "row + 1")], true)], "in>t t>E E>out");
    refused(&file, "`row` is which row of a table fired");
    file["x-selvedge"]["row"] = json!("T");
    answers(&file, json!({ "user.age": 6 }), json!({ "x": 8, "row": 0 }));
    answers(&file, json!({ "user.age": 5 }), json!({ "x": 9, "row": 1 }));
    file["x-selvedge"].as_object_mut().unwrap().remove("row");
    file["x-selvedge"]["outputs"] = json!({ "x": {} });
    answers(&file, json!({ "user.age": 5 }), json!({ "x": 9, "row": 1 }));
}

/// In GoRules its list takes the place of the group.
#[test]
fn a_table_that_collects_has_an_output_path_of_its_own() {
    let file = |path: &str, rows: &[&[&str]], before: &[(&str, &str)]| {
        let mut node = table_node("T", &["user.age"], &["x"], rows);
        node["content"]["hitPolicy"] = json!("collect");
        node["content"]["outputPath"] = json!(path);
        node["content"]["passThrough"] = json!(true);
        let mut file =
            graph(&[keys("E", before, true), node, keys("J", &[("z", "g.x + 1")], true)], "in>E E>T T>J J>out");
        file["x-selvedge"]["collect"] = json!({ "T": { "x": "sum" } });
        file
    };
    let rows: [&[&[&str]]; 2] = [&[&["> 5", "1"]], &[&["> 5", "1"], &["", "2"]]];
    for rows in rows {
        refused(
            &file("g", rows, &[("g.a", "1")]),
            "\"T\": its output path `g` has `g.a` already, and in GoRules the list",
        );
        refused(&file("user", rows, &[("a", "1")]), "its output path `user` has `user.age` already");
        answers(&file("g", rows, &[("a", "1")]), json!({ "user.age": 6 }), json!({ "a": 1 }));
    }
    answers(&file("g", rows[1], &[("a", "1")]), json!({ "user.age": 6 }), json!({ "g.x": 3, "z": 4, "a": 1 }));
}
