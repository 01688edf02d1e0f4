//! Tables as CSV, read and written.

use selvedge_build::rules::{self, Rules, trial};
use serde_json::{Value, json};

use crate::{read, table};

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
    let csv = rules::to_csv("r.jdm.json", file.to_string().as_bytes(), None).unwrap().text;
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
    check(
        "user.segment: symbol,> x\n\"vip\" new,1\n",
        "line 2: `n` stands behind the quote that ends a cell; put the whole",
    );
    check("# hit: first\n# hit: collect x=sum\nuser.age,> x\n1,1\n", "a second line says `# hit:`");
    check("# rows: 8\n# rows: 9\nuser.age,> x\n1,1\n", "a second line says `# rows:`");
    check(
        "u: number,u.n: number,> x\n1,2,3\n",
        "the inputs `u` and `u.n`: one is a value, the other a group of values",
    );
    check("sep=|\nuser.age|> x\n1|2\n", "line 1: `sep=|`");
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
    check("[inputs]\na = 3\n", "a.toml:2: inputs.a: found the integer `3`, but a type such as \"number\"");
    check("rowz = 1\n", "did you mean \"row");
    let jdm = table(&["user.age"], &["x"], &[&["", "1"]]).to_string();
    let error = rules::read_with("a.jdm.json", jdm.as_bytes(), Some(("a.toml", ""))).expect_err("said twice");
    assert!(error.to_string().contains("keep one of them"));
}

#[track_caller]
fn answered(csv: &str, input: Value, expected: Value) {
    let rules = rules::read("T.csv", csv.as_bytes()).unwrap_or_else(|bad| panic!("{bad}"));
    let case = json!({ "name": "", "input": input, "expect": expected });
    let tried = trial::run(&rules.program, &serde_json::from_value(case).unwrap()).unwrap();
    assert!(tried.wrong.is_empty(), "{csv}: {:?}", tried.wrong);
}

#[track_caller]
fn bad_csv(csv: &str, expected: &str) {
    let error = rules::read("T.csv", csv.as_bytes()).expect_err("this is refused").to_string();
    assert!(error.contains(expected), "{error}\nexpected {expected}");
}

#[test]
fn a_row_may_begin_with_a_sign() {
    let csv = "# a comment\nuser.segment: symbol,> x\n\"#1\",1\n#2,2\n,3\n";
    answered(csv, json!({ "user.segment": "#1" }), json!({ "x": 1 }));
    answered(csv, json!({ "user.segment": "#2" }), json!({ "x": 2 }));
    answered(csv, json!({ "user.segment": "#3" }), json!({ "x": 3 }));
    bad_csv(
        "user.segment: symbol,> x\n# Black Friday\nvip,1\n",
        "\"T\", row 1: `# Black Friday` and nothing else: a comment or a row?",
    );
    bad_csv("# row: 8\nuser.age,> x\n1,1\n", "`# row:` is not known; did you mean `# rows:`?");
    bad_csv("# hit: first x=sum\nuser.age,> x\n1,1\n", "there is nothing to collect");
}

#[test]
fn lines_above_the_heads_are_taken_whole() {
    let csv = "# name: Hero, boost\n# hit: collect x=sum, y=max\nuser.age: number,> x,> y\n> 1,1,2\n> 2,3,4\n";
    answered(csv, json!({ "user.age": 5 }), json!({ "x": 4, "y": 4 }));
    let rules = rules::read("T.csv", csv.as_bytes()).unwrap();
    assert_eq!(rules.program.tables().next().unwrap().name, "Hero, boost");
    answered("# old\ruser.age;> x\r1;2\r", json!({ "user.age": 1 }), json!({ "x": 2 }));
}

#[test]
fn what_looks_like_something_else_is_refused() {
    for head in ["From", "UNTIL", "Note"] {
        bad_csv(&format!("user.age,{head},> x\n1,,2\n"), "in small letters, or `");
    }
    answered("Note: symbol,> x\na,1\n", json!({ "Note": "a" }), json!({ "x": 1 }));
    bad_csv("user.segment: symbol,> x\n\"not in DE, AT\",1\n", "`in` is left out: write `not DE, AT`");
    bad_csv("user.segment: symbol,> x\nvip or new,1\n", "is it one text, or two with `or` between?");
    for text in ["Rosie's", "Shoes (women)", "what?", "a=b"] {
        let told = format!("row 1, column \"user.segment\", `{text}`: ");
        bad_csv(&format!("user.segment,> x\n{text},1\n"), &told);
        bad_csv(&format!("user.segment,> x\n{text},1\n"), &format!("`\"\"\"{text}\"\"\"` in the file"));
        bad_csv(&format!("user.age,> x\n1,{text}\n"), "if it is a text");
        let csv = format!("user.segment,> x\n\"\"\"{text}\"\"\",1\n");
        answered(&csv, json!({ "user.segment": text }), json!({ "x": 1 }));
    }
}

#[test]
fn null_is_missing_in_every_column() {
    let csv = "user.segment: symbol,> t: symbol\nnull,none\nnot null,null\n";
    answered(csv, json!({}), json!({ "t": "none" }));
    answered(csv, json!({ "user.segment": "null" }), json!({ "t": null, "row": 1 }));
    let listed = "user.segment: symbol,> x\n\"vip, null\",1\n,2\n";
    answered(listed, json!({}), json!({ "x": 1 }));
    answered(listed, json!({ "user.segment": "vip" }), json!({ "x": 1 }));
    answered(
        "user.segment: symbol,> x\n\"\"\"null\"\"\",1\n,2\n",
        json!({ "user.segment": "null" }),
        json!({ "x": 1 }),
    );
}

#[test]
fn a_number_has_a_point() {
    bad_csv("user.age;> x\n> 1,5;2\n", "row 1, column \"user.age\", `> 1,5`: a number has a point");
    bad_csv("user.age;> x\n> 1;2,5\n", "row 1, column \"x\", `2,5`: a number has a point");
    bad_csv("user.age\t> x\n1,5\t2\n", "a number has a point");
    answered("user.age;> x\n1, 5;2\n;3\n", json!({ "user.age": 5 }), json!({ "x": 2 }));
    answered("user.age,> x\n\"1, 5\",2\n,3\n", json!({ "user.age": 5 }), json!({ "x": 2 }));
    bad_csv("user.age,> x\n\"1,000\",2\n", "row 1, column \"user.age\", `1,000`: a number has a point and no comma");
    bad_csv("user.age,> x\n\"> 2,500\",2\n", "`> 2,500`: a number has a point");
    bad_csv("user.age,> x\n1,\"1,250,000\"\n", "column \"x\", `1,250,000`: a number has a point");
    bad_csv("user.age: number,> x: flag\n,\"user.age in [1,5]\"\n", "`user.age in [1,5]`: a number has a point");
    bad_csv(
        "user.old: flag,user.age: number,> x\n\"user.age in [1,5]\",,1\n",
        "`user.age in [1,5]`: a number has a point",
    );
    // A list of a JDM file is written with spaces.
    let csv = written(&table(&["user.age"], &["x"], &[&["1,5", "2"]])).unwrap();
    assert!(csv.contains("\"1, 5\",2"), "{csv}");
}

#[test]
fn a_column_has_one_type_or_says_it() {
    bad_csv(
        "user.age,> x\n1,10\n2,1O\n3,5\n",
        "\"T\", row 2, column \"x\", `1O`: is of another type than `10` in row 1",
    );
    bad_csv("user.age,> x\n1,10\nvip,1\n", "column \"user.age\", `vip`: is of another type than `1` in row 1");
    bad_csv("user.age,> x\n1,10\n2,true\n", "say the type in the head: `> x: symbol` [output-type]");
    answered("user.size: symbol,> x: symbol\n42,10\nXL,1O\n", json!({ "user.size": "42" }), json!({ "x": "10" }));
    // What names an input has its type.
    answered("item.price: number,> x\n> 5,item.price\n,1.5\n", json!({ "item.price": 6 }), json!({ "x": 6 }));
    answered(
        "item.price,> x\n$ > 5,free-shipping\n,none\n",
        json!({ "item.price": 6 }),
        json!({ "x": "free-shipping" }),
    );
    bad_csv("item.kind: symbol,> x: symbol\n,item.kind\n", "`item.kind` is the name of an input: write `(item.kind)`");
    answered("item.kind: symbol,> x: symbol\nbag,(item.kind)\n", json!({ "item.kind": "bag" }), json!({ "x": "bag" }));
    bad_csv("user.segment: symbol,> x\n\"a,,b\",1\n", "no text between two commas");
}

#[test]
fn a_type_may_stand_beside() {
    let read = |csv: &str, toml: &str| rules::read_with("a.csv", csv.as_bytes(), Some(("a.toml", toml)));
    let toml = "[inputs]\n\"user.size\" = \"symbol\"\n";
    let rules = read("user.size,> x\n42,1\n,2\n", toml).unwrap();
    let case = json!({ "name": "", "input": { "user.size": "42" }, "expect": { "x": 1 } });
    assert!(trial::run(&rules.program, &serde_json::from_value(case).unwrap()).unwrap().wrong.is_empty());
    let error = read("user.size: number,> x\n42,1\n", toml).unwrap_err().to_string();
    assert!(error.contains("its head says number, and the .toml beside the file says symbol"), "{error}");
    // Said beside the file or in it; what is said there counts, also when it is the default.
    let rows = |csv: &str, toml: &str| read(csv, toml).unwrap().manifest().limits.rows;
    assert_eq!(rows("# rows: 8\nuser.age,> x\n1,1\n", "rows = 1024\n"), 1024);
    assert_eq!(rows("# rows: 8\nuser.age,> x\n1,1\n", ""), 8);
    assert_eq!(rows("user.age,> x\n1,1\n", ""), 1024);
}

#[test]
fn cells_are_told_as_they_are_written() {
    let rules = rules::read("T.csv", b"user.segment: symbol,> badge: symbol,note\nvip,gold,hello\n").unwrap();
    let row = &rules.program.tables().next().unwrap().rows[0];
    assert_eq!((&row.cells[..], row.note.as_str()), (&["vip".to_owned(), "gold".to_owned()][..], "hello"));
    bad_csv(
        "user.segment: symbol,> x\nvip,gold silver\nnew,1\n",
        "`1`: is of another type than `gold silver` in row 1",
    );
    bad_csv("user.segment: symbol,user.age: number,> x\nvip,old,1\n", "`old`: nothing gives `old`");
}

fn written(file: &Value) -> Result<String, String> {
    let csv = rules::to_csv("r.jdm.json", file.to_string().as_bytes(), None);
    csv.map(|csv| csv.text).map_err(|bad| bad.to_string())
}

#[test]
fn what_is_written_as_csv_means_the_same() {
    let mut file = table(
        &["user.segment", "item.kind", "item.price"],
        &["x", "y", "z"],
        &[
            &["'#1'", "", "", "1", "item.price", "'k'"],
            &["null", "item.kind", "", "2", "item.price", "item.kind"],
            &["", "'a'", "", "4", "item.price", "'item.kind'"],
            &["'-'", "'null'", "> 5", "4", "", "null"],
            &["", "", "", "", "", ""],
        ],
    );
    file["x-selvedge"]["inputs"] = json!({ "user.segment": "symbol", "item.kind": "symbol", "item.price": "number" });
    // A column compared with another one of texts.
    file["nodes"][1]["content"]["rules"][1]["i1"] = json!("!= 'x'");
    let csv = written(&file).unwrap();
    let body: Vec<&str> = csv.lines().skip(2).collect();
    assert_eq!(
        body,
        [
            "\"#1\",,,1,item.price,k",
            "null,!= 'x',,2,item.price,(item.kind)",
            ",a,,4,item.price,'item.kind'",
            "'-','null',> 5,4,,null",
            "-,,,,,",
        ],
        "{csv}"
    );
    let again = rules::read("T.csv", csv.as_bytes()).unwrap_or_else(|bad| panic!("{bad}\n{csv}"));
    same_answers(&read(&file).unwrap(), &again);
}

/// Whether two programs answer alike on inputs around what they name.
fn same_answers(a: &Rules, b: &Rules) {
    let texts = [None, Some("#1"), Some("null"), Some("-"), Some("a"), Some("b"), Some("item.kind"), Some("k")];
    for segment in texts {
        for kind in texts {
            for price in [None, Some(5.0), Some(6.0)] {
                let input = json!({ "user.segment": segment, "item.kind": kind, "item.price": price });
                let case = serde_json::from_value(json!({ "name": "", "input": input, "expect": {} })).unwrap();
                let [a, b] = [a, b].map(|rules| {
                    let call = trial::call(&rules.program, &case).unwrap();
                    format!("{:?}", rules::evaluate(&rules.program, &call.shared, &call.candidates))
                });
                assert_eq!(a, b, "{segment:?} {kind:?} {price:?}");
            }
        }
    }
}

#[test]
fn what_csv_cannot_say_is_refused_with_its_place() {
    let file = || table(&["user.segment"], &["x"], &[&["'a'", "1"], &["", "2"]]);
    let check = |edit: &dyn Fn(&mut Value), expected: &str| {
        let mut file = file();
        file["x-selvedge"]["inputs"] = json!({ "user.segment": "symbol" });
        edit(&mut file);
        let error = written(&file).unwrap_err();
        assert!(error.contains(expected), "{error}\nexpected {expected}");
    };
    check(
        &|file| file["x-selvedge"]["outputs"] = json!({ "x": { "default": 3 } }),
        "more than the heads of a CSV file can",
    );
    check(&|file| file["nodes"][1]["content"]["rules"][0]["i0"] = json!("5"), "are a text and a number");
    check(&|file| file["nodes"][1]["content"]["outputPath"] = json!("g"), "an output path");
    check(
        &|file| file["x-selvedge"]["inputs"]["user.segment"] = json!({ "type": "symbol", "symbols": ["b"] }),
        "a list of symbols",
    );
    check(
        &|file| {
            file["x-selvedge"]["inputs"] = json!({ "user.age": "number" });
            file["nodes"][1]["content"]["inputs"][0]["field"] = json!("user.age + 1");
            file["nodes"][1]["content"]["rules"][0]["i0"] = json!("5");
        },
        "is no declared input",
    );
    let passed_on = json!({ "user.segment": "symbol", "x": "number" });
    check(
        &|file| {
            file["x-selvedge"]["inputs"] = passed_on.clone();
            file["nodes"][1]["content"]["passThrough"] = json!(true);
            file["nodes"][1]["content"]["rules"][0]["o0"] = json!("");
        },
        "`x` is no column of its own",
    );
    let error = rules::to_csv("a.csv", b"user.age,> x\n1,1\n", None).unwrap_err().to_string();
    assert!(error.contains("a.csv: is a CSV file already"), "{error}");
    // What is left out is told.
    let mut with_tests = file();
    with_tests["x-selvedge"]["inputs"] = json!({ "user.segment": "symbol", "unused": "number" });
    with_tests["x-selvedge"]["tests"] = json!([{ "name": "", "expect": { "x": 2 } }]);
    let csv = rules::to_csv("r.jdm.json", with_tests.to_string().as_bytes(), None).unwrap();
    assert_eq!(csv.left_out.len(), 2, "{:?}", csv.left_out);
    // What stands beside the file stays there, and is no loss.
    let mut bare = file();
    bare.as_object_mut().unwrap().remove("x-selvedge");
    let toml = "rows = 8\n[inputs]\n\"user.segment\" = { type = \"symbol\", symbols = [\"b\"] }\n[outputs]\nx = { default = 3 }\n";
    let csv = rules::to_csv("r.jdm.json", bare.to_string().as_bytes(), Some(("r.toml", toml))).unwrap();
    assert_eq!((csv.text.as_str(), csv.left_out.len()), ("# name: T\nuser.segment: symbol,> x: number\na,1\n,2\n", 0));
}

/// A range, a date, a code: a spreadsheet shows it as it was meant, and it reads as a number.
#[test]
fn what_looks_like_a_number_and_is_none_is_refused() {
    let of_input = |cell: &str, head: &str, expected: &str| {
        let told = format!("row 2, column \"user.age\", `{cell}`: {expected}");
        bad_csv(&format!("{head},> x\n,1\n\"{cell}\",2\n"), &told);
    };
    for head in ["user.age", "user.age: number"] {
        of_input("18-25", head, "is arithmetic of numbers: `[18..25]` is a range");
        of_input("1 - 5", head, "is arithmetic of numbers: `[1..5]` is a range");
        of_input("2026-11-25", head, "is arithmetic of numbers: ");
        of_input("> 2026-01-15", head, "is arithmetic of numbers: ");
        of_input("[2026-01-15..2026-02-15]", head, "is arithmetic of numbers: ");
    }
    of_input("00123", "user.age", "begins with a zero; say the type in the head: `user.age: symbol` for a text");
    of_input("00123, 00124", "user.age", "begins with a zero");
    bad_csv("user.old: flag,> x\nuser.age > 2026-01-15,1\n", "is arithmetic of numbers");
    answered("user.age: symbol,> x\n18-25,1\n", json!({ "user.age": "18-25" }), json!({ "x": 1 }));
    answered("user.age: number,> x\n-5,1\n007,2\n", json!({ "user.age": 7 }), json!({ "x": 2 }));
    answered("user.age: number,> x\n$ * (1 - 0.5) > 5,1\n", json!({ "user.age": 12 }), json!({ "x": 1 }));
    for cell in ["2026-12-01", "1/2", "555-1234"] {
        let told =
            "is arithmetic of numbers; say the type in the head: `> x: symbol` for a text, `> x: number` for a number";
        bad_csv(&format!("user.age: number,> x\n,{cell}\n"), &format!("row 1, column \"x\", `{cell}`: {told}"));
        bad_csv(&format!("user.age: number,> boost\n,{cell}\n"), "is arithmetic of numbers");
        answered(&format!("user.age: number,> x: symbol\n,{cell}\n"), json!({}), json!({ "x": cell }));
    }
    answered("user.age: number,> x: number\n,1/2\n", json!({}), json!({ "x": 0.5 }));
    answered("user.age: number,> x\n,user.age - 1\n", json!({ "user.age": 3 }), json!({ "x": 2 }));
    bad_csv("user.age: number,> x\n,00123\n", "`00123`: begins with a zero; say the type in the head: `> x: symbol`");
    answered("user.age: number,> x: symbol\n,00123\n", json!({}), json!({ "x": "00123" }));
}

#[test]
fn flags_may_be_in_capitals() {
    for heads in ["user.vip,> eligible,> x", "user.vip: flag,> eligible: flag,> x: flag"] {
        let csv = format!("{heads}\nTRUE,False,true\nfalse,TRUE,FALSE\n");
        answered(&csv, json!({ "user.vip": true }), json!({ "eligible": false, "x": true }));
        answered(&csv, json!({ "user.vip": false }), json!({ "eligible": true, "x": false }));
    }
    answered("user.t: symbol,> x\nTRUE,1\n,2\n", json!({ "user.t": "TRUE" }), json!({ "x": 1 }));
    answered("user.t: symbol,> x\nTRUE,1\n,2\n", json!({ "user.t": "true" }), json!({ "x": 2 }));
}

#[test]
fn null_and_quotes_of_other_kinds_are_refused() {
    for head in ["user.a: number", "user.a: symbol", "user.a: flag", "user.a"] {
        bad_csv(&format!("{head},> x\nNULL,1\n"), "`NULL`: what is missing is `null`, in small letters");
        bad_csv(&format!("user.age: number,> x,> {head}\n,1,Null\n"), "`Null`: what is missing is `null`");
    }
    bad_csv("user.a: symbol,> x\n\"vip, NULL\",1\n", "what is missing is `null`");
    answered("user.a: symbol,> x\n\"\"\"NULL\"\"\",1\n", json!({ "user.a": "NULL" }), json!({ "x": 1 }));
    for text in ["“vip”", "‘vip’", "„vip“", "not “vip”", "“vip, new”", "“vip”, new"] {
        bad_csv(&format!("user.a,> x\n\"{text}\",1\n"), "quotes that are not straight: write the text without");
    }
    bad_csv("user.age: number,> x\n,“gold”\n", "quotes that are not straight");
    answered("user.a,> x\nRosie’s,1\n", json!({ "user.a": "Rosie’s" }), json!({ "x": 1 }));
    answered("user.a,> x\n\"\"\"“vip”\"\"\",1\n", json!({ "user.a": "“vip”" }), json!({ "x": 1 }));
}

#[test]
fn a_first_line_of_excel_says_what_stands_between_cells() {
    answered("sep=;\nuser.a: symbol;> x\nDE, AT;2\n", json!({ "user.a": "AT" }), json!({ "x": 2 }));
    answered(
        "sep=;\r\n# hit: collect x=sum\r\nuser.a;> x\r\n1;2\r\n1;3\r\n",
        json!({ "user.a": 1 }),
        json!({ "x": 5 }),
    );
}
