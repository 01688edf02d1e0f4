//! Lines and cells of CSV (RFC 4180): quotes, doubled quotes in them, any end of line, a byte order mark, and whichever of
//! `,` `;` and tab the spreadsheet puts between cells. Owns nothing of what they mean.

use std::borrow::Cow;

/// The records of a text, one after the other; lines without a word are passed over.
#[derive(Debug, Clone)]
pub struct Records<'t> {
    rest: &'t str,
    between: u8,
    line: usize,
    bad: Option<BadCsv>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'t> {
    /// The line it begins in, from 1.
    pub line: usize,
    /// Its cells, at least one.
    pub cells: Vec<Cell<'t>>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell<'t> {
    /// What stands there: quotes are taken off, spaces outside of quotes are not.
    pub text: Cow<'t, str>,
    /// Whether it stood in quotes.
    pub is_quoted: bool,
}

/// What cannot be read: nothing behind it can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadCsv {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: WhyBad,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyBad {
    /// A quote is opened and not closed.
    #[error("a quote is opened and not closed")]
    OpenQuote,
    /// This stands between the quote that ends a cell and the end of the cell.
    #[error("`{0}` stands behind the quote that ends a cell")]
    BehindQuote(char),
    /// The first line names a sign between cells that is none.
    #[error("`{0}`")]
    Separator(String),
}

/// What a cell ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Cell,
    Line,
}

// === impl BadCsv ===

impl BadCsv {
    /// What to do.
    pub fn advice(&self) -> &'static str {
        match self.why {
            WhyBad::OpenQuote => "close the quote",
            WhyBad::BehindQuote(_) => {
                "put the whole cell in quotes, and write each quote inside twice: `\"\"\"vip\"\" new\"`"
            }
            WhyBad::Separator(_) => "between cells stand commas, semicolons or tabs: save it with one of them",
        }
    }
}

// === impl Records ===

impl<'t> Records<'t> {
    /// The records of a text. What stands between cells is said by a first line such as Excel's `sep=;`, or told from the
    /// first line that does not begin with `#`.
    pub fn new(text: &'t str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (between, rest, bad) = match said_separator(rest) {
            Ok(Some((between, rest))) => (between, rest, None),
            Ok(None) => (separator(rest), rest, None),
            Err(bad) => (b',', "", Some(bad)),
        };
        Self { rest, between, line: 1, bad }
    }

    /// What stands between cells.
    pub fn between(&self) -> char {
        char::from(self.between)
    }

    fn record(&mut self) -> Result<Record<'t>, BadCsv> {
        let line = self.line;
        let mut cells = Vec::new();
        loop {
            let (cell, end) = self.cell()?;
            cells.push(cell);
            if end == End::Line {
                return Ok(Record { line, cells });
            }
        }
    }

    fn cell(&mut self) -> Result<(Cell<'t>, End), BadCsv> {
        let bare = |text| Cell { text: Cow::Borrowed(text), is_quoted: false };
        let telling = |byte: &u8| *byte == self.between || matches!(*byte, b'\n' | b'\r' | b'"');
        let Some(at) = self.rest.as_bytes().iter().position(telling) else {
            return Ok((bare(std::mem::take(&mut self.rest)), End::Line));
        };
        let (cell, rest) = self.rest.split_at(at);
        match rest.as_bytes()[0] {
            b'"' => self.quoted(),
            b'\n' | b'\r' => {
                self.rest = rest.strip_prefix("\r\n").unwrap_or(&rest[1..]);
                self.line += 1;
                Ok((bare(cell), End::Line))
            }
            _ => {
                self.rest = &rest[1..];
                Ok((bare(cell), End::Cell))
            }
        }
    }

    /// A cell with a quote in it. One that stands at the beginning makes everything up to the next count as it is.
    fn quoted(&mut self) -> Result<(Cell<'t>, End), BadCsv> {
        let mut cell = String::new();
        let (mut quoted_at, mut is_quoted) = (None, false);
        let done = |text, is_quoted| Cell { text: Cow::Owned(text), is_quoted };
        let mut rest = self.rest.char_indices().peekable();
        while let Some((at, c)) = rest.next() {
            let is_half = c == '\r' && rest.peek().is_some_and(|(_, next)| *next == '\n');
            let is_end = matches!(c, '\n' | '\r') && !is_half;
            self.line += usize::from(is_end);
            match c {
                '"' if quoted_at.is_some() => {
                    if rest.next_if(|(_, next)| *next == '"').is_some() {
                        cell.push('"');
                    } else {
                        quoted_at = None;
                    }
                }
                _ if quoted_at.is_some() => cell.push(c),
                _ if is_quoted && !is_end && c != self.between() && !c.is_whitespace() => {
                    self.rest = "";
                    return Err(BadCsv { line: self.line, why: WhyBad::BehindQuote(c) });
                }
                '"' if cell.trim().is_empty() => {
                    cell.clear();
                    (quoted_at, is_quoted) = (Some(self.line), true);
                }
                '\r' if is_half => {}
                _ if is_end || c == self.between() => {
                    self.rest = &self.rest[at + 1..];
                    return Ok((done(cell, is_quoted), if is_end { End::Line } else { End::Cell }));
                }
                _ => cell.push(c),
            }
        }
        self.rest = "";
        match quoted_at {
            Some(line) => Err(BadCsv { line, why: WhyBad::OpenQuote }),
            None => Ok((done(cell, is_quoted), End::Line)),
        }
    }
}

impl<'t> Iterator for Records<'t> {
    type Item = Result<Record<'t>, BadCsv>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(bad) = self.bad.take() {
            return Some(Err(bad));
        }
        while !self.rest.is_empty() {
            match self.record() {
                Ok(record) if record.cells.iter().all(|cell| cell.text.trim().is_empty()) => {}
                read => return Some(read),
            }
        }
        None
    }
}

/// What Excel's own first line, `sep=;`, says stands between cells, and the text behind that line.
fn said_separator(text: &str) -> Result<Option<(u8, &str)>, BadCsv> {
    let end = text.find(['\n', '\r']).unwrap_or(text.len());
    let (line, rest) = text.split_at(end);
    let word = line.trim_matches([' ', '"']);
    let Some(sign) = word.get(..4).filter(|word| word.eq_ignore_ascii_case("sep=")).and_then(|_| word.get(4..)) else {
        return Ok(None);
    };
    match sign {
        "," | ";" | "\t" => Ok(sign.bytes().next().map(|sign| (sign, rest))),
        _ => Err(BadCsv { line: 1, why: WhyBad::Separator(word.to_owned()) }),
    }
}

/// What stands between cells: the sign that the line with the heads has most of, outside of quotes.
fn separator(text: &str) -> u8 {
    let is_comment = |line: &str| line.trim_start_matches('"').trim_start().starts_with('#');
    let mut lines = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty());
    let heads = lines.find(|line| !is_comment(line)).unwrap_or_default();
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for c in heads.bytes() {
        quoted ^= c == b'"';
        counts.iter_mut().filter(|(sign, _)| *sign == c && !quoted).for_each(|(_, count)| *count += 1);
    }
    // The first of equals: the comma.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(sign, _)| *sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &[&str])]) {
        let texts = |record: Record<'_>| record.cells.into_iter().map(|cell| cell.text.into_owned()).collect();
        let found: Vec<_> =
            Records::new(text).map(|record| record.map(|record| (record.line, texts(record)))).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(line, cells)| Ok((*line, cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>())))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn a_record_knows_its_line_and_its_cells() {
        check(
            "a,b\r\n1,\"x\r\ny, \"\"z\"\"\"\r\n\r\n,,\n2, 3 \n",
            &[(1, &["a", "b"]), (2, &["1", "x\r\ny, \"z\""]), (6, &["2", " 3 "])],
        );
        check("\u{feff}a;b\n1,5;", &[(1, &["a", "b"]), (2, &["1,5", ""])]);
        check("a\tb\n \"1\" \t2\"\r", &[(1, &["a", "b"]), (2, &["1 ", "2\""])]);
        check("sep=;\na;b,c\n", &[(2, &["a", "b,c"])]);
        check("\ra;b\r1;\"x\ry\"\r2;3", &[(2, &["a", "b"]), (3, &["1", "x\ry"]), (5, &["2", "3"])]);
        check("\"\"", &[]);
        check("", &[]);
    }

    #[test]
    fn what_cannot_be_read_is_the_last_record() {
        let mut records = Records::new("a\n1\n\"x\n2\n3");
        assert_eq!(records.by_ref().take(2).filter(Result::is_ok).count(), 2);
        assert_eq!(records.next(), Some(Err(BadCsv { line: 3, why: WhyBad::OpenQuote })));
        assert_eq!(records.next(), None);
        let only = |text| Records::new(text).filter_map(Result::err).collect::<Vec<_>>();
        assert_eq!(only("a\n\"vip\" new\nb"), [BadCsv { line: 2, why: WhyBad::BehindQuote('n') }]);
        assert_eq!(only("sep=|\na|b"), [BadCsv { line: 1, why: WhyBad::Separator("sep=|".into()) }]);
    }
}
