//! Rules against the engine their format comes from: generated tables and graphs, and inputs for them, evaluated by
//! zen-engine, by the module in the host, and by the builder's reference. The short form has zen's answers from a file.
//!
//! Numbers are small multiples of 1/4 and divisors powers of 2, so that decimals, in which zen counts, and 64-bit floats are
//! both exact; docs/rules.md says what differs beyond.

mod compare;
mod generate;
mod oracle;

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use self::compare::Subject;
use self::generate::Case;
use self::oracle::Oracle;
use super::{Findings, Scale};
use crate::harness::{Random, binary};

/// Graphs, and inputs for each, at full size.
const GRAPHS: usize = 2_500;
const CONTEXTS: usize = 8;
/// Kept cases with zen's answers, one a line.
const KEPT: &str = "tests/cases/rules/zen.jsonl";
/// Set, the full form writes its first cases with zen's answers there.
const WRITE: &str = "SELVEDGE_WRITE_RULES_CASES";

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let subject = Subject::new()?;
    if scale.short {
        let kept = fs::read_to_string(binary::repository().join(KEPT)).with_context(|| format!("reading {KEPT}"))?;
        for line in kept.lines() {
            let (case, answers): (Case, Vec<Value>) = serde_json::from_str(line).with_context(|| KEPT.to_owned())?;
            subject.compare(&case, &answers, &mut findings)?;
        }
        return Ok(findings);
    }
    let mut oracle = Oracle::start()?;
    let mut random = Random::new(scale.seed);
    let mut written = String::new();
    for number in 0..GRAPHS {
        let case = generate::case(&mut random, number, CONTEXTS);
        let answers = oracle.ask(&case)?;
        if number < 60 {
            written.push_str(&serde_json::to_string(&(&case, &answers))?);
            written.push('\n');
        }
        subject.compare(&case, &answers, &mut findings)?;
    }
    oracle.finish()?;
    if let Some(path) = std::env::var_os(WRITE) {
        fs::write(path, written)?;
    }
    Ok(findings)
}
