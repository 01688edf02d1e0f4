//! Files that are meant to hurt: bounded work for each, or a refusal that names the bound. Work is counted, not timed.

use selvedge_build::rules::{self, Code, lint};
use serde_json::{Value, json};

use crate::{graph, inputs, keys, read, refused, table};

/// A number a row, and the cells of its one input column.
fn rows(cells: &[String]) -> Value {
    let rows: Vec<[&str; 2]> = cells.iter().map(|cell| [cell.as_str(), "1"]).collect();
    let rows: Vec<&[&str]> = rows.iter().map(|row| &row[..]).collect();
    table(&["user.age"], &["x"], &rows)
}

#[test]
fn every_part_of_an_expression_is_looked_at_once() {
    let check = |cell: &str| {
        let rules = read(&table(&["user.age"], &["x"], &[&["", cell]])).unwrap();
        assert!(rules.work() <= 2 * cell.len() + 10, "{} for {cell}", rules.work());
        let module = rules.module().unwrap();
        assert!(module.len() < 40 * cell.len() + 20_000, "{} bytes for {cell}", module.len());
    };
    // These took twice as long, and as much memory, with every term.
    check(&vec!["user.age"; 300].join(" + "));
    let nested = (0..60)
        .fold("user.segment".to_owned(), |inner, _| format!("({inner} == item.kind ? user.segment : item.kind)"));
    check(&nested);
    check(&vec!["user.age ^ 16"; 150].join(" - "));
    check(&vec!["(user.age ?? 1)"; 150].join(" * "));
    check(&format!("user.segment in [{}]", vec!["item.kind"; 300].join(", ")));
}

#[test]
fn what_is_too_large_names_the_bound() {
    let long = vec!["user.age"; 360].join(" - ");
    let large = table(&["user.age"], &["x"], &vec![&["", long.as_str()][..]; 400]);
    let error = read(&large).unwrap().module().unwrap_err().to_string();
    assert!(
        error.contains("r.jdm.json: ") && error.contains("bytes of instructions, at most 2097152; split it"),
        "{error}"
    );

    let names: Vec<String> = (0..2_100).map(|at| format!("k{at}")).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let nodes = [keys("A", &names, true), keys("B", &[("x", "1")], true)];
    refused(&graph(&nodes, "in>A A>B B>out"), "2100 names arrive here, at most 2000");
    refused(&graph(&[keys("A", &names[..300], false)], "in>A A>out"), "300 outputs, at most 255, and `row`");
    let mut few = graph(&[keys("A", &names[..300], false)], "in>A A>out");
    few["x-selvedge"]["outputs"] = json!({ "k3": {} });
    read(&few).unwrap();

    // Many nodes that hand on many names: what is handed on counts as work.
    let ids: Vec<String> = (0..600).map(|at| format!("n{at}")).collect();
    let passing = ids.iter().map(|id| keys(id, &[("z", "1")], true));
    let nodes: Vec<Value> = std::iter::once(keys("A", &names[..1_900], true)).chain(passing).collect();
    let edges: Vec<String> = ids.windows(2).map(|pair| format!("{}>{}", pair[0], pair[1])).collect();
    let edges = format!("in>A A>n0 {} n599>out", edges.join(" "));
    let mut file = graph(&nodes, &edges);
    file["x-selvedge"]["outputs"] = json!({ "z": {} });
    assert!(read(&file).unwrap().work() < 1_900 * 700);
    // As many rows as a file has room for.
    let terms = vec!["1"; 250].join("-");
    let file = table(&["user.age"], &["x"], &vec![&["", terms.as_str()][..]; 6_000]);
    refused(&file, "parts of expressions and names handed on; split it");
}

#[test]
fn a_sheet_has_so_many_cells() {
    let check = |csv: String, expected: &str| {
        let error = rules::read("a.csv", csv.as_bytes()).expect_err("this is refused").to_string();
        assert!(error.contains(expected), "{error}");
    };
    let heads: Vec<String> = (0..200_000).map(|at| format!("i{at}")).collect();
    check(format!("{},> x\n", heads.join(",")), "200001 columns and 0 rows, at most 50000 cells");
    check(format!("a,> x\n{}", "1,1\n".repeat(30_000)), "2 columns and 30000 rows, at most 50000 cells");
}

#[test]
fn lints_end() {
    let told = |file: &Value| -> Vec<Code> {
        let findings = lint::lint(&read(file).unwrap()).into_iter();
        findings.map(|finding| finding.code).filter(|code| *code != Code::UnusedInput).collect()
    };
    // Long lists, and many rows of one number each.
    let lists: Vec<String> =
        (0..100).map(|row| (0..480).map(|at| (row * 480 + at).to_string()).collect::<Vec<_>>().join(", ")).collect();
    assert_eq!(told(&rows(&lists)), [Code::Gap]);
    let many: Vec<String> = (0..4_000).map(|at| format!("[{at}..{at}.5]")).collect();
    assert_eq!(told(&rows(&many)), [Code::Gap]);
    let more: Vec<String> = (0..20_000).map(|at| format!("[{at}..{at}.5]")).collect();
    assert_eq!(told(&rows(&more)), [Code::Skipped]);
    // Rows that nothing passes, each of which golden vectors would aim at for long.
    let never = vec!["$ > 5 and $ < 3".to_owned(); 8_000];
    let never = rows(&never);
    assert!(told(&never).iter().all(|code| *code == Code::Contradiction));
    read(&never).unwrap().module().unwrap();
}

#[test]
fn long_words_are_compared_with_nothing() {
    let mut file = table(&["user.age"], &["x"], &[&["> item.price", "1"]]);
    let long = "n".repeat(3_000);
    let mut declared = inputs();
    (0..1_000).for_each(|at| declared[format!("{long}{at}")] = json!("number"));
    file["x-selvedge"]["inputs"] = declared;
    file["nodes"][1]["content"]["rules"][0]["i0"] = json!(format!("> {long}"));
    refused(&file, "nothing gives `nnn");
}
