//! A folder becomes a release: sources are found, modules built, everything checked, then written and signed. Owns which
//! files of a folder belong to a release and what to say of the others. A folder that fails is told all its faults at once.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use selvedge_decision::plan::Tables;
use selvedge_decision::{Digest, Plan};

use super::contents::{self, ASSIGNMENTS, BadContents, Contents, Finding};
use super::{Limits, check_path, is_stem, seal, sidecars};
use crate::build::{BuildError, build_source, module_name, sidecar_name};
use crate::definitions::{BadFile, nearest};
use crate::keys::SigningKey;

/// The folders of a release, and `features`, where the local link keeps rows.
const FOLDERS: [&str; 4] = ["placements", "modules", "tests", "features"];

/// A release file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedRelease {
    /// The release's name, for people.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Why a folder is not a release.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file or folder cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Bad(#[from] BadContents),
}

/// Packs the folder `dir` and signs it with `key`.
pub fn pack(dir: &Path, key: &SigningKey) -> Result<PackedRelease, PackError> {
    pack_with(dir, key, &Tables::new())
}

/// As [`pack`], for a release that takes the place of `before`: of an experiment that goes on with other weights or arms, no more
/// units change their arm than must.
pub fn pack_after(dir: &Path, key: &SigningKey, before: &Plan) -> Result<PackedRelease, PackError> {
    pack_with(dir, key, &before.tables())
}

fn pack_with(dir: &Path, key: &SigningKey, before: &Tables) -> Result<PackedRelease, PackError> {
    let limits = Limits::default();
    let mut findings = Vec::new();
    let mut sources = find(dir, &mut findings)?;
    // Beside them there are release.json, release.sig and perhaps assignments.json.
    if sources.len() + 3 > limits.max_files {
        let message = format!("{} files, at most {} (max_files)", sources.len(), limits.max_files - 3);
        findings.push(Finding::new(dir.display(), message));
        return Err(BadContents { findings }.into());
    }
    let mut texts = BTreeMap::new();
    for (path, source) in sidecars::take(&mut sources) {
        let bytes = read_bounded(&source, limits.max_file_bytes, &path, &mut findings)?;
        match sidecars::read(&path, bytes, &sources) {
            Ok(text) => drop(texts.insert(path, text)),
            Err(finding) => findings.push(finding),
        }
    }
    let mut files = BTreeMap::new();
    for (path, source) in &sources {
        let bytes = read_bounded(source, limits.max_file_bytes, path, &mut findings)?;
        let built = match path.strip_prefix("modules/") {
            Some(file) => {
                let sidecar = sidecar_name(file).and_then(|name| texts.get_key_value(&format!("modules/{name}")));
                build(path, file, &bytes, sidecar.map(|(name, text)| (name.as_str(), text.as_str())))
            }
            None => Ok((path.clone(), bytes)),
        };
        match built {
            Ok((name, bytes)) => {
                if let Err(why) = check_path(&name) {
                    findings.push(Finding::new(path, why));
                } else if files.insert(name.clone(), bytes).is_some() {
                    findings.push(Finding::new(path, format_args!("becomes {name}, and so does another file")));
                }
            }
            Err(told) => findings.extend(told),
        }
    }
    // What is wrong in the single files is told together; what they mean together needs all of them.
    let contents = contents::read(&files).map_err(|bad| findings.extend(bad.findings)).ok();
    let (Some(contents), true) = (contents, findings.is_empty()) else {
        findings.sort();
        return Err(BadContents { findings }.into());
    };
    let name = contents.release.name.clone();
    let plan = Contents { tables: before.clone(), ..contents }.compile()?;
    if let Some(bytes) = assignments(&plan) {
        files.insert(ASSIGNMENTS.to_owned(), bytes);
    }
    let (digest, bytes) = seal(&name, &files, key);
    if bytes.len() as u64 > limits.max_total_bytes {
        let message = format!("{} bytes packed, at most {} (max_total_bytes)", bytes.len(), limits.max_total_bytes);
        return Err(BadContents { findings: vec![Finding::new(dir.display(), message)] }.into());
    }
    Ok(PackedRelease { name, digest, bytes })
}

/// The file that says which arms have which slots, where they kept some that their weights alone would not have given them.
fn assignments(plan: &Plan) -> Option<Vec<u8>> {
    let kept = plan.kept_tables();
    // Keys are texts and numbers whole: nothing in it can fail to be written.
    (!kept.is_empty()).then(|| serde_json::to_vec(&kept).unwrap_or_default())
}

/// The files of `dir` whose change makes another release, or another refusal.
pub fn sources(dir: &Path) -> Result<Vec<PathBuf>, PackError> {
    let mut findings = Vec::new();
    let sources = find(dir, &mut findings)?.into_values();
    Ok(sources.chain(findings.into_iter().map(|finding| dir.join(finding.at))).collect())
}

/// The sources by their path in the folder, with `/` between; names that look like a slip of the pen are findings.
fn find(dir: &Path, findings: &mut Vec<Finding>) -> Result<BTreeMap<String, PathBuf>, PackError> {
    let mut sources = BTreeMap::new();
    for (name, path) in list(dir)? {
        let is_dir = path.is_dir();
        match name.as_str() {
            "release.toml" | "features.toml" if !is_dir => drop(sources.insert(name, path)),
            "placements" | "modules" | "tests" if is_dir => {
                for (file, path) in list(&path)? {
                    let wanted = match name.as_str() {
                        "placements" => file.ends_with(".toml"),
                        "tests" => file.ends_with(".test.json"),
                        // Tests of the rules beside them, for `selvedge test`; a release does not hold them.
                        "modules" => !file.ends_with(".test.json"),
                        _ => true,
                    };
                    if path.is_dir() {
                        findings.push(Finding::new(format_args!("{name}/{file}"), "is a folder; files lie flat here"));
                    } else if wanted {
                        sources.insert(format!("{name}/{file}"), path);
                    } else if name == "placements" {
                        findings.push(Finding::new(format_args!("{name}/{file}"), "is not a .toml file"));
                    }
                }
            }
            // Rows of the local link, a node's own settings, and whatever people keep beside a release.
            "features" | "selvedge.toml" => {}
            _ if is_dir => {
                if let Some(known) =
                    nearest(&name, FOLDERS).filter(|known| strsim::damerau_levenshtein(&name, known) <= 2)
                {
                    findings.push(Finding::new(
                        name,
                        format_args!("is not a folder of a release; did you mean {known:?}?"),
                    ));
                }
            }
            _ if name.ends_with(".toml") => {
                let hint = nearest(&name, ["release.toml", "features.toml"]);
                let hint = hint.map(|known| format!("; did you mean {known:?}?")).unwrap_or_default();
                findings.push(Finding::new(name, format_args!("is not a file of a release{hint}")));
            }
            _ => {}
        }
    }
    Ok(sources)
}

/// What a folder holds, by name; hidden files and editors' leavings (`.x`, `x~`, `#x#`) do not count.
fn list(dir: &Path) -> Result<BTreeMap<String, PathBuf>, PackError> {
    let failed = |error| PackError::Read { path: dir.to_owned(), error };
    let mut names = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(['.', '#']) && !name.ends_with('~') {
            names.insert(name, entry.path());
        }
    }
    Ok(names)
}

fn read_bounded(source: &Path, limit: u64, path: &str, findings: &mut Vec<Finding>) -> Result<Vec<u8>, PackError> {
    let failed = |error| PackError::Read { path: source.to_owned(), error };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(source).map_err(failed)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        findings.push(Finding::new(path, format_args!("more than {limit} bytes (max_file_bytes)")));
        bytes.clear();
    }
    Ok(bytes)
}

/// A file of `modules/` as the module it becomes: its path in the release and its bytes.
fn build(
    path: &str,
    file: &str,
    bytes: &[u8],
    sidecar: Option<(&str, &str)>,
) -> Result<(String, Vec<u8>), Vec<Finding>> {
    let name = module_name(file).filter(|name| is_stem(name));
    let module = build_source(file, bytes, sidecar).map_err(|error| match error {
        BuildError::Rules(bad) => bad.findings.iter().map(|finding| Finding::new(path, finding.told())).collect(),
        BuildError::Source(bad) => vec![Finding::from(BadFile { file: path.to_owned(), ..bad })],
        BuildError::Module { why, .. } => vec![Finding::new(path, why)],
        BuildError::Model { why, .. } => vec![Finding::new(path, why)],
        BuildError::Compile { why, .. } => vec![Finding::new(path, why)],
        BuildError::Sidecar(bad) => vec![Finding::from(bad)],
        ending @ BuildError::Ending { .. } => vec![Finding::new("modules", ending)],
    })?;
    match name {
        Some(name) => Ok((format!("modules/{name}.wasm"), module)),
        None => Err(vec![Finding::new(path, "a module's name has letters, digits, `.`, `_` and `-` only")]),
    }
}
