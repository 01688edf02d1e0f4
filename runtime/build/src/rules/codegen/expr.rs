//! Expressions become instructions. Owns when a missing value must be looked for: an order and arithmetic fail on one, and
//! where failing and being false come to the same, WebAssembly's own comparison with NaN says so for free.

use wasm_encoder::{BlockType, Instruction as I, ValType};

use super::super::program::{Arithmetic, Between, Expr, Literal, Order, Rounding, Texts};
use super::REMAINDER;
use super::emit::Emit;
use super::values::Place;
use super::writing::Label;

// === impl Emit ===

impl Emit<'_> {
    /// Goes on when the statement holds, and jumps to `next` when it does not, fails, or is missing.
    pub(super) fn require(&mut self, expr: &Expr, next: Label) {
        match expr {
            Expr::And(a, b) => {
                self.require(a, next);
                self.require(b, next);
            }
            Expr::Order(order, a, b) => {
                self.value(a, next);
                self.value(b, next);
                self.all([compare(*order), I::I32Eqz]);
                self.jump_if(next);
            }
            Expr::Between(between) => {
                let Between { value, low, high, low_open, high_open } = &**between;
                let places = [value, low, high].map(|expr| self.place(expr, next));
                for (bound, order) in [(&places[1], above(*low_open)), (&places[2], below(*high_open))] {
                    self.get_place(&places[0]);
                    self.get_place(bound);
                    self.all([compare(order), I::I32Eqz]);
                    self.jump_if(next);
                }
                places.into_iter().for_each(|place| self.give_back(place));
            }
            Expr::Not(inner) => {
                self.flag(inner, next);
                self.jump_if(next);
            }
            _ => {
                self.flag(expr, next);
                self.one(I::I32Eqz);
                self.jump_if(next);
            }
        }
    }

    /// Pushes a statement's truth as 0 or 1; jumps to `fail` when it fails or is missing.
    pub(super) fn flag(&mut self, expr: &Expr, fail: Label) {
        match expr {
            Expr::Literal(Literal::Flag(flag)) => self.one(I::I32Const(i32::from(*flag))),
            Expr::Order(order, a, b) => {
                self.number(a, fail);
                self.number(b, fail);
                self.one(compare(*order));
            }
            Expr::Same(a, b, texts) => self.same(a, b, *texts, fail),
            Expr::OneOf(value, of, texts) => self.one_of(value, of, *texts, fail),
            Expr::Between(between) => self.between(between, fail),
            Expr::And(a, b) => self.both(a, b, true, fail),
            Expr::Or(a, b) => self.both(a, b, false, fail),
            Expr::Not(inner) => {
                self.flag(inner, fail);
                self.one(I::I32Eqz);
            }
            _ => {
                self.number(expr, fail);
                self.all([I::F64Const(0.0.into()), I::F64Ne]);
            }
        }
    }

    /// Pushes a value, NaN when it is missing; jumps to `fail` when it fails.
    pub(super) fn value(&mut self, expr: &Expr, fail: Label) {
        match expr {
            Expr::Literal(literal) => self.one(I::F64Const(literal.number().into())),
            Expr::Missing => self.one(I::F64Const(f64::NAN.into())),
            Expr::Value(id) => self.get(*id),
            Expr::Present(a) => self.number(a, fail),
            Expr::Negate(a) => {
                self.number(a, fail);
                self.one(I::F64Neg);
            }
            Expr::Abs(a) => {
                self.number(a, fail);
                self.one(I::F64Abs);
            }
            Expr::Power(a, times) => self.power(a, *times, fail),
            Expr::Round(how, a) => self.round(*how, a, fail),
            Expr::Arithmetic(op, a, b) => self.arithmetic(*op, a, b, fail),
            Expr::Extreme { greatest, of } => {
                for (at, expr) in of.iter().enumerate() {
                    self.value(expr, fail);
                    if at > 0 {
                        self.one(if *greatest { I::F64Max } else { I::F64Min });
                    }
                    // Of what is missing nothing is least. Looked at each time: an engine's compiler puts off what is not
                    // looked at, and would keep all numbers to the end.
                    if expr.can_be_missing() {
                        self.present(fail);
                    }
                }
            }
            Expr::If(parts) => {
                self.flag(&parts[0], fail);
                self.one(I::If(BlockType::Result(ValType::F64)));
                self.inside(|emit| {
                    emit.value(&parts[1], fail);
                    emit.otherwise();
                    emit.value(&parts[2], fail);
                });
            }
            Expr::Otherwise(a, b) => {
                let place = self.place(a, fail);
                self.get_place(&place);
                self.get_place(&place);
                self.all([I::F64Eq, I::If(BlockType::Result(ValType::F64))]);
                self.inside(|emit| {
                    emit.get_place(&place);
                    emit.otherwise();
                    emit.value(b, fail);
                });
                self.give_back(place);
            }
            Expr::And(a, b) | Expr::Or(a, b) if b.can_be_missing() => {
                let and = matches!(expr, Expr::And(..));
                self.flag(a, fail);
                self.one(I::If(BlockType::Result(ValType::F64)));
                self.inside(|emit| {
                    if and {
                        emit.value(b, fail);
                        emit.otherwise();
                        emit.one(I::F64Const(0.0.into()));
                    } else {
                        emit.one(I::F64Const(1.0.into()));
                        emit.otherwise();
                        emit.value(b, fail);
                    }
                });
            }
            Expr::Order(..)
            | Expr::Same(..)
            | Expr::OneOf(..)
            | Expr::Between(_)
            | Expr::And(..)
            | Expr::Or(..)
            | Expr::Not(_) => {
                self.flag(expr, fail);
                self.one(I::F64ConvertI32U);
            }
        }
    }

    /// Pushes a value that must be there.
    fn number(&mut self, expr: &Expr, fail: Label) {
        if !expr.can_be_missing() {
            return self.value(expr, fail);
        }
        let place = self.place(expr, fail);
        self.get_place(&place);
        self.get_place(&place);
        self.one(I::F64Ne);
        self.jump_if(fail);
        self.get_place(&place);
        self.give_back(place);
    }

    /// Jumps to `fail` when the number on the stack is missing.
    fn present(&mut self, fail: Label) {
        let number = self.writing.hold();
        self.all([I::LocalTee(number), I::LocalGet(number), I::F64Ne]);
        self.jump_if(fail);
        self.one(I::LocalGet(number));
        self.writing.release(number);
    }

    fn place(&mut self, expr: &Expr, fail: Label) -> Place {
        match expr {
            Expr::Value(id) => self.place_of(*id),
            Expr::Literal(literal) => Place::Fixed(literal.number()),
            Expr::Missing => Place::Fixed(f64::NAN),
            _ => {
                self.value(expr, fail);
                self.held()
            }
        }
    }

    // === statements ===

    fn same(&mut self, a: &Expr, b: &Expr, texts: Texts, fail: Label) {
        let (a_place, b_place) = (self.place(a, fail), self.place(b, fail));
        self.get_place(&a_place);
        self.get_place(&b_place);
        self.one(I::F64Eq);
        if a.can_be_missing() && b.can_be_missing() {
            for place in [&a_place, &b_place] {
                self.get_place(place);
                self.get_place(place);
                self.one(I::F64Ne);
            }
            self.all([I::I32And, I::I32Or]);
        }
        self.known(&a_place, texts);
        self.give_back(a_place);
        self.give_back(b_place);
    }

    /// And the value is no text that the rules do not know, where that counts.
    fn known(&mut self, place: &Place, texts: Texts) {
        if texts == Texts::KnownAlone {
            self.get_place(place);
            self.all([I::F64Const((-1.0).into()), I::F64Ne, I::I32And]);
        }
    }

    fn one_of(&mut self, value: &Expr, of: &[Expr], texts: Texts, fail: Label) {
        let place = self.place(value, fail);
        let value_missing = value.can_be_missing();
        self.one(I::I32Const(0));
        for item in of {
            let item_place = self.place(item, fail);
            self.get_place(&place);
            self.get_place(&item_place);
            self.all([I::F64Eq, I::I32Or]);
            if value_missing && item.can_be_missing() {
                for place in [&place, &item_place] {
                    self.get_place(place);
                    self.get_place(place);
                    self.one(I::F64Ne);
                }
                self.all([I::I32And, I::I32Or]);
            }
            self.give_back(item_place);
        }
        self.known(&place, texts);
        self.give_back(place);
    }

    fn between(&mut self, between: &Between, fail: Label) {
        let Between { value, low, high, low_open, high_open } = between;
        let mut places = Vec::new();
        for expr in [value, low, high] {
            let place = self.place(expr, fail);
            if expr.can_be_missing() {
                self.get_place(&place);
                self.get_place(&place);
                self.one(I::F64Ne);
                self.jump_if(fail);
            }
            places.push(place);
        }
        for (bound, order) in [(1, above(*low_open)), (2, below(*high_open))] {
            self.get_place(&places[0]);
            self.get_place(&places[bound]);
            self.one(compare(order));
        }
        self.one(I::I32And);
        places.into_iter().for_each(|place| self.give_back(place));
    }

    /// `a and b`, or `a or b`; what cannot fail is not worth a branch.
    fn both(&mut self, a: &Expr, b: &Expr, and: bool, fail: Label) {
        self.flag(a, fail);
        if !b.can_fail() && !b.can_be_missing() {
            self.flag(b, fail);
            return self.one(if and { I::I32And } else { I::I32Or });
        }
        self.one(I::If(BlockType::Result(ValType::I32)));
        self.inside(|emit| {
            if and {
                emit.flag(b, fail);
                emit.otherwise();
                emit.one(I::I32Const(0));
            } else {
                emit.one(I::I32Const(1));
                emit.otherwise();
                emit.flag(b, fail);
            }
        });
    }

    // === numbers ===

    fn arithmetic(&mut self, op: Arithmetic, a: &Expr, b: &Expr, fail: Label) {
        let divides = matches!(op, Arithmetic::Divide | Arithmetic::Modulo);
        for expr in [a, b] {
            // What is missing makes a sum infinite or missing, too, and that is looked for below.
            if divides { self.number(expr, fail) } else { self.value(expr, fail) }
        }
        self.one(match op {
            Arithmetic::Add => I::F64Add,
            Arithmetic::Subtract => I::F64Sub,
            Arithmetic::Multiply => I::F64Mul,
            Arithmetic::Divide => I::F64Div,
            Arithmetic::Modulo => I::Call(REMAINDER),
        });
        if !divides {
            return self.finite(fail);
        }
        let result = self.writing.hold();
        self.all([I::LocalSet(result), I::F64Const(f64::NAN.into()), I::LocalGet(result)]);
        self.all([I::LocalGet(result), I::LocalGet(result), I::F64Sub, I::F64Const(0.0.into()), I::F64Ne, I::Select]);
        self.writing.release(result);
    }

    fn power(&mut self, a: &Expr, times: u32, fail: Label) {
        self.number(a, fail);
        let base = self.writing.hold();
        self.all([I::LocalSet(base), I::F64Const(1.0.into())]);
        for _ in 0..times {
            self.all([I::LocalGet(base), I::F64Mul]);
        }
        self.writing.release(base);
        self.finite(fail);
    }

    /// What is no number makes the expression fail.
    fn finite(&mut self, fail: Label) {
        let result = self.writing.hold();
        self.all([I::LocalTee(result), I::LocalGet(result), I::F64Sub, I::F64Const(0.0.into()), I::F64Ne]);
        self.jump_if(fail);
        self.one(I::LocalGet(result));
        self.writing.release(result);
    }

    fn round(&mut self, how: Rounding, a: &Expr, fail: Label) {
        self.number(a, fail);
        match how {
            Rounding::Down => self.one(I::F64Floor),
            Rounding::Up => self.one(I::F64Ceil),
            Rounding::Nearest => {
                // Cut off, and away from 0 when at least a half was cut; all of it exact.
                let (value, whole) = (self.writing.hold(), self.writing.hold());
                self.all([I::LocalTee(value), I::F64Trunc, I::LocalTee(whole), I::F64Const(1.0.into())]);
                self.all([I::LocalGet(value), I::F64Copysign, I::F64Const(0.0.into()), I::LocalGet(value)]);
                self.all([I::F64Copysign, I::LocalGet(value), I::LocalGet(whole), I::F64Sub, I::F64Abs]);
                self.all([I::F64Const(0.5.into()), I::F64Ge, I::Select, I::F64Add]);
                self.writing.release(value);
                self.writing.release(whole);
            }
        }
    }
}

fn above(open: bool) -> Order {
    if open { Order::More } else { Order::MoreOrEqual }
}

fn below(open: bool) -> Order {
    if open { Order::Less } else { Order::LessOrEqual }
}

fn compare(order: Order) -> I<'static> {
    match order {
        Order::Less => I::F64Lt,
        Order::LessOrEqual => I::F64Le,
        Order::More => I::F64Gt,
        Order::MoreOrEqual => I::F64Ge,
    }
}
