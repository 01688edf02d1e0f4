#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::features::row::tests::{layout, reader};

fn written(json: &str) -> Vec<u8> {
    BinaryWriter::new(Arc::new(layout())).write(json.as_bytes()).unwrap()
}

/// What a row comes to: its cells, its time, what is wrong and what was cut.
fn read(reader: &mut RowReader, row: &[u8]) -> Result<(Vec<u64>, Option<TimeUs>, u32, u32), String> {
    reader.read(row).map(|row| (row.cells.to_vec(), row.time_us, row.wrong, row.cut)).map_err(|error| error.to_string())
}

#[test]
fn the_bytes_are_those_of_the_documentation() {
    let layout = RowLayout::new([
        ("bought".to_owned(), FeatureKind::Ids, 20),
        ("price".to_owned(), FeatureKind::Number, 1),
        ("segment".to_owned(), FeatureKind::Symbol, 1),
        ("taste".to_owned(), FeatureKind::Vector, 2),
    ]);
    let writer = BinaryWriter::new(Arc::new(layout.clone()));
    let row = br#"{"_time":1,"segment":"vip","price":1.5,"bought":["a","bc"],"_key":"u-1"}"#;
    let expected = [
        &[0xfb, 1][..],
        // hashlib.sha256(b"bought:ids:20\nprice:number:1\nsegment:symbol:1\ntaste:vector:2\n").digest()[:8]
        &[0xac, 0x65, 0xde, 0x8f, 0x13, 0x0a, 0xaf, 0x71],
        &[1],
        &1i64.to_le_bytes(),
        &[0b0111],
        &[2, 1, b'a', 2, b'b', b'c'],
        &1.5f64.to_le_bytes(),
        &[3, b'v', b'i', b'p'],
    ];
    assert_eq!(writer.write(row).unwrap(), expected.concat());
    assert_eq!(schema_of(&expected.concat()), Some(SchemaHash::of(&layout)));
    let long = format!("{{\"segment\":\"{}\"}}", "x".repeat(300));
    assert_eq!(&writer.write(long.as_bytes()).unwrap()[10..15], &[0, 0b0100, 0xac, 0x02, b'x']);
}

#[test]
fn a_broken_row_is_refused_and_says_why() {
    let whole = written(
        r#"{"_time":5,"category":"shoes","price":9.5,"taste":[1,2,3],"bought":["a"],"note":"x","in_stock":true}"#,
    );
    let mut reader = reader();
    read(&mut reader, &whole).unwrap();
    for end in 0..whole.len() {
        assert!(read(&mut reader, &whole[..end]).is_err(), "cut at {end}");
    }
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    let mut refused = |bytes: &[u8], expected: &str| {
        let why = read(&mut reader, bytes).expect_err(expected);
        assert!(why.contains(expected), "{why}");
    };
    refused(&[&whole[..], &[0]].concat(), "behind its last value");
    refused(&changed(1, 2), "another version");
    refused(&changed(2, whole[2] ^ 1), "another schema");
    refused(&changed(10, 3), "flags");
    // Eight features: the map has no spare bits; in-range text that is no UTF-8 is refused as a whole.
    let text = whole.iter().position(|byte| *byte == b's').unwrap();
    refused(&changed(text, 0xff), "not UTF-8");
    refused(&changed(text - 1, 0xff), "too");
}

#[test]
fn a_value_that_is_none_is_missing_and_counted_and_the_rest_is_taken() {
    let check = |json: &str, from: &[u8], to: &[u8], expected: &str| {
        let mut bytes = written(json);
        let at = bytes.windows(from.len()).rposition(|window| window == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        let mut reader = reader();
        let expected = read(&mut reader, expected.as_bytes()).map(|(cells, time, _, cut)| (cells, time, 1, cut));
        assert_eq!(read(&mut reader, &bytes), expected, "{json}");
    };
    check(r#"{"price":9.5,"weight":1}"#, &9.5f64.to_le_bytes(), &f64::NAN.to_le_bytes(), r#"{"weight":1}"#);
    check(r#"{"price":9.5,"weight":7}"#, &7f32.to_le_bytes(), &f32::INFINITY.to_le_bytes(), r#"{"price":9.5}"#);
    check(r#"{"in_stock":true,"price":9.5}"#, &[1, 0, 0, 0], &[2], r#"{"price":9.5}"#);
    check(r#"{"since":77,"price":1}"#, &77i64.to_le_bytes(), &i64::MIN.to_le_bytes(), r#"{"price":1}"#);
    check(r#"{"taste":[1,2,3],"price":1}"#, &2f32.to_le_bytes(), &f32::NAN.to_le_bytes(), r#"{"price":1}"#);
}

#[test]
fn what_cannot_be_written_is_told() {
    let writer = BinaryWriter::new(Arc::new(layout()));
    let check = |json: &str, expected: &str| {
        assert_eq!(writer.write(json.as_bytes()).unwrap_err().to_string(), expected, "{json}");
    };
    check(r#"{"price":"1"}"#, "\"price\": not what a number is");
    check(r#"{"taste":[1,2]}"#, "\"taste\": not what a vector is");
    check(r#"{"weight":1e300}"#, "\"weight\": not what a f32 is");
    check(r#"{"bought":["a",1]}"#, "\"bought\": not what a list of ids is");
    check(r#"{"_time":"soon"}"#, "\"_time\": not what a time is");
    check(r#"{"colour":1}"#, "\"colour\": the view has no such feature");
    assert!(writer.write(b"[]").is_err());
}

#[test]
fn a_row_is_shown_as_it_was_written() {
    let row = json!({"_time":5,"bought":["a","b","c"],"category":"x","in_stock":false,"note":"n","price":0.1,"since":7,
        "taste":[0.1,-2.0,3.0],"weight":0.1});
    assert_eq!(to_json(&written(&row.to_string()), &layout()).unwrap(), row.to_string());
    assert_eq!(to_json(&written("{}"), &layout()).unwrap(), "{}");
    let other = RowLayout::new([("price".to_owned(), FeatureKind::Number, 1)]);
    assert!(to_json(&written("{}"), &other).is_err());
}

/// Rows of right values, of any of the types.
fn row() -> impl Strategy<Value = serde_json::Value> {
    let number =
        prop_oneof![any::<i64>().prop_map(|n| json!(n)), (-1e30..1e30f64).prop_map(|n| json!(n)), Just(json!(-0.0))];
    let single = prop_oneof![any::<i32>().prop_map(|n| json!(n)), (-1e30..1e30f64).prop_map(|n| json!(n))];
    let time = prop_oneof![
        (i64::MIN + 1..).prop_map(|n| json!(n)),
        (-1e18..1e18f64).prop_map(|n| json!(n)),
        Just(json!("2026-11-23T08:15:30.25Z"))
    ];
    let text = "[a-z\u{e9}\"]{0,200}".prop_map(|text| json!(text));
    let ids = prop::collection::vec("[a-c]{0,3}", 0..5).prop_map(|ids| json!(ids));
    let taste = prop::collection::vec(single.clone(), 3).prop_map(|all| json!(all));
    let values = (
        prop::option::of(text.clone()),
        prop::option::of(any::<bool>().prop_map(|flag| json!(flag))),
        prop::option::of(number),
        prop::option::of(time.clone()),
        prop::option::of(taste),
        prop::option::of(single),
        prop::option::of(ids),
        prop::option::of(text),
        prop::option::of(time),
    );
    values.prop_map(|(category, in_stock, price, since, taste, weight, bought, note, time)| {
        let named = [
            ("category", category),
            ("in_stock", in_stock),
            ("price", price),
            ("since", since),
            ("taste", taste),
            ("weight", weight),
            ("bought", bought),
            ("note", note),
            ("_time", time),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        serde_json::Value::Object(named.collect())
    })
}

proptest! {
    #[test]
    fn both_forms_of_a_row_come_to_the_same_cells(rows in prop::collection::vec(row(), 1..4)) {
        // One reader for both: a text has one number.
        let mut reader = reader();
        for row in rows {
            let text = row.to_string();
            let json = read(&mut reader, text.as_bytes());
            let binary = read(&mut reader, &written(&text));
            prop_assert_eq!(&json, &binary, "{}", text);
            prop_assert_eq!(json.unwrap().2, 0);
            // What is shown of it is that row, too.
            let shown = to_json(&written(&text), &layout()).unwrap();
            let shown = read(&mut reader, shown.as_bytes());
            prop_assert_eq!(shown, binary);
        }
    }

    #[test]
    fn no_bytes_behind_the_head_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = reader();
        let head = &written("{}")[..10];
        reader.read(&[head, &bytes].concat()).ok();
        to_json(&[head, &bytes].concat(), &layout()).ok();
        let row = reader.read(b"{\"price\":2}").unwrap();
        prop_assert_eq!(row.cells[2], 2f64.to_bits());
    }
}
