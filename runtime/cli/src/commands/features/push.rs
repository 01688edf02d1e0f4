//! `selvedge features push`: the rows of a file into their bucket, in the order of the file. Lines that are no rows are
//! findings, told with their number; the rest is written.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use selvedge_node::features::lines::{Line, lines};
use serde::Serialize;

use super::Shards;
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
    shards: Shards,
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
        // One bucket after the other, each in the order of the file.
        let mut ahead: BTreeMap<String, Vec<Line>> =
            self.shards.buckets(&self.view).into_iter().map(|bucket| (bucket, Vec::new())).collect();
        for line in lines(&text) {
            match line {
                Ok(line) => {
                    let bucket = self.shards.bucket(&self.view, &line.entity);
                    ahead.entry(bucket).or_default().push(line);
                }
                Err(bad) => {
                    refused += 1;
                    if refused <= MAX_TOLD {
                        output.talk(format_args!("{}: {bad}", self.file.display()));
                    }
                }
            }
        }
        let rows = block_on(0, async {
            let nats = self.core.connect().await?;
            let mut written = 0;
            for (bucket, rows) in ahead {
                nats.create_features_bucket(&bucket).await?;
                let progress = |done: u64| {
                    if shows_progress && (written + done).is_multiple_of(PROGRESS_ROWS) {
                        output.talk(format_args!("{} rows", written + done));
                    }
                };
                let rows = rows.into_iter().map(|line| (line.entity, line.json));
                let done = nats.push_features(&bucket, rows, progress).await?;
                written += done;
            }
            anyhow::Ok(written)
        })?;
        if refused > MAX_TOLD {
            output.talk(format_args!("{}: {} more lines are no rows", self.file.display(), refused - MAX_TOLD));
        }
        let pushed = Pushed { view: &self.view, rows, refused };
        output.data(&pushed, format_args!("{}: {rows} rows written, {refused} lines refused", self.view))?;
        Ok(Outcome::of(refused == 0))
    }
}
