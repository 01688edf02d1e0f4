//! Files that commands are given or leave behind: read whole, within a bound, and written whole or not at all, with errors
//! that name them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use selvedge_build::build::sidecar_name;
use selvedge_build::rules::{self, AsCsv, BadRules, Rules};

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_file(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let read = || {
        let file = File::open(path)?;
        // What a file says of its size is believed for the reservation alone: a buffer that grows would need twice as much.
        let mut bytes = Vec::with_capacity(file.metadata()?.len().min(limit) as usize + 1);
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let bytes = read().with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(bytes.len() as u64 <= limit, "{}: more than {limit} bytes", path.display());
    Ok(bytes)
}

/// Writes a file beside `path` and renames it, so that nobody ever reads half of it.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    let write = || {
        let mut file = File::create(beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(beside, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(beside))).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file that must not be there yet, such as a key.
pub(crate) fn write_new(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).with_context(|| match path.exists() {
            true => format!("{} is there already, and a key is never replaced: choose another name", path.display()),
            false => format!("cannot create {}", path.display()),
        })?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The largest file of rules, in bytes; what the builder takes is less.
const MAX_RULES_BYTES: u64 = 64 << 20;

/// A file of rules and the TOML file beside it, when there is one.
#[derive(Debug)]
pub(crate) struct RulesSource {
    name: String,
    bytes: Vec<u8>,
    beside: Option<(String, String)>,
}

// === impl RulesSource ===

impl RulesSource {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let bytes = read_file(path, MAX_RULES_BYTES)?;
        let beside = match sidecar_name(&name).filter(|beside| Path::new(beside).is_file()) {
            Some(beside) => {
                let text = String::from_utf8(read_file(Path::new(&beside), MAX_RULES_BYTES)?);
                let text = text.with_context(|| format!("{beside} is not UTF-8"))?;
                Some((beside, text))
            }
            None => None,
        };
        Ok(Self { name, bytes, beside })
    }

    /// What it means, or its mistakes.
    pub(crate) fn read(&self) -> Result<Rules, BadRules> {
        rules::read_with(&self.name, &self.bytes, self.beside())
    }

    /// Its table as CSV.
    pub(crate) fn to_csv(&self) -> Result<AsCsv, BadRules> {
        rules::to_csv(&self.name, &self.bytes, self.beside())
    }

    fn beside(&self) -> Option<(&str, &str)> {
        self.beside.as_ref().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

/// Reads a file of rules, with the TOML file beside it when there is one. Mistakes in them are the inner error.
pub(crate) fn read_rules(path: &Path) -> anyhow::Result<Result<Rules, BadRules>> {
    Ok(RulesSource::open(path)?.read())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hero.wasm");
        write_file(&file, b"one").unwrap();
        write_file(&file, b"two").unwrap();
        assert_eq!(read_file(&file, 3).unwrap(), b"two");
        assert!(read_file(&file, 2).unwrap_err().to_string().contains("more than 2 bytes"));
        let into_nothing = write_file(&folder.path().join("none/hero.wasm"), b"x").unwrap_err();
        assert!(into_nothing.to_string().contains("cannot write"), "{into_nothing}");
        // A folder cannot be replaced by a file; what was written beside it is gone.
        fs::create_dir(folder.path().join("taken")).unwrap();
        write_file(&folder.path().join("taken"), b"x").unwrap_err();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
