//! From steps to the kernel's records. Owns where each column stands on the kernel's tape, which records run once a call and
//! which once a candidate, and what is left out because no answer needs it.

use std::collections::BTreeMap;

use selvedge_decision::manifest::Scope;
use selvedge_pipeline::program::{Draft, Op, Record};

use super::forest;
use crate::pipeline::step::{Column, Precision, Step};
use crate::pipeline::trees::Trees;
use crate::pipeline::{OutputKind, Pipeline};

/// Lanes of a sum in f64 and in f32.
pub(super) const WIDE_LANES: usize = 8;
pub(super) const NARROW_LANES: usize = 16;
/// How far places may stand apart to be negated in one run.
const MOST_BETWEEN: u32 = 8;
const BOTH: [Scope; 2] = [Scope::Shared, Scope::Candidate];

struct Emit {
    draft: Draft,
    scopes: Vec<Scope>,
    needed: Vec<bool>,
    /// Where each column stands; 0 while it stands nowhere.
    places: Vec<u32>,
    /// Where the negation of a place stands.
    negated: BTreeMap<u32, u32>,
    /// Where groups of columns stand in f32.
    narrowed: BTreeMap<Vec<u32>, u32>,
}

/// The program that computes the outputs of a kind. The pipeline was checked and has such outputs; `needed` are the columns
/// that they need.
pub(super) fn program(pipeline: &Pipeline, output: OutputKind, needed: Vec<bool>) -> Draft {
    let answers = pipeline.answers(output).unwrap_or_default();
    let widths = BOTH.map(|scope| pipeline.width_of(scope) as u32);
    let mut emit = Emit {
        draft: Draft { shared: widths[0], candidate: widths[1], places: 1 + widths[0] + widths[1], ..Draft::default() },
        scopes: pipeline.scopes(),
        needed,
        places: Vec::with_capacity(pipeline.width()),
        negated: BTreeMap::new(),
        narrowed: BTreeMap::new(),
    };
    let mut next = [1, 1 + widths[0]];
    for input in &pipeline.inputs {
        let next = &mut next[usize::from(input.scope() == Scope::Candidate)];
        emit.places.extend((0..input.width() as u32).map(|i| *next + i));
        *next += input.width() as u32;
    }
    for step in &pipeline.steps {
        emit.step(step);
    }
    emit.draft.outputs = answers.iter().map(|answer| emit.places[answer.column as usize]).collect();
    emit.draft
}

// === impl Emit ===

impl Emit {
    fn step(&mut self, step: &Step) {
        let first = self.places.len();
        let own = first..first + step.width();
        self.places.resize(own.end, 0);
        if let Some(columns) = step.each() {
            return BOTH.into_iter().for_each(|scope| self.each(step, columns, first, scope));
        }
        if let Step::Products { terms } | Step::Sums { terms } = step {
            return BOTH.into_iter().for_each(|scope| self.terms(step, terms, first, scope));
        }
        if !self.needed[own.clone()].contains(&true) {
            return;
        }
        let at = match step {
            Step::Linear { columns, weights, intercept, precision } => {
                self.linear(columns, weights, intercept, *precision)
            }
            Step::Trees(trees) => self.trees(trees, self.scopes[first]),
            _ => self.whole(step, self.scopes[first]),
        };
        own.zip(at..).for_each(|(column, place)| self.places[column] = place);
    }

    /// The columns of one scope of a step that works column by column.
    fn each(&mut self, step: &Step, columns: &[Column], own: usize, scope: Scope) {
        let wanted = |i: &usize| self.needed[own + i] && self.scopes[own + i] == scope;
        let picked: Vec<usize> = (0..columns.len()).filter(wanted).collect();
        if picked.is_empty() {
            return;
        }
        let pick = |list: &[f64]| picked.iter().map(|i| list[*i]).collect::<Vec<_>>();
        let first = self.reserve(picked.len());
        let op = match step {
            Step::Impute { .. } => Op::Impute,
            Step::IsMissing { .. } => Op::IsMissing,
            Step::ZeroIsMissing { .. } => Op::ZeroIsMissing,
            Step::Scale { .. } => Op::Scale,
            Step::Clip { .. } => Op::Clip,
            Step::Apply { .. } => Op::Apply,
            Step::Interpolate { .. } => Op::Interpolate,
            Step::Prior { .. } => Op::Prior,
            _ => Op::Copy,
        };
        let record = Record::new(op)
            .words([picked.len() as u32, first])
            .words(picked.iter().map(|i| self.places[columns[*i] as usize]));
        let record = match step {
            Step::Impute { values, .. } => record.numbers(pick(values)),
            Step::Scale { subtract, divide, multiply, add, .. } => {
                let lists = [subtract, divide, multiply, add];
                let which = lists.iter().enumerate().map(|(bit, list)| u32::from(!list.is_empty()) << bit).sum();
                let there = lists.into_iter().filter(|list| !list.is_empty());
                there.fold(record.words([which]), |record, list| record.numbers(pick(list)))
            }
            Step::Clip { low, high, .. } => record.numbers([*low, *high]),
            Step::Apply { function, .. } => record.words([*function as u32]),
            Step::Interpolate { x, y, .. } => {
                record.words([x.len() as u32]).numbers(x.iter().copied()).numbers(y.iter().copied())
            }
            Step::Prior { kept, .. } => record.numbers([*kept]),
            _ => record,
        };
        picked.iter().zip(first..).for_each(|(i, place)| self.places[own + i] = place);
        self.push(scope, record);
    }

    fn terms(&mut self, step: &Step, terms: &[Vec<Column>], own: usize, scope: Scope) {
        let wanted = |i: &usize| self.needed[own + i] && self.scopes[own + i] == scope;
        let picked: Vec<usize> = (0..terms.len()).filter(wanted).collect();
        if picked.is_empty() {
            return;
        }
        let first = self.reserve(picked.len());
        let op = if matches!(step, Step::Sums { .. }) { Op::Sums } else { Op::Products };
        let mut record = Record::new(op).words([picked.len() as u32, first]);
        for (i, place) in picked.iter().zip(first..) {
            record = record.words([terms[*i].len() as u32]).words(self.at(&terms[*i]));
            self.places[own + i] = place;
        }
        self.push(scope, record);
    }

    /// A step whose columns all have one scope; where its columns begin.
    fn whole(&mut self, step: &Step, scope: Scope) -> u32 {
        let first = self.reserve(step.width());
        let place = |column: &Column| self.places[*column as usize];
        let record = match step {
            Step::Index { column, values } => Record::new(Op::Index)
                .words([place(column), first, values.len() as u32])
                .numbers(values.iter().copied()),
            Step::Bins { column, edges } => {
                Record::new(Op::Bins).words([place(column), first, edges.len() as u32]).numbers(edges.iter().copied())
            }
            Step::OneHot { column, width, slots, other, missing } => Record::new(Op::OneHot)
                .words([place(column), first, *width, *other as u32, *missing as u32, slots.len() as u32])
                .words(slots.iter().map(|slot| *slot as u32)),
            Step::Table { column, width, rows, other, missing } => Record::new(Op::Table)
                .words([place(column), first, *width, rows.len() as u32 / width])
                .numbers(rows.iter().chain(other).chain(missing).copied()),
            Step::Softmax { columns, precision } => Record::new(Op::Softmax)
                .words([columns.len() as u32, first])
                .words(self.at(columns))
                .words([u32::from(*precision == Precision::F32)]),
            Step::Normalize { columns } => {
                Record::new(Op::Normalize).words([columns.len() as u32, first]).words(self.at(columns))
            }
            Step::Dot { a, b } => {
                let n = a.len().next_multiple_of(NARROW_LANES) as u32;
                let [a, b] = [self.narrow(a), self.narrow(b)];
                Record::new(Op::Dot).words([n, a, b, first])
            }
            Step::Embedding { column, columns, vectors, cosine } => {
                let n = columns.len().next_multiple_of(NARROW_LANES) as u32;
                let at = self.narrow(columns);
                let length = if *cosine { self.length(n, at, columns) } else { 0 };
                let place = self.places[*column as usize];
                Record::new(Op::Embedding)
                    .words([place, n, at, first, length, (vectors.len() / columns.len()) as u32])
                    .singles(
                        padded(vectors, columns.len(), NARROW_LANES).into_iter().map(|value| value as f32).collect(),
                    )
            }
            // The others work column by column, or have their own way.
            _ => return first,
        };
        self.push(scope, record);
        first
    }

    /// The shared columns are summed once a call; the candidate's go on from there.
    fn linear(&mut self, columns: &[Column], weights: &[f64], intercept: &[f64], precision: Precision) -> u32 {
        let outputs = intercept.len();
        let mut base = self.reserve(outputs);
        let round = |value: &f64| if precision == Precision::F32 { f64::from(*value as f32) } else { *value };
        let constants = Record::new(Op::Constant).words([outputs as u32, base]).numbers(intercept.iter().map(round));
        self.push(Scope::Shared, constants);
        for scope in BOTH {
            let picked: Vec<usize> =
                (0..columns.len()).filter(|i| self.scopes[columns[*i] as usize] == scope).collect();
            if picked.is_empty() {
                continue;
            }
            let own: Vec<Column> = picked.iter().map(|i| columns[*i]).collect();
            let weights: Vec<f64> =
                weights.chunks(columns.len()).flat_map(|row| picked.iter().map(|i| row[*i])).collect();
            let first = self.reserve(outputs);
            let record = match precision {
                Precision::F64 => {
                    let weights = padded(&weights, own.len(), WIDE_LANES);
                    let n = own.len().next_multiple_of(WIDE_LANES) as u32;
                    let at = self.side_by_side(&own, scope);
                    Record::new(Op::Linear64).words([n, at, outputs as u32, first, base]).numbers(weights)
                }
                Precision::F32 => {
                    let weights = padded(&weights, own.len(), NARROW_LANES);
                    let n = own.len().next_multiple_of(NARROW_LANES) as u32;
                    let at = self.narrow(&own);
                    Record::new(Op::Linear32)
                        .words([n, at, outputs as u32, first, base])
                        .singles(weights.into_iter().map(|weight| weight as f32).collect())
                }
            };
            self.push(scope, record);
            base = first;
        }
        base
    }

    fn trees(&mut self, trees: &Trees, scope: Scope) -> u32 {
        let first = self.reserve(trees.outputs as usize);
        self.negate(trees);
        let record = forest::record(trees, first, |feature, negated| {
            let place = self.places[trees.columns[feature] as usize];
            if negated { self.negated[&place] } else { place }
        });
        self.push(scope, record);
        first
    }

    /// Negated copies of the columns that trees look at where a missing value goes right. Copies of columns that stand near
    /// each other are made in one run, what lies between them included: a run costs less than a list.
    fn negate(&mut self, trees: &Trees) {
        let mut wanted = BTreeMap::new();
        for tree in &trees.trees {
            for (node, feature) in tree.feature.iter().enumerate() {
                let Ok(feature) = usize::try_from(*feature) else { continue };
                if tree.set(node).is_none() && !tree.is_default_left(node) {
                    let column = trees.columns[feature] as usize;
                    wanted.insert(self.places[column], self.scopes[column]);
                }
            }
        }
        wanted.retain(|place, _| !self.negated.contains_key(place));
        let wanted: Vec<(u32, Scope)> = wanted.into_iter().collect();
        for run in wanted.chunk_by(|a, b| a.1 == b.1 && b.0 - a.0 <= MOST_BETWEEN) {
            let ([(from, scope), ..], Some((last, _))) = (run, run.last()) else { continue };
            let n = last - from + 1;
            let at = self.reserve(n as usize);
            // What lies between is not relied on: it may not have been computed yet.
            self.negated.extend(run.iter().map(|(place, _)| (*place, at + place - from)));
            self.push(*scope, Record::new(Op::Negate).words([n, at, *from]));
        }
    }

    /// Columns as a row of whole lanes; where it begins.
    fn side_by_side(&mut self, columns: &[Column], scope: Scope) -> u32 {
        let places = self.at(columns);
        if follow(&places) && places.len().is_multiple_of(WIDE_LANES) {
            return places[0];
        }
        let first = self.reserve(places.len().next_multiple_of(WIDE_LANES));
        self.push(scope, Record::new(Op::Copy).words([places.len() as u32, first]).words(places));
        first
    }

    /// Columns rounded to f32, as a row of whole lanes; where it begins.
    fn narrow(&mut self, columns: &[Column]) -> u32 {
        let places = self.at(columns);
        if let Some(at) = self.narrowed.get(&places) {
            return *at;
        }
        let at = self.draft.narrow;
        self.draft.narrow += places.len().next_multiple_of(NARROW_LANES) as u32;
        self.narrowed.insert(places.clone(), at);
        let n = places.len() as u32;
        let record = match places.first() {
            Some(from) if follow(&places) => Record::new(Op::NarrowRow).words([n, at, *from]),
            Some(_) | None => Record::new(Op::Narrow).words([n, at]).words(places),
        };
        self.push(self.scope_of(columns), record);
        at
    }

    fn length(&mut self, n: u32, at: u32, columns: &[Column]) -> u32 {
        let first = self.reserve(1);
        self.push(self.scope_of(columns), Record::new(Op::Length).words([n, at, first]));
        first
    }

    fn scope_of(&self, columns: &[Column]) -> Scope {
        let own = columns.iter().any(|column| self.scopes[*column as usize] == Scope::Candidate);
        if own { Scope::Candidate } else { Scope::Shared }
    }

    fn at(&self, columns: &[Column]) -> Vec<u32> {
        columns.iter().map(|column| self.places[*column as usize]).collect()
    }

    fn reserve(&mut self, places: usize) -> u32 {
        let first = self.draft.places;
        self.draft.places += places as u32;
        first
    }

    fn push(&mut self, scope: Scope, record: Record) {
        match scope {
            Scope::Shared => self.draft.shared_ops.push(record),
            Scope::Candidate => self.draft.candidate_ops.push(record),
        }
    }
}

/// Whether places follow each other.
fn follow(places: &[u32]) -> bool {
    places.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

/// Rows of `width` filled up with 0 to whole lanes.
fn padded(rows: &[f64], width: usize, lanes: usize) -> Vec<f64> {
    let mut padded = Vec::with_capacity(rows.len().next_multiple_of(lanes));
    for row in rows.chunks(width) {
        padded.extend_from_slice(row);
        padded.resize(padded.len().next_multiple_of(lanes), 0.0);
    }
    padded
}
