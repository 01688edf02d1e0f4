//! The cases of `tests/cases/decide`, run by the native core: a release, rows and modules as data, then requests and what
//! must come out. Each decision is also replayed from its record and must give the same bytes; a page's record of it is one that a node
//! takes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use selvedge_decision::definition::{FeaturesDef, PlacementDef, ReleaseDef};
use selvedge_decision::gather::{ContextValue, Features, Request, Rows};
use selvedge_decision::layout::{FeatureKind, NO_IDS, NO_SYMBOL, NO_TIME, id_hash, pack};
use selvedge_decision::logistic::{Posterior, Prior};
use selvedge_decision::manifest::Kind;
use selvedge_decision::page::PageRelease;
use selvedge_decision::plan::{Definition, Placement};
use selvedge_decision::policy::Contests;
use selvedge_decision::record::Rung;
use selvedge_decision::replay::replay;
use selvedge_decision::settle::{Learned, Modules};
use selvedge_decision::{Decision, DecisionId, Digest, Fault, Manifest, Moment, Plan, Record, World, decide};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    release: Option<ReleaseDef>,
    #[serde(default)]
    features: FeaturesDef,
    placements: BTreeMap<String, PlacementDef>,
    #[serde(default)]
    modules: BTreeMap<String, Module>,
    /// View, entity, feature, value.
    #[serde(default)]
    rows: BTreeMap<String, BTreeMap<String, Map<String, Value>>>,
    /// View and its lag in microseconds.
    #[serde(default)]
    lag_us: BTreeMap<String, i64>,
    /// Bandit, action: rewards and misses.
    #[serde(default)]
    learned: BTreeMap<String, BTreeMap<String, [f64; 2]>>,
    /// Bandit, action: means and precisions of a model's weights, the intercept first.
    #[serde(default)]
    weights: BTreeMap<String, BTreeMap<String, [Vec<f64>; 2]>>,
    /// Exploring was switched off.
    #[serde(default)]
    frozen: bool,
    /// What compiling must complain about, if it must.
    #[serde(default)]
    problems: Vec<String>,
    #[serde(default)]
    requests: Vec<Asked>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Module {
    manifest: Manifest,
    /// For each output: a bias, and weights by input name. A missing input makes the output missing.
    #[serde(default)]
    outputs: BTreeMap<String, Formula>,
    /// It does not answer, for this reason.
    #[serde(default)]
    fault: Option<Fault>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Formula {
    bias: f64,
    weights: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    why: String,
    request: Value,
    expect: Map<String, Value>,
}

/// 2026-11-23T12:00:00Z, a Monday.
const NOW_US: i64 = 1_795_435_200_000_000;

#[test]
fn every_case() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/decide");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no case found");
    for file in files {
        let case: Case = serde_json::from_slice(&std::fs::read(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        check(&file.display().to_string(), &case);
    }
}

fn check(file: &str, case: &Case) {
    let release =
        case.release.clone().unwrap_or(ReleaseDef { name: "case".into(), guard: Default::default(), holdout: None });
    let definition = Definition {
        release,
        features: case.features.clone(),
        placements: case.placements.clone(),
        modules: case.modules.iter().map(|(name, module)| (name.clone(), module.manifest.clone())).collect(),
        tables: BTreeMap::new(),
    };
    let plan = match Plan::compile(&definition) {
        Ok(plan) => plan,
        Err(problems) => {
            let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(found, case.problems, "{file}: problems: {}", json!(found));
            return;
        }
    };
    assert!(case.problems.is_empty(), "{file}: compiled, but must not");
    let (page, mut wrong) = (page(&plan), Vec::new());
    for (at, asked) in case.requests.iter().enumerate() {
        let what = format!("{file}: requests[{at}], {}", asked.why);
        let (answer, record) = ask(case, &plan, &asked.request, DecisionId::new(NOW_US, 7, at as u32));
        let is_other = |(key, expected): &(&String, &Value)| answer.get(*key) != Some(*expected);
        let others: Vec<String> = asked
            .expect
            .iter()
            .filter(is_other)
            .map(|(key, expected)| format!("{key}: {}, expected {expected}", answer[key]))
            .collect();
        wrong.extend(others.first().map(|_| format!("{what}: {} in {answer:#}", others.join("; "))));
        if let Some(record) = record {
            assert_eq!(Record::from_bytes(&record.to_bytes()).unwrap().to_bytes(), record.to_bytes(), "{what}: bytes");
            let again = replay(&plan, &record, &mut Formulas { plan: &plan, case }, &mut Contests::default()).unwrap();
            assert_eq!(again.to_bytes(), record.to_bytes(), "{what}: replayed {again:?} from {record:?}");
        }
        let (_, record) = ask(case, &plan, &asked.request, DecisionId::of_a_page(NOW_US, 7, at as u32));
        if let Some(record) = record.filter(|record| page.placements.contains_key(&*record.placement)) {
            assert_eq!(page.check(&record), Ok(()), "{what}: a page's {record:?}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The release in a page, all of it said to be for browsers.
fn page(plan: &Plan) -> PageRelease {
    let mut plan = plan.clone();
    plan.placements.values_mut().for_each(|placement| placement.browser = true);
    plan.views.iter_mut().for_each(|view| view.def.browser = true);
    plan.page(Digest::of(b"case"), |_| true, |_| true).0
}

fn ask(case: &Case, plan: &Plan, request: &Value, id: DecisionId) -> (Value, Option<Record>) {
    let placement = &plan.placements[request["placement"].as_str().unwrap()];
    let texts = |key: &str| request[key].as_array().map(|list| list.iter().map(|id| id.as_str().unwrap()).collect());
    let context = placement.context.iter().map(|(name, kind)| match (kind, &request["context"][name]) {
        (Kind::Number, Value::Number(number)) => ContextValue::Number(number.as_f64().unwrap()),
        (Kind::Flag, Value::Bool(flag)) => ContextValue::Flag(*flag),
        (Kind::Symbol, Value::String(text)) => ContextValue::Symbol(text),
        _ => ContextValue::Missing,
    });
    let taken: Vec<Arc<str>> = texts("taken").unwrap_or_else(Vec::new).into_iter().map(Arc::from).collect();
    let typed = Request {
        subject: request["subject"].as_str(),
        session: request["session"].as_str(),
        context: context.collect(),
        candidates: texts("candidates"),
        taken: &taken,
        slots: request["slots"].as_u64().map(|slots| slots as usize),
        tz_offset_min: request["tz_offset_min"].as_i64().unwrap_or(0) as i32,
    };
    let moment = Moment { id, time_us: NOW_US, release: Digest::of(b"case"), explain: true, explores: !case.frozen };
    let (source, mut modules) = (Tables { plan, case }, Formulas { plan, case });
    let mut learned = Known { plan, case, contests: Contests::default() };
    let world = World { features: &source, modules: &mut modules, learned: &mut learned };
    match decide(placement, &typed, moment, world, &mut Rows::default()) {
        Ok(decision) => {
            let answer = answer(placement, &decision);
            (answer, Some(decision.record))
        }
        Err(bad) => (json!({ "error": bad.to_string() }), None),
    }
}

fn answer(placement: &Placement, decision: &Decision) -> Value {
    let Decision { record, outcome, taken } = decision;
    let ids: Vec<&str> = record.choices.iter().map(|choice| &*record.candidates[choice.candidate as usize]).collect();
    let named = |rows: &[u32]| rows.iter().map(|row| json!(record.candidates[*row as usize])).collect::<Value>();
    let limits = outcome.trace.changed.iter();
    let limits = limits.map(|(limit, rows)| (placement.limits[usize::from(*limit)].name.clone(), named(rows)));
    let values = placement.values.iter().zip(&record.values).map(|(spec, value)| (spec.name.clone(), json!(value)));
    json!({
        "choices": ids,
        "scores": record.choices.iter().map(|choice| json!(choice.score)).collect::<Vec<_>>(),
        "propensities": record.choices.iter().map(|choice| json!(round(choice.propensity))).collect::<Vec<_>>(),
        "shadows": record.shadows.iter().map(|shadow| match shadow.fault {
            Some(fault) => fault.to_string(),
            None => format!("{} {} over {}", record.candidates[shadow.candidate as usize], shadow.score, shadow.chosen),
        }).collect::<Vec<_>>(),
        "reason": record.reason,
        "model": record.model.as_ref().map(|model| &model.x),
        "arm": record.arm,
        "faults": record.faults.iter().map(|fault| format!("{:?} {}", fault.rung, fault.fault)).collect::<Vec<_>>(),
        "values": values.collect::<Map<_, _>>(),
        "max_lag_ms": record.max_lag_ms,
        "candidates": record.candidates.iter().map(|id| id.to_string()).collect::<Vec<_>>(),
        "limits": limits.collect::<Map<_, _>>(),
        "taken": taken,
    })
}

fn round(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}

/// Rows out of the case. A symbol's number is its index among the release's texts; other texts start at 1,000.
struct Tables<'a> {
    plan: &'a Plan,
    case: &'a Case,
}

impl Tables<'_> {
    fn texts(&self) -> Vec<&str> {
        let rows = self.case.rows.values().flat_map(BTreeMap::values);
        let mut texts: Vec<&str> = rows.flat_map(Map::values).filter_map(Value::as_str).collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    }
}

impl Features for Tables<'_> {
    fn read(&self, view: usize, entity: &str, cells: &mut [u64]) -> Option<i64> {
        let view = &self.plan.views[view];
        let row = self.case.rows.get(&view.name)?.get(&entity.replace('\0', "|"))?;
        for field in view.layout.fields() {
            let (value, cell) = (row.get(&field.name).unwrap_or(&Value::Null), field.cell as usize);
            cells[cell] = match field.kind {
                FeatureKind::Number => value.as_f64().unwrap_or(f64::NAN).to_bits(),
                FeatureKind::Time => value.as_i64().map_or(NO_TIME, |time_us| time_us as u64),
                FeatureKind::F32 => u64::from(value.as_f64().map_or(f32::NAN, |x| x as f32).to_bits()),
                FeatureKind::Flag => value.as_bool().map_or(f64::NAN, f64::from).to_bits(),
                FeatureKind::Symbol => match value.as_str() {
                    Some(text) => self.texts().iter().position(|known| *known == text).unwrap() as u64,
                    None => NO_SYMBOL,
                },
                FeatureKind::Text => continue,
                FeatureKind::Ids => {
                    let ids = value.as_array().map(|ids| ids.iter().map(|id| id_hash(id.as_str().unwrap())));
                    let cells = &mut cells[cell..cell + field.cells()];
                    cells.fill(if ids.is_some() { 0 } else { NO_IDS });
                    cells.iter_mut().zip(ids.into_iter().flatten()).for_each(|(cell, id)| *cell = id);
                    continue;
                }
                FeatureKind::Vector => {
                    let values: Vec<f32> = (0..field.len as usize)
                        .map(|at| value.get(at).and_then(Value::as_f64).map_or(f32::NAN, |x| x as f32))
                        .collect();
                    for (at, pair) in values.chunks(2).enumerate() {
                        cells[cell + at] = pack(pair[0], *pair.get(1).unwrap_or(&f32::NAN));
                    }
                    continue;
                }
            };
        }
        Some(row.get("_time").and_then(Value::as_i64).unwrap_or(NOW_US))
    }

    fn lag_us(&self, view: usize) -> i64 {
        self.case.lag_us.get(&self.plan.views[view].name).copied().unwrap_or(0)
    }

    fn symbol(&self, cell: u64) -> f64 {
        if cell == NO_SYMBOL { f64::NAN } else { self.plan.symbols.number(self.texts()[cell as usize]) }
    }

    fn number(&self, text: &str) -> f64 {
        self.plan.symbols.number(text)
    }

    fn text(&self, cell: u64) -> Option<Arc<str>> {
        self.texts().get(cell as usize).map(|text| Arc::from(*text))
    }

    fn entities(&self, view: usize, _limit: usize) -> Result<Vec<Arc<str>>, usize> {
        let rows = self.case.rows.get(&self.plan.views[view].name);
        Ok(rows.map(|rows| rows.keys().map(|id| Arc::from(id.as_str())).collect()).unwrap_or_default())
    }
}

struct Known<'a> {
    plan: &'a Plan,
    case: &'a Case,
    contests: Contests,
}

impl Learned for Known<'_> {
    fn learned(&mut self, bandit: usize, ids: &[Arc<str>], x: &[i8]) -> Vec<[f64; 2]> {
        let bandit = &self.plan.bandits[bandit];
        if let Some(shape) = &bandit.model {
            let prior = Prior { counts: bandit.prior, precision: shape.precision };
            let known = self.case.weights.get(&bandit.key);
            let logit = |(id, x): (&Arc<str>, &[i8])| match known.and_then(|known| known.get(&**id)).cloned() {
                Some([mean, precision]) => Posterior { mean, precision }.logit(x),
                None => Posterior::unlearned(prior, shape.features()).logit(x),
            };
            return ids.iter().zip(x.chunks(shape.features())).map(logit).collect();
        }
        let known = self.case.learned.get(&bandit.key);
        ids.iter().map(|id| known.and_then(|known| known.get(&**id)).copied().unwrap_or_default()).collect()
    }

    fn contests(&mut self) -> &mut Contests {
        &mut self.contests
    }
}

struct Formulas<'a> {
    plan: &'a Plan,
    case: &'a Case,
}

impl Modules for Formulas<'_> {
    fn evaluate(
        &mut self,
        _: Rung,
        module: usize,
        shared: &[f64],
        rows: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault> {
        let module = &self.case.modules[&self.plan.modules[module]];
        if let Some(fault) = module.fault {
            return Err(fault);
        }
        let manifest = &module.manifest;
        assert_eq!(shared.len(), manifest.shared_width(), "shared row of {:?}", manifest.name);
        assert_eq!(rows.len(), manifest.candidate_width() * count as usize, "rows of {:?}", manifest.name);
        let silent = Formula { bias: f64::NAN, weights: BTreeMap::new() };
        let mut answer = Vec::new();
        for row in 0..count as usize {
            let own = &rows[row * manifest.candidate_width()..(row + 1) * manifest.candidate_width()];
            for output in &manifest.outputs {
                let formula = module.outputs.get(&output.name).unwrap_or(&silent);
                let mut value = formula.bias;
                let (mut shared_at, mut own_at) = (0, 0);
                for input in &manifest.inputs {
                    let (row, at) = match input.scope {
                        selvedge_decision::manifest::Scope::Shared => (shared, &mut shared_at),
                        selvedge_decision::manifest::Scope::Candidate => (own, &mut own_at),
                    };
                    if let Some(weight) = formula.weights.get(&input.name) {
                        value += weight * row[*at..*at + input.width()].iter().sum::<f64>();
                    }
                    *at += input.width();
                }
                answer.push(value);
            }
        }
        Ok(answer)
    }
}
