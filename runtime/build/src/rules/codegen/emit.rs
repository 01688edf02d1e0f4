//! Steps become instructions. Owns how the code is cut into functions, and the shape of tables, switches and keys; expressions are
//! `codegen/expr.rs`.
//!
//! A failing expression jumps out of the block around it: of the row, so that the row does not fire, or of the key, so that
//! it stays missing.

use selvedge_decision::manifest::Scope;
use wasm_encoder::{Function, Instruction as I};

use super::super::program::{Aggregate, Answer, Expr, Initial, Program, Row, Step, Table, Target, ValueId};
use super::values::{Homes, Place, Shape};
use super::writing::{Label, Writing};
use super::{CANDIDATE, FIRST_PART, NUMBERS, PARAMETERS, REMAINDER, SHARED};

/// How many rows share one way out of them.
const RUN: usize = 64;
/// A part that has so many bytes of instructions takes no more steps or rows.
const PART_BYTES: usize = 8 << 10;

/// Instructions being written.
pub(super) struct Emit<'p> {
    pub(super) program: &'p Program,
    pub(super) homes: Homes,
    pub(super) writing: Writing,
    /// The locals with the addresses of the request's row and of the candidate's.
    pub(super) rows: [u32; 2],
    shape: Shape,
    parts: Vec<Function>,
    /// Bytes of instructions of all parts.
    bytes: usize,
    /// Whether an instruction calls the remainder.
    divides: bool,
}

/// What was written.
pub(super) struct Written {
    pub(super) evaluate: Function,
    /// Functions of two addresses, of the request's row and the candidate's, whose result is whether a row fired.
    pub(super) parts: Vec<Function>,
    pub(super) divides: bool,
    /// Bytes of instructions of all functions.
    pub(super) bytes: usize,
    /// Numbers in memory between the constants and the arguments.
    pub(super) frame: u32,
    /// As [`Writing::weight`], of `evaluate`.
    pub(super) weight: usize,
}

// === impl Emit ===

impl<'p> Emit<'p> {
    pub(super) fn new(program: &'p Program, shape: Shape) -> Self {
        let homes = Homes::new(program, shape, NUMBERS);
        let writing = Writing::new(PARAMETERS, NUMBERS - PARAMETERS, homes.locals);
        let rows = [SHARED, CANDIDATE];
        Self { program, homes, writing, rows, shape, parts: Vec::new(), bytes: 0, divides: false }
    }

    pub(super) fn finish(self) -> Written {
        Written {
            bytes: self.bytes + self.writing.bytes(),
            weight: self.writing.weight(),
            evaluate: self.writing.finish(),
            parts: self.parts,
            divides: self.divides,
            frame: self.homes.frame,
        }
    }

    pub(super) fn one(&mut self, instruction: I<'static>) {
        self.divides |= matches!(instruction, I::Call(REMAINDER));
        self.writing.one(&instruction);
    }

    pub(super) fn all<const N: usize>(&mut self, instructions: [I<'static>; N]) {
        instructions.into_iter().for_each(|instruction| self.one(instruction));
    }

    // === labels ===

    pub(super) fn open(&mut self) -> Label {
        self.writing.open()
    }

    pub(super) fn close(&mut self) {
        self.writing.close();
    }

    /// What stands inside a block that was opened by hand, and its end.
    pub(super) fn inside(&mut self, write: impl FnOnce(&mut Self)) {
        self.writing.enter();
        write(self);
        self.close();
    }

    pub(super) fn jump(&mut self, label: Label) {
        self.one(I::Br(self.writing.out_of(label)));
    }

    pub(super) fn jump_if(&mut self, label: Label) {
        self.one(I::BrIf(self.writing.out_of(label)));
    }

    /// `else` of an `if` that is open.
    pub(super) fn otherwise(&mut self) {
        self.one(I::Else);
    }

    // === parts ===

    /// Writes a function of its own, which `write` leaves with a whole number on the stack, and calls it.
    fn part(&mut self, write: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.writing, Writing::new(2, 0, 0));
        let rows = std::mem::replace(&mut self.rows, [0, 1]);
        write(self);
        self.one(I::End);
        let part = std::mem::replace(&mut self.writing, outer);
        self.rows = rows;
        self.bytes += part.bytes();
        self.parts.push(part.finish());
        let at = FIRST_PART + self.parts.len() as u32 - 1;
        self.all([I::LocalGet(rows[0]), I::LocalGet(rows[1]), I::Call(at)]);
    }

    fn has_room(&self) -> bool {
        self.writing.bytes() < PART_BYTES
    }

    // === the parts of a call ===

    /// The steps whose values belong to one row.
    pub(super) fn steps(&mut self, scope: Scope) {
        let program = self.program;
        let mut steps = program.steps.iter().filter(|step| step.scope(program) == scope).peekable();
        if self.shape == Shape::Whole {
            return steps.for_each(|step| self.step(step));
        }
        while steps.peek().is_some() {
            self.part(|emit| {
                while emit.has_room()
                    && let Some(step) = steps.next()
                {
                    emit.step(step);
                }
                emit.one(I::I32Const(0));
            });
            self.one(I::Drop);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Let { value, expr, failed, active } => self.key(*value, expr, *failed, *active),
            Step::Switch { branches, first, active } => self.switch(branches, *first, *active),
            Step::Table(table) => self.table(table),
        }
    }

    /// An output's number, or its default.
    pub(super) fn output(&mut self, output: &Answer) {
        let place = self.place_of(output.value);
        self.get_place(&place);
        if let Some(default) = &output.default {
            let default = default.number();
            self.one(I::F64Const(default.into()));
            self.get_place(&place);
            self.get_place(&place);
            self.all([I::F64Eq, I::Select]);
        }
        self.give_back(place);
    }

    /// Jumps to `out` when a step does not run.
    fn run_when(&mut self, active: Option<ValueId>, out: Label) {
        if let Some(active) = active {
            self.get(active);
            self.all([I::F64Const(0.0.into()), I::F64Eq]);
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
        self.keep(value);
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
        match self.shape {
            Shape::Whole => self.runs(table, done),
            Shape::Parts => self.parts_of(table, done),
        }
        self.close();
    }

    /// A row that fires leaves its run of rows, and each run leaves the table: a way out with thousands of ways to it would
    /// make the engine's compiler slow.
    fn runs(&mut self, table: &Table, done: Label) {
        for (run, rows) in table.rows.chunks(RUN).enumerate() {
            let fired = self.open();
            for (at, row) in rows.iter().enumerate() {
                self.row(table, run * RUN + at, row, fired);
            }
            self.close();
            if !table.collect && table.rows.len() > RUN {
                let row = self.place_of(table.row);
                self.get_place(&row);
                self.get_place(&row);
                self.give_back(row);
                self.one(I::F64Eq);
                self.jump_if(done);
            }
        }
    }

    /// Rows in parts, each of which says whether one of its rows fired.
    fn parts_of(&mut self, table: &Table, done: Label) {
        let mut rows = table.rows.iter().enumerate().peekable();
        while rows.peek().is_some() {
            self.part(|emit| {
                let fired = emit.open();
                while emit.has_room()
                    && let Some((at, row)) = rows.next()
                {
                    emit.row(table, at, row, fired);
                }
                emit.all([I::I32Const(0), I::Return]);
                emit.close();
                emit.one(I::I32Const(1));
            });
            if table.collect {
                self.one(I::Drop);
            } else {
                self.jump_if(done);
            }
        }
    }

    fn row(&mut self, table: &Table, at: usize, row: &Row, fired: Label) {
        let next = self.open();
        row.also.iter().chain(row.tests.iter().flatten()).for_each(|test| self.require(test, next));
        self.answer(table, row, next);
        if table.collect {
            let first = self.place_of(table.row);
            self.get_place(&first);
            self.one(I::F64Const((at as f64).into()));
            self.get_place(&first);
            self.get_place(&first);
            self.all([I::F64Eq, I::Select]);
            self.give_back(first);
            self.keep(table.row);
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
                self.get(before);
                self.keep(target.value);
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
            match target.aggregate {
                None => self.keep(target.value),
                Some(aggregate) => self.add(aggregate, target, expr.can_be_missing()),
            }
        }
    }

    /// Adds the number on the stack to an aggregate.
    fn add(&mut self, aggregate: Aggregate, target: &Target, can_be_missing: bool) {
        let value = self.held();
        let so_far = self.place_of(target.value);
        let missing = |emit: &mut Self, place: &Place| {
            emit.get_place(place);
            emit.get_place(place);
            emit.one(I::F64Ne);
        };
        let one = Place::Fixed(1.0);
        let (first, with) = match aggregate {
            Aggregate::Sum => (&value, I::F64Add),
            Aggregate::Count => (&one, I::F64Add),
            Aggregate::Min => (&value, I::F64Min),
            Aggregate::Max => (&value, I::F64Max),
        };
        // New, or what was there when the value is missing.
        if target.initial == Initial::Missing {
            self.get_place(first);
        }
        self.get_place(&so_far);
        self.get_place(first);
        self.one(with);
        if target.initial == Initial::Missing {
            missing(self, &so_far);
            self.one(I::Select);
        }
        if can_be_missing {
            let new = self.held();
            self.get_place(&so_far);
            self.get_place(&new);
            missing(self, &value);
            self.one(I::Select);
            self.give_back(new);
        }
        self.give_back(so_far);
        self.keep(target.value);
        self.give_back(value);
    }
}
