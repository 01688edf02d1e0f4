//! `selvedge core dataset`: rows to train with, out of a lake. Owns the flags; the rows are `selvedge_core::dataset`'s.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use selvedge_build::release::{self, Limits};
use selvedge_core::dataset::{DatasetError, Query, RowsOf, Writer, dataset};
use selvedge_core::lake::Day;
use selvedge_decision::Digest;
use selvedge_decision::definition::Span;
use selvedge_decision::plan::Plan;

use crate::core::block_on;
use crate::files::read_file;
use crate::lake;
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A row is a choice, or with --candidates a candidate: the decision, the inputs as used (a column a feature), and \
    a column for each kind of reward, summed. Findings are decisions of releases that were not given. docs/lake.md has the columns."
)]
pub(crate) struct Args {
    /// A directory, or s3://BUCKET/PREFIX.
    lake: String,
    /// A release file: it says what the recorded inputs are. One for every release that decided.
    #[arg(long, value_name = "FILE", required = true)]
    release: Vec<PathBuf>,
    /// Decisions of this placement.
    #[arg(long, value_name = "KEY")]
    placement: String,
    /// The first day of decisions, in UTC.
    #[arg(long, value_name = "DAY")]
    from: Day,
    /// Their last day; the first alone when not said.
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
    /// How long after a decision something received counts as its reward.
    #[arg(long, default_value = "24h", value_name = "SPAN")]
    window: Window,
    /// A row for every candidate instead of every choice.
    #[arg(long)]
    candidates: bool,
    /// Rows also of decisions that were recorded without inputs.
    #[arg(long)]
    all: bool,
    /// Rows also of decisions that pages made by themselves: anybody can make up one, and what it brought.
    #[arg(long)]
    pages: bool,
    /// The file to write: its name ends with .parquet, .csv or .jsonl.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

/// A span of time.
#[derive(Debug, Clone, Copy)]
struct Window(Span);

impl std::str::FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Span::try_from(text.to_owned()).map(Self)
    }
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let writer = Writer::to(&self.out);
        let writer = writer.ok_or_else(|| {
            Usage(format!("{}: the name says no form; expected .parquet, .csv or .jsonl", self.out.display()))
        })?;
        let to = self.to.unwrap_or(self.from);
        if to < self.from {
            return Err(Usage(format!("--to {to} is before --from {}", self.from)).into());
        }
        let store = lake::open_existing(&self.lake)?;
        let releases: BTreeMap<Digest, Plan> =
            self.release.iter().map(|file| load(file)).collect::<anyhow::Result<_>>()?;
        let rows = if self.candidates { RowsOf::Candidates } else { RowsOf::Choices };
        let (placement, window_us) = (self.placement, self.window.0.us());
        let query = Query { placement, from: self.from, to, window_us, rows, all: self.all, pages: self.pages };
        let report = block_on(0, async {
            dataset(&store, &query, &releases, writer).await.map_err(|error| match error {
                DatasetError::NoPlacement(_) => Usage(error.to_string()).into(),
                other => anyhow::Error::from(other),
            })
        })?;
        let mut text = format!("{} rows of {} decisions, {} rewards", report.rows, report.decisions, report.rewards);
        for (count, what) in [
            (report.without_inputs, "decisions recorded without inputs left out"),
            (report.of_pages, "decisions of pages left out"),
            (report.erased, "decisions of erased persons left out"),
            (report.other_release, "decisions of releases that were not given left out"),
            (report.copies, "second copies of rewards left out"),
        ] {
            if count > 0 {
                text.push_str(&format!("; {count} {what}"));
            }
        }
        output.data(&report, text)?;
        Ok(Outcome::of(report.other_release == 0))
    }
}

fn load(file: &Path) -> anyhow::Result<(Digest, Plan)> {
    let limits = Limits::default();
    let files = release::open(&read_file(file, limits.max_total_bytes)?, &limits)?;
    Ok((files.digest, release::definition(&files)?.compile()?))
}
