//! What the files of a release mean: definitions and modules, each checked alone and then together. Owns the step from
//! bytes to a definition; whether it can run is the plan's word, and whether modules answer as they should is the host's.

use std::collections::BTreeMap;
use std::fmt;

use selvedge_decision::definition::{FeaturesDef, PlacementDef, ReleaseDef};
use selvedge_decision::plan::{Definition, Plan, Problem, Tables};

use super::ReleaseFiles;
use crate::definitions::{self, BadFile};
use crate::module::{self, ModuleFile};

/// What a release holds.
#[derive(Debug)]
pub struct Contents<'f> {
    /// `release.toml`.
    pub release: ReleaseDef,
    /// `features.toml`.
    pub features: FeaturesDef,
    /// `placements/KEY.toml` by key.
    pub placements: BTreeMap<String, PlacementDef>,
    /// `modules/NAME.wasm` by name.
    pub modules: BTreeMap<String, ReleaseModule<'f>>,
    /// `tests/NAME.test.json` by name.
    pub tests: BTreeMap<String, &'f [u8]>,
    /// `assignments.json`: which arms have which slots, where that does not follow from their weights.
    pub tables: Tables,
}

/// The file that packing writes when arms keep slots of the release before.
pub(super) const ASSIGNMENTS: &str = "assignments.json";

/// A module of a release.
#[derive(Debug)]
pub struct ReleaseModule<'f> {
    /// What the module says of itself.
    pub file: ModuleFile,
    /// The module.
    pub bytes: &'f [u8],
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file and the place in it, such as `features.toml:4: view.user.sync`.
    pub at: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything that is wrong with a release's contents; at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadContents {
    /// The findings, by place.
    pub findings: Vec<Finding>,
}

/// Reads what the files mean. All findings of the single files are told at once.
pub fn definition(files: &ReleaseFiles) -> Result<Contents<'_>, BadContents> {
    read(&files.files)
}

pub(super) fn read(files: &BTreeMap<String, Vec<u8>>) -> Result<Contents<'_>, BadContents> {
    let mut findings = Vec::new();
    let mut release = None;
    let mut features = FeaturesDef::default();
    let (mut placements, mut modules, mut tests) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut tables = Tables::new();
    for (path, bytes) in files {
        let stem = |folder: &str, end: &str| Some(path.strip_prefix(folder)?.strip_suffix(end)?.to_owned());
        if path == "release.toml" {
            release = keep(&mut findings, text(path, bytes).and_then(|text| Ok(definitions::release(text)?)));
        } else if path == "features.toml" {
            let read = keep(&mut findings, text(path, bytes).and_then(|text| Ok(definitions::features(text)?)));
            features = read.unwrap_or_default();
        } else if let Some(key) = stem("placements/", ".toml") {
            let read = text(path, bytes).and_then(|text| Ok(definitions::placement(path, text)?));
            placements.extend(keep(&mut findings, read).map(|def| (key, def)));
        } else if let Some(name) = stem("modules/", ".wasm") {
            let read = module::open(bytes).map_err(|error| Finding::new(path, error));
            modules.extend(keep(&mut findings, read).map(|file| (name, ReleaseModule { file, bytes })));
        } else if let Some(name) = stem("tests/", ".test.json") {
            tests.insert(name, &bytes[..]);
        } else if path == ASSIGNMENTS {
            let read = serde_json::from_slice(bytes).map_err(|error| Finding::new(path, error));
            tables = keep(&mut findings, read).unwrap_or_default();
        } else {
            findings.push(Finding::new(path, "is not a file of a release"));
        }
    }
    if !files.contains_key("release.toml") {
        findings.push(Finding::new("release.toml", "is missing; it needs at least a line such as name = \"shop\""));
    }
    match release {
        Some(release) if findings.is_empty() => Ok(Contents { release, features, placements, modules, tests, tables }),
        Some(_) | None => Err(BadContents { findings }),
    }
}

fn keep<T>(findings: &mut Vec<Finding>, read: Result<T, Finding>) -> Option<T> {
    read.map_err(|finding| findings.push(finding)).ok()
}

fn text<'b>(path: &str, bytes: &'b [u8]) -> Result<&'b str, Finding> {
    std::str::from_utf8(bytes).map_err(|error| Finding::new(path, format_args!("is not UTF-8: {error}")))
}

// === impl Contents ===

impl Contents<'_> {
    /// The definition that a plan is compiled from.
    pub fn to_definition(&self) -> Definition {
        Definition {
            release: self.release.clone(),
            features: self.features.clone(),
            placements: self.placements.clone(),
            modules: self.modules.iter().map(|(name, module)| (name.clone(), module.file.manifest.clone())).collect(),
            tables: self.tables.clone(),
        }
    }

    /// Compiles the plan, which checks all that the files mean together.
    pub fn compile(&self) -> Result<Plan, BadContents> {
        Plan::compile(&self.to_definition())
            .map_err(|problems| BadContents { findings: problems.into_iter().map(Finding::from).collect() })
    }
}

// === impl Finding ===

impl Finding {
    /// A finding at a file or a place in one.
    pub fn new(at: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self { at: at.to_string(), message: message.to_string() }
    }
}

impl From<BadFile> for Finding {
    fn from(bad: BadFile) -> Self {
        let at = if bad.key.is_empty() { String::new() } else { format!(": {}", bad.key) };
        let at = format!("{}:{}{at}", bad.file, bad.line);
        let hint = bad.nearest.map(|nearest| format!("; did you mean {nearest:?}?")).unwrap_or_default();
        Self { at, message: format!("{}{hint}", bad.message) }
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        Self { at: problem.at, message: problem.message }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

// === impl BadContents ===

impl fmt::Display for BadContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BadContents {}
