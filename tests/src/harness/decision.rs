//! The decision core alone, for what needs no node: a plan out of JSON, and decisions whose scores, features and learned counts
//! the caller gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use selvedge_decision::definition::{FeaturesDef, PlacementDef, ReleaseDef};
use selvedge_decision::gather::{ContextValue, Features, Request, Rows};
use selvedge_decision::plan::{Definition, Tables};
use selvedge_decision::policy::{Contests, Ready};
use selvedge_decision::record::Rung;
use selvedge_decision::settle::{Learned, Modules};
use selvedge_decision::{DecisionId, Digest, Fault, Manifest, Moment, Plan, Record, TimeUs, World, decide};
use serde_json::{Value, json};

/// The name of the only module there is: it scores candidates by the numbers that the caller gives.
pub const SCORER: &str = "scores";

/// A release that decides without a node.
#[derive(Debug)]
pub struct Core {
    /// The release, compiled.
    pub plan: Plan,
    /// By view and id: the row's numbers, in the view's order.
    items: BTreeMap<String, Vec<u64>>,
    digest: Digest,
    rows: Rows,
    contests: Contests,
}

/// What one decision is about.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The placement.
    pub placement: &'a str,
    /// When.
    pub time_us: TimeUs,
    /// By which node.
    pub tag: u32,
    /// The how-manieth decision of that node it is: no two have one number.
    pub count: u32,
    /// Whom it is for.
    pub subject: Option<&'a str>,
    /// The items to choose of; nothing for the placement's actions.
    pub candidates: Option<&'a [&'a str]>,
    /// What [`SCORER`] answers, a number for each candidate.
    pub scores: &'a [f64],
    /// The placement's context, in the order of its names: numbers alone.
    pub context: &'a [f64],
}

/// Rows of items: numbers alone.
struct Items<'a>(&'a BTreeMap<String, Vec<u64>>);

struct Scores<'a>(&'a [f64]);

struct Known<'a, L> {
    learned: L,
    contests: &'a mut Contests,
}

/// A release's definition from placements by key and the numbers that a view `item` has of items.
pub fn definition(placements: &Value, features: &[&str], tables: Tables) -> Result<Definition> {
    let placements: BTreeMap<String, PlacementDef> =
        serde_json::from_value(placements.clone()).context("the placements")?;
    let mut inputs =
        vec![json!({"name": "candidate.id", "scope": "candidate", "type": "symbol", "symbols": ["default"]})];
    let input = |name: &&str| json!({"name": format!("item.{name}"), "scope": "candidate", "type": "number"});
    inputs.extend(features.iter().map(input));
    let outputs = json!([{"name": "score", "type": "number"}]);
    let limits = json!({"rows": 4096, "memory_bytes": 65_536});
    let manifest = json!({"manifest": 1, "name": SCORER, "inputs": inputs, "outputs": outputs, "limits": limits});
    let manifest: Manifest = serde_json::from_value(manifest).context("the scorer's manifest")?;
    let numbers: BTreeMap<&str, &str> = features.iter().map(|name| (*name, "number")).collect();
    let views =
        if features.is_empty() { json!({}) } else { json!({"view": {"item": {"by": "item", "features": numbers}}}) };
    let features: FeaturesDef = serde_json::from_value(views).context("the features")?;
    Ok(Definition {
        release: ReleaseDef { name: "core".into(), guard: Default::default(), holdout: None },
        features,
        placements,
        modules: BTreeMap::from([(SCORER.to_owned(), manifest)]),
        tables,
    })
}

/// Compiles it; an error tells all that is wrong with it.
pub fn compile(definition: &Definition) -> Result<Plan> {
    match Plan::compile(definition) {
        Ok(plan) => Ok(plan),
        Err(problems) => {
            bail!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
    }
}

// === impl Core ===

impl Core {
    /// Of placements without features.
    pub fn new(placements: &Value) -> Result<Self> {
        Self::with_items(placements, &[], std::iter::empty())
    }

    /// Of placements that know numbers of items: `features` names them, `items` has them in that order.
    pub fn with_items(
        placements: &Value,
        features: &[&str],
        items: impl Iterator<Item = (String, Vec<f64>)>,
    ) -> Result<Self> {
        let plan = compile(&definition(placements, features, Tables::new())?)?;
        let mut rows = BTreeMap::new();
        for (id, numbers) in items {
            let layout = &plan.views.first().context("a view of items")?.layout;
            let mut cells = layout.missing_row();
            for (name, number) in features.iter().zip(numbers) {
                let field = layout.field(name).with_context(|| format!("a feature {name:?}"))?;
                cells[field.cell as usize] = number.to_bits();
            }
            rows.insert(id, cells);
        }
        let digest = Digest::of(b"core");
        Ok(Self { plan, items: rows, digest, rows: Rows::default(), contests: Contests::default() })
    }

    /// Takes a contest that was computed before anybody decides by it.
    pub fn offer(&mut self, ready: &Arc<Ready>) {
        self.contests.offer(ready);
    }

    /// Decides. `learned` tells of a bandit, by its index, what is known of each candidate, with a model by what that sees of them.
    pub fn decide(
        &mut self,
        ask: Ask<'_>,
        learned: impl FnMut(usize, &[Arc<str>], &[i8]) -> Vec<[f64; 2]>,
    ) -> Result<Record> {
        let placement = self.plan.placements.get(ask.placement).context("the placement")?;
        let request = Request {
            subject: ask.subject,
            candidates: ask.candidates.map(<[&str]>::to_vec),
            context: ask.context.iter().copied().map(ContextValue::Number).collect(),
            ..Request::default()
        };
        let moment = Moment {
            id: DecisionId::new(ask.time_us, ask.tag, ask.count),
            time_us: ask.time_us,
            release: self.digest,
            explain: false,
            explores: true,
        };
        let world = World {
            features: &Items(&self.items),
            modules: &mut Scores(ask.scores),
            learned: &mut Known { learned, contests: &mut self.contests },
        };
        Ok(decide(placement, &request, moment, world, &mut self.rows)?.record)
    }
}

impl Features for Items<'_> {
    fn read(&self, _view: usize, entity: &str, cells: &mut [u64]) -> Option<TimeUs> {
        cells.copy_from_slice(self.0.get(entity)?);
        Some(0)
    }

    fn lag_us(&self, _view: usize) -> i64 {
        0
    }

    // There are numbers only.
    fn symbol(&self, _cell: u64) -> f64 {
        f64::NAN
    }

    fn number(&self, _text: &str) -> f64 {
        -1.0
    }

    fn text(&self, _cell: u64) -> Option<Arc<str>> {
        None
    }

    fn entities(&self, _view: usize, _limit: usize) -> Result<Vec<Arc<str>>, usize> {
        Ok(self.0.keys().map(|id| Arc::from(id.as_str())).collect())
    }
}

impl Modules for Scores<'_> {
    fn evaluate(&mut self, _: Rung, _: usize, _: &[f64], _: &[f64], _: u32) -> Result<Vec<f64>, Fault> {
        Ok(self.0.to_vec())
    }
}

impl<L: FnMut(usize, &[Arc<str>], &[i8]) -> Vec<[f64; 2]>> Learned for Known<'_, L> {
    fn learned(&mut self, bandit: usize, ids: &[Arc<str>], x: &[i8]) -> Vec<[f64; 2]> {
        (self.learned)(bandit, ids, x)
    }

    fn contests(&mut self) -> &mut Contests {
        self.contests
    }
}
