#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use selvedge_decision::layout::{NO_IDS, NO_SYMBOL, NO_TIME, OTHER_SYMBOL, id_hash, unpack};
use serde_json::{Value, json};

use super::*;
use crate::features::symbols::SymbolLimits;

pub(super) fn layout() -> RowLayout {
    RowLayout::new([
        ("category".to_owned(), FeatureKind::Symbol, 1),
        ("in_stock".to_owned(), FeatureKind::Flag, 1),
        ("price".to_owned(), FeatureKind::Number, 1),
        ("since".to_owned(), FeatureKind::Time, 1),
        ("taste".to_owned(), FeatureKind::Vector, 3),
        ("weight".to_owned(), FeatureKind::F32, 1),
        ("bought".to_owned(), FeatureKind::Ids, 2),
        ("note".to_owned(), FeatureKind::Text, 1),
    ])
}

pub(super) fn reader() -> RowReader {
    RowReader::new(Arc::new(layout()), Arc::new(Symbols::new(SymbolLimits { symbols: 3, text_bytes: 20 })))
}

/// Cells as people see them.
fn shown(reader: &RowReader, cells: &[u64]) -> Value {
    let number = |number: f64| if number.is_nan() { Value::Null } else { json!(number) };
    let one = |field: &Field| {
        let own = &cells[field.cell as usize..][..field.cells()];
        match field.kind {
            FeatureKind::Number | FeatureKind::Flag => number(f64::from_bits(own[0])),
            FeatureKind::Time if own[0] == NO_TIME => Value::Null,
            FeatureKind::Time => json!(own[0] as i64),
            FeatureKind::Text => Value::Null,
            FeatureKind::Ids if own[0] == NO_IDS => Value::Null,
            FeatureKind::Ids => {
                let name = |cell: &u64| ["a", "b", "c"].into_iter().find(|id| id_hash(id) == *cell);
                own.iter().filter_map(name).map(Value::from).collect()
            }
            FeatureKind::F32 => number(f64::from(f32::from_bits(own[0] as u32))),
            FeatureKind::Symbol if own[0] == NO_SYMBOL => Value::Null,
            FeatureKind::Symbol if own[0] == OTHER_SYMBOL => json!("(other)"),
            FeatureKind::Symbol => json!(&*reader.symbols.text(own[0] as u32).unwrap()),
            FeatureKind::Vector => {
                let all = own.iter().flat_map(|cell| unpack(*cell)).take(field.len as usize);
                Value::Array(all.map(|component| number(f64::from(component))).collect())
            }
        }
    };
    let fields = reader.layout.fields();
    Value::Object(fields.iter().map(|field| (field.name.clone(), one(field))).filter(|(_, v)| !v.is_null()).collect())
}

/// What a row says after it was read: its values (a vector always tells its components), time, wrong and unknown.
fn check(json: &str, expected: Value, time_us: Option<TimeUs>, wrong: u32, unknown: u32) {
    let mut reader = reader();
    // A row before it must leave nothing behind.
    let before =
        r#"{"category":"x","in_stock":true,"price":1,"since":1,"taste":[9,9,9],"weight":9,"bought":["c"],"_time":9}"#;
    reader.read(before.as_bytes()).unwrap();
    let (cells, counts) = {
        let row = reader.read(json.as_bytes()).unwrap();
        (row.cells.to_vec(), (row.time_us, row.wrong, row.unknown))
    };
    let mut expected = expected;
    if expected.get("taste").is_none() {
        expected["taste"] = json!([null, null, null]);
    }
    assert_eq!(shown(&reader, &cells), expected, "{json}");
    assert_eq!(counts, (time_us, wrong, unknown), "{json}");
}

#[test]
fn values_of_the_right_type_are_taken() {
    check("{}", json!({}), None, 0, 0);
    check(
        r#"{"price":9.95,"category":"shoes","in_stock":false,"taste":[1,-2.5,3e2],"weight":0.1,"since":1700000000000001}"#,
        json!({"price":9.95,"category":"shoes","in_stock":0.0,"taste":[1.0,-2.5,300.0],
               "weight":0.10000000149011612,"since":1700000000000001_i64}),
        None,
        0,
        0,
    );
    check(r#"{"since":"1970-01-01T00:00:01Z","price":-3}"#, json!({"since":1_000_000,"price":-3.0}), None, 0, 0);
    check(r#"{"price":1,"price":2}"#, json!({"price":2.0}), None, 0, 0);
    check("{\"cat\\u0065gory\":\"s\\n\"}", json!({"category":"s\n"}), None, 0, 0);
    check(r#"{"price":null,"category":null,"taste":null,"weight":null}"#, json!({}), None, 0, 0);
    check(r#"{"since":1.5e15,"price":1}"#, json!({"since":1_500_000_000_000_000_i64,"price":1.0}), None, 0, 0);
    check(r#"{"bought":["a","b"],"note":"anything"}"#, json!({"bought":["a","b"]}), None, 0, 0);
    check(r#"{"bought":[],"note":null}"#, json!({"bought":[]}), None, 0, 0);
    check(r#"{"price":0.1,"weight":16777217}"#, json!({"price":0.1,"weight":16777216.0}), None, 0, 0);
}

#[test]
fn the_time_of_a_row_is_read_beside_its_values() {
    check(r#"{"_time":"2026-11-23T08:15:30Z","price":1}"#, json!({"price":1.0}), Some(1_795_421_730_000_000), 0, 0);
    check(r#"{"_time":1795421730000000}"#, json!({}), Some(1_795_421_730_000_000), 0, 0);
    check(r#"{"_time":"yesterday","_key":"sku-1","_other":[1]}"#, json!({}), None, 1, 0);
    check(r#"{"_time":{"a":1}}"#, json!({}), None, 1, 0);
}

#[test]
fn a_wrong_type_is_missing_and_counted_and_the_rest_is_taken() {
    check(r#"{"price":"9.95","category":5,"in_stock":1,"weight":true}"#, json!({}), None, 4, 0);
    check(r#"{"price":[1,2],"category":{"a":[{}]},"in_stock":"true"}"#, json!({}), None, 3, 0);
    check(r#"{"taste":[1,2],"price":1}"#, json!({"price":1.0}), None, 1, 0);
    check(r#"{"taste":[1,2,3,4],"price":1}"#, json!({"price":1.0}), None, 1, 0);
    check(r#"{"taste":[1,null,3],"price":1}"#, json!({"price":1.0}), None, 1, 0);
    check(r#"{"taste":[1,[2],"3"],"price":1}"#, json!({"price":1.0}), None, 1, 0);
    check(r#"{"taste":[1e300,2,3],"weight":1e300}"#, json!({}), None, 2, 0);
    check(r#"{"taste":7,"since":"soon"}"#, json!({}), None, 2, 0);
    check(r#"{"since":1e300,"price":1}"#, json!({"price":1.0}), None, 1, 0);
    check(r#"{"bought":["a",1],"price":1}"#, json!({"price":1.0}), None, 1, 0);
    check(r#"{"bought":"a","note":1,"price":1}"#, json!({"price":1.0}), None, 2, 0);
}

#[test]
fn a_list_that_is_too_long_keeps_its_first_ids_and_is_counted() {
    let mut reader = reader();
    let (cells, counts) = {
        let row = reader.read(br#"{"bought":["c","a","b",7,"a"],"price":1}"#).unwrap();
        (row.cells.to_vec(), (row.wrong, row.cut))
    };
    assert_eq!(shown(&reader, &cells)["bought"], json!(["c", "a"]));
    assert_eq!(shown(&reader, &cells)["price"], json!(1.0), "what follows is read");
    assert_eq!(counts, (0, 1));
}

#[test]
fn unknown_names_are_left_out_and_counted() {
    check(r#"{"colour":"red","deep":{"a":[1,{"b":2}]},"price":1}"#, json!({"price":1.0}), None, 0, 2);
}

#[test]
fn texts_beyond_the_limit_are_other() {
    let mut reader = reader();
    for (text, expected) in [("a", 0), ("b", 1), ("c", 2), ("d", OTHER_SYMBOL), ("a", 0)] {
        let row = format!("{{\"category\":\"{text}\"}}");
        assert_eq!(reader.read(row.as_bytes()).unwrap().cells[0], expected);
    }
    let long = format!("{{\"category\":\"{}\"}}", "x".repeat(21));
    assert_eq!(reader.read(long.as_bytes()).unwrap().cells[0], OTHER_SYMBOL);
}

#[test]
fn what_is_no_object_is_refused() {
    let mut reader = reader();
    for bytes in [
        &b""[..],
        b"null",
        b"[]",
        b"1",
        b"\"x\"",
        b"{",
        b"{\"price\":1",
        b"{\"price\":1}x",
        b"{\"price\":01}",
        b"{price:1}",
        b"{\"category\":\"\xff\"}",
        b"{\"price\":1e999}",
        b"{\"price\":NaN}",
        b"{\"a\":1,}",
    ] {
        assert!(reader.read(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
    }
    let deep = format!("{{\"a\":{}}}", "[".repeat(100_000));
    assert!(reader.read(deep.as_bytes()).is_err(), "deep nesting neither overflows the stack nor counts");
}

/// The same by a tree of values.
fn by_tree(reader: &RowReader, value: &Value) -> (Vec<u64>, u32, u32) {
    let (mut cells, mut wrong, mut unknown) = (reader.layout.missing_row(), 0, 0);
    for (name, value) in value.as_object().unwrap() {
        let Some(field) = reader.layout.field(name) else {
            unknown += u32::from(!name.starts_with('_'));
            continue;
        };
        let own = &mut cells[field.cell as usize..][..field.cells()];
        match (field.kind, value) {
            (_, Value::Null) => {}
            (FeatureKind::Number, Value::Number(n)) => own[0] = n.as_f64().unwrap().to_bits(),
            (FeatureKind::Time, Value::Number(n)) => own[0] = n.as_f64().unwrap() as i64 as u64,
            (FeatureKind::Text, Value::String(_)) => {}
            (FeatureKind::Ids, Value::Array(all)) if all.iter().take(3).all(Value::is_string) => {
                own.fill(0);
                own.iter_mut().zip(all).for_each(|(cell, id)| *cell = id_hash(id.as_str().unwrap()));
            }
            (FeatureKind::F32, Value::Number(n)) => own[0] = u64::from((n.as_f64().unwrap() as f32).to_bits()),
            (FeatureKind::Flag, Value::Bool(flag)) => own[0] = f64::from(*flag).to_bits(),
            (FeatureKind::Symbol, Value::String(text)) => own[0] = u64::from(reader.symbols.intern(text)),
            (FeatureKind::Vector, Value::Array(all)) if all.len() == 3 && all.iter().all(Value::is_number) => {
                let component = |i: usize| all.get(i).map_or(f32::NAN, |n| n.as_f64().unwrap() as f32);
                own[0] = pack(component(0), component(1));
                own[1] = pack(component(2), component(3));
            }
            _ => wrong += 1,
        }
    }
    (cells, wrong, unknown)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-z]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn one_pass_reads_what_a_tree_would(
        rows in prop::collection::vec(
            prop::collection::btree_map("category|in_stock|price|since|taste|weight|bought|note|colour|_key", value(), 0..7), 1..5)
    ) {
        let mut reader = reader();
        for row in rows {
            let value = Value::Object(row.into_iter().collect());
            let text = value.to_string();
            let found = {
                let row = reader.read(text.as_bytes()).unwrap();
                (row.cells.to_vec(), row.wrong, row.unknown)
            };
            prop_assert_eq!(found, by_tree(&reader, &value), "{}", text);
        }
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = reader();
        reader.read(&bytes).ok();
        let row = reader.read(b"{\"price\":2}").unwrap();
        prop_assert_eq!(row.cells[2], 2f64.to_bits());
    }
}
