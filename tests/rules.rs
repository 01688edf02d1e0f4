//! Rules on the command line, as `docs/rules.md` says them: checked, tested, evaluated, written as CSV; and the mistakes that
//! people make on that way.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::{Cli, Process, binary, folder, until};
use serde_json::{Value, json};

use crate::modules::{refused, with_files};

const LIMIT: Duration = Duration::from_secs(60);

/// A table, and a test for each of its rows.
const HERO: &str = "user.segment: symbol,item.price: number,> boost: number,> badge: symbol\n\
    vip,[10..100),1.5,gold\nnot new,> 100,1.2,\n,,1,\n";
const HERO_TESTS: &str = r#"[
    { "name": "vips", "input": { "user.segment": "vip", "item.price": 20 }, "expect": { "boost": 1.5, "badge": "gold" } },
    { "name": "others", "input": { "user.segment": "old" }, "candidates": [{ "item.price": 150 }, {}],
      "expect": [{ "row": 1 }, { "row": 2 }] }
]"#;

/// The blocks of code of the documentation's page, by their place.
fn docs() -> Result<Vec<String>> {
    let text = fs::read_to_string(binary::repository().join("docs/rules.md"))?;
    let inside = text.split("```").skip(1).step_by(2);
    // The first word after the fence is the language.
    Ok(inside.map(|block| block.split_once('\n').map_or(block, |(_, code)| code).to_owned()).collect())
}

fn block(start: &str) -> Result<String> {
    docs()?
        .into_iter()
        .find(|block| block.starts_with(start))
        .with_context(|| format!("docs/rules.md has no block {start}"))
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

#[test]
fn the_documentation_is_true() -> Result<()> {
    let [csv, rows, answer] = [block("user.segment: symbol,")?, block("{\"shared\"")?, block("{\"outputs\"")?];
    let (commands, tests, settings) = (block("selvedge check")?, block("[\n")?, block("\"x-selvedge\"")?);
    let files = [("perks.csv", &csv), ("rows.jsonl", &rows), ("perks.test.json", &tests)];
    with_files(&files.map(|(name, text)| (name, text.as_bytes())), async |folder, cli| {
        // The three commands, as they are written.
        let mut said = String::new();
        for line in commands.lines() {
            let words = line.split('#').next().unwrap_or_default().split_whitespace().skip(1);
            let ran = cli.run(words).await?;
            said.push_str(&ran.ok().with_context(|| line.to_owned())?.stdout);
        }
        ensure!(said.ends_with(&answer) && said.contains("3 of 3"), "{said}");

        // In a release: where scores cannot be negative it packs, elsewhere it does not.
        let shop = folder.join("quickstart");
        folder::copy(&binary::repository().join("examples/quickstart"), &shop)?;
        fs::write(shop.join("modules/perks.csv"), &csv)?;
        fs::write(shop.join("modules/perks.test.json"), &tests)?;
        let placement = |name: &str| shop.join("placements").join(name);
        let name_it = |name: &str| -> Result<String> {
            let text = fs::read_to_string(placement(name))?;
            fs::write(placement(name), format!("rules = [\"perks\"]\n{text}"))?;
            Ok(text)
        };
        name_it("home-hero.toml")?;
        cli.run(["check", "quickstart"]).await?.ok()?;
        cli.run(["test", "quickstart"]).await?.ok()?;
        let before = name_it("plp-rank.toml")?;
        let ran = cli.run(["check", "quickstart"]).await?;
        ensure!(ran.code == Some(1) && ran.stdout.contains("plp-rank"), "{}{}", ran.stdout, ran.stderr);
        fs::write(placement("plp-rank.toml"), before)?;
        fs::copy(shop.join("modules/perks.csv"), shop.join("modules/hero.csv"))?;
        let ran = cli.run(["check", "quickstart"]).await?;
        ensure!(ran.code == Some(1) && ran.stdout.contains("and so does another file"), "{}", ran.stdout);

        // The block of settings, for a table that it fits.
        let settings: Value = serde_json::from_str(&format!("{{{settings}}}"))?;
        let columns = |names: &[&str], prefix: &str| -> Vec<Value> {
            let names = names.iter().enumerate();
            names.map(|(at, name)| json!({ "id": format!("{prefix}{at}"), "name": name, "field": name })).collect()
        };
        let inputs = ["user.segment", "item.price", "hour", "user.favourite"];
        let rules = json!([
            { "_id": "r1", "i0": "\"vip\"", "i1": "> 5", "o0": "1.5", "o1": "1" },
            { "_id": "r2", "i2": "[480..1200]", "i3": "\"shoes\"", "o0": "2" },
        ]);
        let content = json!({ "hitPolicy": "collect", "inputs": columns(&inputs, "i"),
            "outputs": columns(&["boost", "badge"], "o"), "rules": rules });
        let mut file = json!({
            "nodes": [
                { "id": "in", "type": "inputNode", "name": "in" }, { "id": "out", "type": "outputNode", "name": "out" },
                { "id": "t", "type": "decisionTableNode", "name": "Boosts", "content": content },
            ],
            "edges": [{ "id": "a", "sourceId": "in", "targetId": "t" }, { "id": "b", "sourceId": "t", "targetId": "out" }],
        });
        file["x-selvedge"] = settings["x-selvedge"].clone();
        fs::write(folder.join("boosts.jdm.json"), file.to_string())?;
        let row = json!({ "user.segment": "vip", "item.price": 6, "user.favourite": "shoes" });
        fs::write(folder.join("row.jsonl"), row.to_string())?;
        for (now, boost, badge) in
            [("2026-11-25T08:00:00Z", 3.5, 1), ("2026-12-01T08:00:00Z", 2.0, 0), ("2026-12-01T07:59:59Z", 1.5, 1)]
        {
            let told = cli.json(["eval", "boosts.jdm.json", "--rows", "row.jsonl", "--now", now]).await?;
            // Before 08:00 the second row does not hold, on December 1st the first no longer.
            let expected = json!({ "boost": boost, "badge": f64::from(badge) });
            let found = &told["outputs"][0];
            ensure!(found["boost"] == expected["boost"] && found["badge"] == expected["badge"], "{now}: {told}");
        }
        Ok(())
    })
}

#[test]
fn mistakes_are_findings_with_their_place() -> Result<()> {
    let bad = HERO.replace("[10..100)", "[10..");
    let told = "error: hero.csv: \"hero\", row 1, column \"item.price\", `[10..`: found the end, expected";
    with_files(&[("hero.csv", bad.as_bytes()), ("good.csv", HERO.as_bytes())], async |folder, cli| {
        let ran = cli.run(["check", "hero.csv"]).await?;
        ensure!(ran.code == Some(1) && ran.stdout.contains(told), "{}{}", ran.stdout, ran.stderr);
        let ran = cli.run(["check", "--json", "hero.csv"]).await?;
        let found = lines(&ran.stdout)?;
        ensure!(
            found[0]["code"] == "syntax" && found[0]["row"] == 1 && found[0]["column"] == "item.price",
            "{found:?}"
        );
        ensure!(found[0]["cell"] == "[10.." && found[0]["level"] == "error", "{found:?}");

        let ran = cli.run(["check", "good.csv"]).await?.ok()?.clone();
        ensure!(ran.stdout.is_empty() && ran.stderr.contains("nothing to tell"), "{}{}", ran.stdout, ran.stderr);
        // What is good to know is told when it is asked for; it is no finding.
        let ran = cli.run(["check", "-v", "good.csv"]).await?.ok()?.clone();
        ensure!(ran.stdout.is_empty() || ran.stdout.contains("information: "), "{}", ran.stdout);

        // What is wrong with the module alone names the file, too.
        fs::write(folder.join("good.toml"), "rows = 70000\n")?;
        let ran = cli.run(["check", "good.csv"]).await?;
        let told =
            "error: good.csv: manifest: limits.rows: 70000 is not between 1 and 65,536; say another number of `rows`";
        ensure!(ran.code == Some(1) && ran.stdout.contains(told), "{}", ran.stdout);
        Ok(())
    })
}

#[test]
fn tests_are_run_counted_and_written() -> Result<()> {
    let files = [("hero.csv", HERO.as_bytes()), ("hero.test.json", HERO_TESTS.as_bytes())];
    with_files(&files, async |folder, cli| {
        let ran = cli.run(["test", "hero.csv", "--coverage", "--junit", "out.xml"]).await?.ok()?.clone();
        ensure!(
            ran.stdout.contains("3 of 3") && ran.stderr.contains("2 tests, 0 failed"),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
        let junit = || fs::read_to_string(folder.join("out.xml"));
        ensure!(junit()?.contains("<testsuites tests=\"2\" failures=\"0\">"), "{}", junit()?);

        // A row that no test made fire, and a value that did not come out, are findings.
        let one = HERO_TESTS.replace("\"boost\": 1.5", "\"boost\": 2").replace("{ \"item.price\": 150 }", "{}");
        fs::write(folder.join("hero.test.json"), one.replace("{ \"row\": 1 }", "{}"))?;
        let ran = cli.run(["test", "hero.csv", "--coverage"]).await?;
        ensure!(
            ran.code == Some(1) && ran.stdout.contains("FAILED hero.csv: vips\n  boost is 1.5, expected 2"),
            "{}",
            ran.stdout
        );
        let ran = cli.run(["test", "hero.csv", "--coverage", "--json"]).await?;
        let told = lines(&ran.stdout)?;
        let covered = told.iter().find(|line| line["table"] == "hero").context("the table's coverage")?;
        ensure!(covered["never_fired"] == json!([2]) && covered["rows"] == 3, "{covered}");
        ensure!(told.iter().any(|line| line["test"] == "others" && line["ok"] == true), "{told:?}");

        // A test that a node would answer with a fault is none.
        fs::write(folder.join("hero.csv"), HERO.replace("item.price: number", "item.price: number required"))?;
        let ran = cli.run(["test", "hero.csv"]).await?;
        ensure!(ran.stdout.contains("\"item.price\" is missing, which a node takes as an error"), "{}", ran.stdout);

        // A file with a mistake is a failure of its own: the others are tested, and all of it is written.
        fs::create_dir(folder.join("all"))?;
        fs::write(folder.join("all/a.csv"), "user.age,> x\n[1..,1\n")?;
        fs::write(folder.join("all/b.csv"), HERO)?;
        fs::write(folder.join("all/b.test.json"), "[{ \"name\": \"x\", \"expct\": {} }]")?;
        fs::write(folder.join("all/c.csv"), HERO)?;
        fs::write(folder.join("all/c.test.json"), HERO_TESTS)?;
        let ran = cli.run(["test", "all", "--junit", "all/out.xml"]).await?;
        ensure!(ran.code == Some(1), "{}{}", ran.stdout, ran.stderr);
        for told in [
            "FAILED all/a.csv: the file\n  all/a.csv: \"a\", row 1",
            "FAILED all/b.test.json: the file",
            "unknown field `expct`",
        ] {
            ensure!(ran.stdout.contains(told), "{told} is not told: {}", ran.stdout);
        }
        let junit = fs::read_to_string(folder.join("all/out.xml"))?;
        ensure!(junit.contains("<testsuites tests=\"4\" failures=\"2\">"), "{junit}");
        Ok(())
    })?;
    refused(
        &[("hero.txt", b"")],
        &["test", "hero.txt"],
        1,
        "hero.txt: no rules; test .jdm.json, .csv, or a release folder",
    )?;
    refused(&[], &["test", "hero.csv"], 1, "cannot read hero.csv: No such file")
}

#[test]
fn what_is_watched_runs_again_and_what_is_written_does_not() -> Result<()> {
    let files =
        [("hero.csv", HERO.as_bytes()), ("hero.test.json", HERO_TESTS.as_bytes()), ("hero.toml", b"rows = 8\n")];
    with_files(&files, async |folder, _| {
        let mut command = Command::new(binary::built("selvedge")?);
        command.args(["test", ".", "--watch", "--junit", "out.xml"]).current_dir(folder);
        let elsewhere = tempfile::tempdir()?;
        let log = elsewhere.path().join("log");
        let mut watch = Process::spawn("selvedge test", &mut command, &log)?;
        let runs = || fs::read_to_string(&log).unwrap_or_default().matches("waiting for a change").count();
        let junit = |expected: &'static str| {
            let path = folder.join("out.xml");
            async move {
                let told = format!("{expected} in out.xml");
                until(&told, LIMIT, async || fs::read_to_string(&path).ok()?.contains(expected).then_some(())).await
            }
        };
        // Whole at once, as an editor saves.
        let save = |name: &str, text: &str| -> Result<()> {
            fs::write(elsewhere.path().join("new"), text)?;
            Ok(fs::rename(elsewhere.path().join("new"), folder.join(name))?)
        };
        let waits = async |count: usize| until("the next run", LIMIT, async || (runs() >= count).then_some(())).await;
        waits(1).await?;
        junit("failures=\"0\"").await?;
        // What stands beside the rules changes what they mean.
        save("hero.toml", "rows = 1\n")?;
        junit("2 candidates, the rules take 1").await?;
        waits(2).await?;
        // A file that cannot be read is told, and watched on.
        save("hero.csv", "user.age,> x\n[1..,1\n")?;
        junit("found the end").await?;
        waits(3).await?;
        save("hero.csv", HERO)?;
        junit("2 candidates, the rules take 1").await?;
        waits(4).await?;
        ensure!(runs() == 4, "{} runs for three changes", runs());
        watch.kill()
    })
}

#[test]
fn a_release_s_tests_count_for_coverage() -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        let shop = folder.path().join("shop");
        for dir in ["modules", "placements", "tests"] {
            fs::create_dir_all(shop.join(dir))?;
        }
        let file = |name: &str, text: &str| fs::write(shop.join(name), text);
        file("release.toml", "name = \"shop\"\n")?;
        file(
            "features.toml",
            "[view.user]\nby = \"subject\"\nsync = \"all\"\nfeatures = { segment = \"symbol\" }\n\
             [view.item]\nby = \"item\"\nsync = \"all\"\nfeatures = { price = \"number\" }\n",
        )?;
        file(
            "modules/hero.csv",
            "user.segment: symbol,item.price: number,> eligible\nvip,,true\n,> 100,false\n,,true\n",
        )?;
        file(
            "placements/home.toml",
            "actions = [{ id = \"a\" }, { id = \"b\" }]\nslots = 1\ndeadline = \"1s\"\nrules = [\"hero\"]\nladder = []\nfallback = [\"a\", \"b\"]\n",
        )?;
        let test = |price: f64, segment: &str, choice: &str| {
            json!({ "name": format!("{segment} {price}"), "request": { "placement": "home", "subject": "u" },
                "features": { "user": { "u": { "segment": segment } }, "item": { "a": { "price": price } } },
                "expect": { "choices": [choice] } })
        };
        file("tests/home.test.json", &json!([test(500.0, "vip", "a"), test(500.0, "new", "b")]).to_string())?;
        let cli = Cli::offline().in_folder(folder.path());
        let ran = cli.run(["test", "shop", "--coverage"]).await?.ok()?.clone();
        ensure!(
            ran.stdout.contains("3 of 3") && ran.stderr.contains("2 tests, 0 failed"),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
        file("tests/home.test.json", &json!([test(500.0, "vip", "a")]).to_string())?;
        let ran = cli.run(["test", "shop", "--coverage"]).await?;
        ensure!(ran.code == Some(1) && ran.stdout.contains("1 of 3") && ran.stdout.contains("2, 3"), "{}", ran.stdout);

        // An input that no view has is told with the name that was meant.
        file("modules/hero.csv", "user.segmnt: symbol,> eligible\nvip,true\n,true\n")?;
        let ran = cli.run(["check", "shop"]).await?;
        let told = "no view and no placement's context has `user.segmnt`; did you mean `user.segment`?";
        ensure!(ran.code == Some(1) && ran.stdout.contains(told), "{}", ran.stdout);

        // What a session's events come to is known.
        file("modules/hero.csv", "session.views: number,> eligible\n> 3,true\n,true\n")?;
        let features = fs::read_to_string(shop.join("features.toml"))?;
        let session =
            "[view.session]\nby = \"session\"\n[view.session.aggregates]\nviews = { count = \"view_item\" }\n";
        file("features.toml", &format!("{features}\n{session}"))?;
        let ran = cli.run(["check", "shop"]).await?;
        ensure!(ran.code == Some(0) && !ran.stdout.contains("unknown-feature"), "{}{}", ran.stdout, ran.stderr);

        // What is wrong is told once, with the rules when it is theirs.
        file("modules/hero.csv", "user.segment: symbol,> eligible\nvip,5..\n")?;
        file("features.toml", "[view.user]\nby = \"subject\"\nsnyc = \"all\"\n")?;
        let ran = cli.run(["test", "shop"]).await?;
        let told = format!("{}{}", ran.stdout, ran.stderr);
        ensure!(ran.code == Some(1) && told.contains("FAILED shop/modules/hero.csv: the file"), "{told}");
        ensure!(told.matches("`5..`").count() == 1 && told.matches("snyc").count() == 1, "{told}");
        Ok(())
    })
}

#[test]
fn a_table_goes_to_csv_and_back() -> Result<()> {
    let jdm = fs::read(binary::repository().join("tests/cases/rules/hero.jdm.json"))?;
    let table = json!({
        "nodes": [
            { "id": "in", "type": "inputNode", "name": "in" }, { "id": "out", "type": "outputNode", "name": "out" },
            { "id": "t", "type": "decisionTableNode", "name": "Boosts", "content": {
                "hitPolicy": "first",
                "inputs": [{ "id": "i", "name": "Segment", "field": "user.segment" }],
                "outputs": [{ "id": "o", "name": "Badge", "field": "badge" }],
                "rules": [{ "_id": "a", "i": "\"#1\"", "o": "user.segment" }, { "_id": "b", "i": "", "o": "\"none\"" }, { "_id": "c" }],
            } },
        ],
        "edges": [{ "id": "a", "sourceId": "in", "targetId": "t" }, { "id": "b", "sourceId": "t", "targetId": "out" }],
        "x-selvedge": { "inputs": { "user.segment": "symbol" }, "tests": [{ "name": "x", "expect": { "badge": "none" } }] },
    });
    let rows = b"{\"user.segment\":\"#1\"}\n{\"user.segment\":null}\n";
    let files =
        [("t.jdm.json", table.to_string().into_bytes()), ("rows.jsonl", rows.to_vec()), ("graph.jdm.json", jdm)];
    with_files(&files.each_ref().map(|(name, bytes)| (*name, &bytes[..])), async |folder, cli| {
        let ran = cli.run(["check", "--csv", "t.jdm.json"]).await?.ok()?.clone();
        let expected = "# name: Boosts\nuser.segment: symbol,> badge: symbol\n\"#1\",(user.segment)\n,none\n-,\n";
        ensure!(ran.stdout == expected, "{}", ran.stdout);
        ensure!(ran.stderr.contains("left out: 1 tests"), "{}", ran.stderr);
        fs::write(folder.join("t.csv"), &ran.stdout)?;
        let [a, b] = [
            cli.run(["eval", "t.jdm.json", "--rows", "rows.jsonl"]).await?,
            cli.run(["eval", "t.csv", "--rows", "rows.jsonl"]).await?,
        ];
        ensure!(a.ok()?.stdout == b.ok()?.stdout && a.stdout.contains("#1"), "{}{}", a.stdout, b.stdout);
        for (args, told) in [
            (&["check", "--csv", "t.csv"][..], "t.csv: is a CSV file already; give a JDM file"),
            (&["check", "--csv", "graph.jdm.json"], "graph.jdm.json: "),
            (&["check", "--csv", "t.jdm.json", "t.csv"], "--csv prints one file"),
            (&["check", "--csv", "rows.jsonl"], "rows.jsonl: no rules"),
        ] {
            let ran = cli.run(args).await?;
            ensure!(
                ran.code != Some(0) && ran.stdout.is_empty() && ran.stderr.contains(told),
                "{args:?}: {}{}",
                ran.stdout,
                ran.stderr
            );
        }
        Ok(())
    })
}

#[test]
fn answers_are_explained_by_the_rows_as_written() -> Result<()> {
    let csv = "# name: Perks\nuser.segment: symbol,item.price: number,> badge: symbol,note,until\n\
        vip,\"[10..100)\",gold,vips first,2026-12-01\n\"not new, lost\",,silver,,\n";
    let rows = b"{\"shared\":{\"user.segment\":\"vip\"},\"candidates\":[{\"item.price\":20},{\"item.price\":5}]}\n";
    with_files(&[("perks.csv", csv.as_bytes()), ("rows.jsonl", rows)], async |folder, cli| {
        let eval = ["eval", "perks.csv", "--rows", "rows.jsonl", "--explain", "--now"];
        let explained = async |now: &str| cli.json(eval.iter().copied().chain([now])).await;
        let told = explained("2026-11-30T12:00:00Z").await?;
        let first = json!([{ "table": "Perks", "fired": [{ "row": 0, "cells": ["vip", "[10..100)", "gold"], "note": "vips first" }] }]);
        let second = json!([{ "table": "Perks", "fired": [{ "row": 1, "cells": ["not new, lost", "", "silver"], "note": "" }] }]);
        ensure!(told["explained"] == json!([first, second]), "{told}");
        ensure!(told["outputs"][0]["badge"] == "gold" && told["outputs"][1]["row"] == 1.0, "{told}");
        // The row's date is over; the module says the same as the source.
        let told = explained("2026-12-01").await?;
        ensure!(told["explained"] == json!([second, second]), "{told}");
        cli.run(["build", "perks.csv"]).await?.ok()?;
        let built = cli.json(["eval", "perks.wasm", "--rows", "rows.jsonl", "--now", "2026-11-30"]).await?;
        ensure!(built["outputs"][0]["badge"] == "gold" && built["outputs"][1]["badge"] == "silver", "{built}");
        let ran = cli.run(["eval", "perks.csv", "--rows", "rows.jsonl", "--now", "soon"]).await?;
        ensure!(ran.code == Some(2) && ran.stderr.contains("neither a date such as"), "{}", ran.stderr);
        measured(folder, &cli).await
    })
}

/// `eval` and `bench` compute what a node computes before a call.
async fn measured(folder: &Path, cli: &Cli) -> Result<()> {
    fs::write(folder.join("text.csv"), "user.segment: symbol,> x\n\"startsWith($, 'vi')\",1\n,2\n")?;
    fs::write(folder.join("text.jsonl"), "{\"user.segment\":\"vienna\"}\n{\"user.segment\":null}\n{}\n")?;
    let ran = cli.run(["eval", "text.csv", "--rows", "text.jsonl"]).await?;
    let told = lines(&ran.stdout)?;
    ensure!(ran.code == Some(1) && told[0]["outputs"][0]["x"] == 1.0 && told[1]["outputs"][0]["x"] == 2.0, "{told:?}");
    let why = told[2]["error"].as_str().unwrap_or_default();
    ensure!(why.contains("it is computed of \"user.segment\", which is not there"), "{why}");
    fs::write(folder.join("text.jsonl"), "{\"user.segment\":\"vienna\"}\n")?;
    let bench = cli.json(["bench", "text.csv", "--rows", "text.jsonl", "--now", "2026-11-30"]).await?;
    ensure!(bench["calls"].as_u64() > Some(0), "{bench}");
    Ok(())
}
