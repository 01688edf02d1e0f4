//! Rows in a file, one JSON object a line: `{"_key":"sku-1", …}` or `{"_key":["sku-1","DE"], …}`, with `"_delete":true` where
//! a row is to go. Owns that form; must not know where the file is or what becomes of its rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::features::entity::{self, BadEntity};

/// One row of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// Whom it is about; pairs joined by `\0`.
    pub entity: String,
    /// The row as it goes into a bucket: without `_key`, names sorted, values as they were written. None when it is deleted.
    pub json: Option<Bytes>,
}

/// A line is no row.
#[derive(Debug, thiserror::Error)]
#[error("line {number}: {why}")]
pub struct BadLine {
    /// Its number, from 1.
    pub number: usize,
    /// What is wrong and what is expected.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    One(String),
    Pair(Vec<String>),
}

/// The name under which a line says whom it is about.
pub const KEY_NAME: &str = "_key";

/// The name under which a line says that the row is to go.
pub const DELETE_NAME: &str = "_delete";

/// The rows of a text; empty lines are left out.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Result<Line, BadLine>> {
    let numbered = text.split(|byte| *byte == b'\n').enumerate();
    numbered.filter(|(_, line)| !line.trim_ascii().is_empty()).map(|(index, line)| {
        let number = index + 1;
        read(line).map(|(entity, json)| Line { number, entity, json }).map_err(|why| BadLine { number, why })
    })
}

/// Whom a line is about, and its row.
type Read = (String, Option<Bytes>);

fn read(line: &[u8]) -> Result<Read, String> {
    let mut values: BTreeMap<&str, &RawValue> = match serde_json::from_slice(line) {
        Ok(values) => values,
        // Names with escapes cannot be borrowed; they are rare enough to be read the slow way.
        Err(_) => return read_escaped(line),
    };
    let key = values.remove(KEY_NAME).ok_or_else(no_key)?;
    let delete = values.remove(DELETE_NAME);
    row(key, delete, &values)
}

fn read_escaped(line: &[u8]) -> Result<Read, String> {
    let mut values: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(line)
        .map_err(|error| format!("not a JSON object with the features by name: {error}"))?;
    let key = values.remove(KEY_NAME).ok_or_else(no_key)?;
    let delete = values.remove(DELETE_NAME);
    row(&key, delete.as_deref(), &values)
}

fn row(key: &RawValue, delete: Option<&RawValue>, values: &impl serde::Serialize) -> Result<Read, String> {
    let key =
        serde_json::from_str(key.get()).map_err(|_| format!("`_key` is {key}; expected a text or a list of two"))?;
    let entity: Result<String, BadEntity> = match &key {
        Key::One(one) => entity::entity([one.as_str()]),
        Key::Pair(pair) => entity::entity(pair.iter().map(String::as_str)),
    };
    let entity = entity.map_err(|error| format!("`_key`: {error}"))?;
    match delete.map(RawValue::get) {
        Some("true") => return Ok((entity, None)),
        None | Some("false" | "null") => {}
        Some(other) => return Err(format!("`_delete` is {other}; expected true or false")),
    }
    let json = serde_json::to_vec(values).map_err(|error| error.to_string())?;
    Ok((entity, Some(json.into())))
}

fn no_key() -> String {
    "`_key` is missing; expected a text such as \"sku-1\", or a list of two".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[Result<(&str, &str), &str>]) {
        let found: Vec<_> = lines(text.as_bytes())
            .map(|line| match line {
                Ok(line) => {
                    let json = line.json.unwrap_or(Bytes::from_static(b"(delete)"));
                    Ok((line.entity, String::from_utf8_lossy(&json).into_owned()))
                }
                Err(error) => Err(error.to_string()),
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|line| match line {
                Ok((entity, json)) => Ok(((*entity).to_owned(), (*json).to_owned())),
                Err(error) => Err((*error).to_owned()),
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_is_a_key_and_its_row() {
        check(
            "{\"_key\":\"sku-1\",\"price\":9.90,\"a\":[1, 2]}\n\n  \r\n{\"_key\":[\"sku-1\",\"DE\"],\"_time\":5}\n",
            &[Ok(("sku-1", "{\"a\":[1, 2],\"price\":9.90}")), Ok(("sku-1\0DE", "{\"_time\":5}"))],
        );
        check(
            "{\"_key\":\"a\",\"_delete\":true,\"x\":1}\n{\"_delete\":false,\"_key\":\"b\"}",
            &[Ok(("a", "(delete)")), Ok(("b", "{}"))],
        );
        check("{\"\\u005fkey\":\"x\",\"\\u0061\":1}", &[Ok(("x", "{\"a\":1}"))]);
    }

    #[test]
    fn a_broken_line_is_told_with_its_number_and_the_rest_is_taken() {
        check(
            "{\"_key\":7}\n{\"price\":1}\n{\"_key\":[\"a\",\"b\",\"c\"]}\n{\"_key\":\"\"}\n{\"_key\":\"ok\"}\n\
             {\"_key\":\"no\",\"_delete\":1}",
            &[
                Err("line 1: `_key` is 7; expected a text or a list of two"),
                Err("line 2: `_key` is missing; expected a text such as \"sku-1\", or a list of two"),
                Err("line 3: `_key`: an entity is one name or a pair, not 3"),
                Err("line 4: `_key`: an entity's name is empty"),
                Ok(("ok", "{}")),
                Err("line 6: `_delete` is 1; expected true or false"),
            ],
        );
    }
}
