//! Cells as merchandisers write them: texts without quotes. Owns when a bare cell is a text, and the way back.

use selvedge_decision::manifest::Kind;

use super::super::parse;
use super::super::syntax::{Node, Test};

/// A cell of an input column as the language has it: in a symbol's column a bare cell is texts with commas between.
pub(super) fn input(cell: &str, kind: Kind) -> String {
    if kind != Kind::Symbol || cell.is_empty() || cell == "-" || is_language(cell) {
        return cell.to_owned();
    }
    let (negated, texts) = match cell.strip_prefix("not ") {
        Some(texts) => (true, texts),
        None => (false, cell),
    };
    let quoted: Vec<String> = texts.split(',').map(|text| quote(text.trim())).collect();
    if negated { format!("not in [{}]", quoted.join(", ")) } else { quoted.join(", ") }
}

/// A cell of an output column: in a text's column a bare cell is one text.
pub(super) fn output(cell: &str, kind: Kind) -> String {
    if kind != Kind::Symbol || cell.is_empty() || cell == "null" || is_language(cell) {
        return cell.to_owned();
    }
    quote(cell)
}

/// Whether a cell is written in the language rather than as bare texts.
fn is_language(cell: &str) -> bool {
    cell.contains(['\'', '"', '=', '<', '>', '(', '[', '?', '$'])
}

fn quote(text: &str) -> String {
    format!("\"{text}\"")
}

/// [`input`] backwards, where it is simple.
pub(super) fn bare_input(cell: &str, kind: Kind) -> String {
    let bare = || {
        let mut texts = Vec::new();
        let negated = match parse::tests(cell).ok()? {
            Test::In { negated: true, right: Node::List(items) } => {
                for item in items {
                    let Node::Text(text) = item else { return None };
                    texts.push(text);
                }
                true
            }
            test => {
                collect(&test, &mut texts)?;
                false
            }
        };
        let joined = texts.join(", ");
        let bare = if negated { format!("not {joined}") } else { joined };
        // Only when reading it gives the same cell.
        (parse::tests(&input(&bare, kind)).ok()? == parse::tests(cell).ok()?).then_some(bare)
    };
    if kind == Kind::Symbol { bare().unwrap_or_else(|| cell.to_owned()) } else { cell.to_owned() }
}

fn collect(test: &Test, texts: &mut Vec<String>) -> Option<()> {
    match test {
        Test::Is(Node::Text(text)) => texts.push(text.clone()),
        Test::Or(a, b) => {
            collect(a, texts)?;
            collect(b, texts)?;
        }
        _ => return None,
    }
    Some(())
}

/// [`output`] backwards, where it is simple.
pub(super) fn bare_output(cell: &str, kind: Kind) -> String {
    match parse::expression(cell) {
        Ok(Node::Text(text))
            if kind == Kind::Symbol
                && text.trim() == text
                && parse::expression(&output(&text, kind)).ok() == Some(Node::Text(text.clone())) =>
        {
            text
        }
        _ => cell.to_owned(),
    }
}

/// What a column's cells look like: numbers, flags or texts; `None` when all are blank.
pub(super) fn kind<'c>(cells: impl Iterator<Item = &'c str>) -> Option<Kind> {
    let mut found: Option<Kind> = None;
    for cell in cells.map(str::trim).filter(|cell| !matches!(*cell, "" | "-" | "null")) {
        let kind = one_kind(cell);
        found = match found {
            None => Some(kind),
            Some(before) if before == kind => Some(kind),
            Some(_) => return Some(Kind::Symbol),
        };
    }
    found
}

fn one_kind(cell: &str) -> Kind {
    fn of_node(node: &Node) -> Option<Kind> {
        match node {
            Node::Text(_) => Some(Kind::Symbol),
            Node::Flag(_) => Some(Kind::Flag),
            Node::Number(_) | Node::Range(_) | Node::Negate(_) => Some(Kind::Number),
            Node::Binary(op, ..) if op.is_comparison() => Some(Kind::Flag),
            Node::Binary(..) => Some(Kind::Number),
            Node::List(items) => items.first().and_then(of_node),
            Node::If(parts) => of_node(&parts[1]),
            Node::Call(..) => Some(Kind::Number),
            Node::Not(_) | Node::In { .. } => Some(Kind::Flag),
            Node::Name(_) | Node::Null => None,
        }
    }
    fn of_test(test: &Test) -> Option<Kind> {
        match test {
            Test::Is(node) | Test::Compare(_, node) | Test::In { right: node, .. } => of_node(node),
            Test::Not(inner) => of_test(inner),
            Test::And(a, b) | Test::Or(a, b) => of_test(a).or_else(|| of_test(b)),
        }
    }
    match parse::tests(cell) {
        Ok(test) => of_test(&test).unwrap_or(Kind::Symbol),
        Err(_) => Kind::Symbol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_cells_are_texts() {
        let check = |cell: &str, expected: &str| {
            assert_eq!(input(cell, Kind::Symbol), expected);
            assert_eq!(bare_input(expected, Kind::Symbol), cell);
        };
        check("vip", "\"vip\"");
        check("DE, AT", "\"DE\", \"AT\"");
        check("not new, lost", "not in [\"new\", \"lost\"]");
        check("!= \"a\"", "!= \"a\"");
        check("", "");
        assert_eq!(bare_input("\"a,b\"", Kind::Symbol), "\"a,b\"", "a comma would split it");
        assert_eq!(bare_input("\"not x\"", Kind::Symbol), "\"not x\"");
        assert_eq!(input("> 5", Kind::Number), "> 5");
        assert_eq!(output("gold", Kind::Symbol), "\"gold\"");
        assert_eq!(bare_output("'gold'", Kind::Symbol), "gold");
        assert_eq!(bare_output("user.segment", Kind::Symbol), "user.segment");
    }

    #[test]
    fn a_column_s_type_shows_in_its_cells() {
        let check = |cells: &[&str], expected| assert_eq!(kind(cells.iter().copied()), expected, "{cells:?}");
        check(&["> 5", "", "[1..2]"], Some(Kind::Number));
        check(&["true", "false", "-"], Some(Kind::Flag));
        check(&["vip", "new, lost"], Some(Kind::Symbol));
        check(&["1", "vip"], Some(Kind::Symbol));
        check(&["", "-"], None);
        check(&["price * 2", "1.5"], Some(Kind::Number));
    }
}
