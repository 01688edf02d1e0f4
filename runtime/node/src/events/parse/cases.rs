//! The cases of `tests/cases/events`: bodies as trackers send them, and what must come of each.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

/// Every body is received then; an expected event without `timestamp` happened then.
const NOW: &str = "2026-03-01T12:00:00Z";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    why: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body: a text as it is, any other value as JSON.
    body: Value,
    /// Whether it is packed.
    #[serde(default)]
    gzip: bool,
    /// What the events taken are, in order.
    #[serde(default)]
    events: Vec<Value>,
    /// `[index, code, field]` of those that are not.
    #[serde(default)]
    rejected: Vec<(usize, String, Option<String>)>,
    /// Why nothing at all is taken.
    #[serde(default)]
    refused: Option<String>,
}

#[test]
fn every_case() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/events");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no case found");
    for file in files {
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for case in &cases {
            check(&format!("{}: {}", file.display(), case.why), case);
        }
    }
}

fn check(what: &str, case: &Case) {
    let body = match &case.body {
        Value::String(text) => text.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    };
    let body = if case.gzip { pack(&body) } else { body };
    let said = |name: &str| case.headers.get(name).map_or("", String::as_str);
    let attributes =
        case.headers.iter().filter_map(|(name, value)| Some((name.strip_prefix("ce-")?, value.as_bytes())));
    let headers = Headers {
        content_type: said("content-type"),
        content_encoding: said("content-encoding"),
        attributes: attributes.collect(),
    };
    let found = match parse(&body, &headers, rfc3339::parse(NOW).unwrap(), &Limits::default(), None) {
        Ok(found) => found,
        Err(bad) => {
            assert_eq!(Some(bad.code.as_str()), case.refused.as_deref(), "{what}: {bad}");
            return;
        }
    };
    assert_eq!(None, case.refused, "{what}: taken, but must not be");
    let (mut events, mut rejected) = (Vec::new(), Vec::new());
    for event in found {
        match event {
            Ok(parsed) => events.push(shown(&parsed.event)),
            Err(reason) => {
                rejected.push((reason.index, reason.code.as_str().to_owned(), reason.field.map(str::to_owned)))
            }
        }
    }
    assert_eq!(events, case.events, "{what}: events");
    assert_eq!(rejected, case.rejected, "{what}: rejected");
}

fn pack(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// An event as the cases write it: what it has not is left out.
fn shown(event: &Event) -> Value {
    let mut shown = serde_json::Map::new();
    let received = rfc3339::parse(NOW).unwrap();
    assert_eq!(event.received_us, received);
    shown.insert("event".into(), json!(event.name));
    if event.time_us != received {
        shown.insert("timestamp".into(), json!(rfc3339::format(event.time_us)));
    }
    let texts = [
        ("subject", event.subject.clone()),
        ("session", event.session.clone()),
        ("item", event.item.clone()),
        ("decision_id", event.decision_id.map(|id| id.to_string())),
        ("message_id", event.message_id.clone()),
    ];
    shown.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?)))));
    let properties: Value = serde_json::from_str(&event.properties).unwrap();
    if properties != json!({}) {
        shown.insert("properties".into(), properties);
    }
    Value::Object(shown)
}
