//! Sessions beyond this run: what changed goes to disk and to other nodes, what they know comes here. Owns the turns: every few
//! milliseconds what changed since the last one, the newest slot of each session, so that a busy session costs no more than a
//! quiet one; and, once it is on disk, that the outbox need not hold its events for it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use selvedge_decision::aggregate::Slot;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::{Origin, Sessions, core};
use crate::link::nats::NatsLink;
use crate::link::nats::releases::CoreError;
use crate::link::nats::sessions::{SlotKey, SlotMessage};
use crate::link::{Link, LinkState};
use crate::outbox::Lane;

/// How often changes go out.
const EVERY: Duration = Duration::from_millis(25);
/// How often what is on disk is made safe there.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// How often slots of sessions that ended are looked for on disk.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Slots on their way at once.
const WINDOW: usize = 2_000;
/// How long to wait after the core refused something.
const PAUSE: Duration = Duration::from_millis(500);

/// What is to be sent, the newest slot of each.
type Unsent = HashMap<SlotKey, Bytes>;

// === impl Sessions ===

impl Sessions {
    /// Keeps and sends what changes, and takes what comes, until `stop`; then keeps what is left.
    pub async fn travel(self, link: Link, stop: watch::Receiver<bool>) {
        if self.inner.slots.is_none() {
            return;
        }
        let core = match &link {
            Link::Nats(nats) => Some(Arc::clone(nats)),
            Link::Local(_) => None,
        };
        let nats = core.clone().filter(|_| self.inner.config.share);
        let followed = async {
            if let Some(nats) = &nats {
                self.follow(nats, stop.clone()).await;
            }
        };
        let counted = async {
            if let Some(core) = &core {
                self.follow_counted(core, stop.clone()).await;
            }
        };
        let erased = async {
            if let Some(core) = &core {
                self.follow_erased(core, stop.clone()).await;
            }
        };
        tokio::join!(self.go_out(nats.as_ref(), stop.clone()), followed, counted, erased);
    }

    /// Follows the bucket of every view that the core counts, from when it is bound.
    async fn follow_counted(&self, nats: &Arc<NatsLink>, mut stop: watch::Receiver<bool>) {
        let mut following = JoinSet::new();
        loop {
            let bound = std::mem::take(&mut *self.inner.bound.lock().unwrap_or_else(PoisonError::into_inner));
            for view in bound {
                let (slots, clock) = (self.inner.slots.clone(), self.inner.clock.clone());
                following.spawn(core::follow(view, Arc::clone(nats), slots, clock, stop.clone()));
            }
            tokio::select! {
                () = self.inner.more_bound.notified() => {}
                Some(_) = following.join_next() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        while following.join_next().await.is_some() {}
    }

    /// The turns.
    async fn go_out(&self, nats: Option<&Arc<NatsLink>>, mut stop: watch::Receiver<bool>) {
        let Some(slots) = self.inner.slots.clone() else { return };
        let (stop_writing, writing_stops) = watch::channel(false);
        let (mut writing, mut running) = (JoinSet::new(), Vec::new());
        let mut unsent = Unsent::new();
        let mut sending: Option<JoinHandle<Unsent>> = None;
        let mut flushing: Option<JoinHandle<()>> = None;
        let (mut flushed, mut swept) = (Instant::now(), Instant::now());
        let mut turns = tokio::time::interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = false;
        while !stopping {
            tokio::select! {
                _ = turns.tick() => {}
                _ = stop.wait_for(|stop| *stop) => stopping = true,
            }
            let settled = self.inner.settled.load(Ordering::Acquire);
            let kept = self.take(&slots, nats.is_some().then_some(&mut unsent));
            slots.write(&mut writing, &mut running, &writing_stops);
            if let Some(nats) = nats {
                if let Some(back) = done(&mut sending).await {
                    // What changed meanwhile is newer.
                    back.into_iter().for_each(|(key, json)| _ = unsent.entry(key).or_insert(json));
                }
                if sending.is_none() && !unsent.is_empty() && nats.state().borrow().is_connected() {
                    sending = Some(tokio::spawn(send(Arc::clone(nats), self.clone(), take_some(&mut unsent))));
                }
            }
            self.inner.metrics.unsent(unsent.len());
            if swept.elapsed() >= SWEEP_EVERY {
                swept = Instant::now();
                let (slots, views, since_us) = (slots.clone(), self.names(), self.since_us());
                tokio::task::spawn_blocking(move || slots.sweep(&views, since_us));
            }
            done(&mut flushing).await;
            if flushing.is_none() && flushed.elapsed() >= FLUSH_EVERY {
                flushed = Instant::now();
                flushing = Some(tokio::spawn(flush(self.clone(), slots.clone(), kept, settled)));
            }
        }
        if let Some(flushing) = flushing {
            flushing.await.ok();
        }
        let kept = self.take(&slots, None);
        slots.write(&mut writing, &mut running, &writing_stops);
        let settled = self.inner.settled.load(Ordering::Acquire);
        flush(self.clone(), slots, kept, settled).await;
        stop_writing.send_replace(true);
        while writing.join_next().await.is_some() {}
    }

    /// Gives what changed to the disk and to `unsent`. Events of this run below the number it says are in it.
    fn take(&self, slots: &super::Slots, mut unsent: Option<&mut Unsent>) -> u64 {
        // First: what is applied after this is perhaps in it, what was applied before certainly.
        let applied = self.inner.applied.load(Ordering::Acquire);
        for (view, changes) in self.changes() {
            for change in changes {
                let origin = change.origin.as_ref().unwrap_or(&self.inner.me);
                let json = Bytes::from(serde_json::to_vec(&change.slot).unwrap_or_default());
                slots.push(&view, &change.session, origin, change.slot.last(), json.clone());
                if let Some(unsent) = unsent.as_deref_mut() {
                    let (node, epoch) = (origin.node.clone(), origin.epoch);
                    let key = SlotKey { view: view.clone(), node, epoch, session: change.session.to_string() };
                    unsent.insert(key, json);
                }
            }
        }
        applied
    }

    fn since_us(&self) -> i64 {
        self.inner.clock.now_us().saturating_sub(self.inner.config.keep_us)
    }

    /// Takes what other nodes know, from the newest of each session on.
    async fn follow(&self, nats: &Arc<NatsLink>, mut stop: watch::Receiver<bool>) {
        let mut state = nats.state();
        let mut known = BTreeSet::new();
        let mut after = None;
        loop {
            let round = async {
                state.wait_for(LinkState::is_connected).await.ok();
                // A view that is new here may have slots that came long ago.
                let names = self.names();
                if names.is_subset(&known) {
                    if names.is_empty() {
                        tokio::time::sleep(PAUSE).await;
                        return Ok(());
                    }
                } else {
                    (known, after) = (names, None);
                }
                let keep = Duration::from_micros(u64::try_from(self.inner.config.keep_us).unwrap_or_default());
                nats.ensure_sessions_bucket(keep).await?;
                let mut following = nats.follow_sessions(after).await?;
                loop {
                    tokio::select! {
                        messages = following.next() => for message in messages? {
                            after = Some(message.seq);
                            self.came(message);
                        },
                        _ = state.changed() => return Ok(()),
                        () = tokio::time::sleep(PAUSE) => if !self.names().is_subset(&known) { return Ok(()) },
                    }
                }
            };
            let ended: Result<(), CoreError> = tokio::select! {
                ended = round => ended,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "sessions of other nodes do not come");
                after = None;
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        }
    }

    fn came(&self, message: SlotMessage) {
        let (Some(key), Some(json)) = (SlotKey::read(&message.key), message.json) else { return };
        if key.node == self.inner.me.node && key.epoch == self.inner.me.epoch {
            return;
        }
        let Some(slot) = read(&json) else { return self.inner.metrics.unreadable() };
        let origin = Arc::new(Origin { node: key.node, epoch: key.epoch });
        if self.arrive(&key.view, &key.session, &origin, &slot) {
            self.inner.metrics.came(self.inner.clock.now_us().saturating_sub(slot.last()));
            if let Some(slots) = &self.inner.slots {
                slots.push(&key.view, &key.session, &origin, slot.last(), json);
            }
        }
    }
}

/// A slot's JSON; `None` when it is none, or of a newer version.
pub(super) fn read(json: &[u8]) -> Option<Slot> {
    serde_json::from_slice::<Slot>(json).ok().filter(Slot::is_known)
}

/// What a task that has ended leaves.
async fn done<T: Default>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    if !task.as_ref()?.is_finished() {
        return None;
    }
    Some(task.take()?.await.unwrap_or_default())
}

fn take_some(unsent: &mut Unsent) -> Unsent {
    if unsent.len() <= WINDOW {
        return std::mem::take(unsent);
    }
    let keys: Vec<SlotKey> = unsent.keys().take(WINDOW).cloned().collect();
    keys.into_iter().filter_map(|key| unsent.remove_entry(&key)).collect()
}

/// Sends slots, and gives back what the core does not have.
async fn send(nats: Arc<NatsLink>, sessions: Sessions, slots: Unsent) -> Unsent {
    let mut sent = Vec::with_capacity(slots.len());
    let mut back = Unsent::new();
    for (key, json) in slots {
        match nats.send_slot(&key, json.clone()).await {
            Ok(ack) => sent.push(async move { (key, json, ack.stored().await) }),
            Err(_) => _ = back.insert(key, json),
        }
    }
    let mut failed = None;
    for (key, json, stored) in join_all(sent).await {
        match stored {
            Ok(()) => sessions.inner.metrics.sent(),
            Err((error, is_gone)) => {
                failed = Some((error, is_gone));
                if let Entry::Vacant(place) = back.entry(key) {
                    place.insert(json);
                }
            }
        }
    }
    if let Some((error, is_gone)) = failed {
        if is_gone {
            let keep = Duration::from_micros(u64::try_from(sessions.inner.config.keep_us).unwrap_or_default());
            nats.ensure_sessions_bucket(keep).await.ok();
        } else {
            tracing::warn!(%error, slots = back.len(), "sessions were not taken by the core; they are sent again");
        }
        tokio::time::sleep(PAUSE).await;
    }
    back
}

/// Makes what the disk was given safe, and lets the outbox go on.
async fn flush(sessions: Sessions, slots: super::Slots, kept: u64, settled: bool) {
    // A store that failed keeps nothing any more, and said so: the outbox must not hold everything for it.
    let ok = slots.flush().await;
    let outbox = sessions.inner.outbox.clone();
    let done = tokio::task::spawn_blocking(move || {
        outbox.kept(Lane::Events, if ok { kept } else { u64::MAX });
        if settled || !ok {
            outbox.kept_earlier(Lane::Events);
        }
    });
    done.await.ok();
}
