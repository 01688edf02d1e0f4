//! Feature rows in files: `features/<view>.jsonl` in the link's directory is the whole view.

use std::io;
use std::time::SystemTime;

use crate::link::LocalLink;

/// What tells that a file was written since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileState {
    written: Option<SystemTime>,
    bytes: u64,
}

// === impl LocalLink ===

impl LocalLink {
    /// The state of a view's file; none when there is no file.
    pub(crate) async fn features_state(&self, view: &str) -> io::Result<Option<FileState>> {
        match tokio::fs::metadata(self.features_file(view)).await {
            Ok(found) => Ok(Some(FileState { written: found.modified().ok(), bytes: found.len() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The text of a view's file; empty when there is no file.
    pub(crate) async fn features_text(&self, view: &str) -> io::Result<Vec<u8>> {
        match tokio::fs::read(self.features_file(view)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            text => text,
        }
    }
}
