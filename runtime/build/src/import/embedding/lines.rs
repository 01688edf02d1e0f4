//! Vectors as JSON Lines: `{"id": "sku-1", "vector": [0.1, …]}`, an id may be an integer. The first line may be
//! `{"metric": "cosine"}` instead.

use serde::Deserialize;

use super::{Metric, Vectors};
use crate::import::BadModel;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    metric: Metric,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    id: Id,
    vector: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "an id is a text or an integer")]
enum Id {
    Text(String),
    Integer(i64),
}

/// Whether the first line is an object with one of the keys of this notation.
pub(super) fn is_one(text: &[u8]) -> bool {
    let line = text.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let Some(rest) = line.trim_ascii().strip_prefix(b"{") else { return false };
    [&b"\"id\""[..], b"\"vector\"", b"\"metric\""].iter().any(|key| rest.trim_ascii_start().starts_with(key))
}

pub(super) fn read(text: &str) -> Result<Vectors, BadModel> {
    let mut vectors = Vectors::default();
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    for (at, (line, text)) in lines.enumerate() {
        let bad = |error: serde_path_to_error::Error<serde_json::Error>| {
            let path = error.path().to_string();
            let at = if path == "." { format!("line {line}") } else { format!("line {line}, {path}") };
            // Every line is parsed for itself: serde_json calls each line 1.
            let why = error.into_inner().to_string().replace(" at line 1 column ", ", column ");
            BadModel::new(at, why)
        };
        let mut json = serde_json::Deserializer::from_str(text);
        if at == 0 && text.trim_start()[1..].trim_start().starts_with("\"metric\"") {
            vectors.metric = serde_path_to_error::deserialize::<_, Header>(&mut json).map_err(bad)?.metric;
        } else {
            let Record { id, vector } = serde_path_to_error::deserialize(&mut json).map_err(bad)?;
            let id = match id {
                Id::Text(id) => id,
                Id::Integer(id) => id.to_string(),
            };
            vectors.push(line, id, &vector)?;
        }
        json.end().map_err(|error| BadModel::new(format!("line {line}"), error.to_string()))?;
    }
    Ok(vectors)
}
