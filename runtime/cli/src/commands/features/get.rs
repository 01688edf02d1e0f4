//! `selvedge features get`: one row of a bucket. A row that is not there is a finding.

use std::path::PathBuf;

use selvedge_node::events::rfc3339;
use selvedge_node::features::row::binary;
use serde::Serialize;
use serde_json::value::RawValue;

use super::schema::Schema;
use super::{KeyArgs, Shards, entity_of};
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The view.
    view: String,
    /// Whom the row is about; a pair is a JSON list such as ["sku-1","DE"].
    key: String,
    /// A release's folder, or its features.toml: shows rows that were written in the compact form.
    #[arg(long, value_name = "DIR")]
    release: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    shards: Shards,
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Serialize)]
struct Got<'a> {
    view: &'a str,
    key: &'a str,
    row: Option<&'a RawValue>,
    revision: Option<u64>,
    stored: Option<String>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let entity = entity_of(&self.key)?;
        let schema = self.release.as_deref().map(|path| Schema::read(path, &self.view)).transpose()?;
        let entity = self.keys.keys(schema.as_ref())?.of(entity);
        let shards = match &schema {
            Some(schema) => self.shards.agreed(schema)?,
            None => self.shards,
        };
        let row = block_on(0, async {
            let nats = self.core.connect().await?;
            anyhow::Ok(nats.get_feature(&shards.bucket(&self.view, &entity), &entity).await?)
        })?;
        let text = row.as_ref().map(|row| text(&row.row, schema.as_ref())).transpose()?;
        let (view, key) = (self.view.as_str(), self.key.as_str());
        let got = Got {
            view,
            key,
            // A row that is no JSON is shown as text below, and as null here.
            row: text.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            revision: row.as_ref().map(|row| row.revision),
            stored: row.as_ref().map(|row| rfc3339::format(row.stored_us)),
        };
        match &text {
            Some(text) => output.data(&got, text)?,
            None if output.is_json() => output.json_line(&got)?,
            None => output.talk(format_args!("{view} has no row for {key}")),
        }
        Ok(Outcome::of(row.is_some()))
    }
}

/// A row as people read it.
fn text(row: &[u8], schema: Option<&Schema>) -> anyhow::Result<String> {
    match schema {
        Some(schema) if binary::is_binary(row) => Ok(binary::to_json(row, schema.layout())?),
        _ => Ok(match binary::schema_of(row) {
            Some(hash) => format!("a binary row of {} bytes and schema {hash}: --release DIR shows it", row.len()),
            None => String::from_utf8_lossy(row).into_owned(),
        }),
    }
}
