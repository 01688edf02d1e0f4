//! The tests of one file of rules. Owns where they stand, and that both evaluations must give what is expected.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use selvedge_build::build::is_rules;
use selvedge_build::module;
use selvedge_build::rules::{self, Case, trial};
use selvedge_host::{Host, Module};

use super::{Covered, Results};
use crate::files::{read_file, read_rules};

const MAX_FILE_BYTES: u64 = 64 << 20;
/// Enough for any call of rules.
const AMPLE: Duration = Duration::from_secs(2);

/// Runs the tests of a file of rules.
pub(super) fn run(host: &Host, path: &Path, results: &mut Results) -> anyhow::Result<()> {
    let name = path.display().to_string();
    anyhow::ensure!(is_rules(&name), "{name}: no rules; test .jdm.json, .csv, or a release folder");
    let rules = read_rules(path)??;
    let mut cases = rules.tests.clone();
    let beside = beside(path);
    if beside.is_file() {
        let read = trial::read(&read_file(&beside, MAX_FILE_BYTES)?);
        cases.extend(read.map_err(|bad| anyhow::anyhow!("{}: {bad}", beside.display()))?);
    }
    let bytes = rules.module()?;
    let loaded = host.load(&bytes, &module::open(&bytes)?.manifest)?;
    let mut fired = BTreeSet::new();
    for case in &cases {
        let wrong = match trial::run(&rules.program, case) {
            Ok(tried) => {
                fired.extend(tried.fired);
                let by_module = by_module(&loaded, &rules, case);
                // Said once: the module and the reference agree, or that is the news.
                if by_module == tried.wrong { tried.wrong } else { disagree(tried.wrong, by_module) }
            }
            Err(why) => vec![why],
        };
        results.add(path, &case.name, wrong);
    }
    for (at, table) in rules.program.tables().enumerate() {
        results.covered.push(Covered {
            file: name.clone(),
            table: table.name.clone(),
            rows: table.rows.len(),
            never_fired: (0..table.rows.len()).filter(|row| !fired.contains(&(at, *row))).map(|row| row + 1).collect(),
        });
    }
    Ok(())
}

fn by_module(loaded: &Module, rules: &rules::Rules, case: &Case) -> Vec<String> {
    let run = || {
        let call = trial::call(&rules.program, case)?;
        let answer = loaded.evaluate(&call.shared, &call.candidates, call.count, AMPLE);
        trial::judge(&rules.program, case, &answer.map_err(|fault| format!("the module faulted with `{fault}`"))?)
    };
    run().unwrap_or_else(|why| vec![why])
}

fn disagree(reference: Vec<String>, module: Vec<String>) -> Vec<String> {
    let told = |who: &'static str, wrong: Vec<String>| {
        let nothing = wrong.is_empty().then(|| "all is as expected".to_owned());
        wrong.into_iter().chain(nothing).map(move |line| format!("{who}: {line}"))
    };
    told("the reference", reference).chain(told("the module", module)).collect()
}

/// `hero.test.json` beside `hero.jdm.json`.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(".jdm.json").or_else(|| name.strip_suffix(".csv")).unwrap_or(&name);
    path.with_file_name(format!("{stem}.test.json"))
}

/// The files of rules in a folder, by name.
pub(super) fn rules_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && is_rules(&path.display().to_string()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// When each file under the paths was written last.
pub(super) fn stamps(paths: &[PathBuf]) -> Vec<(PathBuf, Option<SystemTime>)> {
    let mut stamps = Vec::new();
    let mut ahead: Vec<PathBuf> = paths.iter().flat_map(|path| [path.clone(), beside(path)]).collect();
    while let Some(path) = ahead.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            // Not what a node keeps or an editor leaves.
            let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            ahead.extend(entries.map(|entry| entry.path()).filter(|path| !hidden(path) && !path.ends_with("out")));
        } else {
            let written = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok();
            stamps.push((path, written));
        }
    }
    stamps.sort();
    stamps
}
