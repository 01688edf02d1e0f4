//! The keys a node trusts. Owns rotation: the files are read again when they change, so a key is added or withdrawn
//! without a restart. A file that is gone or broken gives no keys (a half-written file must not widen trust) and says why.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::{PublicKey, Signature};

/// Trusted public keys. Cheap to clone: all clones are one store.
#[derive(Debug, Clone)]
pub struct TrustStore {
    files: Arc<[PathBuf]>,
    read: Arc<Mutex<Read>>,
}

/// What was read last, and the files' stamps then.
#[derive(Debug, Default)]
struct Read {
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    keys: Arc<[PublicKey]>,
    problems: Arc<[String]>,
    /// Goes up with every change, so that what was refused before can be tried again.
    version: u64,
}

/// What changes when a file does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

/// No trusted key made the signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signed by key {key}, which is not trusted or did not sign this; trusted: {trusted}{problems}")]
pub struct Untrusted {
    key: String,
    trusted: String,
    problems: String,
}

// === impl TrustStore ===

impl TrustStore {
    /// The keys of `files`, each with one public key a line. A `*` in a file's name matches any text.
    pub fn from_files(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { files: files.into_iter().collect(), read: Arc::default() }
    }

    /// Exactly these keys.
    pub fn of(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let read = Read { keys: keys.into_iter().collect(), ..Read::default() };
        Self { files: Arc::default(), read: Arc::new(Mutex::new(read)) }
    }

    /// The keys as the files hold them now.
    pub fn keys(&self) -> Arc<[PublicKey]> {
        self.fresh(|read| Arc::clone(&read.keys))
    }

    /// What is wrong with the files now; their other keys count.
    pub fn problems(&self) -> Arc<[String]> {
        self.fresh(|read| Arc::clone(&read.problems))
    }

    /// Goes up whenever a file changed.
    pub fn version(&self) -> u64 {
        self.fresh(|read| read.version)
    }

    /// The name of the trusted key that made `signature` over `text`.
    pub fn verify(&self, text: &[u8], signature: &Signature) -> Result<String, Untrusted> {
        let keys = self.keys();
        if let Some(key) = keys.iter().find(|key| key.id() == signature.key() && key.verifies(text, signature)) {
            return Ok(key.name().to_owned());
        }
        let named = |key: &PublicKey| format!("{} ({})", key.id(), key.name());
        let trusted: Vec<String> = keys.iter().map(named).collect();
        let trusted = if trusted.is_empty() { "no key at all".into() } else { trusted.join(", ") };
        let problems: String = self.problems().iter().map(|problem| format!("; {problem}")).collect();
        Err(Untrusted { key: signature.key().to_string(), trusted, problems })
    }

    fn fresh<T>(&self, take: impl FnOnce(&Read) -> T) -> T {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let files = self.files.iter().flat_map(|file| expand(file));
        let stamps: Vec<_> = files.map(|file| (file.clone(), stamp(&file))).collect();
        if stamps != read.stamps {
            let mut keys = Vec::new();
            let mut problems = Vec::new();
            for (file, _) in &stamps {
                match PublicKey::read_all(file) {
                    Ok(more) => keys.extend(more),
                    Err(problem) => problems.push(problem.to_string()),
                }
            }
            // A file that could not be read, or that was written a moment ago and may be written again with the same
            // stamp, is read again next time.
            let settled =
                problems.is_empty() && stamps.iter().filter_map(|(_, stamp)| stamp.as_ref()).all(Stamp::is_settled);
            let stamps = if settled { stamps } else { Vec::new() };
            let changed = *read.keys != *keys || *read.problems != *problems;
            let version = read.version + u64::from(changed);
            *read = Read { stamps, keys: keys.into(), problems: problems.into(), version };
        }
        take(&read)
    }
}

// === impl Stamp ===

impl Stamp {
    /// Whether a later write would show in the stamp, with the coarsest clock a file system has (2 s).
    fn is_settled(&self) -> bool {
        self.modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > Duration::from_secs(2))
    }
}

/// The files a path with a `*` in its name stands for; any other path stands for itself, there or not.
fn expand(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let Some((before, after)) = name.split_once('*') else { return vec![path.to_owned()] };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let matches = |file: &PathBuf| {
        let file = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        file.len() >= before.len() + after.len() && file.starts_with(before) && file.ends_with(after)
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(matches).collect();
    files.sort();
    files
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp { modified: meta.modified().ok(), len: meta.len(), inode: meta.ino() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::SigningKey;
    use super::*;

    #[test]
    fn keys_rotate_without_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trusted.pub");
        let (old, new) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let trust = TrustStore::from_files([file.clone()]);
        let check = |content: Option<String>, expected: [bool; 2]| {
            match content {
                Some(text) => std::fs::write(&file, text).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            let trusted = [&old, &new].map(|key| trust.verify(b"x", &key.sign(b"x")).is_ok());
            assert_eq!(trusted, expected);
        };
        check(Some(old.public("old").to_text()), [true, false]);
        let before = trust.version();
        check(Some(format!("# both\n{}\n{}", old.public("old").to_text(), new.public("new").to_text())), [true, true]);
        assert!(trust.version() > before);
        check(Some(new.public("new").to_text()), [false, true]);
        check(Some("selvedge-ed25519-public:half".into()), [false, false]);
        assert_eq!(trust.problems().len(), 1);
        check(None, [false, false]);
        check(Some(new.public("new").to_text()), [false, true]);
    }

    #[test]
    fn a_star_stands_for_every_file_that_matches_now() {
        let dir = tempfile::tempdir().unwrap();
        let trust = TrustStore::from_files([dir.path().join("prod-*.pub")]);
        let check = |expected: &[&str]| {
            let keys = trust.keys();
            assert_eq!(keys.iter().map(PublicKey::name).collect::<Vec<_>>(), expected);
        };
        check(&[]);
        for name in ["prod-b.pub", "prod-a.pub", "prod-a.key", "test.pub"] {
            let text = SigningKey::generate().unwrap().public(name).to_text();
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        check(&["prod-a.pub", "prod-b.pub"]);
        std::fs::remove_file(dir.path().join("prod-a.pub")).unwrap();
        check(&["prod-b.pub"]);
    }

    #[test]
    fn the_error_names_the_keys() {
        let (mine, theirs) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let trust = TrustStore::of([mine.public("ops")]);
        let error = trust.verify(b"x", &theirs.sign(b"x")).unwrap_err().to_string();
        assert!(error.contains("(ops)") && error.contains(&theirs.public("x").id().to_string()), "{error}");
    }
}
