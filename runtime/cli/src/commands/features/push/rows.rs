//! The rows of a file, whatever its form. Owns which form it is, and how a place in it is told.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use selvedge_decision::layout::RowLayout;
use selvedge_node::features::lines::lines;

use super::csv::Csv;
use crate::commands::features::schema::Wrong;
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
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileRow {
    /// Its line, from 1.
    pub(super) number: usize,
    /// Whom it is about; pairs joined by `\0`.
    pub(super) entity: String,
    /// A flat object by feature name; none when the row is to go.
    pub(super) json: Option<Bytes>,
}

/// What stands there is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadRow {
    /// Where: `line 3`.
    pub(super) place: String,
    /// What is wrong and what is expected.
    pub(super) why: String,
}

/// Rows one after the other.
pub(super) type Rows<'f> = Box<dyn Iterator<Item = Result<FileRow, BadRow>> + 'f>;

// === impl RowFile ===

impl RowFile {
    /// Reads a file; its form is told by its name. With a view's features, cells are read as what those ask for.
    pub(super) fn open(path: &Path, layout: Option<Arc<RowLayout>>) -> anyhow::Result<Self> {
        let bytes = Bytes::from(read_file(path, MAX_FILE_BYTES)?);
        let end = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let form = match end.as_str() {
            "csv" | "tsv" => {
                Form::Csv(Csv::new(&bytes, layout).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?)
            }
            _ => Form::Lines,
        };
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
        })
    }

    /// That a value of a row is not what the view asks for.
    pub(super) fn wrong(&self, row: &FileRow, wrong: &Wrong) -> BadRow {
        let column = match &self.form {
            Form::Lines => None,
            Form::Csv(csv) => csv.column(&wrong.name),
        };
        let Wrong { name, why } = wrong;
        let why = if name.is_empty() { why.clone() } else { format!("{name}: {why}") };
        BadRow { place: place(row.number, column), why }
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
