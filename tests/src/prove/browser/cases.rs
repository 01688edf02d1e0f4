//! The cases of `tests/cases/decide`, each in a page: its placements, views and modules said to be for browsers. Cases that no page
//! decides (a person's own values, views that a page cannot hold) are left to the node, and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use selvedge_decision::definition::{FeaturesDef, PlacementDef, ReleaseDef};
use selvedge_decision::gather::{Features, Request, Rows};
use selvedge_decision::layout::{FeatureKind, NO_IDS, NO_SYMBOL, NO_TIME, id_hash, pack};
use selvedge_decision::manifest::{Kind, Scope};
use selvedge_decision::page::{PAGE_VERSION, PageRelease, PageRows, PageTable, Whose};
use selvedge_decision::plan::Definition;
use selvedge_decision::policy::Contests;
use selvedge_decision::settle::Learned;
use selvedge_decision::{DecisionId, Fault, Manifest, Moment, Plan, TimeUs, World as Asked, decide};
use selvedge_engine::engine::{Ask, Value as Given};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Called, Findings, Outcome, World, digest};
use crate::harness::binary;

/// 2026-11-23T12:00:00Z, a Monday.
const NOW_US: TimeUs = 1_795_435_200_000_000;

#[derive(Deserialize)]
struct Case {
    release: Option<ReleaseDef>,
    #[serde(default)]
    features: FeaturesDef,
    placements: BTreeMap<String, PlacementDef>,
    #[serde(default)]
    modules: BTreeMap<String, Module>,
    #[serde(default)]
    rows: BTreeMap<String, BTreeMap<String, Map<String, Value>>>,
    #[serde(default)]
    lag_us: BTreeMap<String, i64>,
    #[serde(default)]
    learned: BTreeMap<String, BTreeMap<String, [f64; 2]>>,
    #[serde(default)]
    frozen: bool,
    #[serde(default)]
    requests: Vec<Request1>,
}

#[derive(Deserialize)]
struct Request1 {
    request: Value,
}

#[derive(Deserialize)]
struct Module {
    manifest: Manifest,
    #[serde(default)]
    outputs: BTreeMap<String, Formula>,
    #[serde(default)]
    fault: Option<Fault>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Formula {
    bias: f64,
    weights: BTreeMap<String, f64>,
}

/// Whether of the candidate, where, how many, weight.
type Term = (bool, usize, usize, f64);

/// A case, compiled, with the rows that it has.
struct Compiled {
    case: Case,
    plan: Plan,
    texts: Vec<String>,
}

pub(super) fn worlds(findings: &mut Findings) -> Result<Vec<World>> {
    let mut files: Vec<_> = fs::read_dir(binary::repository().join("tests/cases/decide"))?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::path);
    let (mut worlds, mut elsewhere) = (Vec::new(), 0);
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        let mut case: Case = serde_json::from_slice(&fs::read(file.path())?).with_context(|| name.clone())?;
        case.placements.values_mut().for_each(|placement| placement.browser = true);
        case.features.view.values_mut().for_each(|view| view.browser = true);
        let Some(compiled) = Compiled::new(case) else { continue };
        let mut world = World::new(name, &compiled.plan);
        world.modules = compiled.case.modules.values().zip(0..).map(|(module, at)| module.to_json(at)).collect();
        elsewhere += compiled.ask(&mut world, findings)?;
        worlds.push(world);
    }
    findings.note(format!("{elsewhere} requests of the cases are of placements that only a node decides"));
    Ok(worlds)
}

// === impl Compiled ===

impl Compiled {
    /// Nothing for a case that must not compile.
    fn new(case: Case) -> Option<Self> {
        let release = ReleaseDef { name: "case".into(), guard: Default::default(), holdout: None };
        let plan = Plan::compile(&Definition {
            release: case.release.clone().unwrap_or(release),
            features: case.features.clone(),
            placements: case.placements.clone(),
            modules: case.modules.iter().map(|(name, module)| (name.clone(), module.manifest.clone())).collect(),
            tables: BTreeMap::new(),
        });
        let rows = case.rows.values().flat_map(BTreeMap::values);
        let texts: BTreeSet<String> = rows.flat_map(Map::values).filter_map(Value::as_str).map(str::to_owned).collect();
        Some(Self { plan: plan.ok()?, case, texts: texts.into_iter().collect() })
    }

    /// Asks all requests; how many of them no page decides.
    fn ask(&self, world: &mut World, findings: &mut Findings) -> Result<usize> {
        let page = PageRelease::from_bytes(&world.release)?;
        let (mut engine, mut elsewhere) = (world.engine()?, 0);
        for Request1 { request } in &self.case.requests {
            let key = request["placement"].as_str().context("a placement")?;
            if !page.placements.contains_key(key) {
                elsewhere += 1;
                continue;
            }
            let (subject, session) = (request["subject"].as_str(), request["session"].as_str());
            let tables = self.tables(&page, subject, session);
            let learned = self.case.learned.iter().filter_map(|(bandit, counts)| {
                let at = self.plan.bandits.iter().position(|known| known.key == *bandit)?;
                Some((at as u32, counts.iter().map(|(action, counts)| (action.as_str(), *counts)).collect()))
            });
            let overrides = page.placements.keys().flat_map(|key| {
                let experiments = self.plan.placements[key].experiments.iter().zip(0..);
                experiments.filter_map(move |(experiment, at)| {
                    let unit = match experiment.unit {
                        selvedge_decision::definition::Unit::Subject => subject,
                        selvedge_decision::definition::Unit::Session => session,
                    };
                    Some((key.as_str(), at, *experiment.overrides.get(unit?)? as u32))
                })
            });
            let rows = PageRows {
                version: PAGE_VERSION,
                release: digest().0,
                time_us: NOW_US,
                own: true,
                subject,
                session,
                texts: self.texts.iter().map(String::as_str).collect(),
                tables: tables.iter().map(Table::as_page).collect(),
                learned: learned.collect(),
                frozen: page.placements.keys().filter(|_| self.case.frozen).map(String::as_str).collect(),
                overrides: overrides.collect(),
            };
            let texts = |name: &str| {
                let list = request[name].as_array();
                list.map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>())
            };
            let given = self.plan.placements[key].context.iter();
            let given = given.map(|(name, kind)| match (kind, &request["context"][name]) {
                (Kind::Number, Value::Number(number)) => Given::Number(number.as_f64().unwrap_or(f64::NAN)),
                (Kind::Flag, Value::Bool(flag)) => Given::Flag(*flag),
                (Kind::Symbol, Value::String(text)) => Given::Symbol(text),
                _ => Given::Missing,
            });
            let ask = Ask {
                placement: key,
                context: given.collect(),
                candidates: texts("candidates"),
                taken: texts("taken").unwrap_or_default(),
                slots: request["slots"].as_u64().map(|slots| slots as u32),
                tz_offset_min: request["tz_offset_min"].as_i64().unwrap_or(0) as i32,
            };
            let direct = |count| self.direct(&ask, subject, session, count);
            let mut modules =
                Called(|module, shared: &[f64], rows: &[f64], count| self.call(module, shared, rows, count));
            world.ask(&mut engine, &mut modules, &rows, &ask, direct, findings)?;
        }
        Ok(elsewhere)
    }

    /// What the core makes of it with the whole release; nothing for what it refuses, which a page tells in other words.
    fn direct(&self, ask: &Ask<'_>, subject: Option<&str>, session: Option<&str>, count: u32) -> Option<Outcome> {
        let taken: Vec<Arc<str>> = ask.taken.iter().map(|id| Arc::from(*id)).collect();
        let request = Request {
            subject,
            session,
            context: ask.context.clone(),
            candidates: ask.candidates.clone(),
            taken: &taken,
            slots: ask.slots.map(|slots| slots as usize),
            tz_offset_min: ask.tz_offset_min,
        };
        let id = DecisionId::of_a_page(NOW_US, 7, count);
        let moment = Moment { id, time_us: NOW_US, release: digest(), explain: false, explores: !self.case.frozen };
        let mut modules = Called(|module, shared: &[f64], rows: &[f64], count| self.call(module, shared, rows, count));
        let mut learned = Known { of: self, contests: Contests::default() };
        let world = Asked { features: self, modules: &mut modules, learned: &mut learned };
        let placement = &self.plan.placements[ask.placement];
        decide(placement, &request, moment, world, &mut Rows::default())
            .ok()
            .map(|decision| Ok(decision.record.to_bytes()))
    }

    fn call(&self, module: usize, shared: &[f64], rows: &[f64], count: u32) -> Result<Vec<f64>, Fault> {
        let module = &self.case.modules[&self.plan.modules[module]];
        if let Some(fault) = module.fault {
            return Err(fault);
        }
        let (width, mut answer) = (module.manifest.candidate_width(), Vec::new());
        for row in 0..count as usize {
            let own = &rows[row * width..(row + 1) * width];
            for (bias, terms) in module.formulas() {
                let term = |value: f64, (is_own, at, n, weight): Term| {
                    let row = if is_own { own } else { shared };
                    value + weight * row[at..at + n].iter().fold(-0.0, |sum, number| sum + number)
                };
                answer.push(terms.into_iter().fold(bias, term));
            }
        }
        Ok(answer)
    }

    /// The rows of the page's views: those that a page gets who is asked for by this subject and session.
    fn tables(&self, page: &PageRelease, subject: Option<&str>, session: Option<&str>) -> Vec<Table> {
        let of = |(at, view): (&u32, &selvedge_decision::page::PageView)| {
            let plan = &self.plan.views[*at as usize];
            let wanted = |id: &String| match view.whose {
                Whose::All => true,
                Whose::Subject => Some(id.as_str()) == subject,
                Whose::Session => Some(id.as_str()) == session,
            };
            let ids = self.case.rows.get(&plan.name).into_iter().flat_map(BTreeMap::keys).filter(|id| wanted(id));
            let mut table = Table { view: *at, lag_us: self.lag_us(*at as usize), ..Table::default() };
            for id in ids {
                let entity = id.replace('|', "\0");
                let mut cells = vec![0; view.cells as usize];
                table.times_us.extend(self.read(*at as usize, &entity, &mut cells));
                table.cells.extend(view.used.iter().flat_map(|cell| cells[*cell as usize].to_le_bytes()));
                table.entities.push(entity);
            }
            table
        };
        page.views.iter().map(of).collect()
    }
}

impl Features for Compiled {
    fn read(&self, view: usize, entity: &str, cells: &mut [u64]) -> Option<TimeUs> {
        let view = &self.plan.views[view];
        let row = self.case.rows.get(&view.name)?.get(&entity.replace('\0', "|"))?;
        for field in view.layout.fields() {
            let (value, at) = (row.get(&field.name).unwrap_or(&Value::Null), field.cell as usize);
            let cells = &mut cells[at..at + field.cells()];
            let one = match field.kind {
                FeatureKind::Number => value.as_f64().unwrap_or(f64::NAN).to_bits(),
                FeatureKind::Time => value.as_i64().map_or(NO_TIME, |time_us| time_us as u64),
                FeatureKind::F32 => u64::from(value.as_f64().map_or(f32::NAN, |x| x as f32).to_bits()),
                FeatureKind::Flag => value.as_bool().map_or(f64::NAN, f64::from).to_bits(),
                FeatureKind::Symbol => {
                    let number = |text| self.texts.iter().position(|known| known == text).map(|at| at as u64);
                    value.as_str().and_then(number).unwrap_or(NO_SYMBOL)
                }
                FeatureKind::Text => continue,
                FeatureKind::Ids => {
                    cells.fill(if value.is_array() { 0 } else { NO_IDS });
                    let ids = value.as_array().into_iter().flatten().filter_map(Value::as_str).map(id_hash);
                    cells.iter_mut().zip(ids).for_each(|(cell, id)| *cell = id);
                    continue;
                }
                FeatureKind::Vector => {
                    let number = |at| value.get(at).and_then(Value::as_f64).map_or(f32::NAN, |x| x as f32);
                    let of = |at: usize| if at < field.len as usize { number(at) } else { f32::NAN };
                    cells.iter_mut().enumerate().for_each(|(at, cell)| *cell = pack(of(2 * at), of(2 * at + 1)));
                    continue;
                }
            };
            cells[0] = one;
        }
        Some(row.get("_time").and_then(Value::as_i64).unwrap_or(NOW_US))
    }

    fn lag_us(&self, view: usize) -> i64 {
        self.case.lag_us.get(&self.plan.views[view].name).copied().unwrap_or(0)
    }

    fn symbol(&self, cell: u64) -> f64 {
        self.text(cell).map_or(f64::NAN, |text| self.plan.symbols.number(&text))
    }

    fn number(&self, text: &str) -> f64 {
        self.plan.symbols.number(text)
    }

    fn text(&self, cell: u64) -> Option<Arc<str>> {
        self.texts.get(cell as usize).map(|text| Arc::from(text.as_str()))
    }

    fn entities(&self, view: usize, _: usize) -> Result<Vec<Arc<str>>, usize> {
        let rows = self.case.rows.get(&self.plan.views[view].name);
        Ok(rows.map(|rows| rows.keys().map(|id| Arc::from(id.as_str())).collect()).unwrap_or_default())
    }
}

/// A view's rows, until they go out.
#[derive(Default)]
struct Table {
    view: u32,
    lag_us: i64,
    entities: Vec<String>,
    times_us: Vec<TimeUs>,
    cells: Vec<u8>,
}

impl Table {
    fn as_page(&self) -> PageTable<'_> {
        PageTable {
            view: self.view,
            lag_us: self.lag_us,
            entities: self.entities.iter().map(String::as_str).collect(),
            times_us: self.times_us.clone(),
            cells: &self.cells,
        }
    }
}

struct Known<'a> {
    of: &'a Compiled,
    contests: Contests,
}

impl Learned for Known<'_> {
    fn learned(&mut self, bandit: usize, ids: &[Arc<str>], _: &[i8]) -> Vec<[f64; 2]> {
        let known = self.of.case.learned.get(&self.of.plan.bandits[bandit].key);
        ids.iter().map(|id| known.and_then(|known| known.get(&**id)).copied().unwrap_or_default()).collect()
    }

    fn contests(&mut self) -> &mut Contests {
        &mut self.contests
    }
}

// === impl Module ===

impl Module {
    /// Of each output its bias and its terms: whether of the candidate, where, how many, weight.
    fn formulas(&self) -> Vec<(f64, Vec<Term>)> {
        let of = |formula: &Formula| {
            let (mut ats, mut terms) = ([0, 0], Vec::new());
            for input in &self.manifest.inputs {
                let is_own = input.scope == Scope::Candidate;
                let at = &mut ats[usize::from(is_own)];
                if let Some(weight) = formula.weights.get(&input.name) {
                    terms.push((is_own, *at, input.width(), *weight));
                }
                *at += input.width();
            }
            (formula.bias, terms)
        };
        let silent = Formula { bias: f64::NAN, weights: BTreeMap::new() };
        self.manifest.outputs.iter().map(|output| of(self.outputs.get(&output.name).unwrap_or(&silent))).collect()
    }

    fn to_json(&self, index: usize) -> Value {
        let outputs: Vec<Value> =
            self.formulas().into_iter().map(|(bias, terms)| json!({"bias": bias, "terms": terms})).collect();
        let fault =
            self.fault.and_then(|fault| Fault::ALL.iter().position(|known| *known == fault)).map_or(0, |at| at + 1);
        let (shared, candidate) = (self.manifest.shared_width(), self.manifest.candidate_width());
        json!({"index": index, "formula": {"fault": fault, "shared": shared, "candidate": candidate, "outputs": outputs}})
    }
}
