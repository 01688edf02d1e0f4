//! Models against the libraries they come from: trained anew with the real library, built, run in the host, natively and in V8,
//! compared. The short form has kept models with the library's answers. Owns what each family owes; `case` reads, `subject` runs.

mod case;
mod elsewhere;
mod near;
mod smartcore;
mod subject;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use self::case::Case;
use self::elsewhere::V8;
use self::near::Parity;
use self::subject::Subject;
use super::{Findings, Scale};
use crate::harness::binary;

/// The interpreter that has the trainers; `./x prove` makes it and says where.
const PYTHON: &str = "SELVEDGE_PYTHON_MODELS";
/// Rows of a model at full size.
const ROWS: usize = 4_000;

/// A kind of model file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    /// Its folder in `tests/cases/models`.
    name: &'static str,
    /// What trains it, in `tests/python`.
    script: &'static str,
    /// The fewest models of a run.
    models: usize,
    /// The most by which margins differ.
    margin: Parity,
    /// The most by which predictions do.
    prediction: Parity,
}

pub(super) const XGBOOST: Family = Family {
    name: "xgboost",
    script: "xgboost_models.py",
    models: 20,
    margin: Parity::SingleUlps(0),
    prediction: Parity::SingleUlps(2),
};
pub(super) const LIGHTGBM: Family = Family {
    name: "lightgbm",
    script: "lightgbm_models.py",
    models: 19,
    margin: Parity::Ulps(0),
    prediction: Parity::Ulps(2),
};
pub(super) const SKLEARN: Family = Family {
    name: "sklearn",
    script: "sklearn_pipelines.py",
    models: 8,
    margin: Parity::Relative(1e-12),
    prediction: Parity::Relative(1e-12),
};
pub(super) const ONNX: Family = Family {
    name: "onnx",
    script: "onnx_models.py",
    models: 10,
    margin: Parity::Relative(1e-6),
    prediction: Parity::Relative(1e-6),
};

/// A family whose trainer runs in Python.
pub(super) async fn run(scale: Scale, family: Family) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let cases = if scale.short {
        case::kept(&binary::repository().join("tests/cases/models").join(family.name))?
    } else {
        train(family, scale.seed, folder.path())?;
        case::written(folder.path())?
    };
    ensure!(cases.len() >= family.models, "{} models of {}", cases.len(), family.name);
    compare(scale, &cases, [family.margin, family.prediction])
}

/// smartcore's models, which are fitted here.
pub(super) async fn run_smartcore(scale: Scale) -> Result<Findings> {
    compare(scale, &smartcore::cases(scale.seed, scale.pick(ROWS, 200))?, [Parity::Relative(1e-12); 2])
}

fn compare(scale: Scale, cases: &[Case], parity: [Parity; 2]) -> Result<Findings> {
    let v8 = if scale.short { None } else { Some(V8::of(&python()?)?) };
    let mut subject = Subject::new(v8)?;
    let mut findings = Findings::default();
    for case in cases {
        subject.compare(case, parity, &mut findings)?;
    }
    subject.finish(&mut findings)?;
    Ok(findings)
}

fn python() -> Result<OsString> {
    std::env::var_os(PYTHON)
        .with_context(|| format!("{PYTHON} is not set: run this as `./x prove models`, which installs the trainers"))
}

/// Runs the family's script, which trains with the real library and writes what that answers.
fn train(family: Family, seed: u64, out: &Path) -> Result<()> {
    let script = binary::repository().join("tests/python").join(family.script);
    let data = binary::repository().join("../shared/data");
    // numpy takes seeds of 32 bits everywhere.
    let seed = (seed as u32).to_string();
    let status = Command::new(python()?)
        .args(["-B", "-W", "ignore"])
        .arg(&script)
        .arg(out)
        .args([&seed, &ROWS.to_string()])
        .arg(data)
        .stdout(std::process::Stdio::null())
        .status()
        .with_context(|| format!("starting the Python of {}", script.display()))?;
    ensure!(status.success(), "{} ended with {status}", script.display());
    Ok(())
}
