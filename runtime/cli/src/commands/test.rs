//! `selvedge test`: the tests of rules, by the reference evaluation and by the real module, and those of a release folder.
//! Owns which tests there are, what is told of them, and watching.

mod files;
mod junit;
mod shop;

use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_host::Host;
use serde::Serialize;

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
    /// Tell which rows no test made fire; such a row is a finding.
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
pub(super) struct Covered {
    file: String,
    table: String,
    rows: usize,
    /// Rows, from 1, that no test made fire.
    never_fired: Vec<usize>,
}

/// Everything that was run.
#[derive(Debug, Default)]
pub(super) struct Results {
    ran: Vec<Ran>,
    covered: Vec<Covered>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let host = modules::host(None)?;
        let mut outcome = self.once(&host, output);
        if !self.watch {
            return outcome;
        }
        let mut seen = files::stamps(&self.paths);
        loop {
            match outcome {
                Ok(_) => {}
                // While a file is being written, it may be anything; the next look finds it whole.
                Err(error) => output.talk(format_args!("error: {error:#}")),
            }
            output.talk("waiting for a change; stop with Ctrl-C");
            while files::stamps(&self.paths) == seen {
                std::thread::sleep(LOOK_EVERY);
            }
            seen = files::stamps(&self.paths);
            outcome = self.once(&host, output);
        }
    }

    fn once(&self, host: &Host, output: &Output) -> anyhow::Result<Outcome> {
        let mut results = Results::default();
        for path in &self.paths {
            path_tests(host, path, &mut results)?;
        }
        if let Some(junit) = &self.junit {
            std::fs::write(junit, junit::write(&results.ran))?;
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
            for covered in &results.covered {
                uncovered += covered.never_fired.len();
                let never: Vec<String> = covered.never_fired.iter().map(usize::to_string).collect();
                let fired = format!("{} of {}", covered.rows - covered.never_fired.len(), covered.rows);
                table.row([covered.table.clone(), fired, never.join(", "), covered.file.clone()]);
                if output.is_json() {
                    output.json_line(covered)?;
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
        return files::run(host, path, results);
    }
    let is_release = path.join("release.toml").is_file();
    let folder = if is_release { path.join("modules") } else { path.to_owned() };
    if folder.is_dir() {
        for file in files::rules_in(&folder)? {
            files::run(host, &file, results)?;
        }
    }
    if is_release {
        shop::run(host, path, results)?;
    }
    Ok(())
}

// === impl Results ===

impl Results {
    pub(super) fn add(&mut self, file: &Path, test: &str, wrong: Vec<String>) {
        let ok = wrong.is_empty();
        self.ran.push(Ran { file: file.display().to_string(), test: test.to_owned(), ok, wrong });
    }
}
