//! What the core said last, on disk: a node that is started without the core decides by it, and keeps to the switch. Owns the file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The values of the core's bucket, by bandit or switch.
#[derive(Debug, Default)]
pub(super) struct Kept {
    path: PathBuf,
    values: BTreeMap<String, String>,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct Form {
    version: u32,
    values: BTreeMap<String, String>,
}

const VERSION: u32 = 1;
/// The largest file that is read.
const MAX_BYTES: u64 = 256 << 20;

// === impl Kept ===

impl Kept {
    /// Reads the file at `path`. One that cannot be read is told, and is none: the core will say it again.
    pub(super) fn read(path: PathBuf) -> Self {
        let values = match read(&path) {
            Ok(values) => values,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what the core learned cannot be read: it is asked again");
                BTreeMap::new()
            }
        };
        Self { path, values, changed: false }
    }

    /// The value of a bandit or of the switch.
    pub(super) fn value(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key).map(String::as_bytes)
    }

    /// Takes what the core says now.
    pub(super) fn note(&mut self, values: &[(String, Option<Bytes>)]) {
        for (key, value) in values {
            let value = value.as_ref().and_then(|value| String::from_utf8(value.to_vec()).ok());
            let before = self.values.remove(key);
            self.changed |= before != value;
            self.values.extend(value.map(|value| (key.clone(), value)));
        }
    }

    /// What is to be written and where, when something changed since this was asked last.
    pub(super) fn changed(&mut self) -> Option<(PathBuf, Vec<u8>)> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let form = Form { version: VERSION, values: self.values.clone() };
        Some((self.path.clone(), serde_json::to_vec(&form).ok()?))
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<String, String>> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other(format!("more than {MAX_BYTES} bytes")));
    }
    let form: Form = serde_json::from_slice(&fs::read(path)?)?;
    if form.version == VERSION { Ok(form.values) } else { Err(io::Error::other(format!("version {}", form.version))) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::releases::write_durably;

    #[test]
    fn what_was_said_is_there_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bandits.json");
        let mut kept = Kept::read(path.clone());
        assert!(kept.changed().is_none());
        kept.note(&[("hero".into(), Some("{\"a\":1}".into())), ("_off".into(), Some("[\"*\"]".into()))]);
        let (to, bytes) = kept.changed().unwrap();
        write_durably(&to, &bytes).unwrap();
        assert!(kept.changed().is_none(), "once");
        kept.note(&[("hero".into(), Some("{\"a\":1}".into())), ("gone".into(), None)]);
        assert!(kept.changed().is_none(), "nothing new");
        let mut again = Kept::read(path.clone());
        assert_eq!((again.value("hero"), again.value("_off")), (Some(&b"{\"a\":1}"[..]), Some(&b"[\"*\"]"[..])));
        again.note(&[("hero".into(), None)]);
        assert!(again.changed().is_some() && again.value("hero").is_none());
        fs::write(&path, "no json").unwrap();
        assert!(Kept::read(path).value("hero").is_none());
    }
}
