//! Deciding in a page: what of a release a browser may hold, and the two binary answers by which it decides as a node does. Owns
//! which placements a page can decide at all, and what is left out of what it gets; how a page asks is the node's API.
//!
//! A page gets no more than its placements read: of the release's texts those that their modules know, of a view's rows the cells
//! that they use, of a module the module alone. What it does not get it cannot need: a placement that reads anything else is
//! decided by a node.

mod ask;
mod rows;
mod sent;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use self::ask::Ask;
pub use self::rows::{BadPage, Held, PageRows, PageTable, Tables};
pub use self::sent::BadRecord;

use crate::definition::Sync;
use crate::form::{self, form};
use crate::limits::LimitKind;
use crate::manifest::{Kind, Scope};
use crate::plan::{Call, Candidates, CellOp, Column, Entity, Key, Pick, Placement, Plan, Symbols, ViewPlan};
use crate::record::CORE_VERSION;
use crate::sorted::Sorted;
use crate::{Digest, Fault};

/// The version of [`PageRelease`] and [`PageRows`]; a page refuses another one.
pub const PAGE_VERSION: u32 = 2;

/// What a page holds of a release, whoever looks at it.
#[derive(Debug, Clone)]
pub struct PageRelease {
    /// [`PAGE_VERSION`].
    pub version: u32,
    /// [`CORE_VERSION`] of the node: another core may decide otherwise.
    pub core: u32,
    /// The release.
    pub release: Digest,
    /// The texts that its modules know, sorted, each with its number in the rows of the whole release.
    pub texts: Vec<(Arc<str>, u32)>,
    /// The views that its placements read, by their index in the plan.
    pub views: Sorted<u32, PageView>,
    /// The modules that its placements call, by their index in the plan: how many outputs a row of the answer has.
    pub modules: Sorted<u32, u32>,
    /// The placements that it decides, by key. An experiment's overrides, which name people, are here for [`PageRelease::check`] alone:
    /// the binary form has none.
    pub placements: Sorted<String, Placement>,
}

/// How a page holds a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageView {
    /// Whose rows.
    pub whose: Whose,
    /// Cells of a whole row.
    pub cells: u32,
    /// The cells that a page gets, in order.
    pub used: Vec<u32>,
    /// Those of them that hold a symbol.
    pub symbols: Vec<u32>,
}

/// Whose rows of a view a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's: they are the same for every page.
    All,
    /// That of the person who looks at it.
    Subject,
    /// That of the session.
    Session,
}

/// Why a placement is decided by a node alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInAPage {
    /// A module that is not for browsers.
    #[error("its module {0:?} does not say browser = true")]
    Module(String),
    /// A view that is not for browsers.
    #[error("its view {0:?} does not say browser = true")]
    View(String),
    /// A person's own value.
    #[error("it reads {0:?}, and pii = true says that no browser gets it")]
    Pii(String),
    /// A model of what it learns.
    #[error("it learns by features (model = \"logistic\"), and what was learned of all people is no page's to hold")]
    Model,
    /// A view that a node does not hold in full, by who is no subject and no session.
    #[error(
        "its view {0:?} is neither by subject or session, nor held in full (sync = \"all\") by what a page can name"
    )]
    Rows(String),
}

// === forms ===

form!(struct PageRelease { version, core, release, texts, views, modules, placements });
form!(struct PageView { whose, cells, used, symbols });
form!(enum Whose { All, 1 Subject, 2 Session });

// === impl Plan ===

impl Plan {
    /// What a page may hold of it, and why some placements for browsers are not in it. `is_allowed` says which of them the page may
    /// ask for at all, `is_for_browsers` which modules it may have, by their index.
    pub fn page(
        &self,
        release: Digest,
        is_allowed: impl Fn(&str) -> bool,
        is_for_browsers: impl Fn(usize) -> bool,
    ) -> (PageRelease, BTreeMap<String, NotInAPage>) {
        let (mut placements, mut not) = (BTreeMap::new(), BTreeMap::new());
        for (key, placement) in self.placements.iter().filter(|(key, placement)| placement.browser && is_allowed(key)) {
            match self.check_page(placement, &is_for_browsers) {
                Ok(()) => drop(placements.insert(key.clone(), placement)),
                Err(why) => drop(not.insert(key.clone(), why)),
            }
        }
        let (mut views, mut modules, mut numbers) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for placement in placements.values() {
            self.add_views(placement, &mut views);
            for call in &placement.calls {
                modules.insert(call.module as u32, call.width() as u32);
            }
            numbers.extend(texts_of(placement, &self.symbols));
        }
        let text = |number: u32| Some((Arc::from(self.symbols.texts().get(number as usize)?.as_str()), number));
        let page = PageRelease {
            version: PAGE_VERSION,
            core: CORE_VERSION,
            release,
            // Numbers are in the order of their texts.
            texts: numbers.into_iter().filter_map(text).collect(),
            views: views.into_iter().collect(),
            modules: modules.into_iter().collect(),
            placements: placements.into_iter().map(|(key, placement)| (key, in_a_page(placement))).collect(),
        };
        (page, not)
    }

    /// Why a page cannot decide a placement, if it cannot.
    fn check_page(&self, placement: &Placement, is_for_browsers: &impl Fn(usize) -> bool) -> Result<(), NotInAPage> {
        if let Some(call) = placement.calls.iter().find(|call| !is_for_browsers(call.module)) {
            return Err(NotInAPage::Module(call.name.clone()));
        }
        if placement.ways.iter().any(|way| way.policy.model.is_some()) {
            return Err(NotInAPage::Model);
        }
        for view in self.views_of(placement) {
            if !view.def.browser {
                return Err(NotInAPage::View(view.name.clone()));
            }
        }
        let mut columns = placement.shared.iter().chain(&placement.candidate);
        if let Some(column) = columns.find(|column| column.pii) {
            return Err(NotInAPage::Pii(column.name.clone()));
        }
        for used in &placement.views {
            let Some(view) = self.views.get(used.view) else { continue };
            if whose(view, used.entity).is_none() {
                return Err(NotInAPage::Rows(view.name.clone()));
            }
        }
        Ok(())
    }

    /// The views that a placement reads, also those of which only the entities count.
    fn views_of(&self, placement: &Placement) -> impl Iterator<Item = &ViewPlan> {
        let of_candidates = match placement.candidates {
            Candidates::View(view) => Some(view),
            Candidates::Actions | Candidates::Request => None,
        };
        let read = placement.views.iter().map(|used| used.view);
        read.chain(of_candidates).filter_map(|view| self.views.get(view))
    }

    fn add_views(&self, placement: &Placement, views: &mut BTreeMap<u32, PageView>) {
        let empty = |at: usize, whose: Whose| {
            let cells = self.views[at].layout.cells() as u32;
            PageView { whose, cells, used: Vec::new(), symbols: Vec::new() }
        };
        if let Candidates::View(at) = placement.candidates {
            views.entry(at as u32).or_insert_with(|| empty(at, Whose::All));
        }
        for used in &placement.views {
            let Some(whose) = whose(&self.views[used.view], used.entity) else { continue };
            let view = views.entry(used.view as u32).or_insert_with(|| empty(used.view, whose));
            for op in &used.ops {
                let (cell, n, is_symbol) = op.cells();
                let cells = cell as u32..(cell + n) as u32;
                view.used.extend(cells.clone());
                view.symbols.extend(cells.filter(|_| is_symbol));
            }
            for cells in [&mut view.used, &mut view.symbols] {
                cells.sort_unstable();
                cells.dedup();
            }
        }
    }
}

/// Whose rows of a view a page needs, where it can have them.
fn whose(view: &ViewPlan, entity: Entity) -> Option<Whose> {
    let is_open = |key: Key| matches!(key, Key::Item | Key::Context(_));
    match entity {
        Entity::One(Key::Subject) => Some(Whose::Subject),
        Entity::One(Key::Session) => Some(Whose::Session),
        Entity::One(key) if !is_open(key) => None,
        Entity::Pair(a, b) if !is_open(a) || !is_open(b) => None,
        _ => (view.aggregates.is_none() && view.def.sync == Sync::All).then_some(Whose::All),
    }
}

/// A placement as a page gets it.
fn in_a_page(placement: &Placement) -> Placement {
    let mut placement = placement.clone();
    // Only an explanation names columns, and a page gives none; what the context is called the page knows beside the plan.
    (placement.shared, placement.candidate, placement.context) = (Vec::new(), Vec::new(), Vec::new());
    placement.deadline_us = 0;
    // What values mean the page knows beside the plan, in JSON.
    placement.values.iter_mut().for_each(|value| value.symbols.clear());
    placement.calls.iter_mut().flat_map(|call| &mut call.outputs).for_each(|output| output.symbols.clear());
    placement
}

/// The numbers of the texts that make a difference to a placement.
fn texts_of(placement: &Placement, symbols: &Symbols) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    for call in &placement.calls {
        picked(call, Scope::Shared, &placement.shared, symbols, &mut numbers);
        picked(call, Scope::Candidate, &placement.candidate, symbols, &mut numbers);
    }
    for limit in &placement.limits {
        let of = placement.candidate.iter().find(|column| column.at == limit.column);
        if let (LimitKind::MinShare { is, .. }, Some(Kind::Symbol)) = (limit.kind, of.map(|column| column.kind)) {
            numbers.extend((is >= 0.0).then_some(is as u32));
        }
    }
    numbers
}

fn picked(call: &Call, scope: Scope, columns: &[Column], symbols: &Symbols, numbers: &mut BTreeSet<u32>) {
    let picks = if scope == Scope::Shared { &call.shared } else { &call.candidate };
    for pick in picks {
        match pick {
            Pick::Symbol { map, .. } | Pick::SymbolDefault { map, .. } | Pick::SymbolMust { map, .. } => {
                numbers.extend(map.iter().zip(0..).filter(|(number, _)| **number >= 0.0).map(|(_, at)| at));
            }
            // A symbol that is taken as it stands is one of a module that knows every text there is.
            Pick::Run { from, n } => {
                let is_in = |column: &&Column| (*from..from + n).contains(&column.at);
                if columns.iter().filter(is_in).any(|column| column.kind == Kind::Symbol) {
                    numbers.extend(0..symbols.texts().len() as u32);
                }
            }
            Pick::Default { .. } | Pick::Must { .. } => {}
        }
    }
}

// === impl CellOp ===

impl CellOp {
    /// The cells that it reads: the first, how many, and whether they hold a symbol.
    fn cells(&self) -> (usize, usize, bool) {
        match self {
            Self::Copy { cell, n, .. } | Self::Includes { cell, n, .. } => (*cell, *n, false),
            Self::Vector { cell, n, .. } => (*cell, n.div_ceil(2), false),
            Self::Widen { cell, .. } | Self::Seconds { cell, .. } | Self::Age { cell, .. } => (*cell, 1, false),
            Self::Symbol { cell, .. } | Self::Text { cell, .. } | Self::SymbolId { cell, .. } => (*cell, 1, true),
        }
    }
}

// === impl PageRelease ===

impl PageRelease {
    /// Its binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        form::bytes(self)
    }

    /// Reads what [`PageRelease::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// When it is something else, or of another version of the form or of the core.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadPage> {
        let (version, core) = form::begins(bytes).ok_or(BadPage::Form)?;
        if (version, core) != (PAGE_VERSION, CORE_VERSION) {
            return Err(BadPage::Version { version, core });
        }
        form::read(bytes).ok_or(BadPage::Form)
    }

    /// A text's number in the rows of the release, -1 for one that makes no difference here.
    pub fn number(&self, text: &str) -> f64 {
        let found = self.texts.binary_search_by(|(known, _)| (**known).cmp(text));
        found.map_or(-1.0, |at| f64::from(self.texts[at].1))
    }
}

// === what a page's modules answer ===

/// The number by which a page's code tells why a module did not answer; 0 is that it did.
pub fn fault_of(code: u32) -> Result<(), Fault> {
    match code.checked_sub(1) {
        None => Ok(()),
        Some(at) => Err(Fault::ALL.get(at as usize).copied().unwrap_or(Fault::Trap)),
    }
}
