//! What lints find, and what they must not say.

use selvedge_build::rules::{Code, lint};
use serde_json::json;

use crate::{graph, keys, read, switch, table, table_node};

/// What is told of a table besides inputs that it does not use: code and row.
fn found(columns: &[&str], rows: &[&[&str]]) -> Vec<(Code, Option<usize>)> {
    let rules = read(&table(columns, &["x"], rows)).unwrap();
    let findings = lint::lint(&rules).into_iter().filter(|finding| finding.code != Code::UnusedInput);
    findings.map(|finding| (finding.code, finding.place.row)).collect()
}

#[test]
fn lints_find_what_never_fires_and_what_is_forgotten() {
    let check = |columns: &[&str], rows: &[&[&str]], expected: &[(Code, Option<usize>)]| {
        assert_eq!(found(columns, rows), expected, "{rows:?}");
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
fn what_leads_nowhere_is_told() {
    let nodes = [keys("A", &[("x", "1")], false), keys("D", &[("y", "user.age")], false)];
    let findings = lint::lint(&read(&graph(&nodes, "in>A A>out in>D")).unwrap());
    let told: Vec<_> = findings.iter().filter(|finding| finding.code == Code::UnusedNode).collect();
    assert!(told.len() == 1 && told[0].place.table.as_deref() == Some("D"), "{findings:?}");
}

#[test]
fn nothing_is_said_of_what_may_fire() {
    let check = |rows: &[&[&str]]| assert_eq!(found(&["user.age"], rows), [], "{rows:?}");
    // Cells that compute with their column pass values that they do not name.
    check(&[&["floor($ / 10) == 3", "1"], &["$ % 2 == 0", "2"], &["$ + 5 > 20", "3"], &["", "4"]]);
    check(&[&["abs($ - 100) < 3", "1"], &["", "4"]]);
    check(&[&["($ ?? 50) > 40", "1"], &["> 100, <= 100", "2"], &["", "3"]]);
    // A row whose output fails is passed over.
    check(&[&["", "user.age + 1"], &["", "0"]]);
    check(&[&["> 5", "user.age / item.price"], &["> 5", "2"], &["", "3"]]);
    // And so is one with dates.
    let mut dated = table(&["user.age"], &["x"], &[&["", "1"], &["", "2"]]);
    dated["x-selvedge"]["dates"] = json!({ "r0": { "until": "2030-01-01" } });
    let findings = lint::lint(&read(&dated).unwrap());
    assert!(findings.iter().all(|finding| finding.code == Code::UnusedInput), "{findings:?}");
}

#[test]
fn a_gap_is_told_of_inputs_that_may_come_together() {
    let check = |columns: &[&str], rows: &[&[&str]], expected: &[(Code, Option<usize>)]| {
        assert_eq!(found(columns, rows), expected, "{rows:?}");
    };
    // One input in two columns: what passes both.
    let twice = ["user.age", "user.age"];
    check(&twice, &[&["< 5", "", "1"], &["", ">= 5", "2"]], &[]);
    check(&twice, &[&["< 5", "", "1"], &["", "> 5", "2"]], &[(Code::Gap, None)]);
    check(&twice, &[&["< 5", "> 7", "1"], &["", "", "2"]], &[(Code::Contradiction, Some(1))]);
    check(&twice, &[&["> 5", "< 9", "1"], &["(5..9)", "", "2"], &["", "", "3"]], &[(Code::UnreachableRow, Some(2))]);
    // What a node before gave, or whether the table runs, hangs together with the inputs.
    let given = [
        keys("E", &[("old", "user.age > 5")], true),
        table_node("T", &["old", "user.age"], &["x"], &[&["true", "> 5", "1"], &["false", "<= 5", "2"]]),
    ];
    let branch = [switch("S", "first", &["user.age > 5"]), table_node("T", &["user.age"], &["x"], &[&["> 5", "1"]])];
    for file in [graph(&given, "in>E E>T T>out"), graph(&branch, "in>S S.s0>T T>out")] {
        let told = lint::lint(&read(&file).unwrap());
        let told: Vec<Code> = told.iter().map(|told| told.code).filter(|code| *code != Code::UnusedInput).collect();
        assert_eq!(told, [Code::Skipped]);
    }
}

#[test]
fn classes_are_exact() {
    let check = |columns: &[&str], rows: &[&[&str]], expected: &[(Code, Option<usize>)]| {
        assert_eq!(found(columns, rows), expected, "{rows:?}");
    };
    // Neighbours: nothing lies between.
    check(&["user.age"], &[&["<= 0.1", "1"], &["> 0.1", "2"]], &[]);
    check(&["user.age"], &[&["< 0.1", "1"], &["> 0.1", "2"]], &[(Code::Gap, None)]);
    check(&["user.age"], &[&["[1..2], (2..3)", "1"], &["< 1, >= 3", "2"]], &[]);
    check(&["user.age"], &[&["-5, 0, 5", "1"], &["not in [-5, 0, 5]", "2"]], &[]);
    check(&["user.segment"], &[&["'a', 'b'", "1"], &["'b'", "2"], &["", "3"]], &[(Code::UnreachableRow, Some(2))]);
    check(&["user.segment"], &[&["!= 'a'", "1"], &["'a'", "2"]], &[]);
    check(&["user.vip"], &[&["$ and true", "1"], &["$ == false", "2"]], &[]);
    check(&["user.vip"], &[&["true and false", "1"], &["", "2"]], &[(Code::Contradiction, Some(1))]);
}

#[test]
fn what_is_too_large_is_said_to_be() {
    // Three columns of three hundred cases each are too many combinations; pairs are still looked at.
    let cells: Vec<[String; 4]> = (0..300)
        .map(|at| [format!("{at}"), format!("> {at}"), format!("[{at}..{}]", at + 1), "1".to_owned()])
        .collect();
    let rows: Vec<Vec<&str>> = cells.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    let mut file = table(&["user.age", "item.price", "item.weight"], &["x"], &rows);
    file["x-selvedge"]["inputs"]["item.weight"] = json!("number");
    let told = lint::lint(&read(&file).unwrap());
    assert!(told.iter().any(|told| told.code == Code::Skipped), "{told:?}");
}
