//! A release ready to decide with: its plan, its modules compiled, its views bound, its symbols numbered. Owns staging: all
//! that can fail about a release fails here, before the swap.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use selvedge_build::module::{self, TableText};
use selvedge_build::release::{self, ReleaseFiles};
use selvedge_decision::layout::OTHER_SYMBOL;
use selvedge_decision::plan::Symbols as ReleaseSymbols;
use selvedge_decision::policy::Contests;
use selvedge_decision::{Digest, Plan};
use selvedge_host::{Host, Module};

use super::breaker::{Breaker, BreakerConfig};
use super::flags::Flags;
use super::lifted::{Lifted, Shelf};
use super::page::{Forms, Pages};
use super::places::Places;
use super::rows::RowCounts;
use crate::bandits::{Bandits, Learner};
use crate::features::{Features, Symbols, View};
use crate::releases::{Counters, Releases, Stage, StageError};
use crate::sessions::{self, SessionView, Sessions};

/// A release that can decide.
pub struct Active {
    /// The digest of the release.
    pub digest: Digest,
    /// The digest as answers tell it.
    pub digest_text: String,
    /// The release, compiled.
    pub plan: Plan,
    modules: Vec<ModuleSlot>,
    views: Vec<Bound>,
    learners: Vec<Arc<Learner>>,
    bandits: Bandits,
    symbols: Arc<Symbols>,
    /// A node's symbol to the release's number.
    numbers: Vec<f64>,
    flags: OnceLock<Flags>,
    /// What pages get of it.
    pub(super) pages: Pages,
    /// Its modules that browsers may have, by name.
    pub lifted: BTreeMap<String, Arc<Lifted>>,
    /// What it did, for its guard.
    pub counters: Counters,
}

/// Where a view's rows are.
#[derive(Clone)]
pub(super) enum Bound {
    /// In a table.
    Table(Arc<View>),
    /// In what events came to.
    Sessions(Arc<SessionView>),
}

/// A module and what is known of how it behaves.
pub(super) struct ModuleSlot {
    /// The module.
    pub module: Module,
    /// Which rows of its rules fired.
    pub rows: RowCounts,
    /// What it was built from, and its tables as people wrote them.
    pub told: Told,
    breaker: Breaker,
    config: BreakerConfig,
    born: Instant,
    /// For calls of it.
    pub(super) places: Places,
}

/// What people may know of a module.
#[derive(Debug, Clone)]
pub struct Told {
    /// The kind of source, such as `csv` or `xgboost`.
    pub kind: Option<String>,
    /// Its decision tables.
    pub tables: Vec<TableText>,
}

/// What becomes of modules that fail, or take too much of the node.
#[derive(Debug, Clone, Copy)]
pub struct ModuleConfig {
    /// Faults in a row after which a module is not asked for a while; 0 never.
    pub breaker_after: u32,
    /// How long that while is.
    pub breaker_cool_down: Duration,
    /// Calls of one module at once; 0 is no bound.
    pub max_at_once: u32,
}

/// Makes releases ready.
#[derive(Clone)]
pub struct Stager {
    /// Runs modules.
    pub host: Arc<Host>,
    /// Holds views.
    pub features: Features,
    /// Holds views of sessions.
    pub sessions: Sessions,
    /// Holds what policies learned.
    pub bandits: Bandits,
    /// Numbers symbols.
    pub symbols: Arc<Symbols>,
    /// For its modules.
    pub config: ModuleConfig,
    /// Where browsers find theirs.
    pub shelf: Shelf,
    /// Where records of pages find what they were decided by.
    pub forms: Forms,
    /// Whether pages may decide by themselves.
    pub pages_decide: bool,
    /// What runs now, once that is known.
    pub running: Arc<OnceLock<Releases<Active>>>,
}

/// What needs no feature: the plan, its modules, those of them that browsers may have, and what pages get.
type Compiled = (Plan, Vec<ModuleSlot>, BTreeMap<String, Arc<Lifted>>, Pages);

/// How long a swap waits for the views of the new release; then it is tried again.
const SYNC_WITHIN: Duration = Duration::from_secs(60);

// === impl Stager ===

impl Stage for Stager {
    type Active = Active;

    async fn stage(&self, files: ReleaseFiles) -> Result<Arc<Active>, StageError> {
        let digest = files.digest;
        let stager = self.clone();
        // Compiling takes tens of milliseconds a module: not on a thread that decides.
        let (plan, modules, lifted, pages) = tokio::task::spawn_blocking(move || stager.compile(&files))
            .await
            .map_err(|error| StageError::NotYet(format!("staging was cut short: {error}")))??;
        // Before any row is read, so that a flood of other texts cannot leave no room for the release's own.
        let numbers = numbers(&plan.symbols, &self.symbols)?;
        let mut tables = Vec::with_capacity(plan.views.len());
        for view in &plan.views {
            tables.push(match view.aggregates {
                Some(_) => None,
                None => {
                    let bound = self.features.bind(&view.name, &view.def).await;
                    Some(Arc::new(bound.map_err(|error| StageError::NotYet(error.to_string()))?))
                }
            });
        }
        // What runs is better than what would decide on empty tables; only a first release does not wait.
        let is_swap = self.running.get().is_some_and(|releases| releases.active().is_some());
        if is_swap {
            for view in tables.iter().flatten() {
                if !view.synced(SYNC_WITHIN).await {
                    return Err(not_complete(&view.name));
                }
            }
        }
        let sessions = self.sessions.clone();
        let (plan, views) = tokio::task::spawn_blocking(move || {
            let views = bind_all(&plan, tables, &sessions);
            sessions.settled();
            (plan, views)
        })
        .await
        .map_err(|error| StageError::NotYet(format!("staging was cut short: {error}")))?;
        if is_swap {
            for view in &views {
                if let Bound::Sessions(view) = view
                    && !view.synced(SYNC_WITHIN).await
                {
                    return Err(not_complete(view.name()));
                }
            }
        }
        self.forms.add(pages.form());
        Ok(Arc::new(Active {
            digest,
            digest_text: digest.to_string(),
            learners: self.bandits.bind(&plan),
            bandits: self.bandits.clone(),
            plan,
            modules,
            views,
            symbols: Arc::clone(&self.symbols),
            numbers,
            flags: OnceLock::new(),
            pages,
            lifted,
            counters: Counters::default(),
        }))
    }
}

impl Stager {
    /// Everything about a release that needs no feature: definitions, modules, golden vectors, a first call of each.
    fn compile(&self, files: &ReleaseFiles) -> Result<Compiled, StageError> {
        let contents = release::definition(files).map_err(|bad| StageError::Contents(bad.to_string()))?;
        let plan = contents.compile().map_err(|bad| StageError::Contents(bad.to_string()))?;
        let mut modules = Vec::with_capacity(plan.modules.len());
        let mut lifted = BTreeMap::new();
        for (at, name) in plan.modules.iter().enumerate() {
            let Some(module) = contents.modules.get(name) else {
                return Err(StageError::Contents(format!("modules/{name}.wasm is not there")));
            };
            let bad = |error: &dyn std::fmt::Display| StageError::Module(format!("modules/{name}.wasm: {error}"));
            let loaded = self.host.load(module.bytes, &module.file.manifest).map_err(|error| bad(&error))?;
            loaded
                .check_vectors(&module.file.vectors)
                .map_err(|error| StageError::Vectors(format!("modules/{name}.wasm: {error}")))?;
            if module.file.manifest.browser {
                loaded
                    .check_keeps_no_state(&module.file.vectors)
                    .map_err(|error| bad(&format!("says browser = true, but keeps state between calls: {error}")))?;
                if is_for_browsers(&plan, at) {
                    let core = module::lift(module.bytes).map_err(|error| bad(&error))?;
                    lifted.insert(name.clone(), self.shelf.put(core));
                }
            }
            let tables = module::tables(module.bytes);
            let kind = module.file.manifest.source.as_ref().map(|source| source.kind.clone());
            modules.push(ModuleSlot::new(loaded, Told { kind, tables }, self.config));
        }
        let pages = Pages::new(&plan, files.digest, &lifted, self.pages_decide);
        Ok((plan, modules, lifted, pages))
    }
}

/// Whether pages may ask for a placement that calls module `at`: no other module is theirs to have.
fn is_for_browsers(plan: &Plan, at: usize) -> bool {
    let mut placements = plan.placements.values().filter(|placement| placement.browser);
    placements.any(|placement| placement.calls.iter().any(|call| call.module == at))
}

fn not_complete(view: &str) -> StageError {
    StageError::NotYet(format!("view {view:?} is not complete yet: waited {SYNC_WITHIN:?}"))
}

/// Every view where its rows are; those of sessions read the tables they join.
fn bind_all(plan: &Plan, tables: Vec<Option<Arc<View>>>, sessions: &Sessions) -> Vec<Bound> {
    let bound = plan.views.iter().zip(&tables).filter_map(|(view, table)| match (&view.aggregates, table) {
        (Some(aggregates), _) => {
            // A plan joins tables only, so every one of them is there.
            let joins = sessions::joins(plan, view, |at| tables.get(at).cloned().flatten())?;
            Some(Bound::Sessions(sessions.bind(&view.name, &view.def.by, aggregates, joins)))
        }
        (None, table) => table.clone().map(Bound::Table),
    });
    bound.collect()
}

/// The release's number of each symbol the node knows. The release's own are interned first, so that a symbol the node
/// learns later is, by its number alone, none of the release's.
fn numbers(release: &ReleaseSymbols, node: &Symbols) -> Result<Vec<f64>, StageError> {
    let mut numbers = Vec::new();
    for (number, text) in release.texts().iter().enumerate() {
        let symbol = node.intern(text);
        if u64::from(symbol) == OTHER_SYMBOL {
            let why = format!("no room for the release's text {text:?}: raise features.max_symbols and restart");
            return Err(StageError::NotYet(why));
        }
        if numbers.len() <= symbol as usize {
            numbers.resize(symbol as usize + 1, -1.0);
        }
        numbers[symbol as usize] = number as f64;
    }
    Ok(numbers)
}

// === impl Active ===

impl Active {
    pub(super) fn module(&self, at: usize) -> Option<&ModuleSlot> {
        self.modules.get(at)
    }

    /// What bandit `at` of the plan has learned of each candidate, and the contest that was computed for it.
    pub(super) fn learned(&self, at: usize, ids: &[Arc<str>], x: &[i8], contests: &mut Contests) -> Vec<[f64; 2]> {
        self.learners.get(at).map_or_else(|| vec![[0.0; 2]; ids.len()], |learner| learner.tell(ids, x, contests))
    }

    /// Whether a placement may choose another than the best.
    pub(super) fn explores(&self, placement: &str) -> bool {
        self.bandits.explores(placement)
    }

    /// The modules that are not asked, because they failed too often lately.
    pub fn open(&self) -> impl Iterator<Item = &str> {
        let slots = self.plan.modules.iter().zip(&self.modules);
        slots.filter(|(_, slot)| slot.breaker.is_open()).map(|(name, _)| name.as_str())
    }

    pub(super) fn view(&self, at: usize) -> Option<&Bound> {
        self.views.get(at)
    }

    /// Whether it reads the bucket that is called so behind its prefix: a view's, or that of one of its shards.
    pub fn reads(&self, bucket: &str) -> bool {
        let tables = self.views.iter().filter_map(|view| match view {
            Bound::Table(view) => Some(view),
            Bound::Sessions(_) => None,
        });
        tables.flat_map(|view| view.shards()).any(|shard| shard.name == bucket)
    }

    /// A module to call outside a decision: a replay's, or a bench's.
    pub fn module_at(&self, at: usize) -> Option<&Module> {
        self.modules.get(at).map(|slot| &slot.module)
    }

    /// What people may know of module `at` of the plan, and which of its rows fired.
    pub fn rules_at(&self, at: usize) -> Option<(&Told, &RowCounts)> {
        self.modules.get(at).map(|slot| (&slot.told, &slot.rows))
    }

    pub(super) fn number(&self, cell: u64) -> f64 {
        self.numbers.get(cell as usize).copied().unwrap_or(-1.0)
    }

    pub(super) fn text(&self, cell: u64) -> Option<Arc<str>> {
        self.symbols.text(u32::try_from(cell).ok()?)
    }

    /// Its placements as flags, looked at when somebody asks for all of them first.
    pub(super) fn flags(&self) -> &Flags {
        self.flags.get_or_init(|| Flags::new(self))
    }
}

impl Drop for Active {
    /// The last holder may be a request, and giving back the memory of a million rows takes half a second.
    fn drop(&mut self) {
        let views = std::mem::take(&mut self.views);
        if views.iter().any(Bound::is_last) {
            let freeing = std::thread::Builder::new().name("selvedge-free".into()).spawn(move || drop(views));
            if let Err(error) = freeing {
                tracing::warn!(%error, "no thread to free views on: a request may have waited for it");
            }
        }
    }
}

// === impl Bound ===

impl Bound {
    /// Whether nobody else holds it.
    fn is_last(&self) -> bool {
        match self {
            Self::Table(view) => Arc::strong_count(view) == 1 && view.is_last(),
            Self::Sessions(view) => Arc::strong_count(view) == 1,
        }
    }
}

// === impl ModuleSlot ===

impl ModuleSlot {
    fn new(module: Module, told: Told, config: ModuleConfig) -> Self {
        let places = Places::new(config.max_at_once);
        let config = BreakerConfig { after: config.breaker_after, cool_down: config.breaker_cool_down };
        let rows = RowCounts::new(told.tables.iter().map(|table| table.rows.len()).max());
        Self { module, rows, told, breaker: Breaker::default(), config, born: Instant::now(), places }
    }

    /// Whether its breaker lets a call through.
    pub(super) fn lets(&self, now: Instant) -> bool {
        self.breaker.lets(self.config, self.age_us(now))
    }

    pub(super) fn note(&self, now: Instant, worked: bool) {
        self.breaker.note(self.config, self.age_us(now), worked);
    }

    fn age_us(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.born).as_micros() as i64
    }
}
