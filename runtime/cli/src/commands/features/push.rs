//! `selvedge features push`: the rows of a file into their buckets, in the order of the file. Rows that are none are findings,
//! told with their place; the rest is written. With a release, everything is checked before the first row is sent.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use selvedge_node::features::row::binary::BinaryWriter;
use selvedge_node::link::NatsLink;
use serde::Serialize;

use self::pace::{Pace, Rate};
use self::progress::Progress;
use self::resume::Resume;
use self::rows::{RowFile, Rows};
use super::schema::Schema;
use super::{KeyArgs, Keys, Shards};
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};
use crate::stop::Stop;

mod csv;
mod pace;
#[cfg(feature = "parquet")]
mod parquet;
mod progress;
mod resume;
mod rows;

/// How many broken rows are told one by one.
const MAX_TOLD: usize = 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A push that is stopped, by a signal or for want of a core, leaves FILE.VIEW.push beside the file; \
                        --resume goes on behind the last row that the core acknowledged."
)]
pub(crate) struct Args {
    /// JSON Lines (an object a line: the values by feature name, and `_key`, a text or a list of two), CSV (.csv, .tsv: a line
    /// of names, then a line a row) or Parquet (.parquet).
    file: PathBuf,
    /// The view.
    #[arg(long, value_name = "NAME")]
    view: String,
    /// A release's folder, or its features.toml: every value must be what the view asks for, or nothing is sent.
    #[arg(long, value_name = "DIR")]
    release: Option<PathBuf>,
    /// Write rows in the compact form: smaller and faster to read, and of this schema alone; needs --release.
    #[arg(long, requires = "release")]
    binary: bool,
    /// The most rows a second, such as 5000 or 5000/s; as fast as the core takes them when not said.
    #[arg(long, value_name = "ROWS/s")]
    rate: Option<Rate>,
    /// Go on where the last push of this file was stopped.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    shards: Shards,
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Serialize)]
struct Pushed<'a> {
    view: &'a str,
    /// Written now.
    rows: u64,
    refused: usize,
    /// Written before, by the push that this one resumes.
    before: u64,
    stopped: bool,
}

/// What became of the rows.
struct Sent {
    before: u64,
    acknowledged: u64,
    stopped: bool,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let schema = self.release.as_deref().map(|path| Schema::read(path, &self.view)).transpose()?;
        let shards = match &schema {
            Some(schema) => self.shards.agreed(schema)?,
            None => self.shards,
        };
        let keys = self.keys.keys(schema.as_ref())?;
        let file = RowFile::open(&self.file, schema.as_ref())?;
        let writer =
            schema.as_ref().filter(|_| self.binary).map(|schema| BinaryWriter::new(Arc::clone(schema.layout())));
        let (total, refused) = self.look_through(&file, schema, output)?;
        if refused > 0 && self.release.is_some() {
            let pushed = Pushed { view: &self.view, rows: 0, refused, before: 0, stopped: false };
            output.data(
                &pushed,
                format_args!(
                    "{}: nothing is sent, {refused} rows are not as they should be; mend them and push again",
                    self.view
                ),
            )?;
            return Ok(Outcome::Findings);
        }
        let Sent { before, acknowledged: rows, stopped } =
            block_on(0, self.send(&file, writer, (shards, &keys), total, output))?;
        let pushed = Pushed { view: &self.view, rows, refused, before, stopped };
        let earlier = if before > 0 { format!(" ({before} by the push before)") } else { String::new() };
        let text = format!("{}: {rows} rows written{earlier}, {refused} refused", self.view);
        output.data(&pushed, text)?;
        Ok(Outcome::of(refused == 0 && !stopped))
    }

    /// Reads the file once, to know what is in it: how many rows there are, and how many are none.
    fn look_through(
        &self,
        file: &RowFile,
        mut schema: Option<Schema>,
        output: &Output,
    ) -> anyhow::Result<(u64, usize)> {
        let (mut total, mut refused) = (0, 0);
        for row in file.rows()? {
            let checked = row.and_then(|row| match (&mut schema, &row.json) {
                (Some(schema), Some(json)) => schema.check(json).map_err(|wrong| file.wrong(&row, &wrong)),
                _ => Ok(()),
            });
            match checked {
                Ok(()) => total += 1,
                Err(bad) => {
                    refused += 1;
                    if refused <= MAX_TOLD {
                        output.talk(format_args!("{}: {bad}", self.file.display()));
                    }
                }
            }
        }
        if refused > MAX_TOLD {
            output.talk(format_args!("{}: {} more rows are refused", self.file.display(), refused - MAX_TOLD));
        }
        Ok((total, refused))
    }

    async fn send(
        &self,
        file: &RowFile,
        writer: Option<BinaryWriter>,
        (shards, keys): (Shards, &Keys),
        total: u64,
        output: &Output,
    ) -> anyhow::Result<Sent> {
        let nats = self.core.connect().await?;
        let mut buckets = Vec::new();
        for bucket in shards.buckets(&self.view) {
            let made_us = nats.create_features_bucket(&bucket).await?;
            buckets.push((bucket, made_us));
        }
        let mut resume = Resume::new(&self.file, &self.view, file.bytes(), buckets);
        let before = if self.resume { resume.go_on(output)? } else { resume.begin_anew(output) };
        let mut progress = Progress::new(output, before, total);
        let mut acknowledged = 0;
        let sent = self.send_all(&nats, file.rows()?, writer, (shards, keys), before, |now| {
            acknowledged = now;
            progress.show(before + now);
            resume.reached(before + now, output);
        });
        let sent = sent.await;
        progress.end();
        match sent {
            Ok(false) => resume.is_done(output),
            Ok(true) => {
                resume.stopped(before + acknowledged, output);
                let at = before + acknowledged;
                output.talk(format_args!("stopped behind row {at} of {total}; --resume goes on from there"));
            }
            Err(error) => {
                resume.stopped(before + acknowledged, output);
                let at = before + acknowledged;
                return Err(error).context(format!("stopped behind row {at} of {total}; --resume goes on from there"));
            }
        }
        Ok(Sent { before, acknowledged, stopped: matches!(sent, Ok(true)) })
    }

    /// Sends the rows behind the first `before`; tells `progress` how many of them are acknowledged. Whether it was stopped.
    async fn send_all(
        &self,
        nats: &NatsLink,
        rows: Rows<'_>,
        writer: Option<BinaryWriter>,
        (shards, keys): (Shards, &Keys),
        before: u64,
        mut progress: impl FnMut(u64),
    ) -> anyhow::Result<bool> {
        let mut stop = Stop::new()?;
        let mut pace = self.rate.map(Pace::new);
        let mut pushing = nats.push_features();
        let mut sent_all = true;
        // What is no row was told before.
        for row in rows.flatten().skip(usize::try_from(before)?) {
            if let Some(pace) = &mut pace
                && stop.comes_before(pace.turn()).await.is_none()
            {
                sent_all = false;
                break;
            }
            let entity = keys.of(row.entity);
            let bucket = shards.bucket(&self.view, &entity);
            let bytes = match (&writer, row.json) {
                (Some(writer), Some(json)) => Some(Bytes::from(writer.write(&json)?)),
                (_, json) => json,
            };
            let sent = stop.comes_before_long(pushing.send(&bucket, &entity, bytes)).await;
            progress(pushing.acknowledged());
            // Given up half way, rows may be on their way that were not acknowledged: they come again.
            let Some(sent) = sent else { return Ok(true) };
            sent?;
            if stop.is_asked() {
                sent_all = false;
                break;
            }
        }
        let finished = stop.comes_before_long(pushing.finish()).await;
        progress(pushing.acknowledged());
        let finished = finished.transpose()?.is_some();
        Ok(!(sent_all && finished))
    }
}
