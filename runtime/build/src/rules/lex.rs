//! The words of an expression. Owns how numbers, texts, names and signs are written; knows no grammar.

use super::syntax::{BadSyntax, Binary};

/// The longest cell or expression, in bytes.
pub(super) const MAX_BYTES: usize = 4096;

/// One word and where it begins, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Number(f64),
    Text(String),
    /// A name with its dots: `user.segment`, `$`, `$.key`.
    Name(String),
    True,
    False,
    Null,
    Sign(Binary),
    Not,
    In,
    /// `..`
    To,
    Comma,
    Question,
    Colon,
    Open,
    Close,
    OpenSquare,
    CloseSquare,
}

/// Splits `text` into words.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, BadSyntax> {
    if text.len() > MAX_BYTES {
        return Err(BadSyntax::new(
            format!("{} bytes, at most {MAX_BYTES}", text.len()),
            "split it into several rows or an expression node",
        ));
    }
    let mut scan = Scan { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        scan.skip(|c| c.is_ascii_whitespace());
        let at = scan.at;
        let Some(first) = scan.peek() else { return Ok(tokens) };
        let kind = match first {
            b'0'..=b'9' => scan.number()?,
            b'\'' | b'"' => scan.quoted(first)?,
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$' | b'#' => scan.word()?,
            _ => scan.sign()?,
        };
        tokens.push(Token { at, kind });
    }
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
}

// === impl Scan ===

impl<'t> Scan<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes while `wanted`; the text taken.
    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> &'t str {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        // Only ASCII is ever wanted, so these are character boundaries.
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn number(&mut self) -> Result<Kind, BadSyntax> {
        let start = self.at;
        let digits = |c: u8| c.is_ascii_digit() || c == b'_';
        self.skip(digits);
        // `1..5` is a range from 1.
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if rest.first() == Some(&b'.') && rest.get(1) != Some(&b'.') {
            self.at += 1;
            self.skip(digits);
        }
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let signed = usize::from(matches!(rest.get(1), Some(b'+' | b'-')));
        if matches!(rest.first(), Some(b'e' | b'E')) && rest.get(1 + signed).is_some_and(u8::is_ascii_digit) {
            self.at += 1 + signed;
            self.skip(digits);
        }
        let written = self.text.get(start..self.at).unwrap_or_default();
        match written.replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Kind::Number(number)),
            Ok(_) | Err(_) => Err(self.wrong(start, &format!("{written} is not a number that fits 64 bits"))),
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<Kind, BadSyntax> {
        let start = self.at;
        self.at += 1;
        let content = self.skip_any(|c| c != quote);
        if !self.take(quote) {
            return Err(BadSyntax::new(
                format!("the text that begins at character {} has no end", self.character(start)),
                format!("close it with {}", char::from(quote)),
            ));
        }
        Ok(Kind::Text(content.to_owned()))
    }

    /// As [`Scan::skip`], over any bytes; stops at an ASCII byte only.
    fn skip_any(&mut self, wanted: impl Fn(u8) -> bool) -> &'t str {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn word(&mut self) -> Result<Kind, BadSyntax> {
        let start = self.at;
        loop {
            self.skip(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'#'));
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let goes_on = rest.first() == Some(&b'.')
                && rest.get(1).is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, b'_' | b'$'));
            if !goes_on {
                break;
            }
            self.at += 1;
        }
        let name = self.text.get(start..self.at).unwrap_or_default();
        Ok(match name {
            "and" => Kind::Sign(Binary::And),
            "or" => Kind::Sign(Binary::Or),
            "in" => Kind::In,
            "not" => Kind::Not,
            "true" => Kind::True,
            "false" => Kind::False,
            "null" => Kind::Null,
            _ if name.contains('#') => {
                return Err(BadSyntax::new(
                    format!("`{name}`: a function over a list is not in the profile"),
                    "compute it as a feature, or write out the cases",
                ));
            }
            _ => Kind::Name(name.to_owned()),
        })
    }

    fn sign(&mut self) -> Result<Kind, BadSyntax> {
        let start = self.at;
        let first = self.peek().unwrap_or_default();
        self.at += 1;
        let kind = match first {
            b'<' if self.take(b'=') => Kind::Sign(Binary::LessOrEqual),
            b'<' => Kind::Sign(Binary::Less),
            b'>' if self.take(b'=') => Kind::Sign(Binary::MoreOrEqual),
            b'>' => Kind::Sign(Binary::More),
            b'!' if self.take(b'=') => Kind::Sign(Binary::NotEqual),
            b'!' => Kind::Not,
            b'=' if self.take(b'=') => Kind::Sign(Binary::Equal),
            b'=' => {
                return Err(BadSyntax::new(
                    format!("a single `=` at character {}", self.character(start)),
                    "compare with `==`",
                ));
            }
            b'?' if self.take(b'?') => Kind::Sign(Binary::Otherwise),
            b'?' => Kind::Question,
            b'+' => Kind::Sign(Binary::Add),
            b'-' => Kind::Sign(Binary::Subtract),
            b'*' => Kind::Sign(Binary::Multiply),
            b'/' => Kind::Sign(Binary::Divide),
            b'%' => Kind::Sign(Binary::Modulo),
            b'^' => Kind::Sign(Binary::Power),
            b'.' if self.take(b'.') => Kind::To,
            b'.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => {
                return Err(BadSyntax::new(
                    format!("a number without a digit before its point, at character {}", self.character(start)),
                    "write such as `0.5`",
                ));
            }
            b',' => Kind::Comma,
            b':' => Kind::Colon,
            b'(' => Kind::Open,
            b')' => Kind::Close,
            b'[' => Kind::OpenSquare,
            b']' => Kind::CloseSquare,
            _ => {
                let sign = self.text.get(start..).and_then(|rest| rest.chars().next()).unwrap_or('?');
                return Err(self.wrong(start, &format!("{sign:?} has no meaning here")));
            }
        };
        Ok(kind)
    }

    fn wrong(&self, at: usize, what: &str) -> BadSyntax {
        BadSyntax::new(
            format!("{what}, at character {}", self.character(at)),
            "write a text in quotes; names have letters, digits, `_` and dots",
        )
    }

    fn character(&self, at: usize) -> usize {
        character(self.text, at)
    }
}

/// The character, from 1, at byte `at`.
pub(super) fn character(text: &str, at: usize) -> usize {
    1 + text.char_indices().take_while(|(start, _)| *start < at).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn words_are_told_apart() {
        let check = |text: &str, expected: &[Kind]| {
            let kinds: Vec<Kind> = tokens(text).unwrap().into_iter().map(|token| token.kind).collect();
            assert_eq!(kinds, expected, "{text}");
        };
        let name = |text: &str| Kind::Name(text.to_owned());
        check("[1..5.5)", &[Kind::OpenSquare, Kind::Number(1.0), Kind::To, Kind::Number(5.5), Kind::Close]);
        check("1_000 1e3 2.", &[Kind::Number(1000.0), Kind::Number(1000.0), Kind::Number(2.0)]);
        check("user.segment != 'é'", &[name("user.segment"), Kind::Sign(Binary::NotEqual), Kind::Text("é".into())]);
        check("!x not in", &[Kind::Not, name("x"), Kind::Not, Kind::In]);
        check("$.a ?? $", &[name("$.a"), Kind::Sign(Binary::Otherwise), name("$")]);
    }

    #[test]
    fn what_is_no_word_is_told_with_its_place() {
        let check = |text: &str, expected: &str| {
            let message = tokens(text).unwrap_err().message;
            assert!(message.contains(expected), "{message}");
        };
        check("é > 5", "'é' has no meaning here, at character 1");
        check("'é' & 5", "'&' has no meaning here, at character 5");
        check("> .5", "without a digit before its point, at character 3");
        check("a = 5", "a single `=` at character 3");
        check("'abc", "begins at character 1 has no end");
        check("1e999", "not a number");
        check(&"1".repeat(5000), "at most 4096");
        check("map(#.x)", "over a list");
    }
}
