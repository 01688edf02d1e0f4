//! `selvedge test`: the tests of rules, by the reference evaluation and by the real module, and those of a release folder.
//! Owns which tests there are, what is told of them, and watching.

mod files;
mod junit;
mod shop;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_build::build::is_rules;
use selvedge_build::rules::Program;
use selvedge_host::Host;
use serde::Serialize;

use crate::files::write_file;
use crate::modules;
use crate::output::{Outcome, Output};
use crate::table::Table;

/// How often a watched path is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Tests of a file of rules stand in its x-selvedge block or in NAME.test.json beside it; those of a folder in \
    `tests/*.test.json` (a request and features in, the decision out). docs/rules.md shows both."
)]
pub(crate) struct Args {
    /// Files of rules, or folders: of a release, or of files of rules.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Run again whenever a file changes.
    #[arg(long)]
    watch: bool,
    /// Tell which rows no test made fire, those of the release folder counted; such a row is a finding.
    #[arg(long)]
    coverage: bool,
    /// Write the results as JUnit XML, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// What became of one test.
#[derive(Debug, Serialize)]
pub(super) struct Ran {
    /// The file it belongs to.
    file: String,
    test: String,
    ok: bool,
    /// What did not come out as expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wrong: Vec<String>,
}

/// How many rows of a table fired.
#[derive(Debug, Serialize)]
struct Covered<'a> {
    file: &'a str,
    table: &'a str,
    rows: usize,
    /// Rows, from 1, that no test made fire.
    never_fired: Vec<usize>,
}

/// The tables of a file of rules, and which of their rows fired.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// Each by its name, with the number of its rows.
    tables: Vec<(String, usize)>,
    /// Table, row.
    fired: BTreeSet<(usize, usize)>,
}

/// Everything that was run.
#[derive(Debug, Default)]
pub(super) struct Results {
    ran: Vec<Ran>,
    /// By file.
    coverage: BTreeMap<String, Coverage>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let host = modules::host(None)?;
        loop {
            // Before the tests run: what is saved while they do is looked at again.
            let seen = watch::stamps(&self.paths, self.junit.as_deref());
            let outcome = self.once(&host, output);
            if !self.watch {
                return outcome;
            }
            if let Err(error) = outcome {
                output.talk(format_args!("error: {error:#}"));
            }
            output.talk("waiting for a change; stop with Ctrl-C");
            while watch::stamps(&self.paths, self.junit.as_deref()) == seen {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    fn once(&self, host: &Host, output: &Output) -> anyhow::Result<Outcome> {
        let mut results = Results::default();
        for path in &self.paths {
            path_tests(host, path, &mut results)?;
        }
        if let Some(junit) = &self.junit {
            write_file(junit, junit::write(&results.ran).as_bytes())?;
        }
        self.tell(&results, output)
    }

    fn tell(&self, results: &Results, output: &Output) -> anyhow::Result<Outcome> {
        let failed = results.ran.iter().filter(|ran| !ran.ok).count();
        for ran in results.ran.iter().filter(|ran| output.is_json() || !ran.ok) {
            output.data(ran, format_args!("FAILED {}: {}\n  {}", ran.file, ran.test, ran.wrong.join("\n  ")))?;
        }
        let mut uncovered = 0;
        if self.coverage {
            let mut table = Table::new(&["table", "rows fired", "never fired", "file"]);
            for covered in results.covered() {
                uncovered += covered.never_fired.len();
                let never: Vec<String> = covered.never_fired.iter().map(usize::to_string).collect();
                let fired = format!("{} of {}", covered.rows - covered.never_fired.len(), covered.rows);
                table.row([covered.table.to_owned(), fired, never.join(", "), covered.file.to_owned()]);
                if output.is_json() {
                    output.json_line(&covered)?;
                }
            }
            if !output.is_json() {
                output.text_line(table)?;
            }
        }
        output.talk(format_args!("{} tests, {failed} failed", results.ran.len()));
        if results.ran.is_empty() {
            output.talk("there is no test: write `tests` into x-selvedge, or NAME.test.json beside the file");
        }
        Ok(Outcome::of(failed == 0 && uncovered == 0 && !results.ran.is_empty()))
    }
}

fn path_tests(host: &Host, path: &Path, results: &mut Results) -> anyhow::Result<()> {
    if !path.is_dir() {
        let name = path.display().to_string();
        anyhow::ensure!(is_rules(&name), "{name}: no rules; test .jdm.json, .csv, or a release folder");
        return files::run(host, path, results).map(drop);
    }
    let is_release = path.join("release.toml").is_file();
    let folder = if is_release { path.join("modules") } else { path.to_owned() };
    let mut rules = Vec::new();
    if folder.is_dir() {
        for file in files::rules_in(&folder)? {
            rules.extend(files::run(host, &file, results)?);
        }
    }
    if is_release {
        shop::run(host, path, &rules, results)?;
    }
    Ok(())
}

// === impl Results ===

impl Results {
    pub(super) fn add(&mut self, file: &Path, test: &str, wrong: Vec<String>) {
        let ok = wrong.is_empty();
        self.ran.push(Ran { file: file.display().to_string(), test: test.to_owned(), ok, wrong });
    }

    /// A file that cannot be tested: a failure of its own, so that the others are tested and told.
    pub(super) fn add_bad(&mut self, file: &Path, why: impl fmt::Display) {
        self.add(file, "the file", why.to_string().lines().map(str::to_owned).collect());
    }

    /// Whether it was told already.
    pub(super) fn has_told(&self, line: &str) -> bool {
        self.ran.iter().flat_map(|ran| &ran.wrong).any(|told| told.ends_with(line))
    }

    /// What fired of a file's tables.
    pub(super) fn coverage(&mut self, file: &str, program: &Program) -> &mut Coverage {
        self.coverage.entry(file.to_owned()).or_insert_with(|| Coverage {
            tables: program.tables().map(|table| (table.name.clone(), table.rows.len())).collect(),
            fired: BTreeSet::new(),
        })
    }

    fn covered(&self) -> impl Iterator<Item = Covered<'_>> {
        self.coverage.iter().flat_map(|(file, coverage)| {
            coverage.tables.iter().enumerate().map(move |(at, (table, rows))| Covered {
                file,
                table,
                rows: *rows,
                never_fired: (0..*rows)
                    .filter(|row| !coverage.fired.contains(&(at, *row)))
                    .map(|row| row + 1)
                    .collect(),
            })
        })
    }
}

// === impl Coverage ===

impl Coverage {
    pub(super) fn fired(&mut self, rows: impl IntoIterator<Item = (usize, usize)>) {
        self.fired.extend(rows);
    }
}
