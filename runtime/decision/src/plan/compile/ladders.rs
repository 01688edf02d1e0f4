//! Ladders, experiment and fallback: who is asked in which order.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::sources::Reference;
use super::{Compiler, Problems, side, split_scorer, unknown};
use crate::assign;
use crate::definition::{ExperimentDef, Fallback};
use crate::layout::FeatureKind;
use crate::manifest::{Manifest, Scope};
use crate::plan::columns::Source;
use crate::plan::{Arm, Experiment, Scorer};

/// The fallback before columns have their places.
pub(super) enum FallbackSource {
    List(Vec<Arc<str>>),
    Column(Source),
}

impl Compiler<'_> {
    pub(super) fn ladders(
        &self,
        called: &[(&str, &Manifest)],
        rules: &[usize],
        problems: &mut Problems,
    ) -> (Vec<Vec<Scorer>>, Option<Experiment>) {
        let boosted =
            rules.iter().any(|rule| called.get(*rule).is_some_and(|(_, manifest)| manifest.output("boost").is_some()));
        let mut ladders = vec![self.ladder("ladder", &self.def.ladder, called, boosted, problems)];
        let experiment = match &self.def.experiment[..] {
            [] => None,
            [def] => Some(self.experiment(def, called, boosted, &mut ladders, problems)),
            more => {
                problems.add(&self.at, format!("{} experiments: a placement has one at a time", more.len()));
                None
            }
        };
        (ladders, experiment)
    }

    pub(super) fn ladder(
        &self,
        what: &str,
        names: &[String],
        called: &[(&str, &Manifest)],
        boosted: bool,
        problems: &mut Problems,
    ) -> Vec<Scorer> {
        let mut scorers = Vec::new();
        for (i, scorer) in names.iter().enumerate() {
            let (module, output) = split_scorer(scorer);
            let Some((call, (_, manifest))) = called.iter().enumerate().find(|(_, (name, _))| *name == module) else {
                continue;
            };
            let Some(column) = manifest.output(output) else {
                let known = manifest.outputs.iter().map(|output| output.name.as_str());
                problems.add(
                    &self.at,
                    format!("{what}[{i}]: {}", unknown(&format!("output of {module:?}"), output, known)),
                );
                continue;
            };
            if boosted && manifest.outputs[column].min.is_none_or(|min| min < 0.0) {
                let why = "rules multiply its score by `boost`, but it does not say `min = 0` or more: a boost would lower a \
                           negative score; give a probability";
                problems.add(&self.at, format!("{what}[{i}]: {scorer:?}: {why}"));
            }
            scorers.push(Scorer { call, output: column });
        }
        if names.len() > 32 {
            problems.add(&self.at, format!("{what}: {} scorers, at most 32", names.len()));
        }
        scorers
    }

    pub(super) fn experiment(
        &self,
        def: &ExperimentDef,
        called: &[(&str, &Manifest)],
        boosted: bool,
        ladders: &mut Vec<Vec<Scorer>>,
        problems: &mut Problems,
    ) -> Experiment {
        let what = format!("experiment {:?}", def.key);
        let weights: Vec<u32> = def.arms.iter().map(|arm| arm.weight).collect();
        if weights.iter().all(|weight| *weight == 0) {
            problems.add(&self.at, format!("{what}: needs arms whose weights are not all 0"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = def.arms.iter().find(|arm| !seen.insert(&arm.name)) {
            problems.add(&self.at, format!("{what}: the arm {:?} stands twice", twice.name));
        }
        let mut arms = Vec::new();
        for (arm, end) in def.arms.iter().zip(assign::bounds(&weights)) {
            let ladder = match &arm.ladder {
                None => 0,
                Some(names) => {
                    ladders.push(self.ladder(
                        &format!("{what}, arm {:?}, ladder", arm.name),
                        names,
                        called,
                        boosted,
                        problems,
                    ));
                    ladders.len() - 1
                }
            };
            arms.push(Arm { name: arm.name.as_str().into(), end, ladder });
        }
        let salt = def.salt.clone().unwrap_or_else(|| def.key.clone());
        Experiment { key: def.key.clone(), unit: def.unit, salt, arms }
    }

    pub(super) fn fallback(&mut self, problems: &mut Problems) -> Option<FallbackSource> {
        match &self.def.fallback {
            Fallback::List(ids) => {
                if !self.def.actions.is_empty() {
                    for id in ids.iter().filter(|id| !self.def.actions.iter().any(|action| action.id == **id)) {
                        let known = self.def.actions.iter().map(|action| action.id.as_str());
                        problems.add(&self.at, format!("fallback: {}", unknown("action", id, known)));
                    }
                }
                Some(FallbackSource::List(ids.iter().map(|id| id.as_str().into()).collect()))
            }
            Fallback::By { by } => {
                let found = self.reference(by).and_then(|reference| match reference {
                    Reference::Feature(view, field) if self.scope_of_view(view)? == Scope::Candidate => {
                        match self.world.views[view].layout.fields()[field].kind {
                            FeatureKind::Number | FeatureKind::F32 => Ok(Source::Feature { view, field }),
                            other => Err(format!("{by:?} is a {other}, expected a number")),
                        }
                    }
                    Reference::Feature(..) | Reference::Context(..) => {
                        Err(format!("{by:?} is not about the candidates"))
                    }
                });
                match found {
                    Ok(source) => {
                        self.sources[side(Scope::Candidate)].entry(source.clone()).or_insert_with(|| by.clone());
                        Some(FallbackSource::Column(source))
                    }
                    Err(why) => {
                        problems.add(&self.at, format!("fallback.by: {why}"));
                        None
                    }
                }
            }
        }
    }
}
