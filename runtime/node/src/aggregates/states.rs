//! The states of the entities of one part: those in memory, those in the bucket. Owns which of them are where,
//! and that no value is written over one it was not made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use selvedge_decision::Epoch;
use selvedge_decision::aggregate::{Aggregates, Happening, State};
use selvedge_decision::definition::By;

use super::erased::{Gone, is_of, is_of_people};
use super::held::{Held, read_slot};
use super::{Block, Part};
use crate::features::entity::shard_of;
use crate::link::nats::NatsLink;
use crate::link::nats::aggregates::{Key, NotWritten};
use crate::link::nats::erased::Erased;
use crate::link::nats::releases::CoreError;
use crate::sessions::{Origin, entity_of, values};

/// Slots on their way at once.
const READS: usize = 256;
const WRITES: usize = 2_000;

/// The states of a part of a view.
pub struct States {
    aggregates: Arc<Aggregates>,
    by: By,
    part: Part,
    entities: Entities,
    young: HashMap<Whose, Held, RandomState>,
    old: HashMap<Whose, Held, RandomState>,
    changed: Vec<Whose>,
    gone: Gone,
    counts: Counts,
}

/// Where states are that are not in memory.
pub struct Entities {
    bucket: Option<(Arc<NatsLink>, String)>,
    most: usize,
}

/// What was counted since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events that changed a state.
    pub events: u64,
    /// Those of them that had been passed by before.
    pub late: u64,
    /// Events that a slot counted already.
    pub again: u64,
    /// Slots written.
    pub slots: u64,
}

/// An entity as one node saw it; a session as one run did, for that is how nodes keep it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Whose {
    entity: Arc<str>,
    origin: Origin,
}

// === impl Entities ===

impl Entities {
    /// In memory all of them, and nowhere else.
    pub fn in_memory() -> Self {
        Self { bucket: None, most: usize::MAX }
    }

    /// In the bucket of a view, and about so many in memory.
    pub(super) fn in_bucket(nats: &Arc<NatsLink>, view: &str, most: usize) -> Self {
        Self { bucket: Some((Arc::clone(nats), view.to_owned())), most: most.max(2) }
    }
}

// === impl States ===

impl States {
    /// Nothing is known yet.
    pub fn new(aggregates: Arc<Aggregates>, by: By, part: Part, entities: Entities) -> Self {
        let (young, old, changed) = (HashMap::default(), HashMap::default(), Vec::new());
        let (gone, counts) = (Gone::default(), Counts::default());
        Self { aggregates, by, part, entities, young, old, changed, gone, counts }
    }

    /// Lets go of a person: what is in memory of them, and from now on of their events those that were received before they were
    /// erased. What is in the bucket is whoever erases to remove.
    pub fn erase(&mut self, person: &Erased) {
        if !is_of_people(&self.by) || !self.gone.note(person) {
            return;
        }
        let stays = |whose: &Whose| !is_of(&self.by, &whose.entity, person);
        self.young.retain(|whose, _| stays(whose));
        self.old.retain(|whose, _| stays(whose));
        self.changed.retain(stays);
    }

    /// Applies blocks, one after another.
    pub async fn apply(&mut self, blocks: Vec<Block>) -> Result<(), CoreError> {
        for block in blocks {
            let whose: Vec<Option<Whose>> = block
                .events
                .iter()
                .map(|event| {
                    let entity = entity_of(&self.by, event).filter(|entity| self.is_ours(entity))?;
                    if self.gone.has(event) {
                        return None;
                    }
                    let epoch = if self.by.is_session() { block.origin.epoch } else { Epoch(0) };
                    let origin = Origin { node: block.origin.node.clone(), epoch };
                    Some(Whose { entity: entity.into(), origin })
                })
                .collect();
            self.fetch(whose.iter().flatten()).await?;
            for ((seq, event), whose) in (block.first_seq..).zip(&block.events).zip(whose) {
                let Some(whose) = whose else { continue };
                let held = self.young.entry(whose.clone()).or_default();
                let epoch = block.origin.epoch;
                if held.has(epoch, seq, event.received_us) {
                    self.counts.again += 1;
                    continue;
                }
                let values = values(&self.aggregates, event);
                let happening = Happening { name: &event.name, time_us: event.received_us, values: &values };
                self.aggregates.apply(&mut held.state, happening);
                self.counts.late += u64::from(held.note(epoch, seq, &block.lost));
                self.counts.events += 1;
                if !std::mem::replace(&mut held.changed, true) {
                    self.changed.push(whose);
                }
            }
        }
        Ok(())
    }

    /// States that changed and are not written.
    pub fn changed(&self) -> usize {
        self.changed.len()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Writes what changed. After an error nothing here is to be believed any more: what came through is in the bucket.
    pub(super) async fn write(&mut self, nats: &NatsLink, view: &str) -> Result<(), NotWritten> {
        while !self.changed.is_empty() {
            let some: Vec<Whose> = self.changed.drain(..self.changed.len().min(WRITES)).collect();
            let mut sent = Vec::with_capacity(some.len());
            for whose in some {
                let Some(held) = self.young.get_mut(&whose) else { continue };
                held.changed = false;
                let slot = held.slot(&self.aggregates);
                let json = Bytes::from(serde_json::to_vec(&slot).unwrap_or_default());
                let key = Key::entity(&whose.origin.node, &whose.entity);
                let written = nats.write_aggregate(view, &key, json, held.revision).await?;
                sent.push(async move { (whose, written.stored().await) });
            }
            for (whose, stored) in join_all(sent).await {
                let revision = stored?;
                self.counts.slots += 1;
                if let Some(held) = self.young.get_mut(&whose) {
                    held.revision = revision;
                }
            }
        }
        // Only what is in the bucket may go from memory.
        if self.young.len() >= self.entities.most / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        Ok(())
    }

    /// Every entity and what its events came to, the nodes' shares put together in the order of their names, as a node does.
    pub fn whole(&self) -> BTreeMap<Arc<str>, State> {
        let all: BTreeMap<&Whose, &Held> = self.old.iter().chain(&self.young).collect();
        let mut whole = BTreeMap::<Arc<str>, State>::new();
        for (whose, held) in all {
            self.aggregates.merge(whole.entry(Arc::clone(&whose.entity)).or_default(), &held.state);
        }
        whole
    }

    fn is_ours(&self, entity: &str) -> bool {
        shard_of(entity, self.part.of) + 1 == self.part.index
    }

    /// Brings into memory who is not there.
    async fn fetch(&mut self, whose: impl Iterator<Item = &Whose>) -> Result<(), CoreError> {
        let mut missing = BTreeSet::new();
        for whose in whose {
            if self.young.contains_key(whose) {
                continue;
            }
            match self.old.remove_entry(whose) {
                Some((whose, held)) => _ = self.young.insert(whose, held),
                None => _ = missing.insert(whose.clone()),
            }
        }
        let Some((nats, view)) = &self.entities.bucket else { return Ok(()) };
        let read = missing.into_iter().map(|whose| async move {
            let found = nats.read_aggregate(view, &Key::entity(&whose.origin.node, &whose.entity)).await;
            (whose, found)
        });
        let mut found = stream::iter(read).buffer_unordered(READS);
        while let Some((whose, found)) = found.next().await {
            let (json, revision) = found?;
            let slot = json.as_deref().map(read_slot).transpose()?.flatten();
            let held = match slot {
                Some(slot) => Held::of(&slot, revision, &self.aggregates),
                None => Held::none(revision),
            };
            self.young.insert(whose, held);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use selvedge_decision::aggregate::{Of, compile};
    use selvedge_decision::definition::{AggregateDef, Names, Span};
    use selvedge_decision::layout::FeatureKind;

    use super::*;
    use crate::aggregates::Order;
    use crate::events::Event;
    use crate::outbox::samples::event;

    /// What depends on the order of its events most.
    fn aggregates() -> Arc<Aggregates> {
        let view = || Some(Names::One("view".into()));
        let half_life = Some(Span::from_us(60_000_000));
        let of = |name: &str| Some(name.to_owned());
        let taste = AggregateDef { decayed_mean: view(), of: of("item.taste"), half_life, ..AggregateDef::default() };
        let last = AggregateDef { last: view(), of: of("item"), ..AggregateDef::default() };
        let count = AggregateDef { count: view(), window: Some(Span::from_us(60_000_000)), ..AggregateDef::default() };
        let defs = [("taste", taste), ("last", last), ("count", count)].map(|(name, def)| (name.to_owned(), def));
        let feature =
            |name: &str| Ok((Of::Feature { name: name.to_owned(), view: 0, field: 0 }, FeatureKind::Vector, 2));
        Arc::new(compile(&BTreeMap::from(defs), feature).unwrap())
    }

    fn view(seq: u64, time_us: i64) -> Event {
        Event {
            name: "view".into(),
            subject: Some(format!("u-{}", seq % 3)),
            item: Some(format!("sku-{seq}")),
            received_us: time_us,
            joined: Some(format!("{{\"item.taste\":[{}.1,0.{seq}]}}", seq % 7)),
            ..event(seq)
        }
    }

    /// The blocks of one run of a node, of two events each.
    fn blocks(node: &str, epoch: u64, count: u64) -> Vec<Block> {
        let origin = Origin { node: node.to_owned().try_into().unwrap(), epoch: Epoch(epoch) };
        let time = |seq: u64| (seq * 1_700_000 + epoch * 90_000_000) as i64;
        let of = |first: u64| Block {
            origin: origin.clone(),
            first_seq: first,
            events: (first..first + 2).map(|seq| view(seq, time(seq))).collect(),
            at: 0,
            lost: Vec::new(),
        };
        (0..count).map(|at| of(1 + 2 * at)).collect()
    }

    async fn counted(blocks: Vec<Block>) -> (BTreeMap<Arc<str>, State>, Counts) {
        let by = By::One("subject".into());
        let mut states = States::new(aggregates(), by, Part::WHOLE, Entities::in_memory());
        for block in blocks {
            states.apply(vec![block]).await.unwrap();
        }
        (states.whole(), states.counts())
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_blocks_of_several_nodes_come_in_between(turns in proptest::collection::vec(0..3usize, 60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let of = [
                blocks("edge-1", 1, 8).into_iter().chain(blocks("edge-1", 2, 5)).collect::<Vec<_>>(),
                blocks("edge-2", 7, 10),
                blocks("edge-3", 1, 12),
            ];
            let one_after_another = runtime.block_on(counted(of.concat()));
            let mut left = of.map(Vec::into_iter);
            let mut mixed: Vec<Block> = turns.into_iter().filter_map(|turn| left[turn].next()).collect();
            mixed.extend(left.into_iter().flatten());
            // And every block a second time, as one that is read again.
            mixed.extend(mixed.clone());
            let (whole, counts) = runtime.block_on(counted(mixed));
            prop_assert_eq!(&whole, &one_after_another.0);
            prop_assert_eq!((counts.events, counts.again), (70, 70));
        }
    }

    /// What the aggregates of all together say: every event once, whatever else.
    fn of_all(whole: &BTreeMap<Arc<str>, State>) -> u64 {
        whole.values().map(State::events).sum()
    }

    proptest! {
        // A block is lost on the way, others behind it are counted without it, and an hour later the node sends it again.
        #[test]
        fn blocks_that_come_late_and_blocks_that_come_twice_count_once(
            order in proptest::sample::subsequence((0..20usize).collect::<Vec<_>>(), 0..20),
            give_up in proptest::collection::vec(any::<bool>(), 40),
            ends in proptest::collection::vec(any::<bool>(), 40),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let all = blocks("edge-1", 1, 20);
            let came = order.iter().chain((0..20).collect::<Vec<_>>().iter()).map(|at| all[*at].clone()).collect::<Vec<_>>();
            let by = By::One("subject".into());
            let aggregates = aggregates();
            let mut states = States::new(Arc::clone(&aggregates), by.clone(), Part::WHOLE, Entities::in_memory());
            let mut order = Order::default();
            let now = std::time::Instant::now();
            for ((block, give_up), ends) in came.into_iter().zip(give_up).zip(ends) {
                runtime.block_on(states.apply(order.take(block, now))).unwrap();
                if give_up {
                    runtime.block_on(states.apply(order.give_up_all())).unwrap();
                }
                if ends {
                    // All that outlives a process is what it wrote; and what it read since its position comes again.
                    for held in states.young.values_mut() {
                        let json = serde_json::to_vec(&held.slot(&aggregates)).unwrap();
                        *held = Held::of(&read_slot(&json).unwrap().unwrap(), 0, &aggregates);
                    }
                    let known = crate::aggregates::Position {
                        next: order.next(),
                        lost: order.lost(),
                        ..crate::aggregates::Position::new(by.clone(), 0)
                    };
                    if order.held() == 0 {
                        order = Order::new(&[&known], false);
                    }
                }
            }
            runtime.block_on(states.apply(order.give_up_all())).unwrap();
            prop_assert_eq!((of_all(&states.whole()), states.counts().events), (40, 40));
            // And from the beginning once more, by one who knows no order.
            let mut anew = Order::default();
            for block in blocks("edge-1", 1, 20) {
                runtime.block_on(states.apply(anew.take(block, now))).unwrap();
            }
            prop_assert_eq!((of_all(&states.whole()), states.counts().again), (40, 40));
        }
    }

    #[test]
    fn parts_are_all_there_is() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let all = runtime.block_on(counted(blocks("edge-1", 1, 20))).0;
        let mut found = BTreeMap::new();
        let mut events = 0;
        for index in 1..=3 {
            let by = By::One("subject".into());
            let part = Part::new(index, 3).unwrap();
            let mut states = States::new(aggregates(), by, part, Entities::in_memory());
            runtime.block_on(states.apply(blocks("edge-1", 1, 20))).unwrap();
            assert!(states.counts().events < 40, "part {index} counts all");
            events += states.counts().events;
            found.extend(states.whole());
        }
        assert_eq!((found, events), (all, 40));
    }
}
