//! Where values stand while a call runs. Owns the two shapes of the code: all of it in one function, with a local for every
//! value; or, for large rules, in functions of bounded size, with the values in memory. An engine's compiler keeps something
//! of every local at every jump, so one function with thousands of both would take it minutes.

use selvedge_decision::manifest::Scope;
use wasm_encoder::{Instruction as I, MemArg};

use super::super::program::{Program, Step, ValueId};
use super::BASE;
use super::emit::Emit;

/// How the code is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    Parts,
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Local(u32),
    /// A column of the request's or the candidate's row.
    Row(Scope, u32),
    /// A number between the module's constants and the arguments.
    Frame(u32),
}

/// The homes of a program's values.
#[derive(Debug)]
pub(super) struct Homes {
    of: Vec<Home>,
    /// How many are locals, and how many stand in the frame.
    pub(super) locals: u32,
    pub(super) frame: u32,
}

/// Where a number that is needed several times stands.
pub(super) enum Place {
    /// In a local that is the number's own.
    Own(u32),
    /// In a local that was borrowed.
    Held(u32),
    /// It is a constant.
    Fixed(f64),
}

/// A number of a row of numbers.
pub(super) fn number(at: u32) -> MemArg {
    MemArg { offset: 8 * u64::from(at), align: 3, memory_index: 0 }
}

fn in_frame(at: u32) -> MemArg {
    MemArg { offset: BASE as u64 + 8 * u64::from(at), align: 3, memory_index: 0 }
}

// === impl Homes ===

impl Homes {
    /// `first` is the first local that may hold a number.
    pub(super) fn new(program: &Program, shape: Shape, first: u32) -> Self {
        let mut homes = Self { of: vec![Home::Local(first); program.values.len()], locals: 0, frame: 0 };
        let mut columns = [0, 0];
        for (input, value) in program.inputs.iter().zip(&program.input_values) {
            let column = &mut columns[usize::from(input.scope == Scope::Candidate)];
            homes.of[value.at()] = match shape {
                Shape::Whole => Home::Local(first + homes.locals),
                Shape::Parts => Home::Row(input.scope, *column),
            };
            *column += 1;
            homes.locals += u32::from(shape == Shape::Whole);
        }
        for value in program.steps.iter().flat_map(Step::gives) {
            let next = match shape {
                Shape::Whole => &mut homes.locals,
                Shape::Parts => &mut homes.frame,
            };
            homes.of[value.at()] = match shape {
                Shape::Whole => Home::Local(first + *next),
                Shape::Parts => Home::Frame(*next),
            };
            *next += 1;
        }
        homes
    }

    fn of(&self, value: ValueId) -> Home {
        self.of[value.at()]
    }
}

// === impl Emit ===

impl Emit<'_> {
    /// Pushes a value.
    pub(super) fn get(&mut self, value: ValueId) {
        match self.homes.of(value) {
            Home::Local(local) => self.one(I::LocalGet(local)),
            Home::Row(scope, at) => {
                let row = self.rows[usize::from(scope == Scope::Candidate)];
                self.all([I::LocalGet(row), I::F64Load(number(at))]);
            }
            Home::Frame(at) => self.all([I::I32Const(0), I::F64Load(in_frame(at))]),
        }
    }

    /// Gives a value the number on the stack.
    pub(super) fn keep(&mut self, value: ValueId) {
        match self.homes.of(value) {
            Home::Local(local) => self.one(I::LocalSet(local)),
            // Inputs are never written.
            Home::Row(..) => self.one(I::Drop),
            Home::Frame(at) => {
                let number = self.writing.hold();
                self.all([I::LocalSet(number), I::I32Const(0), I::LocalGet(number), I::F64Store(in_frame(at))]);
                self.writing.release(number);
            }
        }
    }

    pub(super) fn set(&mut self, value: ValueId, number: f64) {
        if let Home::Frame(at) = self.homes.of(value) {
            return self.all([I::I32Const(0), I::F64Const(number.into()), I::F64Store(in_frame(at))]);
        }
        self.one(I::F64Const(number.into()));
        self.keep(value);
    }

    /// Loads the inputs of one row from the address in `row` into their locals, where they have some.
    pub(super) fn inputs(&mut self, scope: Scope, row: u32) {
        let program = self.program;
        let of_row = program.inputs.iter().zip(&program.input_values).filter(|(input, _)| input.scope == scope);
        for (column, (_, value)) in of_row.enumerate() {
            if let Home::Local(local) = self.homes.of(*value) {
                self.all([I::LocalGet(row), I::F64Load(number(column as u32)), I::LocalSet(local)]);
            }
        }
    }

    // === numbers that are needed several times ===

    /// A value's place.
    pub(super) fn place_of(&mut self, value: ValueId) -> Place {
        match self.homes.of(value) {
            Home::Local(local) => Place::Own(local),
            Home::Row(..) | Home::Frame(_) => {
                self.get(value);
                self.held()
            }
        }
    }

    /// A place for the number on the stack.
    pub(super) fn held(&mut self) -> Place {
        let local = self.writing.hold();
        self.one(I::LocalSet(local));
        Place::Held(local)
    }

    pub(super) fn get_place(&mut self, place: &Place) {
        self.one(match place {
            Place::Own(local) | Place::Held(local) => I::LocalGet(*local),
            Place::Fixed(number) => I::F64Const((*number).into()),
        });
    }

    pub(super) fn give_back(&mut self, place: Place) {
        if let Place::Held(local) = place {
            self.writing.release(local);
        }
    }
}
