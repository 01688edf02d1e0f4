//! The lake from the command line: rows to train with, erased persons, a user of its own. That every item is landed once whatever is
//! killed is the proof `lake`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parquet::record::Field;
use selvedge_suite::harness::cli::Ran;
use selvedge_suite::harness::shop::{Shop, constant, hero};
use selvedge_suite::harness::stream::Stream;
use selvedge_suite::harness::{Cli, Line, NatsServer, Node, Process, Proxy, Rig, binary, lake, until};
use serde_json::{Value, json};

use crate::views::LIMIT;

/// Items ranked by price and by what is in the cart, all inputs recorded.
const RANK: &str = r#"
context = { country = "symbol", cart_value = "number" }
candidates = { view = "item", from = "request" }
slots = 2
deadline = "1s"
ladder = ["rank"]
fallback = { by = "item.stock" }
record = { inputs = 1.0 }
"#;

const MODEL: &str = r#"
link = "identity"
intercept = 0.0
[[input]]
name = "item.price"
scope = "candidate"
type = "number"
weight = 1.0
[[input]]
name = "item.category"
scope = "candidate"
type = "symbol"
weights = { shoes = 0.5 }
[[input]]
name = "user.value"
scope = "shared"
type = "number"
weight = 0.25
[[input]]
name = "context.cart_value"
scope = "shared"
type = "number"
weight = 0.125
"#;

/// A node that ranks, and its release's file.
async fn ranking(rig: &Rig) -> Result<(Node, std::path::PathBuf)> {
    rig.push(
        "item",
        [
            json!({"_key": "sku-1", "price": 10.0, "category": "shoes"}),
            json!({"_key": "sku-2", "price": 30.0, "category": "hats"}),
        ],
    )
    .await?;
    rig.push("user", [json!({"_key": "u-1", "segment": "vip", "value": 8.0})]).await?;
    let shop = Shop::new(rig.path("shop"), "shop")?;
    shop.placement("home-hero", &hero(1, "[\"hero\"]"))?.model("hero", &constant(1))?;
    shop.placement("plp-rank", RANK)?.model("rank", MODEL)?;
    let file = rig.pack(&shop).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&rig.deploy(&file).await?, LIMIT).await?;
    node.wait_for("ready", LIMIT).await?;
    Ok((node, file))
}

/// Decides for a subject; the decision's id.
async fn decide(node: &Node, subject: &str) -> Result<String> {
    let request = json!({"placement": "plp-rank", "subject": subject, "session": "s-1", "candidates": ["sku-1", "sku-2", "sku-3"],
        "context": {"country": "DE", "cart_value": 16.0}});
    let answer = node.client().post("/v1/decide", &request).await?.ok()?;
    answer["decision_id"].as_str().map(str::to_owned).with_context(|| answer.to_string())
}

/// Lands so many records and events when all are in the stream; what was said.
pub(crate) async fn land(rig: &Rig, records: usize, events: usize) -> Result<Value> {
    let mut stream = Stream::open(&rig.nats.url()).await?;
    until("all that was told to arrive", LIMIT, async || {
        stream.read_on().await.ok()?;
        (stream.records.len() == records && stream.events.len() == events).then_some(())
    })
    .await?;
    let place = rig.path("lake").to_string_lossy().into_owned();
    rig.cli.json(["core", "lake", "--to", &place, "--once"]).await
}

/// `selvedge core dataset` of today's decisions; what it said and the lines it wrote.
pub(crate) async fn dataset(rig: &Rig, release: &Path, out: &str, more: &[&str]) -> Result<(Ran, String)> {
    let (place, release, file) = (rig.path("lake"), release.to_string_lossy(), rig.path(out));
    let days: Vec<String> = std::fs::read_dir(place.join("decisions"))?
        .flatten()
        .map(|folder| folder.file_name().to_string_lossy().trim_start_matches("day=").to_owned())
        .collect();
    let (from, to) = (days.iter().min().context("a day")?, days.iter().max().context("a day")?);
    let (place, out) = (place.to_string_lossy(), file.to_string_lossy());
    let args = [
        "core",
        "dataset",
        &place,
        "--release",
        &release,
        "--placement",
        "plp-rank",
        "--from",
        from,
        "--to",
        to,
        "-o",
        &out,
    ];
    let ran = rig.cli.run(args.iter().chain(more).chain(&["--json"])).await?;
    let text =
        if out.ends_with(".parquet") { String::new() } else { std::fs::read_to_string(&file).unwrap_or_default() };
    Ok((ran, text))
}

#[test]
fn decisions_become_rows_with_their_inputs_and_what_they_brought() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, release) = ranking(&rig).await?;
        let (first, second) = (decide(&node, "u-1").await?, decide(&node, "u-2").await?);
        let events = json!([
            {"event": "purchase", "subject": "u-1", "item": "sku-1", "decision_id": first, "messageId": "m-1", "properties": {"value": 12.5}},
            {"event": "purchase", "subject": "u-1", "item": "sku-1", "decision_id": first, "messageId": "m-2", "properties": {"value": 2}},
            {"event": "$reward", "subject": "u-1", "decision_id": first, "properties": {"kind": "margin", "value": 3}},
            {"event": "$exposure", "subject": "u-1", "item": "sku-3", "decision_id": first},
            {"event": "view_item", "subject": "u-1", "item": "sku-1"},
            {"event": "purchase", "subject": "u-2", "item": "sku-2", "decision_id": second},
        ]);
        node.client().post("/v1/events", &events).await?.ok()?;
        let said = land(&rig, 2, 6).await?;
        ensure!(said["decisions"] == 2 && said["events"] == 5 && said["rewards"] == 1, "{said}");

        let (ran, text) = dataset(&rig, &release, "rows.jsonl", &[]).await?;
        ensure!(ran.code == Some(0), "{ran:?}");
        let rows: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let told: Value = serde_json::from_str(&ran.stdout)?;
        ensure!(rows.len() == 4 && told["rows"] == 4 && told["decisions"] == 2, "{told} {text}");
        // The dearest first; the cheaper one was bought twice. A reward without an item is every choice's.
        let mine: Vec<&Value> = rows.iter().filter(|row| row["decision_id"] == first.as_str()).collect();
        let [top, next] = mine[..] else { anyhow::bail!("{text}") };
        let shown = |row: &Value| {
            let part = |name: &str| row[name].clone();
            json!([
                part("candidate"),
                part("position"),
                part("score"),
                part("item.price"),
                part("item.category"),
                part("user.value"),
                part("context.cart_value"),
                part("reward_purchase"),
                part("reward_margin"),
                part("reward_exposure")
            ])
        };
        ensure!(shown(top) == json!(["sku-2", 0, 34.0, 30.0, "<other>", 8.0, 16.0, 0.0, 3.0, 0.0]), "{top}");
        ensure!(shown(next) == json!(["sku-1", 1, 14.5, 10.0, "shoes", 8.0, 16.0, 14.5, 3.0, 0.0]), "{next}");
        ensure!(top["propensity"] == 1.0 && top["subject"] == "u-1" && top["placement"] == "plp-rank", "{top}");

        // Every candidate: the one that was not chosen has no position, and its own rewards.
        let (ran, text) = dataset(&rig, &release, "rows.csv", &["--candidates"]).await?;
        ensure!(ran.code == Some(0) && text.lines().count() == 7, "{ran:?} {text}");
        let head: Vec<&str> = text.lines().next().context("names")?.split(',').collect();
        let line = text.lines().find(|line| line.starts_with(&first) && line.contains(",sku-3,")).context("sku-3")?;
        let cell = |name: &str| head.iter().position(|column| *column == name).and_then(|at| line.split(',').nth(at));
        ensure!(
            cell("position") == Some("") && cell("item.price") == Some("") && cell("reward_exposure") == Some("1"),
            "{text}"
        );

        let (ran, _) = dataset(&rig, &release, "rows.parquet", &["--window", "0s"]).await?;
        ensure!(ran.code == Some(0), "{ran:?}");
        let read = lake::rows(&rig.path(""))?;
        let written: Vec<_> = read.rows().iter().filter(|row| row.contains_key("reward_purchase")).collect();
        ensure!(written.len() == 4, "{written:?}");
        ensure!(
            written.iter().all(|row| row["reward_purchase"] == Field::Double(0.0)),
            "nothing came within no time: {written:?}"
        );

        // A release that did not decide, and a name that says no form.
        let other = Shop::new(rig.path("other"), "other")?;
        other.placement("plp-rank", RANK)?.model("rank", &constant(2))?;
        let (ran, text) = dataset(&rig, &rig.pack(&other).await?, "other.jsonl", &[]).await?;
        ensure!(ran.code == Some(1) && ran.stdout.contains("\"other_release\":2") && text.is_empty(), "{ran:?}");
        let (ran, _) = dataset(&rig, &release, "rows.txt", &[]).await?;
        ensure!(ran.code == Some(2) && ran.stderr.contains("expected .parquet, .csv or .jsonl"), "{ran:?}");
        Ok(())
    })
}

#[test]
fn an_erased_person_is_in_no_dataset_and_after_compaction_in_no_part() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, release) = ranking(&rig).await?;
        decide(&node, "u-1").await?;
        let erased = decide(&node, "u-2").await?;
        let events = json!([{"event": "purchase", "subject": "u-2", "decision_id": erased}, {"event": "view_item", "subject": "u-1"}]);
        node.client().post("/v1/events", &events).await?.ok()?;
        land(&rig, 2, 2).await?;
        let tombstones = rig.path("lake/erased");
        std::fs::create_dir_all(&tombstones)?;
        std::fs::write(tombstones.join("1.json"), "{\"subject\":\"u-2\",\"at\":\"2999-01-01T00:00:00Z\"}")?;
        let (ran, text) = dataset(&rig, &release, "rows.jsonl", &[]).await?;
        ensure!(ran.code == Some(0) && ran.stdout.contains("\"erased\":1"), "{ran:?}");
        ensure!(text.lines().count() == 2 && !text.contains("\"u-2\"") && !text.contains("reward_purchase"), "{text}");

        let place = rig.path("lake").to_string_lossy().into_owned();
        for folder in std::fs::read_dir(rig.path("lake/decisions"))? {
            let day = folder?.file_name().to_string_lossy().trim_start_matches("day=").to_owned();
            rig.cli.run(["core", "lake", "compact", "--to", &place, "--day", &day]).await?.ok()?;
        }
        for kind in ["events", "decisions"] {
            let subjects = lake::rows(&rig.path("lake").join(kind))?.times("subject");
            ensure!(subjects.keys().eq(["u-1"]), "{kind}: {subjects:?}");
        }
        // What is erased does not come back when the stream is landed again.
        std::fs::remove_file(rig.path("lake/position.json"))?;
        let said = land(&rig, 2, 2).await?;
        ensure!(said["parts"] == 0 && said["again"] == 4, "{said}");
        Ok(())
    })
}

#[test]
fn days_that_are_too_old_are_removed_and_two_cannot_land_into_one_folder() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let place = rig.path("lake");
        let old = place.join("events/day=2020-01-01/edge-1-0000000100000002-000000000001-000000000009.parquet");
        let other = place.join("events/day=2020-01-01/notes.txt");
        std::fs::create_dir_all(old.parent().context("a folder")?)?;
        for file in [&old, &other] {
            std::fs::write(file, "x")?;
        }
        let place = place.to_string_lossy().into_owned();
        let ran = rig.cli.run(["core", "lake", "--to", &place, "--once"]).await?;
        ensure!(ran.code == Some(0) && ran.stderr.contains("no node has told anything yet") && old.exists(), "{ran:?}");
        let ran = rig.cli.run(["core", "lake", "--to", &place, "--once", "--keep", "400d"]).await?;
        ensure!(ran.code == Some(0) && !old.exists() && other.exists(), "{ran:?}");

        rig.cli.run(["core", "init"]).await?.ok()?;
        let mut command = Command::new(binary::built("selvedge")?);
        command.args(["core", "lake", "--to", &place, "--nats", &rig.nats.url()]);
        let mut first = Process::spawn("selvedge core lake", &mut command, &rig.path("log"))?;
        until("the first to hold the folder", LIMIT, async || {
            Path::new(&place).join("position.json").exists().then_some(())
        })
        .await?;
        let ran = rig.cli.run(["core", "lake", "--to", &place, "--once"]).await?;
        ensure!(ran.code == Some(1) && ran.stderr.contains("another process lands into"), "{ran:?}");
        let ended = first.terminate(Duration::from_secs(10)).await?;
        ensure!(ended.success(), "{ended}");
        rig.cli.run(["core", "lake", "--to", &place, "--once"]).await?.ok()?;
        Ok(())
    })
}

/// Lands what comes, by itself.
fn follow(rig: &Rig, url: &str, place: &Path) -> Result<Process> {
    let mut command = Command::new(binary::built("selvedge")?);
    command.args(["core", "lake", "--every", "1s", "--json", "--nats", url, "--to"]).arg(place);
    Process::spawn("selvedge core lake", &mut command, &rig.path("lake.log"))
}

/// Tells of one more event, which a lake then has so many of.
async fn lands(node: &Node, place: &Path, events: usize) -> Result<()> {
    node.client().post("/v1/events", &json!({"event": "view_item", "subject": "u-1"})).await?.ok()?;
    let has = || lake::rows(&place.join("events")).map(|rows| rows.items());
    let landed = until("the event in the lake", LIMIT, async || (has().ok()? == events).then_some(()));
    landed.await.with_context(|| format!("{:?} of {events} events", has()))
}

#[test]
fn what_goes_while_a_stream_is_followed_is_told_and_the_rest_lands() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, _) = ranking(&rig).await?;
        let (place, away) = (rig.path("lake"), rig.path("away"));
        let line = Proxy::start(rig.nats.port(), 7).await?;
        let mut following = follow(&rig, &line.url(), &place)?;
        let tail = |following: &Process| following.log_tail();
        lands(&node, &place, 1).await.with_context(|| tail(&following))?;

        // An event comes and goes while nothing is heard of the core.
        line.set(Line::Cut);
        node.client().post("/v1/events", &json!({"event": "view_item", "subject": "u-1"})).await?.ok()?;
        let mut stream = Stream::open(&rig.nats.url()).await?;
        until("the event in the stream", LIMIT, async || {
            stream.read_on().await.ok()?;
            (stream.events.len() == 2).then_some(())
        })
        .await?;
        let link = rig.link().await?;
        let name = link.config().events_stream();
        link.jetstream().get_stream(&name).await?.purge().await?;
        line.set(Line::Whole);
        lands(&node, &place, 2).await.with_context(|| tail(&following))?;

        link.jetstream().delete_stream(&name).await?;
        rig.cli.run(["core", "init"]).await?.ok()?;
        lands(&node, &place, 3).await.with_context(|| tail(&following))?;

        // The place goes, and something else is in its stead for a while.
        std::fs::rename(&place, &away)?;
        std::fs::write(&place, "no folder")?;
        node.client().post("/v1/events", &json!({"event": "view_item", "subject": "u-1"})).await?.ok()?;
        until("it to fail", LIMIT, async || following.log().ok()?.contains("Not a directory").then_some(())).await?;
        std::fs::remove_file(&place)?;
        std::fs::rename(&away, &place)?;
        lands(&node, &place, 5).await.with_context(|| tail(&following))?;

        let ended = following.terminate(LIMIT).await?;
        let said: Value = serde_json::from_str(&following.line(LIMIT).await?)?;
        ensure!(ended.code() == Some(1) && said["events"] == 5 && said["gone"] == 1, "{ended} {said}");
        let log = following.log()?;
        ensure!(log.contains("1 messages are gone") && log.contains("the stream was made anew"), "{log}");
        Ok(())
    })
}

#[test]
fn a_store_that_does_not_answer_does_not_keep_it_from_ending() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        rig.cli.run(["core", "init"]).await?.ok()?;
        let store = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let mut command = Command::new(binary::built("selvedge")?);
        command.args(["core", "lake", "--to", "s3://shop/lake", "--nats", &rig.nats.url()]);
        command.env("AWS_ENDPOINT", format!("http://{}", store.local_addr()?)).env("AWS_ALLOW_HTTP", "true");
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_REGION", "eu-1");
        let mut following = Process::spawn("selvedge core lake", &mut command, &rig.path("lake.log"))?;
        let (asked, _) = tokio::time::timeout(LIMIT, store.accept()).await??;
        let ended = following.terminate(Duration::from_secs(30)).await?;
        ensure!(ended.code() == Some(1), "{ended}: {}", following.log()?);
        drop(asked);
        Ok(())
    })
}

#[test]
fn the_user_of_the_documentation_can_land_and_no_more() -> Result<()> {
    crate::alone(async {
        let page = std::fs::read_to_string(binary::repository().join("docs/core.md"))?;
        let user = page.split("## A user for the lake").nth(1).context("no section")?;
        let user = user.split("```").nth(1).context("no user")?.trim_start_matches("conf");
        let user = user.replacen("user: \"lake\"", "user: \"lake\", password: \"lake\"", 1);
        let folder = tempfile::tempdir()?;
        let config = format!("authorization {{ users: [ {{ user: root, password: root }}\n{user} ] }}\n");
        let nats = NatsServer::start_with(&folder.path().join("nats"), Some(&config)).await?;
        Cli::new(nats.url_of("root")).run(["core", "init"]).await?.ok()?;
        let place = folder.path().join("lake").to_string_lossy().into_owned();
        let lake = Cli::new(nats.url_of("lake"));
        lake.run(["core", "lake", "--to", &place, "--once"]).await?.ok()?;
        let denied = lake.run(["features", "put", "user", "u-1", "{}"]).await?;
        ensure!(denied.code != Some(0), "{denied:?}");
        Ok(())
    })
}
