//! The file of a dataset: Parquet, CSV or JSON Lines. Owns the forms, and that a file of that name is whole or not there: it is
//! written beside its place and moved there at the end.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use selvedge_node::events::rfc3339;

use super::DatasetError;
use crate::table::{Cell, Kind, Spec, Writing};

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Apache Parquet.
    Parquet,
    /// Commas, and quotes where a cell needs them; the names first. What is missing is empty.
    Csv,
    /// One JSON object a line. What is missing is null.
    JsonLines,
}

/// Where the rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    path: PathBuf,
    form: Form,
}

/// A file that is being written.
pub(super) struct File {
    path: PathBuf,
    beside: PathBuf,
    specs: Vec<Spec>,
    to: To,
}

enum To {
    Parquet(Box<Writing<BufWriter<fs::File>>>),
    Csv(BufWriter<fs::File>),
    JsonLines(BufWriter<fs::File>),
}

// === impl Writer ===

impl Writer {
    /// To a file whose name says its form; none when it says none.
    pub fn to(path: &Path) -> Option<Self> {
        let form = match path.extension()?.to_str()? {
            "parquet" => Form::Parquet,
            "csv" => Form::Csv,
            "jsonl" | "ndjson" => Form::JsonLines,
            _ => return None,
        };
        Some(Self { path: path.to_owned(), form })
    }

    pub(super) fn begin(self, specs: Vec<Spec>) -> Result<File, DatasetError> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".part");
        let beside = PathBuf::from(beside);
        let write = |error: std::io::Error| DatasetError::Write(format!("{}: {error}", beside.display()));
        let mut file = BufWriter::new(fs::File::create(&beside).map_err(write)?);
        let to = match self.form {
            Form::Parquet => {
                let writing = Writing::new(file, &specs).map_err(|error| DatasetError::Write(error.to_string()))?;
                To::Parquet(Box::new(writing))
            }
            Form::Csv => {
                let names: Vec<_> = specs.iter().map(|spec| quoted(&spec.name)).collect();
                writeln!(file, "{}", names.join(",")).map_err(write)?;
                To::Csv(file)
            }
            Form::JsonLines => To::JsonLines(file),
        };
        Ok(File { path: self.path, beside, specs, to })
    }
}

// === impl File ===

impl File {
    /// Adds a row: a cell for each column.
    pub(super) fn push(&mut self, row: Vec<Cell>) -> Result<(), DatasetError> {
        let failed = |error: &dyn std::fmt::Display| DatasetError::Write(error.to_string());
        match &mut self.to {
            To::Parquet(writing) => writing.push(row).map_err(|error| failed(&error)),
            To::Csv(file) => {
                let cells: Vec<_> = row.iter().zip(&self.specs).map(|(cell, spec)| csv(cell, spec.kind)).collect();
                writeln!(file, "{}", cells.join(",")).map_err(|error| failed(&error))
            }
            To::JsonLines(file) => {
                let pairs = row.iter().zip(&self.specs);
                let pairs: Vec<_> =
                    pairs.map(|(cell, spec)| format!("{}:{}", string(&spec.name), json(cell, spec.kind))).collect();
                writeln!(file, "{{{}}}", pairs.join(",")).map_err(|error| failed(&error))
            }
        }
    }

    /// Ends the file and moves it to its place.
    pub(super) fn finish(self) -> Result<(), DatasetError> {
        let failed = |error: &dyn std::fmt::Display| DatasetError::Write(format!("{}: {error}", self.path.display()));
        let mut file = match self.to {
            To::Parquet(writing) => writing.finish().map_err(|error| failed(&error))?,
            To::Csv(file) | To::JsonLines(file) => file,
        };
        file.flush().map_err(|error| failed(&error))?;
        drop(file);
        fs::rename(&self.beside, &self.path).map_err(|error| failed(&error))
    }
}

fn json(cell: &Cell, kind: Kind) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Text(_) => string(cell.as_text().unwrap_or_default()),
        Cell::Whole(time_us) if kind == Kind::Time => string(&rfc3339::format(*time_us)),
        Cell::Whole(whole) => whole.to_string(),
        // JSON has no infinity.
        Cell::Number(number) => serde_json::Value::from(*number).to_string(),
        Cell::List(cells) => {
            let cells: Vec<_> = cells.iter().map(|cell| json(cell, kind)).collect();
            format!("[{}]", cells.join(","))
        }
    }
}

fn csv(cell: &Cell, kind: Kind) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Text(_) => quoted(cell.as_text().unwrap_or_default()),
        Cell::Whole(time_us) if kind == Kind::Time => rfc3339::format(*time_us),
        Cell::Number(number) => number.to_string(),
        other => quoted(&json(other, kind)),
    }
}

fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty() && !text.contains(['"', ',', '\n', '\r']);
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let check = |cell: Cell, kind: Kind, in_csv: &str, in_json: &str| {
            assert_eq!((csv(&cell, kind).as_str(), json(&cell, kind).as_str()), (in_csv, in_json));
        };
        check(Cell::Null, Kind::Text, "", "null");
        check(Cell::text(""), Kind::Text, "\"\"", "\"\"");
        check(Cell::text("a \"b\", c"), Kind::Text, "\"a \"\"b\"\", c\"", "\"a \\\"b\\\", c\"");
        check(Cell::Whole(1_000_000), Kind::Time, "1970-01-01T00:00:01.000000Z", "\"1970-01-01T00:00:01.000000Z\"");
        check(Cell::Number(0.1), Kind::Number, "0.1", "0.1");
        check(Cell::Number(f64::INFINITY), Kind::Number, "inf", "null");
        check(Cell::list([Cell::Number(1.5), Cell::Null]), Kind::Number, "\"[1.5,null]\"", "[1.5,null]");
    }
}
