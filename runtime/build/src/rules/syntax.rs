//! What a cell or an expression says, before anything is known of names and types. Owns the tree that the parser makes and
//! the checker reads.

/// An expression as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Number(f64),
    Text(String),
    Flag(bool),
    Null,
    /// A name such as `user.segment`, `$` for the column, `$.key` for a key of the same node.
    Name(String),
    Negate(Box<Node>),
    Not(Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    /// `left in right`, `left not in right`; `right` is a [`Node::List`] or a [`Node::Range`].
    In {
        negated: bool,
        left: Box<Node>,
        right: Box<Node>,
    },
    List(Vec<Node>),
    Range(Box<Range>),
    If(Box<[Node; 3]>),
    Call(String, Vec<Node>),
}

/// `[low..high]`; a round bracket leaves the bound itself out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    pub(super) low: Node,
    pub(super) high: Node,
    pub(super) low_open: bool,
    pub(super) high_open: bool,
}

/// Operators between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    /// `a ?? b`: `b` when `a` has no value.
    Otherwise,
}

/// The functions there are.
pub(super) const FUNCTIONS: [&str; 9] =
    ["abs", "round", "floor", "ceil", "min", "max", "startsWith", "endsWith", "contains"];

/// What a cell of an input column says of the column's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// A value, list or range the column is compared with, or a statement of its own: which of them its form says.
    Is(Node),
    /// `> 5`, `!= "a"`.
    Compare(Binary, Node),
    /// `in [..]`, `not in [..]`.
    In {
        negated: bool,
        right: Node,
    },
    /// `not(…)`.
    Not(Box<Test>),
    And(Box<Test>, Box<Test>),
    /// Also a comma.
    Or(Box<Test>, Box<Test>),
}

/// Why a text is not an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadSyntax {
    /// What is wrong and where in the text.
    pub(super) message: String,
    /// What to write instead.
    pub(super) advice: String,
}

// === impl Node ===

impl Node {
    /// A function in it that there is none of.
    pub(super) fn unknown_function(&self) -> Option<&str> {
        match self {
            Self::Number(_) | Self::Text(_) | Self::Flag(_) | Self::Null | Self::Name(_) => None,
            Self::Call(name, _) if !FUNCTIONS.contains(&name.as_str()) => Some(name),
            Self::Call(_, of) | Self::List(of) => of.iter().find_map(Self::unknown_function),
            Self::Negate(inner) | Self::Not(inner) => inner.unknown_function(),
            Self::Binary(_, a, b) | Self::In { left: a, right: b, .. } => {
                a.unknown_function().or_else(|| b.unknown_function())
            }
            Self::Range(range) => range.low.unknown_function().or_else(|| range.high.unknown_function()),
            Self::If(parts) => parts.iter().find_map(Self::unknown_function),
        }
    }
}

// === impl Test ===

impl Test {
    /// As [`Node::unknown_function`].
    pub(super) fn unknown_function(&self) -> Option<&str> {
        match self {
            Self::Is(node) | Self::Compare(_, node) | Self::In { right: node, .. } => node.unknown_function(),
            Self::Not(inner) => inner.unknown_function(),
            Self::And(a, b) | Self::Or(a, b) => a.unknown_function().or_else(|| b.unknown_function()),
        }
    }
}

// === impl Binary ===

impl Binary {
    /// How tightly it binds; as in ZEN.
    pub(super) fn strength(self) -> u8 {
        match self {
            Self::Or => 10,
            Self::And => 15,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::More | Self::MoreOrEqual => 20,
            Self::Add | Self::Subtract => 30,
            Self::Multiply | Self::Divide | Self::Modulo => 60,
            Self::Power => 70,
            Self::Otherwise => 80,
        }
    }

    pub(super) fn is_comparison(self) -> bool {
        self.strength() == 20
    }

    pub(super) fn is_arithmetic(self) -> bool {
        matches!(self, Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Modulo | Self::Power)
    }

    /// As people write it.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::More => ">",
            Self::MoreOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "^",
            Self::Otherwise => "??",
        }
    }
}

// === impl BadSyntax ===

impl BadSyntax {
    pub(super) fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: advice.into() }
    }
}
