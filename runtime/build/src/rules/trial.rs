//! Tests of rules, as people write them beside the rules: inputs by name and the outputs that must come out. Owns their shape
//! and what a named input means; runs them by the reference evaluation, or says what a module would be called with.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_decision::manifest::{Derive, Input, Kind, Scalar, Scope};
use serde::{Deserialize, Serialize};

use super::finding::BadRules;
use super::program::{Program, Type};
use super::{eval, jdm, settings};
use crate::definitions::nearest;

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
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
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
        outputs.extend(evaluated.outputs);
        fired.extend(
            evaluated.fired.into_iter().flat_map(|(table, rows)| rows.into_iter().map(move |row| (table, row))),
        );
    }
    Ok(Tried { wrong: judge(program, case, &outputs)?, fired })
}

/// The call that a test stands for.
///
/// # Errors
///
/// As [`run`].
pub fn call(program: &Program, case: &Case) -> Result<Call, String> {
    let now = match &case.now {
        Some(now) => Some(settings::moment(now)?),
        None => None,
    };
    let one = [Given::new()];
    let candidates = if case.candidates.is_empty() { &one[..] } else { &case.candidates };
    let mut call = Call { shared: Vec::new(), candidates: Vec::new(), count: candidates.len() as u32 };
    if call.count > program.rows {
        return Err(format!("{} candidates, the rules take {}", call.count, program.rows));
    }
    for (at, own) in candidates.iter().enumerate() {
        let given = |name: &str| own.get(name).or_else(|| case.input.get(name)).cloned().flatten();
        for (input, scope) in program.inputs.iter().map(|input| (input, input.scope)) {
            let number = number(program, input, now, &given)?;
            match scope {
                Scope::Shared if at == 0 => call.shared.push(number),
                Scope::Shared => {}
                Scope::Candidate => call.candidates.push(number),
            }
        }
    }
    check_names(program, case)?;
    Ok(call)
}

/// Every name a test gives must be one the rules know, or it would test nothing.
fn check_names(program: &Program, case: &Case) -> Result<(), String> {
    let mut known: BTreeSet<&str> = program.inputs.iter().map(|input| input.name.as_str()).collect();
    known.extend(program.declared.iter().map(String::as_str));
    for derive in program.inputs.iter().filter_map(|input| input.derive.as_ref()) {
        if let Derive::StartsWith { of, .. } | Derive::EndsWith { of, .. } | Derive::Contains { of, .. } = derive {
            known.insert(of);
        }
    }
    for name in case.input.keys().chain(case.candidates.iter().flat_map(BTreeMap::keys)) {
        if !known.contains(name.as_str()) {
            let hint = nearest(name, known.iter().copied()).map(|known| format!("; did you mean {known:?}?"));
            return Err(format!("{name:?} is no input of the rules{}", hint.unwrap_or_default()));
        }
    }
    Ok(())
}

fn number(
    program: &Program,
    input: &Input,
    now: Option<f64>,
    given: &impl Fn(&str) -> Option<Scalar>,
) -> Result<f64, String> {
    let text = |of: &str, test: &dyn Fn(&str) -> bool| match given(of) {
        None => Ok(f64::NAN),
        Some(Scalar::Text(text)) => Ok(f64::from(test(&text))),
        Some(other) => Err(format!("{of:?}: {other:?} is no text")),
    };
    if given(&input.name).is_none() {
        let minutes = now.map(|now| (now / 60.0).floor());
        match &input.derive {
            Some(Derive::StartsWith { of, text: part }) => return text(of, &|text| text.starts_with(part.as_str())),
            Some(Derive::EndsWith { of, text: part }) => return text(of, &|text| text.ends_with(part.as_str())),
            Some(Derive::Contains { of, text: part }) => return text(of, &|text| text.contains(part.as_str())),
            Some(Derive::EpochSeconds) => return Ok(now.unwrap_or(f64::NAN)),
            Some(Derive::MinuteOfDay) => return Ok(minutes.map_or(f64::NAN, |minutes| minutes.rem_euclid(1_440.0))),
            // Day 0 of the Unix epoch was a Thursday.
            Some(Derive::DayOfWeek) => {
                return Ok(minutes.map_or(f64::NAN, |minutes| ((minutes / 1_440.0).floor() + 3.0).rem_euclid(7.0)));
            }
            Some(Derive::Includes { .. } | Derive::Age { .. } | Derive::Dot { .. } | Derive::Cosine { .. }) | None => {}
        }
    }
    match (given(&input.name), input.kind) {
        (None, _) => input.default_value().map(|default| default.unwrap_or(f64::NAN)),
        (Some(Scalar::Number(number)), Kind::Number) => Ok(number),
        (Some(Scalar::Flag(flag)), Kind::Flag) => Ok(f64::from(flag)),
        (Some(Scalar::Text(text)), Kind::Symbol) => Ok(program.text(&text)),
        (Some(other), kind) => Err(format!("{:?}: {} is no {kind}", input.name, told_scalar(&other))),
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
pub fn read(bytes: &[u8]) -> Result<Vec<Case>, BadRules> {
    jdm::json(bytes, "write [{ \"name\": \"…\", \"input\": { … }, \"expect\": { … } }]")
}
