//! Which messages are on disk already, so that a second copy is not stored again. Owns the window of the newest ids and who may
//! store which of them meanwhile; `seen/file.rs` brings it over a restart. An id is seen from the moment its event is durable:
//! until then, whoever brings a copy waits for what becomes of the first.

mod file;
mod window;

use std::collections::HashSet;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;
use selvedge_decision::Record;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

pub(super) use file::SeenFile;
use window::Window;

use super::files::Disk;
use super::segments::OldSegment;
use crate::events::Event;

/// A message's id, by the first 128 bits of its SHA-256: nobody can send two that fall together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u128);

/// The ids that are seen, and those that are being stored.
pub(super) struct Seen {
    capacity: usize,
    state: Mutex<State>,
    /// Told when ids that were being stored are stored, or are not.
    settled: Notify,
}

struct State {
    window: Window,
    /// Ids of batches that are on their way to disk.
    pending: HashSet<Key, FixedState>,
}

/// The ids of a batch on its way to disk; nobody else stores them as long as it is there. Dropped, it gives them back.
pub(super) struct Claim {
    seen: Arc<Seen>,
    keys: Vec<Key>,
}

/// The window as earlier runs left it, of `capacity` ids, and the file that keeps it; 0 is none.
pub(super) fn open(disk: &Disk, capacity: usize, old: &[OldSegment]) -> (Arc<Seen>, SeenFile) {
    let window = file::restore(disk, capacity, old);
    let file = SeenFile::open(disk.clone(), &window);
    let state = State { window, pending: HashSet::default() };
    (Arc::new(Seen { capacity, state: Mutex::new(state), settled: Notify::new() }), file)
}

// === impl Key ===

impl Key {
    pub(super) fn of(message_id: &str) -> Self {
        Self::from_bytes(&Sha256::digest(message_id).into())
    }

    /// Of a record that a page sent. No message id of an event is a text of this form by chance.
    pub(super) fn of_record(record: &Record) -> Self {
        Self::of(&format!("record of {}", record.id))
    }

    /// Of the first 16 bytes.
    fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(u128::from_le_bytes(std::array::from_fn(|at| bytes[at])))
    }
}

// === impl Seen ===

impl Seen {
    /// Takes those out of `events` that are on disk already or stand in it twice; the rest is the caller's to store. While a
    /// batch with one of the same ids is on its way to disk, this waits.
    pub(super) async fn claim(self: &Arc<Self>, events: &mut Vec<Event>) -> Claim {
        self.claim_by(events, |event| event.message_id.as_deref().map(Key::of)).await
    }

    /// As [`Seen::claim`], for records of pages, which are known by their decision's id.
    pub(super) async fn claim_records(self: &Arc<Self>, records: &mut Vec<Record>) -> Claim {
        self.claim_by(records, |record| Some(Key::of_record(record))).await
    }

    async fn claim_by<T>(self: &Arc<Self>, items: &mut Vec<T>, key: impl Fn(&T) -> Option<Key>) -> Claim {
        let mut claim = Claim { seen: Arc::clone(self), keys: Vec::new() };
        if self.capacity == 0 {
            return claim;
        }
        let keys: Vec<_> = items.iter().map(key).collect();
        let fresh = match self.try_claim(&keys) {
            Some(fresh) => fresh,
            None => loop {
                let mut settled = pin!(self.settled.notified());
                // Before looking again: what is settled in between must not be missed.
                settled.as_mut().enable();
                match self.try_claim(&keys) {
                    Some(fresh) => break fresh,
                    None => settled.await,
                }
            },
        };
        claim.keys = keys.into_iter().zip(&fresh).filter(|(_, fresh)| **fresh).filter_map(|(key, _)| key).collect();
        if fresh.contains(&false) {
            let mut fresh = fresh.into_iter();
            items.retain(|_| fresh.next().unwrap_or(true));
        }
        claim
    }

    /// Which events are new; their ids are pending from here on. `None` while somebody else stores one of the ids.
    fn try_claim(&self, keys: &[Option<Key>]) -> Option<Vec<bool>> {
        let State { window, pending } = &mut *self.lock();
        if !pending.is_empty() && keys.iter().flatten().any(|key| pending.contains(key)) {
            return None;
        }
        // Pending are the batch's own from here on: the second of two copies in it finds the first.
        let mut is_new = |key: Key| !window.contains(key) && pending.insert(key);
        Some(keys.iter().map(|key| key.is_none_or(&mut is_new)).collect())
    }

    /// The ids of the claims are seen if their events were stored, and given back if not.
    pub(super) fn settle(&self, claims: &mut Vec<Claim>, stored: bool) {
        if claims.is_empty() {
            return;
        }
        let State { window, pending } = &mut *self.lock();
        for key in claims.drain(..).flat_map(|mut claim| std::mem::take(&mut claim.keys)) {
            pending.remove(&key);
            if stored {
                window.insert(key);
            }
        }
        self.settled.notify_waiters();
    }

    /// How many ids are remembered.
    pub(super) fn len(&self) -> usize {
        self.lock().window.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("ids", &self.len()).finish_non_exhaustive()
    }
}

// === impl Claim ===

impl Claim {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let mut state = self.seen.lock();
        self.keys.iter().for_each(|key| _ = state.pending.remove(key));
        drop(state);
        self.seen.settled.notify_waiters();
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("keys", &self.keys).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
