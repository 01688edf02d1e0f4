//! Cells as merchandisers write them: texts without quotes. Owns when a bare cell is a text, what is refused because it looks
//! like something else, and the way back.

use std::collections::BTreeMap;

use selvedge_decision::manifest::Kind;

use super::super::parse;
use super::super::syntax::{Binary, Node, Test};
use super::looks::{computed, is_flag};

/// Inputs by name, and their types.
pub(super) type Inputs<'n> = BTreeMap<&'n str, Kind>;

/// A cell of an input column as the language has it: in a symbol's column a bare cell is texts with commas between.
pub(super) fn input(cell: &str, kind: Kind, inputs: &Inputs<'_>) -> Result<String, String> {
    if cell.is_empty() || cell == "-" {
        return Ok(cell.to_owned());
    }
    let read = if kind == Kind::Symbol { input_texts(cell, inputs)? } else { plain_word(cell, kind)? };
    match parse::tests(&read).ok().and_then(|test| computed(&test).cloned()) {
        None => Ok(read),
        Some(node) => {
            let range = match &node {
                Node::Binary(Binary::Subtract, a, b) => match (&**a, &**b) {
                    (Node::Number(low), Node::Number(high)) => format!("[{low}..{high}]"),
                    _ => "[1..5]".to_owned(),
                },
                _ => "[1..5]".to_owned(),
            };
            Err(format!(
                "is arithmetic of numbers: `{range}` is a range; a number is written as what it comes to; for a text say \
                 `symbol` in the head"
            ))
        }
    }
}

/// A cell of a symbol's column.
fn input_texts(cell: &str, inputs: &Inputs<'_>) -> Result<String, String> {
    if is_language(cell) {
        let read = parse::tests(cell).map_err(|bad| bad.message);
        return in_language(cell, read.map(|test| test.unknown_function().map(str::to_owned)));
    }
    let (negated, texts) = match cell.strip_prefix("not ") {
        Some(texts) => (true, texts.trim_start()),
        None => (false, cell),
    };
    if let Some(listed) = texts.strip_prefix("in ") {
        let not = if negated { "not " } else { "" };
        return Err(format!("in a column of texts `in` is left out: write `{not}{listed}`, or the text in quotes"));
    }
    if let Some(word) = ["and", "or"].into_iter().find(|word| texts.split_whitespace().any(|part| part == *word)) {
        return Err(format!(
            "is it one text, or two with `{word}` between? Write a text in quotes, {}, and several with commas, `vip, new`",
            quoted(cell)
        ));
    }
    check_quotes(texts)?;
    let texts = texts.split(',').map(|text| bare(text.trim(), inputs)).collect::<Result<Vec<_>, _>>()?;
    Ok(if negated { format!("not in [{}]", texts.join(", ")) } else { texts.join(", ") })
}

/// A cell of an output column: in a text's column a bare cell is one text.
pub(super) fn output(cell: &str, kind: Kind, inputs: &Inputs<'_>) -> Result<String, String> {
    if cell.is_empty() {
        return Ok(String::new());
    }
    if kind != Kind::Symbol {
        return plain_word(cell, kind);
    }
    if is_language(cell) {
        let read = parse::expression(cell).map_err(|bad| bad.message);
        return in_language(cell, read.map(|node| node.unknown_function().map(str::to_owned)));
    }
    bare(cell, inputs)
}

/// A cell of numbers or flags: spreadsheets save flags in capitals, and databases what is missing.
fn plain_word(cell: &str, kind: Kind) -> Result<String, String> {
    check_null(cell)?;
    Ok(if kind == Kind::Flag && is_flag(cell) { cell.to_ascii_lowercase() } else { cell.to_owned() })
}

fn check_null(text: &str) -> Result<(), String> {
    if text != "null" && text.eq_ignore_ascii_case("null") {
        return Err(format!(
            "what is missing is `null`, in small letters; if it is a text, it stands in quotes: {}",
            quoted(text)
        ));
    }
    Ok(())
}

/// Curly quotes would be a part of the text.
fn check_quotes(text: &str) -> Result<(), String> {
    let is_curly = |sign: Option<char>| sign.is_some_and(|sign| "“”„‟‘’‚‛«»".contains(sign));
    if is_curly(text.chars().next()) && is_curly(text.chars().next_back()) {
        return Err(format!(
            "quotes that are not straight: write the text without, or, if they belong to it, all in straight ones: {}",
            quoted(text)
        ));
    }
    Ok(())
}

/// A cell with signs of the language; `read` is what is wrong with it, or the function in it that there is none of. It was
/// probably meant as a text.
fn in_language(cell: &str, read: Result<Option<String>, String>) -> Result<String, String> {
    let why = match read {
        Ok(None) => return Ok(cell.to_owned()),
        Ok(Some(function)) => format!("the function `{function}` is not in the profile"),
        Err(why) => why,
    };
    Err(format!("{why}; if it is a text, it has signs that mean something, and stands in quotes: {}", quoted(cell)))
}

/// How a text is written in quotes: in a spreadsheet, and in the file.
fn quoted(text: &str) -> String {
    let quote = if text.contains('"') { '\'' } else { '"' };
    let cell = format!("{quote}{text}{quote}");
    format!("`{cell}` in a spreadsheet, `\"{}\"` in the file", cell.replace('"', "\"\""))
}

/// Whether a cell is written in the language rather than as bare texts.
pub(super) fn is_language(cell: &str) -> bool {
    cell.contains(['\'', '"', '=', '<', '>', '(', '[', '?', '$'])
}

fn bare(text: &str, inputs: &Inputs<'_>) -> Result<String, String> {
    check_null(text)?;
    check_quotes(text)?;
    match text {
        "" => Err("there is no text between two commas".to_owned()),
        "null" => Ok(text.to_owned()),
        _ if inputs.contains_key(text) => {
            Err(format!("`{text}` is the name of an input: write `({text})` for its value, or the text in quotes"))
        }
        _ => Ok(format!("\"{text}\"")),
    }
}

/// Whether a number is written with a comma, as some people do: `1,5`, `1,000`. Texts in quotes are passed over.
pub(super) fn has_comma_in_number(cell: &str) -> bool {
    spaced(cell) != cell
}

/// A cell with a space behind each comma that stands between digits.
pub(super) fn spaced(cell: &str) -> String {
    let mut spaced = String::with_capacity(cell.len());
    let mut quote = None;
    let mut signs = cell.chars().peekable();
    let mut before = ' ';
    while let Some(sign) = signs.next() {
        spaced.push(sign);
        match quote {
            Some(open) if open == sign => quote = None,
            Some(_) => {}
            None if matches!(sign, '"' | '\'') => quote = Some(sign),
            None if sign == ',' && before.is_ascii_digit() && signs.peek().is_some_and(char::is_ascii_digit) => {
                spaced.push(' ');
            }
            None => {}
        }
        before = sign;
    }
    spaced
}

/// [`input`] backwards: a cell that reads as `cell` does, as bare as can be.
pub(super) fn bare_input(cell: &str, kind: Kind, inputs: &Inputs<'_>) -> String {
    let Ok(meant) = parse::tests(cell) else { return cell.to_owned() };
    let reads_so = |written: &String| {
        input(written, kind, inputs)
            .is_ok_and(|cell| parse::tests(&cell).is_ok_and(|test| plain(test) == plain(meant.clone())))
    };
    let texts = texts(&meant).into_iter();
    let named = format!("== {cell}");
    texts.chain([cell.to_owned(), named]).find(reads_so).unwrap_or_else(|| cell.to_owned())
}

/// A test in the form that says what it compares with.
fn plain(test: Test) -> Test {
    match test {
        Test::Is(node @ Node::Name(_)) => Test::Compare(Binary::Equal, node),
        other => other,
    }
}

/// The bare texts of a test that lists nothing else.
fn texts(test: &Test) -> Option<String> {
    fn of_node(node: &Node) -> Option<String> {
        match node {
            Node::Text(text) => Some(text.clone()),
            Node::Null => Some("null".to_owned()),
            _ => None,
        }
    }
    fn of_test(test: &Test) -> Option<String> {
        match test {
            Test::Is(node) => of_node(node),
            Test::Or(a, b) => Some(format!("{}, {}", of_test(a)?, of_test(b)?)),
            _ => None,
        }
    }
    match test {
        Test::In { negated: true, right: Node::List(items) } => {
            let texts = items.iter().map(of_node).collect::<Option<Vec<_>>>()?;
            Some(format!("not {}", texts.join(", ")))
        }
        test => of_test(test),
    }
}

/// [`output`] backwards.
pub(super) fn bare_output(cell: &str, kind: Kind, inputs: &Inputs<'_>) -> String {
    let Ok(meant) = parse::expression(cell) else { return cell.to_owned() };
    let reads_so = |written: &String| {
        let read = output(written, kind, inputs).ok().filter(|_| written.trim() == written);
        read.is_some_and(|cell| parse::expression(&cell).is_ok_and(|node| node == meant))
    };
    let text = if let Node::Text(text) = &meant { Some(text.clone()) } else { None };
    text.into_iter().chain([cell.to_owned(), format!("({cell})")]).find(reads_so).unwrap_or_else(|| cell.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    pub(in super::super) fn inputs() -> Inputs<'static> {
        BTreeMap::from([("item.kind", Kind::Symbol), ("item.price", Kind::Number)])
    }

    #[test]
    fn bare_cells_are_texts() {
        let check = |cell: &str, expected: &str| {
            assert_eq!(input(cell, Kind::Symbol, &inputs()).unwrap(), expected);
            assert_eq!(bare_input(expected, Kind::Symbol, &inputs()), cell);
        };
        check("vip", "\"vip\"");
        check("DE, AT", "\"DE\", \"AT\"");
        check("not new, lost", "not in [\"new\", \"lost\"]");
        check("!= \"a\"", "!= \"a\"");
        check("", "");
        check("null", "null");
        check("vip, null", "\"vip\", null");
        check("not null", "not in [null]");
        check("#1", "\"#1\"");
        let back = |cell: &str, expected: &str| {
            let bare = bare_input(cell, Kind::Symbol, &inputs());
            assert_eq!(bare, expected, "{cell}");
            let again = parse::tests(&input(&bare, Kind::Symbol, &inputs()).unwrap()).unwrap();
            assert_eq!(plain(again), plain(parse::tests(cell).unwrap()), "{cell}");
        };
        back("\"a,b\"", "\"a,b\"");
        back("\"not x\"", "\"not x\"");
        back("\"-\"", "\"-\"");
        back("\"null\"", "\"null\"");
        back("\"item.kind\"", "\"item.kind\"");
        back("item.kind", "== item.kind");
        assert_eq!(input("> 5", Kind::Number, &inputs()).unwrap(), "> 5");
        let refused = |cell: &str, expected: &str| {
            let why = input(cell, Kind::Symbol, &inputs()).unwrap_err();
            assert!(why.contains(expected), "{why}");
        };
        refused("not in DE, AT", "`in` is left out: write `not DE, AT`");
        refused("in DE", "write `DE`");
        refused("vip or new", "two with `or` between");
        refused("a and b", "`\"a and b\"` in a spreadsheet, `\"\"\"a and b\"\"\"` in the file");
        refused("Rosie's", "`\"Rosie's\"` in a spreadsheet, `\"\"\"Rosie's\"\"\"` in the file");
        refused("Shoes (women)", "if it is a text, it has signs that mean something, and stands in quotes");
        refused("what?", "if it is a text");
        refused("a=b", "if it is a text");
        assert!(output("Rosie's", Kind::Symbol, &inputs()).unwrap_err().contains("in a spreadsheet"));
        assert_eq!(output("this and that", Kind::Symbol, &inputs()).unwrap(), "\"this and that\"");
        assert!(input("a,,b", Kind::Symbol, &inputs()).unwrap_err().contains("no text between"));
        assert!(input("item.kind", Kind::Symbol, &inputs()).unwrap_err().contains("name of an input"));
    }

    #[test]
    fn a_bare_output_is_one_text() {
        let check = |cell: &str, expected: &str, kind: Kind| {
            let bare = bare_output(expected, kind, &inputs());
            assert_eq!(bare, cell, "{expected}");
            let [read, meant] = [output(&bare, kind, &inputs()).unwrap(), expected.to_owned()]
                .map(|cell| parse::expression(&cell).unwrap());
            assert_eq!(read, meant, "{expected}");
        };
        check("gold", "'gold'", Kind::Symbol);
        check("gold, silver", "'gold, silver'", Kind::Symbol);
        check("null", "null", Kind::Symbol);
        check("\"null\"", "\"null\"", Kind::Symbol);
        check("(item.kind)", "item.kind", Kind::Symbol);
        check("\"item.kind\"", "\"item.kind\"", Kind::Symbol);
        check("item.price", "item.price", Kind::Number);
        check("item.price > 5 ? \"a\" : \"b\"", "item.price > 5 ? \"a\" : \"b\"", Kind::Symbol);
    }

    #[test]
    fn commas_in_numbers_are_seen() {
        let check = |cell: &str, expected| assert_eq!(has_comma_in_number(cell), expected, "{cell}");
        check("1,5", true);
        check("> 1,5", true);
        check("1, 5", false);
        check("[1,2,3]", true);
        check(",5", false);
        check("contains($, '1,5')", false);
        assert_eq!(spaced("[1,2, 3] or \"4,5\" or 6,7"), "[1, 2, 3] or \"4,5\" or 6, 7");
    }
}
