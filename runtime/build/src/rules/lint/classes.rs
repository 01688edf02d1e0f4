//! The classes of a column's values: values that pass the same cells. Owns which values stand for all: every number that a
//! cell names, what lies between and beyond; every text, and any other; true and false; and what is missing.

use std::collections::BTreeSet;

use super::super::eval;
use super::super::program::{Expr, Literal, Program, Table, Type, ValueId};

/// A set of rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Rows(Vec<u64>);

/// Values of a column that the same rows take.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Class {
    /// One of the values.
    value: f64,
    pub(super) is_missing: bool,
    /// The rows whose cell it passes, or may pass.
    pub(super) may: Rows,
}

/// The classes of all columns.
#[derive(Debug)]
pub(super) struct Grid {
    pub(super) columns: Vec<Vec<Class>>,
    /// All rows.
    pub(super) every: Rows,
    /// Rows that fire whenever their cells pass: nothing else about them is unknown.
    pub(super) sure: Rows,
}

// === impl Rows ===

impl Rows {
    fn new(count: usize, is_in: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0u64; count.div_ceil(64)];
        (0..count).filter(|row| is_in(*row)).for_each(|row| words[row / 64] |= 1 << (row % 64));
        Self(words)
    }

    pub(super) fn has(&self, row: usize) -> bool {
        self.0.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * 64).filter(|row| self.has(*row))
    }
}

// === impl Class ===

impl Class {
    /// A value of it as people write it.
    pub(super) fn show(&self, program: &Program, column: Option<ValueId>) -> String {
        match column.map(|value| program.value(value).kind) {
            _ if self.is_missing => "nothing".to_owned(),
            Some(Type::Flag) => (self.value != 0.0).to_string(),
            Some(Type::Text) if self.value < 0.0 => "any other text".to_owned(),
            Some(Type::Text) => format!("{:?}", program.texts.get(self.value as usize).map_or("", String::as_str)),
            Some(Type::Number) | None => self.value.to_string(),
        }
    }
}

// === impl Grid ===

impl Grid {
    pub(super) fn new(program: &Program, table: &Table) -> Self {
        let count = table.rows.len();
        let mut unsure: BTreeSet<usize> = (0..count).filter(|row| !table.rows[*row].also.is_empty()).collect();
        let mut columns = Vec::new();
        for (at, column) in table.columns.iter().enumerate() {
            let cells: Vec<Option<&Expr>> = table.rows.iter().map(|row| row.tests[at].as_ref()).collect();
            let own = |expr: &Expr| {
                let mut only = column.value.is_some();
                expr.each_value(&mut |value| only &= Some(value) == column.value);
                only
            };
            unsure.extend((0..count).filter(|row| cells[*row].is_some_and(|cell| !own(cell))));
            let Some(value) = column.value else {
                columns.push(vec![Class { value: 0.0, is_missing: false, may: Rows::new(count, |_| true) }]);
                continue;
            };
            let mut numbers = BTreeSet::new();
            cells.iter().flatten().filter(|cell| own(cell)).for_each(|cell| literals(program, cell, &mut numbers));
            let mut classes: Vec<Class> = Vec::new();
            for number in standing(program.value(value).kind, numbers) {
                let passes = |row: usize| {
                    cells[row].is_none_or(|cell| !own(cell) || eval::holds_for(program, cell, value, number))
                };
                let class = Class { value: number, is_missing: number.is_nan(), may: Rows::new(count, passes) };
                if !classes.iter().any(|other| other.may == class.may && other.is_missing == class.is_missing) {
                    classes.push(class);
                }
            }
            columns.push(classes);
        }
        Self { columns, every: Rows::new(count, |_| true), sure: Rows::new(count, |row| !unsure.contains(&row)) }
    }
}

fn literals(program: &Program, expr: &Expr, numbers: &mut BTreeSet<u64>) {
    if let Expr::Literal(literal @ (Literal::Number(_) | Literal::Text(_))) = expr {
        numbers.insert(program.number(literal).to_bits());
    }
    expr.parts().into_iter().for_each(|part| literals(program, part, numbers));
}

/// A value for every class there can be.
fn standing(kind: Type, numbers: BTreeSet<u64>) -> Vec<f64> {
    let mut named: Vec<f64> = numbers.into_iter().map(f64::from_bits).collect();
    named.sort_by(f64::total_cmp);
    let mut values = match kind {
        Type::Flag => vec![0.0, 1.0],
        Type::Text => named.iter().copied().chain([-1.0]).collect(),
        Type::Number => {
            let mut values = Vec::new();
            let ends = named.first().zip(named.last()).map(|(first, last)| [first - 1.0, last + 1.0]);
            values.extend(ends.into_iter().flatten());
            values.extend(named.windows(2).map(|pair| pair[0] + (pair[1] - pair[0]) / 2.0));
            values.extend(named.iter().flat_map(|number| [*number, number.next_up(), number.next_down()]));
            if values.is_empty() { vec![0.0] } else { values }
        }
    };
    values.push(f64::NAN);
    values
}
