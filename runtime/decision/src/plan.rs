//! A release made ready to decide with: names become indices, inputs become copies of columns. Owns the compiled form and
//! its invariants; `compile` is run by the author's tools before signing and by the node before the swap, and refuses
//! whatever a decision could stumble over later.

mod call;
mod columns;
mod compile;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use call::{Call, Pick};
pub use columns::{CellOp, Column, IdOf, Post, RequestOp, TextTest, Ttl, ViewUse};

use crate::aggregate::Aggregates;
use crate::assign;
use crate::definition::{FeaturesDef, Guard, Overdue, Payload, PlacementDef, ReleaseDef, Unit, ViewDef};
use crate::layout::RowLayout;
use crate::manifest::{Kind, Manifest, Scope};

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

/// A placement, compiled.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Its key.
    pub key: Arc<str>,
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
    /// What of a row comes from the request.
    pub request: Vec<RequestOp>,
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
    /// The rules, as indices into `calls`.
    pub rules: Vec<usize>,
    /// The ladders: the placement's first, then those of arms.
    pub ladders: Vec<Vec<Scorer>>,
    /// The experiment, if it has one.
    pub experiment: Option<Experiment>,
    /// The values that go into the answer, in the order of a record's.
    pub values: Vec<ValueSpec>,
    /// The order when nothing scored.
    pub fallback: FallbackPlan,
}

/// An action.
#[derive(Debug, Clone)]
pub struct Action {
    /// Its id.
    pub id: Arc<str>,
    /// What the caller gets with it.
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

/// An experiment, compiled.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Its key.
    pub key: String,
    /// What falls into an arm.
    pub unit: Unit,
    /// What the unit is hashed with.
    pub salt: String,
    /// The arms in order: name, first slot after its last, index of its ladder.
    pub arms: Vec<Arm>,
}

/// An arm, compiled.
#[derive(Debug, Clone)]
pub struct Arm {
    /// Its name.
    pub name: Arc<str>,
    /// The first of the 10,000 slots that is no longer its own.
    pub end: u16,
    /// Which of the placement's ladders it uses.
    pub ladder: usize,
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

// === impl Plan ===

impl Plan {
    /// Compiles a definition, or tells everything that is wrong with it.
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
        let sorted: std::collections::BTreeSet<&str> = texts.into_iter().collect();
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
    /// Where action or item `id` stands among the actions.
    pub fn action(&self, id: &str) -> Option<&Action> {
        self.actions.iter().find(|action| &*action.id == id)
    }
}

// === impl Experiment ===

impl Experiment {
    /// The slot of a unit.
    pub fn bucket(&self, unit: &str) -> u16 {
        assign::bucket(&self.salt, unit)
    }

    /// The arm that has a slot.
    pub fn arm(&self, bucket: u16) -> Option<&Arm> {
        self.arms.iter().find(|arm| bucket < arm.end)
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
