//! The feature flow: rows come from the link, lie in memory for decisions and on disk for the next start. Owns which views
//! are held and what holds them together; a view's name is bound to a release's schema here.
//!
//! `feed` brings changes, `source` takes them into every `table` of a view and to `disk`, `row` reads them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use selvedge_decision::definition::{ByteSize, Sync, ViewDef};
use selvedge_decision::layout::RowLayout;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};

use crate::clock::Clock;
use crate::link::Link;
use crate::sessions::Slots;

pub(crate) mod disk;
pub mod entity;
pub(crate) mod feed;
mod gauges;
pub mod lines;
pub mod metrics;
pub mod row;
mod shard;
mod source;
pub mod symbols;
pub mod table;
pub mod view;

pub use disk::OpenError;
pub use metrics::Metrics;
pub use shard::{Condition, Fetching, Shard, ViewStatus};
pub use source::sights::SightLimits;
pub use symbols::{SymbolLimits, Symbols};
pub use table::{Room, Slot, Table};
pub use view::View;

use disk::write_behind::{WriteBehind, WriteBehindLimits};
use disk::{Checkpoint, Disk, RowLimits};
use entity::bucket_names;
use feed::{FeedLimits, Stops, Ways};
use metrics::{ResyncCause, StoreFailure};
use row::binary::SchemaHash;
use source::sights::Sights;
use source::{Source, SourceHandle};

/// The settings of the feature flow, as the node's config has them.
#[derive(Debug, Clone)]
pub struct FeaturesConfig {
    /// Where the durable copy is.
    pub dir: PathBuf,
    /// The longest a change waits to be written.
    pub write_behind: Duration,
    /// Changes of one view that may wait in memory to be written; the rows of more wait in a file.
    pub max_pending: usize,
    /// Bytes of such changes.
    pub max_pending_bytes: usize,
    /// Bytes of that file; beyond, the view's feed waits.
    pub max_scratch_bytes: u64,
    /// The store's own cache.
    pub disk_cache_bytes: u64,
    /// Texts of symbol features, node-wide.
    pub symbols: SymbolLimits,
    /// The largest row, in bytes as it was sent.
    pub max_row_bytes: usize,
    /// Entities of one view.
    pub max_entities: u32,
    /// Memory of one view, whatever its release says.
    pub max_view_bytes: u64,
    /// Memory of an on-demand view whose release does not say.
    pub on_demand_bytes: u64,
    /// What on-demand views may have on the way and remember.
    pub sights: SightLimits,
    /// How often a view is proven current.
    pub prove_every: Duration,
    /// How often the local link's files are looked at.
    pub poll_every: Duration,
}

/// The node's features. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Features {
    inner: Arc<Inner>,
}

/// A view cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its name cannot be a bucket's.
    #[error("view {view:?}: its name becomes a bucket's, so only a-z, A-Z, 0-9, - and _ can stand in it")]
    Name {
        /// The name.
        view: String,
    },
    /// Its rows would be too wide.
    #[error("view {view:?}: a row has {cells} cells of 64 bits, at most {MAX_CELLS}; shorten its vectors")]
    TooWide {
        /// The view.
        view: String,
        /// Its width.
        cells: usize,
    },
    /// The binding itself broke off.
    #[error("view {view:?}: {why}")]
    BrokeOff {
        /// The view.
        view: String,
        /// What went wrong.
        why: String,
    },
}

struct Inner {
    config: FeaturesConfig,
    link: Link,
    clock: Clock,
    stop: watch::Receiver<bool>,
    symbols: Arc<Symbols>,
    metrics: Metrics,
    /// None with a local link: its files are the durable copy.
    disk: Option<Disk>,
    sources: Mutex<HashMap<SourceKey, Held>>,
    /// One binding at a time.
    turn: tokio::sync::Mutex<()>,
}

/// A view that holds all rows and one that holds those it saw are two sources, also when they have one name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct SourceKey {
    name: String,
    on_demand: bool,
}

struct Held {
    handle: Weak<SourceHandle>,
    source: Weak<Source>,
    feed: JoinHandle<()>,
}

/// The widest row: a million f32.
pub const MAX_CELLS: usize = 500_000;
/// The least memory of one table: a piece of it and its widest row are less.
const LEAST_BYTES: u64 = 1 << 20;

// === impl FeaturesConfig ===

impl FeaturesConfig {
    /// The defaults, with the durable copy in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            write_behind: Duration::from_millis(200),
            max_pending: 100_000,
            max_pending_bytes: 128 << 20,
            max_scratch_bytes: 4 << 30,
            disk_cache_bytes: 8 << 20,
            symbols: SymbolLimits::default(),
            max_row_bytes: 256 << 10,
            max_entities: 50_000_000,
            max_view_bytes: 8 << 30,
            on_demand_bytes: 256 << 20,
            sights: SightLimits { fetches: 1_024, absent: 65_536, absent_us: 10_000_000 },
            prove_every: Duration::from_secs(1),
            poll_every: Duration::from_millis(200),
        }
    }
}

// === impl Features ===

impl Features {
    /// Opens the durable copy. A store that will not open is moved aside, with an alarm: its rows come from the core again.
    pub async fn open(
        config: FeaturesConfig,
        link: Link,
        clock: Clock,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, OpenError> {
        let metrics = Metrics::new();
        let disk = match &link {
            Link::Local(_) => None,
            Link::Nats(_) => {
                let (dir, cache_bytes, now_us) = (config.dir.clone(), config.disk_cache_bytes, clock.now_us());
                let broken = OpenError::Broken { dir: dir.clone(), why: "the opening broke off".into() };
                let opened = tokio::task::spawn_blocking(move || Disk::open(&dir, cache_bytes, now_us)).await;
                let (disk, moved_aside) = opened.unwrap_or(Err(broken))?;
                if moved_aside.is_some() {
                    metrics.store_failed(StoreFailure::MovedAside);
                }
                Some(disk)
            }
        };
        let symbols = Arc::new(Symbols::new(config.symbols));
        let (sources, turn) = (Mutex::default(), tokio::sync::Mutex::new(()));
        Ok(Self { inner: Arc::new(Inner { config, link, clock, stop, symbols, metrics, disk, sources, turn }) })
    }

    /// Where what is known of sessions is kept: with a link whose rows lie on disk.
    pub(crate) fn slots(&self) -> Option<Slots> {
        self.inner.disk.clone().map(Slots::new)
    }

    /// The node's symbols.
    pub fn symbols(&self) -> &Arc<Symbols> {
        &self.inner.symbols
    }

    /// What the flow counts, for the registry.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The view `name` at the schema of `def`. Who asks for the same schema gets the same view; another schema gets a table
    /// of its own, filled from the rows on disk, and both are kept fresh. Rows that are on disk are in the table when this
    /// returns; what the core has besides comes when it can be reached, or, for an on-demand view, when somebody reads it. The
    /// view lives while somebody holds it.
    pub async fn bind(&self, name: &str, def: &ViewDef) -> Result<View, BindError> {
        let layout = Arc::new(def.layout());
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(BindError::Name { view: name.to_owned() });
        }
        if layout.cells() > MAX_CELLS {
            return Err(BindError::TooWide { view: name.to_owned(), cells: layout.cells() });
        }
        // A task of its own: who asked may go away at any time, and a binding cut off in between would leave a source
        // without its feed, or a table for ever about to be filled.
        let inner = Arc::clone(&self.inner);
        let room = inner.room(def);
        let names = bucket_names(name, inner.shards(def));
        let sights = inner.config.sights.shared_by(names.len());
        let (view, of) = (name.to_owned(), Arc::clone(&layout));
        let bind = async move {
            let mut shards = Vec::with_capacity(names.len());
            for name in names {
                let key = SourceKey { name, on_demand: room.evicts };
                shards.push(inner.bind(key, Arc::clone(&of), room, sights).await);
            }
            View::new(&view, of, shards)
        };
        let broke_off = |error: JoinError| BindError::BrokeOff { view: name.to_owned(), why: error.to_string() };
        tokio::spawn(bind).await.map_err(broke_off)
    }

    /// How every view that is held is, by name.
    pub fn status(&self) -> Vec<ViewStatus> {
        self.inner.status()
    }

    /// Writes all pending changes and returns when they are with the operating system. `false` when the store failed.
    pub async fn flush(&self) -> bool {
        let mut flushed = true;
        for source in self.inner.live() {
            flushed &= source.flush().await;
        }
        flushed
    }

    /// Waits until every feed ended, which they do after the stop or when nobody holds their view, and wrote what was left.
    pub async fn ended(&self) {
        let feeds: Vec<_> = self.inner.sources().drain().map(|(_, held)| held.feed).collect();
        for feed in feeds {
            if let Err(error) = feed.await {
                tracing::error!(%error, "a feed broke off");
            }
        }
    }
}

/// What a source needs besides its handle to begin.
struct Begin {
    unheld: watch::Receiver<bool>,
    write_behind: Option<Arc<WriteBehind>>,
    wanted: Option<mpsc::Receiver<Arc<str>>>,
}

// === impl Inner ===

impl Inner {
    fn sources(&self) -> MutexGuard<'_, HashMap<SourceKey, Held>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, key: &SourceKey) -> Option<Arc<SourceHandle>> {
        self.sources().get(key)?.handle.upgrade()
    }

    /// Into how many shards a view is cut. The one file of a local link has all of it.
    fn shards(&self, def: &ViewDef) -> Option<u32> {
        def.shards.filter(|_| matches!(self.link, Link::Nats(_)))
    }

    /// How much each shard of a view may hold here. The file of a local link holds everybody anyway: there nothing is
    /// on-demand.
    fn room(&self, def: &ViewDef) -> Room {
        let evicts = def.sync == Sync::OnDemand && matches!(self.link, Link::Nats(_));
        let unsaid = if evicts { self.config.on_demand_bytes } else { self.config.max_view_bytes };
        let bytes = def.max_bytes.map_or(unsaid, ByteSize::bytes).min(self.config.max_view_bytes);
        let shards = self.shards(def).unwrap_or(1);
        Room {
            entities: self.config.max_entities.div_ceil(shards),
            bytes: (bytes / u64::from(shards)).max(LEAST_BYTES),
            evicts,
        }
    }

    fn live(&self) -> Vec<Arc<Source>> {
        self.sources().values().filter_map(|held| held.source.upgrade()).collect()
    }

    fn status(&self) -> Vec<ViewStatus> {
        let now_us = self.clock.now_us();
        let held: Vec<_> = self.sources().values().filter_map(|held| held.handle.upgrade()).collect();
        let mut status: Vec<_> = held.iter().map(|source| source.status(now_us)).collect();
        status.sort_by(|a, b| a.view.cmp(&b.view));
        status
    }

    async fn bind(&self, key: SourceKey, layout: Arc<RowLayout>, room: Room, sights: SightLimits) -> Arc<Shard> {
        let _turn = self.turn.lock().await;
        let (handle, begin) = match self.held(&key) {
            Some(handle) => (handle, None),
            None => {
                let (handle, begin) = self.source(&key, SchemaHash::of(&layout), room, sights).await;
                (handle, Some(begin))
            }
        };
        if let Some(shard) = handle.shard_at(&layout, room) {
            return shard;
        }
        let shard = Arc::new(Shard::new(&key.name, layout, room, Arc::clone(&handle)));
        handle.attach(&shard, &self.symbols);
        if !handle.fill(&shard, &self.symbols).await {
            handle.resync(ResyncCause::Schema);
        }
        if let Some(begin) = begin {
            self.start(key, &handle, begin);
        }
        shard
    }

    /// A source for a view nobody holds, after the feed that was there before has ended.
    async fn source(
        &self,
        key: &SourceKey,
        schema: SchemaHash,
        room: Room,
        sights: SightLimits,
    ) -> (Arc<SourceHandle>, Begin) {
        let before = self.sources().remove(key);
        let name = key.name.as_str();
        if let Some(Held { feed, .. }) = before
            && let Err(error) = feed.await
        {
            tracing::error!(view = name, %error, "a feed broke off");
        }
        let copy = match self.disk.clone() {
            None => None,
            Some(disk) => self.copy_of(key, disk).await,
        };
        let write_behind = copy.as_ref().map(|(write_behind, _)| Arc::clone(write_behind));
        let seen = || Sights::new(sights, self.metrics.sights(name), self.link.state());
        let (sights, wanted) = key.on_demand.then(seen).unzip();
        let limits = RowLimits {
            max_entities: room.entities,
            max_row_bytes: self.config.max_row_bytes as u64,
            max_bytes: room.bytes,
            schema,
        };
        let source = Source::new(name, self.metrics.view(name), self.clock.clone(), limits, copy, sights);
        let (handle, unheld) = SourceHandle::new(Arc::new(source));
        (Arc::new(handle), Begin { unheld, write_behind, wanted })
    }

    /// The copy of a view on disk, and up to where it is complete. None, with an alarm, when the store fails: then the view
    /// comes from the core and stays in memory, and the next start begins with an empty store.
    async fn copy_of(&self, key: &SourceKey, disk: Disk) -> Option<(Arc<WriteBehind>, Option<Checkpoint>)> {
        let limits = WriteBehindLimits {
            every: self.config.write_behind,
            rows: self.config.max_pending,
            bytes: self.config.max_pending_bytes,
            scratch_bytes: self.config.max_scratch_bytes,
        };
        let (opened, of) = (disk.clone(), key.clone());
        let open = move || opened.view(&of.name, of.on_demand).and_then(|view| Ok((view.checkpoint()?, view)));
        let why = match tokio::task::spawn_blocking(open).await {
            Ok(Ok((checkpoint, view))) => return Some((Arc::new(WriteBehind::new(disk, view, limits)), checkpoint)),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let name = key.name.as_str();
        tracing::error!(
            view = name,
            why,
            "the feature store failed: rows come from the core and stay in memory; the next start moves the store aside"
        );
        self.metrics.store_failed(StoreFailure::Read);
        let mark = move || disk.leave_mark(&why);
        if let Err(error) =
            tokio::task::spawn_blocking(mark).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        {
            tracing::error!(view = name, %error, "the feature store cannot be marked as broken");
        }
        None
    }

    fn start(&self, key: SourceKey, handle: &Arc<SourceHandle>, begin: Begin) {
        let Begin { unheld, write_behind, wanted } = begin;
        let source: &Arc<Source> = handle;
        let stops = Stops { node: self.stop.clone(), unheld };
        let limits = FeedLimits { prove_every: self.config.prove_every, poll_every: self.config.poll_every };
        let ways = Ways { write_behind, wanted };
        let feed = tokio::spawn(feed::run(Arc::clone(source), self.link.clone(), limits, stops, ways));
        let held = Held { handle: Arc::downgrade(handle), source: Arc::downgrade(source), feed };
        self.sources().insert(key, held);
    }
}
