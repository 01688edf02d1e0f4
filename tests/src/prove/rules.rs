//! Rules against the engine their format comes from: generated tables and graphs, and some drawn by hand, with inputs for
//! them, evaluated by zen-engine, by the module in the host, in either of its shapes, and by the builder's reference. The short
//! form has zen's answers from files; the full form asks again.
//!
//! Numbers are small multiples of 1/4 and divisors powers of 2, so that decimals, in which zen counts, and 64-bit floats are
//! both exact; docs/rules.md says what differs beyond.

mod compare;
mod generate;
mod oracle;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use self::compare::Subject;
use self::generate::Case;
use self::oracle::Oracle;
use super::{Findings, Scale};
use crate::harness::{Random, binary};

/// Graphs, and requests of several candidates for each, at full size.
const GRAPHS: usize = 2_500;
const REQUESTS: usize = 2;
/// Kept cases with zen's answers, one a line: generated ones, and graphs in which ways part and meet.
const KEPT: &str = "tests/cases/rules/zen.jsonl";
const DRAWN: &str = "tests/cases/rules/drawn.jsonl";
/// How many generated cases are kept.
const KEEP: usize = 60;
/// Set, the full form writes both files anew into this folder.
const WRITE: &str = "SELVEDGE_WRITE_RULES_CASES";

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let subject = Subject::new()?;
    if scale.short {
        for (case, answers) in kept(KEPT)?.into_iter().chain(kept(DRAWN)?) {
            subject.compare(&case, &answers, &mut findings)?;
        }
        return Ok(findings);
    }
    let mut oracle = Oracle::start()?;
    let mut random = Random::new(scale.seed);
    let [mut generated, mut drawn] = [String::new(), String::new()];
    for (case, before) in kept(DRAWN)? {
        let answers = oracle.ask(&case)?;
        findings.check(answers == before, || format!("zen says {answers:?}, {DRAWN} {before:?}: {}", case.graph));
        subject.compare(&case, &answers, &mut findings)?;
        drawn.push_str(&format!("{}\n", serde_json::to_string(&(&case, &answers))?));
    }
    for number in 0..GRAPHS {
        let case = generate::case(&mut random, number, REQUESTS);
        let answers = oracle.ask(&case)?;
        if number < KEEP {
            generated.push_str(&format!("{}\n", serde_json::to_string(&(&case, &answers))?));
        }
        subject.compare(&case, &answers, &mut findings)?;
    }
    oracle.finish()?;
    if let Some(folder) = std::env::var_os(WRITE) {
        for (file, text) in [(KEPT, generated), (DRAWN, drawn)] {
            let name = Path::new(file).file_name().context("a file")?;
            fs::write(Path::new(&folder).join(name), text)?;
        }
    }
    Ok(findings)
}

fn kept(file: &str) -> Result<Vec<(Case, Vec<Value>)>> {
    let text = fs::read_to_string(binary::repository().join(file)).with_context(|| format!("reading {file}"))?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| file.to_owned())).collect()
}
