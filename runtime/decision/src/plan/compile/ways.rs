//! The ways to decide: rules, ladder, policy and static order, of the placement and of every arm that has its own.

use std::sync::Arc;

use super::rows::Rows;
use super::sources::Reference;
use super::{Compiler, Problems, side, split_scorer, unknown};
use crate::definition::{Fallback, Payload};
use crate::layout::FeatureKind;
use crate::manifest::{Manifest, Scope};
use crate::plan::columns::Source;
use crate::plan::{Bandit, FallbackPlan, Scorer, Shadow, Way};

/// A fallback before columns have their places.
pub(super) enum FallbackSource {
    List(Vec<Arc<str>>),
    Column(Source),
}

/// The most scorers of a ladder and the most rules of a way: a record has a byte for their index.
const MAX_RUNGS: usize = 32;

/// Fallbacks with their columns.
pub(super) fn plans(sources: Vec<Option<FallbackSource>>, rows: &Rows) -> Vec<FallbackPlan> {
    let plan = |source: FallbackSource| match source {
        FallbackSource::List(ids) => FallbackPlan::List(ids),
        FallbackSource::Column(source) => FallbackPlan::Column(rows.at(Scope::Candidate, &source)),
    };
    // One that is none is a problem, of which the placement is not compiled.
    sources.into_iter().map(|source| source.map_or(FallbackPlan::List(Vec::new()), plan)).collect()
}

impl Compiler<'_> {
    /// The placement's way and those of its arms, in the order in which arms count them, and which of
    /// [`Compiler::fallbacks`] each of them has.
    pub(super) fn ways(
        &self,
        key: &str,
        called: &[(&str, &Manifest)],
        bandits: &mut Vec<Bandit>,
        problems: &mut Problems,
    ) -> (Vec<Way>, Vec<usize>) {
        let def = self.def;
        let (mut ways, mut fallback_of, mut fallbacks) = (Vec::new(), vec![0], 1);
        let later = || FallbackPlan::List(Vec::new());
        let own = Parts { what: "", rules: &def.rules, ladder: &def.ladder };
        let policy = self.policy("", &def.choose, &own, self.bandit(key), bandits, problems);
        let (rules, ladder) = self.calls(&own, called, problems);
        ways.push(Way { rules, ladder, policy: policy.clone(), fallback: later(), payloads: Default::default() });
        for experiment in &def.experiment {
            for arm in experiment.arms.iter().filter(|arm| arm.has_a_way()) {
                let what = format!("experiment {:?}, arm {:?}, ", experiment.key, arm.name);
                let parts = Parts {
                    what: &what,
                    rules: arm.rules.as_ref().unwrap_or(&def.rules),
                    ladder: arm.ladder.as_ref().unwrap_or(&def.ladder),
                };
                let policy = match &arm.choose {
                    None => {
                        self.fits(&what, &policy, &parts, problems);
                        policy.clone()
                    }
                    Some(choose) => {
                        let bandit = self.arm_bandit(key, &experiment.key, &arm.name);
                        self.policy(&what, choose, &parts, bandit, bandits, problems)
                    }
                };
                let (rules, ladder) = self.calls(&parts, called, problems);
                ways.push(Way { rules, ladder, policy, fallback: later(), payloads: arm.payloads.clone() });
                fallback_of.push(if arm.fallback.is_some() { fallbacks } else { 0 });
                fallbacks += usize::from(arm.fallback.is_some());
            }
        }
        (ways, fallback_of)
    }

    fn calls(
        &self,
        parts: &Parts<'_>,
        called: &[(&str, &Manifest)],
        problems: &mut Problems,
    ) -> (Vec<usize>, Vec<Scorer>) {
        let what = parts.what;
        let mut rules = Vec::new();
        for (i, rule) in parts.rules.iter().enumerate() {
            if parts.rules[..i].contains(rule) {
                problems.add(&self.at, format!("{what}rules[{i}]: {rule:?} stands twice"));
            }
            rules.extend(called.iter().position(|(name, _)| name == rule));
        }
        if rules.len() > MAX_RUNGS {
            problems.add(&self.at, format!("{what}rules: {} modules, at most {MAX_RUNGS}", rules.len()));
        }
        let boosted =
            rules.iter().any(|rule| called.get(*rule).is_some_and(|(_, manifest)| manifest.output("boost").is_some()));
        (rules, self.ladder(&format!("{what}ladder"), parts.ladder, called, boosted, problems))
    }

    /// Who scores beside.
    pub(super) fn shadow(&self, called: &[(&str, &Manifest)], problems: &mut Problems) -> Option<Shadow> {
        let def = self.def.shadow.as_ref()?;
        if !(0.0..=1.0).contains(&def.share) {
            problems.add(&self.at, format!("shadow.share is {}, expected a share from 0 to 1", def.share));
        }
        if def.scorers.is_empty() {
            problems.add(&self.at, "shadow.scorers is empty: name who is to score beside, or leave `shadow` out");
        }
        let scorers = self.ladder("shadow.scorers", &def.scorers, called, false, problems);
        Some(Shadow { scorers, share: def.share })
    }

    fn ladder(
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
        if names.len() > MAX_RUNGS {
            problems.add(&self.at, format!("{what}: {} scorers, at most {MAX_RUNGS}", names.len()));
        }
        scorers
    }

    /// The placement's fallback and those of arms that have one, in order.
    pub(super) fn fallbacks(&mut self, problems: &mut Problems) -> Vec<Option<FallbackSource>> {
        let def = self.def;
        let mut found = vec![self.fallback("", &def.fallback, problems)];
        for experiment in &def.experiment {
            for arm in &experiment.arms {
                let what = format!("experiment {:?}, arm {:?}, ", experiment.key, arm.name);
                if let Some(fallback) = &arm.fallback {
                    found.push(self.fallback(&what, fallback, problems));
                }
                for id in arm.payloads.keys() {
                    self.check_action(&format!("{what}payloads"), id, problems);
                }
            }
        }
        found
    }

    fn fallback(&mut self, what: &str, def: &Fallback, problems: &mut Problems) -> Option<FallbackSource> {
        match def {
            Fallback::List(ids) => {
                if !self.def.actions.is_empty() {
                    ids.iter().for_each(|id| self.check_action(&format!("{what}fallback"), id, problems));
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
                        problems.add(&self.at, format!("{what}fallback.by: {why}"));
                        None
                    }
                }
            }
        }
    }

    fn check_action(&self, what: &str, id: &str, problems: &mut Problems) {
        if !self.def.actions.iter().any(|action| action.id == id) {
            let known = self.def.actions.iter().map(|action| action.id.as_str());
            problems.add(&self.at, format!("{what}: {}", unknown("action", id, known)));
        }
    }
}

/// What a way is made of, and how messages about it begin.
pub(super) struct Parts<'a> {
    pub(super) what: &'a str,
    pub(super) rules: &'a [String],
    pub(super) ladder: &'a [String],
}

impl crate::definition::ArmDef {
    /// Whether it goes another way than the placement.
    pub(super) fn has_a_way(&self) -> bool {
        let payloads: &std::collections::BTreeMap<String, Payload> = &self.payloads;
        self.rules.is_some()
            || self.ladder.is_some()
            || self.choose.is_some()
            || self.fallback.is_some()
            || !payloads.is_empty()
    }
}
