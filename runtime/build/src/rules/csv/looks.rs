//! What cells look like: numbers, flags or texts. Owns the type of a column whose head does not say it, and what looks like a
//! number and may be none.

use selvedge_decision::manifest::Kind;

use super::super::parse;
use super::super::syntax::{Binary, FUNCTIONS, Node, Test};
use super::cells::Inputs;

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
        _ if is_flag(cell) => Some(Kind::Flag),
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
        _ if is_flag(cell) => Some(Kind::Flag),
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
    let shows = |cell: &str| !matches!(cell, "" | "-") && !cell.eq_ignore_ascii_case("null");
    for (row, cell) in cells.map(str::trim).enumerate().filter(|(_, cell)| shows(cell)) {
        let Some(kind) = look(cell) else { continue };
        match found {
            None => found = Some((row, kind)),
            Some((_, other)) if other == kind => {}
            Some((before, _)) => return Err([before, row]),
        }
    }
    Ok(found.map(|(_, kind)| kind))
}

/// Spreadsheets save flags in capitals.
pub(super) fn is_flag(cell: &str) -> bool {
    ["true", "false"].iter().any(|flag| cell.eq_ignore_ascii_case(flag))
}

/// Whether it is a number with commas and nothing else: `1,5`, `1,000,000.50`.
fn is_number_with_commas(cell: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, rest) = cell.split_once('.').unwrap_or((cell, "0"));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    whole.contains(',') && whole.split(',').all(is_digits) && is_digits(rest)
}

/// A part of a test that is arithmetic of nothing but numbers, such as `18-25` or a date, where a value or a bound stands.
pub(super) fn computed(test: &Test) -> Option<&Node> {
    match test {
        Test::Is(node) | Test::Compare(_, node) | Test::In { right: node, .. } => computed_in(node),
        Test::Not(inner) => computed(inner),
        Test::And(a, b) | Test::Or(a, b) => computed(a).or_else(|| computed(b)),
    }
}

fn computed_in(node: &Node) -> Option<&Node> {
    match node {
        _ if is_arithmetic(node) => Some(node),
        Node::Binary(op, a, b) if op.is_comparison() || matches!(op, Binary::And | Binary::Or) => {
            computed_in(a).or_else(|| computed_in(b))
        }
        Node::Not(inner) => computed_in(inner),
        Node::In { right, .. } => computed_in(right),
        Node::List(items) => items.iter().find_map(computed_in),
        Node::Range(range) => computed_in(&range.low).or_else(|| computed_in(&range.high)),
        _ => None,
    }
}

/// Whether it computes, and with nothing but numbers that are written down.
fn is_arithmetic(node: &Node) -> bool {
    fn is_written(node: &Node) -> bool {
        matches!(node, Node::Number(_)) || is_arithmetic(node)
    }
    match node {
        Node::Negate(inner) => is_arithmetic(inner),
        Node::Binary(op, a, b) => op.is_arithmetic() && is_written(a) && is_written(b),
        _ => false,
    }
}

/// Why a cell that reads as a number may be meant as a text: a type must say it.
pub(super) fn unclear(cell: &str, is_output: bool) -> Option<&'static str> {
    let is_code = |text: &str| text.starts_with('0') && text.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    if cell.split(", ").any(|text| is_code(text.trim())) {
        return Some("begins with a zero");
    }
    let is_arithmetic = || parse::expression(cell).is_ok_and(|node| is_arithmetic(&node));
    (is_output && is_arithmetic()).then_some("is arithmetic of numbers")
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

    use super::super::cells::tests::inputs;
    use super::*;

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
    fn arithmetic_of_numbers_is_seen() {
        let check =
            |cell: &str, expected| assert_eq!(computed(&parse::tests(cell).unwrap()).is_some(), expected, "{cell}");
        check("18-25", true);
        check("1 - 5", true);
        check("> 2026-01-15", true);
        check("5, 2026-01-15", true);
        check("not(1/2)", true);
        check("[2026-01-15..2026-02-01]", true);
        check("in [1-2]", true);
        check("$ > 2026-01-15 and $ < 5", true);
        check("-5", false);
        check("[-5..5]", false);
        check("$ * (1 - 0.2) > 5", false);
        check("item.price - 5", false);
        let check =
            |cell: &str, is_output, expected| assert_eq!(unclear(cell, is_output).is_some(), expected, "{cell}");
        check("00123", true, true);
        check("01234, 01235", false, true);
        check("1,000", false, false);
        check("0.5", true, false);
        check("0", true, false);
        check("2026-12-01", true, true);
        check("item.price - 1", true, false);
    }
}
