//! Steps become instructions. Owns locals, labels, and the shape of tables, switches and keys; expressions are
//! `codegen/expr.rs`.
//!
//! A failing expression jumps out of the block around it: of the row, so that the row does not fire, or of the key, so that
//! it stays missing.

use std::collections::BTreeMap;

use selvedge_decision::manifest::Scope;
use wasm_encoder::{BlockType, Encode as _, Function, Instruction as I, MemArg, ValType};

use super::super::program::{Aggregate, Answer, Expr, Initial, Program, Row, Step, Table, Target, ValueId};
use super::REMAINDER;

/// How many rows share one way out of them.
const RUN: usize = 64;

/// A block that is open, by how many were open with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(u32);

/// Instructions being written.
pub(super) struct Emit<'p> {
    pub(super) program: &'p Program,
    /// Instructions as they stand in the module: a tenth of what they are apart.
    code: Vec<u8>,
    /// Whether one of them calls the remainder.
    divides: bool,
    /// The local of each value.
    locals: BTreeMap<ValueId, u32>,
    /// The first local for numbers, how many there are, and those free to hold a number for a while.
    first: u32,
    count: u32,
    free: Vec<u32>,
    depth: u32,
}

// === impl Emit ===

impl<'p> Emit<'p> {
    pub(super) fn new(program: &'p Program, first: u32) -> Self {
        let given = program.steps.iter().flat_map(Step::gives);
        let values: Vec<ValueId> = program.input_values.iter().copied().chain(given).collect();
        let locals = values.iter().enumerate().map(|(at, value)| (*value, first + at as u32)).collect();
        let count = values.len() as u32;
        Self { program, code: Vec::new(), divides: false, locals, first, count, free: Vec::new(), depth: 0 }
    }

    /// The function, and whether it calls the remainder.
    pub(super) fn finish(self) -> (Function, bool) {
        let ints = self.first - 5;
        let mut function = Function::new([(ints, ValType::I32), (self.count, ValType::F64)]);
        function.raw(self.code);
        (function, self.divides)
    }

    /// How many bytes were written.
    pub(super) fn bytes(&self) -> usize {
        self.code.len()
    }

    pub(super) fn one(&mut self, instruction: I<'static>) {
        self.divides |= matches!(instruction, I::Call(REMAINDER));
        instruction.encode(&mut self.code);
    }

    pub(super) fn all<const N: usize>(&mut self, instructions: [I<'static>; N]) {
        instructions.into_iter().for_each(|instruction| self.one(instruction));
    }

    // === labels ===

    pub(super) fn open(&mut self) -> Label {
        self.one(I::Block(BlockType::Empty));
        self.depth += 1;
        Label(self.depth)
    }

    pub(super) fn close(&mut self) {
        self.one(I::End);
        self.depth -= 1;
    }

    /// What stands inside a block that was opened by hand, and its end.
    pub(super) fn inside(&mut self, write: impl FnOnce(&mut Self)) {
        self.depth += 1;
        write(self);
        self.close();
    }

    pub(super) fn jump(&mut self, label: Label) {
        self.one(I::Br(self.depth - label.0));
    }

    pub(super) fn jump_if(&mut self, label: Label) {
        self.one(I::BrIf(self.depth - label.0));
    }

    /// `else` of an `if` that is open.
    pub(super) fn otherwise(&mut self) {
        self.one(I::Else);
    }

    // === locals ===

    pub(super) fn local(&self, value: ValueId) -> u32 {
        self.locals.get(&value).copied().unwrap_or(self.first)
    }

    /// A local for a while; give it back with [`Emit::release`].
    pub(super) fn hold(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.first + self.count - 1
        })
    }

    pub(super) fn release(&mut self, local: u32) {
        self.free.push(local);
    }

    fn set(&mut self, value: ValueId, number: f64) {
        let local = self.local(value);
        self.all([I::F64Const(number.into()), I::LocalSet(local)]);
    }

    // === the parts of a call ===

    /// Loads the inputs of one row from the address in `row`.
    pub(super) fn inputs(&mut self, scope: Scope, row: u32, at: impl Fn(u32) -> MemArg) {
        let program = self.program;
        let of_row = program.inputs.iter().zip(&program.input_values).filter(|(input, _)| input.scope == scope);
        for (column, (_, value)) in of_row.enumerate() {
            let local = self.local(*value);
            self.all([I::LocalGet(row), I::F64Load(at(column as u32)), I::LocalSet(local)]);
        }
    }

    /// The steps whose values belong to one row.
    pub(super) fn steps(&mut self, scope: Scope) {
        let program = self.program;
        for step in program.steps.iter().filter(|step| step.scope(program) == scope) {
            match step {
                Step::Let { value, expr, failed, active } => self.key(*value, expr, *failed, *active),
                Step::Switch { branches, first, active } => self.switch(branches, *first, *active),
                Step::Table(table) => self.table(table),
            }
        }
    }

    /// An output's number, or its default.
    pub(super) fn output(&mut self, output: &Answer) {
        let local = self.local(output.value);
        self.one(I::LocalGet(local));
        if let Some(default) = &output.default {
            let default = self.program.number(default);
            self.all([I::F64Const(default.into()), I::LocalGet(local), I::LocalGet(local), I::F64Eq, I::Select]);
        }
    }

    /// Jumps to `out` when a step does not run.
    fn run_when(&mut self, active: Option<ValueId>, out: Label) {
        if let Some(active) = active {
            let local = self.local(active);
            self.all([I::LocalGet(local), I::F64Const(0.0.into()), I::F64Eq]);
            self.jump_if(out);
        }
    }

    fn key(&mut self, value: ValueId, expr: &Expr, failed: Option<ValueId>, active: Option<ValueId>) {
        if active.is_some() || expr.can_fail() {
            self.set(value, f64::NAN);
        }
        failed.into_iter().for_each(|failed| self.set(failed, 0.0));
        let out = self.open();
        self.run_when(active, out);
        failed.into_iter().for_each(|failed| self.set(failed, 1.0));
        self.value(expr, out);
        let local = self.local(value);
        self.one(I::LocalSet(local));
        failed.into_iter().for_each(|failed| self.set(failed, 0.0));
        self.close();
    }

    fn switch(&mut self, branches: &[(ValueId, Option<Expr>)], first: bool, active: Option<ValueId>) {
        branches.iter().for_each(|(flag, _)| self.set(*flag, 0.0));
        let out = self.open();
        self.run_when(active, out);
        for (flag, condition) in branches {
            let next = self.open();
            condition.iter().for_each(|condition| self.require(condition, next));
            self.set(*flag, 1.0);
            if first {
                self.jump(out);
            }
            self.close();
        }
        self.close();
    }

    fn table(&mut self, table: &Table) {
        self.set(table.row, f64::NAN);
        // What the local holds otherwise is the candidate's before.
        for target in &table.targets {
            if table.active.is_some() || target.initial == Initial::Missing {
                self.set(target.value, f64::NAN);
            }
        }
        let done = self.open();
        self.run_when(table.active, done);
        for target in &table.targets {
            self.start(target);
        }
        // A row that fires leaves its run of rows, and each run leaves the table: a way out with thousands of ways to it
        // would make the engine's compiler slow.
        for (run, rows) in table.rows.chunks(RUN).enumerate() {
            let fired = self.open();
            for (at, row) in rows.iter().enumerate() {
                self.row(table, run * RUN + at, row, fired);
            }
            self.close();
            if !table.collect && table.rows.len() > RUN {
                let local = self.local(table.row);
                self.all([I::LocalGet(local), I::LocalGet(local), I::F64Eq]);
                self.jump_if(done);
            }
        }
        self.close();
    }

    fn row(&mut self, table: &Table, at: usize, row: &Row, fired: Label) {
        let next = self.open();
        row.also.iter().chain(row.tests.iter().flatten()).for_each(|test| self.require(test, next));
        self.answer(table, row, next);
        if table.collect {
            let local = self.local(table.row);
            self.all([I::LocalGet(local), I::F64Const((at as f64).into()), I::LocalGet(local), I::LocalGet(local)]);
            self.all([I::F64Eq, I::Select, I::LocalSet(local)]);
        } else {
            self.set(table.row, at as f64);
            self.jump(fired);
        }
        self.close();
    }

    fn start(&mut self, target: &Target) {
        match target.initial {
            Initial::Missing => {}
            Initial::Zero => self.set(target.value, 0.0),
            Initial::Value(before) => {
                let (before, local) = (self.local(before), self.local(target.value));
                self.all([I::LocalGet(before), I::LocalSet(local)]);
            }
        }
    }

    /// The cells of a row that fires. All of them are computed before one is kept: a failing one leaves none.
    fn answer(&mut self, table: &Table, row: &Row, next: Label) {
        let cells: Vec<(&Target, &Expr)> = table
            .targets
            .iter()
            .zip(&row.outputs)
            .filter_map(|(target, expr)| Some((target, expr.as_ref()?)))
            .collect();
        for (_, expr) in &cells {
            self.value(expr, next);
        }
        for (target, expr) in cells.into_iter().rev() {
            let local = self.local(target.value);
            match target.aggregate {
                None => self.one(I::LocalSet(local)),
                Some(aggregate) => self.add(aggregate, target.initial, local, expr.can_be_missing()),
            }
        }
    }

    /// Adds the number on the stack to an aggregate.
    fn add(&mut self, aggregate: Aggregate, initial: Initial, local: u32, can_be_missing: bool) {
        let value = self.hold();
        self.one(I::LocalSet(value));
        let missing = |local: u32| [I::LocalGet(local), I::LocalGet(local), I::F64Ne];
        let (first, with) = match aggregate {
            Aggregate::Sum => (I::LocalGet(value), [I::LocalGet(local), I::LocalGet(value), I::F64Add]),
            Aggregate::Count => (I::F64Const(1.0.into()), [I::LocalGet(local), I::F64Const(1.0.into()), I::F64Add]),
            Aggregate::Min => (I::LocalGet(value), [I::LocalGet(local), I::LocalGet(value), I::F64Min]),
            Aggregate::Max => (I::LocalGet(value), [I::LocalGet(local), I::LocalGet(value), I::F64Max]),
        };
        // New, or what was there when the value is missing.
        if initial == Initial::Missing {
            self.one(first);
            self.all(with);
            self.all(missing(local));
            self.one(I::Select);
        } else {
            self.all(with);
        }
        if can_be_missing {
            let new = self.hold();
            self.all([I::LocalSet(new), I::LocalGet(local), I::LocalGet(new)]);
            self.all(missing(value));
            self.one(I::Select);
            self.release(new);
        }
        self.one(I::LocalSet(local));
        self.release(value);
    }
}
