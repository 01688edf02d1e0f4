//! A key that operators keep in a file: what is hashed or sealed by it can be told by nobody who has it not. Owns the file's form,
//! who may read it, and HMAC.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};
use selvedge_decision::ids::unhex;
use sha2::{Digest as _, Sha256};

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// The block of SHA-256, in bytes, which HMAC fills with the key.
const BLOCK_BYTES: usize = 64;
/// The largest key file, in bytes.
const MAX_FILE_BYTES: u64 = 1_024;

/// A key. HMAC-SHA-256 (RFC 2104) with the key's block gone through already, so that a short text costs two blocks.
#[derive(Clone)]
pub struct Secret {
    inner: Sha256,
    outer: Sha256,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum BadSecret {
    /// The file cannot be read, or made.
    #[error("{setting}: cannot use {path}: {why}")]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// Others may read the file, or write it.
    #[error(
        "{setting}: {path} has the mode {mode:04o}: others than its owner and its group can use it; chmod 600 {path}"
    )]
    Mode {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds no key.
    #[error(
        "{setting}: {path} holds no key: expected one line of 64 hex digits, as `selvedge ids keygen` or `openssl rand -hex 32` makes it"
    )]
    Text {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: String,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Random(std::io::Error),
}

// === impl Secret ===

impl Secret {
    /// A new key's file: 64 hex digits from the operating system's random bytes.
    pub fn generate() -> Result<String, BadSecret> {
        let mut key = [0; KEY_BYTES];
        let mut filled = 0;
        while let Some(rest) = key.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += getrandom(rest, GetRandomFlags::empty()).map_err(|error| BadSecret::Random(error.into()))?;
        }
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{digits}\n"))
    }

    /// Reads a key's file, which nobody but its owner and its group may read. `setting` is what names it.
    pub fn read(setting: &'static str, path: &Path) -> Result<Self, BadSecret> {
        let name = || path.display().to_string();
        let read = || {
            let file = File::open(path)?;
            let mode = file.metadata()?.permissions().mode();
            let mut text = String::new();
            file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
            std::io::Result::Ok((mode, text))
        };
        let (mode, text) = read().map_err(|why| BadSecret::File { setting, path: name(), why })?;
        check_mode(setting, path, mode)?;
        let key = unhex(text.trim()).ok_or_else(|| BadSecret::Text { setting, path: name() })?;
        Ok(Self::new(&key))
    }

    /// Reads a key's file, and makes it first where there is none.
    pub fn read_or_make(setting: &'static str, path: &Path) -> Result<Self, BadSecret> {
        if !path.exists() {
            let text = Self::generate()?;
            let bad = |why| BadSecret::File { setting, path: path.display().to_string(), why };
            write_for_its_owner(path, &text).map_err(bad)?;
        }
        Self::read(setting, path)
    }

    /// Of these bytes.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let pad = |with: u8| {
            let mut block = [with; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Sha256::new_with_prefix(block)
        };
        Self { inner: pad(0x36), outer: pad(0x5c) }
    }

    /// HMAC-SHA-256 of the parts, one after another.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        self.outer.clone().chain_update(inner.finalize()).finalize().into()
    }
}

/// Refuses a file with a secret whose `mode` lets others than its owner and its group use it.
pub(crate) fn check_mode(setting: &'static str, path: &Path, mode: u32) -> Result<(), BadSecret> {
    if mode & 0o027 == 0 {
        return Ok(());
    }
    Err(BadSecret::Mode { setting, path: path.display().to_string(), mode: mode & 0o7777 })
}

/// Writes a file whole or not at all, readable by nobody else: beside it, synced, renamed over it, folder synced.
fn write_for_its_owner(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

impl fmt::Debug for Secret {
    /// Says nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_key_file_is_one_that_others_cannot_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.key");
        let write = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Secret::read("some.key", &path).map_err(|bad| bad.to_string())
        };
        let text = Secret::generate().unwrap();
        assert!(write(&text, 0o600).is_ok() && write(&text, 0o440).is_ok());
        for mode in [0o604, 0o602, 0o620, 0o644] {
            assert!(write(&text, mode).unwrap_err().contains("chmod 600"), "{mode:o}");
        }
        for wrong in [
            "",
            "00",
            &text.trim()[1..],
            &text.replace(|c: char| c.is_ascii_hexdigit(), "x"),
            &format!("{}00", text.trim()),
        ] {
            assert!(write(wrong, 0o600).unwrap_err().contains("64 hex digits"), "{wrong:?}");
        }
        assert!(Secret::read("some.key", &folder.path().join("none")).unwrap_err().to_string().contains("cannot use"));
        assert_ne!(Secret::generate().unwrap(), text, "two keys are two");
        assert!(!format!("{:?}", Secret::new(&[7; 32])).contains(|c: char| c.is_ascii_digit()), "it shows itself");
    }

    #[test]
    fn a_key_that_is_not_there_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.key");
        let made = Secret::read_or_make("own", &path).unwrap().mac(&[b"x"]);
        assert_eq!(Secret::read_or_make("own", &path).unwrap().mac(&[b"x"]), made);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
