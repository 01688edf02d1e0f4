//! `selvedge dev`: runs a node on a folder, with no server. The folder is the release; what is saved runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config;
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Args)]
#[command(after_help = "Events, decisions and rewards are written to `out` in the folder as JSON lines.")]
pub(crate) struct Args {
    /// The folder with `release.toml`, `placements/`, `modules/` and `features/*.jsonl`.
    dir: PathBuf,
    /// Where to listen for decisions and events; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    http: SocketAddr,
    /// Where to listen for health, metrics and releases.
    #[arg(long, default_value = "127.0.0.1:7071", value_name = "ADDRESS")]
    admin: SocketAddr,
    /// Where the node keeps its own files; `.selvedge` in the folder when not said.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// One more setting of the node.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, _: &Output) -> anyhow::Result<Outcome> {
        if !self.dir.is_dir() {
            return Err(Usage(format!("{}: there is no such folder", self.dir.display())).into());
        }
        let data = self.data.unwrap_or_else(|| self.dir.join(".selvedge"));
        let mut flags = vec![
            "link.kind=local".to_owned(),
            format!("link.local.directory={}", self.dir.display()),
            format!("node.data={}", data.display()),
            format!("http.listen={}", self.http),
            format!("http.admin={}", self.admin),
            "log.format=pretty".to_owned(),
        ];
        flags.extend(self.set);
        super::node::run(config::load(None, &flags)?)
    }
}
