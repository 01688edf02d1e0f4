//! What cells, graphs and settings mean, where zen's answers do not say it (`tests/cases/rules` has those).

use selvedge_build::rules::trial;
use serde_json::{Value, json};

use crate::{answers, graph, keys, read, refused, switch, table, table_node};

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
    // A node that leads to no answer is no part of it; ZEN answers it when nothing else arrives.
    let nodes =
        [switch("S", "first", &["user.age > 5"]), keys("A", &[("x", "1")], false), keys("D", &[("y", "2")], false)];
    answers(&graph(&nodes, "in>S S.s0>A A>out in>D"), json!({ "user.age": 1 }), json!({ "x": null }));
    refused(&cell("user.age", "$ ^ -1 > 2"), "`^` takes a whole number from 0 to 16");
    refused(&cell("user.age", "$ ^ 2 ^ 2 > 2"), "`^` takes a whole number from 0 to 16");
    refused(&cell("user.age", "]1..4["), "turned brackets");
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

/// The table of `docs/rules.md`: a cell, what passes it, and what does not.
#[test]
fn cells_pass_what_the_documentation_says() {
    let check = |column: &str, cell: &str, passes: Value, fails: Value| {
        let file = table(&[column], &["x"], &[&[cell, "1"], &["", "2"]]);
        for (values, expected) in [(passes, 1), (fails, 2)] {
            for value in values.as_array().unwrap() {
                let mut input = json!({ "user.vip": true, "item.price": 5 });
                input[column] = value.clone();
                answers(&file, input, json!({ "x": expected }));
            }
        }
    };
    for cell in ["", "-"] {
        check("user.age", cell, json!([5, null]), json!([]));
    }
    check("user.age", "5", json!([5]), json!([6, null]));
    check("user.segment", "\"vip\"", json!(["vip"]), json!(["new", "unheard", null]));
    check("user.vip", "true", json!([true]), json!([false, null]));
    for cell in ["\"a\", \"b\"", "[\"a\", \"b\"]"] {
        check("user.segment", cell, json!(["a", "b"]), json!(["c", null]));
    }
    check("user.age", "> 5", json!([6]), json!([5, 4, null]));
    check("user.age", ">= 5", json!([6, 5]), json!([4, null]));
    check("user.age", "< 5", json!([4]), json!([5, 6, null]));
    check("user.age", "<= 5", json!([4, 5]), json!([6, null]));
    check("user.age", "!= 5", json!([4, 6, null]), json!([5]));
    check("user.age", "[1..5]", json!([1, 3, 5]), json!([0, 6, null]));
    check("user.age", "(1..5)", json!([3]), json!([1, 5, null]));
    check("user.age", "[1..5)", json!([1, 3]), json!([5, null]));
    check("user.segment", "not in [\"a\", \"b\"]", json!(["c", null]), json!(["a", "b"]));
    check("user.age", "not in [1..5]", json!([0, 6]), json!([1, 5, null]));
    check("user.age", "not in [5, 6]", json!([4, null]), json!([5, 6]));
    check("user.age", "not(5)", json!([4, null]), json!([5]));
    check("user.age", "not(> 5)", json!([5, 4]), json!([6, null]));
    check("user.age", "not(1, > 5)", json!([5]), json!([1, 6]));
    check("user.age", "> 5 and < 10", json!([6]), json!([5, 10, null]));
    check("user.age", "< 5 or > 10", json!([4, 11]), json!([5, 10]));
    // From the left: (1 or 20) and > 10.
    check("user.age", "1, 20 and > 10", json!([20]), json!([1]));
    check("user.age", "null", json!([null]), json!([5]));
    check("user.age", "!= null", json!([5]), json!([null]));
    check("user.age", "$ % 2 == 0", json!([4]), json!([5, null]));
    check("user.age", "abs($) > item.price", json!([6, -6]), json!([5, -5, null]));
    check("user.segment", "startsWith($, \"ab\")", json!(["abc"]), json!(["cab", null]));
    check("user.segment", "endsWith($, \"ab\")", json!(["cab"]), json!(["abc", null]));
    check("user.segment", "contains($, \"ab\")", json!(["cabc"]), json!(["acb", null]));
}

#[test]
fn expressions_are_as_the_documentation_says() {
    let check = |text: &str, expected: Value| {
        let file = graph(&[keys("E", &[("a", "5"), ("x", text)], false)], "in>E E>out");
        answers(&file, json!({ "user.age": 7, "user.segment": "vip", "item.kind": "bag" }), json!({ "x": expected }));
    };
    check("1 + 2 * 3 - 4 / 8 % 3", json!(6.5));
    check("2 ^ 3", json!(8));
    check("user.age == 7 and user.age != 8 or user.age < 1", json!(true));
    check("not (user.age in [1..5])", json!(true));
    check("user.segment in [\"vip\", 'new']", json!(true));
    check("user.age not in [7, 8]", json!(false));
    check("user.age > 5 ? \"old\" : null", json!("old"));
    check("item.price ?? $.a", json!(5));
    check("$.a * 2", json!(10));
    check("abs(-2) + round(-2.5) + floor(1.9) + ceil(1.1) + min([3, 2]) + max([3, 2])", json!(7));
    check("(1 / 0) ?? 9", json!(9));
    check("user.age / 0", json!(null));
    check("item.price + 1", json!(null));
    check("user.vip", json!(null));
}

#[test]
fn what_did_not_arrive_is_missing() {
    // Inputs and values that a branch passes on are there when the branch ran.
    let a = keys("A", &[("y", "1")], true);
    let b = keys("B", &[("z", "1")], false);
    let j = keys("J", &[("age", "user.age ?? 100"), ("was", "x ?? 100")], false);
    let nodes = [keys("E", &[("x", "7")], true), switch("S", "first", &["user.age > 5"]), a, b, j];
    let file = graph(&nodes, "in>E E>S S.s0>A A>J in>B B>J J>out");
    answers(&file, json!({ "user.age": 3 }), json!({ "age": 100, "was": 100 }));
    answers(&file, json!({ "user.age": 6 }), json!({ "age": 6, "was": 7 }));
    let file = graph(&nodes[..2], "in>E E>S S.s0>out");
    answers(&file, json!({ "user.age": 3 }), json!({ "x": null }));
    answers(&file, json!({ "user.age": 6 }), json!({ "x": 7 }));
    // A table that does not run gives nothing: neither a sum of no rows nor what was there before.
    let mut sum = table_node("T", &["user.age"], &["x"], &[&["> 8", "1"]]);
    sum["content"]["hitPolicy"] = json!("collect");
    let mut file = graph(&[switch("S", "first", &["user.age > 5"]), sum], "in>S S.s0>T T>out");
    file["x-selvedge"]["collect"] = json!({ "T": { "x": "sum" } });
    answers(&file, json!({ "user.age": 3 }), json!({ "x": null }));
    answers(&file, json!({ "user.age": 6 }), json!({ "x": 0 }));
    answers(&file, json!({ "user.age": 9 }), json!({ "x": 1 }));
}

#[test]
fn a_test_of_a_missing_text_fails() {
    // As in ZEN: a row whose cell or output fails does not fire, whatever stands around the test.
    let output = |cell: &str| table(&["user.segment"], &["x"], &[&["", cell], &["", "true"]]);
    let input = |cell: &str| table(&["user.segment"], &["x"], &[&[cell, "false"], &["", "true"]]);
    let statement = |cell: &str| table(&[""], &["x"], &[&[cell, "false"], &["", "true"]]);
    let test = "startsWith(user.segment, \"v\")";
    let outputs = [test.to_owned(), format!("false or {test}"), format!("true and {test}"), format!("{test} ?? false")];
    outputs.iter().for_each(|cell| answers(&output(cell), json!({}), json!({ "x": true, "row": 1 })));
    for cell in ["contains($, 'i') != true", "startsWith($, 'v') == null", "(endsWith($, 'v') ?? true)"] {
        answers(&input(cell), json!({}), json!({ "x": true, "row": 1 }));
        let cell = cell.replace('$', "user.segment");
        answers(&statement(&cell), json!({}), json!({ "x": true, "row": 1 }));
        let nodes =
            [switch("S", "first", &[&cell, ""]), keys("A", &[("x", "1")], false), keys("B", &[("x", "2")], false)];
        answers(&graph(&nodes, "in>S S.s0>A S.s1>B A>out B>out"), json!({}), json!({ "x": 2 }));
    }
    answers(&output(test), json!({ "user.segment": "old" }), json!({ "x": false, "row": 0 }));
    // A column that is such a test has no value then: only a blank cell passes.
    let column = table(&[test], &["x"], &[&["null", "1"], &["!= true", "2"], &["", "3"]]);
    answers(&column, json!({}), json!({ "x": 3 }));
    answers(&column, json!({ "user.segment": "old" }), json!({ "x": 2 }));
}

#[test]
fn a_group_that_a_table_may_empty_is_its_own() {
    let with = |rows: &[&[&str]], path: &str, pass: bool| {
        let mut node = table_node("T", &["user.age"], &["x"], rows);
        node["content"]["outputPath"] = json!(path);
        node["content"]["passThrough"] = json!(pass);
        node
    };
    let may = |path: &str, pass: bool| with(&[&["> 5", "1"]], path, pass);
    let sure = |path: &str, pass: bool| with(&[&["> 5", "1"], &["", "2"]], path, pass);
    let read = keys("J", &[("z", "user.age ?? 100")], false);
    let file = |table: Value, edges: &str| graph(&[table, read.clone()], edges);
    refused(
        &file(may("user", true), "in>T T>J J>out"),
        "has `user.age` already, and when no row fires GoRules takes all",
    );
    refused(&file(may("user", false), "in>T T>J in>J J>out"), "`user` comes from T, and `user.age` from in");
    answers(&file(sure("user", true), "in>T T>J J>out"), json!({ "user.age": 7 }), json!({ "z": 7, "row": 0 }));
    answers(&file(may("own", true), "in>T T>J J>out"), json!({ "user.age": 3 }), json!({ "z": 3 }));
    // A group that a node before gave, passed on or met again; branches of a switch never meet.
    let given = |pass: bool| keys("E", &[("g.a", "1")], pass);
    let g = keys("J", &[("z", "g.a ?? 100")], false);
    let file = |table: Value, edges: &str| graph(&[given(true), table, g.clone()], edges);
    refused(&file(may("g", true), "in>E E>T T>J J>out"), "has `g.a` already");
    refused(&file(may("g", false), "in>E E>T E>J T>J J>out"), "`g` comes from T, and `g.a` from E");
    answers(&file(sure("g", true), "in>E E>T T>J J>out"), json!({}), json!({ "z": 1, "row": 1 }));
    let nodes = [switch("S", "first", &["user.age > 5", ""]), given(false), may("g", false), g.clone()];
    let file = graph(&nodes, "in>S S.s0>E S.s1>T E>J T>J J>out");
    answers(&file, json!({ "user.age": 9 }), json!({ "z": 1 }));
    answers(&file, json!({ "user.age": 2 }), json!({ "z": 100 }));
}

#[test]
fn an_aggregate_of_nothing_leaves_a_default() {
    let mut file = table(&["user.age"], &["boost", "x", "n"], &[&["> 9", "2", "2", "1"], &["> 5", "0.5", "", "1"]]);
    file["nodes"][1]["content"]["hitPolicy"] = json!("collect");
    file["x-selvedge"]["collect"] = json!({ "T": { "boost": "sum", "x": "sum", "n": "count" } });
    answers(&file, json!({ "user.age": 1 }), json!({ "boost": 1, "x": 0, "n": 0, "row": null }));
    answers(&file, json!({ "user.age": 6 }), json!({ "boost": 0.5, "x": 0, "n": 1, "row": 1 }));
    answers(&file, json!({ "user.age": 10 }), json!({ "boost": 2.5, "x": 2, "n": 2, "row": 0 }));
    let least: Vec<_> =
        read(&file).unwrap().manifest().outputs.into_iter().map(|output| (output.name, output.min)).collect();
    let expected = [("boost", Some(0.5)), ("n", Some(0.0)), ("x", Some(0.0)), ("row", Some(0.0))];
    assert_eq!(least, expected.map(|(name, min)| (name.to_owned(), min)));
    file["x-selvedge"]["outputs"] = json!({ "x": { "default": 7 }, "n": { "default": -1 }, "boost": {} });
    answers(&file, json!({ "user.age": 1 }), json!({ "boost": 1, "x": 7, "n": -1 }));
}

#[test]
fn row_is_that_of_the_last_table_that_ran() {
    let rows: &[&[&str]] = &[&["> 8", "1"], &["", "2"]];
    let table_of = |id: &str, output: &str| table_node(id, &["user.age"], &[output], rows);
    let switch = switch("S", "first", &["user.age > 5", ""]);
    // Of branches, of which one runs.
    let nodes = [switch.clone(), table_of("A", "x"), table_of("B", "x")];
    let file = graph(&nodes, "in>S S.s0>A S.s1>B A>out B>out");
    answers(&file, json!({ "user.age": 9 }), json!({ "x": 1, "row": 0 }));
    answers(&file, json!({ "user.age": 6 }), json!({ "x": 2, "row": 1 }));
    answers(&file, json!({ "user.age": 1 }), json!({ "x": 2, "row": 1 }));
    // A table that leads to no answer does not count, wherever it stands in the file.
    let nodes = [table_of("A", "x"), table_node("B", &["user.age"], &["y"], &[&["", "2"]])];
    answers(&graph(&nodes, "in>A A>out in>B"), json!({ "user.age": 1 }), json!({ "x": 2, "row": 1 }));
    // The one that x-selvedge names.
    let mut first = table_of("A", "x");
    first["content"]["passThrough"] = json!(true);
    let mut second = table_node("B", &["user.age"], &["y"], &[&["", "2"]]);
    second["content"]["passThrough"] = json!(true);
    let mut file = graph(&[first, second], "in>A A>B B>out");
    answers(&file, json!({ "user.age": 1 }), json!({ "row": 0 }));
    file["x-selvedge"]["row"] = json!("A");
    answers(&file, json!({ "user.age": 1 }), json!({ "row": 1 }));
}

#[test]
fn a_power_is_of_anything() {
    let power = |text: &str| graph(&[keys("E", &[("x", text)], false)], "in>E E>out");
    answers(&power("(user.age + 1) ^ 2"), json!({ "user.age": 3 }), json!({ "x": 16 }));
    answers(&power("user.age ^ 0"), json!({ "user.age": 3 }), json!({ "x": 1 }));
    answers(&power("user.age ^ 0"), json!({}), json!({ "x": null }));
    answers(&power("-user.age ^ 3"), json!({ "user.age": 2 }), json!({ "x": -8 }));
    answers(&power("user.age ^ 16"), json!({ "user.age": 1e30 }), json!({ "x": null }));
}
