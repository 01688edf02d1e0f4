//! What the core counts of events: the aggregates of people, items and pairs, which need more than one node sees. Owns the turns
//! of an instance: blocks of the stream in, slots of what changed out, then the position they make safe.
//!
//! **One slot for each entity and node.** A node's events apply in the order of its runs and numbers, whatever blocks of other
//! nodes come in between, and whoever reads puts the slots together in the order of the nodes' names. So what an entity comes to
//! depends on nothing but what each node told, to the last bit of a decayed mean; and a node that is started again goes on in its
//! slot, so that slots are as many as entities times nodes.
//!
//! **Every event once, whatever ends when.** A slot says of each run which event was the last in it and which before that had not
//! come, and is written only over the value it was made from. The position is written after the slots. An instance that begins
//! anew reads events again that slots count already, and passes them by. Nothing is kept here that is not in the bucket: after any
//! failure an instance forgets what it knows and begins again from there.

mod did;
mod erased;
mod held;
mod order;
mod position;
mod states;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_decision::aggregate::Aggregates;
use selvedge_decision::definition::By;
use selvedge_decision::plan::ViewPlan;
use selvedge_decision::{Plan, TimeUs};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use self::did::Did;
pub use self::order::{Block, Gap, Order};
pub use self::position::Part;
pub(crate) use self::position::Position;
pub use self::states::{Entities, States};
use crate::link::LinkState;
use crate::link::nats::NatsLink;
use crate::link::nats::aggregates::{Key, NotWritten};
use crate::link::nats::events::{BlockMessage, BlockMessages, BlockQuery, BlocksFrom, ReadFailure};
use crate::link::nats::releases::CoreError;
use crate::outbox::Lane;
use crate::outbox::block::BadBlock;

/// How long changes come together before they are written.
const GATHER: Duration = Duration::from_millis(100);
/// So many changes are written at once.
const MOST_CHANGED: usize = 20_000;
/// How often a position is written when nothing changes, and how long the word counts that what was read is all there is.
const PROVE_EVERY: Duration = Duration::from_secs(1);
const PROVEN_FOR: Duration = Duration::from_secs(3);
/// How often it is told how far the counting is, and what still fails.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often it is asked who was erased.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Blocks that wait to be counted.
const BLOCKS: usize = 32;
/// How long to wait after a failure, and for a stream that is not there.
const PAUSE: Duration = Duration::from_millis(500);

/// A view that is counted at the core.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// Its name.
    pub view: String,
    /// Whose values these are.
    pub by: By,
    /// What is counted.
    pub aggregates: Arc<Aggregates>,
}

/// Why an instance begins anew.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Core(#[from] CoreError),
    #[error(transparent)]
    Read(#[from] ReadFailure),
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
    #[error("the reading of the stream ended")]
    Ended,
    #[error("the bucket holds aggregates by {0}: give the view another name, or delete the bucket")]
    By(String),
}

/// The bucket of a view's aggregates, behind `features_`.
pub fn name_of(view: &str) -> String {
    format!("{view}_agg")
}

/// Counts a part of a view until `stop`. What fails is told and tried again.
pub async fn count(
    nats: Arc<NatsLink>,
    counted: Counted,
    part: Part,
    entities: usize,
    tell: impl Fn(Did),
    mut stop: watch::Receiver<bool>,
) {
    let mut told: Option<(String, Instant)> = None;
    loop {
        let failure = match Instance::begin(&nats, &counted, part, entities, &tell, &mut stop).await {
            Ok(mut instance) => match instance.run(&tell, &mut stop).await {
                Ok(()) => return,
                Err(failure) => failure,
            },
            Err(None) => return,
            Err(Some(failure)) => failure,
        };
        let why = failure.to_string();
        if told.as_ref().is_none_or(|(last, when)| *last != why || when.elapsed() >= TELL_EVERY) {
            tell(Did::Failed { view: counted.view.clone(), why: why.clone() });
            told = Some((why, Instant::now()));
        }
        if pause(&mut stop).await {
            return;
        }
    }
}

/// Waits a while. Whether to stop.
async fn pause(stop: &mut watch::Receiver<bool>) -> bool {
    tokio::time::timeout(PAUSE, stopped(stop)).await.is_ok()
}

/// Waits for the word to stop; who would give it may be gone, which is the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
}

/// One try: from what is in the bucket on.
struct Instance {
    nats: Arc<NatsLink>,
    view: String,
    part: Part,
    by: By,
    states: States,
    order: Order,
    stream_us: TimeUs,
    /// The last sequence that was taken.
    taken: u64,
    /// When it was heard that this was the last one there was, unless more came.
    at_end: Option<Instant>,
    /// What it counts, by the digests of what that means.
    counts: BTreeSet<String>,
    /// Aggregates that the slots of before do not have.
    empty: Vec<String>,
    /// The number of the position's value.
    revision: u64,
    written: Option<(u64, Instant)>,
    told: Instant,
    blocks: mpsc::Receiver<Result<Option<BlockMessage>, ReadFailure>>,
    /// The last number of the bucket of erased people that is known.
    erased: u64,
    /// When it was asked last.
    asked: Instant,
    /// Reads ahead; ends with this.
    _reading: JoinSet<()>,
}

// === impl Instance ===

impl Instance {
    /// Looks where to begin. No failure when it is to stop.
    async fn begin(
        nats: &Arc<NatsLink>,
        counted: &Counted,
        part: Part,
        entities: usize,
        tell: &impl Fn(Did),
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Self, Option<Failure>> {
        let mut waits = false;
        loop {
            let mut state = nats.state();
            let began = async {
                state.wait_for(LinkState::is_connected).await.ok();
                Self::look(nats, counted, part, entities).await
            };
            let began = tokio::select! {
                began = began => began,
                () = stopped(stop) => return Err(None),
            };
            match began {
                Ok(instance) => {
                    tell(Did::Began { view: counted.view.clone(), after: instance.taken });
                    if !instance.empty.is_empty() {
                        tell(Did::Empty { view: counted.view.clone(), aggregates: instance.empty.clone() });
                    }
                    return Ok(instance);
                }
                // The first node that has something to tell makes it.
                Err(Failure::Read(none @ ReadFailure::NoStream(_))) => {
                    if !std::mem::replace(&mut waits, true) {
                        tell(Did::Failed { view: counted.view.clone(), why: none.to_string() });
                    }
                    if pause(stop).await {
                        return Err(None);
                    }
                }
                Err(failure) => return Err(Some(failure)),
            }
        }
    }

    async fn look(nats: &Arc<NatsLink>, counted: &Counted, part: Part, entities: usize) -> Result<Self, Failure> {
        let Counted { view, by, aggregates } = counted;
        nats.ensure_aggregates_bucket(view).await?;
        let revision = nats.read_aggregate(view, &Key::position(part)).await?.1;
        let positions = nats.aggregate_positions(view).await?;
        let mut positions: Vec<(Part, Position)> =
            positions.iter().filter_map(|(part, json)| Some((*part, Position::read(json)?))).collect();
        if let Some((_, other)) = positions.iter().find(|(_, position)| position.by != *by) {
            return Err(Failure::By(serde_json::to_string(&other.by).unwrap_or_default()));
        }
        let query = |from| BlockQuery { lane: Some(Lane::Events), node: None, from, follow: true };
        let mut blocks = nats.blocks(query(BlocksFrom::Start)).await?;
        // Of another stream, whose events are others or the same once more: slots tell them apart.
        let stream_us = blocks.stream_created_us();
        positions.retain(|(_, known)| known.stream_us == stream_us && known.at <= blocks.last_sequence());
        let known = Position::known_to_all(part, &positions);
        let taken = known.iter().map(|position| position.at).min().unwrap_or(0);
        let order = Order::new(&known, blocks.first_sequence() > taken + 1);
        let has = |meaning: &str| known.iter().all(|position| position.counts.contains(meaning));
        let empty = aggregates.meanings().filter(|(_, meaning)| taken > 0 && !has(meaning));
        let empty = empty.map(|(name, _)| name.to_owned()).collect();
        if taken > 0 {
            blocks = nats.blocks(query(BlocksFrom::After(taken))).await?;
        }
        let (send, blocks_come) = mpsc::channel(BLOCKS);
        let mut reading = JoinSet::new();
        reading.spawn(read(blocks, send));
        let mut states =
            States::new(Arc::clone(aggregates), by.clone(), part, Entities::in_bucket(nats, view, entities));
        // Before the first event: one that is read again may be of somebody who was erased since.
        let (people, erased) = nats.erased(0).await?;
        people.iter().for_each(|person| states.erase(person));
        Ok(Self {
            nats: Arc::clone(nats),
            view: view.clone(),
            part,
            by: by.clone(),
            states,
            order,
            stream_us,
            taken,
            at_end: None,
            counts: aggregates.meanings().map(|(_, meaning)| meaning.to_owned()).collect(),
            empty,
            revision,
            written: None,
            told: Instant::now(),
            blocks: blocks_come,
            erased,
            asked: Instant::now(),
            _reading: reading,
        })
    }

    /// Counts until it is to stop, and writes what is left then.
    async fn run(&mut self, tell: &impl Fn(Did), stop: &mut watch::Receiver<bool>) -> Result<(), Failure> {
        let mut turns = tokio::time::interval(GATHER);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped(stop) => {
                    self.write().await?;
                    tell(self.did());
                    return Ok(());
                }
                _ = turns.tick() => {
                    self.let_go().await?;
                    let given_up = self.order.give_up(Instant::now());
                    self.states.apply(given_up).await?;
                    self.write().await?;
                    for gap in self.order.gaps() {
                        tell(Did::PassedBy { view: self.view.clone(), gap });
                    }
                    if self.told.elapsed() >= TELL_EVERY {
                        self.told = Instant::now();
                        tell(self.did());
                    }
                }
                block = self.blocks.recv() => match block.ok_or(Failure::Ended)?? {
                    None => self.at_end = Some(Instant::now()),
                    Some(message) => {
                        self.take(message, tell).await?;
                        if self.states.changed() >= MOST_CHANGED {
                            self.write().await?;
                        }
                    }
                },
            }
        }
    }

    async fn take(&mut self, message: BlockMessage, tell: &impl Fn(Did)) -> Result<(), Failure> {
        match Block::read(&message.bytes, message.sequence) {
            Ok(block) => {
                let ready = self.order.take(block, Instant::now());
                self.states.apply(ready).await?;
            }
            // It will be no other the next time: what can be read behind it counts.
            Err(bad) => tell(Did::Failed { view: self.view.clone(), why: unreadable(message.sequence, &bad) }),
        }
        (self.taken, self.at_end) = (message.sequence, (message.pending == 0).then(Instant::now));
        Ok(())
    }

    /// Lets go of people who were erased since this was asked last.
    async fn let_go(&mut self) -> Result<(), Failure> {
        if self.asked.elapsed() >= ASK_EVERY {
            let (people, last) = self.nats.erased(self.erased).await?;
            people.iter().for_each(|person| self.states.erase(person));
            (self.erased, self.asked) = (last, Instant::now());
        }
        Ok(())
    }

    /// Writes what changed, then up to where that is.
    async fn write(&mut self) -> Result<(), Failure> {
        self.states.write(&self.nats, &self.view).await?;
        let at = self.order.oldest_held().map_or(self.taken, |held| held.saturating_sub(1).min(self.taken));
        if self.written.is_some_and(|(written, when)| written == at && when.elapsed() < PROVE_EVERY) {
            return Ok(());
        }
        let position = Position {
            at,
            is_current: self.at_end() && at == self.taken,
            next: self.order.next(),
            lost: self.order.lost(),
            counts: self.counts.clone(),
            ..Position::new(self.by.clone(), self.stream_us)
        };
        let json = Bytes::from(serde_json::to_vec(&position).unwrap_or_default());
        let sent = self.nats.write_aggregate(&self.view, &Key::position(self.part), json, self.revision).await?;
        self.revision = sent.stored().await?;
        self.written = Some((at, Instant::now()));
        Ok(())
    }

    /// Whether what was taken is known to be all there is.
    fn at_end(&self) -> bool {
        self.at_end.is_some_and(|heard| heard.elapsed() < PROVEN_FOR)
    }

    fn did(&self) -> Did {
        let counts = self.states.counts();
        Did::Counted {
            view: self.view.clone(),
            at: self.taken,
            is_current: self.at_end() && self.order.held() == 0,
            events: counts.events,
            again: counts.again,
            slots: counts.slots,
            held: self.order.held(),
            late: counts.late,
            missing: self.order.missing(),
            runs_forgotten: self.order.runs_forgotten(),
        }
    }
}

async fn read(mut blocks: BlockMessages, send: mpsc::Sender<Result<Option<BlockMessage>, ReadFailure>>) {
    loop {
        let next = blocks.next_or_end().await;
        let failed = next.is_err();
        if send.send(next).await.is_err() || failed {
            return;
        }
    }
}

fn unreadable(sequence: u64, bad: &BadBlock) -> String {
    format!("block {sequence} of the stream cannot be read and is passed by: {bad}")
}

// === impl Counted ===

impl Counted {
    /// The views of a release that the core counts.
    pub fn of(plan: &Plan) -> Vec<Self> {
        plan.views.iter().filter(|view| view.counted_at_the_core().is_some()).filter_map(Self::new).collect()
    }

    /// All views of a release with aggregates, those of sessions as well.
    pub fn all(plan: &Plan) -> Vec<Self> {
        plan.views.iter().filter_map(Self::new).collect()
    }

    fn new(view: &ViewPlan) -> Option<Self> {
        let aggregates = Arc::clone(view.aggregates.as_ref()?);
        Some(Self { view: view.name.clone(), by: view.def.by.clone(), aggregates })
    }
}
