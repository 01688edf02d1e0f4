//! The tests of a release folder: a request and features in, a decision out, by the decision core and the host, without a
//! node. Owns the shape of `tests/*.test.json` and the tables its rows become.

mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use selvedge_build::build::module_name;
use selvedge_build::keys::SigningKey;
use selvedge_build::release::{self, Limits, PackError};
use selvedge_build::rules;
use selvedge_decision::gather::{ContextValue, Request, Rows};
use selvedge_decision::manifest::Kind;
use selvedge_decision::plan::Placement;
use selvedge_decision::record::Rung;
use selvedge_decision::settle::{Modules, Unlearned};
use selvedge_decision::{DecisionId, Fault, Moment, Plan, Record, World, decide};
use selvedge_host::{Host, Module};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::tables::Tables;
use super::Results;
use super::files::Tested;
use crate::modules::file_name;

/// What a test's decision may take for each module.
const AMPLE: Duration = Duration::from_secs(2);
/// When a test decides that does not say: 2026-11-23T12:00:00Z, a Monday.
const NOW_US: i64 = 1_795_435_200_000_000;

/// One test of `tests/*.test.json`, which is a list of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShopCase {
    name: String,
    /// As the body of `POST /v1/decide`.
    request: Wanted,
    /// Rows: view, entity (the parts of a pair joined by `|`), feature.
    #[serde(default)]
    features: BTreeMap<String, BTreeMap<String, Map<String, Value>>>,
    /// The time of the decision in microseconds since 1970.
    #[serde(default)]
    now_us: Option<i64>,
    /// Parts of the answer: `choices` (ids), `reason`, `arm`, `values`, `faults`.
    expect: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    placement: String,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    candidates: Option<Vec<String>>,
    #[serde(default)]
    slots: Option<usize>,
    #[serde(default)]
    tz_offset_min: i32,
}

/// Runs the tests of a release folder, of which `rules` were tested by themselves; a folder that is no release is a failed
/// test.
pub(super) fn run(host: &Host, dir: &Path, rules: &[Tested], results: &mut Results) -> anyhow::Result<()> {
    // Packed for the check of all of it; the key signs nothing that is kept.
    let packed = match release::pack(dir, &SigningKey::generate()?) {
        Ok(packed) => packed,
        Err(PackError::Bad(bad)) => {
            let findings = bad.findings.iter().map(ToString::to_string);
            // What is wrong in a file of rules was told with it.
            let wrong: Vec<String> = findings.filter(|line| !results.has_told(line)).collect();
            if !wrong.is_empty() {
                results.add(dir, "the release", wrong);
            }
            return Ok(());
        }
        Err(error @ PackError::Read { .. }) => return Err(error.into()),
    };
    let files = release::open(&packed.bytes, &Limits::default())?;
    let contents = release::definition(&files)?;
    let plan = contents.compile()?;
    let mut modules = Vec::new();
    for name in &plan.modules {
        let module = contents.modules.get(name).ok_or_else(|| anyhow::anyhow!("module {name:?} is missing"))?;
        let of_name = |tested: &&Tested| module_name(&file_name(Path::new(&tested.file))) == Some(name.as_str());
        let rules = rules.iter().find(of_name);
        modules.push(Loaded { module: host.load(module.bytes, &module.file.manifest)?, rules });
    }
    for (name, bytes) in &contents.tests {
        let path = dir.join(format!("tests/{name}.test.json"));
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let cases: Vec<ShopCase> = match Vec::deserialize(&mut reader) {
            Ok(cases) => cases,
            Err(error) => {
                results.add(&path, "the file", vec![format!("is not a list of tests: {error}")]);
                continue;
            }
        };
        for (at, case) in cases.iter().enumerate() {
            let mut calls = Calls { modules: &modules, fired: BTreeMap::new() };
            let found = ask(&plan, &mut calls, case, &packed.digest, at as u32);
            for (module, rows) in calls.fired {
                if let Some(tested) = modules[module].rules {
                    results.coverage(&tested.file, &tested.rules.program).fired(rows);
                }
            }
            let wrong = match found {
                Ok(answer) => compare(&case.expect, &answer),
                Err(why) => vec![why],
            };
            results.add(&path, &case.name, wrong);
        }
    }
    Ok(())
}

fn compare(expect: &Map<String, Value>, answer: &Value) -> Vec<String> {
    let wrong = expect.iter().filter(|(key, expected)| answer.get(key.as_str()) != Some(expected));
    wrong
        .map(|(key, expected)| match answer.get(key.as_str()) {
            Some(found) => format!("{key} is {found}, expected {expected}"),
            None => format!("an answer has no {key:?}; it has choices, reason, arm, values, faults"),
        })
        .collect()
}

fn ask(
    plan: &Plan,
    calls: &mut Calls<'_>,
    case: &ShopCase,
    release: &selvedge_decision::Digest,
    count: u32,
) -> Result<Value, String> {
    let wanted = &case.request;
    let placement = plan
        .placements
        .get(wanted.placement.as_str())
        .ok_or_else(|| format!("the release has no placement {:?}", wanted.placement))?;
    let unknown = wanted.context.keys().find(|name| !placement.context.iter().any(|(known, _)| known == *name));
    if let Some(unknown) = unknown {
        return Err(format!("context {unknown:?} is none of the placement's"));
    }
    let context = placement.context.iter().map(|(name, kind)| context(name, *kind, wanted.context.get(name)));
    let request = Request {
        subject: wanted.subject.as_deref(),
        session: wanted.session.as_deref(),
        context: context.collect::<Result<_, _>>()?,
        candidates: wanted.candidates.as_ref().map(|ids| ids.iter().map(String::as_str).collect()),
        taken: &[],
        slots: wanted.slots,
        tz_offset_min: wanted.tz_offset_min,
    };
    let time_us = case.now_us.unwrap_or(NOW_US);
    let moment =
        Moment { id: DecisionId::new(time_us, 0, count), time_us, release: *release, explain: false, explores: true };
    let tables = Tables::new(plan, &case.features)?;
    let world = World { features: &tables, modules: calls, learned: &mut Unlearned::default() };
    let decision = decide(placement, &request, moment, world, &mut Rows::default());
    decision.map(|decision| answer(placement, &decision.record)).map_err(|bad| bad.to_string())
}

fn context<'v>(name: &str, kind: Kind, value: Option<&'v Value>) -> Result<ContextValue<'v>, String> {
    match (kind, value) {
        (_, None | Some(Value::Null)) => Ok(ContextValue::Missing),
        (Kind::Number, Some(Value::Number(number))) => Ok(ContextValue::Number(number.as_f64().unwrap_or(f64::NAN))),
        (Kind::Flag, Some(Value::Bool(flag))) => Ok(ContextValue::Flag(*flag)),
        (Kind::Symbol, Some(Value::String(text))) => Ok(ContextValue::Symbol(text)),
        (kind, Some(other)) => Err(format!("context {name:?}: {other} is no {kind}")),
    }
}

fn answer(placement: &Placement, record: &Record) -> Value {
    let ids: Vec<&str> = record.choices.iter().map(|choice| &*record.candidates[choice.candidate as usize]).collect();
    let values =
        placement.values.iter().zip(&record.values).filter(|(_, value)| !value.is_nan()).map(|(spec, value)| {
            let told = match spec.kind {
                Kind::Flag => json!(*value != 0.0),
                Kind::Symbol => json!(spec.symbols.get(*value as usize).filter(|_| *value >= 0.0)),
                Kind::Number | Kind::Vector => json!(value),
            };
            (spec.name.clone(), told)
        });
    json!({
        "choices": ids,
        "reason": record.reason,
        "arm": record.arm,
        "values": values.collect::<Map<_, _>>(),
        "faults": record.faults.iter().map(|fault| fault.fault.as_str()).collect::<Vec<_>>(),
    })
}

/// A module of the release, and the rules that it was built from where it was.
struct Loaded<'r> {
    module: Module,
    rules: Option<&'r Tested>,
}

/// The calls of one test.
struct Calls<'m> {
    /// The release's modules, by their place in the plan.
    modules: &'m [Loaded<'m>],
    /// The rows of rules that fired, by module: table, row.
    fired: BTreeMap<usize, BTreeSet<(usize, usize)>>,
}

impl Modules for Calls<'_> {
    fn evaluate(
        &mut self,
        _: Rung,
        module: usize,
        shared: &[f64],
        rows: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault> {
        let loaded = self.modules.get(module).ok_or(Fault::Trap)?;
        if let Some(tested) = loaded.rules {
            let width = rows.len() / count.max(1) as usize;
            let fired = self.fired.entry(module).or_default();
            for row in 0..count as usize {
                let own = rows.get(row * width..(row + 1) * width).unwrap_or_default();
                fired.extend(rules::evaluate(&tested.rules.program, shared, own).fired_rows());
            }
        }
        loaded.module.evaluate(shared, rows, count, AMPLE)
    }
}

/// Ids as the decision core wants them.
type Ids = Vec<Arc<str>>;
