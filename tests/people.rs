//! A person's data: ids that become a hash as they come in, and people who are erased.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::shop::{FEATURES, Shop, number};
use selvedge_suite::harness::stream::Stream;
use selvedge_suite::harness::{Line, Node, NodeSpec, Proxy, Rig, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const VIEWS: &str = r#"
[view.fit]
by = ["subject", "item"]
sync = "all"
[view.fit.features]
affinity = { type = "number", default = 0.0 }
[view.person]
by = "subject"
[view.person.aggregates]
views = { count = "view_item" }
[view.visit]
by = "session"
[view.visit.aggregates]
views = { count = "view_item" }
"#;

/// Scores an item: the person's value, 100 times the affinity to the item, 10,000 for each of the person's events, and 1e6 for each
/// of the session's.
fn shop(rig: &Rig) -> Result<Shop> {
    let shop = Shop::new(rig.path("shop"), "shop")?;
    shop.file("features.toml", format!("{FEATURES}{VIEWS}"))?;
    let placement = r#"
candidates = { view = "item", from = "request" }
deadline = "1s"
ladder = ["taste"]
fallback = { by = "item.stock" }
record = { inputs = 1.0 }
"#;
    shop.placement("plp-rank", placement)?;
    let model = [
        "link = \"identity\"\nintercept = 0.0\n".to_owned(),
        number("user.value", "shared", 1.0),
        number("fit.affinity", "candidate", 100.0),
        number("person.views", "shared", 10_000.0),
        number("visit.views", "shared", 1e6),
    ];
    shop.model("taste", &model.concat())?;
    Ok(shop)
}

async fn score(node: &Node, subject: &str, session: &str) -> Result<f64> {
    let body = json!({"placement": "plp-rank", "subject": subject, "session": session, "candidates": ["sku-1"]});
    let answer = node.client().post("/v1/decide", &body).await?.ok()?;
    let part = json!({"placement": "plp-rank", "candidates": ["sku-1"]});
    let page = json!({"placements": [part], "subject": subject, "session": session});
    let batch = node.client().post("/v1/decide/batch", &page).await?.ok()?;
    let score = |answer: &Value| answer["choices"][0]["score"].as_f64().with_context(|| format!("no score: {answer}"));
    let (one, of_batch) = (score(&answer)?, score(&batch["decisions"][0])?);
    ensure!(one == of_batch, "{one} alone, {of_batch} of a batch");
    Ok(one)
}

/// Waits until the next decision has this score.
async fn scores(node: &Node, (subject, session): (&str, &str), expected: f64) -> Result<()> {
    let mut last = None;
    let found = until("the score", LIMIT, async || {
        last = score(node, subject, session).await.ok();
        (last == Some(expected)).then_some(())
    });
    found.await.with_context(|| format!("{subject}, {session}: {last:?} on {}, expected {expected}", node.spec.name))
}

/// Rows of people and of what they have to do with an item, pushed under what their ids become by a key, if there is one.
async fn push_people(rig: &Rig, release: &Path, key: Option<&Path>, people: &[(&str, f64)]) -> Result<()> {
    let rows = |row: &dyn Fn(&str, f64) -> Value| {
        people.iter().map(|(id, value)| format!("{}\n", row(id, *value))).collect::<String>()
    };
    for (view, rows) in [
        ("user", rows(&|id, value| json!({"_key": id, "value": value}))),
        ("fit", rows(&|id, value| json!({"_key": [id, "sku-1"], "affinity": value}))),
    ] {
        let file = rig.path(&format!("{view}.jsonl"));
        fs::write(&file, rows)?;
        let mut args = vec!["features".into(), "push".into(), file.into_os_string(), "--view".into(), view.into()];
        args.extend(["--release".into(), release.as_os_str().to_owned()]);
        args.extend(key.iter().flat_map(|key| ["--ids-key".into(), key.as_os_str().to_owned()]));
        rig.cli.run(args).await?.ok()?;
    }
    Ok(())
}

/// A node that has the items and so many people.
async fn ready(spec: NodeSpec, release: &str, people: u64) -> Result<Node> {
    let node = Node::start(spec).await?;
    node.runs(release, LIMIT).await?;
    until("the rows", LIMIT, async || {
        let held = async |view: &str| node.view(view).await.ok()?["entities"].as_u64();
        (held("item").await? >= 1 && held("user").await? >= people && held("fit").await? >= people).then_some(())
    })
    .await?;
    Ok(node)
}

/// Files below a folder in which any of these stands.
fn holding(folder: &Path, texts: &[String]) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(holding(&path, texts)?);
        // What ends while it is looked at holds nothing.
        } else if let Ok(bytes) = fs::read(&path) {
            let holds = |text: &&String| bytes.windows(text.len()).any(|bytes| bytes == text.as_bytes());
            found.extend(texts.iter().find(holds).map(|text| (path, text.clone())));
        }
    }
    Ok(found)
}

async fn hash(rig: &Rig, key: &Path, id: &str, more: &[&str]) -> Result<String> {
    let key = key.display().to_string();
    let args = [&["ids", "hash", id, "--key", &key], more].concat();
    Ok(rig.cli.json(args).await?["id"].as_str().context("no id")?.to_owned())
}

#[test]
fn no_id_of_a_person_is_behind_the_door_of_a_node_with_a_key() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let key = rig.path("ids.key");
        rig.cli.run(["ids".as_ref(), "keygen".as_ref(), key.as_os_str()]).await?.ok()?;
        rig.push("item", [json!({"_key": "sku-1", "category": "shoes", "price": 1.0, "stock": 1.0})]).await?;
        let shop = shop(&rig)?;
        let release = rig.deploy(shop.folder()).await?;
        push_people(&rig, shop.folder(), Some(&key), &[("raw-anna", 5.0), ("raw-bert", 7.0)]).await?;
        let spec = rig.spec("edge-1").set(format!("ids.key={}", key.display()));
        let node = ready(spec, &release, 2).await?;
        let _core = rig.core_features("core", &[]).await?;
        ensure!(score(&node, "raw-anna", "raw-visit").await? == 505.0);
        ensure!(score(&node, "raw-nobody", "raw-visit").await? == 0.0);

        // Every form that events come in.
        let mut client = node.client();
        let own = json!({"name": "view_item", "subject": "raw-anna", "session": "raw-visit", "item": "sku-1"});
        client.post("/v1/events", &own).await?.ok()?;
        client.post("/v1/events", &json!([own])).await?.ok()?;
        let track = json!({"type": "track", "event": "Product Viewed", "userId": "raw-anna", "anonymousId": "raw-browser",
            "context": {"sessionId": "raw-visit"}, "properties": {}});
        client.post("/v1/events", &json!({"batch": [track], "sentAt": "2026-03-01T12:00:00Z"})).await?.ok()?;
        let anonymous = json!({"type": "track", "event": "Product Viewed", "anonymousId": "raw-browser"});
        client.post("/v1/events", &anonymous).await?.ok()?;
        let cloud = json!({"specversion": "1.0", "type": "view_item", "source": "/shop", "id": "1", "subject": "raw-anna",
            "session": "raw-visit"});
        client.post("/v1/events", &cloud).await?.ok()?;
        // A hash is an id like any other.
        let (anna, visit) =
            (hash(&rig, &key, "raw-anna", &[]).await?, hash(&rig, &key, "raw-visit", &["--session"]).await?);
        client.post("/v1/events", &json!({"name": "view_item", "subject": anna, "session": visit})).await?.ok()?;
        scores(&node, ("raw-anna", "raw-visit"), 505.0 + 50_000.0 + 5e6).await?;
        scores(&node, (&anna, &visit), 505.0 + 50_000.0 + 5e6).await?;
        scores(&node, ("raw-bert", "raw-other"), 707.0).await?;
        let explained = json!({"placement": "plp-rank", "subject": "raw-anna", "session": "raw-visit",
            "candidates": ["sku-1"], "explain": true});
        let explained = client.post("/v1/decide", &explained).await?.ok()?.to_string();
        ensure!(!explained.contains("raw-"), "{explained}");
        // What is no id stays none.
        let empty =
            client.post("/v1/decide", &json!({"placement": "plp-rank", "subject": "", "session": "raw-visit"})).await?;
        ensure!(empty.status == 400, "{}", empty.text());

        let mut stream = Stream::open(&rig.nats.url()).await?;
        until("all events and decisions to be in the stream", LIMIT, async || {
            stream.read_on().await.ok()?;
            (stream.events.len() == 6 && stream.records.len() > 8).then_some(())
        })
        .await?;
        let told = format!("{:?}{:?}", stream.events, stream.records);
        ensure!(!told.contains("raw-"), "an id is in the stream");
        ensure!(stream.events.iter().filter(|event| event.subject.as_ref() == Some(&anna)).count() == 5);
        ensure!(stream.events.iter().filter(|event| event.session.as_ref() == Some(&visit)).count() == 5);
        ensure!(stream.records.iter().any(|record| record.subject.as_deref() == Some(&*anna)), "whose decisions?");
        let (spec, _) = node.terminate().await?;
        // As they are, and as a key in a bucket has them.
        let raw = ["raw-anna", "raw-bert", "raw-visit", "raw-browser", "cmF3LWFubmE", "cmF3LWJlcnQ", "cmF3LXZpc2l0"];
        let raw = raw.map(str::to_owned);
        for folder in [spec.folder, rig.path("nats")] {
            let found = holding(&folder, &raw)?;
            ensure!(found.is_empty(), "{found:?}");
        }
        ensure!(!holding(&rig.path("edge-1"), &[anna])?.is_empty(), "it was looked for where nothing is");
        Ok(())
    })
}

/// What `selvedge erase` told, by place: keys found and removed.
async fn erase(rig: &Rig, subject: &str, more: &[&str]) -> Result<(Option<i32>, Vec<(String, u64, u64)>)> {
    let ran = rig.cli.run(["erase", subject, "--json"].iter().chain(more)).await?;
    let parts = ran.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    ensure!(!parts.is_empty(), "{}", ran.stderr);
    let count = |part: &Value, key: &str| part[key].as_u64().unwrap_or(u64::MAX);
    let told = parts.iter().map(|part| {
        (part["name"].as_str().unwrap_or_default().to_owned(), count(part, "found"), count(part, "removed"))
    });
    Ok((ran.code, told.collect()))
}

fn of<'p>(parts: &'p [(String, u64, u64)], name: &str) -> Option<&'p (String, u64, u64)> {
    parts.iter().find(|(known, ..)| known == name)
}

#[test]
fn a_person_who_is_erased_is_nowhere_and_everybody_else_stays() -> Result<()> {
    crate::alone(async {
        let mut rig = Rig::start().await?;
        // An item that is called as the person is.
        let items =
            ["sku-1", "raw-anna"].map(|id| json!({"_key": id, "category": "shoes", "price": 1.0, "stock": 1.0}));
        rig.push("item", items).await?;
        let shop = shop(&rig)?;
        let release = rig.deploy(shop.folder()).await?;
        push_people(&rig, shop.folder(), None, &[("raw-anna", 5.0), ("raw-bert", 7.0)]).await?;
        let proxy = Proxy::start(rig.nats.port(), 1).await?;
        let far = NodeSpec::new("edge-2", &rig.path("edge-2"), &proxy.url(), &rig.path("keys/rig.pub"));
        let nodes = [ready(rig.spec("edge-1"), &release, 2).await?, ready(far, &release, 2).await?];
        let mut core = rig.core_features("core", &[]).await?;
        let (anna, bert) = (("raw-anna", "s-anna"), ("raw-bert", "s-bert"));
        for node in &nodes {
            for (subject, session) in [anna, bert, anna] {
                let event = json!({"name": "view_item", "subject": subject, "session": session, "item": "sku-1"});
                node.client().post("/v1/events", &event).await?.ok()?;
            }
        }
        let all = async |anna_is: f64| -> Result<()> {
            for node in &nodes {
                scores(node, anna, anna_is).await?;
                scores(node, bert, 707.0 + 20_000.0 + 2e6).await?;
            }
            Ok(())
        };
        let before = 505.0 + 40_000.0 + 4e6;
        all(before).await?;
        // The core's own sight of it: only what is in the stream can be found there.
        let mut stream = Stream::open(&rig.nats.url()).await?;
        until("all events to be in the stream", LIMIT, async || {
            stream.read_on().await.ok()?;
            (stream.events.len() == 6).then_some(())
        })
        .await?;

        let (code, told) = erase(&rig, anna.0, &["--dry-run"]).await?;
        let keys = [("features_user", 1), ("features_fit", 1), ("features_person_agg", 2), ("sessions", 2)];
        for (bucket, found) in keys {
            ensure!(of(&told, bucket).is_some_and(|part| (part.1, part.2) == (found, 0)), "{bucket}: {told:?}");
        }
        ensure!(code == Some(0) && of(&told, "features_item").is_none(), "{told:?}");
        all(before).await?;

        // One node is cut off while she is erased, and has something to tell that nobody heard.
        proxy.set(Line::Cut);
        let event =
            |session: &str| json!({"name": "view_item", "subject": anna.0, "session": session, "item": "sku-1"});
        nodes[1].client().post("/v1/events", &event(anna.1)).await?.ok()?;
        let lake = rig.path("lake");
        fs::create_dir(&lake)?;
        let (code, told) = erase(&rig, anna.0, &["--lake", &lake.display().to_string()]).await?;
        for (bucket, found) in keys {
            ensure!(of(&told, bucket).is_some_and(|part| part.1 >= found && part.1 == part.2), "{bucket}: {told:?}");
        }
        ensure!(code == Some(0), "{told:?}");
        scores(&nodes[0], anna, 0.0).await?;
        let (_, told) = erase(&rig, anna.0, &["--dry-run"]).await?;
        for (bucket, _) in keys {
            ensure!(of(&told, bucket).is_some_and(|part| part.1 == 0), "{bucket}: {told:?}");
        }
        ensure!(rig.cli.run(["features", "get", "item", "raw-anna"]).await?.code == Some(0), "the item went, too");
        let marks = fs::read_dir(lake.join("erased"))?.collect::<Result<Vec<_>, _>>()?;
        ensure!(marks.len() == 1, "{marks:?}");
        let mark: Value = serde_json::from_slice(&fs::read(marks[0].path())?)?;
        ensure!(mark["sessions"] == json!(["s-anna"]), "{mark}");
        ensure!(mark["subject"] == "raw-anna" && mark["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{mark}");

        proxy.set(Line::Whole);
        all(0.0).await?;
        until("what the node had to tell to be in the stream", LIMIT, async || {
            stream.read_on().await.ok()?;
            (stream.events.len() == 7).then_some(())
        })
        .await?;

        // She comes again: what she does now counts, what she did before does not, whoever computes it.
        nodes[0].client().post("/v1/events", &event(anna.1)).await?.ok()?;
        let now = 10_000.0 + 1e6;
        all(now).await?;
        core.kill()?;
        let folder = shop.folder().display().to_string();
        until("the backfill to have her new event", LIMIT, async || {
            let ran = rig.cli.run(["features", "backfill", "--release", &folder, "--view", "person"]).await.ok()?;
            let lines: Vec<Value> = ran.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let views = |id: &str| lines.iter().find(|line| line["_key"] == id)?["views"].as_f64();
            (views("raw-anna") == Some(1.0) && views("raw-bert") == Some(2.0)).then_some(())
        })
        .await?;

        // Nor does a node bring it back that starts again, with its core and without.
        let [first, second] = nodes;
        let (spec, _) = first.terminate().await?;
        let first = Node::start(spec).await?;
        scores(&first, anna, now).await?;
        scores(&first, bert, 707.0 + 20_000.0 + 2e6).await?;
        let (spec, _) = second.terminate().await?;
        rig.nats.kill()?;
        let second = Node::start(spec).await?;
        scores(&second, ("raw-bert", "none"), 20_707.0).await?;
        ensure!(score(&second, "raw-anna", "none").await? == 10_000.0, "{}", score(&second, "raw-anna", "none").await?);
        Ok(())
    })
}
