//! What is wrong with rules, or looks so, and where. Owns the codes and the wording of places; decides nothing.

use std::fmt;

use serde::Serialize;

/// The most findings that are told of one file.
pub(super) const MAX_FINDINGS: usize = 100;

/// One thing to tell about a file of rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing, by a word that does not change.
    pub code: Code,
    /// How bad it is.
    pub level: Level,
    /// The file as the caller names it.
    pub file: String,
    /// Where in it.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}

/// A place in a file of rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct Place {
    /// The table, or another node, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The row, from 1 as people count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
    /// The column, or the key of an expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is written there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Good to know.
    Information,
    /// Probably a mistake.
    Warning,
    /// The rules cannot be built.
    Error,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The file is not JSON, CSV or TOML of the form it should have.
    Form,
    /// A cell or expression cannot be read.
    Syntax,
    /// Types that do not fit each other.
    Type,
    /// A name that nothing gives.
    UnknownName,
    /// Something of the format that is outside of the profile.
    Unsupported,
    /// The nodes and edges do not make a decision.
    Graph,
    /// Larger than what is built.
    Limit,
    /// No input makes the row fire: rows before it take all that it takes.
    UnreachableRow,
    /// Another row takes some of the same inputs.
    Overlap,
    /// No row takes some inputs.
    Gap,
    /// A cell that no value passes.
    Contradiction,
    /// A declared input that no cell speaks of.
    UnusedInput,
    /// An input that no view or context provides.
    UnknownFeature,
    /// An output whose type is not the same in all rows, or not the declared one.
    OutputType,
    /// A node from which no way leads to the answer.
    UnusedNode,
    /// A table that is too large for something that is looked for.
    Skipped,
}

/// Why rules cannot be built: at least one error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRules {
    /// The errors, in the order of the file.
    pub findings: Vec<Finding>,
}

// === impl Finding ===

impl Finding {
    /// An error.
    pub(super) fn error(code: Code, place: Place, message: impl Into<String>, advice: impl Into<String>) -> Self {
        let (message, advice) = (message.into(), advice.into());
        Self { code, level: Level::Error, file: String::new(), place, message, advice }
    }

    /// The place and what is wrong there, without the file.
    pub fn told(&self) -> String {
        let advice = if self.advice.is_empty() { String::new() } else { format!("; {}", self.advice) };
        let place = self.place.to_string();
        let colon = if place.is_empty() { "" } else { ": " };
        format!("{place}{colon}{}{advice} [{}]", self.message, self.code)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.told())
    }
}

// === impl Place ===

impl Place {
    pub(super) fn table(name: &str) -> Self {
        Self { table: Some(name.to_owned()), ..Self::default() }
    }

    pub(super) fn row(mut self, row: usize) -> Self {
        self.row = Some(row + 1);
        self
    }

    pub(super) fn column(mut self, column: &str) -> Self {
        self.column = Some(column.to_owned());
        self
    }

    pub(super) fn cell(mut self, cell: &str) -> Self {
        self.cell = Some(cell.to_owned());
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.table.as_ref().map(|table| format!("{table:?}")));
        parts.extend(self.row.map(|row| format!("row {row}")));
        parts.extend(self.column.as_ref().map(|column| format!("column {column:?}")));
        parts.extend(self.cell.as_ref().map(|cell| {
            let short: String = cell.chars().take(80).collect();
            let end = if short.len() < cell.len() { "…" } else { "" };
            format!("`{short}{end}`")
        }));
        f.write_str(&parts.join(", "))
    }
}

// === impl Code ===

impl Code {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Syntax => "syntax",
            Self::Type => "type",
            Self::UnknownName => "unknown-name",
            Self::Unsupported => "unsupported",
            Self::Graph => "graph",
            Self::Limit => "limit",
            Self::UnreachableRow => "unreachable-row",
            Self::Overlap => "overlap",
            Self::Gap => "gap",
            Self::Contradiction => "contradiction",
            Self::UnusedInput => "unused-input",
            Self::UnknownFeature => "unknown-feature",
            Self::OutputType => "output-type",
            Self::UnusedNode => "unused-node",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Information => "information",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

// === impl BadRules ===

impl BadRules {
    pub(super) fn one(finding: Finding) -> Self {
        Self { findings: vec![finding] }
    }

    /// Names the file in every finding.
    pub(super) fn in_file(mut self, file: &str) -> Self {
        self.findings.iter_mut().for_each(|finding| file.clone_into(&mut finding.file));
        self
    }
}

impl fmt::Display for BadRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BadRules {}
