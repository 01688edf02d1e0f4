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

use self::check::Wrong;
use self::settings::Settings;
use crate::module::{RowText, TableText};
use crate::{definitions, module};

pub use self::check::WORK_BOUND;
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
    let is_csv = is_csv(file_name);
    let (file, settings) = match is_csv {
        true => csv::read(stem(file_name), bytes, beside)?,
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
    trial::check_count(&settings.tests)?;
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
#[derive(Debug, Clone, PartialEq)]
pub struct AsCsv {
    /// The file.
    pub text: String,
    /// What it does not hold, in words.
    pub left_out: Vec<String>,
}

/// Writes the table of a JDM file as CSV, and reads it back: it means the same, or this is an error.
///
/// # Errors
///
/// As [`read_with`]; and when the file is more than a CSV file can say.
pub fn to_csv(file_name: &str, bytes: &[u8], sidecar: Option<(&str, &str)>) -> Result<AsCsv, BadRules> {
    let rules = read_with(file_name, bytes, sidecar)?;
    let write = || {
        if is_csv(file_name) {
            let advice = "give a JDM file";
            return Err(BadRules::one(Finding::error(Code::Form, Place::default(), "is a CSV file already", advice)));
        }
        let mut file = jdm::read(bytes)?;
        let own = file.settings.take();
        let is_beside = own.is_none() && sidecar.is_some();
        let settings = match (own, sidecar) {
            (None, Some((name, text))) => definitions::read(name, text)
                .map_err(|bad| BadRules::one(Finding::error(Code::Form, Place::default(), bad.to_string(), "")))?,
            (own, _) => own.unwrap_or_default(),
        };
        let text = csv::write(&file, &settings, &rules.program, is_beside)?;
        let again = read_any("table.csv", text.as_bytes(), sidecar.filter(|_| is_beside))?;
        csv::compare(&rules.program, &again.program)?;
        let mut left_out = Vec::new();
        if !settings.tests.is_empty() && !is_beside {
            left_out
                .push(format!("{} tests: write them into NAME.test.json beside it, as a list", settings.tests.len()));
        }
        let unused =
            settings.inputs.keys().filter(|name| !again.program.declared.iter().any(|(known, _)| known == *name));
        left_out.extend(unused.map(|name| format!("the input `{name}`, which nothing reads")));
        Ok(AsCsv { text, left_out })
    };
    write().map_err(|bad: BadRules| bad.in_file(file_name))
}

fn is_csv(file_name: &str) -> bool {
    file_name.ends_with(".csv")
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
    read_with(file_name, bytes, sidecar)?.module()
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
        self.sealed(false)
    }

    /// As [`Rules::module`], with the code cut into functions as that of large rules is; what it answers is the same.
    ///
    /// # Errors
    ///
    /// As [`Rules::module`].
    pub fn module_in_parts(&self) -> Result<Vec<u8>, BadRules> {
        self.sealed(true)
    }

    fn sealed(&self, in_parts: bool) -> Result<Vec<u8>, BadRules> {
        let manifest = self.manifest();
        let build = || {
            manifest.check().map_err(|bad| {
                let of_rows = bad.at == "limits.rows";
                let code = if of_rows { Code::Limit } else { Code::Form };
                let advice = if of_rows { "say another number of `rows`" } else { "mend what is said of it" };
                Wrong::new(code, bad.to_string(), advice)
            })?;
            let core = codegen::core(&self.program, in_parts)?;
            let sealed = module::seal(&core, &manifest, &sample::vectors(&self.program));
            let sealed =
                sealed.map_err(|bad| Wrong::new(Code::Limit, bad.to_string(), "split it into several modules"))?;
            Ok(module::with_tables(sealed, &self.tables()))
        };
        build().map_err(|wrong: Wrong| BadRules::one(wrong.at(Place::default())).in_file(&self.file))
    }

    /// Its tables for people, as they go with the module.
    fn tables(&self) -> Vec<TableText> {
        let row = self.program.outputs.iter().find(|answer| answer.name == "row").map(|answer| answer.value);
        let heads = |columns: &[Column]| columns.iter().map(|column| column.name.clone()).collect();
        let told = self.program.tables().map(|table| TableText {
            name: table.name.clone(),
            inputs: heads(&table.columns),
            outputs: heads(&table.outputs),
            is_counted: row == Some(table.row),
            rows: table.rows.iter().map(|row| RowText { cells: row.cells.clone(), note: row.note.clone() }).collect(),
        });
        told.collect()
    }

    /// How many parts of expressions and names were looked at to read it: a measure of work that no machine changes.
    pub fn work(&self) -> usize {
        self.program.work
    }
}
