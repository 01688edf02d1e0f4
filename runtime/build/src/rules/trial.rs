//! Tests of rules, as people write them beside the rules: inputs by name and the outputs that must come out. Owns their shape
//! and what a named input means; runs them by the reference evaluation, or says what a module would be called with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use selvedge_decision::manifest::{Input, Kind, Scalar, Scope};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::finding::{BadRules, Code, Finding, Place};
use super::program::{Program, Type};
use super::{eval, jdm};
use crate::definitions::nearest;
use crate::derived::{self, moment_us};

/// The most tests of one file.
const MAX_TESTS: usize = 10_000;

/// One test.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The time of the decision, such as `2026-11-25T08:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// Inputs of the request and, for one candidate, its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub input: BTreeMap<String, Option<Scalar>>,
    /// Inputs of several candidates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<BTreeMap<String, Option<Scalar>>>,
    /// What must come out, for each candidate; outputs that are not named may be anything.
    pub expect: Expect,
}

/// Outputs that must come out.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Expect {
    /// Of the one candidate.
    One(BTreeMap<String, Option<Scalar>>),
    /// Of every candidate.
    Each(Vec<BTreeMap<String, Option<Scalar>>>),
}

/// The numbers a test calls with.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The shared row.
    pub shared: Vec<f64>,
    /// The candidates' rows, one after another.
    pub candidates: Vec<f64>,
    /// How many candidates.
    pub count: u32,
}

/// What a test found.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// What did not come out as expected, in words; empty when all did.
    pub wrong: Vec<String>,
    /// The rows that fired: table, row.
    pub fired: BTreeSet<(usize, usize)>,
}

type Given = BTreeMap<String, Option<Scalar>>;

/// Runs a test by the reference evaluation.
///
/// # Errors
///
/// When the test names no input of the rules, or a value that an input cannot have.
pub fn run(program: &Program, case: &Case) -> Result<Tried, String> {
    let call = call(program, case)?;
    let width = call.candidates.len() / call.count.max(1) as usize;
    let mut outputs = Vec::new();
    let mut fired = BTreeSet::new();
    for row in 0..call.count as usize {
        let evaluated = eval::evaluate(program, &call.shared, &call.candidates[row * width..(row + 1) * width]);
        fired.extend(evaluated.fired_rows());
        outputs.extend(evaluated.outputs);
    }
    Ok(Tried { wrong: judge(program, case, &outputs)?, fired })
}

/// The call that a test stands for.
///
/// # Errors
///
/// As [`run`].
pub fn call(program: &Program, case: &Case) -> Result<Call, String> {
    check_names(program, case)?;
    let now_us = case.now.as_deref().map(moment_us).transpose()?;
    let one = [Given::new()];
    let candidates = if case.candidates.is_empty() { &one[..] } else { &case.candidates };
    let mut call = Call { shared: Vec::new(), candidates: Vec::new(), count: candidates.len() as u32 };
    if call.count > program.rows {
        return Err(format!("{} candidates, the rules take {}", call.count, program.rows));
    }
    for (at, own) in candidates.iter().enumerate() {
        let given = |name: &str| own.get(name).or_else(|| case.input.get(name)).and_then(Option::as_ref);
        for input in &program.inputs {
            if input.scope == Scope::Shared && at > 0 {
                continue;
            }
            let number = number(program, input, now_us, &given)?;
            let row = if input.scope == Scope::Shared { &mut call.shared } else { &mut call.candidates };
            row.push(number);
        }
    }
    Ok(call)
}

/// Every name a test gives must be one the rules know and stand where it counts, or it would test nothing.
fn check_names(program: &Program, case: &Case) -> Result<(), String> {
    let mut known: BTreeMap<&str, Scope> =
        program.declared.iter().map(|(name, scope)| (name.as_str(), *scope)).collect();
    for input in &program.inputs {
        known.insert(&input.name, input.scope);
        for part in input.derive.iter().flat_map(derived::parts) {
            known.entry(part).or_insert(input.scope);
        }
    }
    for name in case.input.keys().chain(case.candidates.iter().flat_map(BTreeMap::keys)) {
        if !known.contains_key(name.as_str()) {
            let hint = nearest(name, known.keys().copied()).map(|known| format!("; did you mean {known:?}?"));
            return Err(format!("{name:?} is no input of the rules{}", hint.unwrap_or_default()));
        }
    }
    for (at, own) in case.candidates.iter().enumerate() {
        if let Some(name) = own.keys().find(|name| known.get(name.as_str()) == Some(&Scope::Shared)) {
            return Err(format!("candidates[{at}]: {name:?} belongs to the request; write it into `input`"));
        }
    }
    Ok(())
}

fn number<'g>(
    program: &Program,
    input: &Input,
    now_us: Option<i64>,
    given: &impl Fn(&str) -> Option<&'g Scalar>,
) -> Result<f64, String> {
    let number = match (given(&input.name), input.kind, &input.derive) {
        (None, _, Some(derive)) => {
            if now_us.is_none() && derived::reads_time(derive) {
                return Err("the rules read the time: say it, such as \"now\": \"2026-11-25T08:00:00Z\"".to_owned());
            }
            let parts: BTreeMap<&str, Value> =
                derived::parts(derive).into_iter().map(|part| (part, json(given(part)))).collect();
            derived::compute(derive, now_us.unwrap_or(0), |name| parts.get(name))?
        }
        (None, _, None) => f64::NAN,
        (Some(Scalar::Number(number)), Kind::Number, _) => *number,
        (Some(Scalar::Flag(flag)), Kind::Flag, _) => f64::from(*flag),
        (Some(Scalar::Text(text)), Kind::Symbol, _) => program.text(text),
        (Some(other), kind, _) => return Err(format!("{:?}: {} is no {kind}", input.name, told_scalar(other))),
    };
    if !number.is_nan() {
        return Ok(number);
    }
    if input.missing.is_error() {
        return Err(format!("{:?} is missing, which a node takes as an error", input.name));
    }
    input.default_value().map(|default| default.unwrap_or(f64::NAN))
}

/// What is not given is missing.
fn json(given: Option<&Scalar>) -> Value {
    match given {
        None => Value::Null,
        Some(Scalar::Flag(flag)) => Value::from(*flag),
        Some(Scalar::Number(number)) => Value::from(*number),
        Some(Scalar::Text(text)) => Value::from(text.as_str()),
    }
}

/// What is wrong with the outputs of a test's call, row-major.
///
/// # Errors
///
/// When the test expects an output there is none of, or another number of candidates.
pub fn judge(program: &Program, case: &Case, outputs: &[f64]) -> Result<Vec<String>, String> {
    let width = program.outputs.len().max(1);
    let rows: Vec<&[f64]> = outputs.chunks_exact(width).collect();
    let expected: Vec<&Given> = match &case.expect {
        Expect::One(one) => vec![one],
        Expect::Each(each) => each.iter().collect(),
    };
    if expected.len() != rows.len() {
        return Err(format!("{} rows are expected, {} candidates are given", expected.len(), rows.len()));
    }
    let mut wrong = Vec::new();
    for (at, (expected, row)) in expected.into_iter().zip(rows).enumerate() {
        for (name, expected) in expected {
            let Some(column) = program.outputs.iter().position(|output| output.name == *name) else {
                let known = program.outputs.iter().map(|output| output.name.as_str());
                let hint = nearest(name, known).map(|known| format!("; did you mean {known:?}?"));
                return Err(format!("{name:?} is no output of the rules{}", hint.unwrap_or_default()));
            };
            let found = scalar(program, program.outputs[column].kind, row[column]);
            if !is_same(expected.as_ref(), found.as_ref()) {
                let candidate = if outputs.len() > width { format!("candidate {}: ", at + 1) } else { String::new() };
                let [expected, found] =
                    [expected, &found].map(|value| value.as_ref().map_or_else(|| "no value".to_owned(), told_scalar));
                wrong.push(format!("{candidate}{name} is {found}, expected {expected}"));
            }
        }
    }
    Ok(wrong)
}

/// An output as people write it.
pub fn scalar(program: &Program, kind: Type, number: f64) -> Option<Scalar> {
    match kind {
        _ if number.is_nan() => None,
        Type::Number => Some(Scalar::Number(number)),
        Type::Flag => Some(Scalar::Flag(number != 0.0)),
        Type::Text => program.texts.get(number as usize).filter(|_| number >= 0.0).cloned().map(Scalar::Text),
    }
}

/// Numbers are the same when people would write them so: within a billionth of their size.
fn is_same(expected: Option<&Scalar>, found: Option<&Scalar>) -> bool {
    match (expected, found) {
        (Some(Scalar::Number(a)), Some(Scalar::Number(b))) => a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        (a, b) => a == b,
    }
}

fn told_scalar(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Flag(flag) => flag.to_string(),
        Scalar::Number(number) => number.to_string(),
        Scalar::Text(text) => format!("{text:?}"),
    }
}

/// Reads a `*.test.json` file: a list of tests.
///
/// # Errors
///
/// With the place in the file.
pub fn read(file_name: &str, bytes: &[u8]) -> Result<Vec<Case>, BadRules> {
    let advice = "write [{ \"name\": \"…\", \"input\": { … }, \"expect\": { … } }]";
    let read = || {
        let cases: Vec<Case> = jdm::json(bytes, advice)?;
        check_count(&cases).map(|()| cases)
    };
    read().map_err(|bad: BadRules| bad.in_file(file_name))
}

/// Refuses more tests than a file may have.
pub(super) fn check_count(cases: &[Case]) -> Result<(), BadRules> {
    if cases.len() <= MAX_TESTS {
        return Ok(());
    }
    let message = format!("{} tests, at most {MAX_TESTS}", cases.len());
    Err(BadRules::one(Finding::error(Code::Limit, Place::default(), message, "keep those that tell rows apart")))
}

// === impl Expect ===

impl<'de> Deserialize<'de> for Expect {
    /// By its form, so that what is wrong inside of it is told where it is.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByForm;

        impl<'de> Visitor<'de> for ByForm {
            type Value = Expect;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("outputs by name, or a list of them, one for each candidate")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expect, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(map)).map(Expect::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Expect, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Expect::Each)
            }
        }

        deserializer.deserialize_any(ByForm)
    }
}
