//! A node killed with SIGKILL at random while events and features pour in: every event answered 202 is counted exactly once
//! by a reader, also when it is sent again after all that, the feature state equals the bucket, and no stored checkpoint is
//! ahead of its rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::task::JoinHandle;

use super::traffic::{Sent, Traffic};
use super::{Findings, Scale, state};
use crate::harness::stream::Stream;
use crate::harness::{Node, NodeSpec, Random, Rig, folder, until, wait};

const LIMIT: Duration = Duration::from_secs(60);
/// For the feature state alone, which is there within a second.
const STATE_LIMIT: Duration = Duration::from_secs(20);
const ITEMS: u64 = 1_000;
/// Views of the shop.
const VIEWS: usize = 2;
/// Rows of one push of the writer.
const ROWS: usize = 25;

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let kills = scale.pick(20, 3);
    let mut random = Random::new(scale.seed);
    let rig = Arc::new(Rig::start().await?);
    let items: Vec<String> = (0..ITEMS).map(|at| format!("sku-{at}")).collect();
    push(&rig, &items, 1).await?;
    rig.push("user", [json!({"_key": "u-1", "segment": "vip"})]).await?;
    let release = rig.deploy(state::priced_shop(&rig, 1)?.folder()).await?;
    let mut node = rig.node("edge-1").await?;
    node.runs(&release, LIMIT).await?;
    node.wait_for("ready", LIMIT).await?;

    let mut writer = Some(Writer::start(Arc::clone(&rig), items.clone(), scale.seed));
    let traffic = Traffic::start(node.http, scale.seed);
    let mut findings = Findings::default();
    for kill in 0..kills {
        wait::pass(Duration::from_millis(50 + random.below(1_000))).await;
        let spec = node.kill()?;
        if kill % 4 == 1 {
            checkpoint_is_not_ahead(&rig, &spec, &items, kill, &mut findings).await?;
        }
        if kill + 1 == kills {
            // What is published and deleted while the node is down the last time comes by its resume alone.
            wait::pass(Duration::from_millis(300)).await;
            if let Some(writer) = writer.take() {
                writer.stop().await?;
            }
            let link = rig.link().await?;
            for item in items.iter().step_by(40) {
                link.delete_feature("item", item).await?;
            }
        }
        node = Node::start(spec).await?;
        traffic.aim(node.http);
        let so_far = traffic.decisions();
        until("traffic to go on after a kill", LIMIT, async || (traffic.decisions() > so_far + 20).then_some(()))
            .await?;
    }
    let sent = traffic.stop().await?;
    copies_are_known(&node, &sent, &mut findings).await?;
    every_accepted_event_arrived_once(&rig, &sent, &mut findings).await?;
    state_equals_bucket(&rig, &node, &items, &mut findings).await?;
    Ok(findings)
}

/// Publishes a new price of some items, over and over.
struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<()>>,
}

impl Writer {
    fn start(rig: Arc<Rig>, items: Vec<String>, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut random = Random::new(seed);
            for price in 2.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let some: Vec<String> = (0..ROWS).map(|_| random.pick(&items).clone()).collect();
                push(&rig, &some, price).await?;
            }
            Ok(())
        });
        Self { stop, task }
    }

    async fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.context("the writer's task")?
    }
}

async fn push(rig: &Rig, items: &[String], price: u64) -> Result<()> {
    rig.push("item", items.iter().map(|item| json!({"_key": item, "price": price, "stock": 1.0}))).await
}

/// Starts a copy of the killed node's data without a core: for every item whose latest row the checkpoint covers, the copy
/// must hold that row or a newer one.
async fn checkpoint_is_not_ahead(
    rig: &Rig,
    spec: &NodeSpec,
    items: &[String],
    kill: u32,
    findings: &mut Findings,
) -> Result<()> {
    // Read before the copy starts, so the copy can only know more.
    let before = state::bucket(rig, items).await?;
    let copy =
        NodeSpec { folder: rig.path(&format!("copy-{kill}")), nats: "nats://127.0.0.1:1".into(), ..spec.clone() };
    folder::copy(&spec.data(), &copy.data())?;
    let node = Node::start(copy).await?;
    let mut is_complete = false;
    let read = until("a copy of the data to have read its store, without a core", LIMIT, async || {
        let status = node.status().await.ok()?;
        let views = status["features"].as_array()?;
        is_complete = views.iter().all(|view| view["synced"] == true);
        (views.len() == VIEWS && views.iter().all(|view| view["condition"] == "waiting")).then_some(())
    });
    read.await?;
    if !is_complete {
        // Killed before its first rows were on disk: it holds no checkpoint, and does not decide.
        return Ok(());
    }
    node.wait_for("degraded", LIMIT).await?;
    let checkpoint = node.view("item").await?["applied_seq"].as_u64().context("no applied_seq")?;
    let held = state::prices(&mut node.client(), items).await?;
    for (item, (price, seq)) in before {
        let held = held.get(&item).copied().unwrap_or(0.0);
        let behind = seq <= checkpoint && held < price;
        findings.check(!behind, || {
            format!("checkpoint {checkpoint} covers row {seq} of {item} with price {price}, the store has {held}")
        });
    }
    Ok(())
}

/// Everything that was answered 202 by this node or one that was killed, sent again: none of it is new.
async fn copies_are_known(node: &Node, sent: &Sent, findings: &mut Findings) -> Result<()> {
    for ids in sent.accepted.chunks(1_000) {
        let batch: Vec<_> = ids.iter().map(|id| json!({"event": "view_item", "messageId": id})).collect();
        let answer = node.client().post("/v1/events", &json!({ "batch": batch })).await?.ok()?;
        let stored = answer["accepted"].as_u64().context("accepted")?;
        findings.count(ids.len() as u64, stored, || format!("{stored} of {} copies were stored again", ids.len()));
    }
    Ok(())
}

async fn every_accepted_event_arrived_once(rig: &Rig, sent: &Sent, findings: &mut Findings) -> Result<()> {
    let mut stream = Stream::open(&rig.nats.url()).await?;
    let arrived = until("every accepted event to arrive", LIMIT, async || {
        stream.read_on().await.ok()?;
        let times = stream.times_by_message_id();
        sent.accepted.iter().all(|id| times.contains_key(id.as_str())).then_some(())
    });
    // What is missing is counted below, one by one.
    drop(arrived.await);
    let times = stream.times_by_message_id();
    for id in &sent.accepted {
        let found = times.get(id.as_str()).copied().unwrap_or(0);
        findings.check(found == 1, || format!("event {id} was answered 202 and is {found} times in the stream"));
    }
    let twice = times.iter().filter(|(_, times)| **times > 1).count() as u64;
    findings.count(times.len() as u64, twice, || format!("{twice} events are more than once in the stream"));
    findings.check(sent.accepted.len() > 100, || format!("only {} events were accepted", sent.accepted.len()));
    Ok(())
}

async fn state_equals_bucket(rig: &Rig, node: &Node, items: &[String], findings: &mut Findings) -> Result<()> {
    let bucket = state::bucket(rig, items).await?;
    // An item that was deleted has no price, which scores 0.
    let price = |item: &String| bucket.get(item).map_or(0.0, |(price, _)| *price);
    let expected: BTreeMap<String, f64> = items.iter().map(|item| (item.clone(), price(item))).collect();
    let mut held = BTreeMap::new();
    let mut client = node.client();
    let equal = until("the feature state to equal the bucket", STATE_LIMIT, async || {
        held = state::prices(&mut client, items).await.ok()?;
        (held == expected).then_some(())
    });
    // What differs is counted below, one by one.
    drop(equal.await);
    for (item, price) in &expected {
        let found = held.get(item);
        findings.check(found == Some(price), || format!("{item}: the bucket has {price}, the node {found:?}"));
    }
    findings.check(bucket.len() < items.len(), || "no item was deleted".into());
    Ok(())
}
