//! What is known of sessions, and of whom the core counts, on disk: one tree a view, a slot a session and run. Owns the keys, and when what was kept may go.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use selvedge_decision::TimeUs;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Origin;
use crate::features::disk::write_behind::{WriteBehind, WriteBehindLimits};
use crate::features::disk::{Disk, StoredRow};

/// What stands between the parts of a key; in no session and no node's name.
const SEPARATOR: char = '\0';
/// How long slots come together before they are written.
const GATHER: Duration = Duration::from_millis(100);
/// Slots of one view that may wait to be written.
const WAITING: usize = 100_000;
const WAITING_BYTES: usize = 128 << 20;

/// Slots on disk. Cheap to clone: all clones are one.
#[derive(Clone)]
pub(crate) struct Slots {
    disk: Disk,
    views: Arc<Mutex<HashMap<String, Arc<WriteBehind>>>>,
}

/// A slot as it lies on disk.
pub(super) struct Kept {
    pub(super) session: String,
    pub(super) origin: Origin,
    pub(super) json: Vec<u8>,
}

// === impl Slots ===

impl Slots {
    /// The slots in the node's store.
    pub(crate) fn new(disk: Disk) -> Self {
        Self { disk, views: Arc::default() }
    }

    /// All slots of a view with an event since `since_us`; older ones are deleted. Blocks.
    pub(super) fn load(&self, view: &str, since_us: TimeUs) -> Vec<Kept> {
        let Some(store) = self.view(view) else { return Vec::new() };
        let (kept, gone) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let read = store.view().load(|| {
            |key: &str, last_us: TimeUs, json: &[u8]| match parse(key).filter(|_| last_us >= since_us) {
                Some((session, origin)) => {
                    lock(&kept).push(Kept { session: session.to_owned(), origin, json: json.to_vec() });
                }
                None => lock(&gone).push(key.to_owned()),
            }
        });
        if let Err(error) = read {
            tracing::error!(view, %error, "sessions cannot be read from disk: they begin anew");
        }
        for key in gone.into_inner().unwrap_or_else(PoisonError::into_inner) {
            store.push(&*key, None);
        }
        kept.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot to be written; a later one of the same session and run replaces it.
    pub(super) fn push(&self, view: &str, session: &str, origin: &Origin, last_us: TimeUs, json: Bytes) {
        if let Some(store) = self.view(view) {
            store.push(key(session, origin), Some(StoredRow { time_us: last_us, row: json }));
        }
    }

    /// Waits until all that was taken is on disk. `false` when the store failed.
    pub(super) async fn flush(&self) -> bool {
        let views: Vec<_> = self.lock().values().cloned().collect();
        let mut ok = true;
        for view in views {
            ok &= view.flush().await;
        }
        ok
    }

    /// Deletes a slot.
    pub(super) fn remove(&self, view: &str, session: &str, origin: &Origin) {
        if let Some(store) = self.view(view) {
            store.push(key(session, origin), None);
        }
    }

    /// Deletes what of these views has had no event since `since_us`. Blocks.
    pub(super) fn sweep(&self, views: &BTreeSet<String>, since_us: TimeUs) {
        for view in views {
            self.load(view, since_us);
        }
    }

    /// Starts the writing of views that came since; it ends with `stop`.
    pub(super) fn write(&self, writing: &mut JoinSet<()>, running: &mut Vec<String>, stop: &watch::Receiver<bool>) {
        for (name, view) in self.lock().iter().filter(|(name, _)| !running.contains(name)).collect::<Vec<_>>() {
            running.push(name.clone());
            let told = name.clone();
            writing.spawn(Arc::clone(view).run(stop.clone(), move |error| {
                tracing::error!(view = told, %error, "sessions are not written to disk any more: restart the node");
            }));
        }
    }

    fn view(&self, name: &str) -> Option<Arc<WriteBehind>> {
        let mut views = self.lock();
        if let Some(view) = views.get(name) {
            return Some(Arc::clone(view));
        }
        let tree = match self.disk.slots(name) {
            Ok(tree) => tree,
            Err(error) => {
                tracing::error!(view = name, %error, "sessions cannot be kept on disk");
                return None;
            }
        };
        let limits = WriteBehindLimits { every: GATHER, rows: WAITING, bytes: WAITING_BYTES, scratch_bytes: 0 };
        let view = Arc::new(WriteBehind::new(self.disk.clone(), tree, limits));
        views.insert(name.to_owned(), Arc::clone(&view));
        Some(view)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<WriteBehind>>> {
        lock(&self.views)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(session: &str, origin: &Origin) -> String {
    format!("{session}{SEPARATOR}{}{SEPARATOR}{}", origin.node.as_str(), origin.epoch)
}

fn parse(key: &str) -> Option<(&str, Origin)> {
    let mut parts = key.rsplitn(3, SEPARATOR);
    let (epoch, node, session) = (parts.next()?, parts.next()?, parts.next()?);
    let origin = Origin { node: node.to_owned().try_into().ok()?, epoch: epoch.parse().ok()? };
    Some((session, origin))
}
