//! Rows as CSV: a line of names, then a line a row. Owns what a cell means: by the view's features where they are known,
//! otherwise by how it looks.

use std::sync::Arc;

use selvedge_build::csv::{Record, Records};
use selvedge_decision::layout::{FeatureKind, Field, RowLayout};
use selvedge_node::features::lines::{DELETE_NAME, KEY_NAME};
use selvedge_node::features::row::{TIME_NAME, parse_rfc3339};
use serde_json::Value;

use super::rows::{BadRow, FileRow, key, place};
use crate::commands::features::SHOWN_CHARS;
use crate::commands::features::schema::{Schema, expected};

/// The columns of a file.
pub(super) struct Csv {
    names: Vec<String>,
    /// The place of `_key`, and of `_delete` where there is one.
    key: usize,
    delete: Option<usize>,
    /// The columns that are values, by name.
    values: Vec<usize>,
    layout: Option<Arc<RowLayout>>,
}

// === impl Csv ===

impl Csv {
    /// Reads the line of names.
    pub(super) fn new(bytes: &[u8], schema: Option<&Schema>) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            format!("line {line}: not UTF-8; save it as \"CSV UTF-8\"")
        })?;
        let Some(heads) = Records::new(text).next() else {
            return Err("no line names the columns; begin with such as `_key,price,stock`".into());
        };
        let heads = heads.map_err(|bad| format!("{bad}: {}", bad.advice()))?;
        let line = heads.line;
        let mut names: Vec<String> = heads.cells.iter().map(|cell| cell.text.trim().to_owned()).collect();
        while names.last().is_some_and(String::is_empty) {
            names.pop();
        }
        for (at, name) in names.iter().enumerate() {
            let wrong = |why: &str| Err(format!("{}: {why}", place(line, Some(at + 1))));
            match name.as_str() {
                "" => return wrong("the column has no name (pandas: to_csv(…, index=False))"),
                _ if names[..at].contains(name) => return wrong(&format!("{name:?} stands twice")),
                KEY_NAME | TIME_NAME | DELETE_NAME => {}
                _ if name.starts_with('_') => {
                    return wrong(&format!(
                        "{name:?}: of names with `_` only {KEY_NAME}, {TIME_NAME} and {DELETE_NAME} mean something"
                    ));
                }
                _ => {
                    if let Some(Err(why)) = schema.map(|schema| schema.knows(name)) {
                        return wrong(&format!("{name:?}: {why}"));
                    }
                }
            }
        }
        let find = |wanted: &str| names.iter().position(|name| name == wanted);
        let Some(key) = find(KEY_NAME) else {
            return Err(format!("{}: no column {KEY_NAME} says whom a row is about", place(line, None)));
        };
        let delete = find(DELETE_NAME);
        let mut values: Vec<usize> = (0..names.len()).filter(|at| *at != key && Some(*at) != delete).collect();
        values.sort_by(|a, b| names[*a].cmp(&names[*b]));
        let layout = schema.map(|schema| Arc::clone(schema.layout()));
        Ok(Self { names, key, delete, values, layout })
    }

    /// The number of the column of a feature, from 1.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name).map(|at| at + 1)
    }

    /// The rows behind the line of names.
    pub(super) fn rows<'f>(&'f self, text: &'f str) -> impl Iterator<Item = Result<FileRow, BadRow>> + 'f {
        Records::new(text).skip(1).map(|record| match record {
            Ok(record) => self.row(&record),
            Err(bad) => Err(BadRow { place: place(bad.line, None), why: format!("{}: {}", bad.why, bad.advice()) }),
        })
    }

    fn row(&self, record: &Record<'_>) -> Result<FileRow, BadRow> {
        let number = record.line;
        let bad = |at: usize, why: String| BadRow {
            place: place(number, Some(at + 1)),
            why: format!("{}: {why}", self.names[at]),
        };
        let cells = &record.cells;
        let spare = cells.iter().skip(self.names.len()).any(|cell| !cell.text.trim().is_empty());
        if cells.len() < self.names.len() || spare {
            let why = format!("{} cells, but {} names in the first line", cells.len(), self.names.len());
            return Err(BadRow { place: place(number, None), why });
        }
        let entity = key(&cells[self.key].text).map_err(|error| bad(self.key, error.to_string()))?;
        if let Some(at) = self.delete {
            let delete = delete(&cells[at].text)
                .ok_or_else(|| bad(at, format!("{} is not true or false", shown(&cells[at].text))))?;
            if delete {
                return Ok(FileRow { number, entity, json: None });
            }
        }
        let mut json = String::from("{");
        for &at in &self.values {
            let Some(value) = self.value(&self.names[at], &cells[at].text).map_err(|why| bad(at, why))? else {
                continue;
            };
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(&text(&self.names[at]));
            json.push(':');
            json.push_str(&value);
        }
        json.push('}');
        Ok(FileRow { number, entity, json: Some(json.into()) })
    }

    /// A cell as JSON; none for an empty one, which is a value that is missing.
    fn value(&self, name: &str, cell: &str) -> Result<Option<String>, String> {
        if cell.trim().is_empty() {
            return Ok(None);
        }
        if name == TIME_NAME {
            return time(cell)
                .map(Some)
                .ok_or_else(|| format!("{} is not {}", shown(cell), expected(FeatureKind::Time, 1)));
        }
        let Some(layout) = &self.layout else { return Ok(Some(guessed(cell))) };
        let Some(field) = layout.field(name) else { return Ok(None) };
        let typed = typed(field, cell).map(Some);
        typed.ok_or_else(|| format!("{} is not {}", shown(cell), expected(field.kind, field.len)))
    }
}

/// A cell as its feature asks for.
fn typed(field: &Field, cell: &str) -> Option<String> {
    let bare = cell.trim();
    match field.kind {
        FeatureKind::Number | FeatureKind::F32 => number(bare),
        FeatureKind::Flag => flag(bare)
            .or(match bare {
                "1" => Some("true"),
                "0" => Some("false"),
                _ => None,
            })
            .map(str::to_owned),
        FeatureKind::Symbol | FeatureKind::Text => Some(text(cell)),
        FeatureKind::Time => time(bare),
        FeatureKind::Vector => serde_json::from_str::<Vec<f64>>(bare)
            .is_ok_and(|all| all.len() == field.len as usize)
            .then(|| bare.to_owned()),
        FeatureKind::Ids => serde_json::from_str::<Vec<String>>(bare).is_ok().then(|| bare.to_owned()),
    }
}

/// A cell as it looks: a flag, a number, a list, or a text.
fn guessed(cell: &str) -> String {
    let bare = cell.trim();
    if let Some(flag) = flag(bare) {
        return flag.to_owned();
    }
    if let Ok(Value::Number(_) | Value::Array(_)) = serde_json::from_str(bare) {
        return bare.to_owned();
    }
    text(cell)
}

fn flag(bare: &str) -> Option<&'static str> {
    match bare {
        "true" | "True" | "TRUE" => Some("true"),
        "false" | "False" | "FALSE" => Some("false"),
        _ => None,
    }
}

fn delete(cell: &str) -> Option<bool> {
    match cell.trim() {
        "" | "0" => Some(false),
        "1" => Some(true),
        bare => Some(flag(bare)? == "true"),
    }
}

/// A number as JSON writes it.
fn number(bare: &str) -> Option<String> {
    if let Ok(Value::Number(_)) = serde_json::from_str(bare) {
        return Some(bare.to_owned());
    }
    let number = bare.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some(Value::from(number).to_string())
}

fn time(bare: &str) -> Option<String> {
    let bare = bare.trim();
    match bare.parse::<i64>() {
        Ok(us) => Some(us.to_string()),
        Err(_) => parse_rfc3339(bare).map(|_| text(bare)),
    }
}

fn text(text: &str) -> String {
    Value::from(text).to_string()
}

fn shown(cell: &str) -> String {
    let start: String = cell.chars().take(SHOWN_CHARS).collect();
    if start.len() < cell.len() { format!("{start:?}…") } else { format!("{start:?}") }
}

#[cfg(test)]
mod tests;
