//! Experiments: their arms, who may have a part in them, and what two of them must not do to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::{Compiler, Problems, split_scorer, unknown};
use crate::assign::{SLOTS, Table};
use crate::definition::{ExperimentDef, GroupDef, HoldoutDef, Unit};
use crate::manifest::{Kind, Manifest};
use crate::plan::{Arm, Definition, Experiment, Group, Holdout, Scorer};

/// The most experiments of a placement and arms of an experiment.
const MAX_EXPERIMENTS: usize = 32;
const MAX_ARMS: usize = 200;

/// A part of a group, and whose it is.
struct Part<'a> {
    placement: &'a str,
    experiment: &'a ExperimentDef,
    group: &'a GroupDef,
}

/// What concerns experiments of several placements: the holdout, and groups, whose parts must be of one unit and not overlap.
pub(super) fn check_release(definition: &Definition, problems: &mut Problems) {
    if let Some(def) = &definition.release.holdout
        && let Err(why) = holdout(def)
    {
        problems.add("release.toml", format!("holdout.{why}"));
    }
    let mut groups: BTreeMap<&str, Vec<Part<'_>>> = BTreeMap::new();
    for (placement, def) in &definition.placements {
        for experiment in &def.experiment {
            if let Some(group) = &experiment.group {
                groups.entry(&group.name).or_default().push(Part { placement, experiment, group });
            }
        }
    }
    for (name, mut parts) in groups {
        check_units(name, &parts, problems);
        parts.sort_unstable_by_key(|part| (part.group.from, part.group.to, part.placement, part.key()));
        for (at, part) in parts.iter().enumerate() {
            // One experiment in several placements is one experiment.
            let is_in = |before: &&Part<'_>| before.group.to > part.group.from && before.key() != part.key();
            if let Some(before) = parts[..at].iter().filter(is_in).max_by_key(|before| before.group.to) {
                let why = format!(
                    "experiment {:?}: its part of the group {name:?} begins at {}, but that of {before} ends at {}: \
                     parts of a group must not overlap",
                    part.key(),
                    part.group.from,
                    before.group.to
                );
                problems.add(part.file(), why);
            }
        }
    }
}

/// Who has a part by one unit and who by another fall into a group independently: then its parts exclude nobody.
fn check_units(name: &str, parts: &[Part<'_>], problems: &mut Problems) {
    let Some(first) = parts.first() else { return };
    for part in parts.iter().filter(|part| part.experiment.unit != first.experiment.unit) {
        let why = format!(
            "experiment {:?}: its part of the group {name:?} is by {:?}, but that of {first} is by {:?}: one visitor could be in \
             both; give all parts of a group one `unit`, or this one a group of its own",
            part.key(),
            part.unit(),
            first.unit()
        );
        problems.add(part.file(), why);
    }
}

fn holdout(def: &HoldoutDef) -> Result<Holdout, String> {
    if def.salt.is_empty() {
        return Err("salt is empty: name what units are hashed with".into());
    }
    let slots = def.share * f64::from(SLOTS);
    if !(0.0..=1.0).contains(&def.share) || (slots - slots.round()).abs() > 1e-6 {
        return Err(format!("share is {}, expected 0 to 1 in steps of 0.0001", def.share));
    }
    Ok(Holdout { salt: def.salt.clone(), below: slots.round() as u16 })
}

// === impl Part ===

impl<'a> Part<'a> {
    fn key(&self) -> &'a str {
        &self.experiment.key
    }

    fn unit(&self) -> &'static str {
        match self.experiment.unit {
            Unit::Subject => "subject",
            Unit::Session => "session",
        }
    }

    fn file(&self) -> String {
        format!("placements/{}.toml", self.placement)
    }
}

/// As a message about another part calls it.
impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.key(), self.file())
    }
}

// === impl Compiler ===

impl Compiler<'_> {
    pub(super) fn experiments(
        &self,
        key: &str,
        called: &[(&str, &Manifest)],
        problems: &mut Problems,
    ) -> Vec<Experiment> {
        let defs = &self.def.experiment;
        if defs.len() > MAX_EXPERIMENTS {
            problems.add(&self.at, format!("{} experiments, at most {MAX_EXPERIMENTS}", defs.len()));
        }
        let mut keys = BTreeSet::new();
        if let Some(twice) = defs.iter().find(|def| !keys.insert(&def.key)) {
            problems.add(&self.at, format!("the experiment {:?} stands twice", twice.key));
        }
        // The placement's own way is the first; arms of their own follow in the order written.
        let mut ways = 1;
        let tables = self.world.definition.tables.get(key);
        defs.iter()
            .map(|def| {
                let before = tables.and_then(|tables| tables.get(&def.key));
                let salt = def.salt.clone().unwrap_or_else(|| def.key.clone());
                let names: Vec<&str> = def.arms.iter().map(|arm| arm.name.as_str()).collect();
                let weights: Vec<u32> = def.arms.iter().map(|arm| arm.weight).collect();
                self.check_experiment(def, &names, &weights, problems);
                let table = match before.filter(|before| before.salt == salt) {
                    Some(before) => before.with(&names, &weights),
                    None => Table::new(&weights),
                };
                let arms = def.arms.iter().map(|arm| {
                    let way = if arm.has_a_way() { ways } else { 0 };
                    ways += usize::from(arm.has_a_way());
                    Arm { name: arm.name.as_str().into(), way }
                });
                let arms = arms.collect();
                let overrides = def.overrides.iter().filter_map(|(unit, arm)| {
                    let at = names.iter().position(|name| name == arm)?;
                    Some((unit.clone(), at))
                });
                let group = def.group.as_ref();
                Experiment {
                    key: Arc::from(def.key.as_str()),
                    unit: def.unit,
                    salt,
                    holdout: self.world.definition.release.holdout.as_ref().and_then(|def| holdout(def).ok()),
                    group: group.map(|group| Group { name: group.name.clone(), from: group.from, to: group.to }),
                    when: def.when.as_ref().and_then(|when| self.when(&def.key, when, called, problems)),
                    start_us: def.start.map_or(i64::MIN, |time| time.us()),
                    end_us: def.end.map_or(i64::MAX, |time| time.us()),
                    overrides: overrides.collect(),
                    table,
                    arms,
                }
            })
            .collect()
    }

    fn check_experiment(&self, def: &ExperimentDef, names: &[&str], weights: &[u32], problems: &mut Problems) {
        let what = format!("experiment {:?}", def.key);
        let mut add = |why: String| problems.add(&self.at, format!("{what}: {why}"));
        if def.key.is_empty() || def.key.len() > 100 {
            add("a key has 1 to 100 bytes".into());
        }
        if names.is_empty() || names.len() > MAX_ARMS {
            add(format!("{} arms, expected 1 to {MAX_ARMS}", names.len()));
        }
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        if ![100, u64::from(SLOTS)].contains(&sum) {
            add(format!(
                "the weights of its arms add up to {sum}, expected 100 (percent) or {SLOTS} (hundredths of them)"
            ));
        }
        if names.iter().any(|name| name.is_empty() || name.len() > 100) {
            add("an arm's name has 1 to 100 bytes".into());
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
            add(format!("the arm {twice:?} stands twice"));
        }
        for (unit, arm) in &def.overrides {
            if !names.contains(&arm.as_str()) {
                add(format!("overrides.{unit}: {}", unknown("arm", arm, names.iter().copied())));
            }
        }
        // Units that fall alike in two draws are all in one part of the other.
        let salt = def.salt.as_ref().unwrap_or(&def.key);
        let holdout = self.world.definition.release.holdout.as_ref().map(|holdout| &holdout.salt);
        let group_name = def.group.as_ref().map(|group| &group.name);
        for (one, other, what) in [
            (Some(salt), group_name, "its salt is the name of its group"),
            (Some(salt), holdout, "its salt is that of the holdout"),
            (group_name, holdout, "its group is called as the salt of the holdout"),
        ] {
            if one.is_some() && one == other {
                add(format!("{what}: units would fall alike in both; say another `salt`"));
            }
        }
        if def.key.contains('/') || names.iter().any(|name| name.contains('/')) {
            add("a key and an arm's name have no `/`, which stands between them where something is learned".into());
        }
        if let Some(group) = &def.group
            && (group.name.is_empty() || group.from >= group.to || u32::from(group.to) > SLOTS)
        {
            let (from, to) = (group.from, group.to);
            add(format!("group: from {from} to {to}, expected a name and a part of 0 to {SLOTS} that is not empty"));
        }
        if let (Some(start), Some(end)) = (def.start, def.end)
            && start >= end
        {
            add(format!("it ends at {}, which is not after its start at {}", String::from(end), String::from(start)));
        }
    }

    fn when(&self, key: &str, when: &str, called: &[(&str, &Manifest)], problems: &mut Problems) -> Option<Scorer> {
        let (module, output) = split_scorer(when);
        let call = called.iter().position(|(name, _)| *name == module)?;
        let manifest = called[call].1;
        let found = manifest.output(output);
        let column = found.filter(|column| manifest.outputs[*column].kind == Kind::Flag);
        if column.is_none() {
            let why = match found {
                Some(_) => format!("{when:?} is no flag"),
                None => {
                    let known = manifest.outputs.iter().map(|output| output.name.as_str());
                    unknown(&format!("output of {module:?}"), output, known)
                }
            };
            problems.add(&self.at, format!("experiment {key:?}: when: {why}"));
        }
        Some(Scorer { call, output: column? })
    }
}
