//! `selvedge features`: rows of views in the core, written and read, and what events come to.

mod backfill;
mod get;
mod push;
mod put;
mod schema;

use std::path::PathBuf;

use selvedge_decision::definition::By;
use selvedge_node::features::entity::{BadEntity, bucket_names, entity, shard_name, shard_of};
use selvedge_node::ids::{Ids, IdsKey, Kind};

use self::schema::Schema;
use crate::output::{Outcome, Output, Usage};

/// How much of a value is shown that is wrong, in characters.
const SHOWN_CHARS: usize = 60;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Write one row.
    Put(put::Args),
    /// Read one row.
    Get(get::Args),
    /// Write many rows from a file.
    Push(push::Args),
    /// Compute the aggregates of a view again from the stream of events.
    Backfill(backfill::Args),
}

// === impl Command ===

impl Command {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        match self {
            Self::Put(args) => args.run(output),
            Self::Get(args) => args.run(output),
            Self::Push(args) => args.run(output),
            Self::Backfill(args) => args.run(output),
        }
    }
}

/// The shards of a view, as its features.toml says them.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Shards {
    /// How many shards the view has (`shards` in features.toml); leave it out when it has none.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=256))]
    shards: Option<u32>,
}

/// How ids of people are hashed before they are keys.
#[derive(Debug, Clone, clap::Args)]
struct KeyArgs {
    /// The key by which nodes hash ids (`ids.key`): what of KEY is a subject or a session is hashed; needs --release.
    #[arg(long, value_name = "FILE", requires = "release")]
    ids_key: Option<PathBuf>,
}

/// What becomes of the keys of a view.
struct Keys {
    ids: Ids,
    by: Option<By>,
}

// === impl KeyArgs ===

impl KeyArgs {
    /// For a view as its release says it.
    fn keys(&self, schema: Option<&Schema>) -> anyhow::Result<Keys> {
        let (Some(path), Some(schema)) = (&self.ids_key, schema) else {
            return Ok(Keys { ids: Ids::default(), by: None });
        };
        let by = schema.by();
        let names = by.names();
        if !names.iter().any(|name| Kind::of(name).is_some()) {
            let why = format!("--ids-key: the view is by {}, and no part of its keys is a person", names.join(" and "));
            return Err(Usage(why).into());
        }
        Ok(Keys { ids: Ids::keyed(IdsKey::read(path)?), by: Some(by.clone()) })
    }
}

// === impl Keys ===

impl Keys {
    /// An entity as it is to be a key.
    fn of(&self, entity: String) -> String {
        self.by.as_ref().map_or_else(|| entity.clone(), |by| self.ids.entity(by, &entity))
    }
}

// === impl Shards ===

impl Shards {
    /// What the bucket of an entity is called behind its prefix.
    fn bucket(self, view: &str, entity: &str) -> String {
        self.shards.map_or_else(|| view.to_owned(), |shards| shard_name(view, shard_of(entity, shards)))
    }

    /// The shards that a release says. Told otherwise, every row would lie where nobody looks.
    fn agreed(self, schema: &Schema) -> anyhow::Result<Self> {
        match (self.shards, schema.shards()) {
            (Some(told), said) if said != Some(told) => {
                let said = said.map_or_else(|| "no shards".to_owned(), |said| format!("{said} shards"));
                Err(Usage(format!("--shards {told}: the release gives this view {said}")).into())
            }
            (_, shards) => Ok(Self { shards }),
        }
    }

    /// All buckets of the view.
    fn buckets(self, view: &str) -> Vec<String> {
        bucket_names(view, self.shards)
    }
}

/// The entity a KEY names: a text as it is, or a pair as a JSON list of two texts.
fn entity_of(key: &str) -> anyhow::Result<String> {
    let pair: Option<Vec<String>> = key.starts_with('[').then(|| serde_json::from_str(key).ok()).flatten();
    let entity: Result<String, BadEntity> = match &pair {
        Some(parts) => entity(parts.iter().map(String::as_str)),
        None => entity([key]),
    };
    entity.map_err(|bad| Usage(format!("KEY {key:?}: {bad}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_text_or_a_pair() {
        let check = |key: &str, expected: Option<&str>| {
            assert_eq!(entity_of(key).ok().as_deref(), expected, "{key:?}");
        };
        check("sku-1", Some("sku-1"));
        check("[\"sku-1\",\"DE\"]", Some("sku-1\0DE"));
        check("[not a list", Some("[not a list"));
        check("[\"a\",\"b\",\"c\"]", None);
        check("", None);
    }
}
