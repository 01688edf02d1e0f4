//! One case three ways. Owns what counts as the same: the value of every output, by name and type.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use selvedge_build::module;
use selvedge_build::rules::{self, Expect, Program, trial};
use selvedge_decision::manifest::Scalar;
use selvedge_host::{Host, HostConfig};
use serde_json::{Map, Value};

use super::generate::Case;
use crate::prove::Findings;

/// Enough for every call, also on a busy machine.
const AMPLE: Duration = Duration::from_secs(20);

pub(super) struct Subject {
    host: Host,
}

// === impl Subject ===

impl Subject {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { host: Host::new(HostConfig { instances: 4, ..HostConfig::default() })? })
    }

    /// Counts a comparison for every context that zen answers.
    pub(super) fn compare(&self, case: &Case, answers: &[Value], findings: &mut Findings) -> Result<()> {
        let text = serde_json::to_vec(&case.graph)?;
        let rules = match rules::read("case.jdm.json", &text) {
            Ok(rules) => rules,
            Err(bad) => {
                findings.check(false, || format!("a file inside of the profile is refused: {bad}\n{}", case.graph));
                return Ok(());
            }
        };
        let bytes = rules.module()?;
        let manifest = module::open(&bytes)?.manifest;
        let loaded = self.host.load(&bytes, &manifest)?;
        for (context, answer) in case.contexts.iter().zip(answers) {
            // An expression node that fails stops zen; here its key has no value (docs/rules.md).
            let Some(expected) = answer.get("result") else { continue };
            let mut expected = case.expected(expected);
            // A text that the rules do not know cannot be handed on (docs/rules.md).
            expected.retain(|_, value| {
                value.as_str().is_none_or(|text| rules.program.texts.iter().any(|known| known == text))
            });
            let call = trial::call(&rules.program, &as_test(context)?).map_err(anyhow::Error::msg)?;
            let found = loaded
                .evaluate(&call.shared, &call.candidates, call.count, AMPLE)
                .map_err(|fault| anyhow::anyhow!("the module faulted with `{fault}`: {}", case.graph))?;
            let reference = rules::evaluate(&rules.program, &call.shared, &call.candidates).outputs;
            for (who, outputs) in [("the module", &found), ("the reference", &reference)] {
                let outputs = named(&rules.program, outputs);
                findings.check(outputs == expected, || {
                    format!("{who} says {outputs:?}, zen says {expected:?}, for {context} and {}", case.graph)
                });
            }
        }
        Ok(())
    }
}

/// A context as the input of a test.
fn as_test(context: &Value) -> Result<rules::Case> {
    let mut input = BTreeMap::new();
    for (group, values) in context.as_object().context("a context is an object")? {
        for (name, value) in values.as_object().context("a context has groups")? {
            input.insert(format!("{group}.{name}"), serde_json::from_value(value.clone())?);
        }
    }
    let expect = Expect::One(BTreeMap::new());
    Ok(rules::Case { name: String::new(), now: None, input, candidates: Vec::new(), expect })
}

/// The outputs that have a value, by name.
fn named(program: &Program, outputs: &[f64]) -> Map<String, Value> {
    let mut named = Map::new();
    for (output, number) in program.outputs.iter().zip(outputs).filter(|(output, _)| output.name != "row") {
        match trial::scalar(program, output.kind, *number) {
            Some(Scalar::Number(number)) => drop(named.insert(output.name.clone(), Value::from(number + 0.0))),
            Some(Scalar::Flag(flag)) => drop(named.insert(output.name.clone(), Value::from(flag))),
            Some(Scalar::Text(text)) => drop(named.insert(output.name.clone(), Value::from(text))),
            None => {}
        }
    }
    named
}
