//! The explanation of one decision: which rules fired, what each candidate scored, which rungs were tried, which features
//! were used, how old they were and which of them a default stood in for.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_decision::definition::Overdue;
use selvedge_decision::gather::Rows;
use selvedge_decision::manifest::{Kind, Scope};
use selvedge_decision::plan::{Column, Placement, Plan};
use selvedge_decision::record::Rung;
use selvedge_decision::settle::Trace;
use selvedge_decision::{Decision, Fault, Record};
use serde::Serialize;

/// How a decision came about, as `"explain": true` tells it.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    rules: Vec<Fired>,
    rungs: Vec<Tried>,
    candidates: Vec<Considered>,
    /// The limits that changed the answer; `distinct` for who stands elsewhere on the page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<Limited>,
    /// What scorers that run beside would have chosen first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shadows: Vec<Beside>,
    features: Vec<Used>,
}

/// The choices whose features are told one by one, the first ones.
const EXPLAINED: usize = 10;

/// A rule row that fired.
#[derive(Debug, Clone, Serialize)]
struct Fired {
    module: String,
    candidate: String,
    row: f64,
}

/// A module call of the decision.
#[derive(Debug, Clone, Serialize)]
struct Tried {
    module: String,
    /// `null` when it answered.
    fault: Option<Fault>,
}

/// A limit that changed an answer.
#[derive(Debug, Clone, Serialize)]
pub struct Limited {
    /// Its name, such as `max_per item.brand`.
    pub limit: String,
    /// Whom it kept from a place, or from one before the one they have.
    pub candidates: Vec<String>,
}

/// A scorer that ran beside.
#[derive(Debug, Clone, Serialize)]
struct Beside {
    module: String,
    fault: Option<Fault>,
    /// Whom it scored highest, and how; `null` when it did not answer.
    candidate: Option<String>,
    score: f64,
    /// Its score of the first choice.
    chosen: f64,
}

/// A candidate.
#[derive(Debug, Clone, Serialize)]
struct Considered {
    id: String,
    eligible: bool,
    boost: f64,
    /// After the boost; `null` when nothing scored it.
    score: f64,
}

/// A feature as a module saw it.
#[derive(Debug, Clone, Serialize)]
struct Used {
    name: String,
    /// The chosen candidate it belongs to; `null` in the shared row.
    candidate: Option<String>,
    value: Seen,
    /// Since its event; `null` for what the request says and where there is no row.
    age_ms: Option<i64>,
    /// Whether a default stood in.
    defaulted: bool,
    /// Why it is not simply what the view says: `no_row`, `no_entity`, `not_fetched`, `unreachable`, `late`, `old`.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// Whether that refused the rung, or the candidate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    refused: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Seen {
    Missing,
    Flag(bool),
    Number(f64),
    Text(String),
    Vector(Vec<f64>),
}

// === impl Explanation ===

impl Explanation {
    pub(super) fn new(plan: &Plan, placement: &Placement, decision: &Decision, rows: &Rows) -> Self {
        let (record, trace) = (&decision.record, &decision.outcome.trace);
        let id = |at: u32| record.candidates[at as usize].to_string();
        let fired = trace.fired.iter().map(|(call, candidate, row)| Fired {
            module: placement.calls[*call].name.clone(),
            candidate: id(*candidate),
            row: *row,
        });
        let considered = record.candidates.iter().enumerate().map(|(at, id)| Considered {
            id: id.to_string(),
            eligible: trace.eligible.get(at).copied().unwrap_or(false),
            boost: trace.boosts.get(at).copied().unwrap_or(1.0),
            score: trace.scores.get(at).copied().unwrap_or(f64::NAN),
        });
        let shown: Vec<u32> = record.choices.iter().take(EXPLAINED).map(|choice| choice.candidate).collect();
        let is_shown = |row: &Option<u32>| row.is_none_or(|row| shown.contains(&row));
        let texts = rows.texts.iter().filter(|(row, _, _)| is_shown(row));
        let gathered = Gathered {
            plan,
            placement,
            decision,
            rows,
            texts: texts.map(|(row, column, text)| ((*row, *column), &**text)).collect(),
            defaulted: rows.defaulted.iter().filter(|(row, _)| is_shown(row)).copied().collect(),
            whys: rows
                .whys
                .iter()
                .filter(|(row, _, _)| is_shown(row))
                .map(|(row, view, why)| ((*row, *view), why.as_str()))
                .collect(),
            olds: rows.olds.iter().map(|(row, column, old)| ((*row, *column), *old)).collect(),
        };
        let mut features: Vec<Used> = placement.told(Scope::Shared).map(|column| gathered.used(column, None)).collect();
        for row in shown {
            features.extend(placement.told(Scope::Candidate).map(|column| gathered.used(column, Some(row))));
        }
        Self {
            rules: fired.collect(),
            rungs: tried(placement, decision),
            candidates: considered.collect(),
            limits: distinct(decision).into_iter().chain(Limited::of(placement, record, trace)).collect(),
            shadows: beside(placement, decision),
            features,
        }
    }
}

// === impl Limited ===

impl Limited {
    /// The limits that changed an answer, by what was traced of it.
    pub fn of(placement: &Placement, record: &Record, trace: &Trace) -> Vec<Self> {
        let id = |row: &u32| record.candidates.get(*row as usize).map(ToString::to_string);
        let told = trace.changed.iter().filter_map(|(at, rows)| {
            let limit = placement.limits.get(usize::from(*at))?.name.clone();
            Some(Self { limit, candidates: rows.iter().filter_map(id).collect() })
        });
        told.collect()
    }
}

/// The limit that a page is: whoever stands elsewhere on it is no candidate.
fn distinct(decision: &Decision) -> Option<Limited> {
    let candidates: Vec<String> = decision.taken.iter().map(ToString::to_string).collect();
    (!candidates.is_empty()).then(|| Limited { limit: "distinct".to_owned(), candidates })
}

fn beside(placement: &Placement, decision: &Decision) -> Vec<Beside> {
    let record = &decision.record;
    let scorers = placement.shadow.iter().flat_map(|shadow| &shadow.scorers);
    let told = scorers.zip(&record.shadows).map(|(scorer, shadow)| Beside {
        module: placement.calls[scorer.call].name.clone(),
        fault: shadow.fault,
        candidate: shadow
            .fault
            .is_none()
            .then(|| record.candidates.get(shadow.candidate as usize))
            .flatten()
            .map(ToString::to_string),
        score: shadow.score,
        chosen: shadow.chosen,
    });
    told.collect()
}

fn tried(placement: &Placement, decision: &Decision) -> Vec<Tried> {
    let fault = |rung: Rung| decision.record.faults.iter().find(|fault| fault.rung == rung).map(|fault| fault.fault);
    let name = |call: usize| placement.calls[call].name.clone();
    let trace = &decision.outcome.trace;
    let way = &placement.ways[trace.way];
    let targets = placement.experiments.iter().enumerate();
    let mut tried: Vec<Tried> = targets
        .filter_map(|(at, experiment)| Some((fault(Rung::Target(at as u8))?, experiment.when?)))
        .map(|(fault, when)| Tried { module: name(when.call), fault: Some(fault) })
        .collect();
    let rules = way.rules.iter().enumerate();
    tried.extend(rules.map(|(at, call)| Tried { module: name(*call), fault: fault(Rung::Rules(at as u8)) }));
    for (at, scorer) in way.ladder.iter().enumerate() {
        let fault = fault(Rung::Ladder(at as u8));
        if fault.is_some() || trace.rung == Some(at) {
            tried.push(Tried { module: name(scorer.call), fault });
        }
    }
    tried
}

/// What gather left, by row and column.
struct Gathered<'a> {
    plan: &'a Plan,
    placement: &'a Placement,
    decision: &'a Decision,
    rows: &'a Rows,
    texts: BTreeMap<(Option<u32>, usize), &'a str>,
    defaulted: BTreeSet<(Option<u32>, usize)>,
    whys: BTreeMap<(Option<u32>, usize), &'static str>,
    olds: BTreeMap<(Option<u32>, usize), Overdue>,
}

// === impl Gathered ===

impl Gathered<'_> {
    /// A column of the shared row, or of a candidate's.
    fn used(&self, column: &Column, row: Option<u32>) -> Used {
        let values = match row {
            None => &self.rows.shared[column.at..column.at + column.width],
            Some(row) => {
                let start = row as usize * self.placement.candidate_width + column.at;
                &self.rows.candidates[start..start + column.width]
            }
        };
        let place = (row, column.at);
        let old = self.olds.get(&place).copied();
        let why = column.view.and_then(|view| self.whys.get(&(row, view)).copied());
        let view_refuses = column.view.is_some_and(|view| self.rows.refused.contains(&(view as u16)));
        Used {
            name: column.name.clone(),
            candidate: row.map(|row| self.decision.record.candidates[row as usize].to_string()),
            value: match self.texts.get(&place) {
                _ if column.pii => Seen::Text("(pii)".to_owned()),
                Some(text) => Seen::Text((*text).to_owned()),
                None => seen(self.plan, column, values),
            },
            age_ms: self
                .time_us(column, row)
                .map(|time_us| self.decision.record.time_us.saturating_sub(time_us) / 1_000),
            defaulted: self.defaulted.contains(&place),
            why: why.or(old.map(|_| "old")),
            refused: view_refuses || old == Some(Overdue::Refuse),
        }
    }

    fn time_us(&self, column: &Column, row: Option<u32>) -> Option<i64> {
        let times = self.rows.times.get(column.view?)?;
        times.get(row.unwrap_or(0) as usize).copied().filter(|time_us| *time_us != 0)
    }
}

fn seen(plan: &Plan, column: &Column, values: &[f64]) -> Seen {
    match (column.kind, values) {
        (_, []) => Seen::Missing,
        (_, [first, ..]) if first.is_nan() => Seen::Missing,
        // A record has no more of the text than that.
        _ if column.is_identity => Seen::Text("(not recorded)".to_owned()),
        (Kind::Flag, [flag, ..]) => Seen::Flag(*flag != 0.0),
        (Kind::Number, [number, ..]) => Seen::Number(*number),
        // Of the context: a text that no module of the release knows is any other to all of them.
        (Kind::Symbol, [number, ..]) => Seen::Text(plan.symbols.text(*number).unwrap_or("(other)").to_owned()),
        (Kind::Vector, values) => Seen::Vector(values.to_vec()),
    }
}
