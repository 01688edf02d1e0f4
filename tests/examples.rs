//! The examples, run by their one command.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::page::Pages;
use selvedge_suite::harness::{Client, Process, Random, Rig, binary, folder, process, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// `./x dev examples/quickstart`: answers at once, swaps when a file is saved, goes on when what was saved is wrong.
#[test]
fn quickstart() -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        let shop = folder.path().join("quickstart");
        folder::copy(&binary::repository().join("examples/quickstart"), &shop)?;
        let mut command = Command::new(binary::built("selvedge")?);
        command
            .arg("dev")
            .arg(&shop)
            .args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .current_dir(folder.path());
        let mut dev = Process::spawn("selvedge dev", &mut command, &folder.path().join("log"))?;
        let line: Value = serde_json::from_str(&dev.line(LIMIT).await?)?;
        let mut client = Client::new(line["http"].as_str().context("the address")?.parse()?);

        let hero =
            json!({"placement": "home-hero", "subject": "u-42", "context": {"country": "DE", "cart_value": 120}});
        let chosen = async |client: &mut Client| {
            let answer = client.post("/v1/decide", &hero).await.ok()?.ok().ok()?;
            (answer["reason"] == "SCORED").then(|| answer["choices"][0]["id"].as_str().unwrap_or_default().to_owned())
        };
        let is = async |client: &mut Client, expected: &str| {
            let what = format!("{expected} to be chosen");
            until(&what, LIMIT, async || (chosen(client).await? == expected).then_some(())).await
        };
        is(&mut client, "vip-early-access").await.with_context(|| dev.log_tail())?;

        let model = shop.join("modules/hero.linear.toml");
        let text = fs::read_to_string(&model)?;
        fs::write(&model, text.replace("default = 0.0", "default = 9.0"))?;
        is(&mut client, "default").await.context("after a weight was saved")?;

        fs::write(&model, "link = \"no such link\"\n")?;
        let mut admin = Client::new(line["admin"].as_str().context("the admin address")?.parse()?);
        let told = until("the wrong release to be refused", LIMIT, async || {
            let status = admin.get("/v1/status").await.ok()?.json().ok()?;
            (!status["releases"]["refusal"].is_null()).then_some(())
        });
        told.await?;
        ensure!(chosen(&mut client).await.as_deref() == Some("default"), "the release before goes on");

        fs::write(&model, text)?;
        is(&mut client, "vip-early-access").await.context("after the model was put right")?;
        fs::write(shop.join("features/affinity.jsonl"), "{\"_key\":[\"u-42\",\"free-shipping\"],\"score\":9.0}\n")?;
        is(&mut client, "free-shipping").await.context("after a feature was saved")?;

        let accepted = client
            .post("/v1/events", &json!({"event": "view_item", "subject": "u-42", "item": "sku-4"}))
            .await?
            .ok()?;
        ensure!(accepted["accepted"] == 1, "{accepted}");
        let out = shop.join("out");
        let written = until("event and decisions in out/", LIMIT, async || {
            let events = fs::read_to_string(out.join("events.jsonl")).ok()?;
            let decisions = fs::read_to_string(out.join("decisions.jsonl")).ok()?;
            (events.contains("view_item") && decisions.contains("home-hero")).then_some(())
        });
        written.await?;
        ensure!(dev.terminate(LIMIT).await?.success(), "a stop by SIGTERM exits 0");
        Ok(())
    })
}

/// The browser SDK's examples against the quickstart: plain HTML, Vite, React, server rendering.
#[test]
fn pages() -> Result<()> {
    crate::alone(async {
        let Some(pages) = Pages::find()? else { return Ok(()) };
        let folder = tempfile::tempdir()?;
        let shop = folder.path().join("quickstart");
        folder::copy(&binary::repository().join("examples/quickstart"), &shop)?;
        let mut command = Command::new(binary::built("selvedge")?);
        command.arg("dev").arg(&shop).args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let mut dev = Process::spawn("selvedge dev", &mut command, &folder.path().join("log"))?;
        let line: Value = serde_json::from_str(&dev.line(LIMIT).await?)?;
        let http = line["http"].as_str().context("the address")?.parse()?;
        let more = [binary::repository().display().to_string()];
        let told = pages.run("examples.mjs", "chromium", http, &more, 3 * LIMIT).await;
        told.with_context(|| dev.log_tail()).map(|_| ())
    })
}

/// The commands of `docs/events.md` on the quickstart: each answers what the page says it does.
#[test]
fn events_page() -> Result<()> {
    crate::alone(async {
        let page = fs::read_to_string(binary::repository().join("docs/events.md"))?;
        let folder = tempfile::tempdir()?;
        let shop = folder.path().join("quickstart");
        folder::copy(&binary::repository().join("examples/quickstart"), &shop)?;
        let mut command = Command::new(binary::built("selvedge")?);
        command.arg("dev").arg(&shop).args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let mut dev = Process::spawn("selvedge dev", &mut command, &folder.path().join("log"))?;
        let line: Value = serde_json::from_str(&dev.line(LIMIT).await?)?;
        let address = line["http"].as_str().context("the address")?;
        let (mut accepted, mut ran) = (0, 0);
        for (command, expected) in commands(&page)? {
            let mut shell = Command::new("sh");
            shell.arg("-ec").arg(command.replace("localhost:7070", address));
            let (status, stdout, stderr) = process::run("sh", shell, LIMIT).await?;
            ensure!(status.success(), "{command}\n{status}\n{stderr}");
            let said: Vec<Value> = serde_json::Deserializer::from_str(&stdout).into_iter().collect::<Result<_, _>>()?;
            let expected: Vec<Value> =
                serde_json::Deserializer::from_str(&expected).into_iter().collect::<Result<_, _>>()?;
            ensure!(said == expected, "{command}\nanswered {said:?}\nthe page says {expected:?}");
            accepted += said.iter().filter_map(|answer| answer["accepted"].as_u64()).sum::<u64>();
            ran += 1;
        }
        ensure!(ran > 8, "the page has only {ran} commands");
        let told = until("every event of the page in out/", LIMIT, async || {
            let lines =
                |lane: &str| fs::read_to_string(shop.join("out").join(lane)).unwrap_or_default().lines().count();
            (lines("events.jsonl") + lines("rewards.jsonl") == accepted as usize).then_some(())
        });
        told.await?;
        ensure!(dev.terminate(LIMIT).await?.success(), "a stop by SIGTERM exits 0");
        Ok(())
    })
}

/// The shell commands of a page, each with the JSON that follows it.
fn commands(page: &str) -> Result<Vec<(String, String)>> {
    let blocks: Vec<&str> = page.split("```").collect();
    let block = |at: usize, kind: &str| blocks.get(at).and_then(|block| block.strip_prefix(kind)).map(str::to_owned);
    let mut commands = Vec::new();
    for at in 0..blocks.len() {
        if let Some(command) = block(at, "sh\n") {
            commands.push((command, block(at + 2, "json\n").context("a command without its answer")?));
        }
    }
    Ok(commands)
}

/// `./x demo`, with a small log of the dataset's shape and a shorter outage.
#[test]
fn open_bandit() -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        write_log(folder.path(), 4_000)?;
        let mut command = Command::new(binary::built("open-bandit")?);
        command.arg("--data").arg(folder.path()).args([
            "--log",
            "random",
            "--campaign",
            "men",
            "--rate",
            "200",
            "--outage-s",
            "1",
            "--json",
        ]);
        let (status, stdout, stderr) = process::run("open-bandit", command, 3 * LIMIT).await?;
        ensure!(status.success(), "{status}\n{stdout}\n{stderr}");
        let line: Value = serde_json::from_str(stdout.lines().last().context("no output")?)?;
        ensure!(line["decisions"] == 2_000 && line["failed"] == 0 && line["swaps"] == 2, "{line}");
        ensure!(line["events_in_stream"] == line["events_accepted"], "{line}");
        ensure!(
            line["records_in_stream"] == 2_000 && line["replayed"] == 2_000 && line["replay_different"] == 0,
            "{line}"
        );
        Ok(())
    })
}

/// `examples/nats-py`: rows that the public Python client writes are those that commands read.
#[test]
fn nats_py() -> Result<()> {
    crate::alone(async {
        let Some(python) = binary::python("nats")? else {
            println!("there is no Python with nats-py here: `./x test` makes one");
            return Ok(());
        };
        let rig = Rig::start().await?;
        let example = binary::repository().join("examples/nats-py");
        let (url, rows) = (rig.nats.url(), example.join("rows.jsonl"));
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" < \"$ROWS\""]).env("ROWS", rows).arg(python);
        command.arg(example.join("publish.py")).args([&url, "user"]);
        let (status, _, stderr) = process::run("publish.py", command, LIMIT).await?;
        ensure!(status.success(), "{status}: {stderr}");
        for (key, expected) in [
            ("u-42", json!({"_time": "2026-11-23T08:15:30Z", "lifetime_value": 120.5, "segment": "vip"})),
            ("[\"sku-1\",\"DE\"]", json!({"price": 59.9})),
        ] {
            let got = rig.cli.json(["features", "get", "user", key]).await?;
            ensure!(got["row"] == expected, "{key}: {got}");
        }
        Ok(())
    })
}

/// A log with the columns of the Open Bandit Dataset and nobody's data, from a fixed seed: 34 items, three positions.
fn write_log(folder: &Path, impressions: usize) -> Result<()> {
    const ITEMS: u64 = 34;
    let folder = folder.join("random/men");
    fs::create_dir_all(&folder)?;
    let mut random = Random::new(7);
    let mut items = String::from(",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n");
    for item in 0..ITEMS {
        items += &format!("{item},{item},{},a{},b{},c{}\n", random.unit() - 0.5, item % 5, item % 3, item % 7);
    }
    fs::write(folder.join("item_context.csv"), items)?;
    let affinities: Vec<String> = (0..ITEMS).map(|item| format!("user-item_affinity_{item}")).collect();
    let features = "user_feature_0,user_feature_1,user_feature_2,user_feature_3";
    let mut log = format!(",timestamp,item_id,position,click,propensity_score,{features},{}\n", affinities.join(","));
    for at in 0..impressions {
        let item = random.below(ITEMS);
        let user = [3, 5, 9, 8].map(|values| format!("{:032x}", random.below(values))).join(",");
        let affinity: Vec<&str> = (0..ITEMS).map(|_| if random.below(300) == 0 { "1.0" } else { "0.0" }).collect();
        let click = u8::from(random.below(60) == 0);
        let position = 1 + random.below(3);
        log += &format!(
            "{at},2019-11-24 00:00:00+00:00,{item},{position},{click},{},{user},{}\n",
            1.0 / ITEMS as f64,
            affinity.join(",")
        );
    }
    fs::write(folder.join("men.csv"), log)?;
    Ok(())
}
