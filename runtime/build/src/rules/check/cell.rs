//! Cells of input columns. Owns what a cell means by its form: a value the column equals, a list or range it lies in, or a
//! statement of its own; as ZEN has it, and `not(…)` over values, which ZEN does not.

use super::super::program::{Expr, Type};
use super::super::syntax::{Binary, Node, Test};
use super::{Checker, Typed, Wrong};

/// What a cell's expression is to its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The column equals it.
    Value,
    /// The column lies in it.
    Group,
    /// It holds or not, whatever the column.
    Statement,
}

// === impl Checker ===

impl Checker<'_> {
    /// The test of a cell as a flag.
    pub(in super::super) fn cell(&mut self, test: &Test) -> Result<Expr, Wrong> {
        match test {
            Test::Is(node) => self.is(node),
            Test::Compare(op, right) => {
                let column = self.of_column()?;
                self.compare(*op, column, right)
            }
            Test::In { negated, right } => {
                let column = self.of_column()?;
                self.is_in(column, right, *negated)
            }
            Test::Not(inner) => match &**inner {
                // `not(true)` is a value like `false`.
                Test::Is(node) if form(node) == Form::Value && self.expr(node)?.1 == Some(Type::Flag) => {
                    self.is(&Node::Not(Box::new(node.clone())))
                }
                inner => Ok(Expr::Not(Box::new(self.cell(inner)?))),
            },
            Test::And(a, b) => Ok(Expr::And(Box::new(self.cell(a)?), Box::new(self.cell(b)?))),
            Test::Or(a, b) => Ok(Expr::Or(Box::new(self.cell(a)?), Box::new(self.cell(b)?))),
        }
    }

    fn of_column(&mut self) -> Result<Typed, Wrong> {
        self.expr(&Node::Name("$".to_owned()))
    }

    fn is(&mut self, node: &Node) -> Result<Expr, Wrong> {
        match form(node) {
            Form::Statement => self.typed(node, Type::Flag, "as a statement"),
            // A list has no opposite: what is wrong with it is said there.
            Form::Group if matches!(node, Node::Not(_)) => self.expr(node).map(|(expr, _)| expr),
            Form::Group => {
                let column = self.of_column()?;
                self.is_in(column, node, false)
            }
            Form::Value => {
                let column = self.of_column()?;
                self.compare(Binary::Equal, column, node)
            }
        }
    }
}

fn form(node: &Node) -> Form {
    match node {
        Node::Number(_) | Node::Text(_) | Node::Flag(_) | Node::Null | Node::Name(_) => Form::Value,
        Node::List(_) | Node::Range(_) => Form::Group,
        Node::In { .. } => Form::Statement,
        Node::Negate(inner) | Node::Not(inner) => form(inner),
        Node::Binary(op, ..) if op.is_comparison() => Form::Statement,
        Node::Binary(Binary::And | Binary::Or | Binary::Otherwise, ..) => Form::Statement,
        Node::Binary(..) => Form::Value,
        Node::If(parts) => match (form(&parts[1]), form(&parts[2])) {
            (a, b) if a == b => a,
            _ => Form::Value,
        },
        Node::Call(name, _) if matches!(name.as_str(), "startsWith" | "endsWith" | "contains") => Form::Statement,
        Node::Call(..) => Form::Value,
    }
}
