//! `selvedge features get`: one row of a bucket. A row that is not there is a finding.

use selvedge_node::events::rfc3339;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Shards, entity_of};
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The view.
    view: String,
    /// Whom the row is about; a pair is a JSON list such as ["sku-1","DE"].
    key: String,
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
        let row = block_on(0, async {
            let nats = self.core.connect().await?;
            anyhow::Ok(nats.get_feature(&self.shards.bucket(&self.view, &entity), &entity).await?)
        })?;
        let text = row.as_ref().map(|row| String::from_utf8_lossy(&row.json).into_owned());
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
