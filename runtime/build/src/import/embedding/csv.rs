//! Vectors as CSV: a header `id,v0,v1,…` (its first name is `id`, the others are free), then a line a vector. An id may stand
//! in quotes. A comment `# metric: cosine` may stand before the header.

use super::{Metric, Vectors};
use crate::import::BadModel;

/// Whether the first line that is no comment names `id` first, and a second column.
pub(super) fn is_one(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.trim_ascii());
    let header = lines.find(|line| !line.is_empty() && !line.starts_with(b"#")).unwrap_or_default();
    header.starts_with(b"id,") || header.starts_with(b"\"id\",")
}

pub(super) fn read(text: &str) -> Result<Vectors, BadModel> {
    let mut vectors = Vectors::default();
    let mut header = false;
    let mut vector = Vec::new();
    for (line, text) in (1..).zip(text.lines()).map(|(line, text): (usize, _)| (line, text.trim())) {
        let bad = |why: String| BadModel::new(format!("line {line}"), why);
        if text.is_empty() {
            continue;
        }
        if !header {
            match text.strip_prefix('#') {
                Some(comment) => vectors.metric = metric(comment, vectors.metric).map_err(bad)?,
                None => header = true,
            }
            continue;
        }
        let (id, numbers) = id(text).map_err(bad)?;
        vector.clear();
        for (column, number) in (1..).zip(numbers.split(',')) {
            let number = number.trim();
            let value = number.parse().map_err(|_| bad(format!("column {column}: {number:?} is no number")))?;
            vector.push(value);
        }
        vectors.push(line, id, &vector)?;
    }
    Ok(vectors)
}

/// What a comment says about the metric.
fn metric(comment: &str, before: Metric) -> Result<Metric, String> {
    let Some(name) = comment.trim().strip_prefix("metric:") else { return Ok(before) };
    match name.trim() {
        "dot" => Ok(Metric::Dot),
        "cosine" => Ok(Metric::Cosine),
        name => Err(format!("metric {name:?}; `dot` or `cosine` is expected")),
    }
}

/// The id at the beginning of a line, and what follows its comma.
fn id(line: &str) -> Result<(String, &str), String> {
    let Some(mut rest) = line.strip_prefix('"') else {
        let (id, numbers) = line.split_once(',').ok_or("an id without a vector; `id,v0,v1,…` is expected")?;
        return Ok((id.trim().to_owned(), numbers));
    };
    let mut id = String::new();
    loop {
        let (piece, behind) = rest.split_once('"').ok_or("the id's quotes do not end")?;
        id.push_str(piece);
        let Some(behind) = behind.strip_prefix('"') else {
            return Ok((id, behind.trim_start().strip_prefix(',').ok_or("a comma is expected after the id")?));
        };
        id.push('"');
        rest = behind;
    }
}
