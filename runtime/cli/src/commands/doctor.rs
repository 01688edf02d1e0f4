//! `selvedge doctor`: whether this machine and the core have what a node needs, and what the node that runs here has to say. One
//! line a check: ok, warn or fail, and what to do. A failed check is a finding; a warning is not.

mod core;
mod machine;
mod node;

use std::fmt;
use std::path::PathBuf;

use selvedge_node::config::{Config, LinkKind};
use serde::Serialize;

use crate::admin::AdminListener;
use crate::config;
use crate::core::block_on;
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The settings file of the node; `selvedge.toml` in this folder when it is there.
    #[arg(long, value_name = "FILE", env = "SELVEDGE_CONFIG")]
    config: Option<PathBuf>,
    /// One setting, over file and environment.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// The core, instead of the one in the settings.
    #[arg(long, env = "SELVEDGE_NATS", value_name = "URL")]
    nats: Option<String>,
    /// A key with the scope `admin`, where the node on this machine wants one.
    #[arg(long, env = "SELVEDGE_ADMIN_KEY", value_name = "KEY", hide_env_values = true)]
    admin_key: Option<String>,
}

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    check: &'static str,
    state: State,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let mut all_ok = true;
        let mut tell = |check: Check| {
            all_ok &= check.state != State::Fail;
            output.data(&check, &check)
        };
        let file = self.config.clone().or_else(|| Some(PathBuf::from("selvedge.toml")).filter(|file| file.exists()));
        let mut flags = self.set.clone();
        flags.extend(self.nats.iter().map(|url| format!("link.nats.url={url}")));
        let name = file.as_ref().map_or("the defaults".to_owned(), |file| file.display().to_string());
        let loaded = match config::load(file.as_deref(), &flags) {
            Ok(loaded) => {
                tell(Check::ok(
                    "config",
                    format!("{name}: node {}, channel {}", loaded.node.name, loaded.node.channel),
                ))?;
                Some(loaded)
            }
            Err(error) => {
                tell(Check::fail("config", error.to_string(), "mend the settings; the checks below use the defaults"))?;
                config::load(None, &[]).ok()
            }
        };
        if let Some(config) = &loaded {
            machine::checks(config).into_iter().try_for_each(&mut tell)?;
            node::checks(&AdminListener::new(config, self.admin_key.clone())).into_iter().try_for_each(&mut tell)?;
            if config.link.kind == LinkKind::Nats {
                let checks =
                    block_on(1, async { anyhow::Ok(core::checks(&nats(config), &config.node.channel).await) })?;
                checks.into_iter().try_for_each(&mut tell)?;
            }
        }
        Ok(Outcome::of(all_ok))
    }
}

fn nats(config: &Config) -> selvedge_node::link::NatsConfig {
    let nats = &config.link.nats;
    let said = |path: &PathBuf| Some(path.clone()).filter(|path| !path.as_os_str().is_empty());
    selvedge_node::link::NatsConfig {
        url: nats.url.clone(),
        credentials: said(&nats.credentials),
        ca: said(&nats.ca),
        prefix: nats.prefix.clone(),
        domain: nats.domain.clone(),
        name: config.node.name.to_string(),
        timeout: selvedge_node::config::duration(nats.timeout),
    }
}

// === impl Check ===

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), advice: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Fail, found: found.into(), advice: Some(advice.into()) }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        };
        write!(f, "{state:<4}  {:<10}  {}", self.check, self.found)?;
        match &self.advice {
            Some(advice) => write!(f, " -> {advice}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line() {
        let check = |check: Check, expected: &str| assert_eq!(check.to_string(), expected);
        check(Check::ok("kernel", "6.7"), "ok    kernel      6.7");
        check(Check::warn("kernel", "6.1", "update"), "warn  kernel      6.1 -> update");
    }
}
