//! Publishing: rows of files into a real core, checked before they go, stopped and gone on with, and used by a node.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use selvedge_suite::harness::cli::Ran;
use selvedge_suite::harness::shop::{Shop, hero};
use selvedge_suite::harness::{Line, Node, Process, Proxy, Rig, binary, until};
use serde_json::{Value, json};

use crate::views::{LIMIT, live, started, until_value};

/// A view of people with a feature of every type.
const FEATURES: &str = r#"
[view.user]
by = "subject"
shards = 2
[view.user.features]
bought = { type = "ids", len = 3 }
note = "text"
seen = "time"
segment = "symbol"
taste = { type = "vector", len = 2 }
value = { type = "number", default = -1.0 }
vip = "flag"
weight = "f32"
"#;

/// Scores by a person's value.
const VALUE: &str = "link = \"identity\"\nintercept = 0.0\n[[input]]\nname = \"user.value\"\nscope = \"shared\"\n\
                     type = \"number\"\nweight = 1.0\n";

fn shop(rig: &Rig) -> Result<Shop> {
    let shop = Shop::new(rig.path("shop"), "shop")?;
    shop.file("features.toml", FEATURES)?;
    shop.placement("home-hero", &hero(1, "[\"value\"]"))?;
    shop.model("value", VALUE)?;
    Ok(shop)
}

/// `selvedge features push FILE --view user ARGS`.
async fn push(rig: &Rig, file: &Path, args: &[&str]) -> Result<Ran> {
    let args = ["features", "push"]
        .map(OsStr::new)
        .into_iter()
        .chain([file.as_os_str()])
        .chain(["--view", "user"].into_iter().chain(args.iter().copied()).map(OsStr::new));
    rig.cli.run(args).await
}

/// What a push printed with --json.
fn printed(ran: &Ran) -> Result<Value> {
    serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))
}

/// The last sequence of a bucket: every row and every delete has one.
async fn sequence(rig: &Rig, bucket: &str) -> Result<u64> {
    let store = rig.link().await?.jetstream().get_key_value(format!("features_{bucket}")).await?;
    Ok(store.stream.cached_info().state.last_sequence)
}

/// The row of somebody, as it lies in the bucket of a view of two shards.
async fn row(rig: &Rig, subject: &str) -> Result<Value> {
    Ok(rig.cli.json(["features", "get", "user", subject, "--shards", "2"]).await?["row"].clone())
}

#[test]
fn a_file_is_checked_by_the_release_before_anything_is_sent() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = shop(&rig)?;
        let folder = shop.folder().to_string_lossy().into_owned();
        let file = rig.path("users.csv");
        let csv = "\u{feff}_key;value;segment;taste;bought;seen;vip;weight;note;_time\r\n\
                   u-1;7;007;[1,2];\"[\"\"a\"\"]\";2026-11-23T08:15:30Z;True;.5;\"a \"\"note\"\"\";2026-01-01T00:00:00Z\r\n\
                   u-2;8;;;;;;;;\r\n";
        fs::write(&file, format!("{csv}u-3;9,5;;;;;;;;\r\nu-4;;;[1];;;;;;\r\n"))?;
        let ran = push(&rig, &file, &["--release", &folder, "--json"]).await?;
        ensure!(ran.code == Some(1) && printed(&ran)?["rows"] == 0 && printed(&ran)?["refused"] == 2, "{ran:?}");
        ensure!(ran.stderr.contains("users.csv: line 4, column 2: value: \"9,5\" is not a number"), "{ran:?}");
        ensure!(ran.stderr.contains("users.csv: line 5, column 4: taste: \"[1]\" is not a list of 2"), "{ran:?}");
        ensure!(sequence(&rig, "user_0").await.is_err(), "not even a bucket was made");
        let lines = rig.path("users.jsonl");
        fs::write(&lines, "{\"_key\":\"u-1\",\"vlaue\":1}\n")?;
        let ran = push(&rig, &lines, &["--release", &folder]).await?;
        ensure!(ran.code == Some(1) && ran.stderr.contains("line 1: vlaue:"), "{ran:?}");
        ensure!(ran.stderr.contains("did you mean \"value\"?"), "{ran:?}");
        let ran = push(&rig, &lines, &["--release", &folder, "--shards", "3"]).await?;
        ensure!(ran.code == Some(2) && ran.stderr.contains("2 shards"), "{ran:?}");

        fs::write(&file, csv)?;
        let ran = push(&rig, &file, &["--release", &folder, "--json"]).await?;
        ensure!(ran.code == Some(0) && printed(&ran)?["rows"] == 2 && ran.stderr.is_empty(), "{ran:?}");
        let expected = json!({
            "_time": "2026-01-01T00:00:00Z", "bought": ["a"], "note": "a \"note\"", "seen": "2026-11-23T08:15:30Z",
            "segment": "007", "taste": [1, 2], "value": 7, "vip": true, "weight": 0.5,
        });
        ensure!(row(&rig, "u-1").await? == expected, "{}", row(&rig, "u-1").await?);

        let release = rig.deploy(shop.folder()).await?;
        let node = rig.node("edge-1").await?;
        node.runs(&release, LIMIT).await?;
        until_value(&node, "u-1", 7.0).await?;
        until_value(&node, "u-2", 8.0).await?;
        ensure!(node.metrics().await?.sum("selvedge_features_values_refused_total", &[]) == 0.0, "all values count");

        // Without a release cells are told by their looks, and what is no row does not stop the rest.
        fs::write(&file, "_key,value,_delete\nu-1,,true\nu-3,9,\n,1,\n")?;
        let ran = push(&rig, &file, &["--shards", "2", "--json"]).await?;
        ensure!(ran.code == Some(1) && printed(&ran)?["rows"] == 2 && printed(&ran)?["refused"] == 1, "{ran:?}");
        until_value(&node, "u-1", -1.0).await?;
        until_value(&node, "u-3", 9.0).await?;
        Ok(())
    })
}

const ROWS: u64 = 3_000;
const PEOPLE: u64 = 100;

/// A file in which everybody stands thirty times; the last row is the one that counts.
fn write_rows(rig: &Rig) -> Result<PathBuf> {
    let file = rig.path("users.csv");
    let rows: String = (0..ROWS).map(|at| format!("u-{},{at}\n", at % PEOPLE)).collect();
    fs::write(&file, format!("_key,value\n{rows}"))?;
    Ok(file)
}

/// Everybody has the value of the last row.
async fn all_is_there(rig: &Rig) -> Result<()> {
    for person in 0..PEOPLE {
        let found = rig.link().await?.get_feature("user", &format!("u-{person}")).await?.context("no row")?;
        let row: Value = serde_json::from_slice(&found.row)?;
        ensure!(row["value"] == ROWS - PEOPLE + person, "u-{person}: {row}");
    }
    Ok(())
}

/// Begins a push of a few seconds; returns when some rows are in the bucket.
async fn begun(rig: &Rig, file: &Path, args: &[&str]) -> Result<Process> {
    let mut command = Command::new(binary::built("selvedge")?);
    command.args(["features", "push"]).arg(file).args(["--view", "user", "--json", "--nats", &rig.nats.url()]);
    let pushing = Process::spawn("selvedge features push", command.args(args), &rig.path("log"))?;
    let before = sequence(rig, "user").await.unwrap_or(0);
    until("rows in the bucket", LIMIT, async || sequence(rig, "user").await.ok().filter(|seq| *seq > before + 50))
        .await?;
    Ok(pushing)
}

#[test]
fn a_push_that_is_stopped_goes_on_behind_the_last_acknowledged_row() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let file = write_rows(&rig)?;
        let state = rig.path("users.csv.user.push");
        let ran = push(&rig, &file, &["--rate", "0"]).await?;
        ensure!(ran.code == Some(2) && ran.stderr.contains("rows a second"), "{ran:?}");

        let mut pushing = begun(&rig, &file, &["--rate", "500/s"]).await?;
        ensure!(pushing.terminate(LIMIT).await?.code() == Some(1), "a push that was stopped is not done");
        let told: Value = serde_json::from_str(&pushing.line(LIMIT).await?)?;
        let rows = told["rows"].as_u64().context("rows")?;
        ensure!(told["stopped"] == true && rows < ROWS && state.is_file(), "{told}");
        ensure!(sequence(&rig, "user").await? == rows, "what is told is what the core has");

        let mut text = fs::read_to_string(&file)?;
        text.push_str("u-1,1\n");
        let changed = rig.path("changed.csv");
        fs::write(&changed, text)?;
        fs::copy(&state, rig.path("changed.csv.user.push"))?;
        let ran = push(&rig, &changed, &["--resume"]).await?;
        ensure!(ran.code == Some(1) && ran.stderr.contains("the file was changed"), "{ran:?}");
        ensure!(sequence(&rig, "user").await? == rows, "nothing was sent");

        let ran = push(&rig, &file, &["--resume", "--json"]).await?;
        let told = printed(&ran)?;
        ensure!(ran.code == Some(0) && told["before"] == rows && told["rows"] == ROWS - rows, "{ran:?}");
        ensure!(ran.stderr.contains(&format!("goes on behind row {rows}")), "{ran:?}");
        ensure!(sequence(&rig, "user").await? == ROWS, "every row went once");
        ensure!(!state.exists(), "there is nothing left to go on with");
        all_is_there(&rig).await?;

        // Killed, it goes on where it was a moment before.
        let mut pushing = begun(&rig, &file, &["--rate", "500/s"]).await?;
        until("a state to be kept", LIMIT, async || state.is_file().then_some(())).await?;
        pushing.kill()?;
        let ran = push(&rig, &file, &["--resume", "--json"]).await?;
        ensure!(ran.code == Some(0) && printed(&ran)?["before"].as_u64() > Some(0), "{ran:?}");
        all_is_there(&rig).await?;

        // Into a bucket that was made anew, no row is left out.
        let mut pushing = begun(&rig, &file, &["--rate", "500/s"]).await?;
        pushing.terminate(LIMIT).await?;
        rig.link().await?.jetstream().delete_key_value("features_user").await?;
        let ran = push(&rig, &file, &["--resume"]).await?;
        ensure!(ran.code == Some(1) && ran.stderr.contains("without --resume"), "{ran:?}");
        push(&rig, &file, &[]).await?.ok()?;
        ensure!(!state.exists(), "done from the first row on");
        all_is_there(&rig).await
    })
}

#[test]
fn an_interrupt_ends_a_push_of_which_nothing_is_heard_and_it_goes_on_later() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (file, rows) = (rig.path("users.csv"), 30_000);
        fs::write(&file, format!("_key,value\n{}", (0..rows).map(|at| format!("u-{at},{at}\n")).collect::<String>()))?;
        rig.push("user", [json!({"_key": "u-0", "value": -1})]).await?;
        // Slow enough for some rows to be there before the last one is sent; then nothing comes through any more.
        let line = Proxy::start(rig.nats.port(), 7).await?;
        line.set(Line::Slow(Duration::from_millis(100)));
        let mut command = Command::new(binary::built("selvedge")?);
        command.args(["features", "push"]).arg(&file).args(["--view", "user", "--json", "--nats", &line.url()]);
        let mut pushing = Process::spawn("selvedge features push", &mut command, &rig.path("log"))?;
        until("rows in the bucket", LIMIT, async || sequence(&rig, "user").await.ok().filter(|seq| *seq > 50)).await?;
        line.set(Line::HalfOpen);
        pushing.signal(Signal::INT)?;
        let told: Value = serde_json::from_str(&pushing.line(LIMIT).await?)?;
        let there = told["rows"].as_u64().context("rows")?;
        ensure!(told["stopped"] == true && there < rows, "{told}");
        ensure!(there < sequence(&rig, "user").await?, "what is told is in the core: {told}");
        until("it to end", LIMIT, async || (!pushing.running()).then_some(())).await?;
        let ran = push(&rig, &file, &["--resume", "--json"]).await?;
        let told = printed(&ran)?;
        ensure!(ran.code == Some(0) && told["before"] == there && told["rows"] == rows - there, "{ran:?}");
        for person in [0, rows / 2, rows - 1] {
            let found = rig.link().await?.get_feature("user", &format!("u-{person}")).await?.context("no row")?;
            ensure!(serde_json::from_slice::<Value>(&found.row)?["value"] == person);
        }
        Ok(())
    })
}

#[test]
fn a_push_outlives_its_core() -> Result<()> {
    crate::alone(async {
        let mut rig = Rig::start().await?;
        let file = write_rows(&rig)?;
        let mut pushing = begun(&rig, &file, &["--rate", "1000/s"]).await?;
        rig.nats.kill()?;
        rig.nats.restart().await?;
        let told: Value = serde_json::from_str(&pushing.line(LIMIT).await?)?;
        ensure!(told["rows"] == ROWS && told["stopped"] == false, "{told}");
        all_is_there(&rig).await
    })
}

#[test]
fn compact_rows_say_the_same_and_those_of_another_schema_are_refused() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = shop(&rig)?;
        shop.file("features.toml", FEATURES.replace("shards = 2\n", ""))?;
        let folder = shop.folder().to_string_lossy().into_owned();
        let release = rig.deploy(shop.folder()).await?;
        let node = rig.node("edge-1").await?;
        node.runs(&release, LIMIT).await?;
        let file = rig.path("users.jsonl");
        let rows = |values: [u64; 2]| {
            format!(
                "{{\"_key\":\"u-1\",\"value\":{},\"taste\":[1,0.1]}}\n{{\"_key\":\"u-2\",\"value\":{}}}\n",
                values[0], values[1]
            )
        };
        fs::write(&file, rows([7, 8]))?;
        let ran = push(&rig, &file, &["--binary"]).await?;
        ensure!(ran.code == Some(2) && ran.stderr.contains("--release"), "{ran:?}");
        push(&rig, &file, &["--binary", "--release", &folder]).await?.ok()?;
        until_value(&node, "u-1", 7.0).await?;
        until_value(&node, "u-2", 8.0).await?;
        ensure!(node.metrics().await?.sum("selvedge_features_values_refused_total", &[]) == 0.0, "all values count");
        let ran = rig.cli.run(["features", "get", "user", "u-1"]).await?;
        ensure!(ran.stdout.starts_with("a binary row of ") && ran.stdout.contains("--release DIR"), "{ran:?}");
        let shown = rig.cli.json(["features", "get", "user", "u-1", "--release", &folder]).await?;
        ensure!(shown["row"] == json!({"taste": [1.0, 0.1], "value": 7.0}), "{shown}");

        // Another schema: the rows of the one before stay, until the release that has it comes.
        let features = FEATURES.replace("shards = 2\n", "").replace("note = \"text\"\n", "note = \"symbol\"\n");
        shop.file("features.toml", &features)?;
        fs::write(&file, rows([70, 80]))?;
        push(&rig, &file, &["--binary", "--release", &folder]).await?.ok()?;
        let refused = async |node: &Node| {
            Ok::<_, anyhow::Error>(
                node.metrics().await?.sum("selvedge_features_rows_refused_total", &["cause=\"schema\""]),
            )
        };
        until("the rows to be refused", LIMIT, async || refused(&node).await.ok().filter(|rows| *rows == 2.0)).await?;
        until_value(&node, "u-1", 7.0).await?;
        // A restart forgets neither the old rows nor that others were refused.
        let (spec, _) = node.terminate().await?;
        let node = Node::start(spec).await?;
        node.runs(&release, LIMIT).await?;
        until_value(&node, "u-1", 7.0).await?;
        let release = rig.deploy(shop.folder()).await?;
        node.runs(&release, LIMIT).await?;
        until_value(&node, "u-1", 70.0).await?;
        until_value(&node, "u-2", 80.0).await?;

        // As JSON a row means the same in any schema.
        shop.file("features.toml", FEATURES.replace("shards = 2\n", ""))?;
        fs::write(&file, rows([700, 800]))?;
        push(&rig, &file, &["--release", &folder]).await?.ok()?;
        until_value(&node, "u-1", 700.0).await?;
        let release = rig.deploy(shop.folder()).await?;
        node.runs(&release, LIMIT).await?;
        until_value(&node, "u-2", 800.0).await
    })
}

#[test]
fn parquet_is_pushed_and_a_column_that_can_be_no_feature_is_not() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let features = rig.path("features.toml");
        fs::write(
            &features,
            "[view.user]\nby = \"subject\"\n[view.user.features]\nbought = { type = \"ids\", len = 3 }\ncount = \"number\"\n\
             segment = \"symbol\"\nseen = \"time\"\ntaste = { type = \"vector\", len = 2 }\nvalue = \"f32\"\nvip = \"flag\"\n",
        )?;
        let release = features.to_string_lossy().into_owned();
        let file = |name: &str| binary::repository().join("tests/cases/parquet").join(name);
        // The state of a push stands beside its file, and these are the repository's.
        let users = rig.path("users.parquet");
        fs::copy(file("pandas.parquet"), &users)?;
        for form in [&["--binary", "--json"][..], &["--json"]] {
            let ran = push(&rig, &users, &[&["--release", &release], form].concat()).await?;
            ensure!(ran.code == Some(0) && printed(&ran)?["rows"] == 3, "{ran:?}");
            let row = rig.cli.json(["features", "get", "user", "u-1", "--release", &release]).await?["row"].clone();
            let time_us = 1_795_421_730_250_001_i64;
            let expected = json!({
                "_time": time_us, "bought": ["a", "b"], "seen": time_us, "segment": "vip", "taste": [0.5, -1.0], "vip": true,
            });
            for (name, value) in expected.as_object().context("an object")? {
                ensure!(row[name] == *value, "{name}: {row}");
            }
            ensure!(row["count"].as_f64() == Some(7.0) && row["value"].as_f64() == Some(1.5), "{row}");
        }
        let dates = rig.path("dates.parquet");
        fs::copy(file("refused_date.parquet"), &dates)?;
        let ran = push(&rig, &dates, &[]).await?;
        ensure!(ran.code == Some(1) && ran.stderr.contains("dates.parquet: column \"date\" is a date"), "{ran:?}");
        Ok(())
    })
}

#[test]
fn any_client_may_write_a_row() -> Result<()> {
    crate::alone(async {
        let (rig, node) = started("", "").await?;
        rig.put("user", "somebody", &json!({"value": 1})).await?;
        live(&node).await?;
        // What `nats kv put` sends: the key is base64url of u-7.
        let bucket = rig.link().await?.jetstream().get_key_value("features_user").await?;
        bucket.put("dS03", " {\"value\": 7, \"_note\": [\"by hand\"]}\n".into()).await?;
        until_value(&node, "u-7", 7.0).await?;
        bucket.delete("dS03").await?;
        until_value(&node, "u-7", -1.0).await
    })
}
