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
pub(crate) use self::elsewhere::{Native, same};
use self::near::Parity;
use self::subject::Subject;
use super::{Findings, Scale};
use crate::harness::binary;

/// The interpreter that has the trainers; `./x prove` makes it and says where.
const PYTHON: &str = "SELVEDGE_PYTHON_MODELS";
/// Rows of a model at full size.
const ROWS: usize = 4_000;
/// The fewest tests of `sdk-python`.
const SDK_TESTS: u64 = 16;

/// A kind of model file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    /// Its folder in `tests/cases/models`.
    name: &'static str,
    /// What trains it, in `tests/python`.
    script: &'static str,
    /// The fewest models of a run in the short form, and at full size.
    models: [usize; 2],
    /// How many of them have a known quality at full size.
    known: usize,
    /// The most by which margins differ.
    margin: Parity,
    /// The most by which predictions do.
    prediction: Parity,
}

pub(super) const XGBOOST: Family = Family {
    name: "xgboost",
    script: "xgboost_models.py",
    models: [20, 85],
    known: 2,
    margin: SINGLE[0],
    prediction: SINGLE[1],
};
pub(super) const LIGHTGBM: Family = Family {
    name: "lightgbm",
    script: "lightgbm_models.py",
    models: [19, 35],
    known: 2,
    margin: Parity::Ulps(0),
    prediction: Parity::Ulps(2),
};
const SKLEARN: Family = Family {
    name: "sklearn",
    script: "sklearn_pipelines.py",
    models: [8, 35],
    known: 2,
    margin: Parity::Relative(1e-12),
    prediction: Parity::Relative(1e-12),
};
pub(super) const ONNX: Family = Family {
    name: "onnx",
    script: "onnx_models.py",
    models: [10, 20],
    known: 0,
    margin: Parity::Relative(1e-6),
    prediction: Parity::Relative(1e-6),
};

/// What XGBoost owes, also as the last step of a scikit-learn pipeline.
const SINGLE: [Parity; 2] = [Parity::SingleUlps(0), Parity::SingleUlps(2)];

/// A family whose trainer runs in Python.
pub(super) async fn run(scale: Scale, family: Family) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let cases = if scale.short {
        case::kept(&binary::repository().join("tests/cases/models").join(family.name))?
    } else {
        train(family, scale.seed, folder.path())?;
        case::written(folder.path())?
    };
    let [few, all] = family.models;
    let fewest = scale.pick(all, few);
    ensure!(cases.len() >= fewest, "{} models of {}, at least {fewest} are expected", cases.len(), family.name);
    let known = cases.iter().filter(|case| case.quality.is_some()).count();
    ensure!(scale.short || known >= family.known, "{known} models of known quality of {}", family.name);
    compare(scale, &cases, [family.margin, family.prediction])
}

/// The pipelines of scikit-learn, and at full size the tests of the package that exports them.
pub(super) async fn run_sklearn(scale: Scale) -> Result<Findings> {
    let mut findings = run(scale, SKLEARN).await?;
    if !scale.short {
        sdk_tests(&mut findings)?;
    }
    Ok(findings)
}

/// Runs the tests of `sdk-python`, with all libraries that it knows.
fn sdk_tests(findings: &mut Findings) -> Result<()> {
    let mut command = Command::new(python()?);
    command.args(["-B", "-W", "ignore", "-m", "unittest", "discover", "-s", "tests"]);
    // Subprocesses of the libraries must be as quiet.
    command.env("PYTHONWARNINGS", "ignore").current_dir(binary::repository().join("sdk-python"));
    let ran = command.output().context("starting the tests of sdk-python")?;
    let told = String::from_utf8_lossy(&ran.stderr);
    let tests = told.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse().ok());
    let tests: u64 = tests.with_context(|| format!("the tests of sdk-python did not run: {told}"))?;
    ensure!(tests >= SDK_TESTS, "{tests} tests of sdk-python, at least {SDK_TESTS} are expected");
    ensure!(!told.contains("skipped="), "tests of sdk-python were skipped: {told}");
    findings.count(tests, u64::from(!ran.status.success()), || format!("the tests of sdk-python: {told}"));
    Ok(())
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
        subject.compare(case, if case.single { SINGLE } else { parity }, &mut findings)?;
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
