//! The tests of one file of rules. Owns where they stand, and that both evaluations must give what is expected.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_build::build::is_rules;
use selvedge_build::module;
use selvedge_build::rules::{Case, Rules, trial};
use selvedge_host::{Host, Module};

use super::Results;
use crate::files::{read_file, read_rules};

const MAX_FILE_BYTES: u64 = 64 << 20;
/// Enough for any call of rules.
const AMPLE: Duration = Duration::from_secs(2);

/// A file of rules whose tests ran.
#[derive(Debug)]
pub(super) struct Tested {
    pub(super) file: String,
    pub(super) rules: Rules,
}

/// Runs the tests of a file of rules; a file with mistakes in it is a failed test.
pub(super) fn run(host: &Host, path: &Path, results: &mut Results) -> anyhow::Result<Option<Tested>> {
    let file = path.display().to_string();
    let rules = match read_rules(path)? {
        Ok(rules) => rules,
        Err(bad) => {
            results.add_bad(path, bad);
            return Ok(None);
        }
    };
    let bytes = match rules.module() {
        Ok(bytes) => bytes,
        Err(bad) => {
            results.add_bad(path, bad);
            return Ok(None);
        }
    };
    let loaded = host.load(&bytes, &module::open(&bytes)?.manifest)?;
    let mut cases = rules.tests.clone();
    let beside = beside(path);
    if beside.is_file() {
        match trial::read(&beside.display().to_string(), &read_file(&beside, MAX_FILE_BYTES)?) {
            Ok(read) => cases.extend(read),
            Err(bad) => results.add_bad(&beside, bad),
        }
    }
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
    results.coverage(&file, &rules.program).fired(fired);
    Ok(Some(Tested { file, rules }))
}

fn by_module(loaded: &Module, rules: &Rules, case: &Case) -> Vec<String> {
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
pub(super) fn beside(path: &Path) -> PathBuf {
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
