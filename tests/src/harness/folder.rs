//! Folders, copied with all in them: a shop that a test changes, the data of a node that is cloned.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Copies `from` to `to`, which is made.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
