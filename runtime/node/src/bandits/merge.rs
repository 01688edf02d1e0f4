//! The one that merges: reads what all nodes decided and were told of, and publishes for each bandit what it comes to. Owns the
//! turns of that: blocks of the stream in, one value a bandit out, each written only over the one it was made from, with what is
//! in it. Whatever ends when, the next begins from the bucket, reads the stream again as far back as rewards may come, and adds
//! nothing twice. Of two that run beside each other one ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_decision::plan::Bandit;
use selvedge_decision::{Epoch, NodeId, TimeUs};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::snapshot::{self, Merger, Run};
use super::{Ledger, Origin, Snapshot, stopped};
use crate::events::rfc3339;
use crate::link::LinkState;
use crate::link::nats::NatsLink;
use crate::link::nats::aggregates::NotWritten;
use crate::link::nats::events::{BlockMessage, BlockMessages, BlockQuery, BlocksFrom, ReadFailure};
use crate::link::nats::releases::CoreError;
use crate::outbox::Lane;
use crate::outbox::block::{self, Items};

/// How long gains come together before they are published.
const GATHER: Duration = Duration::from_millis(500);
/// How often it is published how far the reading is when nothing changes, and told.
const PROVE_EVERY: Duration = Duration::from_secs(10);
/// Blocks that wait to be taken.
const BLOCKS: usize = 32;
/// How often another may write between two values of ours before this one ends: one that began earlier, and one that began later. Once
/// is not enough: of one that was killed a last value may come late. The elder waits longer, so that not both end.
const MOST_BESIDE: [u32; 2] = [2, 5];
/// How long to wait after a failure, and for a stream that is not there.
const PAUSE: Duration = Duration::from_secs(1);

/// What an instance tells, one line each.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Did {
    /// It begins to read.
    Began {
        /// The bandits.
        bandits: Vec<String>,
        /// Behind this sequence of the stream.
        after: u64,
    },
    /// A bandit stands so.
    Learned {
        /// Which.
        bandit: String,
        /// All up to this sequence of the stream is in it.
        at: u64,
        /// Decisions by it.
        trials: i64,
        /// Rewards.
        rewards: i64,
    },
    /// Something failed and is tried again.
    Failed {
        /// What.
        why: String,
    },
}

impl std::fmt::Display for Did {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Began { bandits, after } => {
                write!(f, "reads from {after} of the stream on, for {}", bandits.join(", "))
            }
            Self::Learned { bandit, at, trials, rewards } => {
                write!(f, "{bandit}: {trials} chosen, {rewards} rewarded, up to {at} of the stream")
            }
            Self::Failed { why } => f.write_str(why),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Core(#[from] CoreError),
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// Another wrote it, or an earlier try of ours came through without an answer.
    #[error("{bandit}: it was written meanwhile; is there another `core bandits`? One is enough")]
    Changed { bandit: String },
}

/// Another learns and writes, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "another `core bandits`, process {} since {}, writes what policies learn, too: one is enough, so this one ends",
    other.process, rfc3339::format(other.began_us)
)]
pub struct Beside {
    /// The other.
    pub other: Merger,
}

/// The other that wrote last between two values of ours, and how often it did.
#[derive(Debug)]
struct Others {
    own: Merger,
    other: Option<(Merger, u32)>,
}

/// A block of the stream.
#[derive(Debug, Clone)]
pub struct Block {
    /// Whose.
    pub node: NodeId,
    /// Of which run.
    pub epoch: Epoch,
    /// Of which lane.
    pub lane: Lane,
    /// The number of its first item; the others follow without a gap.
    pub first_seq: u64,
    /// What it holds.
    pub items: Items,
}

/// A bandit on its way.
#[derive(Debug)]
pub struct Merging {
    ledger: Ledger,
    /// What all blocks so far come to.
    pub snapshot: Snapshot,
    /// What was in it when this began.
    began: BTreeMap<String, Run>,
    /// Behind which sequence of the stream.
    pub(super) begin: u64,
    revision: u64,
    changed: bool,
}

/// Learns for `bandits` until `stop`, as the process `own`, which remembers `most` decisions of each. What fails is told and tried again.
///
/// # Errors
///
/// Another does the same.
pub async fn learn(
    nats: Arc<NatsLink>,
    bandits: Vec<Bandit>,
    (own, most): (Merger, usize),
    tell: impl Fn(Did),
    mut stop: watch::Receiver<bool>,
) -> Result<(), Beside> {
    let mut others = Others { own, other: None };
    let mut told: Option<(String, Instant)> = None;
    loop {
        let mut state = nats.state();
        let is_over = tokio::select! {
            () = connected(&mut state) => false,
            () = stopped(&mut stop) => true,
        };
        if is_over {
            return Ok(());
        }
        let Err(failure) = turn(&nats, &bandits, (own, most), &tell, &mut stop).await else { return Ok(()) };
        if let Failure::Changed { bandit } = &failure {
            others.wrote(written_by(&nats, bandit).await)?;
        }
        let why = failure.to_string();
        if told.as_ref().is_none_or(|(last, when)| *last != why || when.elapsed() >= PROVE_EVERY) {
            tell(Did::Failed { why: why.clone() });
            told = Some((why, Instant::now()));
        }
        if tokio::time::timeout(PAUSE, stopped(&mut stop)).await.is_ok() {
            return Ok(());
        }
    }
}

/// Who wrote a bandit's value; `None` when nobody says so, or it cannot be read.
async fn written_by(nats: &NatsLink, bandit: &str) -> Option<Merger> {
    let (json, _) = nats.read_bandit(bandit).await.ok()?;
    Snapshot::read(&json?)?.by
}

async fn connected(state: &mut watch::Receiver<LinkState>) {
    state.wait_for(LinkState::is_connected).await.ok();
}

/// From the bucket on, until it is to stop or something fails.
async fn turn(
    nats: &NatsLink,
    bandits: &[Bandit],
    (own, most): (Merger, usize),
    tell: &impl Fn(Did),
    stop: &mut watch::Receiver<bool>,
) -> Result<(), Failure> {
    let mut merging = Vec::with_capacity(bandits.len());
    for spec in bandits {
        let (json, revision) = nats.read_bandit(&spec.key).await?;
        let known = json.and_then(|json| Snapshot::read(&json)).filter(|known| known.is_of(spec));
        let mut snapshot = known.unwrap_or_else(|| Snapshot::new(spec));
        snapshot.by = Some(own);
        merging.push(Merging::new(spec, snapshot, most, revision));
    }
    let query = |from| BlockQuery { lane: None, node: None, from, follow: true };
    let mut blocks = nats.blocks(query(BlocksFrom::Start)).await?;
    let stream_us = blocks.stream_created_us();
    let last = blocks.last_sequence();
    for merging in &mut merging {
        merging.snapshot.go_on(stream_us);
        merging.begin = merging.snapshot.begin(stream_us).min(last);
    }
    let after = merging.iter().map(|merging| merging.begin).min().unwrap_or(0);
    if after > 0 {
        blocks = nats.blocks(query(BlocksFrom::After(after))).await?;
    }
    tell(Did::Began { bandits: bandits.iter().map(|spec| spec.key.clone()).collect(), after });
    // On a task of its own: what is given up half way begins anew, and would never end on a slow link.
    let (send, mut blocks_come) = mpsc::channel(BLOCKS);
    let mut reading = JoinSet::new();
    reading.spawn(read(blocks, send));
    let mut turns = tokio::time::interval(GATHER);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut proven = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = stopped(stop) => {
                publish(nats, &mut merging, true, tell).await?;
                return Ok(());
            }
            _ = turns.tick() => {
                let is_time = proven.elapsed() >= PROVE_EVERY;
                publish(nats, &mut merging, is_time, tell).await?;
                if is_time {
                    proven = Instant::now();
                }
            }
            block = blocks_come.recv() => {
                let Some(message) = block.transpose()? else { return Ok(()) };
                match Block::read(&message.bytes) {
                    Ok(block) => {
                        let (at, stored_us) = (message.sequence, message.stored_us);
                        merging.iter_mut().for_each(|merging| merging.take(&block, at, stored_us));
                    }
                    // It will be no other the next time: what can be read behind it counts.
                    Err(why) => tell(Did::Failed { why: format!("block {} is passed by: {why}", message.sequence) }),
                }
            }
        }
    }
}

async fn read(mut blocks: BlockMessages, send: mpsc::Sender<Result<BlockMessage, ReadFailure>>) {
    while let Some(next) = blocks.next().await.transpose() {
        let failed = next.is_err();
        if send.send(next).await.is_err() || failed {
            return;
        }
    }
}

/// Publishes what changed, or all, and tells it.
async fn publish(nats: &NatsLink, all: &mut [Merging], is_time: bool, tell: &impl Fn(Did)) -> Result<(), Failure> {
    for merging in all.iter_mut().filter(|merging| merging.changed || (is_time && merging.snapshot.at > 0)) {
        let (json, bandit) = (Bytes::from(merging.snapshot.to_json()), &merging.snapshot.bandit);
        merging.revision = match nats.write_bandit(bandit, json, merging.revision).await {
            Ok(revision) => revision,
            Err(NotWritten::Changed(_)) => return Err(Failure::Changed { bandit: bandit.clone() }),
            Err(NotWritten::Failed(why)) => return Err(why.into()),
        };
        merging.changed = false;
        tell(merging.did());
    }
    Ok(())
}

// === impl Others ===

impl Others {
    /// A value was written between two of ours, by `by`, where it says so; it may be ours, too.
    fn wrote(&mut self, by: Option<Merger>) -> Result<(), Beside> {
        let Some(other) = by.filter(|by| *by != self.own) else { return Ok(()) };
        let before = self.other.filter(|(known, _)| *known == other).map_or(0, |(_, times)| times);
        self.other = Some((other, before + 1));
        let most = MOST_BESIDE[usize::from(other > self.own)];
        if before + 1 < most { Ok(()) } else { Err(Beside { other }) }
    }
}

// === impl Block ===

impl Block {
    fn read(bytes: &[u8]) -> Result<Self, block::BadBlock> {
        let (header, items) = block::decode(bytes)?;
        let (node, epoch, lane) = (header.node, header.epoch, header.lane);
        Ok(Self { node, epoch, lane, first_seq: header.first_seq, items })
    }

    fn count(&self) -> u64 {
        match &self.items {
            Items::Records(records) => records.len() as u64,
            Items::Events(events) => events.len() as u64,
        }
    }
}

// === impl Merging ===

impl Merging {
    /// Goes on from `snapshot`, which has `revision` in the bucket, and remembers at most so many decisions.
    pub fn new(spec: &Bandit, snapshot: Snapshot, most: usize, revision: u64) -> Self {
        let began = snapshot.seen.clone();
        Self { ledger: Ledger::new(spec.clone(), most), snapshot, began, begin: 0, revision, changed: false }
    }

    /// Takes a block, which the stream took at `now_us` and gave sequence `at`. One from before where this began is read for another
    /// bandit: of such this one may have forgotten what is in it.
    pub fn take(&mut self, block: &Block, at: u64, now_us: TimeUs) {
        if at <= self.begin {
            return;
        }
        let Block { node, epoch, lane, first_seq, items } = block;
        let began = self.began.get(&snapshot::name(node, *epoch, *lane)).map(|run| &run.seen);
        let seen = self.snapshot.run(node, *epoch, *lane).map(|run| run.seen.clone()).unwrap_or_default();
        // What came since the beginning and comes again has nothing new; what was there then is read again to be known.
        let origin = |place: usize| {
            let seq = first_seq + place as u64;
            let is_old = began.is_some_and(|began| began.has(seq));
            (is_old || !seen.has(seq)).then_some(Origin { lane: *lane, seq, is_old })
        };
        let mut gains = Vec::new();
        match items {
            Items::Records(records) => {
                for (place, record) in records.iter().enumerate() {
                    gains.extend(
                        origin(place).into_iter().flat_map(|origin| self.ledger.decision(record, origin, now_us)),
                    );
                }
            }
            Items::Events(events) => {
                for (place, event) in events.iter().enumerate() {
                    gains.extend(origin(place).and_then(|origin| self.ledger.event(event, origin, now_us)));
                }
            }
        }
        self.changed |= !gains.is_empty();
        self.snapshot.add(self.ledger.spec(), &gains);
        let run = self.snapshot.run_mut(node, *epoch, *lane);
        run.seen.take(*first_seq..first_seq + block.count());
        (run.at, run.stored_us) = (run.at.max(at), run.stored_us.max(now_us));
        self.snapshot.pass(at, now_us);
    }

    fn did(&self) -> Did {
        let (mut trials, mut rewards) = (0, 0);
        for (_, tried, rewarded) in self.snapshot.tally.totals() {
            trials += tried;
            rewards += rewarded;
        }
        Did::Learned { bandit: self.snapshot.bandit.clone(), at: self.snapshot.at, trials, rewards }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_that_write_one_ends_and_the_elder_waits_longer() {
        let at = |began_us, process| Merger { began_us, process };
        let own = at(5, 5);
        // After how many values of others it ends.
        let check = |wrote: &[Option<Merger>], expected: Option<usize>| {
            let mut others = Others { own, other: None };
            let ended = wrote.iter().position(|by| others.wrote(*by).is_err()).map(|at| at + 1);
            assert_eq!(ended, expected, "{wrote:?}");
        };
        let (elder, younger) = (Some(at(1, 9)), Some(at(7, 1)));
        check(&[elder; 9], Some(2));
        check(&[Some(at(5, 4)); 9], Some(2));
        check(&[younger; 9], Some(5));
        check(&[elder, Some(own), None, elder], Some(4));
        // What was killed writes no second time: whoever is started in its place goes on.
        check(&[elder, Some(at(2, 2)), younger], None);
        // A write of our own whose answer was lost, and one of before values said whose they are.
        check(&[Some(own); 9], None);
        check(&[None; 9], None);
    }
}
