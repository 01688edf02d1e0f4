//! A view of 20 numbers by item, as the rows about features fill it: the release, rows in the compact form, a fast way into the
//! bucket, and the bare consumer that is their floor.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::StreamExt;
use selvedge_decision::layout::{FeatureKind, RowLayout};
use selvedge_node::features::row::binary::BinaryWriter;
use selvedge_node::link::NatsLink;
use serde_json::{Map, Value, json};

use crate::harness::shop::{FEATURES as SHOP, Shop};
use crate::harness::{Node, Random, until, wait};

/// Numbers of a row.
pub(super) const FEATURES: usize = 20;
/// What the view is called.
pub(super) const VIEW: &str = "wide";
pub(super) const MIB: f64 = 1024.0 * 1024.0;
/// Messages that the bare consumer asks for at once, as a node does.
const PULL: usize = 5_000;

/// A release with the view, and a placement `wide` that ranks the items of a request by it.
pub(super) fn shop(folder: &Path) -> Result<Shop> {
    let shop = Shop::numbered(folder, 3)?;
    let mut features = format!("{SHOP}[view.{VIEW}]\nby = \"item\"\nsync = \"all\"\n[view.{VIEW}.features]\n");
    for feature in 0..FEATURES {
        writeln!(features, "{} = \"number\"", name(feature))?;
    }
    shop.file("features.toml", features)?;
    shop.model(
        "wide",
        "link = \"identity\"\n[[input]]\nname = \"wide.f00\"\nscope = \"candidate\"\ntype = \"number\"\nweight = 1.0\n",
    )?;
    shop.placement("wide", PLACEMENT)?;
    Ok(shop)
}

const PLACEMENT: &str = r#"
candidates = { view = "wide", from = "request" }
slots = 3
deadline = "1s"
ladder = ["wide"]
fallback = { by = "wide.f01" }
"#;

/// The id of an item.
pub(super) fn id(at: usize) -> String {
    format!("sku-{at:08}")
}

fn name(feature: usize) -> String {
    format!("f{feature:02}")
}

// === rows ===

/// Rows in the compact form, all different.
pub(super) struct Rows {
    template: Vec<u8>,
    random: Random,
}

impl Rows {
    pub(super) fn new(seed: u64) -> Result<Self> {
        let layout = RowLayout::new((0..FEATURES).map(|feature| (name(feature), FeatureKind::Number, 1)));
        let row: Map<String, Value> = (0..FEATURES).map(|feature| (name(feature), json!(0.0))).collect();
        let template = BinaryWriter::new(layout.into()).write(Value::Object(row).to_string().as_bytes())?;
        Ok(Self { template, random: Random::new(seed) })
    }

    /// Bytes of a row and its id: what the data themselves take.
    pub(super) fn packed_bytes(&self) -> usize {
        self.template.len() + id(0).len()
    }

    fn next(&mut self) -> Bytes {
        let mut row = self.template.clone();
        // The values are the end of a row.
        let values = row.len() - FEATURES * size_of::<f64>();
        for value in row[values..].chunks_exact_mut(size_of::<f64>()) {
            value.copy_from_slice(&((self.random.unit() * 1e4).round() / 100.0).to_le_bytes());
        }
        row.into()
    }

    /// Puts rows of these items into the bucket, as fast as the core acknowledges them.
    pub(super) async fn push(&mut self, link: &NatsLink, items: impl Iterator<Item = usize>) -> Result<()> {
        let mut pushing = link.push_features();
        for item in items {
            pushing.send(VIEW, &id(item), Some(self.next())).await?;
        }
        Ok(pushing.finish().await?)
    }

    /// Puts `rate` rows a second into the bucket until `span` is over, of the first `items` items in turn; how many it put.
    pub(super) async fn pour(&mut self, link: &NatsLink, items: usize, rate: f64, span: Duration) -> Result<u64> {
        let mut pushing = link.push_features();
        let (start, mut sent) = (Instant::now(), 0u64);
        while start.elapsed() < span {
            let due = (start.elapsed().as_secs_f64() * rate) as u64;
            while sent < due {
                pushing.send(VIEW, &id(sent as usize * 7 % items), Some(self.next())).await?;
                sent += 1;
            }
            wait::pass(Duration::from_millis(2)).await;
        }
        pushing.finish().await?;
        Ok(sent)
    }
}

// === floor ===

/// A consumer that reads the bucket and does nothing with it.
pub(super) struct Bare {
    messages: pull::Stream,
    // It reads as long as this is there.
    _client: async_nats::Client,
}

impl Bare {
    /// One that begins after `seq`.
    pub(super) async fn after(url: &str, seq: u64) -> Result<Self> {
        let client = async_nats::connect(url).await?;
        let stream = async_nats::jetstream::new(client.clone()).get_stream(format!("KV_features_{VIEW}")).await?;
        let deliver_policy = match seq {
            0 => DeliverPolicy::All,
            seq => DeliverPolicy::ByStartSequence { start_sequence: seq + 1 },
        };
        let config = pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await?;
        let messages = consumer.stream().max_messages_per_batch(PULL).messages().await?;
        Ok(Self { messages, _client: client })
    }

    /// Reads so many messages; the bytes of their rows.
    pub(super) async fn take(&mut self, messages: usize) -> Result<usize> {
        let mut bytes = 0;
        for _ in 0..messages {
            let message = self.messages.next().await.context("the bare consumer ended")??;
            bytes += message.payload.len();
        }
        Ok(bytes)
    }
}

// === nodes ===

/// Waits until the node has every row and follows the bucket.
pub(super) async fn complete(node: &Node, entities: usize, limit: Duration) -> Result<()> {
    until("the node to be complete", limit, async || {
        let view = node.view(VIEW).await.ok()?;
        (view["entities"].as_u64()? >= entities as u64 && view["condition"] == "live").then_some(())
    })
    .await
    .with_context(|| node.process.log_tail())
}

/// Waits until the copy on disk has all that memory has, and how long the oldest change waited at most.
pub(super) async fn on_disk(node: &Node, limit: Duration) -> Result<Duration> {
    let mut behind_ms = 0;
    until("the disk to have all rows", limit, async || {
        let view = node.view(VIEW).await.ok()?;
        behind_ms = behind_ms.max(view["disk_behind_ms"].as_u64()?);
        (view["disk_waiting"] == 0).then_some(())
    })
    .await?;
    Ok(Duration::from_millis(behind_ms))
}

/// Resident MiB when it does not change any more.
pub(super) async fn settled(node: &Node) -> Result<f64> {
    let mut last = f64::INFINITY;
    for _ in 0..20 {
        wait::pass(Duration::from_millis(500)).await;
        let now = node.process.resident_bytes()? as f64 / MIB;
        if (now - last).abs() < 0.5 {
            return Ok(now);
        }
        last = now;
    }
    ensure!(last.is_finite(), "no memory was ever read");
    Ok(last)
}

/// The sequence that the node has applied.
pub(super) async fn applied(node: &Node) -> Result<u64> {
    let view = node.view(VIEW).await?;
    match view["applied_seq"].as_u64() {
        Some(seq) => Ok(seq),
        None => bail!("no applied_seq in {view}"),
    }
}
