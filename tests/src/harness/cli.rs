//! The `selvedge` binary as a person uses it: its arguments in, its JSON and exit code out.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{binary, process};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs commands against one core.
#[derive(Debug, Clone)]
pub struct Cli {
    nats: Option<String>,
    folder: Option<PathBuf>,
    limit: Duration,
}

/// What a command did.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

// === impl Cli ===

impl Cli {
    /// Commands against the core at `nats`.
    pub fn new(nats: impl Into<String>) -> Self {
        Self { nats: Some(nats.into()), folder: None, limit: LIMIT }
    }

    /// Commands that need no core.
    pub fn offline() -> Self {
        Self { nats: None, folder: None, limit: LIMIT }
    }

    /// The same commands in a folder.
    pub fn in_folder(self, folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..self }
    }

    /// The same commands, of which each may take so long.
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Runs `selvedge ARGS`.
    pub async fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Ran> {
        let mut command = Command::new(binary::built("selvedge")?);
        command.args(args);
        // The environment of whoever runs the suite must not decide.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SELVEDGE_")) {
            command.env_remove(name);
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        if let Some(nats) = &self.nats {
            command.env("SELVEDGE_NATS", nats);
        }
        let (status, stdout, stderr) = process::run("selvedge", command, self.limit).await?;
        Ok(Ran { code: status.code(), stdout, stderr })
    }

    /// Runs `selvedge ARGS --json`, which must exit 0; the value it printed.
    pub async fn json<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<serde_json::Value> {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let ran = self.run(args.iter().map(|arg| arg.as_os_str()).chain([OsStr::new("--json")])).await?;
        ran.ok().with_context(|| format!("selvedge {args:?}"))?;
        let text = ran.stdout.trim();
        serde_json::from_str(text).with_context(|| format!("selvedge {args:?} printed {text:?}"))
    }
}

// === impl Ran ===

impl Ran {
    /// An error when it did not exit 0.
    pub fn ok(&self) -> Result<&Self> {
        if self.code != Some(0) {
            bail!("exit {:?}: {}{}", self.code, self.stdout, self.stderr);
        }
        Ok(self)
    }
}
