//! Models that policies learn by: names of features become columns and what is seen of them.

use std::collections::BTreeSet;

use super::rows::Rows;
use super::sources::Reference;
use super::{Compiler, Problems, side};
use crate::assign::murmur3_x86_32;
use crate::definition::{Choose, FeatureDef, Model as ModelName, ModelFeature, Overdue, PlacementDef};
use crate::layout::FeatureKind;
use crate::logistic::{MAX_FEATURES, MAX_WEIGHTS, Model, Sees, Shape, Term};
use crate::manifest::{Kind, Scope};
use crate::plan::Way;
use crate::plan::columns::Source;

/// The precision of weights when nobody says: a feature one scale away is expected to multiply the odds by e or so.
const PRECISION: f64 = 1.0;
/// The bounds of it.
const PRECISIONS: std::ops::RangeInclusive<f64> = 1e-3..=1e6;

/// The symbols that a placement's models tell apart.
pub(super) fn told_apart(def: &PlacementDef) -> impl Iterator<Item = &String> {
    chooses(def).flat_map(|(_, choose)| &choose.features).filter_map(ModelFeature::is).flatten()
}

/// How to choose, of the placement and of each arm that says so itself, and how messages about it begin.
fn chooses(def: &PlacementDef) -> impl Iterator<Item = (String, &Choose)> {
    let arms = def.experiment.iter().flat_map(|experiment| {
        experiment.arms.iter().filter_map(|arm| {
            let what = format!("experiment {:?}, arm {:?}, ", experiment.key, arm.name);
            Some((what, arm.choose.as_ref()?))
        })
    });
    std::iter::once((String::new(), &def.choose)).chain(arms)
}

fn is_logistic(choose: &Choose) -> bool {
    choose.model == Some(ModelName::Logistic)
}

impl Compiler<'_> {
    /// Makes sure that rows have the columns of all models.
    pub(super) fn model_sources(&mut self, problems: &mut Problems) {
        let def = self.def;
        for (what, choose) in chooses(def).filter(|(_, choose)| is_logistic(choose)) {
            let mut seen = BTreeSet::new();
            for feature in &choose.features {
                let of = feature.of();
                match self.model_source(feature) {
                    Ok((scope, source)) => {
                        self.sources[side(scope)].entry(source).or_insert_with(|| of.to_owned());
                    }
                    Err(why) => problems.add(&self.at, format!("{what}choose.features: {of:?} {why}")),
                }
                if !seen.insert(of) {
                    problems.add(&self.at, format!("{what}choose.features: {of:?} stands twice"));
                }
            }
        }
    }

    /// The model of a policy, its columns yet to be placed.
    pub(super) fn model(&self, def: &Choose, add: &mut impl FnMut(String)) -> Option<Model> {
        if !is_logistic(def) {
            return None;
        }
        if def.features.is_empty() {
            add("model \"logistic\" needs `features`, such as [\"context.cart_value\"]".into());
        }
        let precision = def.precision.unwrap_or(PRECISION);
        if !PRECISIONS.contains(&precision) {
            let (least, most) = (PRECISIONS.start(), PRECISIONS.end());
            add(format!("precision is {precision}, expected a number from {least} to {most}"));
        }
        // Unplaced: one that is wrong is a problem that is told elsewhere.
        let terms = self.terms(def, |_, _| 0);
        if terms.len() > MAX_FEATURES {
            let found = terms.len();
            add(format!("features are {found}, each value of a symbol counted, at most {MAX_FEATURES}"));
        }
        let weights = self.def.actions.len() * (terms.len() + 1);
        if weights > MAX_WEIGHTS {
            let (actions, each) = (self.def.actions.len(), terms.len() + 1);
            add(format!("{actions} actions with {each} weights each are {weights}, at most {MAX_WEIGHTS}"));
        }
        let shared = terms.iter().filter(|term| term.scope == Scope::Shared).count();
        let shape = Shape { id: identity(&def.features), shared, own: terms.len() - shared, precision };
        Some(Model { shape, terms })
    }

    /// Gives the models of all ways their columns.
    pub(super) fn place_models(&self, rows: &Rows, ways: &mut [Way]) {
        let arms = self.def.experiment.iter().flat_map(|experiment| &experiment.arms);
        let own = arms.filter(|arm| arm.has_a_way()).map(|arm| arm.choose.as_ref().unwrap_or(&self.def.choose));
        for (way, choose) in ways.iter_mut().zip(std::iter::once(&self.def.choose).chain(own)) {
            if let Some(model) = &mut way.policy.model {
                model.terms = self.terms(choose, |scope, source| rows.at(scope, source));
            }
        }
    }

    /// What a model sees, shared features first; `at` says where a source's column lies.
    fn terms(&self, def: &Choose, at: impl Fn(Scope, &Source) -> usize) -> Vec<Term> {
        let mut terms = Vec::new();
        for feature in &def.features {
            let Ok((scope, source)) = self.model_source(feature) else { continue };
            let column = at(scope, &source);
            match feature.is() {
                Some(texts) => terms.extend(texts.iter().map(|text| {
                    let sees = Sees::Is(self.world.symbols.number(text));
                    Term { scope, column, sees }
                })),
                None => {
                    let (center, scale) = feature.center_and_scale();
                    let sees = Sees::Number { center: center.unwrap_or(0.0), scale: scale.unwrap_or(1.0) };
                    terms.push(Term { scope, column, sees });
                }
            }
        }
        terms.sort_by_key(|term| side(term.scope));
        terms
    }

    /// Where a feature's column is, and whether all about it fits; an error goes on with "it".
    fn model_source(&self, feature: &ModelFeature) -> Result<(Scope, Source), String> {
        let (scope, kind, source) = match self.reference(feature.of()).map_err(|why| format!("is unknown: {why}"))? {
            Reference::Context(index, kind) => (Scope::Shared, kind, Source::Context(index)),
            Reference::Feature(view, field) => {
                let scope = self.scope_of_view(view)?;
                let kind = match self.world.views[view].layout.fields()[field].kind {
                    FeatureKind::Number | FeatureKind::F32 => Kind::Number,
                    FeatureKind::Flag => Kind::Flag,
                    FeatureKind::Symbol => Kind::Symbol,
                    other => return Err(format!("is a {other}, expected a number, a flag or a symbol")),
                };
                let def = self.feature((view, field));
                if def.is_some_and(FeatureDef::pii) {
                    return Err("is pii: what a model sees is recorded, and that never is".into());
                }
                let old = def.and_then(FeatureDef::ttl).is_some_and(|(_, old)| old == Overdue::Refuse);
                let late =
                    self.world.views[view].def.max_lag.is_some() && self.world.views[view].def.late == Overdue::Refuse;
                if scope == Scope::Shared && (old || late) {
                    return Err(
                        "says `refuse` of old or late values, and a model has no next rung: say `default`".into()
                    );
                }
                (scope, kind, Source::Feature { view, field })
            }
        };
        let (center, scale) = feature.center_and_scale();
        match (kind, feature.is()) {
            (Kind::Symbol, None) => {
                Err("is a symbol: say which values are told apart, such as `is = [\"a\", \"b\"]`".into())
            }
            (Kind::Symbol, Some([])) => Err("tells no values apart: `is` is empty".into()),
            (Kind::Symbol, Some(texts)) => {
                let mut seen = BTreeSet::new();
                if let Some(twice) = texts.iter().find(|text| !seen.insert(*text)) {
                    return Err(format!("has {twice:?} twice in `is`"));
                }
                if center.is_some() || scale.is_some() {
                    return Err("is a symbol, which has no `center` and no `scale`: leave them out".into());
                }
                Ok((scope, source))
            }
            (kind, Some(_)) => Err(format!("is a {kind}, and `is` is for symbols: leave it out")),
            (_, None) => match (center.unwrap_or(0.0), scale.unwrap_or(1.0)) {
                (center, _) if !center.is_finite() => Err(format!("has the center {center}, expected a finite number")),
                (_, scale) if !(scale.is_finite() && scale > 0.0) => {
                    Err(format!("has the scale {scale}, expected a number above 0"))
                }
                _ => Ok((scope, source)),
            },
        }
    }
}

/// A hash of what the numbers of a model mean: other features, or the same in another order, are another model.
fn identity(features: &[ModelFeature]) -> u32 {
    let mut text = Vec::new();
    for feature in features {
        let (center, scale) = feature.center_and_scale();
        text.extend_from_slice(feature.of().as_bytes());
        text.push(0);
        text.extend_from_slice(&center.unwrap_or(0.0).to_bits().to_le_bytes());
        text.extend_from_slice(&scale.unwrap_or(1.0).to_bits().to_le_bytes());
        for value in feature.is().unwrap_or_default() {
            text.extend_from_slice(value.as_bytes());
            text.push(0);
        }
        text.push(1);
    }
    murmur3_x86_32(&text)
}
