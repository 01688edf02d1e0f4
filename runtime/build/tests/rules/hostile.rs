//! Files that are meant to hurt: bounded work for each, or a refusal that names the bound. Work is counted, not timed.

use selvedge_build::module;
use selvedge_build::rules::{self, Code, lint, trial};
use serde_json::{Value, json};
use wasmparser::{Operator, Parser, Payload};

use crate::{graph, inputs, keys, read, refused, table, table_node};

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

/// An engine's compiler keeps something of every local at every jump of a function: it took these a minute and gigabytes.
#[test]
fn no_function_is_too_large_for_the_engine() {
    let check = |file: &Value| {
        let module = read(file).unwrap().module().unwrap();
        let core = module::lift(&module).unwrap();
        for payload in Parser::new(0).parse_all(core) {
            let Payload::CodeSectionEntry(body) = payload.unwrap() else { continue };
            let locals: u32 = body.get_locals_reader().unwrap().into_iter().map(|local| local.unwrap().0).sum();
            let operators = body.get_operators_reader().unwrap().into_iter();
            let jumps =
                operators.filter(|operator| matches!(operator, Ok(Operator::BrIf { .. } | Operator::Block { .. })));
            let jumps = jumps.count();
            assert!(locals as usize * jumps <= 1 << 20 && jumps < 40_000, "{locals} locals, {jumps} jumps");
            let bytes = body.range().len();
            assert!(bytes <= 136 << 10, "{bytes} bytes");
        }
    };
    let texts: Vec<String> = (0..3_000).map(|at| format!("startsWith($, 'x{at}')")).collect();
    let rows: Vec<[&str; 2]> = texts.iter().map(|cell| [cell.as_str(), "1"]).collect();
    let rows: Vec<&[&str]> = rows.iter().map(|row| &row[..]).collect();
    check(&table(&["user.segment"], &["x"], &rows));

    let cells: Vec<String> = (0..3_000).map(|at| format!("> {at} and < 5000")).collect();
    let mut collects = self::rows(&cells);
    collects["nodes"][1]["content"]["hitPolicy"] = json!("collect");
    collects["x-selvedge"]["collect"] = json!({ "T": { "x": "sum" } });
    check(&collects);

    let keys_: Vec<String> = (0..500).map(|at| format!("k{at}")).collect();
    let sum: Vec<String> = keys_.iter().take(300).map(|key| format!("$.{key}")).collect();
    let sum = sum.join(" + ");
    let terms = ["round(user.age)"; 8].join(" + ");
    let of: Vec<(&str, &str)> =
        keys_.iter().map(|key| (key.as_str(), terms.as_str())).chain([("z", sum.as_str())]).collect();
    let mut file = graph(&[keys("E", &of, false)], "in>E E>out");
    file["x-selvedge"]["outputs"] = json!({ "z": {} });
    check(&file);

    let columns: Vec<String> = (0..400).map(|at| format!("c{at}")).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let row: Vec<&str> = vec!["> 5"; 400].into_iter().chain(["1"]).collect();
    let mut wide = table(&columns, &["x"], &vec![&row[..]; 100]);
    columns.iter().for_each(|name| wide["x-selvedge"]["inputs"][name] = json!("number"));
    check(&wide);
}

/// What is least of many is looked at number by number: an engine's compiler would keep all of them to the end.
#[test]
fn the_least_of_many_is_looked_at_each_time() {
    let of: Vec<String> = (0..200).map(|at| format!("i{at}")).collect();
    let mut file = graph(&[keys("E", &[("x", &format!("min([{}])", of.join(", ")))], false)], "in>E E>out");
    of.iter().for_each(|name| file["x-selvedge"]["inputs"][name] = json!("number"));
    let module = read(&file).unwrap().module().unwrap();
    let mut counted = 0;
    for payload in Parser::new(0).parse_all(module::lift(&module).unwrap()) {
        let Payload::CodeSectionEntry(body) = payload.unwrap() else { continue };
        let operators: Vec<_> = body.get_operators_reader().unwrap().into_iter().map(Result::unwrap).collect();
        for pair in operators.windows(2).filter(|pair| matches!(pair[0], Operator::F64Min)) {
            assert!(matches!(pair[1], Operator::LocalTee { .. }), "{:?}", pair[1]);
            counted += 1;
        }
    }
    assert_eq!(counted, 199);
}

/// Every symbol input lists all texts: 80 rows of 600 such columns were gigabytes.
#[test]
fn lists_of_texts_are_bounded_before_they_are_made() {
    let columns: Vec<String> = (0..600).map(|at| format!("s{at}: symbol")).collect();
    let mut csv = format!("{},> x\n", columns.join(","));
    for row in 0..80 {
        let cells: Vec<String> = (0..600).map(|at| format!("t{row}_{at}")).collect();
        csv.push_str(&format!("{},1\n", cells.join(",")));
    }
    let error = rules::read("wide.csv", csv.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("48000 texts, which each of 600 symbol inputs and 0 outputs lists, are "), "{error}");
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
    let told_of = |file: &Value| -> Vec<Code> {
        let findings = lint::lint(&read(file).unwrap()).into_iter();
        findings.map(|finding| finding.code).filter(|code| *code != Code::UnusedInput).collect()
    };
    // Long lists, and many rows of one number each.
    let lists: Vec<String> =
        (0..100).map(|row| (0..480).map(|at| (row * 480 + at).to_string()).collect::<Vec<_>>().join(", ")).collect();
    assert_eq!(told_of(&rows(&lists)), [Code::Gap]);
    let many: Vec<String> = (0..4_000).map(|at| format!("[{at}..{at}.5]")).collect();
    assert_eq!(told_of(&rows(&many)), [Code::Gap]);
    let more: Vec<String> = (0..20_000).map(|at| format!("[{at}..{at}.5]")).collect();
    assert_eq!(told_of(&rows(&more)), [Code::Skipped]);
    // Many tables: what is looked at counts for the file.
    let columns: Vec<String> = (0..10).map(|at| format!("c{at}")).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let row = vec!["5"; 10].into_iter().chain(["1"]).collect::<Vec<_>>();
    let outputs: Vec<String> = (0..100).map(|at| format!("o{at}")).collect();
    let tables: Vec<Value> = outputs.iter().map(|output| table_node(output, &columns, &[output], &[&row])).collect();
    let edges: String = outputs.iter().map(|id| format!("in>{id} {id}>out ")).collect();
    let mut file = graph(&tables, &edges);
    columns.iter().for_each(|name| file["x-selvedge"]["inputs"][name] = json!("number"));
    let told = told_of(&file);
    let count = |code: Code| told.iter().filter(|told| **told == code).count();
    assert!(count(Code::Gap) > 50 && count(Code::Skipped) > 5, "{told:?}");
    // Rows that nothing passes, each of which golden vectors would aim at for long.
    let never = vec!["$ > 5 and $ < 3".to_owned(); 8_000];
    let never = rows(&never);
    assert!(told_of(&never).iter().all(|code| *code == Code::Contradiction));
    read(&never).unwrap().module().unwrap();
}

#[test]
fn a_file_has_so_many_tests() {
    let tests = |count: usize| json!(vec![json!({ "name": "", "expect": {} }); count]);
    let error = trial::read("a.test.json", tests(10_001).to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("a.test.json: 10001 tests, at most 10000"), "{error}");
    assert_eq!(trial::read("a.test.json", tests(10_000).to_string().as_bytes()).unwrap().len(), 10_000);
    let mut file = table(&["user.age"], &["x"], &[&["", "1"]]);
    file["x-selvedge"]["tests"] = tests(10_001);
    refused(&file, "10001 tests, at most 10000");
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
