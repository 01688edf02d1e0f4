//! Lines and cells of CSV (RFC 4180): quotes, doubled quotes in them, any end of line, a byte order mark, and whichever of
//! `,` `;` and tab the spreadsheet puts between cells. Owns nothing of what they mean.

use std::borrow::Cow;

/// The records of a text, one after the other; lines without a word are passed over.
#[derive(Debug, Clone)]
pub struct Records<'t> {
    rest: &'t str,
    between: u8,
    line: usize,
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

/// A quote is opened and not closed: nothing behind it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: a quote is opened and not closed")]
pub struct OpenQuote {
    /// The line of the quote, from 1.
    pub line: usize,
}

/// What a cell ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Cell,
    Line,
}

// === impl Records ===

impl<'t> Records<'t> {
    /// The records of a text. What stands between cells is told from the first line that does not begin with `#`.
    pub fn new(text: &'t str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { rest, between: separator(rest), line: 1 }
    }

    /// What stands between cells.
    pub fn between(&self) -> char {
        char::from(self.between)
    }

    fn record(&mut self) -> Result<Record<'t>, OpenQuote> {
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

    fn cell(&mut self) -> Result<(Cell<'t>, End), OpenQuote> {
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
    fn quoted(&mut self) -> Result<(Cell<'t>, End), OpenQuote> {
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
            Some(line) => Err(OpenQuote { line }),
            None => Ok((done(cell, is_quoted), End::Line)),
        }
    }
}

impl<'t> Iterator for Records<'t> {
    type Item = Result<Record<'t>, OpenQuote>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.record() {
                Ok(record) if record.cells.iter().all(|cell| cell.text.trim().is_empty()) => {}
                read => return Some(read),
            }
        }
        None
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
        check("a\tb\n \"1\"x\t2\"\r", &[(1, &["a", "b"]), (2, &["1x", "2\""])]);
        check("\ra;b\r1;\"x\ry\"\r2;3", &[(2, &["a", "b"]), (3, &["1", "x\ry"]), (5, &["2", "3"])]);
        check("\"\"", &[]);
        check("", &[]);
    }

    #[test]
    fn a_quote_that_stays_open_is_the_last_record() {
        let mut records = Records::new("a\n1\n\"x\n2\n3");
        assert_eq!(records.by_ref().take(2).filter(Result::is_ok).count(), 2);
        assert_eq!(records.next(), Some(Err(OpenQuote { line: 3 })));
        assert_eq!(records.next(), None);
    }
}
