//! Rows of JSON as a module's rows of numbers. Owns the meaning of a JSON value for an input of the manifest; derived inputs
//! are computed, as a node does before the call.

use std::collections::BTreeSet;

use selvedge_build::derived;
use selvedge_decision::Manifest;
use selvedge_decision::manifest::{Input, Kind, Scope};
use serde_json::{Map, Value};

/// The most unknown names that are remembered.
const MAX_UNKNOWN: usize = 20;

/// Reads lines as rows of one module.
#[derive(Debug)]
pub(in crate::commands) struct Rows<'m> {
    manifest: &'m Manifest,
    /// The time of the decision.
    now_us: i64,
    unknown: BTreeSet<String>,
}

/// Where the values of one row stand: the candidate's own before those of the request.
struct Values<'v> {
    own: &'v Map<String, Value>,
    request: &'v Map<String, Value>,
}

/// The numbers of one call.
#[derive(Debug, PartialEq)]
pub(in crate::commands) struct Row {
    pub(in crate::commands) shared: Vec<f64>,
    pub(in crate::commands) candidates: Vec<f64>,
    pub(in crate::commands) count: u32,
}

// === impl Rows ===

impl<'m> Rows<'m> {
    pub(in crate::commands) fn new(manifest: &'m Manifest, now_us: i64) -> Self {
        Self { manifest, now_us, unknown: BTreeSet::new() }
    }

    /// Names in the rows that are no inputs.
    pub(in crate::commands) fn unknown(&self) -> impl Iterator<Item = &str> {
        self.unknown.iter().map(String::as_str)
    }

    /// Reads one line.
    pub(in crate::commands) fn read(&mut self, line: &[u8]) -> Result<Row, String> {
        let object: Map<String, Value> =
            serde_json::from_slice(line).map_err(|error| format!("not a JSON object: {error}"))?;
        let nothing = Map::new();
        let is_structured = object.keys().all(|name| name == "shared" || name == "candidates") && !object.is_empty();
        if !is_structured {
            self.note_unknown(&object, None);
            let values = Values { own: &object, request: &object };
            let [shared, candidates] = [Scope::Shared, Scope::Candidate].map(|scope| self.numbers(scope, &values));
            return Ok(Row { shared: shared?, candidates: candidates?, count: 1 });
        }
        let shared = match object.get("shared") {
            None | Some(Value::Null) => &nothing,
            Some(Value::Object(shared)) => shared,
            Some(_) => return Err("`shared` is not an object".into()),
        };
        self.note_unknown(shared, Some(Scope::Shared));
        let one = [Value::Object(Map::new())];
        let candidates = match object.get("candidates") {
            None | Some(Value::Null) => &one[..],
            Some(Value::Array(candidates)) => candidates,
            Some(_) => return Err("`candidates` is not a list".into()),
        };
        let mut numbers = Vec::new();
        for (i, candidate) in candidates.iter().enumerate() {
            let Value::Object(candidate) = candidate else { return Err(format!("candidates[{i}] is not an object")) };
            self.note_unknown(candidate, Some(Scope::Candidate));
            let values = Values { own: candidate, request: shared };
            let row = self.numbers(Scope::Candidate, &values).map_err(|why| format!("candidates[{i}]: {why}"))?;
            numbers.extend(row);
        }
        let count = u32::try_from(candidates.len()).map_err(|_| "too many candidates".to_owned())?;
        let values = Values { own: shared, request: shared };
        Ok(Row { shared: self.numbers(Scope::Shared, &values)?, candidates: numbers, count })
    }

    fn note_unknown(&mut self, object: &Map<String, Value>, scope: Option<Scope>) {
        let known = |name: &str| {
            self.manifest.inputs.iter().any(|input| {
                let is_part = || input.derive.iter().flat_map(derived::parts).any(|part| part == name);
                // What a candidate's input is computed of may be the request's.
                let is_seen = |scope: Scope| input.scope == scope || scope == Scope::Shared && is_part();
                (input.name == name || is_part()) && scope.is_none_or(is_seen)
            })
        };
        let unknown: Vec<_> = object.keys().filter(|name| !known(name)).cloned().collect();
        for name in unknown {
            if self.unknown.len() < MAX_UNKNOWN {
                self.unknown.insert(name);
            }
        }
    }

    fn numbers(&self, scope: Scope, values: &Values<'_>) -> Result<Vec<f64>, String> {
        let mut numbers = Vec::new();
        for input in self.manifest.inputs.iter().filter(|input| input.scope == scope) {
            let value = values.own.get(&input.name).filter(|value| !value.is_null());
            match (value, &input.derive) {
                (Some(value), _) => {
                    push(input, value, &mut numbers).map_err(|why| format!("{:?}: {why}", input.name))?
                }
                (None, Some(derive)) => {
                    let part = |name: &str| values.own.get(name).or_else(|| values.request.get(name));
                    let number = derived::compute(derive, self.now_us, part);
                    let number = number.map_err(|why| format!("{:?}: {why}", input.name))?;
                    numbers.push(if number.is_nan() { missing(input)? } else { number });
                }
                (None, None) => numbers.extend(std::iter::repeat_n(missing(input)?, input.width())),
            }
        }
        Ok(numbers)
    }
}

fn missing(input: &Input) -> Result<f64, String> {
    if input.missing.is_error() {
        return Err(format!("{:?} is missing, and the module takes that as an error", input.name));
    }
    Ok(input.default_value()?.unwrap_or(f64::NAN))
}

fn push(input: &Input, value: &Value, numbers: &mut Vec<f64>) -> Result<(), String> {
    match (input.kind, value) {
        (Kind::Number, Value::Number(number)) => numbers.push(number.as_f64().unwrap_or(f64::NAN)),
        (Kind::Flag, Value::Bool(flag)) => numbers.push(f64::from(*flag)),
        (Kind::Symbol, Value::String(text)) => {
            let index = input.symbols.iter().position(|symbol| symbol == text);
            numbers.push(index.map_or(-1.0, |index| index as f64));
        }
        (Kind::Vector, Value::Array(items)) if items.len() == input.width() => {
            for item in items {
                match item {
                    Value::Number(number) => numbers.push(number.as_f64().unwrap_or(f64::NAN)),
                    Value::Null => numbers.push(f64::NAN),
                    _ => return Err("a vector holds numbers".into()),
                }
            }
        }
        (Kind::Vector, Value::Array(items)) => {
            return Err(format!("{} numbers, expected {}", items.len(), input.width()));
        }
        (kind, value) => return Err(format!("{value} is no {}", word(kind))),
    }
    Ok(())
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "number",
        Kind::Flag => "flag (true or false)",
        Kind::Symbol => "symbol (a text)",
        Kind::Vector => "vector (a list of numbers)",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const MANIFEST: &str = r#"{"manifest":1,"name":"m","outputs":[],"limits":{"rows":9,"memory_bytes":1},"inputs":[
        {"name":"cart","scope":"shared","type":"number","missing":{"default":2.5}},
        {"name":"price","scope":"candidate","type":"number"},
        {"name":"kind","scope":"candidate","type":"symbol","symbols":["a","b"]},
        {"name":"new","scope":"candidate","type":"flag"},
        {"name":"taste","scope":"candidate","type":"vector","len":2}]}"#;

    /// 2026-11-25T08:00:00Z, a Wednesday.
    const NOW_US: i64 = 1_795_593_600_000_000;

    fn same(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
    }

    #[test]
    fn a_line_becomes_the_rows_of_a_call() {
        let manifest: Manifest = serde_json::from_str(MANIFEST).unwrap();
        let check = |line: &str, shared: &[f64], candidates: &[f64], count: u32| {
            let row = Rows::new(&manifest, NOW_US).read(line.as_bytes()).unwrap();
            assert!(
                same(&row.shared, shared) && same(&row.candidates, candidates) && row.count == count,
                "{line}: {row:?}"
            );
        };
        let nan = f64::NAN;
        check(
            r#"{"cart":1,"price":9.9,"kind":"b","new":true,"taste":[1,null]}"#,
            &[1.0],
            &[9.9, 1.0, 1.0, 1.0, nan],
            1,
        );
        check(r#"{"kind":"other","price":null}"#, &[2.5], &[nan, -1.0, nan, nan, nan], 1);
        check("{}", &[2.5], &[nan, nan, nan, nan, nan], 1);
        check(
            r#"{"shared":{"cart":0},"candidates":[{"new":false},{"kind":"a"}]}"#,
            &[0.0],
            &[nan, nan, 0.0, nan, nan, nan, 0.0, nan, nan, nan],
            2,
        );
        check(r#"{"shared":{"cart":0},"candidates":[]}"#, &[0.0], &[], 0);
        check(r#"{"candidates":null}"#, &[2.5], &[nan, nan, nan, nan, nan], 1);
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        let manifest: Manifest = serde_json::from_str(MANIFEST).unwrap();
        let check = |line: &str, expected: &str| {
            let why = Rows::new(&manifest, NOW_US).read(line.as_bytes()).unwrap_err();
            assert!(why.contains(expected), "{why:?} does not say {expected:?}");
        };
        check("[1]", "not a JSON object");
        check(r#"{"price":"9"}"#, "\"price\": \"9\" is no number");
        check(r#"{"candidates":[{},{"new":1}]}"#, "candidates[1]: \"new\": 1 is no flag");
        check(r#"{"candidates":[1]}"#, "candidates[0] is not an object");
        check(r#"{"shared":[]}"#, "`shared` is not an object");
        check(r#"{"taste":[1]}"#, "\"taste\": 1 numbers, expected 2");
    }

    #[test]
    fn derived_inputs_are_computed() {
        let manifest = r#"{"manifest":1,"name":"m","outputs":[],"limits":{"rows":9,"memory_bytes":1},"inputs":[
            {"name":"v","scope":"shared","type":"flag","derive":{"fn":"starts_with","of":"user.segment","text":"v"}},
            {"name":"now","scope":"shared","type":"number","derive":{"fn":"epoch_seconds"}},
            {"name":"new","scope":"candidate","type":"flag","missing":"error",
             "derive":{"fn":"contains","of":"item.name","text":"new"}}]}"#;
        let manifest: Manifest = serde_json::from_str(manifest).unwrap();
        let check = |line: &str, shared: &[f64], candidates: &[f64]| {
            let mut rows = Rows::new(&manifest, NOW_US);
            let row = rows.read(line.as_bytes()).unwrap();
            assert!(same(&row.shared, shared) && same(&row.candidates, candidates), "{line}: {row:?}");
            assert_eq!(rows.unknown().count(), 0, "{line}");
        };
        let now = NOW_US as f64 / 1e6;
        check(r#"{"user.segment":"vip","item.name":"brand new"}"#, &[1.0, now], &[1.0]);
        check(r#"{"user.segment":null,"item.name":"old"}"#, &[f64::NAN, now], &[0.0]);
        check(
            r#"{"shared":{"user.segment":"old"},"candidates":[{"item.name":"new"},{"item.name":"old"}]}"#,
            &[0.0, now],
            &[1.0, 0.0],
        );
        check(r#"{"shared":{"v":true,"now":5,"item.name":"new"},"candidates":[{}]}"#, &[1.0, 5.0], &[1.0]);
        let wrong = |line: &str, expected: &str| {
            let why = Rows::new(&manifest, NOW_US).read(line.as_bytes()).unwrap_err();
            assert!(why.contains(expected), "{why}");
        };
        wrong(r#"{"item.name":"new"}"#, "\"v\": it is computed of \"user.segment\", which is not there");
        wrong(r#"{"user.segment":"v","item.name":null}"#, "\"new\" is missing, and the module takes that as an error");
        wrong(r#"{"user.segment":5,"item.name":"x"}"#, "\"v\": \"user.segment\": 5 is no text");
    }

    #[test]
    fn names_that_are_no_inputs_are_noted() {
        let manifest: Manifest = serde_json::from_str(MANIFEST).unwrap();
        let mut rows = Rows::new(&manifest, NOW_US);
        rows.read(br#"{"prise":1,"shared":{}}"#).unwrap();
        rows.read(br#"{"shared":{"price":1}}"#).unwrap();
        assert_eq!(rows.unknown().collect::<Vec<_>>(), ["price", "prise", "shared"]);
    }
}
