//! Everything that goes wrong, one after the other in an order that the seed draws, under traffic that never rests: the node
//! and the core killed, the line between them cut, slow, half-open, flapping and untidy, buckets and streams emptied, clocks
//! that jump, disks that are full, files that are damaged, a node that is cloned. After each: every event answered 202 is in
//! the stream once and in the order in which it was sent, the features are those of the bucket, the counters balance, and no
//! request failed at a node that was up. In the end all of it is in the lake, once. Owns the order and what must hold; each fault
//! is in a file below.

mod core;
mod disk;
mod lake;
mod line;
mod node;
mod sheet;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use selvedge_decision::Epoch;
use selvedge_node::outbox::Lane;
use serde_json::json;

use self::sheet::{Row, Sheet};
use super::traffic::{Sent, Traffic};
use super::{Findings, Scale, state};
use crate::harness::stream::Stream;
use crate::harness::{Line, Node, NodeSpec, Process, Proxy, Random, Rig, WallClock, until};

const LIMIT: Duration = Duration::from_secs(60);
/// For what comes within a second when all is well.
const SOON: Duration = Duration::from_secs(20);
const ITEMS: usize = 200;
/// A connection's pause after its two requests: what is proved is order and balance, not speed.
const PAUSE: Duration = Duration::from_millis(4);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    NodeKilled,
    NodeTerminated,
    CoreKilled,
    LakeKilled,
    LineCut,
    LineSlow,
    LineHalfOpen,
    LineFlaps,
    LineUntidy,
    BucketAnew,
    StreamPurged,
    ClockJumps,
    SentDamaged,
    UnsentDamaged,
    StoreDamaged,
    OutboxFull,
    DiskFull,
    NodeCloned,
}

/// Where all of it happens: a core, a line to it, one node, and traffic.
struct Ground {
    rig: Rig,
    proxy: Proxy,
    clock: WallClock,
    /// `None` while it is down.
    node: Option<Node>,
    traffic: Arc<Traffic>,
    stream: Stream,
    random: Random,
    items: Vec<String>,
    price: u32,
    /// Faults so far; names what a fault makes for itself.
    turn: usize,
    /// Events that were answered 202 and did not arrive yet.
    pending: Vec<String>,
    /// How often each event arrived.
    times: BTreeMap<String, u32>,
    /// By connection of the traffic and lane: the last event's place and number.
    last: BTreeMap<(String, Lane), (Epoch, u64, u64)>,
    /// Lands what comes.
    lake: Process,
    sheet: Sheet,
    row: Row,
    findings: Findings,
}

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let mut random = Random::new(scale.seed);
    let mut faults = Vec::new();
    for fault in Fault::ALL {
        let kill = matches!(fault, Fault::NodeKilled | Fault::CoreKilled);
        // A half-open line is noticed by two pings without an answer, which is a quarter of a minute.
        let slow = fault == Fault::LineHalfOpen;
        faults.extend(vec![fault; if kill { scale.pick(50, 2) } else { scale.pick(4, usize::from(!slow)) }]);
    }
    for at in (1..faults.len()).rev() {
        faults.swap(at, random.below(at as u64 + 1) as usize);
    }
    let mut ground = Ground::new(scale.seed, random).await?;
    for fault in faults {
        ground.turn += 1;
        if !ground.suffer(fault).await.with_context(|| format!("{fault:?}, fault {}", ground.turn))? {
            continue;
        }
        ground.settle(fault).await.with_context(|| format!("after {fault:?}, fault {}", ground.turn))?;
    }
    ground.end().await
}

// === impl Fault ===

impl Fault {
    const ALL: [Self; 18] = [
        Self::NodeKilled,
        Self::NodeTerminated,
        Self::CoreKilled,
        Self::LakeKilled,
        Self::LineCut,
        Self::LineSlow,
        Self::LineHalfOpen,
        Self::LineFlaps,
        Self::LineUntidy,
        Self::BucketAnew,
        Self::StreamPurged,
        Self::ClockJumps,
        Self::SentDamaged,
        Self::UnsentDamaged,
        Self::StoreDamaged,
        Self::OutboxFull,
        Self::DiskFull,
        Self::NodeCloned,
    ];
}

// === impl Ground ===

impl Ground {
    async fn new(seed: u64, random: Random) -> Result<Self> {
        let rig = Rig::start().await?;
        let proxy = Proxy::start(rig.nats.port(), seed).await?;
        let clock = WallClock::new(&rig.path("clock"))?;
        let items: Vec<String> = (0..ITEMS).map(|at| format!("sku-{at}")).collect();
        rig.push("item", items.iter().map(|item| json!({"_key": item, "price": 1, "stock": 1.0}))).await?;
        let release = rig.deploy(state::priced_shop(&rig, 1)?.folder()).await?;
        let spec = rig.spec("edge-1");
        let node = Node::start(NodeSpec { nats: proxy.url(), environment: clock.environment(), ..spec }).await?;
        node.runs(&release, LIMIT).await?;
        node.wait_for("ready", LIMIT).await?;
        let traffic = Arc::new(Traffic::with_pause(node.http, seed, PAUSE));
        let stream = Stream::open(&rig.nats.url()).await?;
        let lake = lake::follow(&rig)?;
        Ok(Self {
            rig,
            proxy,
            clock,
            node: Some(node),
            traffic,
            stream,
            random,
            items,
            price: 1,
            turn: 0,
            pending: Vec::new(),
            times: BTreeMap::new(),
            last: BTreeMap::new(),
            lake,
            sheet: Sheet::default(),
            row: Row::default(),
            findings: Findings::default(),
        })
    }

    /// Lets `fault` happen and be over. `false` when it cannot happen on this machine.
    async fn suffer(&mut self, fault: Fault) -> Result<bool> {
        match fault {
            Fault::NodeKilled => self.kill_node().await?,
            Fault::NodeTerminated => self.terminate_node().await?,
            Fault::ClockJumps => self.move_clock().await?,
            Fault::NodeCloned => self.clone_node().await?,
            Fault::CoreKilled => self.kill_core().await?,
            Fault::LakeKilled => self.kill_lake()?,
            Fault::BucketAnew => self.make_bucket_anew().await?,
            Fault::StreamPurged => self.purge_stream().await?,
            Fault::LineCut => self.cut_line().await?,
            Fault::LineSlow => self.slow_line().await?,
            Fault::LineHalfOpen => self.half_open_line().await?,
            Fault::LineFlaps => self.flap_line().await?,
            Fault::LineUntidy => self.untidy_line().await?,
            Fault::SentDamaged => self.damage_sent().await?,
            Fault::UnsentDamaged => self.damage_unsent().await?,
            Fault::StoreDamaged => self.damage_store().await?,
            Fault::OutboxFull => self.fill_outbox().await?,
            Fault::DiskFull => return self.fill_disk().await,
        }
        Ok(true)
    }

    /// All is well again, and what must hold does.
    async fn settle(&mut self, fault: Fault) -> Result<()> {
        let start = Instant::now();
        let node = self.node.as_ref().context("the node is down")?;
        node.wait_for("ready", LIMIT).await?;
        self.push_some().await?;
        self.features_are_the_buckets().await?;
        self.decisions_go_on(20).await?;
        self.events_arrive().await?;
        self.counters_balance().await?;
        self.row.settled = start.elapsed();
        let row = std::mem::take(&mut self.row);
        self.sheet.add(fault, row);
        Ok(())
    }

    /// All that was sent is accounted for.
    async fn end(mut self) -> Result<Findings> {
        let quiet = Arc::clone(&self.traffic);
        let quiet = quiet.quiet().await;
        self.drained().await?;
        self.events_arrive().await?;
        self.all_is_in_the_lake().await?;
        drop(quiet);
        self.sheet.close(&mut self.findings);
        Ok(self.findings)
    }

    /// The node; an error while it is down.
    fn node(&self) -> Result<&Node> {
        self.node.as_ref().context("the node is down")
    }

    /// Publishes new prices of some items.
    async fn push_some(&mut self) -> Result<()> {
        self.price += 1;
        let some: Vec<&String> = (0..10).map(|_| self.random.pick(&self.items)).collect();
        let rows = some.into_iter().map(|item| json!({"_key": item, "price": self.price, "stock": 1.0}));
        self.rig.push("item", rows).await
    }

    async fn features_are_the_buckets(&mut self) -> Result<()> {
        let bucket = state::bucket(&self.rig, &self.items).await?;
        // An item without a row has no price, which scores 0.
        let price = |item: &String| bucket.get(item).map_or(0.0, |(price, _)| *price);
        let expected: BTreeMap<String, f64> = self.items.iter().map(|item| (item.clone(), price(item))).collect();
        let mut held = BTreeMap::new();
        let mut client = self.node()?.client();
        let equal = until("the features to be the bucket's", SOON, async || {
            held = state::prices(&mut client, &self.items).await.ok()?;
            (held == expected).then_some(())
        });
        // What differs is counted below.
        drop(equal.await);
        let differ = expected.iter().filter(|(item, price)| held.get(*item) != Some(price)).count();
        let turn = self.turn;
        self.findings.count(expected.len() as u64, differ as u64, || {
            format!("fault {turn}: {differ} of {} features are not the bucket's", expected.len())
        });
        Ok(())
    }

    /// What the traffic sent so far goes onto the sheet; what failed although the node was up is a finding.
    fn take(&mut self) {
        let Sent { accepted, decisions, failed_decisions, failed_events, unanswered_events } = self.traffic.take();
        self.row.decisions += decisions.len() as u64;
        self.row.accepted += accepted.len() as u64;
        self.row.unanswered += unanswered_events;
        let turn = self.turn;
        let failed = failed_decisions.len() as u64;
        self.findings.count(decisions.len() as u64 + failed, failed, || {
            format!("fault {turn}: {failed} decisions failed: {:?}", failed_decisions.first())
        });
        let failed = failed_events.len() as u64;
        self.findings.count(accepted.len() as u64 + failed, failed, || {
            format!("fault {turn}: {failed} batches of events failed: {:?}", failed_events.first())
        });
        self.pending.extend(accepted);
    }

    /// Every event that was answered 202 so far arrives.
    async fn events_arrive(&mut self) -> Result<()> {
        self.take();
        let start = Instant::now();
        while !self.pending.is_empty() && start.elapsed() < LIMIT {
            self.read_on().await;
            tokio::task::yield_now().await;
        }
        let missing = self.pending.len() as u64;
        let (turn, first) = (self.turn, self.pending.first().cloned());
        self.findings.count(missing, missing, || {
            format!("fault {turn}: {missing} events were answered 202 and did not arrive, such as {first:?}")
        });
        self.pending.clear();
        Ok(())
    }

    /// Reads what arrived: each event once, and those of one connection in the order in which it sent them.
    async fn read_on(&mut self) {
        // The server may just be away.
        drop(self.stream.read_on().await);
        let events = std::mem::take(&mut self.stream.events);
        let places = std::mem::take(&mut self.stream.places);
        let mut arrived: Vec<_> = events.into_iter().zip(places).collect();
        // Blocks come in any order; the place is the order.
        arrived.sort_by_key(|(_, (epoch, lane, seq))| (epoch.counter(), *lane, *seq));
        let turn = self.turn;
        for (event, (epoch, lane, seq)) in arrived {
            let Some(id) = event.message_id else { continue };
            let times = self.times.entry(id.to_string()).or_default();
            *times += 1;
            let times = *times;
            self.findings.check(times == 1, || format!("fault {turn}: event {id} is {times} times in the stream"));
            let Some((connection, number)) = id.rsplit_once('-') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            let place = (epoch, seq, number);
            let before = self.last.insert((connection.to_owned(), lane), place);
            let Some((before_epoch, before_seq, before_number)) = before else { continue };
            let later = (epoch.counter(), seq) > (before_epoch.counter(), before_seq);
            // A block may arrive after a later one of another time of reading: then both orders turn around.
            self.findings.check(later == (number > before_number), || {
                format!("fault {turn}: {id} at {epoch}/{seq} is out of order with {before_number} at {before_seq}")
            });
        }
        let before = self.pending.len();
        self.pending.retain(|id| !self.times.contains_key(id));
        self.row.stored += (before - self.pending.len()) as u64;
    }

    /// In the node's own books: accepted = stored + refused + dropped + resting.
    async fn counters_balance(&mut self) -> Result<()> {
        let node = self.node.as_ref().context("the node is down")?;
        let mut last = String::new();
        let balanced = until("the node's counters to balance", SOON, async || {
            let metrics = node.metrics().await.ok()?;
            let mut all = true;
            for lane in Lane::ALL {
                let label = format!("lane=\"{}\"", lane.as_str());
                let sum = |name: &str| metrics.sum(name, &[&label]);
                let accepted = sum("selvedge_outbox_accepted_total");
                let parts = [
                    sum("selvedge_outbox_stored_total"),
                    sum("selvedge_outbox_refused_total"),
                    sum("selvedge_outbox_dropped_total"),
                    sum("selvedge_outbox_resting"),
                ];
                if accepted != parts.iter().sum::<f64>() {
                    last = format!("{lane}: accepted {accepted}, stored, refused, dropped, resting {parts:?}");
                    all = false;
                }
            }
            all.then_some(())
        });
        let turn = self.turn;
        self.findings.works(balanced.await.with_context(|| format!("fault {turn}: {last}")));
        Ok(())
    }

    /// Decisions are answered, `more` of them from here.
    async fn decisions_go_on(&self, more: u64) -> Result<()> {
        let so_far = self.traffic.decisions();
        until("decisions to go on", LIMIT, async || (self.traffic.decisions() > so_far + more).then_some(())).await
    }

    /// Takes the node down; its folder.
    fn take_down(&mut self) -> Result<NodeSpec> {
        self.traffic.down();
        self.node.take().context("the node is down")?.kill()
    }

    /// Starts the node again; traffic goes to it, as through a load balancer, once it says that it can decide.
    async fn bring_back(&mut self, spec: NodeSpec) -> Result<()> {
        let node = Node::start(spec).await?;
        until("the node to decide", LIMIT, async || {
            let said = node.readiness().await.ok()?;
            matches!(said["status"].as_str(), Some("ready" | "degraded")).then_some(())
        })
        .await
        .with_context(|| node.process.log_tail())?;
        self.traffic.aim(node.http);
        self.node = Some(node);
        Ok(())
    }

    /// Everything that was told so far is at the core; needs a traffic that is quiet.
    async fn drained(&self) -> Result<()> {
        let node = self.node()?;
        until("the outbox to be empty", LIMIT, async || {
            let metrics = node.metrics().await.ok()?;
            let left = metrics.sum("selvedge_outbox_backlog_bytes", &[]) + metrics.sum("selvedge_outbox_resting", &[]);
            (left == 0.0).then_some(())
        })
        .await
    }

    /// The line is whole again.
    fn mend_line(&self) {
        self.proxy.set(Line::Whole);
    }
}
