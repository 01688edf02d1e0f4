//! The release file: an archive with `release.json` first (what is in it, by sha256), `release.sig` second, then the files.
//! Owns its form, its digest (sha256 of `release.json`), its signature and the checks that hold for any bytes whatever.
//! `release/pack.rs` makes it from a folder, `release/contents.rs` reads what its files mean.

mod archive;
mod contents;
mod pack;
mod sidecars;

use std::collections::BTreeMap;

use selvedge_decision::Digest;
use serde::{Deserialize, Serialize};

pub use self::contents::{BadContents, Contents, Finding, ReleaseModule, definition};
pub use self::pack::{PackError, PackedRelease, pack, pack_after, sources};
use crate::keys::{Signature, SigningKey, TrustStore, Untrusted};

/// The version of the form this runtime writes and reads.
pub const RELEASE_FORMAT: u32 = 1;

/// The oldest runtime that may run what [`pack`] makes.
pub const OLDEST_RUNTIME: &str = "0.1.0";

/// This runtime's version.
pub const RUNTIME: &str = env!("CARGO_PKG_VERSION");

const MANIFEST: &str = "release.json";
const SIGNATURE: &str = "release.sig";

/// Bounds for a release file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most files in it.
    pub max_files: usize,
    /// The largest file in it, in bytes.
    pub max_file_bytes: u64,
    /// The largest release file, in bytes.
    pub max_total_bytes: u64,
}

/// `release.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseManifest {
    /// [`RELEASE_FORMAT`].
    pub format: u32,
    /// The oldest runtime that may run it, such as `0.1.0`.
    pub runtime: String,
    /// The name for people, as `release.toml` says it.
    pub name: String,
    /// The files, by path.
    pub files: Vec<FileEntry>,
}

/// One file of `release.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its path.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content, 64 hex digits.
    pub sha256: String,
}

/// A release file that was opened: every file is what `release.json` says. Its signature is checked by
/// [`ReleaseFiles::verify`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseFiles {
    /// SHA-256 of `release.json`.
    pub digest: Digest,
    /// The signature beside it.
    pub signature: Signature,
    /// `release.json`.
    pub manifest: ReleaseManifest,
    /// The files by path, without `release.json` and `release.sig`.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Why bytes are not a release this runtime accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRelease {
    /// The archive is not as it must be.
    #[error("not a release file: {0}")]
    Form(String),
    /// It has too many files.
    #[error("more than {limit} files in the release (max_files)")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// Something in it, or it, is too large.
    #[error("{what}: {size} bytes, at most {limit} ({name})")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
        /// The limit's name.
        name: &'static str,
    },
    /// A newer runtime is needed.
    #[error("the release needs runtime {needs} or newer, this is {RUNTIME}; update the node")]
    Runtime {
        /// The oldest runtime that may run it.
        needs: String,
    },
    /// Files and `release.json` disagree.
    #[error("{path}: {why}")]
    File {
        /// The path.
        path: String,
        /// How they disagree.
        why: String,
    },
    /// No trusted key signed it.
    #[error("release {digest} is not signed by a trusted key: {why}")]
    Signature {
        /// The release.
        digest: Digest,
        /// Which key signed, which are trusted.
        why: Untrusted,
    },
}

/// Opens a release file: bounded, canonical, complete, every file with the size and digest `release.json` says.
pub fn open(bytes: &[u8], limits: &Limits) -> Result<ReleaseFiles, BadRelease> {
    let mut entries = archive::read(bytes, limits)?.into_iter();
    let mut expect = |name: &str| match entries.next() {
        Some((path, content)) if path == name => Ok(content),
        Some((path, _)) => Err(BadRelease::Form(format!("{path:?} stands where {name} must stand"))),
        None => Err(BadRelease::Form(format!("{name} is missing"))),
    };
    let text = expect(MANIFEST)?;
    let signature = expect(SIGNATURE)?;
    let signature = std::str::from_utf8(signature).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok());
    let signature = signature.ok_or_else(|| BadRelease::Form(format!("{SIGNATURE} is not a signature")))?;
    let manifest = read_manifest(text)?;

    let mut files = BTreeMap::new();
    let mut listed = manifest.files.iter();
    for (path, content) in entries {
        let wrong = |why: String| BadRelease::File { path: path.clone(), why };
        let entry = listed.next().ok_or_else(|| wrong(format!("is not listed in {MANIFEST}")))?;
        if entry.path != path {
            return Err(wrong(format!("stands where {MANIFEST} lists {:?}", entry.path)));
        }
        if entry.size != content.len() as u64 {
            return Err(wrong(format!("has {} bytes, {MANIFEST} says {}", content.len(), entry.size)));
        }
        let digest = Digest::of(content).hex();
        if entry.sha256 != digest {
            return Err(wrong(format!("has sha256 {digest}, {MANIFEST} says {}", entry.sha256)));
        }
        files.insert(path, content.to_owned());
    }
    if let Some(entry) = listed.next() {
        return Err(BadRelease::File { path: entry.path.clone(), why: format!("is listed in {MANIFEST} but missing") });
    }
    Ok(ReleaseFiles { digest: Digest::of(text), signature, manifest, files })
}

/// Writes a release file of `files` and signs it.
fn seal(name: &str, files: &BTreeMap<String, Vec<u8>>, key: &SigningKey) -> (Digest, Vec<u8>) {
    let entry = |(path, content): (&String, &Vec<u8>)| FileEntry {
        path: path.clone(),
        size: content.len() as u64,
        sha256: Digest::of(content).hex(),
    };
    let manifest = ReleaseManifest {
        format: RELEASE_FORMAT,
        runtime: OLDEST_RUNTIME.to_owned(),
        name: name.to_owned(),
        files: files.iter().map(entry).collect(),
    };
    // Text and numbers only: writing them cannot fail.
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    let digest = Digest::of(&text);
    let signature = format!("{}\n", key.sign(&signed_text(&digest)));
    let first = [(MANIFEST, &text[..]), (SIGNATURE, signature.as_bytes())];
    let rest = files.iter().map(|(path, content)| (path.as_str(), &content[..]));
    (digest, archive::write(first.into_iter().chain(rest)))
}

fn signed_text(digest: &Digest) -> Vec<u8> {
    format!("selvedge-release-v1\n{digest}").into_bytes()
}

fn read_manifest(text: &[u8]) -> Result<ReleaseManifest, BadRelease> {
    /// What any version of `release.json` says, so that a newer one is told apart from a broken one.
    #[derive(Deserialize)]
    struct Needs {
        format: u32,
        runtime: String,
    }
    let form = |error: &dyn std::fmt::Display| BadRelease::Form(format!("{MANIFEST}: {error}"));
    let needs: Needs = serde_json::from_slice(text).map_err(|error| form(&error))?;
    let oldest = version(&needs.runtime).ok_or_else(|| form(&"`runtime` is not a version such as 0.1.0"))?;
    if version(RUNTIME).is_none_or(|mine| mine < oldest) || needs.format > RELEASE_FORMAT {
        return Err(BadRelease::Runtime { needs: needs.runtime });
    }
    let manifest: ReleaseManifest = serde_json::from_slice(text).map_err(|error| form(&error))?;
    if manifest.format != RELEASE_FORMAT {
        return Err(form(&format_args!("format {} is unknown, this runtime reads {RELEASE_FORMAT}", manifest.format)));
    }
    let mut last = "";
    for entry in &manifest.files {
        check_path(&entry.path).map_err(|why| BadRelease::File { path: entry.path.clone(), why })?;
        if entry.path.as_str() <= last {
            return Err(form(&format_args!("{:?} stands after {last:?}: paths are sorted and stand once", entry.path)));
        }
        last = &entry.path;
    }
    Ok(manifest)
}

/// Whether `path` is one a release may hold: `release.toml`, `features.toml`, `assignments.json`, `placements/*.toml`,
/// `modules/*.wasm`, `tests/*.test.json`.
fn check_path(path: &str) -> Result<(), String> {
    if path.len() > archive::MAX_PATH_BYTES {
        return Err(format!("a path has at most {} bytes", archive::MAX_PATH_BYTES));
    }
    let known = match path.split_once('/') {
        None => matches!(path, "release.toml" | "features.toml" | contents::ASSIGNMENTS),
        Some((folder, file)) => [("placements", ".toml"), ("modules", ".wasm"), ("tests", ".test.json")]
            .iter()
            .any(|(name, end)| folder == *name && file.strip_suffix(end).is_some_and(is_stem)),
    };
    match known {
        true => Ok(()),
        false => {
            Err("is not a file of a release: release.toml, features.toml, assignments.json, placements/KEY.toml, \
                      modules/NAME.wasm or tests/NAME.test.json, with names of a-z A-Z 0-9 . _ -"
                .into())
        }
    }
}

/// Whether `stem` can name a placement or a module: letters, digits, `_`, `-` and `.`, not beginning with a dot.
fn is_stem(stem: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !stem.is_empty() && !stem.starts_with('.') && stem.bytes().all(plain)
}

fn version(text: &str) -> Option<[u32; 3]> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    let version = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(version)
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self { max_files: 1_000, max_file_bytes: 64 << 20, max_total_bytes: 256 << 20 }
    }
}

// === impl ReleaseFiles ===

impl ReleaseFiles {
    /// The name of the trusted key that signed it.
    pub fn verify(&self, trust: &TrustStore) -> Result<String, BadRelease> {
        trust
            .verify(&signed_text(&self.digest), &self.signature)
            .map_err(|why| BadRelease::Signature { digest: self.digest, why })
    }
}

#[cfg(test)]
mod tests;
