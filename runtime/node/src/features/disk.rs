//! The durable copy of the views: one sled tree a view, entity → time and the row as it was sent, and the checkpoint. The only
//! file that names sled. Owns what bytes lie there; must not know tables, layouts or links.
//!
//! Rows as they were sent and not cells, so that a release with another schema reads the same rows again without asking the
//! core.
//! What is written is complete up to the checkpoint that stands beside it: rows may be ahead of it, it never is.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use selvedge_decision::TimeUs;

use crate::features::row::binary::SchemaHash;

mod scratch;
pub(crate) mod write_behind;

/// The store of one node.
#[derive(Clone)]
pub(crate) struct Disk {
    db: sled::Db,
    dir: PathBuf,
}

/// The rows of one view on disk.
#[derive(Clone)]
pub(crate) struct DiskView {
    tree: sled::Tree,
}

/// Up to where the rows on disk are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// When the bucket was created: a recreated one starts its sequence again.
    pub(crate) created_us: TimeUs,
    /// The last sequence applied.
    pub(crate) last_seq: u64,
    /// When the view was last proven current.
    pub(crate) proven_us: TimeUs,
    /// Rows are missing, because they were beyond these limits.
    pub(crate) refused_by: Option<RowLimits>,
}

/// The limits that a row can be beyond, and the schema that it can be of or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowLimits {
    /// Entities of one view.
    pub(crate) max_entities: u32,
    /// The largest row, in bytes as it was sent.
    pub(crate) max_row_bytes: u64,
    /// Bytes of one view.
    pub(crate) max_bytes: u64,
    /// The schema of compact rows.
    pub(crate) schema: SchemaHash,
}

/// One change: the row, or nothing when the entity is gone.
pub(crate) type Change = Option<StoredRow>;

/// A row as it rests on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRow {
    /// The time of its event.
    pub(crate) time_us: TimeUs,
    /// What was sent.
    pub(crate) row: Bytes,
}

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the feature store {dir:?} is in use by another process: stop that one, or give this node its own `node.data`"
    )]
    InUse {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The directory cannot be used.
    #[error("the feature store {dir:?} cannot be used: {source}")]
    Io {
        /// The store's directory.
        dir: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The opening itself broke off.
    #[error("the feature store {dir:?} cannot be opened, nor could it be moved aside: {why}")]
    Broken {
        /// The store's directory.
        dir: PathBuf,
        /// What went wrong.
        why: String,
    },
}

/// Reading or writing failed.
#[derive(Debug, thiserror::Error)]
#[error("feature store: {0}")]
pub(crate) struct DiskError(#[from] sled::Error);

impl DiskError {
    fn broke_off() -> Self {
        Self(sled::Error::ReportableBug("the write broke off".into()))
    }
}

/// Entities are UTF-8, so no entity can take this key.
const CHECKPOINT_KEY: &[u8] = b"\xffcheckpoint";
const CHECKPOINT_VERSION: u8 = 4;
/// The version before, which knew no schema.
const CHECKPOINT_WITHOUT_SCHEMA: u8 = 3;
/// The one before that, which knew no limit on bytes either.
const CHECKPOINT_WITHOUT_BYTES: u8 = 2;
/// The file that says that the store failed while it was open; the next opening moves the store aside.
const BROKEN_MARK: &str = "broken";
/// Beyond this many stores moved aside, the oldest are deleted.
const KEPT_ASIDE: usize = 2;
/// Of so many bytes written, in the order of their keys, one row is read again: more than that are on a page, or the row alone is.
const TOUCH_BYTES: usize = 1_600;
/// How many rows a loading thread reads before it looks how far the other one is.
const LOAD_STRIDE: usize = 256;

// === impl Disk ===

impl Disk {
    /// Opens or creates the store in `dir`. One that will not open, or was left with [`Disk::leave_mark`], is moved aside;
    /// the path it has now comes with the new, empty one. Blocks.
    pub(crate) fn open(dir: &Path, cache_bytes: u64, now_us: TimeUs) -> Result<(Self, Option<PathBuf>), OpenError> {
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(io)?;
        let opened = match std::fs::read(dir.join(BROKEN_MARK)) {
            Ok(_) if is_in_use(dir).map_err(io)? => Err(Failure::InUse),
            Ok(why) => Err(Failure::Broken(String::from_utf8_lossy(&why).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => open_guarded(dir, cache_bytes),
            Err(error) => Err(Failure::Io(error)),
        };
        let why = match opened {
            Ok(db) => return Ok((Self { db, dir: dir.to_owned() }, None)),
            Err(Failure::InUse) => return Err(OpenError::InUse { dir: dir.to_owned() }),
            Err(Failure::Io(source)) => return Err(io(source)),
            Err(Failure::Broken(why)) => why,
        };
        let aside = move_aside(dir, now_us).map_err(io)?;
        tracing::error!(?dir, moved_to = ?aside, why, "the feature store would not open; all rows come from the core again");
        match open_guarded(dir, cache_bytes) {
            Ok(db) => Ok((Self { db, dir: dir.to_owned() }, Some(aside))),
            Err(Failure::InUse) => Err(OpenError::InUse { dir: dir.to_owned() }),
            Err(Failure::Io(source)) => Err(io(source)),
            Err(Failure::Broken(why)) => Err(OpenError::Broken { dir: dir.to_owned(), why }),
        }
    }

    /// The rows of a view. A view that holds all rows and one that holds those it saw have nothing in common but the name.
    pub(crate) fn view(&self, name: &str, on_demand: bool) -> Result<DiskView, DiskError> {
        let kind = if on_demand { "seen" } else { "view" };
        Ok(DiskView { tree: self.db.open_tree(format!("{kind}:{name}"))? })
    }

    /// The slots of a view of sessions.
    pub(crate) fn slots(&self, view: &str) -> Result<DiskView, DiskError> {
        Ok(DiskView { tree: self.db.open_tree(format!("slots:{view}"))? })
    }

    /// Lets the next opening move the store aside: it failed, as `why` tells. Blocks.
    pub(crate) fn leave_mark(&self, why: &str) -> std::io::Result<()> {
        std::fs::write(self.dir.join(BROKEN_MARK), why)
    }

    /// Returns when all that was written is with the operating system. Blocks.
    pub(crate) fn flush(&self) -> Result<(), DiskError> {
        self.db.flush().map(|_| ()).map_err(DiskError)
    }
}

// === impl DiskView ===

impl DiskView {
    /// Up to where the rows are complete. None for a view never complete, and for a checkpoint of another version.
    pub(crate) fn checkpoint(&self) -> Result<Option<Checkpoint>, DiskError> {
        Ok(self.tree.get(CHECKPOINT_KEY)?.and_then(|bytes| Checkpoint::from_bytes(&bytes)))
    }

    /// Says that the rows are complete up to nowhere, before they are all replaced. Blocks.
    pub(crate) fn forget_checkpoint(&self) -> Result<(), DiskError> {
        self.tree.remove(CHECKPOINT_KEY).map(|_| ()).map_err(DiskError)
    }

    /// Writes changes and the checkpoint they lead to as one batch: all of it is there after a crash, or none. Blocks.
    pub(crate) fn apply<'c>(
        &self,
        changes: impl IntoIterator<Item = (&'c str, &'c Change)>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), DiskError> {
        let (mut batch, mut touched, mut untouched) = (sled::Batch::default(), Vec::new(), TOUCH_BYTES);
        for (entity, change) in changes {
            untouched += entity.len() + change.as_ref().map_or(0, |row| row.row.len());
            if untouched >= TOUCH_BYTES {
                touched.push(entity);
                untouched = 0;
            }
            match change {
                Some(row) => batch.insert(entity.as_bytes(), row.to_bytes()),
                None => batch.remove(entity.as_bytes()),
            }
        }
        if let Some(checkpoint) = checkpoint {
            batch.insert(CHECKPOINT_KEY, &checkpoint.to_bytes()[..]);
        }
        self.tree.apply_batch(batch)?;
        // The store weighs a page when it is read, and lets go of pages by that weight. One that grows by writing alone weighs what it
        // did when it was empty, and a million rows would all stay in memory beside the table.
        touched.into_iter().try_for_each(|entity| self.tree.contains_key(entity.as_bytes()).map(|_| ()))?;
        Ok(())
    }

    /// Reads every row, from two threads that start at the two ends and meet; each hands its rows to a reader of its own.
    /// How many there were, those around the meeting counted twice. Blocks.
    pub(crate) fn load<R>(&self, reader: impl Fn() -> R + Sync) -> Result<u64, DiskError>
    where
        R: FnMut(&str, TimeUs, &[u8]),
    {
        let meeting = Meeting::default();
        std::thread::scope(|scope| {
            let backward = scope.spawn(|| walk(self.tree.iter().rev(), &meeting, End::High, reader()));
            let forward = walk(self.tree.iter(), &meeting, End::Low, reader());
            let backward = backward.join().unwrap_or_else(|_| Err(sled::Error::ReportableBug("a reader broke".into())));
            Ok(forward? + backward?)
        })
        .map_err(DiskError)
    }
}

/// How far the two loading threads are.
#[derive(Default)]
struct Meeting {
    low: Mutex<Option<sled::IVec>>,
    high: Mutex<Option<sled::IVec>>,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Low,
    High,
}

// === impl Meeting ===

impl Meeting {
    /// Tells that the thread from `end` has read up to `key`, and learns whether the other one was there before.
    fn tell(&self, end: End, key: &sled::IVec) -> ControlFlow<()> {
        let lock = |side: &Mutex<Option<sled::IVec>>| side.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (own, other) = if end == End::Low { (&self.low, &self.high) } else { (&self.high, &self.low) };
        *own.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        let met = match lock(other) {
            None => false,
            Some(other) if end == End::Low => *key >= other,
            Some(other) => *key <= other,
        };
        if met { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Reads rows from one end until the other thread is met. Rows around the meeting are read twice, which does no harm.
fn walk(
    rows: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
    meeting: &Meeting,
    end: End,
    mut each: impl FnMut(&str, TimeUs, &[u8]),
) -> sled::Result<u64> {
    let mut count = 0;
    for (index, row) in rows.enumerate() {
        let (key, value) = row?;
        if let Ok(entity) = std::str::from_utf8(&key)
            && let Some((time, row)) = value.split_first_chunk()
        {
            each(entity, TimeUs::from_le_bytes(*time), row);
            count += 1;
        }
        if index % LOAD_STRIDE == LOAD_STRIDE - 1 && meeting.tell(end, &key).is_break() {
            break;
        }
    }
    Ok(count)
}

// === impl StoredRow, impl Checkpoint ===

impl StoredRow {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.row.len());
        bytes.extend_from_slice(&self.time_us.to_le_bytes());
        bytes.extend_from_slice(&self.row);
        bytes
    }
}

impl Checkpoint {
    fn to_bytes(self) -> [u8; 54] {
        let mut bytes = [CHECKPOINT_VERSION; 54];
        bytes[1..9].copy_from_slice(&self.created_us.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.last_seq.to_le_bytes());
        bytes[17..25].copy_from_slice(&self.proven_us.to_le_bytes());
        let limits = self.refused_by.unwrap_or(RowLimits {
            max_entities: 0,
            max_row_bytes: 0,
            max_bytes: 0,
            schema: SchemaHash::default(),
        });
        bytes[25] = u8::from(self.refused_by.is_some());
        bytes[26..30].copy_from_slice(&limits.max_entities.to_le_bytes());
        bytes[30..38].copy_from_slice(&limits.max_row_bytes.to_le_bytes());
        bytes[38..46].copy_from_slice(&limits.max_bytes.to_le_bytes());
        bytes[46..54].copy_from_slice(&limits.schema.0);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (created, rest) = rest.split_first_chunk()?;
        let (last_seq, rest) = rest.split_first_chunk()?;
        let (proven, rest) = rest.split_first_chunk()?;
        let (&refused, rest) = rest.split_first()?;
        let (max_entities, rest) = rest.split_first_chunk()?;
        let (max_row_bytes, rest) = rest.split_first_chunk()?;
        let (max_bytes, rest) = match version {
            CHECKPOINT_WITHOUT_BYTES => (&[u8::MAX; 8], rest),
            CHECKPOINT_WITHOUT_SCHEMA | CHECKPOINT_VERSION => rest.split_first_chunk()?,
            _ => return None,
        };
        let (schema, rest) = if version == CHECKPOINT_VERSION { rest.split_first_chunk()? } else { (&[0; 8], rest) };
        let limits = RowLimits {
            max_entities: u32::from_le_bytes(*max_entities),
            max_row_bytes: u64::from_le_bytes(*max_row_bytes),
            max_bytes: u64::from_le_bytes(*max_bytes),
            schema: SchemaHash(*schema),
        };
        rest.is_empty().then_some(Self {
            created_us: TimeUs::from_le_bytes(*created),
            last_seq: u64::from_le_bytes(*last_seq),
            proven_us: TimeUs::from_le_bytes(*proven),
            refused_by: (refused != 0).then_some(limits),
        })
    }
}

// === opening ===

enum Failure {
    InUse,
    Io(std::io::Error),
    Broken(String),
}

/// Whether a process holds the store's lock. Only a store with a mark is asked: others tell when they are opened.
fn is_in_use(dir: &Path) -> std::io::Result<bool> {
    let file = match std::fs::File::open(dir.join("db")) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(std::fs::TryLockError::WouldBlock) => Ok(true),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// sled reports some damage by panicking; such a store is as broken as one that says so.
fn open_guarded(dir: &Path, cache_bytes: u64) -> Result<sled::Db, Failure> {
    let open = || {
        sled::Config::new()
            .path(dir)
            .mode(sled::Mode::HighThroughput)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(500))
            .open()
    };
    match std::panic::catch_unwind(open) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if error.to_string().contains("could not acquire lock") => Err(Failure::InUse),
        Ok(Err(sled::Error::Io(error))) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
                Err(Failure::Broken(error.to_string()))
            }
            _ => Err(Failure::Io(error)),
        },
        Ok(Err(error)) => Err(Failure::Broken(error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::Broken(text.unwrap_or("it broke off while opening").to_owned()))
        }
    }
}

/// Renames `dir` to a name beside it and deletes what was moved there long ago.
fn move_aside(dir: &Path, now_us: TimeUs) -> std::io::Result<PathBuf> {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let prefix = format!("{name}.broken-");
    let parent = dir.parent().unwrap_or(Path::new("."));
    let mut aside: Vec<PathBuf> = std::fs::read_dir(parent)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
        .collect();
    aside.sort();
    for old in aside.iter().rev().skip(KEPT_ASIDE - 1) {
        std::fs::remove_dir_all(old)?;
    }
    let target = parent.join(format!("{prefix}{now_us:020}"));
    std::fs::rename(dir, &target)?;
    std::fs::create_dir_all(dir)?;
    Ok(target)
}

#[cfg(test)]
mod tests;
