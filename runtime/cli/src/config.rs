//! A node's settings from the command line: flags over environment over file over the embedded defaults.

use std::path::{Path, PathBuf};

use selvedge_node::config::{BadConfig, Config, Layers};

use crate::output::Usage;

/// The file that is read when none is named and it is there.
const DEFAULT_FILE: &str = "selvedge.toml";

/// A node's settings.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConfigArgs {
    /// The settings file; `selvedge.toml` in this folder when it is there.
    #[arg(long, value_name = "FILE", env = "SELVEDGE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// One setting, over file and environment.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

// === impl ConfigArgs ===

impl ConfigArgs {
    /// The settings. A mistake in them is a usage error.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let file = self.config.clone().or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()));
        load(file.as_deref(), &self.set)
    }
}

/// The settings of `file` with `flags` over environment over it.
pub(crate) fn load(file: Option<&Path>, flags: &[String]) -> anyhow::Result<Config> {
    let read = || -> Result<Config, BadConfig> {
        let mut layers = Layers::new()?;
        if let Some(file) = file {
            layers = layers.file(file)?;
        }
        // A variable that is not UTF-8 cannot be one of ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        layers = layers.environment(std::env::vars_os().filter_map(text))?;
        flags.iter().try_fold(layers, |layers, flag| layers.flag(flag))?.finish()
    };
    read().map_err(|error| Usage(error.to_string()).into())
}
