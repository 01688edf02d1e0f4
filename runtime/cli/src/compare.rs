//! Recorded decisions under releases: the one that decided, and others. Owns which placement of which release a record is of, and
//! what two outcomes differ in. `meaning` says which columns of two releases are one, `carry` makes rows of recorded ones, `run`
//! decides.

mod carry;
pub(crate) mod changes;
pub(crate) mod earned;
mod meaning;
mod run;
pub(crate) mod study;
pub(crate) mod worth;

use std::collections::{BTreeMap, BTreeSet};

use selvedge_decision::manifest::{Kind, Scope};
use selvedge_decision::plan::{Placement, Plan};
use selvedge_decision::settle::Outcome;
use selvedge_decision::{Digest, Record};

use self::carry::Carry;
use self::run::Again;
pub(crate) use self::run::{Breakers, Ran};
use crate::releases::Release;

/// The ways from a placement of one release to another, each made once.
#[derive(Debug, Default)]
pub(crate) struct Carries(BTreeMap<(Digest, Digest, String), Carry>);

/// Why a record is not decided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lack {
    /// The release that decided has no such placement, or it does not fit.
    Broken(String),
    /// The other release has no such placement.
    NoPlacement,
    /// What no record says.
    Unsaid(String),
}

/// What a record's inputs were, by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Input {
    pub(crate) name: String,
    /// The candidate's index; none in the shared row.
    pub(crate) candidate: Option<usize>,
    pub(crate) value: Value,
}

/// A value of an input.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Missing,
    Flag(bool),
    Number(f64),
    Text(String),
    Vector(Vec<f64>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("-"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Vector(numbers) => write!(f, "{numbers:?}"),
        }
    }
}

// === impl Carries ===

impl Carries {
    /// Decides a record by a release, which may be the one that decided.
    pub(crate) fn run(
        &mut self,
        record: &Record,
        decided: &Release,
        by: &Release,
        breakers: &mut Breakers,
    ) -> Result<Ran, Lack> {
        self.again(record, decided, by)?.run(breakers).map_err(Lack::Unsaid)
    }

    /// Decides what was decided by [`Carries::run`] as if the input `name` were missing; `None` when no record says what that asks for.
    pub(crate) fn without(
        &mut self,
        (record, ran): (&Record, &Ran),
        (decided, by): (&Release, &Release),
        name: &str,
        breakers: &mut Breakers,
    ) -> Option<Outcome> {
        self.again(record, decided, by).ok()?.without(&ran.rows, name, breakers).ok()
    }

    /// The inputs that a release reads for this record.
    pub(crate) fn names(&mut self, record: &Record, decided: &Release, by: &Release) -> BTreeSet<String> {
        let again = self.again(record, decided, by);
        again.map(|again| again.carry.names().map(str::to_owned).collect()).unwrap_or_default()
    }

    fn again<'a>(&'a mut self, record: &'a Record, decided: &'a Release, by: &'a Release) -> Result<Again<'a>, Lack> {
        let key = &*record.placement;
        let Some(of) = decided.plan.placements.get(key) else {
            return Err(Lack::Broken(format!("the release that decided has no placement {key:?}")));
        };
        let Some(to) = by.plan.placements.get(key) else { return Err(Lack::NoPlacement) };
        let same = decided.digest == by.digest;
        let carry = self.0.entry((decided.digest, by.digest, key.to_owned()));
        let carry = carry.or_insert_with(|| Carry::new((&decided.plan, of), (&by.plan, to), same));
        Ok(Again { record, decided: (decided, of), by: (by, to), carry })
    }
}

/// The inputs of a record by name, as its release says them: the request's, and those of the candidates asked for.
pub(crate) fn inputs(plan: &Plan, placement: &Placement, record: &Record, of: &[usize]) -> Vec<Input> {
    let Some(recorded) = &record.inputs else { return Vec::new() };
    let mut inputs = Vec::new();
    for scope in [Scope::Shared, Scope::Candidate] {
        let rows: Vec<(Option<usize>, &[f64])> = match scope {
            Scope::Shared => vec![(None, &recorded.shared[..])],
            Scope::Candidate => {
                let width = placement.candidate_width;
                let row = |at: &usize| Some((Some(*at), recorded.candidates.get(at * width..(at + 1) * width)?));
                of.iter().filter_map(row).collect()
            }
        };
        for (candidate, row) in rows {
            for column in placement.told(scope).filter(|column| !column.pii) {
                let Some(cells) = row.get(column.at..column.at + column.width) else { continue };
                let value = match (column.kind, cells) {
                    (_, cells) if cells.iter().all(|cell| cell.is_nan()) => Value::Missing,
                    _ if column.is_identity => Value::Text(NOT_RECORDED.to_owned()),
                    (Kind::Flag, [cell]) => Value::Flag(*cell != 0.0),
                    (Kind::Symbol, [cell]) => Value::Text(plan.symbols.text(*cell).unwrap_or(OTHER).to_owned()),
                    (_, [cell]) if column.kind != Kind::Vector => Value::Number(*cell),
                    (_, cells) => Value::Vector(cells.to_vec()),
                };
                inputs.push(Input { name: column.name.clone(), candidate, value });
            }
        }
    }
    inputs
}

/// What a symbol is called that the release does not know: modules cannot tell such texts apart.
const OTHER: &str = "<other>";
/// A text of which a record has nothing but the deciding node's own number.
const NOT_RECORDED: &str = "<not recorded>";
