//! Manifests: they read back as written, and `wit/manifest.schema.json` says the same about them as the code.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use selvedge_decision::Manifest;
use selvedge_decision::manifest::{
    Derive, Input, Kind, Limits, MANIFEST_VERSION, Missing, MissingWord, Output, Scalar, Scope, Source,
};
use serde_json::{Value, json};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../wit/manifest.schema.json")).unwrap()
}

/// Validates `value`, as far as our schema needs: the keywords it uses, and a panic for any other.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fail = |why: String| Err(format!("{at}: {why}"));
    for (keyword, rule) in schema.as_object().unwrap() {
        let number = rule.as_f64();
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "default" => {}
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                validate(root, target, value, at)?;
            }
            "type" => {
                let is = |name: &str| match name {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "number" => value.is_number(),
                    "integer" => value.is_u64() || value.is_i64(),
                    other => panic!("type {other}"),
                };
                let names = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !names.iter().any(|name| is(name.as_str().unwrap())) {
                    return fail(format!("{value} is no {rule}"));
                }
            }
            "const" if value != rule => return fail(format!("{value} is not {rule}")),
            "enum" if !rule.as_array().unwrap().contains(value) => return fail(format!("{value} is none of {rule}")),
            "minimum" if value.as_f64() < number => return fail(format!("{value} is below {rule}")),
            "maximum" if value.as_f64() > number => return fail(format!("{value} is above {rule}")),
            "minLength" if value.as_str().map(|text| text.len() as f64) < number => return fail("too short".into()),
            "maxLength" if value.as_str().map(|text| text.len() as f64) > number => return fail("too long".into()),
            "minItems" if value.as_array().map(|list| list.len() as f64) < number => return fail("too few".into()),
            "maxItems" if value.as_array().map(|list| list.len() as f64) > number => return fail("too many".into()),
            "uniqueItems" => {
                let list = value.as_array().map_or(&[][..], Vec::as_slice);
                if list.iter().enumerate().any(|(index, item)| list[..index].contains(item)) {
                    return fail("an item stands twice".into());
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(root, rule, item, &format!("{at}[{index}]"))?;
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return fail(format!("{name} is missing"));
                    }
                }
            }
            "additionalProperties" => {
                for name in value.as_object().into_iter().flat_map(|object| object.keys()) {
                    if schema["properties"].get(name).is_none() {
                        return fail(format!("{name} is unknown"));
                    }
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        validate(root, rule, value, &format!("{at}.{name}"))?;
                    }
                }
            }
            "oneOf" => {
                let fitting = rule.as_array().unwrap().iter().filter(|rule| validate(root, rule, value, at).is_ok());
                if fitting.count() != 1 {
                    return fail(format!("{value} does not fit one of {rule}"));
                }
            }
            "const" | "enum" | "minimum" | "maximum" | "minLength" | "maxLength" | "minItems" | "maxItems" => {}
            other => panic!("the schema uses {other}"),
        }
    }
    Ok(())
}

fn follows_schema(manifest: &Value) -> Result<(), String> {
    let schema = schema();
    validate(&schema, &schema, manifest, "manifest")
}

fn follows_code(manifest: &Value) -> Result<(), String> {
    let manifest: Manifest = serde_json::from_value(manifest.clone()).map_err(|error| error.to_string())?;
    manifest.check().map_err(|error| error.to_string())
}

fn text() -> impl Strategy<Value = String> {
    "[a-z_.]{1,12}|[^\\p{C}]{1,6}"
}

fn symbols() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(text(), 1..5).prop_map(|set| set.into_iter().collect())
}

fn finite() -> impl Strategy<Value = f64> {
    prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL
}

fn derive() -> impl Strategy<Value = Derive> {
    prop_oneof![
        (text(), text()).prop_map(|(of, text)| Derive::StartsWith { of, text }),
        (text(), text()).prop_map(|(of, text)| Derive::EndsWith { of, text }),
        (text(), text()).prop_map(|(of, text)| Derive::Contains { of, text }),
        (text(), text()).prop_map(|(of, id)| Derive::Includes { of, id }),
        text().prop_map(|of| Derive::Age { of }),
        Just(Derive::MinuteOfDay),
        Just(Derive::DayOfWeek),
        Just(Derive::EpochSeconds),
        (text(), text()).prop_map(|(a, b)| Derive::Dot { a, b }),
        (text(), text()).prop_map(|(a, b)| Derive::Cosine { a, b }),
    ]
}

/// Type, symbols, length and a default that fits them.
fn typed() -> impl Strategy<Value = (Kind, Vec<String>, Option<u32>, Scalar)> {
    prop_oneof![
        finite().prop_map(|default| (Kind::Number, vec![], None, Scalar::Number(default))),
        any::<bool>().prop_map(|default| (Kind::Flag, vec![], None, Scalar::Flag(default))),
        symbols().prop_map(|symbols| (Kind::Symbol, symbols.clone(), None, Scalar::Text(symbols[0].clone()))),
        (1..100u32, finite()).prop_map(|(len, default)| (Kind::Vector, vec![], Some(len), Scalar::Number(default))),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let scope = prop_oneof![Just(Scope::Shared), Just(Scope::Candidate)];
    (text(), scope, typed(), 0..3, prop::option::of(derive())).prop_map(
        |(name, scope, (kind, symbols, len, default), missing, derive)| {
            let missing = match missing {
                0 => Missing::Word(MissingWord::NoMatch),
                1 => Missing::Word(MissingWord::Error),
                _ => Missing::Default { default },
            };
            Input { name, scope, kind, symbols, len, missing, derive }
        },
    )
}

fn output() -> impl Strategy<Value = Output> {
    let named = |name: &str, kind| Output { name: name.into(), kind, symbols: vec![], min: None };
    prop_oneof![
        prop::option::of(finite()).prop_map(move |min| Output { min, ..named("score", Kind::Number) }),
        Just(named("eligible", Kind::Flag)),
        Just(named("boost", Kind::Number)),
        Just(named("pin", Kind::Number)),
        Just(named("row", Kind::Number)),
        ("v_[a-z]{1,9}", symbols()).prop_map(move |(name, symbols)| Output { symbols, ..named(&name, Kind::Symbol) }),
    ]
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let source = (text(), prop::option::of(text()), prop::option::of(text()))
        .prop_map(|(kind, made_by, digest)| Source { kind, made_by, digest });
    (
        text(),
        prop::collection::vec(input(), 0..6),
        prop::collection::vec(output(), 1..4),
        prop::option::of(source),
        (1..=65_536u32, any::<u64>()),
        any::<bool>(),
    )
        .prop_map(|(name, inputs, outputs, source, (rows, memory_bytes), browser)| Manifest {
            manifest: MANIFEST_VERSION,
            name,
            inputs,
            outputs,
            source,
            limits: Limits { rows, memory_bytes },
            browser,
        })
}

/// `no-match` is what is meant when nothing is said, and it is not written.
fn as_read(mut manifest: Manifest) -> Manifest {
    for input in &mut manifest.inputs {
        if input.missing == Missing::Word(MissingWord::NoMatch) {
            input.missing = Missing::Unsaid;
        }
    }
    manifest
}

proptest! {
    #[test]
    fn a_manifest_reads_back_as_written_and_follows_the_schema(manifest in manifest()) {
        let json = serde_json::to_string(&manifest).unwrap();
        prop_assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), as_read(manifest));
        prop_assert_eq!(follows_schema(&serde_json::from_str(&json).unwrap()), Ok(()));
    }
}

#[test]
fn what_the_schema_refuses_the_code_refuses() {
    let good = || {
        json!({
            "manifest": 1, "name": "m", "browser": true, "source": {"kind": "rust"},
            "inputs": [
                {"name": "a", "scope": "shared", "type": "symbol", "symbols": ["x", "y"], "missing": {"default": "y"}},
                {"name": "b", "scope": "candidate", "type": "vector", "len": 3},
                {"name": "c", "scope": "shared", "type": "flag", "derive": {"fn": "contains", "of": "a", "text": "x"}},
            ],
            "outputs": [{"name": "score", "type": "number", "min": 0}],
            "limits": {"rows": 10, "memory_bytes": 0},
        })
    };
    assert_eq!((follows_schema(&good()), follows_code(&good())), (Ok(()), Ok(())));
    let edits: [(&str, Value); 16] = [
        ("/manifest", json!(2)),
        ("/name", json!(7)),
        ("/inputs/0/name", json!("")),
        ("/inputs/0/name", json!("x".repeat(201))),
        ("/inputs/0/scope", json!("request")),
        ("/inputs/0/type", json!("text")),
        ("/inputs/0/symbols", json!(["x", "x"])),
        ("/inputs/0/missing", json!("ignore")),
        ("/inputs/0/missing", json!({"default": 1, "else": 2})),
        ("/inputs/1/len", json!(0)),
        ("/inputs/2/derive", json!({"fn": "matches", "of": "a", "text": "x"})),
        ("/inputs/2/derive", json!({"fn": "dot", "a": "a"})),
        ("/outputs", json!([])),
        ("/outputs/0/type", json!("vector")),
        ("/limits/rows", json!(0)),
        ("/limits/memory_bytes", json!(-1)),
    ];
    for (at, value) in edits {
        let mut manifest = good();
        *manifest.pointer_mut(at).unwrap() = value.clone();
        assert!(follows_schema(&manifest).is_err(), "the schema takes {at} = {value}");
        assert!(follows_code(&manifest).is_err(), "the code takes {at} = {value}");
    }
    for name in ["manifest", "name", "inputs", "outputs", "limits"] {
        let mut manifest = good();
        manifest.as_object_mut().unwrap().remove(name);
        assert!(follows_schema(&manifest).is_err() && follows_code(&manifest).is_err(), "{name} is not needed");
    }
    let mut manifest = good();
    manifest["surprise"] = json!(1);
    assert!(follows_schema(&manifest).is_err() && follows_code(&manifest).is_err());
}
