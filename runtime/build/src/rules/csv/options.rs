//! The `#` lines above the heads: `# hit: collect boost=sum`. Owns their words; a line without one is a comment.

use std::collections::{BTreeMap, BTreeSet};

use super::super::settings::{AggregateWord, Settings};

const KNOWN: [&str; 3] = ["name", "hit", "rows"];

/// What `#` lines say.
pub(super) struct Options {
    pub(super) name: String,
    pub(super) is_collect: bool,
    pub(super) collect: BTreeMap<String, AggregateWord>,
    /// The words of the lines so far.
    said: BTreeSet<String>,
}

// === impl Options ===

impl Options {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), is_collect: false, collect: BTreeMap::new(), said: BTreeSet::new() }
    }

    /// Takes what follows a `#`.
    pub(super) fn take(&mut self, option: &str, settings: &mut Settings) -> Result<(), String> {
        let Some((key, value)) = option.split_once(':') else { return Ok(()) };
        let (key, value) = (key.trim(), value.trim());
        if KNOWN.contains(&key) && !self.said.insert(key.to_owned()) {
            return Err(format!("a second line says `# {key}:`, and only one of them would count"));
        }
        match key {
            "name" => value.clone_into(&mut self.name),
            "rows" => {
                settings.rows = Some(value.parse().map_err(|_| format!("`# rows: {value}` is no number of rows"))?);
            }
            "hit" => self.hit(value)?,
            _ => {
                if let Some(meant) = KNOWN.iter().find(|known| strsim::damerau_levenshtein(key, known) == 1) {
                    return Err(format!("`# {key}:` is not known; did you mean `# {meant}:`?"));
                }
            }
        }
        Ok(())
    }

    fn hit(&mut self, value: &str) -> Result<(), String> {
        let mut words =
            value.split(|sign: char| sign.is_whitespace() || matches!(sign, ',' | ';')).filter(|word| !word.is_empty());
        self.is_collect = match words.next() {
            Some("first") => false,
            Some("collect") => true,
            _ => return Err(format!("`# hit: {value}` is neither first nor collect")),
        };
        for word in words {
            if !self.is_collect {
                return Err(format!(
                    "`# hit: {value}`: only the first row that matches counts, there is nothing to collect"
                ));
            }
            let aggregate = word.split_once('=').and_then(|(output, word)| {
                let word = match word {
                    "sum" => AggregateWord::Sum,
                    "min" => AggregateWord::Min,
                    "max" => AggregateWord::Max,
                    "count" => AggregateWord::Count,
                    _ => return None,
                };
                Some((output.to_owned(), word))
            });
            self.collect.extend([aggregate.ok_or_else(|| format!("`{word}` is not such as boost=sum"))?]);
        }
        Ok(())
    }
}
