//! How much a node holds: bytes an entity, a session and an event take, by the difference between two sizes, and what follows
//! for a node of 24 GiB.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use super::wide::{self, MIB, Rows};
use super::{Effort, Line};
use crate::harness::shop::{FEATURES, Shop};
use crate::harness::{Node, Rig};

const LIMIT: Duration = Duration::from_secs(300);
const GIB: f64 = 1024.0 * MIB;
/// Memory of the machine, and what of it is left to the system, the allocator and what comes on top of a steady state.
const MACHINE: f64 = 24.0 * GIB;
const SPARE: f64 = 4.0 * GIB;
const BATCH: usize = 100;
/// Ten aggregates a session.
const AGGREGATES: &str = r#"
[view.session]
by = "session"
[view.session.aggregates]
views_30m = { count = "view_item", window = "30m" }
views_24h = { count = "view_item", window = "24h" }
carts_30m = { count = "add_to_cart", window = "30m" }
carts_24h = { count = "add_to_cart", window = "24h" }
spent = { sum = "purchase", of = "value" }
dearest = { max = "view_item", of = "value" }
cheapest = { min = "view_item", of = "value" }
last_value = { last = "view_item", of = "value" }
first_value = { first = "view_item", of = "value" }
since = { time_since = "view_item" }
"#;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let rig = Rig::start().await?;
    let link = rig.link().await?;
    link.create_features_bucket(wide::VIEW).await?;
    let release = rig.deploy(wide::shop(&rig.path("wide"))?.folder()).await?;
    let node = rig.node("entities").await?;
    node.runs(&release, LIMIT).await?;
    let idle = wide::settled(&node).await? * MIB;
    let (few, many) = (effort.scale(200_000), effort.scale(600_000));
    let mut rows = Rows::new(1)?;
    rows.push(&link, 0..few).await?;
    let small = held(&node, few).await?;
    rows.push(&link, few..many).await?;
    let large = held(&node, many).await?;
    let table = node.view(wide::VIEW).await?["bytes"].as_f64().unwrap_or(f64::NAN) / many as f64;
    node.terminate().await?;
    // The store's cache comes and goes: at small sizes it hides what grows, which the table counts itself.
    let grows = (large - small) / (many - few) as f64;
    let each = grows.max(table);
    let fixed = (large - each * many as f64).max(idle);
    let what = format!(
        "the table has {table:.0}, resident grows by {grows:.0} from {few} to {many}; the packed row has {}",
        rows.packed_bytes()
    );
    let holds = (MACHINE - SPARE - fixed) / each;
    let formula = format!("(24 GiB - 4 GiB spare - {:.0} MiB) / {each:.0} B", fixed / MIB);
    let mut lines = vec![
        Line::other("capacity: bytes an entity x 20 features", each, None, what),
        Line::other("capacity: entities on 24 GiB", holds, None, formula),
    ];
    lines.extend(sessions(&rig, effort).await?);
    Ok(lines)
}

/// Resident bytes with so many entities, when they are on disk as well.
async fn held(node: &Node, entities: usize) -> Result<f64> {
    wide::complete(node, entities, LIMIT).await?;
    wide::on_disk(node, LIMIT).await?;
    Ok(wide::settled(node).await? * MIB)
}

async fn sessions(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let shop = Shop::numbered(rig.path("sessions"), 4)?;
    shop.file("features.toml", format!("{FEATURES}{AGGREGATES}"))?;
    shop.model(
        "hero",
        "link = \"identity\"\n[[input]]\nname = \"session.views_30m\"\nscope = \"shared\"\ntype = \"number\"\nweight = 1.0\n",
    )?;
    let release = rig.deploy(shop.folder()).await?;
    // Both generations of sessions have room for all.
    let node = Node::start(rig.spec("sessions").set("sessions.max=2000000")).await?;
    node.runs(&release, LIMIT).await?;
    let (few, many) = (effort.scale(50_000), effort.scale(150_000));
    send(&node, 0..few).await?;
    let small = wide::settled(&node).await? * MIB;
    send(&node, few..many).await?;
    let large = wide::settled(&node).await? * MIB;
    let metrics = node.metrics().await?;
    let sum = |name: &str| metrics.sum(name, &["lane=\"events\""]);
    let (bytes, events) = (sum("selvedge_outbox_stored_bytes_total"), sum("selvedge_outbox_stored_total"));
    let limit = sum("selvedge_outbox_limit_bytes");
    ensure!(events >= (3 * many) as f64, "{events} events were stored");
    let each = (large - small) / (many - few) as f64;
    let event = bytes / events;
    Ok(vec![
        Line::other(
            "capacity: bytes a session with ten aggregates",
            each,
            None,
            format!("resident, ({large:.0} - {small:.0}) / ({many} - {few}), three events each"),
        ),
        Line::other(
            "capacity: sessions in 4 GiB",
            4.0 * GIB / each,
            None,
            format!("4 GiB / {each:.0} B; `sessions.max` says how many are kept"),
        ),
        Line::other(
            "capacity: bytes an event on disk",
            event,
            None,
            format!("{bytes:.0} / {events:.0}, in batches of 100"),
        ),
        Line::other(
            "capacity: events in the outbox",
            limit / event,
            None,
            format!("outbox.max_events of {:.0} GiB / {event:.1} B, while the core is away", limit / GIB),
        ),
    ])
}

/// Three events of each session.
async fn send(node: &Node, sessions: std::ops::Range<usize>) -> Result<()> {
    let mut client = node.client();
    for name in ["view_item", "add_to_cart", "purchase"] {
        for first in sessions.clone().step_by(BATCH) {
            let event = |session: usize| {
                // As random as ids are, or they would all but vanish in the compressed blocks.
                let id = (session as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                json!({"event": name, "subject": format!("u-{:012x}", id >> 16), "session": format!("s-{id:016x}"),
                       "item": format!("sku-{}", session % 5_000), "properties": {"value": (session % 977) as f64}})
            };
            let batch: Vec<_> = (first..(first + BATCH).min(sessions.end)).map(event).collect();
            let body = Bytes::from(json!({"batch": batch}).to_string());
            client.send(Method::POST, "/v1/events", body).await?.ok()?;
        }
    }
    Ok(())
}
