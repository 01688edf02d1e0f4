//! Cells as merchandisers write them: texts without quotes. Owns when a bare cell is a text, what a column's cells look like,
//! and the way back.

use std::collections::BTreeMap;

use selvedge_decision::manifest::Kind;

use super::super::parse;
use super::super::syntax::{Binary, FUNCTIONS, Node, Test};

/// Inputs by name, and their types.
pub(super) type Inputs<'n> = BTreeMap<&'n str, Kind>;

/// A cell of an input column as the language has it: in a symbol's column a bare cell is texts with commas between.
pub(super) fn input(cell: &str, kind: Kind, inputs: &Inputs<'_>) -> Result<String, String> {
    if kind != Kind::Symbol || cell.is_empty() || cell == "-" {
        return Ok(cell.to_owned());
    }
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
    let texts = texts.split(',').map(|text| bare(text.trim(), inputs)).collect::<Result<Vec<_>, _>>()?;
    Ok(if negated { format!("not in [{}]", texts.join(", ")) } else { texts.join(", ") })
}

/// A cell of an output column: in a text's column a bare cell is one text.
pub(super) fn output(cell: &str, kind: Kind, inputs: &Inputs<'_>) -> Result<String, String> {
    if kind != Kind::Symbol || cell.is_empty() {
        return Ok(cell.to_owned());
    }
    if is_language(cell) {
        let read = parse::expression(cell).map_err(|bad| bad.message);
        return in_language(cell, read.map(|node| node.unknown_function().map(str::to_owned)));
    }
    bare(cell, inputs)
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
fn is_language(cell: &str) -> bool {
    cell.contains(['\'', '"', '=', '<', '>', '(', '[', '?', '$'])
}

fn bare(text: &str, inputs: &Inputs<'_>) -> Result<String, String> {
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

/// Whether it is a number with commas and nothing else: `1,5`, `1,000,000.50`.
fn is_number_with_commas(cell: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, rest) = cell.split_once('.').unwrap_or((cell, "0"));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    whole.contains(',') && whole.split(',').all(is_digits) && is_digits(rest)
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

/// What an input column's cells look like: numbers, flags or texts; `None` when none of them shows it.
///
/// # Errors
///
/// With the places of two cells that look different.
pub(super) fn kind_of_inputs<'c>(
    cells: impl Iterator<Item = &'c str>,
    inputs: &Inputs<'_>,
) -> Result<Option<Kind>, [usize; 2]> {
    one_kind(cells, |cell| match parse::tests(cell) {
        Ok(test) => Look { inputs }.test(&test),
        Err(_) => Some(Kind::Symbol),
    })
}

/// As [`kind_of_inputs`], of an output column.
///
/// # Errors
///
/// As [`kind_of_inputs`].
pub(super) fn kind_of_outputs<'c>(
    cells: impl Iterator<Item = &'c str>,
    inputs: &Inputs<'_>,
) -> Result<Option<Kind>, [usize; 2]> {
    one_kind(cells, |cell| match parse::expression(cell) {
        _ if is_number_with_commas(cell) => Some(Kind::Number),
        // A bare word is a text, unless it names an input.
        Ok(Node::Name(name)) => Some(inputs.get(name.as_str()).copied().unwrap_or(Kind::Symbol)),
        Ok(node) => Look { inputs }.node(&node),
        Err(_) => Some(Kind::Symbol),
    })
}

fn one_kind<'c>(
    cells: impl Iterator<Item = &'c str>,
    look: impl Fn(&str) -> Option<Kind>,
) -> Result<Option<Kind>, [usize; 2]> {
    let mut found: Option<(usize, Kind)> = None;
    for (row, cell) in cells.map(str::trim).enumerate().filter(|(_, cell)| !matches!(*cell, "" | "-" | "null")) {
        let Some(kind) = look(cell) else { continue };
        match found {
            None => found = Some((row, kind)),
            Some((_, other)) if other == kind => {}
            Some((before, _)) => return Err([before, row]),
        }
    }
    Ok(found.map(|(_, kind)| kind))
}

/// Looks at what is written for its type.
struct Look<'i, 'n> {
    inputs: &'i Inputs<'n>,
}

// === impl Look ===

impl Look<'_, '_> {
    /// The type that a value of this form has.
    fn node(&self, node: &Node) -> Option<Kind> {
        match node {
            Node::Text(_) => Some(Kind::Symbol),
            Node::Flag(_) | Node::Not(_) | Node::In { .. } => Some(Kind::Flag),
            Node::Number(_) | Node::Range(_) | Node::Negate(_) => Some(Kind::Number),
            Node::Binary(Binary::And | Binary::Or, ..) => Some(Kind::Flag),
            Node::Binary(op, ..) if op.is_comparison() => Some(Kind::Flag),
            Node::Binary(Binary::Otherwise, a, b) => self.node(a).or_else(|| self.node(b)),
            // `free-shipping` is a text, `item.price - 5` a number.
            Node::Binary(_, a, b) => {
                let known = [a, b].iter().all(|part| match &***part {
                    Node::Name(name) => self.inputs.contains_key(name.as_str()) || name.starts_with('$'),
                    other => self.node(other) == Some(Kind::Number),
                });
                Some(if known { Kind::Number } else { Kind::Symbol })
            }
            Node::List(items) => items.iter().find_map(|item| self.node(item)),
            Node::If(parts) => self.node(&parts[1]).or_else(|| self.node(&parts[2])),
            Node::Call(name, _) if matches!(name.as_str(), "startsWith" | "endsWith" | "contains") => Some(Kind::Flag),
            // `Shoes (women)` is a text.
            Node::Call(name, _) if !FUNCTIONS.contains(&name.as_str()) => Some(Kind::Symbol),
            Node::Call(..) => Some(Kind::Number),
            Node::Name(name) => self.inputs.get(name.as_str()).copied(),
            Node::Null => None,
        }
    }

    /// The type of the column that a test speaks of.
    fn test(&self, test: &Test) -> Option<Kind> {
        match test {
            Test::Compare(op, _) if !matches!(op, Binary::Equal | Binary::NotEqual) => Some(Kind::Number),
            Test::Compare(_, node) | Test::In { right: node, .. } => self.node(node),
            Test::Is(Node::Name(name)) => Some(self.inputs.get(name.as_str()).copied().unwrap_or(Kind::Symbol)),
            Test::Is(Node::Not(inner)) if matches!(**inner, Node::Name(_)) => self.test(&Test::Is((**inner).clone())),
            Test::Is(node) => self.statement(node),
            Test::Not(inner) => self.test(inner),
            Test::And(a, b) | Test::Or(a, b) => self.test(a).or_else(|| self.test(b)),
        }
    }

    /// The type of `$` in a statement, or of the value that stands in its place.
    fn statement(&self, node: &Node) -> Option<Kind> {
        match node {
            Node::Binary(Binary::Equal | Binary::NotEqual, a, b) => self.node(a).or_else(|| self.node(b)),
            Node::Binary(op, ..) if op.is_comparison() => Some(Kind::Number),
            Node::Binary(Binary::And | Binary::Or, a, b) => self.statement(a).or_else(|| self.statement(b)),
            Node::In { right, .. } => self.node(right),
            Node::Not(inner) => self.statement(inner),
            Node::Call(name, _) if matches!(name.as_str(), "startsWith" | "endsWith" | "contains") => {
                Some(Kind::Symbol)
            }
            other => self.node(other),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn inputs() -> Inputs<'static> {
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
    fn a_column_s_type_shows_in_its_cells() {
        let check = |cells: &[&str], expected| {
            assert_eq!(kind_of_inputs(cells.iter().copied(), &inputs()), expected, "{cells:?}");
        };
        check(&["> 5", "", "[1..2]"], Ok(Some(Kind::Number)));
        check(&["true", "false", "-"], Ok(Some(Kind::Flag)));
        check(&["vip", "new, lost"], Ok(Some(Kind::Symbol)));
        check(&["$ % 2 == 0", "> item.price", "$ > 5 and $ < 9"], Ok(Some(Kind::Number)));
        check(&["$ == \"a\"", "startsWith($, 'a')", "not x"], Ok(Some(Kind::Symbol)));
        check(&["1", "", "vip"], Err([0, 2]));
        check(&["10", "1O"], Err([0, 1]));
        check(&["", "-", "null"], Ok(None));
        let check = |cells: &[&str], expected| {
            assert_eq!(kind_of_outputs(cells.iter().copied(), &inputs()), expected, "{cells:?}");
        };
        check(&["item.price * 2", "1.5", "item.price"], Ok(Some(Kind::Number)));
        check(&["free-shipping", "20% off", "item.kind"], Ok(Some(Kind::Symbol)));
        check(&["item.price > 5", "true"], Ok(Some(Kind::Flag)));
        check(&["10", "1O", "5"], Err([0, 1]));
        check(&["1,5", "-2,75"], Ok(Some(Kind::Number)));
        check(&["1,000,000", "1,234.50"], Ok(Some(Kind::Number)));
        check(&["a,5", "1,"], Ok(Some(Kind::Symbol)));
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
