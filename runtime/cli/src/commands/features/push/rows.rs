//! The rows of a file, whatever its form. Owns which form it is, and how a place in it is told.

use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use selvedge_node::features::entity::{BadEntity, entity};
use selvedge_node::features::lines::lines;

use super::csv::Csv;
#[cfg(feature = "parquet")]
use super::parquet::Parquet;
use crate::commands::features::schema::{Schema, Wrong};
use crate::files::read_file;

/// The largest file, in bytes: it is read whole.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// A file with rows.
pub(super) struct RowFile {
    bytes: Bytes,
    form: Form,
}

enum Form {
    Lines,
    Csv(Csv),
    #[cfg(feature = "parquet")]
    Parquet(Parquet),
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileRow {
    /// Its line, or of Parquet its row, from 1.
    pub(super) number: usize,
    /// Whom it is about; pairs joined by `\0`.
    pub(super) entity: String,
    /// A flat object by feature name; none when the row is to go.
    pub(super) json: Option<Bytes>,
}

/// What stands there is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadRow {
    /// Where: `line 3`, or `row 3` of Parquet.
    pub(super) place: String,
    /// What is wrong and what is expected.
    pub(super) why: String,
}

/// Rows one after the other.
pub(super) type Rows<'f> = Box<dyn Iterator<Item = Result<FileRow, BadRow>> + 'f>;

// === impl RowFile ===

impl RowFile {
    /// Reads a file; its form is told by its name. With a view's features, cells are read as what those ask for.
    pub(super) fn open(path: &Path, schema: Option<&Schema>) -> anyhow::Result<Self> {
        let bytes = Bytes::from(read_file(path, MAX_FILE_BYTES)?);
        let end = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let form = match end.as_str() {
            "csv" | "tsv" => Csv::new(&bytes, schema).map(Form::Csv),
            "parquet" => parquet(&bytes, schema),
            _ => Ok(Form::Lines),
        };
        let form = form.map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
        Ok(Self { bytes, form })
    }

    /// The file as it is.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its rows, from the first on.
    pub(super) fn rows(&self) -> anyhow::Result<Rows<'_>> {
        Ok(match &self.form {
            Form::Lines => Box::new(lines(&self.bytes).map(|line| match line {
                Ok(line) => Ok(FileRow { number: line.number, entity: line.entity, json: line.json }),
                Err(bad) => Err(BadRow { place: format!("line {}", bad.number), why: bad.why }),
            })),
            Form::Csv(csv) => {
                let text = std::str::from_utf8(&self.bytes).context("the file is not UTF-8")?;
                Box::new(csv.rows(text))
            }
            #[cfg(feature = "parquet")]
            Form::Parquet(parquet) => Box::new(parquet.rows().map_err(|why| anyhow::anyhow!(why))?),
        })
    }

    /// That a value of a row is not what the view asks for.
    pub(super) fn wrong(&self, row: &FileRow, wrong: &Wrong) -> BadRow {
        let place = match &self.form {
            Form::Lines => place(row.number, None),
            Form::Csv(csv) => place(row.number, csv.column(&wrong.name)),
            #[cfg(feature = "parquet")]
            Form::Parquet(_) => format!("row {}", row.number),
        };
        let Wrong { name, why } = wrong;
        let why = if name.is_empty() { why.clone() } else { format!("{name}: {why}") };
        BadRow { place, why }
    }
}

#[cfg(feature = "parquet")]
fn parquet(bytes: &Bytes, schema: Option<&Schema>) -> Result<Form, String> {
    Parquet::new(bytes.clone(), schema).map(Form::Parquet)
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &Bytes, _: Option<&Schema>) -> Result<Form, String> {
    Err("this selvedge was built without the feature `parquet`: build it with it, or push CSV or JSON Lines".into())
}

/// Whom a text names: itself, or a pair as a JSON list of two texts.
pub(super) fn key(text: &str) -> Result<String, BadEntity> {
    let pair: Option<Vec<String>> = text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten();
    match &pair {
        Some(parts) => entity(parts.iter().map(String::as_str)),
        None => entity([text]),
    }
}

/// Such as `line 3, column 2`.
pub(super) fn place(line: usize, column: Option<usize>) -> String {
    match column {
        Some(column) => format!("line {line}, column {column}"),
        None => format!("line {line}"),
    }
}

// === impl BadRow ===

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}
