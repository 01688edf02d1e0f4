//! The records of a table: cells without those that spreadsheets pad lines with, read and written. Owns nothing of what they
//! mean.

use crate::csv::Records;

/// What a file holds.
#[derive(Debug, PartialEq)]
pub(super) struct Sheet {
    /// What stands between cells.
    pub(super) between: char,
    /// The lines that are not empty.
    pub(super) records: Vec<Vec<Cell>>,
}

/// One cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Whether it stood in quotes.
    pub(super) is_quoted: bool,
}

/// What is wrong, and what to do.
pub(super) type Wrong = (String, &'static str);

// === impl Cell ===

impl Cell {
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }
}

/// Reads the records; empty lines are passed over.
pub(super) fn read(text: &str) -> Result<Sheet, Wrong> {
    let records = Records::new(text);
    let between = records.between();
    let records = records.map(|record| {
        let cells = record.map_err(|bad| (bad.to_string(), bad.advice()))?.cells;
        let own = |cell: crate::csv::Cell<'_>| Cell { text: cell.text.into_owned(), is_quoted: cell.is_quoted };
        let mut cells: Vec<_> = cells.into_iter().map(own).collect();
        while cells.last().is_some_and(|cell| cell.text().is_empty()) {
            cells.pop();
        }
        Ok(cells)
    });
    Ok(Sheet { between, records: records.collect::<Result<_, Wrong>>()? })
}

/// What a line that begins with `#` says: all of it, also where it has what stands between cells.
pub(super) fn comment(record: &[Cell], between: char) -> Option<String> {
    record.first()?.text().strip_prefix('#')?;
    let cells: Vec<&str> = record.iter().map(|cell| cell.text.as_str()).collect();
    cells.join(between.encode_utf8(&mut [0; 4])).trim_start().strip_prefix('#').map(str::to_owned)
}

/// Adds a line.
pub(super) fn push(out: &mut String, cells: &[String]) {
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_cell(out, cell, cell.starts_with('#'));
    }
    out.push('\n');
}

/// Adds a line that begins with `#`.
pub(super) fn push_option(out: &mut String, option: &str) {
    push_cell(out, option, false);
    out.push('\n');
}

fn push_cell(out: &mut String, cell: &str, quoted: bool) {
    if quoted || cell.contains([',', ';', '\t', '"', '\n', '\r']) || cell.trim() != cell {
        out.push('"');
        out.push_str(&cell.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        let records = read(text).unwrap().records.into_iter();
        records.map(|record| record.into_iter().map(|cell| cell.text).collect()).collect()
    }

    #[test]
    fn spreadsheets_are_read() {
        let check = |text: &str, expected: &[&[&str]]| assert_eq!(texts(text), expected, "{text:?}");
        check("a,b\r\n\"x, \"\"y\"\"\",2\r\n", &[&["a", "b"], &["x, \"y\"", "2"]]);
        check("\u{feff}a;b\n1,5;2\n", &[&["a", "b"], &["1,5", "2"]]);
        check("# name: x\na\tb\n\n1\t2", &[&["# name: x"], &["a", "b"], &["1", "2"]]);
        check("a,b,,\n1,,\n", &[&["a", "b"], &["1"]]);
        check("# x\r\ra;b\r1;2\r", &[&["# x"], &["a", "b"], &["1", "2"]]);
        check("\n\na;b\n1;2\n", &[&["a", "b"], &["1", "2"]]);
        check("sep=;\r\na,b;c\r\n1;2\r\n", &[&["a,b", "c"], &["1", "2"]]);
        check("\u{feff}\"SEP=,\"\na;b,c\n", &[&["a;b", "c"]]);
        check("sep=\t\na,b\tc\n", &[&["a,b", "c"]]);
        check("sep,b\n1,2\n", &[&["sep", "b"], &["1", "2"]]);
        check("a,b\n\"x\" ,\"y\"\r\n", &[&["a", "b"], &["x ", "y"]]);
        let told = |text: &str, expected: &str| {
            let (message, advice) = read(text).unwrap_err();
            assert!(format!("{message}; {advice}").contains(expected), "{message}; {advice}");
        };
        told("a\n\"b", "line 2");
        told("a\rb\r\"c", "line 3");
        told("sep=;\na\n\"b", "line 3");
        told("sep=|\na|b\n", "line 1: `sep=|`; between cells stand commas, semicolons or tabs");
        told(
            "a,b\n1,\"vip\" new\n",
            "line 2: `n` stands behind the quote that ends a cell; put the whole cell in quotes",
        );
        let said = |text: &str| comment(&read(text).unwrap().records[0], ',').unwrap();
        assert_eq!(said("# name: Hero, boost\na,b\n"), " name: Hero, boost");
        assert_eq!(said("\"# name: Hero, boost\",,\na,b\n"), " name: Hero, boost");
        let sheet = read("a;b\n\"#1\";#2\n").unwrap();
        assert_eq!(sheet.between, ';');
        assert_eq!(sheet.records[1].iter().map(|cell| cell.is_quoted).collect::<Vec<_>>(), [true, false]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(records in prop::collection::vec(prop::collection::vec("[a-z,;\"\n\t #]{0,8}z", 2..5), 1..6)) {
            let mut out = "h1,h2\n".to_owned();
            records.iter().for_each(|record| push(&mut out, record));
            prop_assert_eq!(&texts(&out)[1..], &records[..]);
        }
    }
}
