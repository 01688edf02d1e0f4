//! Cells and expressions of one type. Owns the operators that are tried: every one of the profile.

use super::INPUTS;
use crate::harness::Random;

/// The texts there are; cells name some of them only.
pub(super) const TEXTS: [&str; 6] = ["vip", "new", "shoes", "DE", "other", "vienna"];
const NAMED: [&str; 4] = ["vip", "new", "shoes", "DE"];

/// A type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Flag,
    Text,
}

// === impl Kind ===

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Flag => "flag",
            Self::Text => "symbol",
        }
    }
}

/// A small multiple of 1/4.
pub(super) fn number_text(random: &mut Random) -> String {
    let quarters = random.below(61) as i64 - 20;
    (quarters as f64 / 4.0).to_string()
}

fn text(random: &mut Random) -> String {
    let quote = *random.pick(&["'", "\""]);
    format!("{quote}{}{quote}", random.pick(&NAMED))
}

fn named(random: &mut Random, kind: Kind, names: &[(String, Kind)]) -> Option<String> {
    let of_kind: Vec<&String> = names.iter().filter(|(_, other)| *other == kind).map(|(name, _)| name).collect();
    if of_kind.is_empty() { None } else { Some((*random.pick(&of_kind)).clone()) }
}

/// A value of a type.
pub(super) fn value(random: &mut Random, kind: Kind, names: &[(String, Kind)], depth: usize) -> String {
    match kind {
        Kind::Number => number(random, names, depth),
        Kind::Flag => flag(random, names, depth),
        Kind::Text => match random.below(if depth == 0 { 2 } else { 3 }) {
            0 => text(random),
            1 => named(random, Kind::Text, names).unwrap_or_else(|| text(random)),
            _ => {
                let condition = flag(random, names, depth - 1);
                format!("{condition} ? {} : {}", text(random), text(random))
            }
        },
    }
}

/// A number: sums, products of few factors, divisions by powers of 2, the functions.
pub(super) fn number(random: &mut Random, names: &[(String, Kind)], depth: usize) -> String {
    if depth == 0 || random.below(4) == 0 {
        return match random.below(2) {
            0 => number_text(random),
            _ => named(random, Kind::Number, names).unwrap_or_else(|| number_text(random)),
        };
    }
    let a = number(random, names, depth - 1);
    match random.below(13) {
        0 => format!("({a}) + {}", number(random, names, depth - 1)),
        1 => format!("{a} - ({})", number(random, names, depth - 1)),
        2 => format!("({a}) * {}", number_text(random)),
        3 => format!("({a}) / {}", random.pick(&["2", "4", "8", "0", "-0.5"])),
        4 => format!("({a}) % {}", random.pick(&["3", "0.75", "-2", "0", "7.5"])),
        5 => format!("{}({a})", random.pick(&["abs", "floor", "ceil", "round"])),
        6 => format!("{}([{a}, {}])", random.pick(&["min", "max"]), number(random, names, depth - 1)),
        7 => format!("(({}) ? {a} : {})", flag(random, names, depth - 1), number_text(random)),
        8 => format!("({a}) ?? {}", number_text(random)),
        9 => format!("-({a})"),
        10 => match named(random, Kind::Number, names) {
            Some(name) => format!("{name} ^ 2 + {a}"),
            None => a,
        },
        11 => format!("({}) ?? ({a})", named(random, Kind::Number, names).unwrap_or_else(|| "1".to_owned())),
        _ => a,
    }
}

fn flag(random: &mut Random, names: &[(String, Kind)], depth: usize) -> String {
    if depth == 0 {
        return named(random, Kind::Flag, names).unwrap_or_else(|| "true".to_owned());
    }
    let order = *random.pick(&["<", "<=", ">", ">=", "==", "!="]);
    match random.below(10) {
        9 => match texts_of_inputs(random, names) {
            Some(name) => test_of_text(random, &name),
            None => "false".to_owned(),
        },
        0 => format!("({}) and {}", flag(random, names, depth - 1), flag(random, names, depth - 1)),
        1 => format!("{} or ({})", flag(random, names, depth - 1), flag(random, names, depth - 1)),
        2 => format!("not ({})", flag(random, names, depth - 1)),
        3 | 4 => format!("{} {order} {}", number(random, names, depth - 1), number_text(random)),
        5 => format!("({}) {order} ({})", number(random, names, depth - 1), number(random, names, depth - 1)),
        6 => {
            let name = named(random, Kind::Text, names).unwrap_or_else(|| text(random));
            match random.below(4) {
                0 => format!("{name} == {}", text(random)),
                1 => format!("{name} != {}", text(random)),
                2 => format!("{name} not in [{}, {}]", text(random), text(random)),
                _ => format!("{name} in [{}, {}]", text(random), text(random)),
            }
        }
        7 => {
            let not = *random.pick(&["", "not "]);
            format!("({}) {not}in {}", number(random, names, depth - 1), range(random))
        }
        _ => {
            let name = named(random, Kind::Number, names).unwrap_or_else(|| "1".to_owned());
            format!("{name} {} null", random.pick(&["==", "!="]))
        }
    }
}

/// A name whose text can be tested: that of an input.
fn texts_of_inputs(random: &mut Random, names: &[(String, Kind)]) -> Option<String> {
    let inputs = names.iter().filter(|(name, kind)| *kind == Kind::Text && is_input(name)).cloned().collect::<Vec<_>>();
    named(random, Kind::Text, &inputs)
}

/// Whether it names an input, in full or inside its group.
pub(super) fn is_input(name: &str) -> bool {
    INPUTS.iter().any(|(group, own, _)| *own == name || format!("{group}.{own}") == name)
}

/// What a test of a text is, and what becomes of it when the text is missing.
fn test_of_text(random: &mut Random, name: &str) -> String {
    let function = *random.pick(&["startsWith", "endsWith", "contains"]);
    let test = format!("{function}({name}, \"{}\")", random.pick(&["vi", "o", "new", "E", "s"]));
    match random.below(7) {
        0 => format!("{test} != true"),
        1 => format!("{test} == null"),
        2 => format!("({test} ?? true)"),
        3 => format!("({test} ?? false)"),
        4 => format!("not ({test})"),
        // In a cell of an input, brackets around `and` are read otherwise (docs/rules.md).
        5 if name != "$" => format!("(true and {test})"),
        _ => test,
    }
}

fn range(random: &mut Random) -> String {
    let (open, close) = (*random.pick(&["[", "("]), *random.pick(&["]", ")"]));
    format!("{open}{}..{}{close}", number_text(random), number_text(random))
}

/// A cell of an input column.
pub(super) fn test(random: &mut Random, kind: Kind, names: &[(String, Kind)], plain: bool) -> String {
    if random.below(4) == 0 {
        return String::new();
    }
    match kind {
        Kind::Number => number_test(random, names),
        Kind::Text => text_test(random, plain),
        Kind::Flag => match random.below(6) {
            0 | 1 => "true".to_owned(),
            2 => "false".to_owned(),
            3 => (*random.pick(&["not true", "not(false)", "!= true", "null"])).to_owned(),
            4 => "$ == false".to_owned(),
            _ => "true or false".to_owned(),
        },
    }
}

fn number_test(random: &mut Random, names: &[(String, Kind)]) -> String {
    let order = *random.pick(&["<", "<=", ">", ">=", "!=", "=="]);
    let n = |random: &mut Random| number_text(random);
    match random.below(16) {
        0 => n(random),
        1 => format!("{order} {}", n(random)),
        2 => range(random),
        3 => format!("{}, {}, {}", n(random), n(random), range(random)),
        4 => format!("> {} and < {}", n(random), n(random)),
        5 => format!("< {} or > {}", n(random), n(random)),
        6 => format!("not in {}", range(random)),
        7 => format!("not in [{}, {}]", n(random), n(random)),
        8 => format!("$ {order} {}", n(random)),
        9 => format!("$ % 2 == {}", random.pick(&["0", "1", "0.5"])),
        10 => format!("{}, {} and {order} {}", n(random), range(random), n(random)),
        11 => format!("abs($) {order} {}", n(random)),
        12 => "$ == null or $ > 2".to_owned(),
        13 => format!("{order} {}", named(random, Kind::Number, names).unwrap_or_else(|| "1".to_owned())),
        14 => format!("[{}, {}, null]", n(random), n(random)),
        _ => format!("not ($ {order} {})", n(random)),
    }
}

fn text_test(random: &mut Random, plain: bool) -> String {
    let part = *random.pick(&["vi", "o", "new", "E", "s"]);
    match random.below(if plain { 12 } else { 7 }) {
        0 | 1 => text(random),
        2 => format!("{}, {}", text(random), text(random)),
        3 => format!("!= {}", text(random)),
        4 => format!("not in [{}, {}]", text(random), text(random)),
        5 => format!("[{}, {}]", text(random), text(random)),
        6 => format!("$ == {} or $ == null", text(random)),
        7 => format!("startsWith($, \"{part}\")"),
        8 => format!("endsWith($, \"{part}\") or contains($, '{part}')"),
        9 => format!("not contains($, \"{part}\")"),
        // Brackets around `and` never pass in a cell of zen's.
        _ => test_of_text(random, "$").replacen("(true and ", "(", 1),
    }
}
