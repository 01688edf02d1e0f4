//! Typed expressions: what a cell or a key computes. Owns their form, and what their form tells of failing and missing.

use super::{Literal, ValueId};

/// A typed expression. Where a type is not said, it follows from the parts.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Expr {
    Literal(Literal),
    /// Nothing, of any type.
    Missing,
    Value(ValueId),
    /// A value that must be there: fails when it is missing.
    Present(Box<Expr>),
    Negate(Box<Expr>),
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    /// A number multiplied with itself so often.
    Power(Box<Expr>, u32),
    Round(Rounding, Box<Expr>),
    Abs(Box<Expr>),
    /// The least or greatest of one or more numbers.
    Extreme {
        greatest: bool,
        of: Vec<Expr>,
    },
    /// An order of two numbers; fails when either is missing.
    Order(Order, Box<Expr>, Box<Expr>),
    /// Whether two values of one type are the same; two missing ones are.
    Same(Box<Expr>, Box<Expr>, Texts),
    /// Whether a value is one of several.
    OneOf(Box<Expr>, Vec<Expr>, Texts),
    /// Whether a number lies between two; fails when one of the three is missing.
    Between(Box<Between>),
    /// The right side, when the left one is true; it may be missing.
    And(Box<Expr>, Box<Expr>),
    /// The right side, when the left one is false; it may be missing.
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    /// Condition, then, otherwise.
    If(Box<[Expr; 3]>),
    /// The second when the first is missing.
    Otherwise(Box<Expr>, Box<Expr>),
}

/// How a comparison takes texts that the rules do not know: all of them have one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Texts {
    /// By their number alone: at least one side is a text that is written down, or both are one value.
    ByNumber,
    /// An unknown text is the same as none.
    KnownAlone,
}

#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Between {
    pub(in super::super) value: Expr,
    pub(in super::super) low: Expr,
    pub(in super::super) high: Expr,
    pub(in super::super) low_open: bool,
    pub(in super::super) high_open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    /// Missing when the divisor is 0.
    Divide,
    /// With the sign of the dividend; missing when the divisor is 0.
    Modulo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Rounding {
    /// To the nearest whole number, a half away from 0.
    Nearest,
    Down,
    Up,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Order {
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

/// The expressions that one is made of, to look at (`iter`, `&`) or to change (`iter_mut`, `&mut`).
macro_rules! parts {
    ($expr:expr, $iter:ident, $($by:tt)+) => {
        match $expr {
            Self::Literal(_) | Self::Missing | Self::Value(_) => Vec::new(),
            Self::Present(a)
            | Self::Negate(a)
            | Self::Power(a, _)
            | Self::Round(_, a)
            | Self::Abs(a)
            | Self::Not(a) => vec![a],
            Self::Arithmetic(_, a, b)
            | Self::Order(_, a, b)
            | Self::Same(a, b, _)
            | Self::And(a, b)
            | Self::Or(a, b)
            | Self::Otherwise(a, b) => vec![a, b],
            Self::Extreme { of, .. } => of.$iter().collect(),
            Self::OneOf(value, of, _) => std::iter::once($($by)+ **value).chain(of.$iter()).collect(),
            Self::Between(between) => {
                vec![$($by)+ between.value, $($by)+ between.low, $($by)+ between.high]
            }
            Self::If(parts) => parts.$iter().collect(),
        }
    };
}

// === impl Expr ===

impl Expr {
    /// The expressions it is made of.
    pub(in super::super) fn parts(&self) -> Vec<&Expr> {
        parts!(self, iter, &)
    }

    /// As [`Expr::parts`], to change them.
    fn parts_mut(&mut self) -> Vec<&mut Expr> {
        parts!(self, iter_mut, &mut)
    }

    /// Tells the texts that are written down in it their numbers.
    pub(in super::super) fn tell(&mut self, number_of: &impl Fn(&str) -> f64) {
        if let Self::Literal(literal) = self {
            literal.tell(number_of);
        }
        self.parts_mut().into_iter().for_each(|part| part.tell(number_of));
    }

    /// Calls `visit` with every value it reads.
    pub(in super::super) fn each_value(&self, visit: &mut impl FnMut(ValueId)) {
        if let Self::Value(id) = self {
            visit(*id);
        }
        for part in self.parts() {
            part.each_value(visit);
        }
    }

    /// Whether it can fail, as far as its form tells.
    pub(in super::super) fn can_fail(&self) -> bool {
        let own = match self {
            Self::Literal(_)
            | Self::Missing
            | Self::Value(_)
            | Self::Same(..)
            | Self::OneOf(..)
            | Self::Otherwise(..) => false,
            Self::And(a, _) | Self::Or(a, _) => a.can_be_missing(),
            Self::Not(a) => a.can_be_missing(),
            Self::If(parts) => parts[0].can_be_missing(),
            Self::Order(_, a, b) => a.can_be_missing() || b.can_be_missing(),
            _ => true,
        };
        own || self.parts().into_iter().any(Self::can_fail)
    }

    /// Whether its value can be missing when it does not fail.
    pub(in super::super) fn can_be_missing(&self) -> bool {
        match self {
            Self::Missing | Self::Value(_) => true,
            Self::Arithmetic(op, ..) => matches!(op, Arithmetic::Divide | Arithmetic::Modulo),
            Self::If(parts) => parts[1].can_be_missing() || parts[2].can_be_missing(),
            Self::Otherwise(_, b) | Self::And(_, b) | Self::Or(_, b) => b.can_be_missing(),
            _ => false,
        }
    }
}
