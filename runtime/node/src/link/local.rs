//! The local link: a directory stands in for the core. Owns where its files are; what is in them belongs to the flows.

use std::path::{Path, PathBuf};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::link::LinkState;

pub mod events;
pub mod features;
pub mod release;

/// A directory with a release's source and `features/*.jsonl`, and another one that events go to.
#[derive(Debug)]
pub struct LocalLink {
    dir: PathBuf,
    out: PathBuf,
    state: watch::Sender<LinkState>,
}

// === impl LocalLink ===

impl LocalLink {
    /// A link to `dir`, with `out` for what the node tells. Neither needs to exist yet.
    pub fn new(dir: PathBuf, out: PathBuf, clock: &Clock) -> Self {
        let state = watch::Sender::new(LinkState::Connected { since_us: clock.now_us() });
        Self { dir, out, state }
    }

    /// Where the release's source is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where events, decisions and rewards go.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The rows of a view, one JSON object a line.
    pub fn features_file(&self, view: &str) -> PathBuf {
        self.dir.join("features").join(format!("{view}.jsonl"))
    }

    /// The state: always connected, since a file that is not there is an empty one.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }
}
