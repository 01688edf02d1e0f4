//! What the notations mean, and their mistakes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;

/// The ids, vectors and metric of a file; or words of the error.
#[track_caller]
fn check(text: &str, expected: Result<(&[&str], &[f64], bool), &str>) {
    assert!(expected.is_err() || is_one(text.as_bytes()), "told by its content");
    let result = read(text.as_bytes(), None);
    match expected {
        Ok((ids, values, metric)) => {
            let pipeline = result.unwrap();
            let [id, user] = &pipeline.inputs[..] else { panic!("{:?}", pipeline.inputs) };
            assert_eq!((id.name.as_str(), id.scope(), id.symbols.as_slice()), (ID, Scope::Candidate, &owned(ids)[..]));
            assert_eq!((user.name.as_str(), user.scope(), user.len), (USER, Scope::Shared, Some(2)));
            let Step::Embedding { vectors, cosine, columns, .. } = &pipeline.steps[0] else { panic!() };
            assert_eq!((vectors.as_slice(), *cosine, columns.as_slice()), (values, metric, &[1, 2][..]));
        }
        Err(why) => {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(why), "{error}; expected {why:?}");
        }
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn both_notations_say_the_same() {
    let lines = "{\"id\":\"a\",\"vector\":[1,-2.5]}\n\n{\"vector\":[0,1e-3],\"id\":7}\n";
    check(lines, Ok((&["a", "7"], &[1.0, -2.5, 0.0, 1e-3], false)));
    let csv = "id,v0,v1\na,1,-2.5\r\n\"7\", 0,1e-3\n";
    check(csv, Ok((&["a", "7"], &[1.0, -2.5, 0.0, 1e-3], false)));
    check("id,x,y\n\"a, \"\"b\"\"\",1,2\n", Ok((&["a, \"b\""], &[1.0, 2.0], false)));
}

#[test]
fn for_a_cosine_the_vectors_get_length_1() {
    check("{\"metric\":\"cosine\"}\n{\"id\":\"a\",\"vector\":[3,4]}\n", Ok((&["a"], &[0.75 / 1.25, 0.8], true)));
    check("# metric: cosine\nid,v0,v1\na,0,0\nb,1e30,0\n", Ok((&["a", "b"], &[0.0, 0.0, 1.0, 0.0], true)));
}

#[test]
fn mistakes_name_the_line() {
    check(
        "{\"id\":\"a\",\"vector\":[1,2]}\n{\"id\":\"a\",\"vector\":[1,2]}",
        Err("line 2: the id \"a\" stands in line 1"),
    );
    check(
        "{\"id\":\"a\",\"vector\":[1,2]}\n{\"id\":\"b\",\"vector\":[1]}",
        Err("line 2: a vector of 1 numbers, those"),
    );
    check("{\"id\":\"a\",\"vector\":[]}", Err("line 1: a vector of 0 numbers"));
    check("{\"id\":\"\",\"vector\":[1]}", Err("line 1: the id is empty"));
    check("{\"id\":\"a\",\"vector\":[1,1e39]}", Err("line 1: number 1 of the vector"));
    check("{\"id\":\"a\",\"vector\":[1,null]}", Err("line 1, vector[1]: invalid type: null, expected f64, column 26"));
    check("{\"id\":null,\"vector\":[1]}", Err("an id is a text or an integer"));
    check("{\"id\":\"a\",\"vector\":[1]", Err("line 1"));
    check("{\"id\":\"a\",\"vector\":[1],\"bias\":2}", Err("unknown field `bias`"));
    check("{\"metric\":\"euclid\"}", Err("line 1, metric: unknown variant `euclid`, expected `dot` or `cosine`"));
    check("{\"metric\":\"dot\"}", Err("no vector"));
    check("id,v0\na,1\na,2\n", Err("line 3: the id \"a\" stands in line 2"));
    check("id,v0\na,one\n", Err("line 2: column 1: \"one\" is no number"));
    check("id,v0\na\n", Err("line 2: an id without a vector"));
    check("id,v0\n\"a,1\n", Err("quotes do not end"));
    check("id,v0\n\"a\"1\n", Err("a comma is expected"));
    check("id,v0\na,NaN\n", Err("beyond the range of f32"));
    check("# metric: taxi\nid,v0\na,1\n", Err("line 1: metric \"taxi\""));
    check("id,v0\n", Err("no vector"));
}

#[test]
fn more_vectors_than_symbols_are_refused() {
    let csv: String =
        std::iter::once("id,v0\n".to_owned()).chain((0..=MAX_SYMBOLS).map(|i| format!("{i},1\n"))).collect();
    check(&csv, Err("line 65538: more than 65536 vectors"));
}

#[test]
fn inputs_can_be_renamed() {
    let names = |given: &[&str]| {
        let pipeline = read(b"id,v0\na,1\n", Some(&owned(given)))?;
        Ok::<_, BadModel>(pipeline.inputs.into_iter().map(|input| input.name).collect::<Vec<_>>())
    };
    assert_eq!(names(&["user.taste"]).unwrap(), ["candidate.id", "user.taste"]);
    assert_eq!(names(&["item.brand", "user.taste"]).unwrap(), ["item.brand", "user.taste"]);
    assert!(names(&["a", "b", "c"]).is_err());
}
