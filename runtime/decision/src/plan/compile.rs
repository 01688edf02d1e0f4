//! From a definition to a plan. Owns every check that several files take part in; each problem says the file, the place and
//! what would be right.

mod aggregates;
mod experiments;
mod limits;
mod models;
mod policies;
mod rows;
mod sources;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::rows::Rows;
use super::columns::Source;
use super::{Action, Bandit, Call, Candidates, Definition, Placement, Plan, Problem, Symbols, ViewPlan};
use crate::definition::{By, ByteSize, FeatureDef, FeatureSpec, FeaturesDef, From, PlacementDef, Sync, ViewDef};
use crate::layout::FeatureKind;
use crate::manifest::{Kind, Manifest, Scalar, Scope};

/// The most candidates of one decision, whatever the modules were sized for.
const MAX_CANDIDATES: usize = 10_000;
/// The most columns of all rows of one decision together: 32 MiB.
const MAX_CELLS: usize = 4 << 20;
/// The most choices of one decision.
const MAX_SLOTS: u32 = 1_000;
/// The most modules a placement calls.
const MAX_CALLS: usize = 64;
/// The most buckets of one view.
const MAX_SHARDS: u32 = 256;
/// The least memory a view may be given: one piece of a table and one row of the widest are less.
const SMALLEST_VIEW: ByteSize = ByteSize::from_bytes(1 << 20);

pub(super) fn compile(definition: &Definition) -> Result<Plan, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut views: Vec<ViewPlan> = definition
        .features
        .view
        .iter()
        .map(|(name, def)| {
            check_view(name, def, &mut problems);
            check_shards(name, def, &definition.features, &mut problems);
            ViewPlan { name: name.clone(), def: def.clone(), layout: def.layout(), aggregates: None }
        })
        .collect();
    aggregates::compile(&mut views, &mut problems);
    for (name, manifest) in &definition.modules {
        if let Err(bad) = manifest.check() {
            problems.add(format!("modules/{name}"), bad.to_string());
        }
    }
    if definition.placements.is_empty() {
        problems.add("placements", "a release needs at least one placement: add placements/NAME.toml");
    }
    problems.check()?;

    let known = definition.modules.values().flat_map(|manifest| &manifest.inputs).flat_map(|input| &input.symbols);
    let shares = definition.placements.values().flat_map(|def| &def.limits.min_share);
    let asked = shares.filter_map(|share| match &share.is {
        Scalar::Text(text) => Some(text),
        Scalar::Flag(_) | Scalar::Number(_) => None,
    });
    let told_apart = definition.placements.values().flat_map(models::told_apart);
    let symbols = Symbols::new(known.chain(asked).chain(told_apart).map(String::as_str));
    let modules: Vec<String> = definition.modules.keys().cloned().collect();
    experiments::check_release(definition, &mut problems);
    let (mut placements, mut bandits) = (BTreeMap::new(), Vec::new());
    for (key, def) in &definition.placements {
        let at = format!("placements/{key}.toml");
        let world = World { definition, views: &views, modules: &modules, symbols: &symbols };
        let compiler = Compiler { world, at, def, sources: [BTreeMap::new(), BTreeMap::new()] };
        if let Some(placement) = compiler.run(key, &mut bandits, &mut problems) {
            placements.insert(key.clone(), placement);
        }
    }
    problems.check()?;
    let release = &definition.release;
    let mut events = definition.features.events.clone();
    events.sort_unstable();
    Ok(Plan {
        name: release.name.clone(),
        guard: release.guard.clone(),
        events,
        views,
        modules,
        symbols,
        placements,
        bandits,
    })
}

fn check_view(name: &str, def: &ViewDef, problems: &mut Problems) {
    let at = format!("features.toml: view.{name}");
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if name.is_empty() || name.len() > 64 || !plain(name) || matches!(name, "context" | "candidate") {
        problems
            .add(&at, "a view's name has 1 to 64 characters of a-z, 0-9 and _, and is not `context` or `candidate`");
    }
    if def.on_miss.is_some() && def.sync != Sync::OnDemand {
        problems.add(&at, "on_miss is about whom a node does not hold: it needs sync = \"on-demand\"");
    }
    if def.max_bytes.is_some_and(|most| most.bytes() < SMALLEST_VIEW.bytes()) {
        problems.add(&at, format!("max_bytes is below {SMALLEST_VIEW}, the least a view takes"));
    }
    match (def.features.is_empty(), def.aggregates.is_empty()) {
        (true, true) => problems.add(&at, "has no features: add [view.NAME.features]"),
        (false, false) => problems.add(&at, "has features and aggregates: put the aggregates into a view of their own"),
        _ => {}
    }
    for (feature, spec) in &def.features {
        let at = format!("{at}.features.{feature}");
        match (spec.kind(), spec) {
            (FeatureKind::Vector, FeatureDef::Full(full)) if (1..=65_536).contains(&full.len.unwrap_or(0)) => {}
            (FeatureKind::Vector, _) => problems.add(&at, "a vector needs `len`, from 1 to 65,536"),
            (FeatureKind::Ids, FeatureDef::Full(full)) if (1..=4_096).contains(&full.len.unwrap_or(0)) => {}
            (FeatureKind::Ids, _) => problems.add(&at, "a list of ids needs `len`, the most it has, from 1 to 4,096"),
            (_, FeatureDef::Full(full)) if full.len.is_some() => {
                problems.add(&at, "only a vector and a list of ids have `len`");
            }
            _ => {}
        }
        let fits = match (spec.kind(), spec.default()) {
            (_, None) | (FeatureKind::Flag, Some(Scalar::Flag(_))) | (FeatureKind::Symbol, Some(Scalar::Text(_))) => {
                true
            }
            (FeatureKind::Flag | FeatureKind::Symbol | FeatureKind::Ids | FeatureKind::Text, Some(_)) => false,
            (_, Some(scalar)) => matches!(scalar, Scalar::Number(_)),
        };
        if !fits {
            problems.add(&at, format!("the default does not fit the type {}", spec.kind()));
        }
        if let FeatureDef::Full(FeatureSpec { ttl, old, .. }) = spec {
            if ttl.is_some_and(|ttl| ttl.us() <= 0) {
                problems.add(&at, "ttl is 0: every value would be old");
            }
            if old.is_some() && ttl.is_none() {
                problems.add(&at, "old says what a value does that is older than `ttl`: add one");
            }
        }
    }
    if def.layout().cells() > 65_536 {
        problems.add(&at, "a row is larger than 65,536 cells of 8 bytes: split the view");
    }
}

/// Shards are buckets beside those of other views: no two may be one.
fn check_shards(name: &str, def: &ViewDef, features: &FeaturesDef, problems: &mut Problems) {
    let Some(shards) = def.shards else { return };
    let at = format!("features.toml: view.{name}");
    if !(2..=MAX_SHARDS).contains(&shards) {
        problems.add(&at, format!("shards is {shards}, expected 2 to {MAX_SHARDS}; leave it out for one bucket"));
    }
    if shards > 1 && def.max_bytes.is_some_and(|most| most.bytes() / u64::from(shards) < SMALLEST_VIEW.bytes()) {
        problems.add(&at, format!("max_bytes is below {SMALLEST_VIEW} for each of {shards} shards"));
    }
    let is_shard = |other: &&String| (0..shards.min(MAX_SHARDS)).any(|shard| **other == format!("{name}_{shard}"));
    if let Some(other) = features.view.keys().find(is_shard) {
        problems.add(&at, format!("the view {other:?} has the name of one of its shards: rename one of them"));
    }
}

/// What a placement is compiled against.
#[derive(Clone, Copy)]
struct World<'a> {
    definition: &'a Definition,
    views: &'a [ViewPlan],
    modules: &'a [String],
    symbols: &'a Symbols,
}

struct Compiler<'a> {
    world: World<'a>,
    at: String,
    def: &'a PlacementDef,
    /// For each row, the sources it has columns for, with a name for people.
    sources: [BTreeMap<Source, String>; 2],
}

impl<'a> Compiler<'a> {
    fn run(mut self, key: &str, bandits: &mut Vec<Bandit>, problems: &mut Problems) -> Option<Placement> {
        let before = problems.found.len();
        let at = self.at.clone();
        self.check_numbers(key, problems);
        let context: Vec<(String, Kind)> = self.def.context.iter().map(|(name, kind)| (name.clone(), *kind)).collect();
        let candidates = self.candidates(problems);
        let called = self.called(problems);
        let sources = self.fallbacks(problems);
        self.limit_sources(problems);
        self.model_sources(problems);
        let experiments = self.experiments(key, &called, problems);
        let (mut ways, fallback_of) = self.ways(key, &called, bandits, problems);
        let shadow = self.shadow(&called, problems);

        // First what the modules need, then where it lies, then the steps: columns are ordered by where they come from.
        for (name, manifest) in &called {
            for input in &manifest.inputs {
                if let Err(why) = self.need(name, input) {
                    problems.add(&at, why);
                }
            }
        }
        if problems.found.len() > before {
            return None;
        }
        let rows = Rows::lay_out(&self);
        let views = self.view_uses(&rows, problems);
        let mut values = Vec::new();
        let calls: Vec<Call> =
            called.iter().map(|(name, manifest)| self.call(name, manifest, &rows, &views, &mut values)).collect();
        let (request, post) = self.request_ops(&rows);
        let max_rows = called.iter().map(|(_, manifest)| manifest.limits.rows as usize).min().unwrap_or(MAX_CANDIDATES);
        let [shared_width, candidate_width] = rows.widths;
        if shared_width > MAX_CELLS || candidate_width > MAX_CELLS {
            let why = format!("a row has {} columns, at most {MAX_CELLS}", shared_width.max(candidate_width));
            problems.add(&at, why);
        }
        let max_candidates = max_rows.min(MAX_CANDIDATES).min(MAX_CELLS / candidate_width.max(1)).max(1);
        if self.def.actions.len() > max_candidates {
            let why = format!("{} actions, but its modules take at most {max_candidates} rows", self.def.actions.len());
            problems.add(&at, why);
        }
        if problems.found.len() > before {
            return None;
        }
        let fallbacks = ways::plans(sources, &rows);
        for (way, of) in ways.iter_mut().zip(fallback_of) {
            way.fallback.clone_from(&fallbacks[of]);
        }
        let limits = self.limits(&rows);
        self.place_models(&rows, &mut ways);
        let (ineligible, pii) = (rows.ineligible(&self), rows.pii());
        let [shared, candidate] = rows.columns;
        Some(Placement {
            key: Arc::from(key),
            browser: self.def.browser,
            context,
            actions: self.actions(),
            candidates: candidates?,
            max_candidates,
            slots: self.def.slots as usize,
            deadline_us: self.def.deadline.us(),
            record_inputs: self.def.record.inputs,
            views,
            request,
            post,
            shared,
            shared_width,
            candidate,
            candidate_width,
            ineligible,
            pii,
            calls,
            ways,
            experiments,
            limits,
            shadow,
            values,
        })
    }

    fn check_numbers(&self, key: &str, problems: &mut Problems) {
        let (at, def) = (&self.at, self.def);
        if key.is_empty() || key.len() > 100 {
            problems.add(at, "a placement's key has 1 to 100 bytes");
        }
        if def.slots == 0 || def.slots > MAX_SLOTS {
            problems.add(at, format!("slots is {}, expected 1 to {MAX_SLOTS}", def.slots));
        }
        if !(1_000..=10_000_000).contains(&def.deadline.us()) {
            problems.add(at, "deadline is not between 1ms and 10s");
        }
        if !(0.0..=1.0).contains(&def.record.inputs) {
            problems.add(at, format!("record.inputs is {}, expected a share from 0 to 1", def.record.inputs));
        }
        for (name, kind) in &def.context {
            if *kind == Kind::Vector {
                problems.add(at, format!("context.{name}: a context value is a number, a flag or a symbol"));
            }
        }
    }

    fn candidates(&self, problems: &mut Problems) -> Option<Candidates> {
        let at = &self.at;
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.def.actions.iter().find(|action| !seen.insert(&action.id)) {
            problems.add(at, format!("the action {:?} stands twice", twice.id));
        }
        if self.def.actions.iter().any(|action| action.id.is_empty() || action.id.len() > 512) {
            problems.add(at, "an action's id has 1 to 512 bytes");
        }
        match (&self.def.candidates, self.def.actions.is_empty()) {
            (None, false) => Some(Candidates::Actions),
            (None, true) => {
                problems.add(at, "has no candidates: add `actions = [...]` or `candidates = { view = \"item\" }`");
                None
            }
            (Some(_), false) => {
                problems.add(at, "has both `actions` and `candidates`: keep one");
                None
            }
            (Some(def), true) => {
                let Some(view) = self.world.views.iter().position(|view| view.name == def.view) else {
                    problems.add(at, format!("candidates.view: {}", unknown("view", &def.view, self.view_names())));
                    return None;
                };
                if self.world.views[view].def.by != By::One("item".into()) {
                    problems.add(at, format!("candidates.view {:?} is not by = \"item\"", def.view));
                }
                if def.from == From::View && self.world.views[view].aggregates.is_some() {
                    let why =
                        "what events come to is no list of items: say from = \"request\", or name a view with features";
                    problems.add(at, format!("candidates.view {:?}: {why}", def.view));
                }
                if def.from == From::View && self.world.views[view].def.sync == Sync::OnDemand {
                    let why = "a node does not hold all items of an on-demand view: say from = \"request\", or sync = \"all\"";
                    problems.add(at, format!("candidates.view {:?}: {why}", def.view));
                }
                Some(match def.from {
                    From::Request => Candidates::Request,
                    From::View => Candidates::View(view),
                })
            }
        }
    }

    /// The modules of all rules and ladders, each once, the placement's rules first and in order.
    fn called(&self, problems: &mut Problems) -> Vec<(&'a str, &'a Manifest)> {
        let def = self.def;
        let arms = || def.experiment.iter().flat_map(|experiment| &experiment.arms);
        let rules = def.rules.iter().chain(arms().flat_map(|arm| arm.rules.iter().flatten()));
        let when = def.experiment.iter().filter_map(|experiment| experiment.when.as_ref());
        let scorers = self.scorers().chain(when).map(|scorer| split_scorer(scorer).0);
        let mut called: Vec<(&str, &Manifest)> = Vec::new();
        for name in rules.map(String::as_str).chain(scorers) {
            if called.iter().any(|(known, _)| *known == name) {
                continue;
            }
            match self.world.definition.modules.get_key_value(name) {
                Some((name, manifest)) => called.push((name, manifest)),
                None => {
                    let known = self.world.modules.iter().map(String::as_str);
                    problems.add(&self.at, unknown("module", name, known));
                }
            }
        }
        if called.len() > MAX_CALLS {
            problems.add(&self.at, format!("calls {} modules, at most {MAX_CALLS}", called.len()));
        }
        called
    }

    /// Whatever scores, with the placement's ladder or an arm's or beside.
    fn scorers(&self) -> impl Iterator<Item = &'a String> {
        let def = self.def;
        let arms = def.experiment.iter().flat_map(|experiment| &experiment.arms);
        let shadows = def.shadow.iter().flat_map(|shadow| &shadow.scorers);
        def.ladder.iter().chain(arms.flat_map(|arm| arm.ladder.iter().flatten())).chain(shadows)
    }

    fn actions(&self) -> Vec<Action> {
        let actions = self.def.actions.iter();
        actions.map(|action| Action { id: action.id.as_str().into(), payload: action.payload.clone() }).collect()
    }

    fn view_names(&self) -> impl Iterator<Item = &'a str> {
        self.world.views.iter().map(|view| view.name.as_str())
    }
}

#[derive(Default)]
struct Problems {
    found: BTreeSet<Problem>,
}

impl Problems {
    fn add(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.found.insert(Problem { at: at.into(), message: message.into() });
    }

    fn check(&mut self) -> Result<(), Vec<Problem>> {
        if self.found.is_empty() { Ok(()) } else { Err(std::mem::take(&mut self.found).into_iter().collect()) }
    }
}

fn side(scope: Scope) -> usize {
    match scope {
        Scope::Shared => 0,
        Scope::Candidate => 1,
    }
}

/// `module` or `module:output`; the output is `score` when not said.
fn split_scorer(scorer: &str) -> (&str, &str) {
    scorer.split_once(':').unwrap_or((scorer, "score"))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("there is no {what} {name:?}; did you mean {near:?}?"),
        None => format!("there is no {what} {name:?}"),
    }
}

/// The known name that looks most like `name`, if one looks like it at all.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
