#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::Path;

use selvedge_decision::layout::{FeatureKind, RowLayout};
use serde_json::json;

use super::*;

/// A file that one of the libraries wrote which people write Parquet with; tests/python/parquet_rows.py has them all.
fn file(name: &str) -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/parquet");
    std::fs::read(folder.join(format!("{name}.parquet"))).unwrap().into()
}

fn rows(bytes: Bytes) -> Vec<Result<(String, Option<Value>), String>> {
    let file = Parquet::new(bytes, None).unwrap();
    let shown = |row: FileRow| (row.entity, row.json.map(|json| serde_json::from_slice(&json).unwrap()));
    file.rows().unwrap().map(|row| row.map(shown).map_err(|bad| bad.to_string())).collect()
}

#[test]
fn rows_are_the_same_whoever_wrote_them() {
    const TIME_US: i64 = 1_795_421_730_250_001;
    let expected = [
        Ok((
            "u-1".to_owned(),
            Some(json!({"_time": TIME_US, "bought": ["a", "b"], "count": 7, "segment": "vip", "seen": TIME_US,
                "taste": [0.5, -1.0], "value": 1.5, "vip": true})),
        )),
        Ok(("sku-1\0DE".to_owned(), Some(json!({"bought": []})))),
        Ok(("ü".to_owned(), None)),
    ];
    for name in ["pyarrow", "pandas", "polars", "duckdb", "nanos"] {
        assert_eq!(rows(file(name)), expected, "{name}");
    }
}

#[test]
fn a_column_that_can_be_no_feature_is_refused_by_its_name_and_type() {
    let check = |name: &str, expected: &str| {
        let why = Parquet::new(file(&format!("refused_{name}")), None).err().expect(name);
        assert!(why.starts_with(&format!("column {expected}; expected ")), "{name}: {why}");
    };
    check("date", "\"date\" is a date");
    check("decimal", "\"decimal\" is a decimal");
    check("binary", "\"binary\" is binary");
    check("struct", "\"struct\" is a struct");
    check("nested", "\"nested\" is a list of which each element is a list of which each element is a float");
    check("flags", "\"flags\" is a list of which each element is a boolean");
    check("key", "\"_key\" is an integer");
}

#[test]
fn a_file_that_is_compressed_otherwise_or_has_an_index_is_refused_with_what_to_do() {
    let check = |name: &str, expected: &str| {
        let why = Parquet::new(file(name), None).err().expect(name);
        assert!(why.contains(expected), "{name}: {why}");
    };
    check("refused_gzip", "compressed with gzip, which is not read; write it with compression=\"zstd\"");
    check("refused_lz4", "compressed with LZ4");
    check("refused_index", "column \"__index_level_0__\": of names with `_` only");
    check("refused_index", "index=False");
}

#[test]
fn a_column_that_the_view_does_not_have_is_refused() {
    let schema = |names: &[&str]| {
        let features = names.iter().map(|name| ((*name).to_owned(), FeatureKind::Number, 1));
        Schema::of("user", RowLayout::new(features), None)
    };
    let all = ["bought", "count", "segment", "seen", "taste", "value", "vip"];
    assert!(Parquet::new(file("polars"), Some(&schema(&all))).is_ok());
    let why = Parquet::new(file("polars"), Some(&schema(&all[1..]))).err().unwrap();
    assert!(why.starts_with("column \"bought\": view \"user\" has no such feature"), "{why}");
}

#[test]
fn what_is_no_number_is_missing_and_what_no_row_can_hold_is_refused() {
    let check = |field: Field, expected: Result<Option<Value>, &str>| {
        assert_eq!(value(Kind::Float, field).as_ref().map_err(String::as_str), expected.as_ref().map_err(|why| *why));
    };
    check(Field::Double(f64::NAN), Ok(None));
    check(Field::Float(0.1), Ok(Some(json!(0.100_000_001_490_116_12))));
    check(Field::Double(f64::INFINITY), Err("inf is no number that a row can hold"));
    assert_eq!(time_us(Unit::Nanos, &Field::Long(-1)), Ok(-1), "cut off towards the past");
    assert!(time_us(Unit::Millis, &Field::TimestampMillis(i64::MAX)).is_err());
}

#[test]
fn a_broken_file_is_told_and_breaks_nothing() {
    let whole = file("pyarrow");
    for at in (0..whole.len()).step_by(7) {
        assert!(Parquet::new(whole.slice(..at), None).is_err(), "cut at {at}");
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0xff;
        if let Ok(file) = Parquet::new(bytes.into(), None)
            && let Ok(rows) = file.rows()
        {
            assert!(rows.take(1_000).count() < 1_000, "changed at {at}");
        }
    }
}
