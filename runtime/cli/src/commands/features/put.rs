//! `selvedge features put`: one row into its bucket.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::value::RawValue;

use super::schema::Schema;
use super::{KeyArgs, Shards, entity_of};
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The view.
    view: String,
    /// Whom the row is about; a pair is a JSON list such as ["sku-1","DE"].
    key: String,
    /// The row: a JSON object with the values by feature name.
    #[arg(value_name = "JSON")]
    row: String,
    /// A release's folder, or its features.toml: every value must be what the view asks for.
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
struct Put<'a> {
    view: &'a str,
    key: &'a str,
    revision: u64,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let entity = entity_of(&self.key)?;
        let row: BTreeMap<String, &RawValue> = serde_json::from_str(&self.row)
            .map_err(|error| Usage(format!("JSON: expected an object with values by feature name: {error}")))?;
        let row = serde_json::to_vec(&row)?;
        let mut schema = self.release.as_deref().map(|path| Schema::read(path, &self.view)).transpose()?;
        if let Some(wrong) = schema.as_mut().and_then(|schema| schema.check(&row).err()) {
            anyhow::bail!("{}: {}; nothing is written", wrong.name, wrong.why);
        }
        let entity = self.keys.keys(schema.as_ref())?.of(entity);
        let shards = match &schema {
            Some(schema) => self.shards.agreed(schema)?,
            None => self.shards,
        };
        let revision = block_on(0, async {
            let nats = self.core.connect().await?;
            let bucket = shards.bucket(&self.view, &entity);
            nats.create_features_bucket(&bucket).await?;
            anyhow::Ok(nats.put_feature(&bucket, &entity, row.into()).await?)
        })?;
        let put = Put { view: &self.view, key: &self.key, revision };
        output.data(&put, format_args!("{} {} revision {revision}", self.view, self.key))?;
        Ok(Outcome::Ok)
    }
}
