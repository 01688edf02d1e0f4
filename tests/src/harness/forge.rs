//! Releases that no command would make: any files, any `release.json`, signed with any key. Writes the archive by the
//! documentation of the form, not with the builder's code, which would refuse.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use selvedge_build::keys::SigningKey;
use selvedge_build::release::{self, Limits, ReleaseFiles};
use selvedge_decision::Digest;
use serde_json::json;

/// A release file and the digest it is named by.
#[derive(Debug, Clone)]
pub struct Forged {
    /// SHA-256 of its `release.json`.
    pub digest: Digest,
    /// The file.
    pub bytes: Vec<u8>,
}

/// The files of a packed release, to be changed and forged again.
pub fn opened(bytes: &[u8]) -> Result<ReleaseFiles> {
    Ok(release::open(bytes, &Limits::default())?)
}

/// Seals `files` as they are and signs with `key`.
pub fn release(name: &str, files: &BTreeMap<String, Vec<u8>>, key: &SigningKey) -> Result<Forged> {
    let entry = |(path, content): (&String, &Vec<u8>)| json!({"path": path, "size": content.len(), "sha256": Digest::of(content).hex()});
    let entries: Vec<_> = files.iter().map(entry).collect();
    let manifest = json!({"format": 1, "runtime": "0.1.0", "name": name, "files": entries}).to_string();
    let digest = Digest::of(manifest.as_bytes());
    let signature = format!("{}\n", key.sign(format!("selvedge-release-v1\n{digest}").as_bytes()));
    let first = [("release.json", manifest.as_bytes()), ("release.sig", signature.as_bytes())];
    let mut bytes = Vec::new();
    for (path, content) in first.into_iter().chain(files.iter().map(|(path, content)| (path.as_str(), &content[..]))) {
        bytes.extend(header(path, content.len())?);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    Ok(Forged { digest, bytes })
}

/// A ustar header of a plain file with mode 0644 and no owner or time.
fn header(path: &str, size: usize) -> Result<[u8; 512]> {
    ensure!(path.len() <= 100, "a path of {} bytes does not fit", path.len());
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:07o}").as_bytes());
    header[155] = 0;
    Ok(header)
}
