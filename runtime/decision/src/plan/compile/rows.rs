//! Where each column lies and the steps that fill it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Compiler, Problems, side, split_scorer};
use crate::definition::{FeatureDef, Overdue, Span};
use crate::manifest::{Kind, Manifest, Role, Scalar, Scope};
use crate::plan::columns::{Source, cell_op, kind_of, lateness, push_op};
use crate::plan::{Call, CellOp, Column, Pick, Post, RequestOp, Ttl, ValueSpec, ViewUse, call};

/// The shortest deadline of which half is worth waiting for a row: timers know whole milliseconds.
const SHORTEST_WAIT_US: i64 = 4_000;

/// Where every source's column lies.
pub(super) struct Rows {
    pub(super) columns: [Vec<Column>; 2],
    places: [BTreeMap<Source, usize>; 2],
    /// Where it stands that a field is old and refuses.
    refusals: [BTreeMap<(usize, usize), usize>; 2],
    pub(super) widths: [usize; 2],
    view_uses: Vec<(usize, Scope)>,
}

impl Rows {
    pub(super) fn lay_out(compiler: &Compiler<'_>) -> Self {
        let mut rows = Self {
            columns: [vec![], vec![]],
            places: Default::default(),
            refusals: Default::default(),
            widths: [0, 0],
            view_uses: vec![],
        };
        for scope in [Scope::Shared, Scope::Candidate] {
            let row = side(scope);
            for (source, name) in &compiler.sources[row] {
                if let Some(view) = source.read_view()
                    && !rows.view_uses.contains(&(view, scope))
                {
                    rows.view_uses.push((view, scope));
                }
                let (kind, width) = compiler.shape(source);
                let view =
                    source.read_view().and_then(|view| rows.view_uses.iter().position(|used| *used == (view, scope)));
                rows.places[row].insert(source.clone(), rows.columns[row].len());
                let pii = source.fields().iter().any(|field| compiler.feature(*field).is_some_and(FeatureDef::pii));
                let (at, is_identity) = (rows.widths[row], matches!(source, Source::SymbolId { .. }));
                rows.columns[row].push(Column { name: name.clone(), kind, at, width, view, pii, is_identity });
                rows.widths[row] += width;
            }
            // Behind all that modules read: a row without them is a module's as it stands.
            for field in compiler.sources[row].keys().filter_map(Source::read_field) {
                let refuses =
                    compiler.feature(field).and_then(FeatureDef::ttl).is_some_and(|(_, old)| old == Overdue::Refuse);
                if refuses && !rows.refusals[row].contains_key(&field) {
                    rows.refusals[row].insert(field, rows.widths[row]);
                    rows.widths[row] += 1;
                }
            }
        }
        rows
    }

    /// The columns that make a candidate ineligible.
    pub(super) fn ineligible(&self, compiler: &Compiler<'_>) -> Vec<usize> {
        let of_candidate = |view: usize| compiler.scope_of_view(view) == Ok(Scope::Candidate);
        let refusals = self.refusals[side(Scope::Candidate)].iter();
        refusals.filter(|((view, _), _)| of_candidate(*view)).map(|(_, column)| *column).collect()
    }

    /// The columns that are never recorded.
    pub(super) fn pii(&self) -> Vec<(Scope, usize, usize)> {
        let of = |scope| {
            let columns = self.columns[side(scope)].iter().filter(|column| column.pii);
            columns.map(move |column| (scope, column.at, column.width))
        };
        of(Scope::Shared).chain(of(Scope::Candidate)).collect()
    }

    pub(super) fn column(&self, scope: Scope, source: &Source) -> Option<&Column> {
        self.places[side(scope)].get(source).map(|at| &self.columns[side(scope)][*at])
    }

    pub(super) fn at(&self, scope: Scope, source: &Source) -> usize {
        self.column(scope, source).map_or(0, |column| column.at)
    }
}

impl Compiler<'_> {
    pub(super) fn view_uses(&self, rows: &Rows, problems: &mut Problems) -> Vec<ViewUse> {
        let mut uses = Vec::new();
        for &(view, scope) in &rows.view_uses {
            let plan = &self.world.views[view];
            let entity = match self.entity(view) {
                Ok(entity) => entity,
                Err(why) => {
                    problems.add(&self.at, why);
                    continue;
                }
            };
            let mut used = ViewUse {
                view,
                entity,
                scope,
                cells: plan.layout.cells(),
                ops: vec![],
                defaults: vec![],
                ttls: vec![],
                lateness: lateness(&plan.def),
                waits: plan.def.waits(),
            };
            for source in self.sources[side(scope)].keys() {
                let Some((_, field)) = source.field_of(view) else { continue };
                let to = rows.at(scope, source);
                let spec = &plan.layout.fields()[field];
                let (cell, len) = (spec.cell as usize, spec.len as usize);
                let op = match source {
                    Source::Feature { .. } => cell_op(spec.kind, cell, len, to),
                    Source::FeatureText { test, .. } => CellOp::Text { cell, to, test: test.clone() },
                    Source::Includes { id, .. } => CellOp::Includes { cell, n: len, to, id: *id },
                    Source::SymbolId { .. } => CellOp::SymbolId { cell, to },
                    _ => CellOp::Age { cell, to },
                };
                push_op(&mut used.ops, op);
                let def = self.feature((view, field));
                if let Some((ttl, old)) = def.and_then(FeatureDef::ttl) {
                    let n = rows.column(scope, source).map_or(1, |column| column.width);
                    let refused = rows.refusals[side(scope)].get(&(view, field)).copied().unwrap_or(to);
                    used.ttls.push(Ttl { to, n, ttl_us: ttl.us(), old, refused });
                }
                if let (Source::Feature { .. }, Some(default)) = (source, def.and_then(FeatureDef::default)) {
                    used.defaults.push((to, len, self.default_number(default)));
                }
            }
            if used.waits && self.def.deadline.us() < SHORTEST_WAIT_US {
                let why = format!(
                    "view {:?} waits for whom it does not hold (on_miss = \"wait\"), which needs a deadline of at least {}",
                    plan.name,
                    Span::from_us(SHORTEST_WAIT_US)
                );
                problems.add(&self.at, why);
            }
            uses.push(used);
        }
        uses
    }

    /// The definition of a field; an aggregate has none.
    pub(super) fn feature(&self, (view, field): (usize, usize)) -> Option<&FeatureDef> {
        let view = &self.world.views[view];
        view.def.features.get(&view.layout.fields()[field].name)
    }

    pub(super) fn default_number(&self, default: &Scalar) -> f64 {
        match default {
            Scalar::Flag(flag) => f64::from(*flag),
            Scalar::Number(number) => *number,
            Scalar::Text(text) => self.world.symbols.number(text),
        }
    }

    // === steps ===

    pub(super) fn request_ops(&self, rows: &Rows) -> (Vec<(Scope, RequestOp)>, Vec<Post>) {
        let (mut request, mut post) = (Vec::new(), Vec::new());
        for scope in [Scope::Shared, Scope::Candidate] {
            for source in self.sources[side(scope)].keys() {
                let to = rows.at(scope, source);
                match source {
                    Source::Context(index) => request.push((scope, RequestOp::Context { index: *index, to })),
                    Source::ContextText { index, test } => {
                        request.push((scope, RequestOp::Text { index: *index, to, test: test.clone() }));
                    }
                    Source::MinuteOfDay => request.push((scope, RequestOp::MinuteOfDay { to })),
                    Source::DayOfWeek => request.push((scope, RequestOp::DayOfWeek { to })),
                    Source::EpochSeconds => request.push((scope, RequestOp::EpochSeconds { to })),
                    Source::CandidateId => request.push((scope, RequestOp::CandidateId { to })),
                    Source::Product { a, b, cosine } => post.push(self.product(rows, *a, *b, *cosine, (scope, to))),
                    Source::Feature { .. }
                    | Source::FeatureText { .. }
                    | Source::Includes { .. }
                    | Source::SymbolId { .. }
                    | Source::Age { .. } => {}
                }
            }
        }
        (request, post)
    }

    pub(super) fn product(
        &self,
        rows: &Rows,
        a: (usize, usize),
        b: (usize, usize),
        cosine: bool,
        to: (Scope, usize),
    ) -> Post {
        let find = |(view, field): (usize, usize)| {
            let scope = self.scope_of_view(view).unwrap_or(Scope::Shared);
            (scope, rows.at(scope, &Source::Feature { view, field }))
        };
        let n = self.world.views[a.0].layout.fields()[a.1].len as usize;
        Post { a: find(a), b: find(b), n, to, cosine }
    }

    pub(super) fn call(
        &self,
        name: &str,
        manifest: &Manifest,
        rows: &Rows,
        views: &[ViewUse],
        values: &mut Vec<ValueSpec>,
    ) -> Call {
        let (mut used, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let mut picks = |scope: Scope| -> Vec<Pick> {
            call::join(call::inputs(manifest, scope).filter_map(|input| {
                let (source, _) = self.source(input).ok()?;
                let column = rows.column(scope, &source)?;
                used.extend(source.views());
                for field in source.fields() {
                    let of_candidate = self.scope_of_view(field.0) == Ok(Scope::Candidate);
                    let row = if source.read_field().is_some() { Ok(scope) } else { self.scope_of_view(field.0) };
                    let row = row.unwrap_or(Scope::Shared);
                    let column = rows.refusals[side(row)].get(&field);
                    refused.extend(column.filter(|_| !of_candidate).map(|column| (side(row), *column)));
                }
                Some(call::pick(input, column, self.world.symbols))
            }))
        };
        let (shared, candidate) = (picks(Scope::Shared), picks(Scope::Candidate));
        let mut answers = Vec::new();
        for (column, output) in manifest.outputs.iter().enumerate() {
            if output.role() == Role::Value && !self.is_score(name, &output.name) {
                answers.push((column, values.len()));
                let (kind, symbols) = (output.kind, output.symbols.clone());
                values.push(ValueSpec { name: format!("{name}.{}", output.name), kind, symbols });
            }
        }
        Call {
            module: self.world.modules.iter().position(|known| known == name).unwrap_or(0),
            name: name.to_owned(),
            shared,
            shared_width: manifest.shared_width(),
            candidate,
            candidate_width: manifest.candidate_width(),
            outputs: manifest.outputs.clone(),
            values: answers,
            views: (0..views.len()).filter(|at| used.contains(&views[*at].view)).collect(),
            refused: refused
                .into_iter()
                .map(|(row, column)| ([Scope::Shared, Scope::Candidate][row], column))
                .collect(),
        }
    }

    pub(super) fn is_score(&self, module: &str, output: &str) -> bool {
        self.scorers().map(|scorer| split_scorer(scorer)).any(|scorer| scorer == (module, output))
    }

    pub(super) fn shape(&self, source: &Source) -> (Kind, usize) {
        match source {
            Source::Feature { view, field } => {
                let field = &self.world.views[*view].layout.fields()[*field];
                (kind_of(field.kind).unwrap_or(Kind::Number), field.len as usize)
            }
            Source::FeatureText { .. } | Source::Includes { .. } | Source::ContextText { .. } => (Kind::Flag, 1),
            Source::Context(index) => (self.def.context.values().nth(*index).copied().unwrap_or(Kind::Number), 1),
            Source::CandidateId => (Kind::Symbol, 1),
            Source::Age { .. }
            | Source::SymbolId { .. }
            | Source::MinuteOfDay
            | Source::DayOfWeek
            | Source::EpochSeconds
            | Source::Product { .. } => (Kind::Number, 1),
        }
    }
}

impl Source {
    /// The view whose cells fill it.
    pub(super) fn read_view(&self) -> Option<usize> {
        match self {
            Self::Feature { view, .. }
            | Self::FeatureText { view, .. }
            | Self::Includes { view, .. }
            | Self::SymbolId { view, .. }
            | Self::Age { view, .. } => Some(*view),
            _ => None,
        }
    }

    /// The field of `view` it reads.
    pub(super) fn field_of(&self, view: usize) -> Option<(usize, usize)> {
        match self {
            Self::Feature { view: of, field }
            | Self::FeatureText { view: of, field, .. }
            | Self::Includes { view: of, field, .. }
            | Self::SymbolId { view: of, field }
            | Self::Age { view: of, field }
                if *of == view =>
            {
                Some((*of, *field))
            }
            _ => None,
        }
    }

    /// The field whose cells fill it.
    pub(super) fn read_field(&self) -> Option<(usize, usize)> {
        self.read_view().and_then(|view| self.field_of(view))
    }

    /// The fields its value depends on.
    pub(super) fn fields(&self) -> Vec<(usize, usize)> {
        match self {
            Self::Product { a, b, .. } => vec![*a, *b],
            other => other.read_field().into_iter().collect(),
        }
    }

    /// The views its value depends on.
    pub(super) fn views(&self) -> Vec<usize> {
        self.fields().into_iter().map(|(view, _)| view).collect()
    }
}
