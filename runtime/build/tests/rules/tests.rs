//! Tests of rules: what a test may say, and what a node would do.

use selvedge_build::rules::trial;
use serde_json::{Value, json};

use crate::{read, table};

/// What a test finds, or why it is none.
fn tried(file: &Value, test: Value) -> Result<Vec<String>, String> {
    let mut test = test;
    test["name"] = json!("");
    trial::run(&read(file).unwrap().program, &serde_json::from_value(test).unwrap()).map(|tried| tried.wrong)
}

#[track_caller]
fn no_test(file: &Value, test: Value, expected: &str) {
    let why = tried(file, test).expect_err("this is no test");
    assert!(why.contains(expected), "{why}\nexpected {expected}");
}

#[test]
fn a_test_is_what_a_node_would_do() {
    let mut file = table(&["user.age", "item.price"], &["x"], &[&["> 5", "> 1", "1"], &["", "", "2"]]);
    let right = json!({ "input": { "user.age": 6, "item.price": 2 }, "expect": { "x": 1, "row": 0 } });
    assert_eq!(tried(&file, right.clone()), Ok(vec![]));
    let wrong = json!({ "input": { "user.age": 6 }, "expect": { "x": 1 } });
    assert_eq!(tried(&file, wrong), Ok(vec!["x is 2, expected 1".to_owned()]));
    // An input without which a node does not answer.
    file["x-selvedge"]["inputs"]["user.age"] = json!({ "type": "number", "missing": "error" });
    no_test(&file, json!({ "expect": { "x": 2 } }), "\"user.age\" is missing, which a node takes as an error");
    assert_eq!(tried(&file, right), Ok(vec![]));
    // The request is one for all candidates.
    let test = json!({ "input": { "user.age": 6 }, "candidates": [{ "item.price": 2 }, { "user.age": 1 }], "expect": [{}, {}] });
    no_test(&file, test, "candidates[1]: \"user.age\" belongs to the request");
    let test = json!({ "input": { "user.age": 6 }, "candidates": [{ "user.age": 1 }], "expect": [{}] });
    no_test(&file, test, "candidates[0]: \"user.age\" belongs to the request");
    no_test(
        &file,
        json!({ "input": { "user.aged": 6 }, "expect": {} }),
        "\"user.aged\" is no input of the rules; did you mean",
    );
    no_test(&file, json!({ "input": { "user.age": "6" }, "expect": {} }), "\"6\" is no number");
    no_test(&file, json!({ "input": { "user.age": 6 }, "expect": { "y": 1 } }), "\"y\" is no output of the rules");
    no_test(&file, json!({ "input": { "user.age": 6 }, "expect": [] }), "0 rows are expected, 1 candidates are given");
}

#[test]
fn derived_inputs_are_computed_and_the_time_is_said() {
    let mut file = table(&["user.segment", "hour"], &["x"], &[&["startsWith($, 'v')", ">= 480", "1"], &["", "", "2"]]);
    file["x-selvedge"]["inputs"]["hour"] = json!({ "type": "number", "derive": { "fn": "minute_of_day" } });
    let at = |now: &str, segment: &str, x: f64| json!({ "now": now, "input": { "user.segment": segment }, "expect": { "x": x } });
    assert_eq!(tried(&file, at("2026-11-25T08:00:00Z", "vip", 1.0)), Ok(vec![]));
    assert_eq!(tried(&file, at("2026-11-25T07:59:59Z", "vip", 2.0)), Ok(vec![]));
    assert_eq!(tried(&file, at("2026-11-25T08:00:00Z", "new", 2.0)), Ok(vec![]));
    no_test(&file, json!({ "input": { "user.segment": "vip" }, "expect": {} }), "the rules read the time: say it");
    // Or the value itself is said.
    let said = json!({ "input": { "user.segment": "vip", "hour": 500 }, "expect": { "x": 1 } });
    assert_eq!(tried(&file, said), Ok(vec![]));
}

#[test]
fn a_file_of_tests_says_where_it_is_wrong() {
    let check = |text: &str, expected: &str| {
        let error = trial::read("hero.test.json", text.as_bytes()).expect_err("this is refused").to_string();
        assert!(error.contains(expected), "{error}\nexpected {expected}");
    };
    check("{}", "hero.test.json: invalid type: map, expected a sequence");
    check(
        "[{\"name\":\"a\",\"expect\":{\"x\":[1]}}]",
        "hero.test.json: [0].expect.x: expected a number, true, false or a text",
    );
    check("[{\"name\":\"a\",\"expct\":{}}]", "hero.test.json: [0].expct: unknown field `expct`");
}
