//! A release made ready to decide with: names become indices, inputs become copies of columns. Owns the compiled form and
//! its invariants; `compile` is run by the author's tools before signing and by the node before the swap, and refuses
//! whatever a decision could stumble over later.

mod call;
mod columns;
#[cfg(feature = "std")]
mod compile;
mod experiment;

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use call::{Call, Pick};
pub use columns::{CellOp, Column, IdOf, Post, RequestOp, TextTest, Ttl, ViewUse};
pub use experiment::{Arm, Experiment, Group, Holdout};

use crate::aggregate::Aggregates;
use crate::assign::Table;
#[cfg(feature = "std")]
use crate::definition::Payload;
use crate::definition::{FeaturesDef, Guard, Overdue, PlacementDef, ReleaseDef, ViewDef};
use crate::form::form;
use crate::layout::RowLayout;
use crate::limits::Limit;
use crate::logistic::Shape;
use crate::manifest::{Kind, Manifest, Scope};
use crate::policy::Policy;
use crate::record::Rung;

/// Everything a release says, read from its files.
#[derive(Debug, Clone)]
pub struct Definition {
    /// `release.toml`.
    pub release: ReleaseDef,
    /// `features.toml`.
    pub features: FeaturesDef,
    /// `placements/*.toml` by key.
    pub placements: BTreeMap<String, PlacementDef>,
    /// The manifests of `modules/*` by file stem.
    pub modules: BTreeMap<String, Manifest>,
    /// Which arms had which slots in the release before, by placement and experiment: arms keep theirs as far as they can.
    pub tables: Tables,
}

/// Tables of experiments, by placement and experiment.
pub type Tables = BTreeMap<String, BTreeMap<String, NamedTable>>;

/// Which arm has each slot of an experiment, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedTable {
    /// What units are hashed with: under another salt they fall elsewhere, and no slot is kept.
    pub salt: String,
    /// Runs of slots in order: the first slot behind the run, and the arm's name.
    pub runs: Vec<(u16, String)>,
}

/// Something in a definition that would fail at run time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{at}: {message}")]
pub struct Problem {
    /// The file and the place in it.
    pub at: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A release, compiled.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The release's name.
    pub name: String,
    /// When a node takes it back by itself.
    pub guard: Guard,
    /// The events it knows, sorted; empty when it does not say.
    pub events: Vec<String>,
    /// Every view, by the index that placements use.
    pub views: Vec<ViewPlan>,
    /// The modules' names, by the index that calls use.
    pub modules: Vec<String>,
    /// The texts that any module of the release knows.
    pub symbols: Symbols,
    /// The placements by key.
    pub placements: BTreeMap<String, Placement>,
    /// What its policies learn, by the index that they use.
    pub bandits: Vec<Bandit>,
}

/// What one policy learns: of each action how often it was chosen and how often that brought the reward, with a model also when.
#[derive(Debug, Clone, PartialEq)]
pub struct Bandit {
    /// Its key: the placement's, or `placement/experiment/arm` for an arm's own policy.
    pub key: String,
    /// The placement.
    pub placement: Arc<str>,
    /// The experiment and arm whose decisions it learns from; without one, those of no arm with a policy of its own.
    pub arm: Option<(Arc<str>, Arc<str>)>,
    /// Whether it learns from decisions of an arm, by experiment and arm: those that keep the placement's policy.
    pub shared_arms: Vec<(Arc<str>, Arc<str>)>,
    /// The name of an event, or the `kind` of a `$reward`.
    pub reward: String,
    /// How long after its decision a reward counts, in microseconds.
    pub window_us: i64,
    /// Rewards and misses that every action begins with.
    pub prior: [f64; 2],
    /// After which time what was learned weighs half, in microseconds; `None` for ever the same.
    pub half_life_us: Option<i64>,
    /// What it learns by besides the action; none for the rate of each action alone.
    pub model: Option<Shape>,
    /// For how many places its actions are compared most often: what is computed before anybody asks.
    pub contenders: usize,
    /// The actions it is about.
    pub actions: Vec<Arc<str>>,
}

/// A view of the release.
#[derive(Debug, Clone)]
pub struct ViewPlan {
    /// Its name.
    pub name: String,
    /// As the release defines it.
    pub def: ViewDef,
    /// How its rows lie in memory.
    pub layout: RowLayout,
    /// What its rows are made of, when they are made of events.
    pub aggregates: Option<Arc<Aggregates>>,
}

/// The texts of a release, sorted; a text's index is its number in every gathered and recorded row.
#[derive(Debug, Clone, Default)]
pub struct Symbols {
    texts: Vec<String>,
}

/// A placement, compiled. Its binary form is what a page decides by; payloads are no part of it, as no decision follows from them.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Its key.
    pub key: Arc<str>,
    /// Whether pages may ask for it.
    pub browser: bool,
    /// The declared context in the order of a request's values.
    pub context: Vec<(String, Kind)>,
    /// The actions in the order written; empty when candidates are items.
    pub actions: Vec<Action>,
    /// Where candidates come from.
    pub candidates: Candidates,
    /// The most candidates of one decision, by what its modules were sized for.
    pub max_candidates: usize,
    /// Choices, unless the request says otherwise.
    pub slots: usize,
    /// How long a decision may take, in microseconds.
    pub deadline_us: i64,
    /// The share of decisions recorded with their inputs.
    pub record_inputs: f64,
    /// The views it reads.
    pub views: Vec<ViewUse>,
    /// What of which row comes from the request.
    pub request: Vec<(Scope, RequestOp)>,
    /// What is computed from other columns.
    pub post: Vec<Post>,
    /// The columns of the shared row.
    pub shared: Vec<Column>,
    /// Its width in f64.
    pub shared_width: usize,
    /// The columns of a candidate's row.
    pub candidate: Vec<Column>,
    /// Its width in f64.
    pub candidate_width: usize,
    /// Columns of a candidate's row that hold 1 when an old value makes it ineligible.
    pub ineligible: Vec<usize>,
    /// Columns that are never recorded, because a person's own values are in them: row, first column, how many.
    pub pii: Vec<(Scope, usize, usize)>,
    /// The modules it calls, each once.
    pub calls: Vec<Call>,
    /// The ways to decide: the placement's own first, then those of arms that differ.
    pub ways: Vec<Way>,
    /// The experiments, in the order in which they may have a unit.
    pub experiments: Vec<Experiment>,
    /// The limits, in the order in which they are told.
    pub limits: Vec<Limit>,
    /// Who scores beside, and in which share of decisions.
    pub shadow: Option<Shadow>,
    /// The values that go into the answer, in the order of a record's.
    pub values: Vec<ValueSpec>,
}

/// A way to decide: a placement's own, or an arm's.
#[derive(Debug, Clone)]
pub struct Way {
    /// The rules, as indices into the placement's calls.
    pub rules: Vec<usize>,
    /// The scorers in order.
    pub ladder: Vec<Scorer>,
    /// How to choose.
    pub policy: Policy,
    /// The order when nothing scored.
    pub fallback: FallbackPlan,
    /// What the caller gets with an action, where it is not the action's own.
    #[cfg(feature = "std")]
    pub payloads: BTreeMap<String, Payload>,
}

/// Scorers that run beside.
#[derive(Debug, Clone)]
pub struct Shadow {
    /// Which.
    pub scorers: Vec<Scorer>,
    /// In which share of decisions.
    pub share: f64,
}

/// An action.
#[derive(Debug, Clone)]
pub struct Action {
    /// Its id.
    pub id: Arc<str>,
    /// What the caller gets with it.
    #[cfg(feature = "std")]
    pub payload: Option<Payload>,
}

/// Where candidates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// The placement's actions, or those of them that the request names.
    Actions,
    /// The items that the request names.
    Request,
    /// All items of a view, by its index in the plan.
    View(usize),
}

/// One rung of a ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scorer {
    /// Which call.
    pub call: usize,
    /// Which of its outputs is the score.
    pub output: usize,
}

/// A value in the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueSpec {
    /// `module.output`.
    pub name: String,
    /// What the number means.
    pub kind: Kind,
    /// For a symbol: its texts.
    pub symbols: Vec<String>,
}

/// The order when nothing scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FallbackPlan {
    /// These ids first.
    List(Vec<Arc<str>>),
    /// By a column of the candidates' rows, highest first.
    Column(usize),
}

/// Whom or what a view's row is about, in a given placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    /// One key.
    One(Key),
    /// A pair, joined by U+0000.
    Pair(Key, Key),
}

/// One part of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The request's subject.
    Subject,
    /// The request's session.
    Session,
    /// The candidate.
    Item,
    /// A value of the request's context.
    Context(usize),
    /// A symbol that a view by item has of the candidate.
    Feature {
        /// The view, among the plan's.
        view: usize,
        /// Where the symbol is in its rows.
        cell: usize,
        /// How many cells its rows have.
        cells: usize,
    },
}

/// When a view is late and what it does then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lateness {
    /// The largest lag that is not late, in microseconds.
    pub max_lag_us: i64,
    /// What a late view does.
    pub late: Overdue,
}

// === forms ===

form!(struct Placement {
    key,
    actions,
    candidates,
    max_candidates,
    slots,
    record_inputs,
    views,
    request,
    post,
    shared_width,
    candidate_width,
    ineligible,
    calls,
    ways,
    experiments,
    limits,
    shadow,
    values,
} leaves {
    // What a page need not know: it decides what it has, at once, and explains nothing.
    browser: true,
    context: Vec::new(),
    deadline_us: 0,
    shared: Vec::new(),
    candidate: Vec::new(),
    pii: Vec::new(),
});
form!(struct Way { rules, ladder, policy, fallback } leaves { #[cfg(feature = "std")] payloads: BTreeMap::new() });
form!(struct Shadow { scorers, share });
form!(struct Action { id } leaves { #[cfg(feature = "std")] payload: None });
form!(enum Candidates { Actions, 1 Request, 2 View(view) });
form!(struct Scorer { call, output });
form!(struct ValueSpec { name, kind, symbols });
form!(enum FallbackPlan { List(ids), 1 Column(column) });
form!(enum Entity { One(key), 1 Pair(a, b) });
form!(enum Key { Subject, 1 Session, 2 Item, 3 Context(index), 4 Feature { view, cell, cells } });
form!(struct Lateness { max_lag_us, late });

// === impl Plan ===

impl Plan {
    /// Compiles a definition, or tells everything that is wrong with it.
    #[cfg(feature = "std")]
    pub fn compile(definition: &Definition) -> Result<Self, Vec<Problem>> {
        compile::compile(definition)
    }

    /// The index of view `name`.
    pub fn view(&self, name: &str) -> Option<usize> {
        self.views.iter().position(|view| view.name == name)
    }

    /// The view, and the place in its layout, of what `VIEW.FEATURE` names.
    pub fn feature(&self, name: &str) -> Option<(usize, usize)> {
        feature(&self.views, name)
    }

    /// Which arm has which slots of every experiment: what the release that comes next keeps of.
    pub fn tables(&self) -> Tables {
        self.tables_where(|_| true)
    }

    /// As [`Plan::tables`], of those experiments alone whose table does not follow from the sizes of its arms.
    pub fn kept_tables(&self) -> Tables {
        self.tables_where(|experiment| !experiment.table.is_plain())
    }

    fn tables_where(&self, is_wanted: impl Fn(&Experiment) -> bool) -> Tables {
        let of = |placement: &Placement| -> BTreeMap<String, NamedTable> {
            let wanted = placement.experiments.iter().filter(|experiment| is_wanted(experiment));
            wanted.map(|experiment| (experiment.key.to_string(), NamedTable::of(experiment))).collect()
        };
        let all = self.placements.iter().map(|(key, placement)| (key.clone(), of(placement)));
        all.filter(|(_, tables)| !tables.is_empty()).collect()
    }

    /// Whether the release lists event `name`, or lists none.
    pub fn knows_event(&self, name: &str) -> bool {
        self.events.is_empty() || self.events.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
    }
}

fn feature(views: &[ViewPlan], name: &str) -> Option<(usize, usize)> {
    let (view, feature) = name.split_once('.')?;
    let view = views.iter().position(|known| known.name == view)?;
    Some((view, views[view].layout.fields().iter().position(|field| field.name == feature)?))
}

// === impl ViewPlan ===

impl ViewPlan {
    /// Its aggregates, when they are of more than one session: what one node sees is not all of it.
    pub fn counted_at_the_core(&self) -> Option<&Arc<Aggregates>> {
        self.aggregates.as_ref().filter(|_| self.def.is_counted_at_the_core())
    }
}

// === impl Symbols ===

impl Symbols {
    /// From any number of texts.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let sorted: alloc::collections::BTreeSet<&str> = texts.into_iter().collect();
        Self { texts: sorted.into_iter().map(str::to_owned).collect() }
    }

    /// A text's number as it stands in a row: its index, or -1.
    pub fn number(&self, text: &str) -> f64 {
        self.texts.binary_search_by(|known| known.as_str().cmp(text)).map_or(-1.0, |index| index as f64)
    }

    /// The text of a number.
    pub fn text(&self, number: f64) -> Option<&str> {
        (number >= 0.0).then(|| self.texts.get(number as usize).map(String::as_str)).flatten()
    }

    /// All texts, by number.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

// === impl Placement ===

impl Placement {
    /// The way of an arm of an experiment, or the placement's own.
    pub fn way(&self, experiment: Option<&str>, arm: Option<&str>) -> Option<&Way> {
        let found = self.experiments.iter().find(|known| Some(&*known.key) == experiment);
        let arm = found.and_then(|known| known.arms.iter().find(|known| Some(&*known.name) == arm));
        self.ways.get(arm.map_or(0, |arm| arm.way))
    }

    /// What the caller gets with action `id` in an arm of an experiment, or in none.
    #[cfg(feature = "std")]
    pub fn payload(&self, experiment: Option<&str>, arm: Option<&str>, id: &str) -> Option<&Payload> {
        let own = self.way(experiment, arm).and_then(|way| way.payloads.get(id));
        own.or_else(|| self.action(id)?.payload.as_ref())
    }

    /// The call of a rung, in an arm of an experiment or in none.
    pub fn call_of(&self, experiment: Option<&str>, arm: Option<&str>, rung: Rung) -> Option<&Call> {
        let way = self.way(experiment, arm)?;
        let call = match rung {
            Rung::Rules(at) => *way.rules.get(usize::from(at))?,
            Rung::Ladder(at) => way.ladder.get(usize::from(at))?.call,
            Rung::Target(at) => self.experiments.get(usize::from(at))?.when?.call,
            Rung::Shadow(at) => self.shadow.as_ref()?.scorers.get(usize::from(at))?.call,
        };
        self.calls.get(call)
    }

    /// The columns of a row that have something to tell: a node's own number of a text has not, where the text stands in another
    /// column of that name.
    pub fn told(&self, scope: Scope) -> impl Iterator<Item = &Column> {
        let columns = match scope {
            Scope::Shared => &self.shared,
            Scope::Candidate => &self.candidate,
        };
        let stands_there = move |name: &str| columns.iter().any(|column| !column.is_identity && column.name == name);
        columns.iter().filter(move |column| !column.is_identity || !stands_there(&column.name))
    }

    /// Where action or item `id` stands among the actions.
    pub fn action(&self, id: &str) -> Option<&Action> {
        self.actions.iter().find(|action| &*action.id == id)
    }
}

// === impl NamedTable ===

impl NamedTable {
    /// Of an experiment.
    pub fn of(experiment: &Experiment) -> Self {
        let name = |arm: usize| experiment.arms.get(arm).map_or_else(String::new, |arm| arm.name.to_string());
        let runs = experiment.table.runs().map(|(end, arm)| (end, name(arm))).collect();
        Self { salt: experiment.salt.clone(), runs }
    }

    /// The table as it becomes with these arms and weights.
    fn with(&self, arms: &[&str], weights: &[u32]) -> Table {
        let place = |name: &str| arms.iter().position(|arm| *arm == name);
        let runs = self.runs.iter().map(|(end, name)| (*end, name));
        let mut start = 0;
        let slots = runs.flat_map(move |(end, name)| {
            let n = usize::from(end.saturating_sub(start));
            start = end;
            core::iter::repeat_n(place(name), n)
        });
        Table::after(slots, weights)
    }
}

// === impl Bandit ===

impl Bandit {
    /// Whether it learns from a decision of this placement, experiment and arm.
    pub fn learns_from(&self, placement: &str, experiment: Option<&str>, arm: Option<&str>) -> bool {
        let is = |(of, name): &(Arc<str>, Arc<str>)| Some(&**of) == experiment && Some(&**name) == arm;
        *self.placement == *placement
            && match &self.arm {
                Some(own) => is(own),
                None => arm.is_none() || self.shared_arms.iter().any(is),
            }
    }
}

// === impl Entity ===

impl Entity {
    /// Whether it differs between candidates.
    pub fn is_candidate(self) -> bool {
        let is_item = |key: Key| matches!(key, Key::Item | Key::Feature { .. });
        match self {
            Self::One(one) => is_item(one),
            Self::Pair(a, b) => is_item(a) || is_item(b),
        }
    }

    /// Whether the request must name a subject.
    pub fn needs_subject(self) -> bool {
        self.has(Key::Subject)
    }

    /// Whether the request must name a session.
    pub fn needs_session(self) -> bool {
        self.has(Key::Session)
    }

    fn has(self, key: Key) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Pair(a, b) => a == key || b == key,
        }
    }
}
