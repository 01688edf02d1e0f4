//! Derived inputs of rows that people write: what the decision core computes before a call, from the values it is computed
//! of. Owns that meaning for JSON; it must be the core's, to the bit.

use selvedge_decision::manifest::Derive;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Minutes of a day.
const DAY: i64 = 1_440;

/// The values that a function is computed of, by name.
pub fn parts(derive: &Derive) -> Vec<&str> {
    match derive {
        Derive::StartsWith { of, .. }
        | Derive::EndsWith { of, .. }
        | Derive::Contains { of, .. }
        | Derive::Age { of } => {
            vec![of]
        }
        Derive::Includes { of, id } => vec![of, id],
        Derive::Dot { a, b } | Derive::Cosine { a, b } => vec![a, b],
        Derive::MinuteOfDay | Derive::DayOfWeek | Derive::EpochSeconds => Vec::new(),
    }
}

/// Whether a function reads the time of the decision.
pub fn reads_time(derive: &Derive) -> bool {
    matches!(derive, Derive::Age { .. } | Derive::MinuteOfDay | Derive::DayOfWeek | Derive::EpochSeconds)
}

/// The function's value at `now_us`, microseconds since 1970, in UTC; NaN when a part of it is missing. `value` gives its
/// parts: `null` for what is missing, `None` for what nothing is said of.
///
/// # Errors
///
/// When nothing is said of a part, or it is of another type.
pub fn compute<'v>(derive: &Derive, now_us: i64, value: impl Fn(&str) -> Option<&'v Value>) -> Result<f64, String> {
    let part = |name: &str| {
        let why = || format!("it is computed of {name:?}, which is not there; write null when it is missing");
        value(name).ok_or_else(why)
    };
    let text = |of: &str, test: &dyn Fn(&str) -> bool| match part(of)? {
        Value::Null => Ok(f64::NAN),
        Value::String(text) => Ok(f64::from(test(text))),
        other => Err(format!("{of:?}: {other} is no text")),
    };
    match derive {
        Derive::StartsWith { of, text: part } => text(of, &|text| text.starts_with(part.as_str())),
        Derive::EndsWith { of, text: part } => text(of, &|text| text.ends_with(part.as_str())),
        Derive::Contains { of, text: wanted } => match part(of)? {
            Value::Array(ids) => member(of, ids, wanted),
            _ => text(of, &|text| text.contains(wanted.as_str())),
        },
        Derive::Includes { of, id } => match (part(of)?, part(id)?) {
            (Value::Null, _) | (_, Value::Null) => Ok(f64::NAN),
            (Value::Array(ids), Value::String(wanted)) => member(of, ids, wanted),
            (Value::Array(_), other) => Err(format!("{id:?}: {other} is no text")),
            (other, _) => Err(format!("{of:?}: {other} is no list of ids")),
        },
        Derive::Age { of } => Ok(match time(of, part(of)?)? {
            Some(time_us) => ((now_us as f64 - time_us) / 1e6).max(0.0),
            None => f64::NAN,
        }),
        Derive::MinuteOfDay => Ok(now_us.div_euclid(60_000_000).rem_euclid(DAY) as f64),
        // Day 0 of the Unix epoch was a Thursday.
        Derive::DayOfWeek => Ok((now_us.div_euclid(60_000_000).div_euclid(DAY) + 3).rem_euclid(7) as f64),
        Derive::EpochSeconds => Ok(now_us as f64 / 1e6),
        Derive::Dot { a, b } | Derive::Cosine { a, b } => {
            let (a, b) = (vector(a, part(a)?)?, vector(b, part(b)?)?);
            if a.len() != b.len() {
                return Err(format!("the vectors have {} and {} numbers", a.len(), b.len()));
            }
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).fold(0.0, |sum, (x, y)| sum + x * y);
            let product = dot(&a, &b);
            if matches!(derive, Derive::Dot { .. }) {
                return Ok(if a.is_empty() { f64::NAN } else { product });
            }
            let lengths = dot(&a, &a).sqrt() * dot(&b, &b).sqrt();
            Ok(if lengths > 0.0 { product / lengths } else { f64::NAN })
        }
    }
}

/// A moment such as `2026-11-25T08:00:00Z`, or a day from its midnight in UTC, in microseconds since 1970.
///
/// # Errors
///
/// When it is neither.
pub fn moment_us(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let why = || format!("{text:?} is neither a date such as 2026-11-25 nor a moment such as 2026-11-25T08:00:00Z");
    let moment = OffsetDateTime::parse(&whole, &Rfc3339).map_err(|_| why())?;
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000)).map_err(|_| why())
}

/// Whether a list of ids has one as a member.
fn member(name: &str, ids: &[Value], wanted: &str) -> Result<f64, String> {
    if let Some(other) = ids.iter().find(|id| !id.is_string()) {
        return Err(format!("{name:?}: {other} is no id: a list of ids holds texts"));
    }
    Ok(f64::from(ids.iter().any(|id| id == wanted)))
}

/// A time as rows of views have it: a text, or microseconds since 1970.
fn time(name: &str, value: &Value) -> Result<Option<f64>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(number.as_f64()),
        Value::String(text) => moment_us(text).map(|us| Some(us as f64)).map_err(|why| format!("{name:?}: {why}")),
        other => Err(format!("{name:?}: {other} is no time")),
    }
}

/// A vector as a view keeps it, in 32 bits a number; empty when it is missing.
fn vector(name: &str, value: &Value) -> Result<Vec<f64>, String> {
    let wrong = || format!("{name:?}: {value} is no vector (a list of numbers)");
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            items.iter().map(|item| item.as_f64().map(|number| f64::from(number as f32)).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn functions_are_computed_as_the_core_does() {
        let row = json!({ "s": "vienna", "none": null, "t": "2026-11-25T08:00:00Z", "a": [1, 2], "b": [3, 0.5], "zero": [0, 0],
            "ids": ["x", "y"], "x": "x", "z": "z" });
        // 2026-11-25T08:01:30.5Z, a Wednesday.
        let now_us = moment_us("2026-11-25T08:01:30.5Z").unwrap();
        let check = |derive: Value, expected: f64| {
            let derive: Derive = serde_json::from_value(derive).unwrap();
            let found = compute(&derive, now_us, |name| row.get(name)).unwrap();
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{derive:?}: {found}");
        };
        check(json!({ "fn": "starts_with", "of": "s", "text": "vi" }), 1.0);
        check(json!({ "fn": "ends_with", "of": "s", "text": "vi" }), 0.0);
        check(json!({ "fn": "contains", "of": "s", "text": "enn" }), 1.0);
        check(json!({ "fn": "contains", "of": "none", "text": "enn" }), f64::NAN);
        check(json!({ "fn": "contains", "of": "ids", "text": "y" }), 1.0);
        check(json!({ "fn": "includes", "of": "ids", "id": "x" }), 1.0);
        check(json!({ "fn": "includes", "of": "ids", "id": "z" }), 0.0);
        check(json!({ "fn": "includes", "of": "ids", "id": "none" }), f64::NAN);
        check(json!({ "fn": "age", "of": "t" }), 90.5);
        check(json!({ "fn": "age", "of": "none" }), f64::NAN);
        check(json!({ "fn": "minute_of_day" }), 481.0);
        check(json!({ "fn": "day_of_week" }), 2.0);
        check(json!({ "fn": "epoch_seconds" }), now_us as f64 / 1e6);
        check(json!({ "fn": "dot", "a": "a", "b": "b" }), 4.0);
        check(json!({ "fn": "cosine", "a": "a", "b": "a" }), 5.0 / (5f64.sqrt() * 5f64.sqrt()));
        check(json!({ "fn": "cosine", "a": "a", "b": "zero" }), f64::NAN);
    }

    #[test]
    fn what_cannot_be_computed_says_why() {
        let row = json!({ "n": 5, "a": [1, 2], "b": [3] });
        let check = |derive: Value, expected: &str| {
            let derive: Derive = serde_json::from_value(derive).unwrap();
            let why = compute(&derive, 0, |name| row.get(name)).unwrap_err();
            assert!(why.contains(expected), "{why}");
        };
        check(json!({ "fn": "starts_with", "of": "s", "text": "vi" }), "computed of \"s\", which is not there");
        check(json!({ "fn": "starts_with", "of": "n", "text": "vi" }), "\"n\": 5 is no text");
        check(json!({ "fn": "dot", "a": "a", "b": "b" }), "2 and 1 numbers");
        check(json!({ "fn": "dot", "a": "a", "b": "n" }), "5 is no vector");
        check(json!({ "fn": "age", "of": "a" }), "is no time");
        assert!(moment_us("soon").unwrap_err().contains("neither a date such as"));
    }
}
