//! Rules become modules: decision tables of GoRules' JDM format or of CSV, checked, compiled to WebAssembly, and evaluated
//! by a second implementation that gives the golden vectors. Owns the way from a file to a module; `docs/rules.md` is the
//! format's page.
//!
//! A file is read (`jdm`, `csv`), its cells parsed (`lex`, `parse`) and checked (`check`), its graph laid out (`graph`) as a
//! typed program (`program`), which `codegen` compiles and `eval` evaluates.

mod check;
mod codegen;
mod csv;
mod eval;
mod finding;
mod finish;
mod graph;
mod jdm;
mod lex;
pub mod lint;
mod parse;
mod program;
mod sample;
mod settings;
mod syntax;
pub mod trial;

use selvedge_decision::Digest;
use selvedge_decision::manifest::{Kind, Limits, MANIFEST_VERSION, Manifest, Output, Source};

use self::settings::Settings;
use crate::{definitions, module};

pub use self::eval::{Evaluated, evaluate};
pub use self::finding::{BadRules, Code, Finding, Level, Place};
pub use self::program::{Answer, Column, Program, Row, Table, Type};
pub use self::trial::{Case, Expect};

/// A file of rules that was read and found in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// What it computes.
    pub program: Program,
    /// The tests written in it.
    pub tests: Vec<Case>,
    /// What is to be told although it can be built.
    pub findings: Vec<Finding>,
    file: String,
    name: String,
    kind: &'static str,
    digest: Digest,
}

/// Reads and checks a file of rules, by its ending.
///
/// # Errors
///
/// With everything that is wrong in it, by table, row and column.
pub fn read(file_name: &str, bytes: &[u8]) -> Result<Rules, BadRules> {
    read_with(file_name, bytes, None)
}

/// As [`read`], with the TOML file beside it, by its name and text, that says what `x-selvedge` would.
///
/// # Errors
///
/// As [`read`]; and when the file has an `x-selvedge` of its own.
pub fn read_with(file_name: &str, bytes: &[u8], sidecar: Option<(&str, &str)>) -> Result<Rules, BadRules> {
    read_any(file_name, bytes, sidecar).map_err(|bad| bad.in_file(file_name))
}

fn read_any(file_name: &str, bytes: &[u8], sidecar: Option<(&str, &str)>) -> Result<Rules, BadRules> {
    let form =
        |message: String, advice: &str| BadRules::one(Finding::error(Code::Form, Place::default(), message, advice));
    let beside: Option<Settings> = match sidecar {
        Some((name, text)) => Some(definitions::read(name, text).map_err(|bad| form(bad.to_string(), ""))?),
        None => None,
    };
    let is_csv = file_name.ends_with(".csv");
    let (file, settings) = match is_csv {
        true => {
            let (file, settings) = csv::read(stem(file_name), bytes)?;
            (file, settings.with(beside))
        }
        false => {
            let mut file = jdm::read(bytes)?;
            let settings = match (file.settings.take(), beside) {
                (Some(_), Some(_)) => {
                    return Err(form("has x-selvedge, and a .toml beside it says the same".into(), "keep one of them"));
                }
                (own, beside) => own.or(beside).unwrap_or_default(),
            };
            (file, settings)
        }
    };
    let built = graph::build(&file, &settings)?;
    let mut findings = built.findings;
    findings.iter_mut().for_each(|finding| file_name.clone_into(&mut finding.file));
    Ok(Rules {
        program: built.program,
        tests: settings.tests,
        findings,
        file: file_name.to_owned(),
        name: stem(file_name).to_owned(),
        kind: if is_csv { "csv" } else { "jdm" },
        digest: Digest::of(bytes),
    })
}

/// The table of a JDM file as CSV.
///
/// # Errors
///
/// When the file is more than a CSV file can say.
pub fn to_csv(file_name: &str, bytes: &[u8]) -> Result<String, BadRules> {
    let write = || {
        let mut file = jdm::read(bytes)?;
        let settings = file.settings.take().unwrap_or_default();
        csv::write(&file, &settings)
    };
    write().map_err(|bad| bad.in_file(file_name))
}

/// The name of the module: the file's without folder and ending.
fn stem(file_name: &str) -> &str {
    let file = file_name.rsplit('/').next().unwrap_or(file_name);
    file.strip_suffix(".jdm.json").or_else(|| file.strip_suffix(".csv")).unwrap_or(file)
}

/// Builds the module of a file of rules.
///
/// # Errors
///
/// With everything that is wrong in it.
pub fn build(file_name: &str, bytes: &[u8]) -> Result<Vec<u8>, BadRules> {
    build_with(file_name, bytes, None)
}

/// As [`build`], with the TOML file beside it.
///
/// # Errors
///
/// As [`read_with`].
pub fn build_with(file_name: &str, bytes: &[u8], sidecar: Option<(&str, &str)>) -> Result<Vec<u8>, BadRules> {
    read_with(file_name, bytes, sidecar)?.module().map_err(|bad| bad.in_file(file_name))
}

/// The name of the TOML file that may stand beside a file of rules: `hero.toml` for `hero.jdm.json` and `hero.csv`.
pub fn sidecar_name(file_name: &str) -> Option<String> {
    let stem = file_name.strip_suffix(".jdm.json").or_else(|| file_name.strip_suffix(".csv"))?;
    Some(format!("{stem}.toml"))
}

// === impl Rules ===

impl Rules {
    /// What its rows of numbers mean.
    pub fn manifest(&self) -> Manifest {
        let outputs = self.program.outputs.iter().map(|answer| {
            let (kind, symbols) = match answer.kind {
                Type::Number => (Kind::Number, Vec::new()),
                Type::Flag => (Kind::Flag, Vec::new()),
                Type::Text => (Kind::Symbol, self.program.texts.clone()),
            };
            Output { name: answer.name.clone(), kind, symbols, min: answer.min }
        });
        Manifest {
            manifest: MANIFEST_VERSION,
            name: self.name.clone(),
            inputs: self.program.inputs.clone(),
            outputs: outputs.collect(),
            source: Some(Source { kind: self.kind.into(), made_by: None, digest: Some(self.digest.to_string()) }),
            limits: Limits { rows: self.program.rows, memory_bytes: 0 },
            browser: true,
        }
    }

    /// Compiles it, with golden vectors from the reference evaluation.
    ///
    /// # Errors
    ///
    /// When it is more than a module may be.
    pub fn module(&self) -> Result<Vec<u8>, BadRules> {
        let wrong = |message: String| {
            let advice = "lower `rows` in x-selvedge, or split the file";
            BadRules::one(Finding::error(Code::Limit, Place::default(), message, advice))
        };
        let manifest = self.manifest();
        manifest.check().map_err(|bad| wrong(bad.to_string()))?;
        let core = codegen::core(&self.program).map_err(wrong)?;
        module::seal(&core, &manifest, &sample::vectors(&self.program)).map_err(|bad| wrong(bad.to_string()))
    }
}
