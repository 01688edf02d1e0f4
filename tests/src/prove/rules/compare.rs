//! One case three ways. Owns what counts as the same: the value of every output, by name and type, and the rows that fired.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use selvedge_build::module;
use selvedge_build::rules::{self, Evaluated, Expect, Program, trial};
use selvedge_decision::manifest::Scalar;
use selvedge_host::{Host, HostConfig, Module};
use serde_json::{Map, Value};

use super::generate::Case;
use crate::prove::Findings;

/// Enough for every call, also on a busy machine.
const AMPLE: Duration = Duration::from_secs(20);

pub(super) struct Subject {
    host: Host,
}

/// Values by their whole name.
type Given = BTreeMap<String, Option<Scalar>>;

/// A table's rows that fired, by its name.
type Fired = BTreeMap<String, Vec<usize>>;

// === impl Subject ===

impl Subject {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { host: Host::new(HostConfig { instances: 4, ..HostConfig::default() })? })
    }

    /// Counts a comparison for every context that zen answers. Contexts that differ in candidates alone are one call.
    pub(super) fn compare(&self, case: &Case, answers: &[Value], findings: &mut Findings) -> Result<()> {
        let text = serde_json::to_vec(&case.graph)?;
        let rules = match rules::read("case.jdm.json", &text) {
            Ok(rules) => rules,
            Err(bad) => {
                let told = bad.to_string();
                let is_known = case.may_be_refused.iter().any(|why| told.contains(why));
                findings.check(is_known, || format!("a file inside of the profile is refused: {bad}\n{}", case.graph));
                return Ok(());
            }
        };
        // As it is built, and as it would be if it were large.
        let load = |bytes: Vec<u8>| anyhow::Ok(self.host.load(&bytes, &module::open(&bytes)?.manifest)?);
        let loaded = [load(rules.module()?)?, load(rules.module_in_parts()?)?];
        let contexts: Vec<[Given; 2]> = case.contexts.iter().map(by_scope).collect::<Result<_>>()?;
        let mut at = 0;
        while at < contexts.len() {
            let same = contexts[at..].iter().take_while(|[shared, _]| *shared == contexts[at][0]).count();
            let answers = answers.get(at..at + same).context("an answer for every context")?;
            self.call(case, &rules.program, &loaded, &contexts[at..at + same], answers, findings)?;
            at += same;
        }
        Ok(())
    }

    fn call(
        &self,
        case: &Case,
        program: &Program,
        loaded: &[Module; 2],
        contexts: &[[Given; 2]],
        answers: &[Value],
        findings: &mut Findings,
    ) -> Result<()> {
        let test = rules::Case {
            name: String::new(),
            now: None,
            input: contexts[0][0].clone(),
            candidates: contexts.iter().map(|[_, own]| own.clone()).collect(),
            expect: Expect::Each(Vec::new()),
        };
        let call = trial::call(program, &test).map_err(anyhow::Error::msg)?;
        let found: Vec<Vec<f64>> = loaded
            .iter()
            .map(|loaded| loaded.evaluate(&call.shared, &call.candidates, call.count, AMPLE))
            .collect::<Result<_, _>>()
            .map_err(|fault| anyhow::anyhow!("the module faulted with `{fault}`: {}", case.graph))?;
        let (outputs, width) = (program.outputs.len(), call.candidates.len() / contexts.len());
        for (row, answer) in answers.iter().enumerate() {
            // An expression node that fails stops zen; here its key has no value (docs/rules.md).
            let Some(result) = answer.get("result") else { continue };
            let fired: Fired = serde_json::from_value(answer["fired"].clone())?;
            let expected = self.expected(case, program, result, &fired);
            let own = &call.candidates[row * width..(row + 1) * width];
            let reference = rules::evaluate(program, &call.shared, own);
            let context = || format!("{:?} and {}", contexts[row], case.graph);
            let [whole, parts] = [&found[0], &found[1]].map(|found| &found[row * outputs..(row + 1) * outputs]);
            let answers =
                [("the module", whole), ("the module in parts", parts), ("the reference", &reference.outputs[..])];
            for (who, outputs) in answers {
                let outputs = named(program, outputs);
                findings.check(outputs == expected, || {
                    format!("{who} says {outputs:?}, zen says {expected:?}, for {}", context())
                });
            }
            let ours = fired_of(program, &reference);
            let zens: Fired = fired.into_iter().filter(|(table, _)| has_table(program, table)).collect();
            findings.check(ours == zens, || format!("{ours:?} fired, in zen {zens:?}, for {}", context()));
        }
        Ok(())
    }

    /// What zen's answer says of the outputs: those that have a value, by name.
    fn expected(&self, case: &Case, program: &Program, result: &Value, fired: &Fired) -> Map<String, Value> {
        let names = program.outputs.iter().map(|output| output.name.as_str()).filter(|name| *name != "row");
        let mut expected = case.expected(result, names);
        // A text that the rules do not know cannot be handed on (docs/rules.md).
        expected.retain(|_, value| value.as_str().is_none_or(|text| program.texts.iter().any(|known| known == text)));
        // The last table that ran: tables are in the order of evaluation.
        let last = program.tables().filter_map(|table| fired.get(&table.name)).last();
        if let Some(first) = last.and_then(|rows| rows.first()) {
            expected.insert("row".into(), Value::from(*first as f64));
        }
        expected
    }
}

fn has_table(program: &Program, name: &str) -> bool {
    program.tables().any(|table| table.name == name)
}

fn fired_of(program: &Program, evaluated: &Evaluated) -> Fired {
    let names: Vec<&str> = program.tables().map(|table| table.name.as_str()).collect();
    evaluated.fired.iter().map(|(table, rows)| (names[*table].to_owned(), rows.clone())).collect()
}

/// A context's values of the request and of the candidate.
fn by_scope(context: &Value) -> Result<[Given; 2]> {
    fn flat(prefix: &str, value: &Value, given: &mut Given) -> Result<()> {
        let Value::Object(values) = value else {
            given.insert(prefix.to_owned(), serde_json::from_value(value.clone())?);
            return Ok(());
        };
        let dot = if prefix.is_empty() { "" } else { "." };
        values.iter().try_for_each(|(name, value)| flat(&format!("{prefix}{dot}{name}"), value, given))
    }
    let mut shared = Given::new();
    flat("", context, &mut shared)?;
    let own =
        shared.iter().filter(|(name, _)| name.starts_with("item.")).map(|(name, value)| (name.clone(), value.clone()));
    let own: Given = own.collect();
    shared.retain(|name, _| !own.contains_key(name));
    Ok([shared, own])
}

/// The outputs that have a value, by name.
fn named(program: &Program, outputs: &[f64]) -> Map<String, Value> {
    let mut named = Map::new();
    for (output, number) in program.outputs.iter().zip(outputs) {
        match trial::scalar(program, output.kind, *number) {
            Some(Scalar::Number(number)) => drop(named.insert(output.name.clone(), Value::from(number + 0.0))),
            Some(Scalar::Flag(flag)) => drop(named.insert(output.name.clone(), Value::from(flag))),
            Some(Scalar::Text(text)) => drop(named.insert(output.name.clone(), Value::from(text))),
            None => {}
        }
    }
    named
}
