//! `selvedge check`: what is wrong with rules, modules and release folders, or looks so, before anybody runs them.

mod folder;

use std::path::{Path, PathBuf};

use selvedge_build::build::is_rules;
use selvedge_build::module;
use selvedge_build::rules::{self, BadRules, Finding, Level, Rules};
use serde::Serialize;

use crate::files::{RulesSource, read_rules};
use crate::modules::{self, read_or_build};
use crate::output::{Outcome, Output, Usage};

/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Rules (.jdm.json, .csv) are read and looked through: rows that never fire, inputs that no row takes, and \
    more; docs/rules.md lists the codes. Any other file of `modules/` is built. A module is opened and answers its golden \
    vectors. A folder is packed as `release pack` packs it, and nothing is written. A warning, too, makes the \
    exit code 1."
)]
pub(crate) struct Args {
    /// Files of rules, modules, other sources, or folders of a release.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Print the table of a JDM file as CSV, instead of findings; what a CSV file cannot say is refused.
    #[arg(long)]
    csv: bool,
    /// Tell what is merely good to know, too.
    #[arg(long, short)]
    verbose: bool,
}

/// Something that was found.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Found {
    Rules(Finding),
    Other { level: Level, file: String, message: String },
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        if self.csv {
            return self.print_csv(output);
        }
        let mut ok = true;
        for path in &self.paths {
            let found = if path.is_dir() { folder::check(path)? } else { file(path)? };
            ok &= found.iter().all(|found| found.level() < Level::Warning);
            let shown: Vec<&Found> =
                found.iter().filter(|found| self.verbose || found.level() > Level::Information).collect();
            for found in &shown {
                output.data(found, format_args!("{}: {}", found.level(), found.told()))?;
            }
            if shown.is_empty() {
                output.talk(format_args!("{}: nothing to tell", path.display()));
            }
        }
        Ok(Outcome::of(ok))
    }

    fn print_csv(&self, output: &Output) -> anyhow::Result<Outcome> {
        let [path] = &self.paths[..] else {
            return Err(Usage("--csv prints one file: name one".into()).into());
        };
        anyhow::ensure!(is_rules(&path.display().to_string()), "{}: no rules; --csv takes .jdm.json", path.display());
        let csv = RulesSource::open(path)?.to_csv()?;
        output.bytes(csv.text.as_bytes())?;
        for what in csv.left_out {
            output.talk(format_args!("left out: {what}"));
        }
        Ok(Outcome::Ok)
    }
}

/// What there is to say of one file.
fn file(path: &Path) -> anyhow::Result<Vec<Found>> {
    let name = path.display().to_string();
    if is_rules(&name) {
        return Ok(rules_file(read_rules(path)?));
    }
    Ok(match read_or_build(path) {
        Ok(built) => module_file(&name, &built.bytes),
        Err(error) => vec![Found::error(&name, format_args!("{error:#}"))],
    })
}

fn rules_file(read: Result<Rules, BadRules>) -> Vec<Found> {
    let findings = match read {
        Ok(rules) => {
            let mut findings = rules::lint::lint(&rules);
            if let Err(BadRules { findings: bad }) = rules.module() {
                findings.extend(bad);
            }
            findings
        }
        Err(bad) => bad.findings,
    };
    findings.into_iter().map(Found::Rules).collect()
}

/// Opens a module and runs its golden vectors, in fresh instances and in one that is kept.
fn module_file(name: &str, bytes: &[u8]) -> Vec<Found> {
    let run = || -> anyhow::Result<Vec<Found>> {
        let file = module::open(bytes)?;
        let host = modules::host(None)?;
        let loaded = host.load(bytes, &file.manifest)?;
        loaded.check_vectors(&file.vectors)?;
        let mut found = Vec::new();
        let mut tell = |level, message: String| {
            found.push(Found::Other { level, file: name.to_owned(), message });
        };
        if file.vectors.is_empty() {
            tell(
                Level::Warning,
                "has no golden vectors: nothing shows that it answers as it did when it was built".into(),
            );
        } else if let Err(mismatch) = loaded.check_keeps_no_state(&file.vectors) {
            let level = if file.manifest.browser { Level::Error } else { Level::Information };
            tell(level, format!("{mismatch}; it may not say browser = true"));
        }
        if module::lift(bytes).is_ok_and(module::grows_memory) {
            let why = "may grow its memory while it answers: on a busy node a call then costs several times as much, \
                       because the process's memory lock is taken; build it with the guest SDK, or with a fixed arena";
            tell(Level::Information, why.into());
        }
        Ok(found)
    };
    run().unwrap_or_else(|error| vec![Found::error(name, format_args!("{error:#}"))])
}

// === impl Found ===

impl Found {
    pub(super) fn error(file: &str, message: impl std::fmt::Display) -> Self {
        Self::Other { level: Level::Error, file: file.to_owned(), message: message.to_string() }
    }

    pub(super) fn level(&self) -> Level {
        match self {
            Self::Rules(finding) => finding.level,
            Self::Other { level, .. } => *level,
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Rules(finding) => finding.to_string(),
            Self::Other { file, message, .. } => format!("{file}: {message}"),
        }
    }
}
