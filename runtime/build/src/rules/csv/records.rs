//! Lines and cells of CSV (RFC 4180): quotes, doubled quotes in them, either end of line, a byte order mark, and whichever of
//! `,` `;` and tab the spreadsheet puts between cells. Owns nothing of what they mean.

/// Reads the records; empty lines are passed over.
pub(super) fn read(text: &str) -> Result<Vec<Vec<String>>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let between = separator(text);
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut cell = String::new();
    let mut quoted_at = None;
    let mut line = 1;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if quoted_at.is_some() => {
                if rest.next_if_eq(&'"').is_some() {
                    cell.push('"');
                } else {
                    quoted_at = None;
                }
            }
            _ if quoted_at.is_some() => cell.push(c),
            '"' if cell.trim().is_empty() => {
                cell.clear();
                quoted_at = Some(line);
            }
            '\r' if rest.peek() == Some(&'\n') => {}
            '\n' => {
                record.push(std::mem::take(&mut cell));
                end(&mut records, &mut record);
            }
            _ if c == between => record.push(std::mem::take(&mut cell)),
            _ => cell.push(c),
        }
    }
    if let Some(line) = quoted_at {
        return Err(format!("line {line}: a quote is opened and not closed"));
    }
    record.push(cell);
    end(&mut records, &mut record);
    Ok(records)
}

fn end(records: &mut Vec<Vec<String>>, record: &mut Vec<String>) {
    // Spreadsheets pad lines with empty cells.
    while record.last().is_some_and(|cell| cell.trim().is_empty()) {
        record.pop();
    }
    if !record.is_empty() {
        records.push(std::mem::take(record));
    }
}

/// What stands between cells: the sign that the line with the heads has most of, outside of quotes.
fn separator(text: &str) -> char {
    let heads =
        text.lines().find(|line| !line.trim_start_matches('"').trim_start().starts_with('#')).unwrap_or_default();
    let mut counts = [(',', 0), (';', 0), ('\t', 0)];
    let mut quoted = false;
    for c in heads.chars() {
        quoted ^= c == '"';
        counts.iter_mut().filter(|(sign, _)| *sign == c && !quoted).for_each(|(_, count)| *count += 1);
    }
    // The first of equals: the comma.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(',', |(sign, _)| *sign)
}

/// Adds a line.
pub(super) fn push(out: &mut String, cells: &[String]) {
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let plain = !cell.contains([',', ';', '\t', '"', '\n', '\r']) && cell.trim() == cell;
        if plain {
            out.push_str(cell);
        } else {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spreadsheets_are_read() {
        let check = |text: &str, expected: &[&[&str]]| assert_eq!(read(text).unwrap(), expected, "{text:?}");
        check("a,b\r\n\"x, \"\"y\"\"\",2\r\n", &[&["a", "b"], &["x, \"y\"", "2"]]);
        check("\u{feff}a;b\n1,5;2\n", &[&["a", "b"], &["1,5", "2"]]);
        check("# name: x\na\tb\n\n1\t2", &[&["# name: x"], &["a", "b"], &["1", "2"]]);
        check("a,b,,\n1,,\n", &[&["a", "b"], &["1"]]);
        assert!(read("a\n\"b").unwrap_err().contains("line 2"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(records in prop::collection::vec(prop::collection::vec("[a-z,;\"\n\t #]{0,8}z", 2..5), 1..6)) {
            let mut out = "h1,h2\n".to_owned();
            records.iter().for_each(|record| push(&mut out, record));
            prop_assert_eq!(&read(&out).unwrap()[1..], &records[..]);
        }
    }
}
