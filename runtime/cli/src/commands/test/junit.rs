//! Results as JUnit XML, which build servers read. Owns the escaping.

use std::collections::BTreeMap;

use super::Ran;

/// One suite for each file.
pub(super) fn write(ran: &[Ran]) -> String {
    let mut suites: BTreeMap<&str, Vec<&Ran>> = BTreeMap::new();
    for ran in ran {
        suites.entry(&ran.file).or_default().push(ran);
    }
    let failed = |ran: &[&Ran]| ran.iter().filter(|ran| !ran.ok).count();
    let all: Vec<&Ran> = ran.iter().collect();
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    out.push_str(&format!("<testsuites tests=\"{}\" failures=\"{}\">\n", all.len(), failed(&all)));
    for (file, ran) in suites {
        let (file, count) = (escaped(file), ran.len());
        out.push_str(&format!("  <testsuite name=\"{file}\" tests=\"{count}\" failures=\"{}\">\n", failed(&ran)));
        for ran in ran {
            let name = escaped(&ran.test);
            out.push_str(&format!("    <testcase classname=\"{file}\" name=\"{name}\""));
            match ran.wrong.first() {
                None => out.push_str("/>\n"),
                Some(first) => {
                    let (first, text) = (escaped(first), escaped(&ran.wrong.join("\n")));
                    out.push_str(&format!("><failure message=\"{first}\">{text}</failure></testcase>\n"));
                }
            }
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_and_escaped() {
        let ran = |test: &str, wrong: &[&str]| Ran {
            file: "a.csv".into(),
            test: test.into(),
            ok: wrong.is_empty(),
            wrong: wrong.iter().map(|line| (*line).to_owned()).collect(),
        };
        let text = write(&[ran("x < 1", &[]), ran("y", &["is \"a\"", "b"])]);
        assert!(text.contains("<testsuites tests=\"2\" failures=\"1\">"), "{text}");
        assert!(text.contains("name=\"x &lt; 1\"/>"), "{text}");
        assert!(text.contains("<failure message=\"is &quot;a&quot;\">is &quot;a&quot;\nb</failure>"), "{text}");
    }
}
