//! Logs: how lines look and where they go; spans are `otlp`'s. Metrics belong to the flows that move them.

pub mod otlp;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
#[error("log.level {level:?}: {why}")]
pub struct BadFilter {
    level: String,
    why: String,
}

/// Sends logs to standard error from here on. A second call changes nothing.
pub fn start(log: &Log) -> Result<(), BadFilter> {
    let filter =
        EnvFilter::try_new(&log.level).map_err(|why| BadFilter { level: log.level.clone(), why: why.to_string() })?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Pretty => registry
            .with(lines.with_target(false).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())))
            .try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}
