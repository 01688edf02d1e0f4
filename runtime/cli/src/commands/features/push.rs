//! `selvedge features push`: the rows of a file into their bucket, in the order of the file. Lines that are no rows are
//! findings, told with their number; the rest is written.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use selvedge_node::features::lines::lines;
use serde::Serialize;

use crate::core::{CoreArgs, block_on};
use crate::files::read_file;
use crate::output::{Outcome, Output};

/// The largest file, in bytes: it is read whole.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// How many broken lines are told one by one.
const MAX_TOLD: usize = 20;

/// How many rows lie between two words of progress.
const PROGRESS_ROWS: u64 = 10_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file with one JSON object a line: the values by feature name, and `_key`, a text or a list of two.
    file: PathBuf,
    /// The view.
    #[arg(long, value_name = "NAME")]
    view: String,
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Serialize)]
struct Pushed<'a> {
    view: &'a str,
    rows: u64,
    refused: usize,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let text = read_file(&self.file, MAX_FILE_BYTES)?;
        let shows_progress = std::io::stderr().is_terminal() && !output.is_json();
        let mut refused = 0;
        let rows = lines(&text).filter_map(|line| match line {
            Ok(line) => Some((line.entity, line.json)),
            Err(bad) => {
                refused += 1;
                if refused <= MAX_TOLD {
                    output.talk(format_args!("{}: {bad}", self.file.display()));
                }
                None
            }
        });
        let rows = block_on(0, async {
            let nats = self.core.connect().await?;
            nats.create_features_bucket(&self.view).await?;
            let progress = |done: u64| {
                if shows_progress && done.is_multiple_of(PROGRESS_ROWS) {
                    output.talk(format_args!("{done} rows"));
                }
            };
            anyhow::Ok(nats.push_features(&self.view, rows, progress).await?)
        })?;
        if refused > MAX_TOLD {
            output.talk(format_args!("{}: {} more lines are no rows", self.file.display(), refused - MAX_TOLD));
        }
        let pushed = Pushed { view: &self.view, rows, refused };
        output.data(&pushed, format_args!("{}: {rows} rows written, {refused} lines refused", self.view))?;
        Ok(Outcome::of(refused == 0))
    }
}
