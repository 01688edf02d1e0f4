//! A lake in a directory, read as anybody reads it: every `.parquet` file under a folder, whatever it is called.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use parquet::file::reader::SerializedFileReader;
use parquet::record::{Field, Row};

/// The rows of one kind.
#[derive(Debug, Clone, Default)]
pub struct LakeRows(Vec<BTreeMap<String, Field>>);

/// The rows of every file in `folder`, which need not be there.
pub fn rows(folder: &Path) -> Result<LakeRows> {
    let mut rows = Vec::new();
    for path in files(folder)? {
        let reader = SerializedFileReader::new(File::open(&path)?).with_context(|| format!("{}", path.display()))?;
        for row in reader {
            let row: Row = row.with_context(|| format!("{}", path.display()))?;
            rows.push(row.into_columns().into_iter().collect());
        }
    }
    Ok(LakeRows(rows))
}

/// Every `.parquet` file in `folder` and its folders, sorted.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

// === impl LakeRows ===

impl LakeRows {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How often each text is in a column.
    pub fn times(&self, column: &str) -> BTreeMap<String, u32> {
        let mut times = BTreeMap::new();
        for row in &self.0 {
            if let Some(Field::Str(text)) = row.get(column) {
                *times.entry(text.clone()).or_default() += 1;
            }
        }
        times
    }

    /// How many different items they are, by (node, epoch, seq).
    pub fn items(&self) -> usize {
        let place = |row: &BTreeMap<String, Field>| {
            ["node", "epoch", "seq"].map(|column| row.get(column).map(ToString::to_string).unwrap_or_default())
        };
        self.0.iter().map(place).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// The rows.
    pub fn rows(&self) -> &[BTreeMap<String, Field>] {
        &self.0
    }
}
