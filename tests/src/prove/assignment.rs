//! Who falls into which arm: all arms alike, nobody moves when weights stay, and when they change only those that must, over
//! any number of releases.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Context, Result};
use selvedge_build::release::{self, Limits};
use selvedge_decision::Plan;
use selvedge_decision::assign::{SLOTS, quotas};
use selvedge_decision::plan::{Definition, Experiment, Tables};
use selvedge_decision::record::Lot;
use serde_json::json;

use super::{Findings, Scale, chi};
use crate::harness::shop::Shop;
use crate::harness::{Random, Rig, decision};

/// Arms of the experiments that must be uniform.
const ARMS: [usize; 4] = [2, 3, 10, 100];
/// What may come by chance, in one of all tests together.
const P: f64 = 0.001;
/// Names that arms have in a history.
const NAMES: u64 = 8;

/// An experiment's arms, each with its weight.
type Weights = Vec<(String, u32)>;

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    uniform(scale.pick(10_000_000, 100_000), &mut findings)?;
    let mut random = Random::new(scale.seed);
    for _ in 0..scale.pick(2_000, 40) {
        history(&mut random, &mut findings)?;
    }
    packed(&mut random, &mut findings).await?;
    Ok(findings)
}

// === uniform ===

/// Salts and units are the same in every run: what a hash does is no chance.
fn uniform(units: u64, findings: &mut Findings) -> Result<()> {
    let mut experiments = Vec::new();
    for arms in ARMS {
        let even = quotas(&vec![1; arms]);
        let weights = even.iter().enumerate().map(|(at, quota)| (format!("arm-{at}"), u32::from(*quota))).collect();
        experiments.push((compile(&weights, &format!("uniform-{arms}"), Tables::new())?, even));
    }
    let mut counts: Vec<Vec<u64>> = ARMS.iter().map(|arms| vec![0; *arms]).collect();
    // Two experiments with salts of their own are independent: all pairs of their arms alike.
    let mut pairs = vec![0u64; ARMS[1] * ARMS[2]];
    let mut unit = String::new();
    for at in 0..units {
        unit.clear();
        write!(unit, "u-{at}")?;
        let mut arms = [0; ARMS.len()];
        for (of, (plan, _)) in experiments.iter().enumerate() {
            arms[of] = arm(experiment(plan)?, &unit).context("no arm")?;
            counts[of][arms[of]] += 1;
        }
        pairs[arms[1] * ARMS[2] + arms[2]] += 1;
    }
    let share = |quota: u16| f64::from(quota) / f64::from(SLOTS);
    let tests = (ARMS.len() + 1) as f64;
    for ((_, even), counts) in experiments.iter().zip(&counts) {
        let cells = counts.iter().zip(even).map(|(count, quota)| (*count, share(*quota) * units as f64));
        let p = chi::p_value(cells, units);
        findings.note(format!("{:>3} arms: {units} units, p = {p:.4}", even.len()));
        findings.check(p > P / tests, || format!("{} arms are not alike: p = {p:e}, {counts:?}", even.len()));
    }
    let (three, ten) = (&experiments[1].1, &experiments[2].1);
    let expected = three.iter().flat_map(|one| ten.iter().map(|two| share(*one) * share(*two) * units as f64));
    let p = chi::p_value(pairs.iter().copied().zip(expected), units);
    findings.note(format!("pairs of arms of two experiments: p = {p:.4}"));
    findings.check(p > P / tests, || format!("two experiments are not independent: p = {p:e}"));
    Ok(())
}

// === weights that change ===

/// Releases after one another, each compiled with the tables of the one before, as packing does.
fn history(random: &mut Random, findings: &mut Findings) -> Result<()> {
    let mut weights = drawn(random);
    let mut before = compile(&weights, "history", Tables::new())?;
    for _ in 0..6 {
        let next = changed(random, &weights);
        let plan = compile(&next, "history", before.tables())?;
        compare(&before, &plan, &next, findings)?;
        // What the release keeps of it is all it takes to be the same on a node.
        let on_a_node = compile(&next, "history", plan.kept_tables())?;
        let same = experiment(&on_a_node)?.table == experiment(&plan)?.table;
        findings.check(same, || format!("the release says other slots than it was packed with: {next:?}"));
        (before, weights) = (plan, next);
    }
    Ok(())
}

/// The same by files: `release pack --after`, three times.
async fn packed(random: &mut Random, findings: &mut Findings) -> Result<()> {
    let rig = Rig::start().await?;
    let shop = Shop::new(rig.path("shop"), "shop")?;
    let mut weights = drawn(random);
    let mut before: Option<(Plan, std::path::PathBuf)> = None;
    for turn in 0..4 {
        let arms: Vec<String> =
            weights.iter().map(|(name, weight)| format!("{{ name = {name:?}, weight = {weight} }}")).collect();
        let text = format!(
            "actions = [{{ id = \"a\" }}, {{ id = \"b\" }}]\nfallback = [\"a\"]\n[[experiment]]\nkey = \"e\"\nunit = \"subject\"\n\
             salt = \"packed\"\narms = [{}]\n",
            arms.join(", ")
        );
        shop.placement("p", &text)?;
        let (file, key) = (rig.path(&format!("{turn}.release")), rig.key());
        let mut args = vec!["release".as_ref(), "pack".as_ref(), shop.folder().as_os_str(), "--key".as_ref()];
        args.extend([key.as_os_str(), "-o".as_ref(), file.as_os_str()]);
        if let Some((_, before)) = &before {
            args.extend(["--after".as_ref(), before.as_os_str()]);
        }
        rig.cli.run(args).await?.ok()?;
        let plan = plan_of(&std::fs::read(&file)?)?;
        if let Some((before, _)) = &before {
            compare(before, &plan, &weights, findings)?;
        }
        before = Some((plan, file));
        // The second time nothing changes.
        weights = if turn == 0 { weights } else { changed(random, &weights) };
    }
    Ok(())
}

/// As a node reads a release.
fn plan_of(bytes: &[u8]) -> Result<Plan> {
    let files = release::open(bytes, &Limits::default())?;
    let contents = release::definition(&files)?;
    let modules = contents.modules.iter().map(|(name, module)| (name.clone(), module.file.manifest.clone())).collect();
    let (release, features, placements) = (contents.release, contents.features, contents.placements);
    decision::compile(&Definition { release, features, placements, modules, tables: contents.tables })
}

/// Every arm of `after` has the slots that its weight says, and no more slots than must have another arm than before.
fn compare(before: &Plan, after: &Plan, weights: &Weights, findings: &mut Findings) -> Result<()> {
    let (old, new) = (slots(before)?, slots(after)?);
    let sizes = |slots: &[String]| {
        let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
        slots.iter().for_each(|name| *sizes.entry(name.clone()).or_default() += 1);
        sizes
    };
    let (had, has) = (sizes(&old), sizes(&new));
    let wanted = quotas(&weights.iter().map(|(_, weight)| *weight).collect::<Vec<_>>());
    let wanted = weights.iter().zip(wanted).filter(|(_, quota)| *quota > 0);
    let wanted: BTreeMap<String, usize> = wanted.map(|((name, _), quota)| (name.clone(), usize::from(quota))).collect();
    findings.check(has == wanted, || format!("arms have {has:?} slots, expected {wanted:?}"));
    let moved = old.iter().zip(&new).filter(|(old, new)| old != new).count();
    // Whatever an arm has less than before had to go, and nothing else had to.
    let must: usize =
        had.iter().map(|(name, had)| had.saturating_sub(wanted.get(name).copied().unwrap_or_default())).sum();
    findings.check(moved == must, || format!("{moved} slots moved from {had:?} to {wanted:?}, {must} had to"));
    Ok(())
}

/// By slot the arm's name.
fn slots(plan: &Plan) -> Result<Vec<String>> {
    let experiment = experiment(plan)?;
    Ok(experiment.table.slots().map(|arm| experiment.arms[arm].name.to_string()).collect())
}

fn experiment(plan: &Plan) -> Result<&Experiment> {
    plan.placements.get("p").and_then(|placement| placement.experiments.first()).context("no experiment")
}

/// The arm that a unit falls into.
fn arm(experiment: &Experiment, unit: &str) -> Option<usize> {
    match experiment.lot(unit, 0) {
        Lot::Slot(slot) => experiment.table.arm(slot),
        _ => None,
    }
}

fn compile(weights: &Weights, salt: &str, tables: Tables) -> Result<Plan> {
    let arms: Vec<_> = weights.iter().map(|(name, weight)| json!({"name": name, "weight": weight})).collect();
    let experiment = json!({"key": "e", "unit": "subject", "salt": salt, "arms": arms});
    let placement = json!({"actions": [{"id": "a"}, {"id": "b"}], "fallback": ["a"], "experiment": [experiment]});
    decision::compile(&decision::definition(&json!({ "p": placement }), &[], tables)?)
}

/// Two to six arms with any weights that add up.
fn drawn(random: &mut Random) -> Weights {
    let mut names = BTreeSet::new();
    let count = 2 + random.below(5) as usize;
    while names.len() < count {
        names.insert(format!("arm-{}", random.below(NAMES)));
    }
    weighed(random, names.into_iter().collect())
}

/// What people do to an experiment: nothing, other weights, another order, an arm more or less.
fn changed(random: &mut Random, weights: &Weights) -> Weights {
    let mut names: Vec<String> = weights.iter().map(|(name, _)| name.clone()).collect();
    match random.below(6) {
        0 => return weights.clone(),
        1 => {
            let mut weights = weights.clone();
            weights.reverse();
            return weights;
        }
        2 if names.len() > 2 => drop(names.remove(random.below(names.len() as u64) as usize)),
        3 => {
            let name = format!("arm-{}", random.below(NAMES));
            if !names.contains(&name) {
                names.insert(random.below(names.len() as u64 + 1) as usize, name);
            }
        }
        _ => {}
    }
    weighed(random, names)
}

/// Weights that add up to 100 or 10,000; one may be 0.
fn weighed(random: &mut Random, names: Vec<String>) -> Weights {
    let sum = *random.pick(&[100u32, SLOTS]);
    let mut cuts: Vec<u32> = (1..names.len()).map(|_| random.below(u64::from(sum) + 1) as u32).collect();
    cuts.push(sum);
    cuts.sort_unstable();
    let mut before = 0;
    let weights = cuts.into_iter().map(|cut| {
        let weight = cut - before;
        before = cut;
        weight
    });
    names.into_iter().zip(weights.collect::<Vec<_>>()).collect()
}
