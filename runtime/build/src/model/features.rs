//! A file of feature names, one a line in the model's order, each perhaps with the texts of its codes:
//!
//! ```text
//! user.age
//! item.category ["bags", "shoes"]
//! ```
//!
//! Owns its form; for anything more there are sidecars.

use std::collections::BTreeSet;

use selvedge_decision::manifest::Kind;

use crate::definitions::BadFile;
use crate::import::BadModel;
use crate::pipeline::Pipeline;

/// An input as a line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// `view.feature`, `context.name`, or the trainer's name.
    pub name: String,
    /// The texts of the trainer's codes, from 0; empty for what is no symbol, or has its texts in the model.
    pub symbols: Vec<String>,
}

// === impl Feature ===

impl Feature {
    /// Reads a file of names, calling it `file` in errors. Empty lines do not count.
    ///
    /// # Errors
    ///
    /// With the line that is wrong.
    pub fn read_all(file: &str, bytes: &[u8]) -> Result<Vec<Self>, BadFile> {
        let bad = |line: usize, message: String| BadFile {
            file: file.to_owned(),
            line,
            key: String::new(),
            message,
            nearest: None,
        };
        let text = std::str::from_utf8(bytes).map_err(|error| bad(1, format!("not UTF-8: {error}")))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let features: Vec<Self> =
            lines.map(|(at, line)| Self::read(line).map_err(|why| bad(at + 1, why))).collect::<Result<_, _>>()?;
        let mut seen = BTreeSet::new();
        match features.iter().find(|feature| !seen.insert(&feature.name)) {
            Some(twice) => Err(bad(1, format!("the name {:?} stands twice", twice.name))),
            None => Ok(features),
        }
    }

    fn read(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let Some((name, list)) = line.split_once(" [").filter(|_| line.ends_with(']')) else {
            return Ok(Self { name: line.to_owned(), symbols: Vec::new() });
        };
        let symbols: Vec<String> = serde_json::from_str(&format!("[{list}"))
            .map_err(|error| format!("the texts after a name are a list such as [\"DE\", \"FR\"]: {error}"))?;
        if symbols.is_empty() {
            return Err("an empty list of texts".into());
        }
        Ok(Self { name: name.trim_end().to_owned(), symbols })
    }
}

/// Gives the inputs, which have the features' names already, their texts.
pub(super) fn apply(features: &[Feature], pipeline: &mut Pipeline) -> Result<(), BadModel> {
    for feature in features.iter().filter(|feature| !feature.symbols.is_empty()) {
        let Some(input) = pipeline.inputs.iter_mut().find(|input| input.name == feature.name) else { continue };
        let known = input.symbols.len();
        let why = match input.kind {
            Kind::Number | Kind::Symbol if known == 0 || known == feature.symbols.len() => {
                input.kind = Kind::Symbol;
                input.symbols.clone_from(&feature.symbols);
                continue;
            }
            Kind::Symbol => format!("{} texts, but the model was trained on {known}", feature.symbols.len()),
            kind => format!("the model reads a {kind} here, which has no texts"),
        };
        return Err(BadModel { at: format!("input {:?}", feature.name), why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_are_lines_and_texts_are_lists() {
        let feature = |name: &str, symbols: &[&str]| Feature {
            name: name.to_owned(),
            symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
        };
        let check = |text: &str, expected: &[Feature]| {
            assert_eq!(Feature::read_all("names.txt", text.as_bytes()).unwrap(), expected);
        };
        check("user.age\r\n\n page views \n", &[feature("user.age", &[]), feature("page views", &[])]);
        check("item.category [\"bags\", \"a [b]\"]\n", &[feature("item.category", &["bags", "a [b]"])]);
        check("price [EUR]x", &[feature("price [EUR]x", &[])]);
    }

    #[test]
    fn mistakes_are_told_at_their_line() {
        let check = |text: &[u8], expected: &str| {
            let told = Feature::read_all("names.txt", text).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}; expected {expected:?}");
        };
        check(b"a\nb [\"x\"\n c []", "names.txt:3: an empty list of texts");
        check(b"a\nb [x]", "names.txt:2: the texts after a name are a list such as [\"DE\", \"FR\"]");
        check(b"a\nb\na", "the name \"a\" stands twice");
        check(b"\xff", "not UTF-8");
    }
}
