//! The reference: evaluates a program on rows of numbers as the module must, by plain recursion over the typed tree. Owns
//! the meaning of every expression; shares no code with the code generator.

use std::cell::Cell;

use super::program::{
    Aggregate, Arithmetic, Expr, Initial, Order, Program, Rounding, Step, Table, Target, Texts, ValueId,
};
use selvedge_decision::manifest::Scope;

/// What one candidate's evaluation came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// The outputs, in the manifest's order; NaN is no value.
    pub outputs: Vec<f64>,
    /// For each table that was reached, by its place in [`Program::tables`]: the rows that fired.
    pub fired: Vec<(usize, Vec<usize>)>,
}

// === impl Evaluated ===

impl Evaluated {
    /// The rows that fired: table, row.
    pub fn fired_rows(&self) -> impl Iterator<Item = (usize, usize)> {
        self.fired.iter().flat_map(|(table, rows)| rows.iter().map(|row| (*table, *row)))
    }
}

/// ZEN would stop with an error.
struct Fails;

type Outcome<T> = Result<T, Fails>;

/// Evaluates one candidate.
pub fn evaluate(program: &Program, shared: &[f64], candidate: &[f64]) -> Evaluated {
    evaluate_counted(program, shared, candidate).0
}

/// As [`evaluate`], with how many values and parts of expressions were gone through.
pub(super) fn evaluate_counted(program: &Program, shared: &[f64], candidate: &[f64]) -> (Evaluated, usize) {
    let mut run = Run::new(program);
    let (mut shared, mut candidate) = (shared.iter(), candidate.iter());
    for (input, id) in program.inputs.iter().zip(&program.input_values) {
        let row = if input.scope == Scope::Shared { &mut shared } else { &mut candidate };
        run.values[id.at()] = row.next().copied().unwrap_or(f64::NAN);
    }
    let mut fired = Vec::new();
    let mut tables = 0;
    for step in &program.steps {
        run.step(step, &mut tables, &mut fired);
    }
    let outputs = program.outputs.iter().map(|output| {
        let value = run.values[output.value.at()];
        match &output.default {
            Some(default) if value.is_nan() => default.number(),
            _ => value,
        }
    });
    let evaluated = Evaluated { outputs: outputs.collect(), fired };
    (evaluated, run.values.len() + run.visited.get())
}

/// An evaluation under way.
pub(super) struct Run<'p> {
    program: &'p Program,
    values: Vec<f64>,
    /// How many parts of expressions were gone through.
    visited: Cell<usize>,
}

// === impl Run ===

impl<'p> Run<'p> {
    fn new(program: &'p Program) -> Self {
        Self { program, values: vec![f64::NAN; program.values.len()], visited: Cell::new(0) }
    }

    /// With inputs in the manifest's order; values that steps give are missing.
    pub(super) fn of_inputs(program: &'p Program, inputs: &[f64]) -> Self {
        let mut run = Self::new(program);
        inputs.iter().enumerate().for_each(|(input, number)| run.set_input(input, *number));
        run
    }

    pub(super) fn set_input(&mut self, input: usize, number: f64) {
        self.values[self.program.input_values[input].at()] = number;
    }

    pub(super) fn visited(&self) -> usize {
        self.visited.get()
    }

    fn step(&mut self, step: &Step, tables: &mut usize, fired: &mut Vec<(usize, Vec<usize>)>) {
        match step {
            Step::Let { value, expr, failed, active } => {
                let found = if self.is_active(*active) { self.value(expr) } else { Ok(f64::NAN) };
                if let Some(failed) = failed {
                    self.values[failed.at()] = f64::from(found.is_err());
                }
                self.values[value.at()] = found.unwrap_or(f64::NAN);
            }
            Step::Switch { branches, first, active } => {
                let mut open = self.is_active(*active);
                for (flag, condition) in branches {
                    let holds = open && condition.as_ref().is_none_or(|condition| self.holds(condition));
                    self.values[flag.at()] = f64::from(holds);
                    open &= !(holds && *first);
                }
            }
            Step::Table(table) => {
                let active = self.is_active(table.active);
                for target in &table.targets {
                    self.values[target.value.at()] = if active { self.start(target) } else { f64::NAN };
                }
                self.values[table.row.at()] = f64::NAN;
                if active {
                    fired.push((*tables, self.table(table)));
                }
                *tables += 1;
            }
        }
    }

    fn is_active(&self, active: Option<ValueId>) -> bool {
        active.is_none_or(|active| self.values[active.at()] == 1.0)
    }

    fn start(&self, target: &Target) -> f64 {
        match target.initial {
            Initial::Missing => f64::NAN,
            Initial::Zero => 0.0,
            Initial::Value(before) => self.values[before.at()],
        }
    }

    /// Runs a table; the rows that fired.
    fn table(&mut self, table: &Table) -> Vec<usize> {
        let mut fired = Vec::new();
        for (at, row) in table.rows.iter().enumerate() {
            if !row.also.iter().chain(row.tests.iter().flatten()).all(|test| self.holds(test)) {
                continue;
            }
            let outputs: Outcome<Vec<Option<f64>>> =
                row.outputs.iter().map(|expr| expr.as_ref().map(|expr| self.value(expr)).transpose()).collect();
            // A row whose answer cannot be computed is passed over, as in ZEN.
            let Ok(outputs) = outputs else { continue };
            for (target, output) in table.targets.iter().zip(outputs) {
                let Some(output) = output else { continue };
                let before = self.values[target.value.at()];
                self.values[target.value.at()] = match target.aggregate {
                    None => output,
                    Some(aggregate) => add(aggregate, before, output),
                };
            }
            if fired.is_empty() {
                self.values[table.row.at()] = at as f64;
            }
            fired.push(at);
            if !table.collect {
                break;
            }
        }
        fired
    }

    /// Whether a statement holds; one that fails or is missing does not.
    pub(super) fn holds(&self, expr: &Expr) -> bool {
        matches!(self.flag(expr), Ok(true))
    }

    fn flag(&self, expr: &Expr) -> Outcome<bool> {
        let value = self.value(expr)?;
        if value.is_nan() { Err(Fails) } else { Ok(value != 0.0) }
    }

    /// A number that is there.
    fn number(&self, expr: &Expr) -> Outcome<f64> {
        let value = self.value(expr)?;
        if value.is_nan() { Err(Fails) } else { Ok(value) }
    }

    fn value(&self, expr: &Expr) -> Outcome<f64> {
        self.visited.set(self.visited.get() + 1);
        let flag = |flag: bool| Ok(f64::from(flag));
        match expr {
            Expr::Literal(literal) => Ok(literal.number()),
            Expr::Missing => Ok(f64::NAN),
            Expr::Value(id) => Ok(self.values[id.at()]),
            Expr::Present(a) => self.number(a),
            Expr::Negate(a) => Ok(-self.number(a)?),
            Expr::Power(a, times) => {
                let a = self.number(a)?;
                let power = (0..*times).fold(1.0, |power, _| power * a);
                if power.is_finite() { Ok(power) } else { Err(Fails) }
            }
            Expr::Abs(a) => Ok(self.number(a)?.abs()),
            Expr::Round(how, a) => {
                let a = self.number(a)?;
                Ok(match how {
                    Rounding::Nearest => a.round(),
                    Rounding::Down => a.floor(),
                    Rounding::Up => a.ceil(),
                })
            }
            Expr::Arithmetic(op, a, b) => arithmetic(*op, self.number(a)?, self.number(b)?),
            Expr::Extreme { greatest, of } => {
                let numbers = of.iter().map(|expr| self.number(expr)).collect::<Outcome<Vec<_>>>()?;
                let pick = if *greatest { greater } else { lesser };
                Ok(numbers.into_iter().reduce(pick).unwrap_or(f64::NAN))
            }
            Expr::Order(order, a, b) => {
                let (a, b) = (self.number(a)?, self.number(b)?);
                flag(match order {
                    Order::Less => a < b,
                    Order::LessOrEqual => a <= b,
                    Order::More => a > b,
                    Order::MoreOrEqual => a >= b,
                })
            }
            Expr::Same(a, b, texts) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                flag(same(a, b) && is_known(a, *texts))
            }
            Expr::OneOf(value, of, texts) => {
                let value = self.value(value)?;
                let of = of.iter().map(|expr| self.value(expr)).collect::<Outcome<Vec<_>>>()?;
                flag(of.into_iter().any(|other| same(value, other)) && is_known(value, *texts))
            }
            Expr::Between(between) => {
                let (value, low, high) =
                    (self.number(&between.value)?, self.number(&between.low)?, self.number(&between.high)?);
                let above = if between.low_open { value > low } else { value >= low };
                let below = if between.high_open { value < high } else { value <= high };
                flag(above && below)
            }
            // The right side is handed on as it is, also when it is missing.
            Expr::And(a, b) => {
                if self.flag(a)? {
                    self.value(b)
                } else {
                    flag(false)
                }
            }
            Expr::Or(a, b) => {
                if self.flag(a)? {
                    flag(true)
                } else {
                    self.value(b)
                }
            }
            Expr::Not(a) => flag(!self.flag(a)?),
            Expr::If(parts) => self.value(&parts[if self.flag(&parts[0])? { 1 } else { 2 }]),
            Expr::Otherwise(a, b) => {
                let a = self.value(a)?;
                if a.is_nan() { self.value(b) } else { Ok(a) }
            }
        }
    }
}

/// Missing is the same as missing.
fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan()
}

/// Whether a value may be the same as another at all.
fn is_known(value: f64, texts: Texts) -> bool {
    texts == Texts::ByNumber || value != -1.0
}

fn arithmetic(op: Arithmetic, a: f64, b: f64) -> Outcome<f64> {
    let (value, divides) = match op {
        Arithmetic::Add => (a + b, false),
        Arithmetic::Subtract => (a - b, false),
        Arithmetic::Multiply => (a * b, false),
        Arithmetic::Divide => (a / b, true),
        Arithmetic::Modulo => (a % b, true),
    };
    match value.is_finite() {
        true => Ok(value),
        false if divides => Ok(f64::NAN),
        false => Err(Fails),
    }
}

fn add(aggregate: Aggregate, before: f64, value: f64) -> f64 {
    match aggregate {
        _ if value.is_nan() => before,
        Aggregate::Sum if before.is_nan() => value,
        Aggregate::Sum => before + value,
        Aggregate::Count if before.is_nan() => 1.0,
        Aggregate::Count => before + 1.0,
        Aggregate::Min if before.is_nan() => value,
        Aggregate::Min => lesser(before, value),
        Aggregate::Max if before.is_nan() => value,
        Aggregate::Max => greater(before, value),
    }
}

/// As WebAssembly's `f64.min`, without its NaN: of two zeros the negative one.
fn lesser(a: f64, b: f64) -> f64 {
    match a.partial_cmp(&b) {
        Some(std::cmp::Ordering::Less) => a,
        Some(std::cmp::Ordering::Equal) if a.is_sign_negative() => a,
        _ => b,
    }
}

fn greater(a: f64, b: f64) -> f64 {
    match a.partial_cmp(&b) {
        Some(std::cmp::Ordering::Greater) => a,
        Some(std::cmp::Ordering::Equal) if a.is_sign_positive() => a,
        _ => b,
    }
}

/// Whether a statement that reads one value alone holds for `number`.
pub(super) fn holds_for(program: &Program, expr: &Expr, value: ValueId, number: f64) -> bool {
    let mut values = vec![f64::NAN; value.at() + 1];
    values[value.at()] = number;
    Run { program, values, visited: Cell::new(0) }.holds(expr)
}
