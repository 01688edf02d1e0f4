#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::*;

/// The rows of a text: entity and JSON, or what is wrong.
fn check(layout: Option<&RowLayout>, csv: &str, expected: &[Result<(&str, &str), &str>]) {
    let schema = layout.map(|layout| Schema::of("user", layout.clone(), None));
    let read = Csv::new(csv.as_bytes(), schema.as_ref()).expect("a line of names");
    let found: Vec<_> = read
        .rows(csv)
        .map(|row| match row {
            Ok(row) => {
                let json = row.json.map(|json| String::from_utf8(json.to_vec()).unwrap());
                Ok((row.entity, json.unwrap_or_else(|| "(delete)".into())))
            }
            Err(bad) => Err(bad.to_string()),
        })
        .collect();
    let found: Vec<_> = found.iter().map(|row| row.as_ref().map(|(a, b)| (&**a, &**b)).map_err(|e| &**e)).collect();
    assert_eq!(found, expected, "{csv:?}");
}

fn layout() -> RowLayout {
    RowLayout::new([
        ("bought".to_owned(), FeatureKind::Ids, 2),
        ("code".to_owned(), FeatureKind::Symbol, 1),
        ("seen".to_owned(), FeatureKind::Time, 1),
        ("taste".to_owned(), FeatureKind::Vector, 2),
        ("value".to_owned(), FeatureKind::Number, 1),
        ("vip".to_owned(), FeatureKind::Flag, 1),
    ])
}

#[test]
fn cells_are_told_by_how_they_look() {
    check(
        None,
        "_key,b,a,_time\nu-1,1.50,true,2026-11-23T08:15:30Z\nu-2,\"x, \"\"y\"\"\",007,5\nu-3,\"[1, 2]\",False,\n\
         \"[\"\"sku-1\"\",\"\"DE\"\"]\",-1e3,[x,\n",
        &[
            Ok(("u-1", r#"{"_time":"2026-11-23T08:15:30Z","a":true,"b":1.50}"#)),
            Ok(("u-2", r#"{"_time":5,"a":"007","b":"x, \"y\""}"#)),
            Ok(("u-3", r#"{"a":false,"b":[1, 2]}"#)),
            Ok(("sku-1\0DE", r#"{"a":"[x","b":-1e3}"#)),
        ],
    );
}

#[test]
fn cells_are_told_by_the_view_where_it_is_known() {
    check(
        Some(&layout()),
        "\u{feff}_key;vip;code;value;taste;bought;seen\r\nu-1;1;007; .5 ;[1,2];\"[\"\"a\"\"]\";2026-11-23 08:15:30+01:00\r\n\
         u-2;True; x;1e3;;;1700000000000000\r\n",
        &[
            Ok((
                "u-1",
                r#"{"bought":["a"],"code":"007","seen":"2026-11-23 08:15:30+01:00","taste":[1,2],"value":0.5,"vip":true}"#,
            )),
            Ok(("u-2", r#"{"code":" x","seen":1700000000000000,"value":1e3,"vip":true}"#)),
        ],
    );
}

#[test]
fn a_wrong_cell_is_told_with_line_and_column_and_the_rest_is_taken() {
    check(
        Some(&layout()),
        "_key;value;vip;taste;bought;seen\n\
         u-1;1,5;;;;\nu-2;;yes;;;\nu-3;;;[1];;\nu-4;;;;a,b;\nu-5;;;;;soon\n\"u\n6\";NaN;;;;\nu-7;7;;;;\nu-8;8\n\n;1;;;;\nu-9;1;;;;;;\nu-10;1;;;;;x\n",
        &[
            Err("line 2, column 2: value: \"1,5\" is not a number"),
            Err("line 3, column 3: vip: \"yes\" is not true or false"),
            Err("line 4, column 4: taste: \"[1]\" is not a list of 2 numbers"),
            Err("line 5, column 5: bought: \"a,b\" is not a list of texts"),
            Err("line 6, column 6: seen: \"soon\" is not a time: RFC 3339, or whole microseconds since 1970"),
            Err("line 7, column 2: value: \"NaN\" is not a number"),
            Ok(("u-7", r#"{"value":7}"#)),
            Err("line 10: 2 cells, but 6 names in the first line"),
            Err("line 12, column 1: _key: an entity's name is empty"),
            Ok(("u-9", r#"{"value":1}"#)),
            Err("line 14: 7 cells, but 6 names in the first line"),
        ],
    );
    check(
        None,
        "_key,_time,_delete\na,,true\nb,soon,\nc,,maybe\nd,,0\n\"e\n",
        &[
            Ok(("a", "(delete)")),
            Err("line 3, column 2: _time: \"soon\" is not a time: RFC 3339, or whole microseconds since 1970"),
            Err("line 4, column 3: _delete: \"maybe\" is not true or false"),
            Ok(("d", "{}")),
            Err("line 6: a quote is opened and not closed: close the quote"),
        ],
    );
}

#[test]
fn a_line_of_names_that_means_nothing_is_refused() {
    let check =
        |csv: &[u8], expected: &str| assert_eq!(Csv::new(csv, None).err().as_deref(), Some(expected), "{csv:?}");
    check(b"", "no line names the columns; begin with such as `_key,price,stock`");
    check(b"key,price\n", "line 1: no column _key says whom a row is about");
    check(b"\n,_key,price\n", "line 2, column 1: the column has no name (pandas: to_csv(…, index=False))");
    check(b"_key,a,a\n", "line 1, column 3: \"a\" stands twice");
    check(
        b"_key,_tiem\n",
        "line 1, column 2: \"_tiem\": of names with `_` only _key, _time and _delete mean something",
    );
    check(b"_key\na\n\xff\n", "line 3: not UTF-8; save it as \"CSV UTF-8\"");
    check(b"\"_key\n", "line 1: a quote is opened and not closed: close the quote");
    let schema = Schema::of("user", layout(), None);
    assert_eq!(
        Csv::new(b"_key,vlaue\n", Some(&schema)).err().as_deref(),
        Some("line 1, column 2: \"vlaue\": view \"user\" has no such feature; did you mean \"value\"?"),
    );
}
