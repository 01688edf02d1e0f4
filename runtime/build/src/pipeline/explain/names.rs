//! Names for columns, after the inputs they come from: a scaled `age` is still `age`, one of a one-hot `country` is
//! `country=DE`. Owns which columns get one, and how long it may be.

use std::collections::BTreeMap;

use selvedge_decision::manifest::Kind;

use crate::pipeline::Pipeline;
use crate::pipeline::step::{Column, Step};

/// The longest name, in bytes; a longer one is cut: names of names would double with every step.
const MAX_NAME: usize = 200;

/// The names of the columns that were asked for, and of those that they are called after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names(BTreeMap<Column, String>);

// === impl Names ===

impl Names {
    /// The names of `wanted`.
    pub(super) fn of(pipeline: &Pipeline, wanted: impl Iterator<Item = Column>) -> Self {
        let wanted = called_after(pipeline, wanted);
        let mut names = Self(BTreeMap::new());
        // The texts of the columns that are symbols.
        let mut symbols: BTreeMap<Column, &[String]> = BTreeMap::new();
        let mut next: Column = 0;
        for input in &pipeline.inputs {
            if input.kind == Kind::Symbol {
                symbols.insert(next, &input.symbols);
            }
            for at in 0..input.width() {
                if wanted[next as usize] {
                    let is_vector = input.kind == Kind::Vector;
                    let name = if is_vector { format!("{}[{at}]", input.name) } else { input.name.clone() };
                    names.0.insert(next, cut(name));
                }
                next += 1;
            }
        }
        for (number, step) in pipeline.steps.iter().enumerate() {
            let own = next..next + step.width() as Column;
            next = own.end;
            let slots = match step {
                Step::OneHot { column, .. } if own.clone().any(|own| wanted[own as usize]) => {
                    texts_of_slots(step, symbols.get(column).copied().unwrap_or_default())
                }
                _ => BTreeMap::new(),
            };
            for (at, own) in own.enumerate().filter(|(_, own)| wanted[*own as usize]) {
                let name = names.made(number, step, at, &slots);
                names.0.insert(own, cut(name));
            }
        }
        names
    }

    /// The name of a column; empty when it was not asked for.
    pub(super) fn get(&self, column: Column) -> &str {
        self.0.get(&column).map_or("", String::as_str)
    }

    /// The name of the column `at` of a step.
    fn made(&self, number: usize, step: &Step, at: usize, slots: &BTreeMap<i32, Vec<&str>>) -> String {
        match step {
            Step::OneHot { column, .. } => {
                let texts = slots.get(&(at as i32)).into_iter().flatten().copied();
                format!("{}={}", self.get(*column), joined(texts, "|"))
            }
            Step::Table { column, width: 1, .. } => self.get(*column).to_owned(),
            Step::Table { column, .. } => format!("{}[{at}]", self.get(*column)),
            Step::IsMissing { columns } => format!("missing({})", self.get(columns[at])),
            Step::Apply { columns, function } => {
                let function = serde_json::to_value(function).unwrap_or_default();
                format!("{}({})", function.as_str().unwrap_or_default(), self.get(columns[at]))
            }
            Step::Impute { columns, .. }
            | Step::ZeroIsMissing { columns }
            | Step::Scale { columns, .. }
            | Step::Clip { columns, .. } => self.get(columns[at]).to_owned(),
            Step::Products { terms } => joined(terms[at].iter().map(|column| self.get(*column)), "*"),
            Step::Index { column, .. } | Step::Bins { column, .. } => format!("bin({})", self.get(*column)),
            _ => format!("steps[{number}][{at}]"),
        }
    }
}

/// Whether each column is wanted, or one that is wanted is called after it.
fn called_after(pipeline: &Pipeline, columns: impl Iterator<Item = Column>) -> Vec<bool> {
    let mut wanted = vec![false; pipeline.width()];
    columns.for_each(|column| wanted[column as usize] = true);
    let mut end = wanted.len();
    for step in pipeline.steps.iter().rev() {
        let first = end - step.width();
        for at in (0..step.width()).filter(|at| wanted[first + at]).collect::<Vec<_>>() {
            let mut want = |column: &Column| wanted[*column as usize] = true;
            match step {
                Step::OneHot { column, .. }
                | Step::Table { column, .. }
                | Step::Index { column, .. }
                | Step::Bins { column, .. } => want(column),
                Step::IsMissing { columns }
                | Step::Apply { columns, .. }
                | Step::Impute { columns, .. }
                | Step::ZeroIsMissing { columns }
                | Step::Scale { columns, .. }
                | Step::Clip { columns, .. } => want(&columns[at]),
                Step::Products { terms } => terms[at].iter().for_each(want),
                _ => {}
            }
        }
        end = first;
    }
    wanted
}

/// What each slot of a one-hot stands for.
fn texts_of_slots<'a>(step: &Step, symbols: &'a [String]) -> BTreeMap<i32, Vec<&'a str>> {
    let mut texts: BTreeMap<i32, Vec<&str>> = BTreeMap::new();
    if let Step::OneHot { slots, other, missing, .. } = step {
        let known = slots.iter().copied().zip(symbols.iter().map(String::as_str));
        for (slot, text) in known.chain([(*other, "(other)"), (*missing, "(missing)")]) {
            texts.entry(slot).or_default().push(text);
        }
    }
    texts
}

/// Names with something between, as far as they are read.
fn joined<'a>(names: impl Iterator<Item = &'a str>, between: &str) -> String {
    let mut joined = String::new();
    for (at, name) in names.enumerate() {
        if joined.len() > MAX_NAME {
            break;
        }
        joined.extend([if at > 0 { between } else { "" }, name]);
    }
    joined
}

fn cut(mut name: String) -> String {
    if name.len() > MAX_NAME {
        name.truncate(name.floor_char_boundary(MAX_NAME - 3));
        name.push('…');
    }
    name
}
