//! What serde says of a value that does not fit, said again for people who write files: in the words of the files, not in Rust's. Owns
//! those words; knows no file of ours but the untagged shapes, of which serde alone would say only that nothing fitted.

pub(super) const UNTAGGED: &str = "data did not match any variant of untagged enum ";

/// Serde's message about a value of another type, size or shape, in words; `None` for any other message.
pub fn in_words(message: &str) -> Option<String> {
    untagged(message).or_else(|| {
        let (found, expected) = message.rsplit_once(", expected ")?;
        let found = match found.strip_prefix("invalid length ") {
            Some(length) => format!("a list of {length}"),
            None => value(found.strip_prefix("invalid type: ").or_else(|| found.strip_prefix("invalid value: "))?),
        };
        Some(format!("found {found}, but {} was expected", kind(expected)))
    })
}

/// What serde says of an untagged shape, said again so that it helps; `None` for any other message.
pub(crate) fn untagged(message: &str) -> Option<String> {
    let expected = match message.strip_prefix(UNTAGGED)? {
        "FeatureDef" => "a type such as \"number\", or a table such as { type = \"number\", default = 0.0 }",
        "By" => "an entity such as \"subject\", or a pair such as [\"item\", \"context.market\"]",
        "Fallback" => "a list of ids, or a table such as { by = \"item.popularity\" }",
        "ModelFeature" => {
            "a name such as \"context.cart_value\", or a table such as { of = \"context.cart_value\", center = 50.0, scale = 25.0 }"
        }
        "Scalar" => "a number, true, false or a text in quotes",
        "Payload" => "a text, a number, true, false, a list or a table",
        "Missing" => "\"no-match\", \"error\", or a default such as { default = 0.0 }",
        _ => return None,
    };
    Some(format!("expected {expected}"))
}

fn value(found: &str) -> String {
    let kinds = [("floating point ", "the number "), ("string ", "the text "), ("boolean ", "")];
    let told = kinds.iter().find_map(|(kind, word)| Some(format!("{word}{}", found.strip_prefix(kind)?)));
    told.unwrap_or_else(|| match found {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        other => format!("the {other}"),
    })
}

fn kind(expected: &str) -> String {
    let whole = |most: u64| format!("a whole number from 0 to {most}");
    let word = match expected {
        "u8" => return whole(u8::MAX.into()),
        "u16" => return whole(u16::MAX.into()),
        "u32" => return whole(u32::MAX.into()),
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => return other.replace("an array of length ", "a list of "),
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_in_the_words_of_the_files() {
        let check =
            |message: &str, expected: &str| assert_eq!(in_words(message).as_deref(), Some(expected), "{message}");
        check(
            "invalid value: integer `-1`, expected u16",
            "found the integer `-1`, but a whole number from 0 to 65535 was expected",
        );
        check(
            "invalid value: integer `-1`, expected usize",
            "found the integer `-1`, but a whole number, 0 or more was expected",
        );
        check(
            "invalid type: floating point `0.5`, expected u8",
            "found the number `0.5`, but a whole number from 0 to 255 was expected",
        );
        // What is told of the value may look like the words around it.
        check(
            "invalid type: string \"a, expected b\", expected f64",
            "found the text \"a, expected b\", but a number was expected",
        );
        check("invalid type: sequence, expected a boolean", "found a list, but true or false was expected");
        check("invalid type: boolean `true`, expected struct Guard", "found `true`, but a table was expected");
        check("invalid type: map, expected a sequence", "found a table, but a list was expected");
        check("invalid length 3, expected an array of length 2", "found a list of 3, but a list of 2 was expected");
        check(
            "invalid type: integer `7`, expected socket address",
            "found the integer `7`, but socket address was expected",
        );
        for other in ["\"x\" is not a time such as 5ms", "unclosed array, expected `]`", ""] {
            assert_eq!(in_words(other), None);
        }
    }
}
