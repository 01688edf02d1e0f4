//! The classes of a column's values: values that pass the same cells. Owns which values stand for all: every number that a
//! cell names, what lies between and beyond; every text, and any other; true and false; and what is missing.
//!
//! Only cells are taken apart that compare their column with what is written in them: such a cell tells values apart at the
//! numbers or texts it names and nowhere else, so it is evaluated there and once between.

use std::collections::{BTreeMap, BTreeSet};

use super::super::eval;
use super::super::program::{Expr, Literal, Program, Table, Type, ValueId};
use super::rows::Rows;

/// The most words of row sets that a table's values may need before equal ones become one class.
const MAX_WORDS: usize = 8_000_000;

/// Values of a column that the same rows take.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Class {
    /// One of the values.
    value: f64,
    pub(super) is_missing: bool,
    /// The rows whose cell it passes, or may pass.
    pub(super) may: Rows,
}

/// A value that cells speak of, and all columns that do.
#[derive(Debug)]
pub(super) struct Axis {
    /// Which columns; one alone where each cell is a statement of its own.
    pub(super) columns: Vec<usize>,
    pub(super) classes: Vec<Class>,
}

/// The classes of all values.
#[derive(Debug)]
pub(super) struct Grid {
    pub(super) axes: Vec<Axis>,
    /// How many words of row sets it took.
    pub(super) words: usize,
    /// All rows.
    pub(super) every: Rows,
    /// Rows that fire whenever their cells pass: nothing else about them is unknown.
    pub(super) sure: Rows,
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
    /// `None` when the table is too large.
    pub(super) fn new(program: &Program, table: &Table) -> Option<Self> {
        let count = table.rows.len();
        // A row with dates, or with an output that may fail, may be passed over although its cells pass.
        let mut unsure = Rows::new(count, |row| {
            let row = &table.rows[row];
            !row.also.is_empty() || row.outputs.iter().flatten().any(Expr::can_fail)
        });
        // Two columns of one value are not apart: what passes both counts.
        let mut of_value: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
        for (at, column) in table.columns.iter().enumerate() {
            column.value.into_iter().for_each(|value| of_value.entry(value).or_default().push(at));
        }
        let mut axes = Vec::new();
        let mut words = 0;
        for (at, column) in table.columns.iter().enumerate() {
            let columns = match column.value {
                Some(value) => of_value.remove(&value).unwrap_or_default(),
                None => vec![at],
            };
            if columns.is_empty() {
                continue;
            }
            let of = |at: usize| -> Vec<Cell<'_>> {
                table.rows.iter().map(|row| Cell::new(program, row.tests[at].as_ref(), column.value)).collect()
            };
            let cells: Vec<Vec<Cell<'_>>> = columns.iter().map(|at| of(*at)).collect();
            for (row, _) in
                cells.iter().flat_map(|cells| cells.iter().enumerate().filter(|(_, cell)| cell.is_unknown()))
            {
                unsure.insert(row);
            }
            let classes = match column.value {
                Some(value) => {
                    let values = Values::new(program.value(value).kind, cells.iter().flatten());
                    words += values.all.len() * count.div_ceil(64) * columns.len();
                    if words > MAX_WORDS {
                        return None;
                    }
                    values.classes(program, value, &cells)
                }
                None => vec![Class { value: 0.0, is_missing: false, may: Rows::new(count, |_| true) }],
            };
            axes.push(Axis { columns, classes });
        }
        let [every, sure] = [Rows::new(count, |_| true), Rows::new(count, |row| !unsure.has(row))];
        Some(Self { axes, words, every, sure })
    }
}

/// A cell, as far as its column's value alone decides it.
enum Cell<'p> {
    Blank,
    /// It compares the column with these numbers and numbers of texts.
    Plain(&'p Expr, BTreeSet<u64>),
    /// It may hold or not.
    Unknown,
}

// === impl Cell ===

impl<'p> Cell<'p> {
    fn new(program: &Program, test: Option<&'p Expr>, column: Option<ValueId>) -> Self {
        let Some(test) = test else { return Self::Blank };
        let Some(column) = column else { return Self::Unknown };
        let mut only = true;
        test.each_value(&mut |value| only &= value == column);
        // Of a flag every value is looked at, so it does not matter what is computed of it.
        if !only || program.value(column).kind != Type::Flag && !is_plain(test) {
            return Self::Unknown;
        }
        let mut named = BTreeSet::new();
        literals(test, &mut named);
        Self::Plain(test, named)
    }

    fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}

/// Whether the column's value stands in it only as one side of a comparison with what is written down.
fn is_plain(expr: &Expr) -> bool {
    let written = |expr: &Expr| matches!(expr, Expr::Literal(_) | Expr::Missing);
    let beside = |a: &Expr, b: &Expr| matches!(a, Expr::Value(_)) && written(b);
    match expr {
        Expr::Value(_) => false,
        Expr::Order(_, a, b) | Expr::Same(a, b, _) if beside(a, b) || beside(b, a) => true,
        Expr::OneOf(value, of, _) if matches!(**value, Expr::Value(_)) && of.iter().all(written) => true,
        Expr::Between(between)
            if matches!(between.value, Expr::Value(_)) && written(&between.low) && written(&between.high) =>
        {
            true
        }
        _ => expr.parts().into_iter().all(is_plain),
    }
}

fn literals(expr: &Expr, numbers: &mut BTreeSet<u64>) {
    if let Expr::Literal(literal @ (Literal::Number(_) | Literal::Text(_))) = expr {
        // One zero: the two are equal.
        numbers.insert((literal.number() + 0.0).to_bits());
    }
    expr.parts().into_iter().for_each(|part| literals(part, numbers));
}

/// A value for every class there can be, in an order in which what a cell does not tell apart stands side by side.
struct Values {
    all: Vec<f64>,
    /// Where the named ones stand.
    places: BTreeMap<u64, usize>,
}

// === impl Values ===

impl Values {
    fn new<'c>(kind: Type, cells: impl Iterator<Item = &'c Cell<'c>>) -> Self {
        let mut named: Vec<f64> = Vec::new();
        for cell in cells {
            if let Cell::Plain(_, numbers) = cell {
                named.extend(numbers.iter().map(|bits| f64::from_bits(*bits)));
            }
        }
        named.sort_by(f64::total_cmp);
        named.dedup();
        let mut values = Self { all: Vec::new(), places: BTreeMap::new() };
        match kind {
            Type::Flag => values.all.extend([0.0, 1.0]),
            Type::Text => {
                // Any other text, and one more beside each that is named, so that no two of them stand side by side.
                values.all.push(-1.0);
                for text in named.into_iter().filter(|text| *text >= 0.0) {
                    values.places.insert(text.to_bits(), values.all.len());
                    values.all.extend([text, -1.0]);
                }
            }
            Type::Number => {
                values.all.push(named.first().map_or(0.0, |first| below(*first)));
                for (at, number) in named.iter().enumerate() {
                    values.places.insert(number.to_bits(), values.all.len());
                    let next = named.get(at + 1);
                    let beyond = next.map_or_else(|| above(*number), |next| number / 2.0 + next / 2.0);
                    values.all.extend([*number, beyond]);
                }
            }
        }
        values.all.push(f64::NAN);
        values
    }

    /// The classes, by the cells of each column of the value.
    fn classes(&self, program: &Program, value: ValueId, columns: &[Vec<Cell<'_>>]) -> Vec<Class> {
        let mut passes: Option<Vec<Rows>> = None;
        for cells in columns {
            let own = self.passes(program, value, cells);
            passes = Some(match passes {
                Some(before) => before.iter().zip(&own).map(|(a, b)| a.and(b)).collect(),
                None => own,
            });
        }
        let passes = passes.unwrap_or_default();
        let mut classes: Vec<Class> = Vec::new();
        let mut seen = BTreeSet::new();
        for ((at, number), may) in self.all.iter().enumerate().zip(passes) {
            let is_missing = number.is_nan();
            if self.is_there(at) && seen.insert((is_missing, may.clone())) {
                classes.push(Class { value: *number, is_missing, may });
            }
        }
        classes
    }

    /// For each value, the rows whose cell of one column it passes.
    fn passes(&self, program: &Program, value: ValueId, cells: &[Cell<'_>]) -> Vec<Rows> {
        let always = Rows::new(cells.len(), |row| !matches!(cells[row], Cell::Plain(..)));
        let mut passes = vec![always; self.all.len()];
        for (row, cell) in cells.iter().enumerate() {
            if let Cell::Plain(test, named) = cell {
                self.mark(program, value, test, named, row, &mut passes);
            }
        }
        passes
    }

    /// Whether a value stands at `at`: between two numbers that follow each other there is none.
    fn is_there(&self, at: usize) -> bool {
        let neighbours = [at.checked_sub(1), Some(at + 1)];
        self.places.get(&self.all[at].to_bits()).is_some_and(|place| *place == at)
            || !neighbours.into_iter().flatten().filter_map(|at| self.all.get(at)).any(|beside| *beside == self.all[at])
    }

    /// Adds `row` to the values that pass its cell.
    fn mark(
        &self,
        program: &Program,
        value: ValueId,
        test: &Expr,
        named: &BTreeSet<u64>,
        row: usize,
        passes: &mut [Rows],
    ) {
        let last = self.all.len() - 1;
        let mut ends: Vec<usize> = named.iter().filter_map(|bits| self.places.get(bits)).copied().collect();
        ends.sort_unstable();
        // Flags have no places: each is looked at.
        let single: Vec<usize> = if self.places.is_empty() { (0..last).collect() } else { ends };
        let mut mark = |from: usize, to: usize| {
            let Some(at) = (from..to).find(|at| self.is_there(*at)) else { return };
            if eval::holds_for(program, test, value, self.all[at]) {
                passes[from..to].iter_mut().for_each(|rows| rows.insert(row));
            }
        };
        let mut from = 0;
        for at in single {
            mark(from, at);
            mark(at, at + 1);
            from = at + 1;
        }
        mark(from, last);
        mark(last, last + 1);
    }
}

fn below(number: f64) -> f64 {
    if (number - 1.0) < number { number - 1.0 } else { number.next_down() }
}

fn above(number: f64) -> f64 {
    if (number + 1.0) > number { number + 1.0 } else { number.next_up() }
}
