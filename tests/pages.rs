//! Deciding in the page against a real node: that it decides as the node does, and that its records come back to be replayed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use selvedge_decision::{DecisionId, Record};
use selvedge_suite::harness::page::Pages;
use selvedge_suite::harness::shop::{Shop, number};
use selvedge_suite::harness::stream::Stream;
use selvedge_suite::harness::{Node, NodeSpec, Rig, binary, process, until};
use serde_json::{Value, json};

use crate::keys::{create, publish};
use crate::lake::{dataset, land};

const LIMIT: Duration = Duration::from_secs(60);

/// One placement that a page decides, one that it must not know of, and one that is for pages but decided by a node. What no page
/// may see has `hidden` in its name.
pub(crate) const FEATURES: &str = r#"
[view.user]
by = "subject"
browser = true
[view.user.features]
value = { type = "number", default = 0.0 }
segment = "symbol"
hidden_value = "number"
hidden_name = { type = "symbol", pii = true }
[view.item]
by = "item"
browser = true
[view.item.features]
price = "number"
category = "symbol"
hidden_margin = "number"
[view.session]
by = "session"
browser = true
[view.session.aggregates]
clicks = { count = "click" }
hidden_views = { count = "hidden_event" }
[view.hidden_view]
by = "item"
[view.hidden_view.features]
hidden_feature = "number"
"#;

const RANK: &str = r#"
browser = true
context = { country = "symbol", cart = "number" }
candidates = { view = "item", from = "request" }
slots = 3
deadline = "1s"
ladder = ["rank"]
fallback = { by = "item.price" }
record = { inputs = 1.0 }
[limits]
max_per = { "item.category" = 1 }
[[experiment]]
key = "order"
unit = "subject"
overrides = { "hidden-tester" = "b" }
arms = [{ name = "a", weight = 50 }, { name = "b", weight = 50, ladder = ["rank", "dear"] }]
"#;

pub(crate) const HERO: &str = r#"
browser = true
actions = [{ id = "plain", payload = { banner = "plain.svg" } }, { id = "vip", payload = { banner = "vip.svg", rows = [1, 2.5] } }]
deadline = "1s"
ladder = ["hero"]
fallback = ["plain"]
"#;

const HIDDEN: &str = r#"
actions = [{ id = "hidden-action", payload = "hidden-payload" }]
ladder = ["hidden-model"]
fallback = ["hidden-action"]
"#;

const REMOTE: &str = r#"
browser = true
candidates = { view = "item", from = "request" }
ladder = ["margins"]
fallback = { by = "item.price" }
"#;

pub(crate) async fn start(rig: &Rig) -> Result<(Node, PathBuf)> {
    start_as(rig, rig.spec("edge-1")).await
}

pub(crate) async fn start_as(rig: &Rig, spec: NodeSpec) -> Result<(Node, PathBuf)> {
    start_with(rig, spec, FEATURES).await
}

/// With these views.
pub(crate) async fn start_with(rig: &Rig, spec: NodeSpec, features: &str) -> Result<(Node, PathBuf)> {
    let items = (0..12).map(|at| {
        let (price, category) = (f64::from(at) * 7.25 + 0.1, ["shoes", "hats", "socks"][at as usize % 3]);
        json!({"_key": format!("sku-{at}"), "price": price, "category": category, "hidden_margin": 0.123_456})
    });
    rig.push("item", items.collect::<Vec<_>>()).await?;
    let user =
        json!({"_key": "u-1", "value": 17.5, "segment": "vip", "hidden_value": 99.0, "hidden_name": "hidden-person"});
    rig.push("user", vec![user, json!({"_key": "hidden-other", "value": 1.0})]).await?;
    rig.push("hidden_view", vec![json!({"_key": "sku-1", "hidden_feature": 1.0})]).await?;
    let shop = Shop::new(rig.path("pages"), "pages")?;
    shop.file("features.toml", features)?;
    shop.placement("plp-rank", RANK)?.placement("home-hero", HERO)?;
    shop.placement("hidden-placement", HIDDEN)?.placement("remote-rank", REMOTE)?;
    let symbol = |name: &str, scope: &str, weights: &str| {
        format!("[[input]]\nname = {name:?}\nscope = {scope:?}\ntype = \"symbol\"\nweights = {{ {weights} }}\n")
    };
    let rank = number("item.price", "candidate", -0.1)
        + &symbol("item.category", "candidate", "shoes = 2.0, hats = 1.5")
        + &symbol("user.segment", "shared", "vip = 1.0, new = 0.5")
        + &symbol("context.country", "shared", "DE = 0.25")
        + &number("context.cart", "shared", 0.5)
        + &number("user.value", "shared", 0.1)
        + &number("session.clicks", "shared", 2.0);
    let begin = "link = \"identity\"\n";
    shop.model("rank", &format!("{begin}{rank}"))?;
    shop.model("dear", &format!("{begin}{}", number("item.price", "candidate", 1.0)))?;
    shop.model("hero", &format!("link = \"logistic\"\n{}", symbol("candidate.id", "candidate", "vip = 1.0")))?;
    shop.model("margins", &format!("{begin}{}", number("hidden_view.hidden_feature", "candidate", 1.0)))?;
    let hidden = symbol("user.segment", "shared", "\"hidden-segment\" = 1.0");
    shop.model("hidden-model", &format!("{begin}{hidden}"))?;
    let file = rig.pack(&shop).await?;
    let node = Node::start(spec).await?;
    node.runs(&rig.deploy(&file).await?, LIMIT).await?;
    until("the items", LIMIT, async || (node.view("item").await.ok()?["entities"].as_u64()? >= 12).then_some(()))
        .await?;
    Ok((node, file))
}

/// What a page gets, words and bytes.
pub(crate) async fn gets(node: &Node, path: &str) -> Result<Vec<u8>> {
    let answer = node.client().get(path).await?;
    ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text());
    Ok(answer.body.to_vec())
}

pub(crate) fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Runs steps in Node.js with the engine of pages; nothing where that was said to be left out.
async fn in_a_page(node: &Node, task: Value) -> Result<Option<Value>> {
    let Some((program, engine)) = binary::engine()? else {
        let is_left_out = std::env::var_os("SELVEDGE_WITHOUT_ENGINE").is_some();
        ensure!(
            is_left_out,
            "no engine of pages here: `./x test` builds it; SELVEDGE_WITHOUT_ENGINE=1 leaves this out"
        );
        return Ok(None);
    };
    let mut whole = json!({"base": format!("http://{}", node.http)});
    for (key, value) in task.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    let mut command = Command::new(program);
    command.arg(engine.join("in_node.mjs")).arg(engine.join("engine_bg.wasm")).arg("local").arg(whole.to_string());
    let (status, stdout, stderr) = process::run("in_node.mjs", command, LIMIT).await?;
    ensure!(status.success(), "{stderr}");
    Ok(Some(serde_json::from_str(&stdout)?))
}

/// The same in a page of a browser; nothing where there is none, which is said.
async fn in_browser(node: &Node, browser: &str, mut task: Value) -> Result<Option<Value>> {
    let (Some(pages), Some((_, engine))) = (Pages::find()?, binary::engine()?) else { return Ok(None) };
    task["base"] = json!(format!("http://{}", node.http));
    let more = [engine.to_string_lossy().into_owned(), "local".to_owned(), task.to_string()];
    pages.run("engine.mjs", browser, node.http, &more, LIMIT).await
}

/// The same JSON with all numbers as one type: JavaScript writes 1.0 as 1.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(list) => list.into_iter().map(plain).collect(),
        Value::Object(object) => object.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        other => other,
    }
}

#[test]
fn a_page_decides_as_its_node_and_its_record_is_replayed() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, file) = start(&rig).await?;
        let mut client = node.client();
        for _ in 0..3 {
            client.post("/v1/events", &json!({"name": "click", "session": "s-1", "subject": "u-1"})).await?.ok()?;
        }
        let mut candidates: Vec<String> = (0..12).map(|at| format!("sku-{at}")).collect();
        // Whatever an id is made of, and however long.
        candidates.extend(["størrelse-\u{1f45f}".to_owned(), "x".repeat(127), "y".repeat(128), "é".repeat(64)]);
        let mut before = 0;
        for (subject, country) in [("u-1", "DE"), ("u-2", "Österreich"), ("hidden-tester", "DE")] {
            let context = json!({"country": country, "cart": 12.75});
            let asked = json!({"placement": "plp-rank", "candidates": candidates, "slots": 2});
            let request = json!({
                "subject": subject, "session": "s-1", "context": context,
                "placements": [asked, {"placement": "home-hero"}, {"placement": "no-such"}],
            });
            let steps = json!(["decide", "records", "again"]);
            let mut task = json!({"subject": subject, "session": "s-1", "request": request, "steps": steps});
            let Some(told) = in_a_page(&node, task.clone()).await? else { return Ok(()) };
            let decided = &told["told"][0];
            ensure!(decided["requests"] == json!([]), "a decision asks nobody: {decided}");
            let asked = told["requests"].as_array().context("requests")?;
            ensure!(!asked.contains(&json!("GET /v1/browser/features")), "rows came with the release: {asked:?}");
            let decisions = &decided["answer"]["decisions"];
            ensure!(decisions[2]["error"]["code"] == "unknown_placement", "{decisions}");
            for (at, key) in ["plp-rank", "home-hero"].into_iter().enumerate() {
                let mut body = json!({"placement": key, "subject": subject, "session": "s-1", "context": context});
                if key == "plp-rank" {
                    body["candidates"] = json!(candidates);
                    body["slots"] = json!(2);
                }
                let mut node_says = client.post("/v1/decide", &body).await?.ok()?;
                let mut page_says = decisions[at].clone();
                let id: DecisionId = page_says["decision_id"].as_str().context("an id")?.parse()?;
                ensure!(id.is_of_a_page(), "{id}");
                for said in [&mut node_says, &mut page_says] {
                    said["decision_id"] = Value::Null;
                    said["max_lag_ms"] = Value::Null;
                }
                let (node_says, page_says) = (plain(node_says), plain(page_says));
                ensure!(node_says == page_says, "the node says {node_says:#}\nthe page {page_says:#}");
                before += 2;
            }
            // And so in a page of each browser, whose record stays there.
            task["steps"] = json!(["decide"]);
            for browser in ["chromium", "firefox"] {
                let Some(there) = in_browser(&node, browser, task.clone()).await? else { continue };
                let of = |said: &Value| {
                    let mut said = said["told"][0]["answer"]["decisions"].clone();
                    said.as_array_mut().into_iter().flatten().for_each(|one| one["decision_id"] = Value::Null);
                    said.as_array_mut().into_iter().flatten().for_each(|one| one["max_lag_ms"] = Value::Null);
                    plain(said)
                };
                ensure!(of(&there) == of(&told), "{browser} says {:#}\nNode.js {:#}", of(&there), of(&told));
            }
            ensure!(told["told"][1]["records"] == json!({"accepted": 2, "duplicates": 0, "rejected": []}), "{told}");
            ensure!(told["told"][2]["records"] == json!({"accepted": 0, "duplicates": 2, "rejected": []}), "{told}");
        }

        // Both kinds of records are in the stream, the page's as it sent them, and replay to the same bytes.
        let mut stream = Stream::open(&rig.nats.url()).await?;
        let arrived = until("every record to arrive", LIMIT, async || {
            stream.read_on().await.ok()?;
            (stream.records.len() >= before).then_some(())
        });
        arrived.await?;
        let said = rig.cli.json(["replay".as_ref(), "nats".as_ref(), "--release".as_ref(), file.as_os_str()]).await?;
        ensure!(said["different"] == 0 && said["replayed"].as_u64() >= Some(6), "{said}");

        // Rows to train with are of what the node decided, unless the page's are wanted, too.
        land(&rig, before, 3).await?;
        for (more, decisions, left_out) in [(&[][..], 3, 3), (&["--pages"], 6, 0)] {
            let (ran, _) = dataset(&rig, &file, "rows.jsonl", more).await?;
            let told: Value = serde_json::from_str(&ran.stdout)?;
            ensure!(told["decisions"] == decisions && told["of_pages"] == left_out, "{more:?}: {ran:?}");
        }
        Ok(())
    })
}

/// Sends one record by a key; what became of it.
async fn sends(node: &Node, key: &str, record: &str) -> Result<Value> {
    let path = format!("/v1/browser/records?v=1&key={key}");
    node.client().post(&path, &json!({"records": [record]})).await?.ok()
}

/// A page of one key was told less of the release than a page of another; what either may have decided is the same.
#[test]
fn a_record_is_checked_by_its_release_and_its_own_key() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (elsewhere, _) = start(&rig).await?;
        let rank = json!({"placement": "plp-rank", "candidates": ["sku-1", "sku-2"]});
        let request = json!({"subject": "u-1", "session": "s-1", "context": {}, "placements": [rank, {"placement": "home-hero"}]});
        let steps = json!(["decide", "decide", "records"]);
        let task = json!({"subject": "u-1", "session": "s-1", "request": request, "steps": steps});
        let Some(told) = in_a_page(&elsewhere, task).await? else { return Ok(()) };
        let sent: Vec<&str> = told["sent"].as_array().context("records")?.iter().filter_map(Value::as_str).collect();
        let [rank, hero, later, _] = sent[..] else { anyhow::bail!("{} records", sent.len()) };
        let first: Value = serde_json::from_slice(&gets(&elsewhere, "/v1/browser/release?v=1").await?)?;
        let first = first["release"].as_str().context("a release")?;

        let file = rig.path("keys.jsonl");
        let (_, admin) = create(&rig.cli, &file, "ops", &["admin"]).await?;
        let (_, wide) = publish(&rig.cli, &file, "wide", &["--origin", "*"]).await?;
        let (_, narrow) = publish(&rig.cli, &file, "narrow", &["--origin", "*", "--placement", "home-hero"]).await?;
        let mut spec = rig.spec("edge-2").set(format!("http.keys={}", file.display()));
        spec.admin_key = Some(admin);
        let node = Node::start(spec).await?;
        node.runs(first, LIMIT).await?;
        let release: Value =
            serde_json::from_slice(&gets(&node, &format!("/v1/browser/release?v=1&key={narrow}")).await?)?;
        let placements: Vec<&String> = release["placements"].as_object().context("placements")?.keys().collect();
        ensure!(placements == ["home-hero"] && release["remote"] == json!([]), "{release}");
        let taken = json!({"accepted": 1, "duplicates": 0, "rejected": []});
        let said = sends(&node, &wide, rank).await?;
        ensure!(said == taken, "of a placement that the other key's page was not told of: {said}");
        let said = sends(&node, &narrow, rank).await?;
        ensure!(said["accepted"] == 0 && said["rejected"][0]["code"] == "not_for_browsers", "{said}");
        ensure!(sends(&node, &narrow, hero).await? == taken);
        let metrics = node.metrics().await?;
        let count = |outcome: &str| metrics.sum("selvedge_page_records_total", &[&format!("outcome=\"{outcome}\"")]);
        ensure!(count("accepted") == 2.0 && count("not_for_browsers") == 1.0 && count("duplicate") == 0.0);

        // Rows, too, are those that the key's placements read.
        for (key, expected) in [(&wide, true), (&narrow, false)] {
            let found = until("the rows", LIMIT, async || {
                let all = gets(&node, &format!("/v1/browser/features?v=1&key={key}")).await.ok()?;
                let own = gets(&node, &format!("/v1/browser/features?v=1&key={key}&subject=u-1")).await.ok()?;
                let value = own.windows(8).any(|at| at == 17.5f64.to_le_bytes());
                (holds(&all, "sku-3") == expected && value == expected).then_some(())
            });
            found.await?;
        }

        // Another release runs, and the node with it is started anew: what pages of the one before decided is taken.
        std::fs::write(rig.path("pages/placements/home-hero.toml"), HERO.replace("plain.svg", "other.svg"))?;
        let second = rig.deploy(&rig.path("pages")).await?;
        node.runs(&second, LIMIT).await?;
        let (spec, status) = node.terminate().await?;
        ensure!(status.success(), "{status}");
        let node = Node::start(spec).await?;
        node.runs(&second, LIMIT).await?;
        let mut last = Value::Null;
        let found = until("the release before to be kept warm", LIMIT, async || {
            last = sends(&node, &wide, later).await.ok()?;
            (last == taken).then_some(())
        });
        found.await.with_context(|| format!("{last}"))
    })
}

#[test]
fn what_is_no_record_of_a_page_is_refused_with_a_reason() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, _) = start(&rig).await?;
        let request = json!({"subject": "u-1", "session": "s-1", "context": {}, "placements": [{"placement": "plp-rank", "candidates": ["sku-1", "sku-2"]}]});
        let task = json!({"subject": "u-1", "session": "s-1", "request": request, "steps": ["decide", "records"]});
        let Some(told) = in_a_page(&node, task).await? else { return Ok(()) };
        let sent = told["sent"][0].as_str().context("a record")?;
        let good = Record::from_bytes(&STANDARD.decode(sent)?)?;
        let node_id = DecisionId::new(good.time_us, 7, 1);
        let changed = |change: &dyn Fn(&mut Record)| {
            let mut record = good.clone();
            change(&mut record);
            STANDARD.encode(record.to_bytes())
        };
        let mut client = node.client();
        let mut check = async |record: String, code: &str| -> Result<()> {
            let answer = client.post("/v1/browser/records?v=1", &json!({"records": [record]})).await?;
            let said = answer.json()?;
            ensure!(answer.status == 202 && said["accepted"] == 0, "{code}: {} {said}", answer.status);
            ensure!(said["rejected"][0]["code"] == code && said["rejected"][0]["index"] == 0, "{code}: {said}");
            ensure!(said["rejected"][0]["message"].as_str().is_some_and(|why| !why.is_empty()), "{said}");
            Ok(())
        };
        check("%%%".into(), "bad_record").await?;
        check(STANDARD.encode(b"not a record"), "bad_record").await?;
        check("A".repeat(100_000), "too_large").await?;
        check(changed(&|record| record.id = node_id), "bad_record").await?;
        check(changed(&|record| record.core += 1), "other_core").await?;
        check(changed(&|record| record.release = selvedge_decision::Digest::of(b"x")), "unknown_release").await?;
        check(changed(&|record| record.placement = "hidden-placement".into()), "bad_record").await?;
        check(changed(&|record| record.time_us -= 40 * 86_400_000_000), "too_old").await?;
        check(changed(&|record| record.time_us += 86_400_000_000), "bad_time").await?;
        check(changed(&|record| record.seed ^= 1), "bad_record").await?;
        check(changed(&|record| record.choices[0].candidate = 9), "bad_record").await?;
        check(changed(&|record| record.choices[0].propensity = 0.0), "bad_record").await?;
        check(changed(&|record| record.lots.clear()), "bad_record").await?;
        check(changed(&|record| record.arm = Some("zzz".into())), "bad_record").await?;
        check(changed(&|record| record.subject = Some("x".repeat(600))), "bad_record").await?;
        check(changed(&|record| record.session_seq = 5), "bad_record").await?;
        check(
            changed(&|record| {
                record.inputs.iter_mut().for_each(|inputs| inputs.shared.truncate(inputs.shared.len() - 1))
            }),
            "bad_record",
        )
        .await?;
        let many: Vec<&str> = vec![sent; 101];
        let answer = node.client().post("/v1/browser/records?v=1", &json!({"records": many})).await?;
        ensure!(answer.status == 400 && answer.json()?["error"]["limit"] == 100, "{}", answer.text());
        Ok(())
    })
}
