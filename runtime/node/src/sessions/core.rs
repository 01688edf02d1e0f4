//! What the core counted comes here: the bucket of a view by person, by item or by a pair, followed as long as somebody reads the
//! view. Owns how far that is, and how late.
//!
//! A view is as late as the instance at the core that was not proven current for longest. Each writes its position beside the
//! slots, behind those it is made of, so that whoever has read the position has them, too.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use selvedge_decision::{Epoch, TimeUs};
use tokio::sync::watch;

use super::travel::read;
use super::{Origin, SessionView, Slots};
use crate::aggregates::{Part, Position, name_of};
use crate::clock::Clock;
use crate::features::{Condition, ViewStatus};
use crate::link::LinkState;
use crate::link::nats::NatsLink;
use crate::link::nats::aggregates::{Key, KeyOf};
use crate::link::nats::releases::CoreError;
use crate::link::nats::sessions::{SlotFollowing, SlotMessage};

/// How long to wait for a bucket that is not there, and after the core refused something.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked whether anybody still reads the view.
const LOOK: Duration = Duration::from_secs(1);

/// How far a view is that the core counts.
pub(super) struct Core {
    proven: Mutex<Proven>,
    /// All that was in the bucket when it was first looked at is here; or there was no bucket.
    synced: watch::Sender<bool>,
    /// The last number of the bucket that is here.
    applied: AtomicU64,
    /// The last number there was when the bucket was looked at.
    last: AtomicU64,
    forgotten: Counter,
}

#[derive(Default)]
struct Proven {
    /// Of how many instances the newest position is one.
    of: u32,
    /// When each of them had counted all that nodes told.
    parts: BTreeMap<u32, TimeUs>,
    /// Since when all of them have told that, or not.
    since_us: TimeUs,
}

// === impl Core ===

impl Core {
    pub(super) fn new(now_us: TimeUs, forgotten: Counter) -> Self {
        let proven = Mutex::new(Proven { since_us: now_us, ..Proven::default() });
        let (synced, applied, last) = (watch::Sender::new(false), AtomicU64::new(0), AtomicU64::new(0));
        Self { proven, synced, applied, last, forgotten }
    }

    pub(super) fn forgot(&self, entities: u64) {
        self.forgotten.inc_by(entities);
    }

    /// Microseconds since all that nodes told was counted; `i64::MAX` when that is not known.
    pub(super) fn lag_us(&self, now_us: TimeUs) -> i64 {
        let proven = self.lock();
        match proven.parts.values().min() {
            Some(at) if proven.is_whole() => now_us.saturating_sub(*at).max(0),
            _ => i64::MAX,
        }
    }

    /// An instance's position came, which the core stored at `at_us`.
    fn position(&self, part: Part, position: &Position, at_us: TimeUs) {
        let mut proven = self.lock();
        if proven.of != part.of {
            *proven = Proven { of: part.of, parts: BTreeMap::new(), since_us: at_us };
        }
        let was_whole = proven.is_whole();
        if position.is_current {
            proven.parts.insert(part.index, at_us);
        }
        if proven.is_whole() != was_whole {
            proven.since_us = at_us;
        }
    }

    pub(super) async fn synced(&self, within: Duration) -> bool {
        let mut synced = self.synced.subscribe();
        tokio::time::timeout(within, synced.wait_for(|synced| *synced)).await.is_ok_and(|found| found.is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, Proven> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Proven ===

impl Proven {
    /// Whether every instance has told that it was current.
    fn is_whole(&self) -> bool {
        self.of > 0 && self.parts.len() == self.of as usize
    }
}

// === impl SessionView ===

impl SessionView {
    /// Waits until it has what the core counted before it was bound, at most `within`. Whether it has.
    pub async fn synced(&self, within: Duration) -> bool {
        match &self.core {
            Some(core) => core.synced(within).await,
            None => true,
        }
    }

    /// Microseconds since it was last proven current.
    pub fn lag_us(&self, now_us: TimeUs) -> i64 {
        // What this node counts it knows first.
        self.core.as_ref().map_or(0, |core| core.lag_us(now_us))
    }

    /// How it is, when the core counts it.
    pub(super) fn status(&self, now_us: TimeUs) -> Option<ViewStatus> {
        let core = self.core.as_ref()?;
        let lag_us = Some(core.lag_us(now_us)).filter(|lag_us| *lag_us != i64::MAX);
        let proven = core.lock();
        let (seen, of) = (proven.parts.len(), proven.of);
        let detail = match (of, lag_us) {
            (0, _) => "no `selvedge core features` has told how far it is".to_owned(),
            (_, None) => format!("of {of} parts at the core {seen} have told that they are current"),
            (_, Some(_)) => format!("counted at the core in {of} parts"),
        };
        let applied_seq = core.applied.load(Ordering::Relaxed);
        Some(ViewStatus {
            view: self.name.clone(),
            on_demand: false,
            entities: self.len() as u64,
            absent: 0,
            bytes: self.bytes() as u64,
            applied_seq,
            last_seq: core.last.load(Ordering::Relaxed).max(applied_seq),
            lag_ms: lag_us.map(|lag_us| lag_us as u64 / 1_000),
            synced: *core.synced.borrow(),
            disk_waiting: 0,
            disk_behind_ms: 0,
            condition: if lag_us.is_some() { Condition::Live } else { Condition::Waiting },
            since_us: proven.since_us,
            detail,
        })
    }
}

/// Follows the bucket of a view until nobody reads the view any more.
pub(super) async fn follow(
    view: Weak<SessionView>,
    nats: Arc<NatsLink>,
    slots: Option<Slots>,
    clock: Clock,
    mut stop: watch::Receiver<bool>,
) {
    let mut at = At::default();
    loop {
        let ended = tokio::select! {
            ended = round(&view, &nats, slots.as_ref(), &clock, &mut at) => ended,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        if view.strong_count() == 0 {
            return;
        }
        if let Err(error) = ended {
            tracing::warn!(%error, "what the core counted does not come");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Entities, each as one node told of it.
type There = HashSet<(String, Origin)>;

/// Where the following stands.
#[derive(Default)]
struct At {
    /// When the bucket was made: one that is made anew starts its numbers again.
    created_us: Option<TimeUs>,
    seq: Option<u64>,
}

async fn round(
    view: &Weak<SessionView>,
    nats: &Arc<NatsLink>,
    slots: Option<&Slots>,
    clock: &Clock,
    at: &mut At,
) -> Result<(), CoreError> {
    let mut state = nats.state();
    state.wait_for(LinkState::is_connected).await.ok();
    let Some(name) = view.upgrade().map(|view| view.name.clone()) else { return Ok(()) };
    let Some(bucket) = nats.aggregates_bucket(&name).await? else {
        // Nothing was counted yet: so this is all.
        with(view, |_, core| _ = core.synced.send_replace(true));
        return Ok(());
    };
    let is_same = at.created_us == Some(bucket.created_us) && at.seq.is_none_or(|seq| seq <= bucket.last_seq);
    if !is_same {
        if at.created_us.is_some() {
            tracing::warn!(view = name, "the bucket was made anew: all of it is read again");
        }
        *at = At { created_us: Some(bucket.created_us), seq: None };
    }
    with(view, |_, core| core.last.store(bucket.last_seq, Ordering::Relaxed));
    // Read from its beginning, the bucket says who is there, and so who is not.
    let mut there = at.seq.is_none().then(HashSet::new);
    let mut following = nats.follow_aggregates(&name, at.seq).await?;
    if at.seq.unwrap_or(0) >= bucket.last_seq {
        with(view, |view, core| complete(view, core, slots, there.take()));
    }
    let ended = receive(view, &mut following, &mut state, slots, clock, (&mut *at, &mut there)).await;
    if there.is_some() {
        // Cut off before its end: who is there is not known.
        at.seq = None;
    }
    ended
}

/// Takes what comes until the link changes or nobody reads the view any more.
async fn receive(
    view: &Weak<SessionView>,
    following: &mut SlotFollowing,
    state: &mut watch::Receiver<LinkState>,
    slots: Option<&Slots>,
    clock: &Clock,
    (at, there): (&mut At, &mut Option<There>),
) -> Result<(), CoreError> {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            messages = following.next() => {
                let Some(view) = view.upgrade() else { return Ok(()) };
                for message in messages? {
                    at.seq = Some(message.seq);
                    let is_last = message.waiting == 0;
                    came(&view, slots, clock, message, there.as_mut());
                    if let Some(core) = &view.core {
                        core.applied.store(at.seq.unwrap_or(0), Ordering::Relaxed);
                        if is_last {
                            complete(&view, core, slots, there.take());
                        }
                    }
                }
            }
            _ = state.changed() => return Ok(()),
            _ = looks.tick() => if view.strong_count() == 0 { return Ok(()) },
        }
    }
}

fn with(view: &Weak<SessionView>, act: impl FnOnce(&SessionView, &Core)) {
    if let Some(view) = view.upgrade()
        && let Some(core) = &view.core
    {
        act(&view, core);
    }
}

/// All that was in the bucket is here; with `there`, nothing else is to be.
fn complete(view: &SessionView, core: &Core, slots: Option<&Slots>, there: Option<There>) {
    if let Some(there) = there {
        let tree = name_of(&view.name);
        for (entity, origin) in view.keep_only(&there) {
            if let Some(slots) = slots {
                slots.remove(&tree, &entity, &origin);
            }
        }
    }
    core.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
}

fn came(view: &SessionView, slots: Option<&Slots>, clock: &Clock, message: SlotMessage, there: Option<&mut There>) {
    let Some(key) = Key::read(&message.key) else { return };
    let tree = name_of(&view.name);
    match (key.of, message.json) {
        (KeyOf::Position(part), Some(json)) => {
            let position = Position::read(&json);
            if let (Some(core), Some(position)) = (&view.core, position.filter(|position| view.is_by(&position.by))) {
                core.position(part, &position, message.stored_us.min(clock.now_us()));
            }
        }
        (KeyOf::Position(_), None) => {}
        (KeyOf::Entity { node, entity }, json) => {
            let origin = Arc::new(Origin { node, epoch: Epoch(0) });
            match json.as_ref().map(|json| (json, read(json))) {
                // Of a newer version: what was there is better than nothing.
                Some((_, None)) => {
                    if let Some(there) = there {
                        there.insert((entity, Origin::clone(&origin)));
                    }
                }
                Some((json, Some(slot))) => {
                    view.put(&entity, &origin, Some((&slot, json.len())));
                    if let Some(there) = there {
                        there.insert((entity.clone(), Origin::clone(&origin)));
                    }
                    if let Some(slots) = slots {
                        slots.push(&tree, &entity, &origin, slot.last(), json.clone());
                    }
                }
                None => {
                    view.put(&entity, &origin, None);
                    if let Some(slots) = slots {
                        slots.remove(&tree, &entity, &origin);
                    }
                }
            }
        }
    }
}
