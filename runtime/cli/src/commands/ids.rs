//! `selvedge ids`: the key that hashes ids of people, and what an id becomes by it.

use std::path::PathBuf;

use selvedge_node::ids::{Ids, IdsKey, Kind};
use serde_json::json;

use crate::files::write_new;
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key. Nodes name it with `ids.key`, whoever writes rows of people with `--ids-key`.
    Keygen(Keygen),
    /// Print what an id is where ids are hashed.
    Hash(Hash),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Keygen {
    /// The file; it must not be there yet.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Hash {
    /// The subject, or with --session the session; one that is a hash already is printed as it is.
    id: String,
    /// The key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// It is a session: the same text names another one than as a subject.
    #[arg(long)]
    session: bool,
}

// === impl Command ===

impl Command {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        match self {
            Self::Keygen(Keygen { file }) => {
                write_new(&file, 0o600, &IdsKey::generate()?)?;
                output.data(&json!({ "key": file }), format_args!("{} (secret)", file.display()))?;
            }
            Self::Hash(Hash { id, key, session }) => {
                if id.is_empty() {
                    return Err(Usage("the id is empty".to_owned()).into());
                }
                let kind = if session { Kind::Session } else { Kind::Subject };
                let ids = Ids::keyed(IdsKey::read(&key)?);
                let id = ids.known_as(kind, &id);
                output.data(&json!({ "id": id }), &id)?;
            }
        }
        Ok(Outcome::Ok)
    }
}
