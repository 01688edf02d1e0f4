//! Rules as they are checked, evaluated and compiled: typed values, and the steps that compute them in order. Owns the form
//! that the evaluator and the code generator share; knows neither JSON nor CSV.
//!
//! A value is a number, a flag or a text, or missing. An expression *fails* where ZEN's would stop with an error (arithmetic or
//! an order with what is missing); what a failure means is the step's to say.

mod expr;

use selvedge_decision::manifest::{Input, Scope};

pub(super) use self::expr::{Arithmetic, Between, Expr, Order, Rounding, Texts};

/// Checked rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The inputs, in the manifest's order.
    pub inputs: Vec<Input>,
    /// The value of each input.
    pub(super) input_values: Vec<ValueId>,
    /// All values, inputs among them.
    pub(super) values: Vec<Value>,
    /// What computes the others, in an order in which all that is needed is there.
    pub(super) steps: Vec<Step>,
    /// What the module answers.
    pub outputs: Vec<Answer>,
    /// Every text the rules know, sorted; a text's number is its place.
    pub texts: Vec<String>,
    /// The most candidate rows of one call.
    pub rows: u32,
    /// The names of all declared inputs, needed or not, and where each belongs.
    pub(super) declared: Vec<(String, Scope)>,
    /// How many parts of expressions, and names handed on, were looked at to make it.
    pub(super) work: usize,
}

/// Which value of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ValueId(pub(super) u32);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) scope: Scope,
}

/// What a value is, when it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// A 64-bit float.
    Number,
    /// True or false.
    Flag,
    /// A text, by its place in [`Program::texts`], or -1 for one the rules do not know.
    Text,
}

/// One output column.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Type,
    pub(super) value: ValueId,
    /// What stands in for a value that is missing.
    pub(super) default: Option<Literal>,
    /// The smallest value it can take, where known.
    pub(super) min: Option<f64>,
}

/// A value written down.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Number(f64),
    Flag(bool),
    Text(Text),
}

/// A text that is written down.
#[derive(Debug, Clone)]
pub(super) struct Text {
    text: String,
    /// Its place in [`Program::texts`], told when all of them are known: looking it up each time is what takes longest.
    number: f64,
}

/// What computes values. One with an `active` flag runs when the flag is true; else what it gives is missing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// A value by an expression. When it fails, the value is missing, and `failed` true where one is named.
    Let {
        value: ValueId,
        expr: Expr,
        failed: Option<ValueId>,
        active: Option<ValueId>,
    },
    /// The branches of a switch: a flag each, never missing; false when it does not run.
    Switch {
        branches: Vec<(ValueId, Option<Expr>)>,
        first: bool,
        active: Option<ValueId>,
    },
    Table(Table),
}

/// A decision table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The name of its node.
    pub name: String,
    /// The input columns, for people.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Row>,
    pub(super) outputs: Vec<Column>,
    pub(super) targets: Vec<Target>,
    /// Which row fired, from 0.
    pub(super) row: ValueId,
    /// Whether all rows that match count, each into its target's aggregate.
    pub(super) collect: bool,
    pub(super) active: Option<ValueId>,
}

/// A column of a table, for people and for analysis.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its head as people see it.
    pub name: String,
    /// The value its cells speak of; `None` where each cell is a statement of its own, and for outputs.
    pub(super) value: Option<ValueId>,
}

/// Where an output column goes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) value: ValueId,
    pub(super) aggregate: Option<Aggregate>,
    /// What it is when no row says otherwise.
    pub(super) initial: Initial,
}

/// What a target is before any row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Initial {
    Missing,
    /// For a sum or a count.
    Zero,
    /// The value that a node before gave the same name.
    Value(ValueId),
}

/// How the values of all matching rows become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
    Count,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Statements that must all hold, by the column they stand in; `None` where the cell is blank.
    pub(super) tests: Vec<Option<Expr>>,
    /// More statements that must hold, such as its dates.
    pub(super) also: Vec<Expr>,
    pub(super) outputs: Vec<Option<Expr>>,
    /// The cells as written: inputs, then outputs.
    pub cells: Vec<String>,
    /// What the author noted.
    pub note: String,
}

// === impl Program ===

impl Program {
    pub(super) fn value(&self, id: ValueId) -> &Value {
        &self.values[id.at()]
    }

    /// The tables, in the order of their evaluation.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.steps.iter().filter_map(|step| match step {
            Step::Table(table) => Some(table),
            Step::Let { .. } | Step::Switch { .. } => None,
        })
    }

    pub(super) fn tables_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.steps.iter_mut().filter_map(|step| match step {
            Step::Table(table) => Some(table),
            Step::Let { .. } | Step::Switch { .. } => None,
        })
    }

    /// The number of a text: -1 when the rules do not know it.
    pub(super) fn text(&self, text: &str) -> f64 {
        self.texts.binary_search_by(|known| known.as_str().cmp(text)).map_or(-1.0, |at| at as f64)
    }
}

// === impl Literal ===

impl Literal {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(Text { text: text.to_owned(), number: -1.0 })
    }

    /// As a number of the boundary.
    pub(super) fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Flag(flag) => f64::from(*flag),
            Self::Text(text) => text.number,
        }
    }

    /// Tells a text its number.
    pub(super) fn tell(&mut self, number_of: &impl Fn(&str) -> f64) {
        if let Self::Text(Text { text, number }) = self {
            *number = number_of(text);
        }
    }
}

// === impl Text ===

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

// === impl Value ===

impl ValueId {
    pub(super) fn at(self) -> usize {
        self.0 as usize
    }
}

// === impl Step ===

impl Step {
    /// The values it gives.
    pub(super) fn gives(&self) -> Vec<ValueId> {
        match self {
            Self::Let { value, failed, .. } => std::iter::once(*value).chain(*failed).collect(),
            Self::Switch { branches, .. } => branches.iter().map(|(value, _)| *value).collect(),
            Self::Table(table) => {
                table.targets.iter().map(|target| target.value).chain(std::iter::once(table.row)).collect()
            }
        }
    }

    /// The flag without which it does not run.
    pub(super) fn active(&self) -> Option<ValueId> {
        match self {
            Self::Let { active, .. } | Self::Switch { active, .. } => *active,
            Self::Table(table) => table.active,
        }
    }

    /// Calls `visit` with every expression in it.
    pub(super) fn each_expr<'e>(&'e self, visit: &mut impl FnMut(&'e Expr)) {
        match self {
            Self::Let { expr, .. } => visit(expr),
            Self::Switch { branches, .. } => {
                branches.iter().filter_map(|(_, condition)| condition.as_ref()).for_each(visit);
            }
            Self::Table(table) => {
                for row in &table.rows {
                    row.tests
                        .iter()
                        .flatten()
                        .chain(&row.also)
                        .chain(row.outputs.iter().flatten())
                        .for_each(&mut *visit);
                }
            }
        }
    }

    /// As [`Step::each_expr`], to change them.
    pub(super) fn each_expr_mut(&mut self, visit: &mut impl FnMut(&mut Expr)) {
        match self {
            Self::Let { expr, .. } => visit(expr),
            Self::Switch { branches, .. } => {
                branches.iter_mut().filter_map(|(_, condition)| condition.as_mut()).for_each(visit);
            }
            Self::Table(table) => {
                for Row { tests, also, outputs, .. } in &mut table.rows {
                    tests.iter_mut().flatten().chain(also).chain(outputs.iter_mut().flatten()).for_each(&mut *visit);
                }
            }
        }
    }
}

// === impl Row ===

impl Row {
    /// Whether it fires whatever the inputs are, when no row before did.
    pub(super) fn always_fires(&self) -> bool {
        self.also.is_empty()
            && self.tests.iter().all(Option::is_none)
            && !self.outputs.iter().flatten().any(Expr::can_fail)
    }
}

// === impl Type ===

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Flag => "flag",
            Self::Text => "text",
        })
    }
}
