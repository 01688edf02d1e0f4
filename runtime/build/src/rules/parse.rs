//! From words to a tree: expressions, and the unary tests of input cells. Owns the grammar, which is ZEN's: precedences, and
//! that a cell's `and`, `or` and commas bind from left to right. Nesting is bounded.

use super::lex::{Kind, Token, character, tokens};
use super::syntax::{BadSyntax, Binary, Node, Range, Test};

/// How deep brackets, calls, lists, `not` and conditions may nest.
const MAX_DEPTH: usize = 64;
/// How many words a cell may have: a chain of them makes a tree as deep.
const MAX_TOKENS: usize = 1000;

/// What to do about `]1..5[`, which some read as the inside, and ZEN as the outside.
const TURNED: &str = "turned brackets mean different things to different people: write `(1..5)` for between, `not in (1..5)` for outside";

/// Reads an expression.
pub(super) fn expression(text: &str) -> Result<Node, BadSyntax> {
    let mut parser = Parser::new(text)?;
    let node = parser.expression(0, false)?;
    parser.end()?;
    Ok(node)
}

/// Reads the test of an input cell.
pub(super) fn tests(text: &str) -> Result<Test, BadSyntax> {
    let mut parser = Parser::new(text)?;
    let test = parser.joined()?;
    parser.end()?;
    Ok(test)
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Inside a bound of a range, where no bracket may stand: a range is tried before all else, so it must fail fast.
    flat: bool,
}

// === impl Parser ===

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Result<Self, BadSyntax> {
        let tokens = tokens(text)?;
        if tokens.len() > MAX_TOKENS {
            return Err(BadSyntax::new(
                format!("{} words, at most {MAX_TOKENS}", tokens.len()),
                "split it into several rows or an expression node",
            ));
        }
        Ok(Self { text, tokens, at: 0, depth: 0, flat: false })
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<Kind> {
        let kind = self.peek().cloned();
        self.at += usize::from(kind.is_some());
        kind
    }

    fn take(&mut self, kind: &Kind) -> bool {
        let there = self.peek() == Some(kind);
        self.at += usize::from(there);
        there
    }

    /// What stands here, for an error.
    fn here(&self) -> String {
        match self.tokens.get(self.at) {
            None => "the end".to_owned(),
            Some(token) => {
                let end = self.tokens.get(self.at + 1).map_or(self.text.len(), |next| next.at);
                let word = self.text.get(token.at..end).unwrap_or_default().trim_end();
                format!("`{word}` at character {}", character(self.text, token.at))
            }
        }
    }

    fn expected(&self, what: &str) -> BadSyntax {
        BadSyntax::new(format!("found {}, expected {what}", self.here()), "docs/rules.md lists what a cell may say")
    }

    fn expect(&mut self, kind: &Kind, what: &str) -> Result<(), BadSyntax> {
        if self.take(kind) { Ok(()) } else { Err(self.expected(what)) }
    }

    fn end(&self) -> Result<(), BadSyntax> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("the end or an operator")) }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, BadSyntax>) -> Result<T, BadSyntax> {
        if self.depth > MAX_DEPTH {
            return Err(BadSyntax::new(
                format!("nested deeper than {MAX_DEPTH} levels"),
                "compute the parts in an expression node",
            ));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    // === cells ===

    /// Tests joined by `and`, `or` and commas, all of one strength, from the left.
    fn joined(&mut self) -> Result<Test, BadSyntax> {
        let mut left = self.test()?;
        loop {
            let join = match self.peek() {
                Some(Kind::Sign(Binary::And)) => Test::And,
                Some(Kind::Sign(Binary::Or) | Kind::Comma) => Test::Or,
                _ => return Ok(left),
            };
            self.at += 1;
            left = join(Box::new(left), Box::new(self.test()?));
        }
    }

    fn test(&mut self) -> Result<Test, BadSyntax> {
        match self.peek() {
            Some(Kind::Sign(sign)) if sign.is_comparison() => {
                let sign = *sign;
                self.at += 1;
                Ok(Test::Compare(sign, self.expression(21, true)?))
            }
            Some(Kind::In) => {
                self.at += 1;
                Ok(Test::In { negated: false, right: self.right_of_in()? })
            }
            Some(Kind::Not) if self.tokens.get(self.at + 1).is_some_and(|next| next.kind == Kind::In) => {
                self.at += 2;
                Ok(Test::In { negated: true, right: self.right_of_in()? })
            }
            Some(Kind::Not) if self.tokens.get(self.at + 1).is_some_and(|next| next.kind == Kind::Open) => {
                // A bracket may also open a range: `not (1..5)`.
                let start = self.at;
                self.at += 1;
                if let Ok(range) = self.deeper(Self::range) {
                    return Ok(Test::Not(Box::new(Test::Is(range))));
                }
                self.at = start + 2;
                let inner = self.deeper(Self::joined)?;
                self.expect(&Kind::Close, "`)`")?;
                Ok(Test::Not(Box::new(inner)))
            }
            _ => Ok(Test::Is(self.expression(0, true)?)),
        }
    }

    fn right_of_in(&mut self) -> Result<Node, BadSyntax> {
        let right = self.expression(21, true)?;
        match right {
            Node::List(_) | Node::Range(_) => Ok(right),
            _ => Err(BadSyntax::new(
                "the right side of `in` is neither a list nor a range",
                "write `in [\"a\", \"b\"]` or `in [1..5]`",
            )),
        }
    }

    // === expressions ===

    /// An expression of operators that bind at least as strong as `strength`. In a cell, `and`, `or` and commas end it.
    fn expression(&mut self, strength: u8, cell: bool) -> Result<Node, BadSyntax> {
        self.deeper(|parser| parser.operators(strength, cell))
    }

    fn operators(&mut self, strength: u8, cell: bool) -> Result<Node, BadSyntax> {
        let mut left = self.prefix(cell)?;
        loop {
            let negated = self.peek() == Some(&Kind::Not)
                && self.tokens.get(self.at + 1).is_some_and(|next| next.kind == Kind::In);
            if negated || self.peek() == Some(&Kind::In) {
                if strength > 20 {
                    break;
                }
                self.at += 1 + usize::from(negated);
                left = Node::In { negated, left: Box::new(left), right: Box::new(self.right_of_in()?) };
                continue;
            }
            let Some(Kind::Sign(sign)) = self.peek() else { break };
            let sign = *sign;
            let joins = cell && matches!(sign, Binary::And | Binary::Or);
            if joins || sign.strength() < strength {
                break;
            }
            self.at += 1;
            let right = self.expression(sign.strength() + u8::from(sign != Binary::Power), cell)?;
            left = Node::Binary(sign, Box::new(left), Box::new(right));
        }
        if strength == 0 && self.take(&Kind::Question) {
            let then = self.expression(0, cell)?;
            self.expect(&Kind::Colon, "`:` and what holds otherwise")?;
            let otherwise = self.expression(0, cell)?;
            left = Node::If(Box::new([left, then, otherwise]));
        }
        Ok(left)
    }

    fn prefix(&mut self, cell: bool) -> Result<Node, BadSyntax> {
        match self.peek() {
            Some(Kind::Not) => {
                self.at += 1;
                Ok(Node::Not(Box::new(self.expression(50, cell)?)))
            }
            Some(Kind::Sign(Binary::Subtract)) => {
                self.at += 1;
                Ok(match self.expression(200, cell)? {
                    Node::Number(number) => Node::Number(-number),
                    other => Node::Negate(Box::new(other)),
                })
            }
            Some(Kind::Sign(Binary::Add)) => {
                self.at += 1;
                self.expression(200, cell)
            }
            Some(Kind::Open | Kind::OpenSquare) if !self.flat => self.bracket(),
            _ => self.plain(),
        }
    }

    fn plain(&mut self) -> Result<Node, BadSyntax> {
        let before = self.at;
        let node = match self.next() {
            Some(Kind::Number(number)) => Node::Number(number),
            Some(Kind::Text(text)) => Node::Text(text),
            Some(Kind::True) => Node::Flag(true),
            Some(Kind::False) => Node::Flag(false),
            Some(Kind::Null) => Node::Null,
            Some(Kind::Name(name)) if !self.flat && self.take(&Kind::Open) => {
                Node::Call(name, self.list(&Kind::Close)?)
            }
            Some(Kind::Name(name)) => Node::Name(name),
            _ => {
                self.at = before;
                return Err(match self.peek() {
                    Some(Kind::CloseSquare) => BadSyntax::new(format!("found {}", self.here()), TURNED),
                    _ => self.expected("a value"),
                });
            }
        };
        if self.peek() == Some(&Kind::OpenSquare) && matches!(node, Node::Number(_)) {
            return Err(BadSyntax::new(format!("found {}", self.here()), TURNED));
        }
        if self.peek() == Some(&Kind::OpenSquare) {
            return Err(BadSyntax::new(
                format!("found {}: parts of lists and texts are not in the profile", self.here()),
                "give the part as an input of its own",
            ));
        }
        Ok(node)
    }

    /// A range, a list, or an expression in round brackets.
    fn bracket(&mut self) -> Result<Node, BadSyntax> {
        let start = self.at;
        let no_range = match self.deeper(Self::range) {
            Ok(range) => return Ok(range),
            Err(why) => why,
        };
        self.at = start + 1;
        if self.tokens.get(start).is_some_and(|token| token.kind == Kind::OpenSquare) {
            let list = self.list(&Kind::CloseSquare);
            // It was meant as a range after all.
            return if self.peek() == Some(&Kind::To) { Err(no_range) } else { list.map(Node::List) };
        }
        let inner = self.expression(0, false)?;
        self.expect(&Kind::Close, "`)`")?;
        Ok(inner)
    }

    fn range(&mut self) -> Result<Node, BadSyntax> {
        let low_open = self.take(&Kind::Open);
        if !low_open {
            self.expect(&Kind::OpenSquare, "`[` or `(`")?;
        }
        let low = self.bound()?;
        self.expect(&Kind::To, "`..`")?;
        let high = self.bound()?;
        let high_open = self.take(&Kind::Close);
        if !high_open {
            self.expect(&Kind::CloseSquare, "`]` or `)`")?;
        }
        Ok(Node::Range(Box::new(Range { low, high, low_open, high_open })))
    }

    fn bound(&mut self) -> Result<Node, BadSyntax> {
        self.flat = true;
        let bound = self.expression(30, true);
        self.flat = false;
        bound
    }

    /// Expressions up to `end`, which is taken.
    fn list(&mut self, end: &Kind) -> Result<Vec<Node>, BadSyntax> {
        let mut items = Vec::new();
        if self.take(end) {
            return Ok(items);
        }
        loop {
            items.push(self.expression(0, false)?);
            if self.take(end) {
                return Ok(items);
            }
            self.expect(&Kind::Comma, "a comma or the end of the list")?;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn number(number: f64) -> Box<Node> {
        Box::new(Node::Number(number))
    }

    #[test]
    fn operators_bind_as_in_zen() {
        let check = |a: &str, b: &str| assert_eq!(expression(a).unwrap(), expression(b).unwrap(), "{a}");
        check("1 + 2 * 3", "1 + (2 * 3)");
        check("-2 ^ 2", "(-2) ^ 2");
        check("2 ^ 3 ^ 2", "2 ^ (3 ^ 2)");
        check("a or b and c", "a or (b and c)");
        check("not a == b", "(not a) == b");
        check("not a * b", "not (a * b)");
        check("a > 1 ? 2 : b ? 3 : 4", "(a > 1) ? 2 : (b ? 3 : 4)");
        check("a ?? 1 * 2", "(a ?? 1) * 2");
        check("a in [1..2] and b", "(a in [1..2]) and b");
        check("a not in [1, 2] == true", "(a not in [1, 2]) == true");
    }

    #[test]
    fn a_cell_joins_from_the_left() {
        let is = |n: f64| Box::new(Test::Is(Node::Number(n)));
        let more = Box::new(Test::Compare(Binary::More, Node::Number(0.0)));
        assert_eq!(tests("1, 2 and > 0").unwrap(), Test::And(Box::new(Test::Or(is(1.0), is(2.0))), more));
        assert!(matches!(tests("not(1, 2)").unwrap(), Test::Not(_)));
        assert!(matches!(tests("not (1..5)").unwrap(), Test::Not(inner) if matches!(*inner, Test::Is(Node::Range(_)))));
        assert!(matches!(tests("not in [1]").unwrap(), Test::In { negated: true, .. }));
        let both = Node::Binary(Binary::More, Box::new(Node::Name("$".into())), number(1.0));
        assert_eq!(tests("($ > 1)").unwrap(), Test::Is(both));
    }

    #[test]
    fn what_is_no_expression_is_told() {
        let check = |text: &str, expected: &str| {
            let error = tests(text).unwrap_err().message;
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("> ", "found the end, expected a value");
        check("1 2", "found `2` at character 3");
        check("]1..5[", "found `]` at character 1");
        check("[1..5[", "found `[` at character 6");
        check("in 5", "neither a list nor a range");
        check("a[0]", "not in the profile");
        check("min([1, 2)", "a comma or the end of the list");
        check(&"(".repeat(500), "nested deeper");
        check(&"not ".repeat(500), "nested deeper");
        check(&"1+".repeat(600), "at most 1000");
        check(&"(f(".repeat(300), "nested deeper");
        check(&"f(".repeat(70), "nested deeper");
        check(&"[".repeat(70), "nested deeper");
    }

    #[test]
    fn a_bracket_is_one_level() {
        for (open, close) in [("(", ")"), ("f(", ")"), ("[", "]")] {
            let of = |levels: usize| expression(&format!("{}1{}", open.repeat(levels), close.repeat(levels)));
            assert!(of(64).is_ok(), "{open}");
            assert!(of(65).unwrap_err().message.contains("nested deeper than 64 levels"), "{open}");
        }
    }
}
