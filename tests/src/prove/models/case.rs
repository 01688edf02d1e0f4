//! A model with rows and the answers of its library. Owns the two notations: folders that a script wrote (`tests/python/rows.py`)
//! and the kept files of `tests/cases/models`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use selvedge_build::import;
use selvedge_build::pipeline::Pipeline;
use serde::Deserialize;

/// A model, and what it must answer.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// The model in each notation it is written in.
    pub(super) pipelines: Vec<Pipeline>,
    /// Row-major, all inputs in their order.
    pub(super) rows: Vec<f64>,
    /// Row-major; `None` where the library was not asked.
    pub(super) margin: Option<Vec<f64>>,
    pub(super) prediction: Option<Vec<f64>>,
    /// Whether the library answers in f32, where its family does not.
    pub(super) single: bool,
    /// What is known of the model's quality, and the labels it was measured on.
    pub(super) quality: Option<(Quality, Vec<f64>)>,
}

/// To four digits.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Quality {
    pub(super) auc: f64,
    pub(super) logloss: f64,
}

#[derive(Deserialize)]
struct About {
    #[serde(default)]
    documented: Option<Quality>,
    #[serde(default)]
    single: bool,
}

/// `NAME.rows.json`; a missing value is `null`.
#[derive(Deserialize)]
struct Rows {
    rows: Vec<Vec<Option<f64>>>,
    #[serde(default)]
    margin: Vec<Vec<f64>>,
    #[serde(default)]
    prediction: Vec<Vec<f64>>,
}

/// The kept cases of a family.
pub(super) fn kept(folder: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for path in sorted(folder)? {
        if path.to_string_lossy().ends_with(".rows.json") {
            continue;
        }
        let beside = path.with_extension("rows.json");
        let text = fs::read(&beside).with_context(|| format!("reading {}", beside.display()))?;
        let Rows { rows, margin, prediction } = serde_json::from_slice(&text)?;
        let list = |rows: Vec<Vec<f64>>| Some(rows.concat()).filter(|list| !list.is_empty());
        cases.push(Case {
            name: path.display().to_string(),
            pipelines: vec![read(&path)?],
            rows: rows.concat().into_iter().map(|value| value.unwrap_or(f64::NAN)).collect(),
            margin: list(margin),
            prediction: list(prediction),
            single: false,
            quality: None,
        });
    }
    Ok(cases)
}

/// The cases that a script wrote.
pub(super) fn written(folder: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for folder in sorted(folder)? {
        let models = sorted(&folder)?.into_iter().filter(|path| path.file_stem().is_some_and(|stem| stem == "model"));
        let about: About = serde_json::from_slice(&fs::read(folder.join("about.json"))?)?;
        let labels = numbers(&folder, "labels")?;
        cases.push(Case {
            name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            pipelines: models.map(|path| read(&path)).collect::<Result<_>>()?,
            rows: numbers(&folder, "rows")?.context("no rows")?,
            margin: numbers(&folder, "margin")?,
            prediction: numbers(&folder, "prediction")?,
            single: about.single,
            quality: about.documented.zip(labels),
        });
    }
    Ok(cases)
}

fn read(path: &Path) -> Result<Pipeline> {
    let name = path.display().to_string();
    import::read(&name, &fs::read(path)?, None).with_context(|| format!("reading {name}"))
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// A file of little-endian f64, where it is there.
pub(super) fn numbers(folder: &Path, name: &str) -> Result<Option<Vec<f64>>> {
    let path = folder.join(format!("{name}.f64"));
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&path)?;
    let (numbers, rest) = bytes.as_chunks();
    ensure!(rest.is_empty(), "{} is cut off", path.display());
    Ok(Some(numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()))
}
