//! From what is written to typed expressions. Owns names, types and every message about them; which names are seen where is
//! the graph's to say.

mod build;
mod cell;

use super::finding::{Code, Finding, Place};
use super::program::{Arithmetic, Between, Expr, Literal, Order, Rounding, Texts, Type, ValueId};
use super::syntax::{BadSyntax, Binary, FUNCTIONS, Node, Range};

pub use self::build::WORK_BOUND;
pub(super) use self::build::{Builder, Given, Inputs, Names};

/// The highest power.
const MAX_POWER: f64 = 16.0;

/// What is wrong with an expression; where is added by who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    code: Code,
    message: String,
    advice: String,
}

/// An expression and its type; `None` is what is missing, of any type.
pub(super) type Typed = (Expr, Option<Type>);

/// Checks the expressions of one place.
pub(super) struct Checker<'a> {
    pub(super) builder: &'a mut Builder,
    /// What is seen here.
    pub(super) names: &'a Names,
    /// What `$` is.
    pub(super) column: Option<ValueId>,
}

// === impl Wrong ===

impl Wrong {
    pub(super) fn new(code: Code, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { code, message: message.into(), advice: advice.into() }
    }

    pub(super) fn at(self, place: Place) -> Finding {
        Finding::error(self.code, place, self.message, self.advice)
    }

    fn types(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Code::Type, message, advice)
    }
}

impl From<BadSyntax> for Wrong {
    fn from(bad: BadSyntax) -> Self {
        Self { code: Code::Syntax, message: bad.message, advice: bad.advice }
    }
}

// === impl Checker ===

impl Checker<'_> {
    /// An expression of any type. Every part of it is looked at once.
    pub(super) fn expr(&mut self, node: &Node) -> Result<Typed, Wrong> {
        self.builder.work(1)?;
        let number = |expr: Expr| Ok((expr, Some(Type::Number)));
        let flag = |expr: Expr| Ok((expr, Some(Type::Flag)));
        match node {
            Node::Number(value) => number(Expr::Literal(Literal::Number(*value))),
            Node::Flag(value) => flag(Expr::Literal(Literal::Flag(*value))),
            Node::Text(text) => {
                self.builder.texts.insert(text.clone());
                Ok((Expr::Literal(Literal::text(text)), Some(Type::Text)))
            }
            Node::Null => Ok((Expr::Missing, None)),
            Node::Name(name) => self.name(name),
            Node::Negate(inner) => number(Expr::Negate(Box::new(self.typed(inner, Type::Number, "after `-`")?))),
            Node::Not(inner) if matches!(**inner, Node::Text(_) | Node::Number(_) | Node::List(_) | Node::Range(_)) => {
                Err(Wrong::types(
                    "`not` stands before what is neither true nor false",
                    "in an input cell write `not(\"a\")`, `!= \"a\"` or `not in [1..5]`; elsewhere compare a name: `x != \"a\"`",
                ))
            }
            Node::Not(inner) => flag(Expr::Not(Box::new(self.typed(inner, Type::Flag, "after `not`")?))),
            Node::Binary(op, left, right) => self.binary(*op, left, right),
            Node::In { negated, left, right } => {
                let left = self.expr(left)?;
                flag(self.is_in(left, right, *negated)?)
            }
            Node::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = self.typed(condition, Type::Flag, "before `?`")?;
                let (then, a) = self.expr(then)?;
                let (otherwise, b) = self.expr(otherwise)?;
                let kind = one_type(a, b, "the two sides of `:`")?;
                Ok((Expr::If(Box::new([condition, then, otherwise])), kind))
            }
            Node::Call(name, arguments) => self.call(name, arguments),
            Node::List(_) => Err(Wrong::types("a list stands where one value is needed", "use it after `in`")),
            Node::Range(_) => Err(Wrong::types("a range stands where one value is needed", "use it after `in`")),
        }
    }

    /// An expression of one type; `place` says where, for the message.
    pub(super) fn typed(&mut self, node: &Node, expected: Type, place: &str) -> Result<Expr, Wrong> {
        of_type(self.expr(node)?, expected, place)
    }

    fn name(&mut self, name: &str) -> Result<Typed, Wrong> {
        let id = if name == "$" {
            self.column.ok_or_else(|| {
                Wrong::new(Code::UnknownName, "`$` is the value of an input column; there is none here", "use its name")
            })?
        } else {
            self.builder.resolve(self.names, name)?
        };
        Ok((Expr::Value(id), Some(self.builder.kind(id))))
    }

    fn binary(&mut self, op: Binary, left: &Node, right: &Node) -> Result<Typed, Wrong> {
        let place = format!("beside `{}`", op.sign());
        let both = |checker: &mut Self, kind: Type| -> Result<(Box<Expr>, Box<Expr>), Wrong> {
            Ok((Box::new(checker.typed(left, kind, &place)?), Box::new(checker.typed(right, kind, &place)?)))
        };
        let arithmetic = |checker: &mut Self, op: Arithmetic| {
            let (left, right) = both(checker, Type::Number)?;
            Ok((Expr::Arithmetic(op, left, right), Some(Type::Number)))
        };
        match op {
            Binary::And => both(self, Type::Flag).map(|(a, b)| (Expr::And(a, b), Some(Type::Flag))),
            Binary::Or => both(self, Type::Flag).map(|(a, b)| (Expr::Or(a, b), Some(Type::Flag))),
            Binary::Add => {
                let left = self.expr(left)?;
                if left.1 == Some(Type::Text) {
                    return Err(Wrong::new(
                        Code::Unsupported,
                        "texts cannot be joined: a module has no texts of its own",
                        "write out the texts it may give, as `x ? \"a\" : \"b\"`",
                    ));
                }
                let left = Box::new(of_type(left, Type::Number, &place)?);
                let right = Box::new(self.typed(right, Type::Number, &place)?);
                Ok((Expr::Arithmetic(Arithmetic::Add, left, right), Some(Type::Number)))
            }
            Binary::Subtract => arithmetic(self, Arithmetic::Subtract),
            Binary::Multiply => arithmetic(self, Arithmetic::Multiply),
            Binary::Divide => arithmetic(self, Arithmetic::Divide),
            Binary::Modulo => arithmetic(self, Arithmetic::Modulo),
            Binary::Power => self.power(left, right),
            Binary::Otherwise => {
                let ((left, a), (right, b)) = (self.expr(left)?, self.expr(right)?);
                let kind = one_type(a, b, "the two sides of `??`")?;
                Ok((Expr::Otherwise(Box::new(left), Box::new(right)), kind))
            }
            comparison => {
                let left = self.expr(left)?;
                Ok((self.compare(comparison, left, right)?, Some(Type::Flag)))
            }
        }
    }

    /// `left OP right` for a comparison.
    pub(super) fn compare(&mut self, op: Binary, (left, a): Typed, right: &Node) -> Result<Expr, Wrong> {
        let (right, b) = self.expr(right)?;
        let sign = op.sign();
        if matches!(op, Binary::Equal | Binary::NotEqual) {
            one_type(a, b, &format!("the two sides of `{sign}`"))?;
            self.builder.check_texts(&left, [&right])?;
            let texts = texts(a.or(b), &left, [&right]);
            let same = Expr::Same(Box::new(left), Box::new(right), texts);
            return Ok(if op == Binary::Equal { same } else { Expr::Not(Box::new(same)) });
        }
        if [a, b].iter().flatten().any(|kind| *kind != Type::Number) {
            let kind = if a == Some(Type::Number) { b } else { a };
            return Err(Wrong::types(
                format!("`{sign}` compares numbers, but a {} stands beside it", word(kind)),
                "compare texts and flags with `==` or `in`",
            ));
        }
        let order = match op {
            Binary::Less => Order::Less,
            Binary::LessOrEqual => Order::LessOrEqual,
            Binary::More => Order::More,
            _ => Order::MoreOrEqual,
        };
        Ok(Expr::Order(order, Box::new(left), Box::new(right)))
    }

    /// `value in right`.
    pub(super) fn is_in(&mut self, (value, kind): Typed, right: &Node, negated: bool) -> Result<Expr, Wrong> {
        let is_in = match right {
            Node::Range(range) => self.between((value, kind), range)?,
            Node::List(items) => {
                let mut of = Vec::with_capacity(items.len());
                for item in items {
                    let (item, item_kind) = self.expr(item)?;
                    one_type(kind, item_kind, "the value and the list after `in`")?;
                    of.push(item);
                }
                self.builder.check_texts(&value, &of)?;
                let texts = texts(kind, &value, &of);
                Expr::OneOf(Box::new(value), of, texts)
            }
            _ => return Err(Wrong::types("the right side of `in` is neither a list nor a range", "")),
        };
        Ok(if negated { Expr::Not(Box::new(is_in)) } else { is_in })
    }

    fn between(&mut self, (value, kind): Typed, range: &Range) -> Result<Expr, Wrong> {
        if !matches!(kind, None | Some(Type::Number)) {
            return Err(Wrong::types(
                format!("a range holds numbers, but it is compared with a {}", word(kind)),
                "list texts instead: `\"a\", \"b\"`",
            ));
        }
        let low = self.typed(&range.low, Type::Number, "as a bound of a range")?;
        let high = self.typed(&range.high, Type::Number, "as a bound of a range")?;
        let Range { low_open, high_open, .. } = *range;
        Ok(Expr::Between(Box::new(Between { value, low, high, low_open, high_open })))
    }

    fn power(&mut self, base: &Node, exponent: &Node) -> Result<Typed, Wrong> {
        let base = self.typed(base, Type::Number, "beside `^`")?;
        match exponent {
            Node::Number(number) if (0.0..=MAX_POWER).contains(number) && number.fract() == 0.0 => {
                Ok((Expr::Power(Box::new(base), *number as u32), Some(Type::Number)))
            }
            _ => Err(Wrong::new(
                Code::Unsupported,
                format!("`^` takes a whole number from 0 to {MAX_POWER} as its right side"),
                "give other powers as an input",
            )),
        }
    }

    fn call(&mut self, name: &str, arguments: &[Node]) -> Result<Typed, Wrong> {
        let number = |expr: Expr| Ok((expr, Some(Type::Number)));
        let place = format!("in `{name}`");
        let one = |checker: &mut Self| match arguments {
            [Node::List(_)] | [] => Err(Wrong::types(format!("`{name}` takes one number"), "")),
            [only] => checker.typed(only, Type::Number, &place).map(Box::new),
            _ if name == "round" => Err(Wrong::new(
                Code::Unsupported,
                "`round` takes one number: rounding to decimals is not exact in 64-bit floats",
                "round whole numbers, such as cents",
            )),
            _ => Err(Wrong::types(format!("`{name}` takes one number, not {}", arguments.len()), "")),
        };
        match name {
            "abs" => number(Expr::Abs(one(self)?)),
            "round" => number(Expr::Round(Rounding::Nearest, one(self)?)),
            "floor" => number(Expr::Round(Rounding::Down, one(self)?)),
            "ceil" => number(Expr::Round(Rounding::Up, one(self)?)),
            "min" | "max" => match arguments {
                [Node::List(items)] if !items.is_empty() => {
                    let of =
                        items.iter().map(|item| self.typed(item, Type::Number, &place)).collect::<Result<_, _>>()?;
                    number(Expr::Extreme { greatest: name == "max", of })
                }
                _ => Err(Wrong::types(
                    format!("`{name}` takes one list of numbers"),
                    format!("write `{name}([a, b])`, as GoRules does"),
                )),
            },
            "startsWith" | "endsWith" | "contains" => {
                let id = match arguments {
                    [subject, Node::Text(part)] => {
                        let (subject, kind) = self.expr(subject)?;
                        self.builder.text_test(name, &subject, kind, part)?
                    }
                    _ => {
                        return Err(Wrong::types(
                            format!("`{name}` takes a text input and a text in quotes"),
                            format!("write `{name}(user.segment, \"vip\")`"),
                        ));
                    }
                };
                // Of a missing text there is nothing to test.
                Ok((Expr::Present(Box::new(Expr::Value(id))), Some(Type::Flag)))
            }
            _ => Err(Wrong::new(
                Code::Unsupported,
                format!("the function `{name}` is not in the profile"),
                format!("known here: {}", FUNCTIONS.join(", ")),
            )),
        }
    }
}

/// How `value` is compared with `others`: where both sides may be a text that the rules do not know, it is none of them.
fn texts<'e>(kind: Option<Type>, value: &Expr, others: impl IntoIterator<Item = &'e Expr>) -> Texts {
    let written = |expr: &Expr| matches!(expr, Expr::Literal(_) | Expr::Missing);
    let by_number =
        kind != Some(Type::Text) || written(value) || others.into_iter().all(|other| written(other) || other == value);
    if by_number { Texts::ByNumber } else { Texts::KnownAlone }
}

fn of_type(typed: Typed, expected: Type, place: &str) -> Result<Expr, Wrong> {
    match typed {
        (expr, None) => Ok(expr),
        (expr, Some(kind)) if kind == expected => Ok(expr),
        (_, Some(kind)) => Err(Wrong::types(
            format!("a {kind} stands {place}, where a {expected} is needed"),
            match (expected, kind) {
                (Type::Number, Type::Text) => "write a number without quotes",
                (Type::Text, _) => "write a text in quotes",
                (Type::Flag, _) => "compare it, such as `x > 0` or `x == \"a\"`",
                (Type::Number, _) => "choose a number by a condition: `x ? 1 : 0`",
            },
        )),
    }
}

fn word(kind: Option<Type>) -> String {
    kind.map_or_else(|| "missing value".to_owned(), |kind| kind.to_string())
}

/// The type that both are; what is missing is of any.
pub(super) fn one_type(a: Option<Type>, b: Option<Type>, what: &str) -> Result<Option<Type>, Wrong> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => Err(Wrong::types(
            format!("{what} are a {a} and a {b}"),
            "a text stands in quotes, a number does not; types are not converted",
        )),
        (a, b) => Ok(a.or(b)),
    }
}
