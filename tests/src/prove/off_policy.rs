//! Off-policy estimates against published figures: of the Open Bandit Dataset (Saito et al. 2020, CC BY 4.0) the log of the random policy
//! says what Bernoulli Thompson sampling would have earned. The short form knows the log by its counts, the full form reads the log itself,
//! and asks the other way round, which must be refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use selvedge_build::off_policy::{Draw, Lack, Limits, Worth};

use super::{Findings, Scale};
use crate::harness::binary;

/// Where the full form finds the dataset; `./x prove` fetches it and says where.
const DATA: &str = "SELVEDGE_OBD";
/// By item and position: how often the policy chose it in 100,000 draws of `obp` 0.4.1 (seed 12345), how often the random log showed
/// it, how often it was clicked.
const COUNTS: &str = "tests/cases/off-policy/obd-all.csv";
const SIMULATIONS: f64 = 100_000.0;
/// Items of the campaign `all`: the random policy shows each as often.
const ITEMS: f64 = 80.0;
/// The published figures.
const IPW: f64 = 0.004_552_88;
const SNIPW: f64 = 0.004_775_83;
const NEAR: f64 = 1e-8;

/// An impression of the log.
struct Shown {
    item: u32,
    position: u32,
    clicked: f64,
    propensity: f64,
}

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let counts = rows(&binary::repository().join(COUNTS))?;
    let mut chosen = BTreeMap::new();
    let mut draws = Vec::new();
    for row in &counts {
        let number =
            |name: &str| row.get(name).and_then(|cell| cell.parse::<f64>().ok()).with_context(|| format!("no {name}"));
        let (item, position) = (number("item")? as u32, number("position")? as u32);
        let probability = number("chosen")? / SIMULATIONS;
        chosen.insert((item, position), probability);
        let (shown, clicked) = (number("shown")? as u64, number("clicked")? as u64);
        draws.extend((0..shown).map(|at| (probability * ITEMS, f64::from(u8::from(at < clicked)))));
    }
    published("the counts", &draws, &mut findings);
    if scale.short {
        return Ok(findings);
    }
    let data = std::env::var_os(DATA).map(PathBuf::from);
    let data = data.with_context(|| format!("{DATA} is not set: run it as ./x prove off-policy"))?;
    let log = log(&data, "random", "all")?;
    let weighed = |shown: &Shown| {
        let probability = chosen.get(&(shown.item, shown.position)).copied().unwrap_or(0.0);
        (probability / shown.propensity, shown.clicked)
    };
    published("the log", &log.iter().map(weighed).collect::<Vec<_>>(), &mut findings);
    reversed(&data, &mut findings)?;
    Ok(findings)
}

/// The figures of a log of the random policy, about Bernoulli Thompson sampling.
fn published(what: &str, draws: &[(f64, f64)], findings: &mut Findings) {
    let draws = as_draws(draws);
    let worth = Worth::of(&draws);
    findings.check(draws.len() == 10_000, || format!("{what}: {} impressions", draws.len()));
    for (name, found, known) in [
        ("IPW", worth.ipw, IPW),
        ("SNIPW", worth.snips, SNIPW),
        ("doubly robust without a model", worth.doubly_robust, IPW),
    ] {
        findings
            .check((found.value - known).abs() <= NEAR, || format!("{what}: {name} {}, known {known}", found.value));
        findings.check(found.low < known && known < found.high, || format!("{what}: {name} {found:?}"));
        findings.note(format!("{what}: {name} {:.8} [{:.6}, {:.6}]", found.value, found.low, found.high));
    }
    let lacks = worth.lacks(&draws, &Limits::default());
    findings.check(lacks.is_empty(), || format!("{what}: {lacks:?}"));
    findings.note(format!("{what}: effective sample size {:.1}, mean weight {:.4}", worth.ess, worth.mean_weight));
}

/// What the log of Bernoulli Thompson sampling says about the random policy: of `women`, nothing.
fn reversed(data: &Path, findings: &mut Findings) -> Result<()> {
    for campaign in ["women", "men", "all"] {
        let log = log(data, "bts", campaign)?;
        let items = f64::from(log.iter().map(|shown| shown.item).max().unwrap_or(0) + 1);
        let draws: Vec<_> = log.iter().map(|shown| (1.0 / items / shown.propensity, shown.clicked)).collect();
        let draws = as_draws(&draws);
        let worth = Worth::of(&draws);
        let lacks = worth.lacks(&draws, &Limits::default());
        let told: Vec<_> = lacks.iter().map(Lack::to_string).collect();
        findings.note(format!("{campaign} reversed: effective sample size {:.1}: {}", worth.ess, told.join("; ")));
        if campaign == "women" {
            let is_refused = lacks.iter().any(|lack| matches!(lack, Lack::Ess { ess, .. } if (ess - 2.0).abs() < 0.5));
            findings.check(is_refused, || format!("women reversed: {lacks:?} {worth:?}"));
        }
    }
    Ok(())
}

fn as_draws(draws: &[(f64, f64)]) -> Vec<Draw> {
    let draw = |(person, (weight, reward)): (usize, &(f64, f64))| Draw {
        weight: *weight,
        reward: *reward,
        expected: 0.0,
        expected_logged: 0.0,
        unsupported: 0.0,
        person: person as u64,
    };
    draws.iter().enumerate().map(draw).collect()
}

fn log(data: &Path, policy: &str, campaign: &str) -> Result<Vec<Shown>> {
    let path = data.join(policy).join(campaign).join(format!("{campaign}.csv"));
    let shown = |row: &BTreeMap<String, String>| {
        let number =
            |name: &str| row.get(name).and_then(|cell| cell.parse::<f64>().ok()).with_context(|| format!("no {name}"));
        Ok(Shown {
            item: number("item_id")? as u32,
            position: number("position")? as u32,
            clicked: number("click")?,
            propensity: number("propensity_score")?,
        })
    };
    rows(&path)?.iter().map(shown).collect::<Result<_>>().with_context(|| path.display().to_string())
}

/// The first columns of a file of CSV without quotes, by name.
fn rows(path: &Path) -> Result<Vec<BTreeMap<String, String>>> {
    const COLUMNS: usize = 6;
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').take(COLUMNS).collect();
    let row = |line: &str| {
        names.iter().zip(line.split(',')).map(|(name, cell)| ((*name).to_owned(), cell.to_owned())).collect()
    };
    Ok(lines.map(row).collect())
}
