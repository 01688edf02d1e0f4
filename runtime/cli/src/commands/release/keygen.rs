//! `selvedge release keygen`: a new key in two files.

use std::path::PathBuf;

use anyhow::Context as _;
use selvedge_build::keys::SigningKey;
use serde::Serialize;

use crate::files::write_new;
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The key's name, which also names the files.
    name: String,
    /// Where the files go.
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Serialize)]
struct Made {
    id: String,
    secret: PathBuf,
    public: PathBuf,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.bytes().all(plain) {
            return Err(Usage(format!("{:?} is no name for a key: letters, digits, -, _ and .", self.name)).into());
        }
        let key = SigningKey::generate()?;
        let public_key = key.public(&self.name);
        let secret = self.dir.join(format!("{}.key", self.name));
        let public = self.dir.join(format!("{}.pub", self.name));
        std::fs::create_dir_all(&self.dir).with_context(|| format!("cannot create {}", self.dir.display()))?;
        // The public half first: a secret without it would be of no use, and never replaces one that is.
        write_new(&public, 0o644, &public_key.to_text())?;
        write_new(&secret, 0o600, &key.to_text()).inspect_err(|_| drop(std::fs::remove_file(&public)))?;
        let made = Made { id: public_key.id().to_string(), secret, public };
        let text =
            format!("{} (secret)\n{} (public, key id {})", made.secret.display(), made.public.display(), made.id);
        output.data(&made, text)?;
        Ok(Outcome::Ok)
    }
}
