//! Recorded rows of one release as another reads them. Owns what can be carried over and what cannot: what a record does not say is
//! named, and never guessed.

use std::collections::BTreeSet;
use std::sync::Arc;

use selvedge_decision::Record;
use selvedge_decision::definition::Overdue;
use selvedge_decision::manifest::{Kind, Scope};
use selvedge_decision::plan::{Call, Candidates, Column, FallbackPlan, Lateness, Pick, Placement, Plan, ViewUse};

use super::meaning::{CANDIDATE_ID, EPOCH_SECONDS, Meaning, by_key, meanings};

/// How the rows that one placement's decisions were recorded with become another's.
#[derive(Debug)]
pub(super) struct Carry {
    /// Whether they are one, and rows need no change.
    same: bool,
    shared: Vec<Fill>,
    candidate: Vec<Fill>,
    /// Columns that tell of old values: in their row, and where they stand in the recorded one.
    old: Vec<(Scope, usize, usize)>,
    /// For each view of the recorded placement, where the other has it.
    views: Vec<Option<u16>>,
    /// Lags above which it is not known whether a view counted as late, in microseconds, and which view.
    lags: Vec<(i64, String)>,
    /// What every decision would need and no record has.
    lacks: Vec<String>,
    /// For each call, the columns it reads.
    reads: Vec<BTreeSet<Place>>,
}

/// A column of one of the rows, by its number there: whether it is of the candidates' row, and which.
type Place = (bool, usize);

/// How one column is filled.
#[derive(Debug)]
struct Fill {
    to: usize,
    width: usize,
    name: String,
    from: From,
}

#[derive(Debug)]
enum From {
    /// Recorded columns.
    Recorded {
        scope: Scope,
        at: usize,
        /// For symbols: the other release's number by this one's.
        symbols: Option<Vec<f64>>,
        /// Whether a text that this release did not know may be one that the other does.
        other_matters: bool,
        /// In place of what is missing.
        default: f64,
        /// The value of which it is not known whether it was missing.
        doubtful: Option<f64>,
    },
    CandidateId,
    EpochSeconds,
    /// No record says it.
    Nothing,
}

/// Rows carried over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(super) ids: Vec<Arc<str>>,
    pub(super) shared: Vec<f64>,
    pub(super) candidates: Vec<f64>,
    pub(super) refused: Vec<u16>,
    pub(super) slots: usize,
    /// Columns whose values are not known, which matters when a call reads them.
    unknown: BTreeSet<Place>,
}

#[cfg(test)]
impl Rows {
    /// Of candidates without a column.
    pub(super) fn of(ids: Vec<Arc<str>>) -> Self {
        Self { ids, ..Self::default() }
    }
}

// === impl Carry ===

impl Carry {
    /// From placement `of` as it decided to the same placement `to` of another release, or of the same.
    pub(super) fn new((of_plan, of): (&Plan, &Placement), (to_plan, to): (&Plan, &Placement), same: bool) -> Self {
        let recorded = [Scope::Shared, Scope::Candidate].map(|scope| (scope, meanings(of_plan, of, scope)));
        let mut carry = Self {
            same,
            shared: Vec::new(),
            candidate: Vec::new(),
            old: Vec::new(),
            views: Vec::new(),
            lags: Vec::new(),
            lacks: Vec::new(),
            reads: to.calls.iter().map(|call| reads(to, call)).collect(),
        };
        for scope in [Scope::Shared, Scope::Candidate] {
            for meaning in meanings(to_plan, to, scope) {
                let found = [scope, Scope::Shared].into_iter().find_map(|scope| {
                    let (_, recorded) = recorded.iter().find(|(of, _)| *of == scope)?;
                    by_key(recorded).get(meaning.key.as_str()).map(|found| (scope, (*found).clone()))
                });
                let from = from((scope, &meaning), found.as_ref(), (of_plan, to_plan), to);
                let refuses = meaning.ttl.filter(|ttl| ttl.old == Overdue::Refuse);
                if let Some(ttl) = refuses {
                    match (&from, found.as_ref().and_then(|(of, found)| Some((of, found.ttl?)))) {
                        (From::Recorded { .. }, Some((of, old))) if *of == scope => {
                            carry.old.push((scope, old.refused, ttl.refused));
                        }
                        // It would refuse candidates whatever is called.
                        _ if to.ineligible.contains(&ttl.refused) && scope == Scope::Candidate => {
                            carry.lacks.push(format!("the age of {}", meaning.name));
                        }
                        _ => {}
                    }
                }
                let fill = Fill { to: meaning.at, width: meaning.width, name: meaning.name, from };
                if scope == Scope::Shared { carry.shared.push(fill) } else { carry.candidate.push(fill) }
            }
        }
        carry.compare_views((of_plan, of), (to_plan, to));
        if same {
            carry.lacks.clear();
        }
        if (of.candidates == Candidates::Actions) != (to.candidates == Candidates::Actions) {
            carry.lacks.push("its candidates: actions in one release, items in the other".to_owned());
        }
        carry
    }

    fn compare_views(&mut self, (of_plan, of): (&Plan, &Placement), (to_plan, to): (&Plan, &Placement)) {
        let named = |plan: &Plan, view: usize| plan.views.get(view).map(|view| view.name.clone()).unwrap_or_default();
        for used in &of.views {
            let name = named(of_plan, used.view);
            let is_it = |other: &ViewUse| other.scope == used.scope && named(to_plan, other.view) == name;
            let place = to.views.iter().position(is_it);
            let late = |lateness: Option<Lateness>| {
                lateness.filter(|lateness| lateness.late != Overdue::Use).map(|late| (late.max_lag_us, late.late))
            };
            let other = place.and_then(|place| to.views.get(place));
            let (before, after) = (late(used.lateness), other.and_then(|other| late(other.lateness)));
            if other.is_some() && before != after {
                let least = [before, after].into_iter().flatten().map(|(max_lag_us, _)| max_lag_us).min();
                self.lags.extend(least.map(|least| (least, name)));
            }
            self.views.push(place.and_then(|place| u16::try_from(place).ok()));
        }
    }

    /// What a record says, as the other placement reads it; or what it does not say.
    pub(super) fn rows(
        &self,
        record: &Record,
        of: &Placement,
        (to_plan, to): (&Plan, &Placement),
    ) -> Result<Rows, String> {
        let Some(inputs) = &record.inputs else { return Err("its inputs: recorded without".to_owned()) };
        if (inputs.shared.len(), inputs.candidates.len())
            != (of.shared_width, of.candidate_width * record.candidates.len())
        {
            return Err("its rows: they do not fit the release that decided".to_owned());
        }
        if let Some(lack) = self.lacks.first() {
            return Err(lack.clone());
        }
        if self.same {
            let unknown = of_pii(of);
            return Ok(Rows {
                ids: record.candidates.clone(),
                shared: inputs.shared.clone(),
                candidates: inputs.candidates.clone(),
                refused: inputs.refused.clone(),
                slots: record.slots as usize,
                unknown,
            });
        }
        let lag_us = i64::from(record.max_lag_ms).saturating_mul(1_000);
        if let Some((_, view)) = self.lags.iter().find(|(most, _)| lag_us > *most) {
            return Err(format!("whether view {view} was late"));
        }
        let (ids, from) = candidates(record, of, to);
        if ids.len() > to.max_candidates {
            return Err(format!("fewer candidates: it takes at most {}", to.max_candidates));
        }
        // A request that says how many it wants is not told from one that wants as many as the placement says.
        let slots = if record.slots as usize == of.slots { to.slots } else { record.slots as usize };
        let mut rows = Rows {
            shared: vec![0.0; to.shared_width],
            candidates: vec![0.0; to.candidate_width * ids.len()],
            refused: inputs.refused.iter().filter_map(|view| *self.views.get(usize::from(*view))?).collect(),
            slots,
            ids,
            unknown: BTreeSet::new(),
        };
        rows.refused.sort_unstable();
        let mut unknown = BTreeSet::new();
        for (at, fill) in self.shared.iter().enumerate() {
            let row = Row { record, to_plan, shared: &inputs.shared, own: None, id: None };
            if !fill.fill(&row, &mut rows.shared) {
                unknown.insert((false, at));
            }
        }
        for (row, (id, from)) in
            rows.candidates.chunks_exact_mut(to.candidate_width.max(1)).zip(rows.ids.iter().zip(&from))
        {
            let own =
                from.and_then(|from| inputs.candidates.get(from * of.candidate_width..(from + 1) * of.candidate_width));
            for (at, fill) in self.candidate.iter().enumerate() {
                let of_row = Row { record, to_plan, shared: &inputs.shared, own, id: Some(id) };
                if !fill.fill(&of_row, row) {
                    unknown.insert((true, at));
                }
            }
            for (_, of, to) in self.old.iter().filter(|(scope, _, _)| *scope == Scope::Candidate) {
                row[*to] = own.and_then(|own| own.get(*of)).copied().unwrap_or(0.0);
            }
        }
        for (_, of, to) in self.old.iter().filter(|(scope, _, _)| *scope == Scope::Shared) {
            rows.shared[*to] = inputs.shared.get(*of).copied().unwrap_or(0.0);
        }
        rows.unknown = unknown;
        Ok(rows)
    }

    /// The name of a column that a call reads and of which no record says the value.
    pub(super) fn unknown_to(&self, rows: &Rows, call: usize) -> Option<&str> {
        let read = self.reads.get(call)?;
        rows.unknown.iter().find(|place| read.contains(place)).and_then(|place| self.name(*place))
    }

    /// The same of the column that the static order goes by.
    pub(super) fn unknown_order(&self, rows: &Rows, fallback: &FallbackPlan) -> Option<&str> {
        let FallbackPlan::Column(column) = *fallback else { return None };
        let is_it = |(of_candidate, at): &&Place| {
            *of_candidate && self.candidate.get(*at).is_some_and(|fill| fill.to == column)
        };
        rows.unknown.iter().find(is_it).and_then(|place| self.name(*place))
    }

    /// The inputs by name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.shared.iter().chain(&self.candidate).map(|fill| fill.name.as_str())
    }

    /// Makes an input missing.
    pub(super) fn blank(&self, rows: &mut Rows, name: &str, to: &Placement) {
        let blank = |row: &mut [f64], fills: &[Fill]| {
            for fill in fills.iter().filter(|fill| fill.name == name) {
                row.get_mut(fill.to..fill.to + fill.width).into_iter().for_each(|cells| cells.fill(f64::NAN));
            }
        };
        blank(&mut rows.shared, &self.shared);
        rows.candidates.chunks_exact_mut(to.candidate_width.max(1)).for_each(|row| blank(row, &self.candidate));
    }

    fn name(&self, (of_candidate, at): Place) -> Option<&str> {
        let fills = if of_candidate { &self.candidate } else { &self.shared };
        fills.get(at).map(|fill| fill.name.as_str())
    }
}

/// Columns that are a person's own, and never recorded.
fn of_pii(of: &Placement) -> BTreeSet<Place> {
    let pii = |of_candidate: bool, columns: &[Column]| {
        let found = columns.iter().enumerate().filter(|(_, column)| column.pii);
        found.map(|(at, _)| (of_candidate, at)).collect::<Vec<_>>()
    };
    pii(false, &of.shared).into_iter().chain(pii(true, &of.candidate)).collect()
}

/// The columns that a call reads.
fn reads(placement: &Placement, call: &Call) -> BTreeSet<Place> {
    let of = |of_candidate: bool, picks: &[Pick]| {
        let columns = if of_candidate { &placement.candidate } else { &placement.shared };
        let read = |at: usize, width: usize| picks.iter().map(span).any(|(from, n)| from < at + width && at < from + n);
        let found = columns.iter().enumerate().filter(|(_, column)| read(column.at, column.width));
        found.map(|(at, _)| (of_candidate, at)).collect::<Vec<_>>()
    };
    of(false, &call.shared).into_iter().chain(of(true, &call.candidate)).collect()
}

/// The columns of a pick: the first, and how many.
fn span(pick: &Pick) -> (usize, usize) {
    match pick {
        Pick::Run { from, n } | Pick::Default { from, n, .. } | Pick::Must { from, n } => (*from, *n),
        Pick::Symbol { from, .. } | Pick::SymbolDefault { from, .. } | Pick::SymbolMust { from, .. } => (*from, 1),
    }
}

/// Where the value of a column comes from, when `found` says the same in the recorded rows.
fn from(
    (in_row, wanted): (Scope, &Meaning),
    found: Option<&(Scope, Meaning)>,
    (of, to): (&Plan, &Plan),
    placement: &Placement,
) -> From {
    if wanted.key.starts_with(CANDIDATE_ID) {
        return From::CandidateId;
    }
    if wanted.key.starts_with(EPOCH_SECONDS) {
        return From::EpochSeconds;
    }
    let Some((scope, found)) = found else { return From::Nothing };
    let policy = |meaning: &Meaning| meaning.ttl.map(|ttl| (ttl.ttl_us, ttl.old));
    if found.pii || policy(found) != policy(wanted) {
        return From::Nothing;
    }
    let symbol = |plan: &Plan, number: f64| plan.symbols.text(number).map(str::to_owned);
    let is_symbol = wanted.kind == Kind::Symbol;
    let same_default = match (found.default, wanted.default) {
        (Some(before), Some(after)) if is_symbol => symbol(of, before) == symbol(to, after),
        (before, after) => before.map(f64::to_bits) == after.map(f64::to_bits),
    };
    From::Recorded {
        scope: *scope,
        at: found.at,
        symbols: is_symbol.then(|| of.symbols.texts().iter().map(|text| to.symbols.number(text)).collect()),
        other_matters: is_symbol && knows_more((in_row, wanted.at), of, to, placement),
        default: wanted.default.unwrap_or(f64::NAN),
        doubtful: found.default.filter(|_| !same_default),
    }
}

/// Whether a module of the other release can tell a text that the recorded numbers cannot.
fn knows_more((scope, at): (Scope, usize), of: &Plan, to: &Plan, placement: &Placement) -> bool {
    let is_new = |text: &String| of.symbols.number(text) < 0.0;
    placement.calls.iter().any(|call| {
        let picks = if scope == Scope::Shared { &call.shared } else { &call.candidate };
        picks.iter().any(|pick| match pick {
            Pick::Symbol { from, map } | Pick::SymbolDefault { from, map, .. } | Pick::SymbolMust { from, map } => {
                let told = to.symbols.texts().iter().zip(map).filter(|(_, number)| **number >= 0.0);
                *from == at && told.into_iter().any(|(text, _)| is_new(text))
            }
            // The release's numbers are the module's own.
            Pick::Run { from, n } | Pick::Default { from, n, .. } | Pick::Must { from, n } => {
                (*from..from + n).contains(&at) && to.symbols.texts().iter().any(is_new)
            }
        })
    })
}

/// The candidates as the other release considers them, and the recorded row of each.
fn candidates(record: &Record, of: &Placement, to: &Placement) -> (Vec<Arc<str>>, Vec<Option<usize>>) {
    let place = |id: &Arc<str>| record.candidates.iter().position(|known| known == id);
    if to.candidates != Candidates::Actions {
        return (record.candidates.clone(), (0..record.candidates.len()).map(Some).collect());
    }
    let all = of.actions.iter().map(|action| &action.id).eq(record.candidates.iter());
    let ids: Vec<Arc<str>> = if all {
        // The request named none of them, or each.
        to.actions.iter().map(|action| action.id.clone()).collect()
    } else {
        record.candidates.iter().filter(|id| to.action(id).is_some()).cloned().collect()
    };
    let places = ids.iter().map(place).collect();
    (ids, places)
}

/// What a row is filled from.
struct Row<'a> {
    record: &'a Record,
    to_plan: &'a Plan,
    shared: &'a [f64],
    /// The candidate's recorded row; there is none of one that was no candidate.
    own: Option<&'a [f64]>,
    id: Option<&'a Arc<str>>,
}

// === impl Fill ===

impl Fill {
    /// Fills its columns; false when no record says what with.
    fn fill(&self, row: &Row<'_>, out: &mut [f64]) -> bool {
        let Some(out) = out.get_mut(self.to..self.to + self.width) else { return false };
        match &self.from {
            From::Nothing => false,
            From::CandidateId => {
                out.fill(row.id.map_or(-1.0, |id| row.to_plan.symbols.number(id)));
                true
            }
            From::EpochSeconds => {
                out.fill(row.record.time_us as f64 / 1e6);
                true
            }
            From::Recorded { scope, at, symbols, other_matters, default, doubtful } => {
                let recorded = if *scope == Scope::Shared { Some(row.shared) } else { row.own };
                let Some(recorded) = recorded.and_then(|row| row.get(*at..at + self.width)) else { return false };
                let mut known = !doubtful
                    .is_some_and(|doubtful| recorded.iter().all(|value| value.to_bits() == doubtful.to_bits()));
                for (out, value) in out.iter_mut().zip(recorded) {
                    *out = match symbols {
                        _ if value.is_nan() => *default,
                        None => *value,
                        Some(symbols) if *value >= 0.0 => symbols.get(*value as usize).copied().unwrap_or(-1.0),
                        Some(_) => {
                            known &= !other_matters;
                            -1.0
                        }
                    };
                }
                known
            }
        }
    }
}

#[cfg(test)]
mod tests;
