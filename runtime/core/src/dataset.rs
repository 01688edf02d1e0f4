//! Rows to train with: decisions of one placement, the inputs they used and what they brought. Owns which decisions become rows and
//! what earns a row its rewards; `features` names the inputs, `rewards` gathers what was earned, `write` knows the forms of the file.

mod features;
mod rewards;
mod write;

use std::collections::BTreeMap;

use selvedge_decision::plan::Plan;
use selvedge_decision::{DecisionId, Digest, TimeUs};
use selvedge_node::outbox::Lane;
use serde::Serialize;

use crate::lake::{Day, Erased, ErasedError, Items, ItemsError, Store, StoreError, days};
use crate::table::{Cell, Kind, Shape, Spec};
use features::Features;
use rewards::Rewards;
use write::File;
pub use write::{Form, Writer};

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Decisions of this placement.
    pub placement: String,
    /// The first day of decisions.
    pub from: Day,
    /// Their last day.
    pub to: Day,
    /// How long after a decision something received counts as its reward, in microseconds.
    pub window_us: i64,
    /// What is a row.
    pub rows: RowsOf,
    /// Whether decisions that were recorded without inputs become rows, too.
    pub all: bool,
    /// Whether decisions that pages made become rows, too: what a page says of them, nobody can check.
    pub pages: bool,
}

/// What is a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsOf {
    /// Each choice.
    Choices,
    /// Each candidate, chosen or not.
    Candidates,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Rows written.
    pub rows: u64,
    /// Decisions that they are of.
    pub decisions: u64,
    /// Decisions left out: recorded without inputs.
    pub without_inputs: u64,
    /// Decisions left out: made by a page.
    pub of_pages: u64,
    /// Decisions left out: of a person who was erased.
    pub erased: u64,
    /// Decisions left out: of a release that was not given, or whose inputs do not fit it.
    pub other_release: u64,
    /// Rewards that rows earned, counted in each of them: one that names no item belongs to every choice.
    pub rewards: u64,
    /// Second copies of rewards, by their message ids.
    pub copies: u64,
}

/// There is no dataset.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The lake cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whose rows are erased is not known.
    #[error(transparent)]
    Erased(#[from] ErasedError),
    /// A part of the lake cannot be read.
    #[error(transparent)]
    Items(#[from] ItemsError),
    /// The file cannot be written.
    #[error("cannot write the rows: {0}")]
    Write(String),
    /// Too many for memory.
    #[error("{0}; ask for fewer days at once")]
    TooMany(String),
    /// No release that was given has it.
    #[error("none of the releases has a placement {0:?}")]
    NoPlacement(String),
}

/// What every row begins with.
const FIXED: [(&str, Kind, Shape); 13] = [
    ("decision_id", Kind::Text, Shape::One),
    ("time", Kind::Time, Shape::One),
    ("release", Kind::Text, Shape::One),
    ("placement", Kind::Text, Shape::One),
    ("arm", Kind::Text, Shape::Maybe),
    ("reason", Kind::Text, Shape::One),
    ("subject", Kind::Text, Shape::Maybe),
    ("session", Kind::Text, Shape::Maybe),
    ("candidate", Kind::Text, Shape::Maybe),
    ("position", Kind::Whole, Shape::Maybe),
    ("propensity", Kind::Number, Shape::Maybe),
    ("score", Kind::Number, Shape::Maybe),
    ("inputs_rate", Kind::Number, Shape::Maybe),
];

/// Of a decision's columns, those that are read. [`Decision::of`] takes them in this order.
const READ: [&str; 16] = [
    "decision_id",
    "time",
    "release",
    "placement",
    "arm",
    "reason",
    "subject",
    "session",
    "candidates",
    "choices",
    "positions",
    "propensities",
    "scores",
    "inputs_rate",
    "inputs_shared",
    "inputs_candidates",
];

/// Writes the rows of a query.
pub async fn dataset(
    store: &Store,
    query: &Query,
    releases: &BTreeMap<Digest, Plan>,
    writer: Writer,
) -> Result<Report, DatasetError> {
    if !releases.values().any(|plan| plan.placements.contains_key(query.placement.as_str())) {
        return Err(DatasetError::NoPlacement(query.placement.clone()));
    }
    let features = Features::new(releases, &query.placement);
    let erased = Erased::read(store).await?;
    let rewards = Rewards::read(store, query, &erased).await?;
    let fixed = FIXED.map(|(name, kind, shape)| Spec::new(name, kind, shape));
    let specs: Vec<Spec> = fixed.into_iter().chain(features.columns()).chain(rewards.columns()).collect();
    let file = writer.begin(specs)?;
    let mut making = Making { query, features, rewards, erased, file, report: Report::default() };
    for day in days(store, Lane::Decisions, query.from, query.to).await? {
        let mut items = Items::of(store, Lane::Decisions, day, &READ).await?;
        while let Some(row) = items.next().await? {
            making.decision(&row)?;
        }
    }
    let Making { file, report, rewards, .. } = making;
    file.finish()?;
    Ok(Report { copies: rewards.copies(), ..report })
}

/// A dataset that is being made.
struct Making<'a> {
    query: &'a Query,
    features: Features,
    rewards: Rewards,
    erased: Erased,
    file: File,
    report: Report,
}

// === impl Making ===

impl Making<'_> {
    fn decision(&mut self, row: &[Cell]) -> Result<(), DatasetError> {
        let [
            id,
            time,
            release,
            placement,
            arm,
            reason,
            subject,
            session,
            ids,
            chosen,
            slots,
            propensities,
            scores,
            rate,
            shared,
            rows,
        ] = row
        else {
            return Ok(());
        };
        let text = |cell: &Cell| cell.as_text().map(str::to_owned);
        if text(placement).as_deref() != Some(&self.query.placement) {
            return Ok(());
        }
        let time_us: TimeUs = time.as_whole().unwrap_or_default();
        if self.erased.covers(subject.as_text(), session.as_text(), time_us) {
            self.report.erased += 1;
            return Ok(());
        }
        let id_of: Option<DecisionId> = text(id).and_then(|text| text.parse().ok());
        if !self.query.pages && id_of.is_some_and(DecisionId::is_of_a_page) {
            self.report.of_pages += 1;
            return Ok(());
        }
        if *shared == Cell::Null && !self.query.all {
            self.report.without_inputs += 1;
            return Ok(());
        }
        let release_of = text(release).and_then(|text| text.parse::<Digest>().ok());
        let Some(inputs) = self.features.of(release_of, shared, rows, ids.elements().len()) else {
            self.report.other_release += 1;
            return Ok(());
        };
        self.report.decisions += 1;
        let place = |id: &Cell| chosen.elements().iter().position(|chosen| chosen == id);
        let of_rows: Vec<(&Cell, Option<usize>)> = match self.query.rows {
            RowsOf::Choices => chosen.elements().iter().enumerate().map(|(at, id)| (id, Some(at))).collect(),
            RowsOf::Candidates => ids.elements().iter().map(|id| (id, place(id))).collect(),
        };
        for (candidate, at) in of_rows {
            let of = |list: &Cell| at.and_then(|at| list.elements().get(at).cloned()).unwrap_or(Cell::Null);
            let fixed = [id, time, release, placement, arm, reason, subject, session, candidate].map(Cell::clone);
            let index = ids.elements().iter().position(|id| id == candidate);
            let earned = self.rewards.of(id_of, time_us, candidate.as_text(), at.is_some());
            self.report.rewards += earned.count;
            let row = fixed.into_iter().chain([of(slots), of(propensities), of(scores), rate.clone()]);
            self.file.push(row.chain(inputs.row(index)).chain(earned.row).collect())?;
            self.report.rows += 1;
        }
        Ok(())
    }
}
