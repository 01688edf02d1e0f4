//! The manifest of a module: what its rows of numbers mean. Owns the types and the checks that need nothing else; the JSON
//! itself is read and written by `runtime/build`, whose schema is `wit/manifest.schema.json`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::form::form;

/// The manifest version this runtime reads.
pub const MANIFEST_VERSION: u32 = 1;

/// What a module is, as its custom section `selvedge:manifest` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub manifest: u32,
    /// A name for people; the file's name is what a placement refers to.
    pub name: String,
    /// The inputs in the order of their columns.
    pub inputs: Vec<Input>,
    /// The outputs in the order of their columns.
    pub outputs: Vec<Output>,
    /// What it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What it was sized for.
    pub limits: Limits,
    /// Whether it may be served to browsers, where one instance is kept: nothing may survive a call.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub browser: bool,
}

/// One input: a column, or `len` columns for a vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// `view.feature`, `context.name`, `candidate.id`, or any name when `derive` says where it comes from.
    pub name: String,
    /// Which of the two rows it stands in.
    pub scope: Scope,
    /// What the numbers mean.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// For `symbol`: the texts whose index is the number; at most 65,536.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// For `vector`: how many columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u32>,
    /// What stands there when there is no value.
    #[serde(default, skip_serializing_if = "Missing::is_no_match")]
    pub missing: Missing,
    /// The function of the decision core that computes it, when no number of a view or context can say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derive: Option<Derive>,
}

/// Which row an input stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The request's row, one a decision.
    Shared,
    /// The candidate's row, one a candidate.
    Candidate,
}

/// What a column's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A number; NaN when missing.
    Number,
    /// 0 or 1; NaN when missing.
    Flag,
    /// Index in `symbols`, -1 for any other text; NaN when missing.
    Symbol,
    /// `len` numbers side by side; all NaN when missing. Inputs only.
    Vector,
}

/// What a module sees in place of a missing value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Missing {
    /// `"no-match"`: NaN, which matches no comparison. `"error"`: the rung faults with `input`.
    Word(MissingWord),
    /// `{"default": …}`: a number, a flag or one of the symbols.
    Default {
        /// The value.
        default: Scalar,
    },
    /// Not said: as `"no-match"`. Never written.
    #[default]
    #[serde(skip)]
    Unsaid,
}

/// The two words for [`Missing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingWord {
    /// NaN.
    NoMatch,
    /// A fault.
    Error,
}

/// A value as people write it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// A derived input: a function of this closed set, versioned with the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fn", deny_unknown_fields)]
pub enum Derive {
    /// Flag: the text of symbol feature `of` starts with `text`.
    StartsWith {
        /// A symbol feature or context value.
        of: String,
        /// What it is compared with.
        text: String,
    },
    /// Flag: the text of symbol feature `of` ends with `text`.
    EndsWith {
        /// A symbol feature or context value.
        of: String,
        /// What it is compared with.
        text: String,
    },
    /// Flag: the text of symbol feature `of` contains `text`, or the list of ids `of` has it as a member.
    Contains {
        /// A symbol feature or context value, or a feature that is a list of ids.
        of: String,
        /// What it is compared with.
        text: String,
    },
    /// Flag: the list of ids `of` has `id` as a member; missing when either is.
    Includes {
        /// A feature that is a list of ids.
        of: String,
        /// `candidate.id`, or a context value that is a symbol.
        id: String,
    },
    /// Number: seconds from the time feature `of` to the decision, never below 0.
    Age {
        /// A feature of type `time`.
        of: String,
    },
    /// Number: minutes since midnight of the decision's time, in UTC plus the request's `tz_offset_min`.
    MinuteOfDay,
    /// Number: day of the week of the decision's time, 0 is Monday, in UTC plus the request's `tz_offset_min`.
    DayOfWeek,
    /// Number: seconds from 1970-01-01T00:00:00Z to the decision's time; the request's `tz_offset_min` does not move it.
    EpochSeconds,
    /// Number: dot product of two vector features of one length.
    Dot {
        /// A vector feature.
        a: String,
        /// A vector feature.
        b: String,
    },
    /// Number: cosine of two vector features of one length; missing when either is zero.
    Cosine {
        /// A vector feature.
        a: String,
        /// A vector feature.
        b: String,
    },
}

/// One output column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// `score`, `eligible`, `boost`, `pin`, `row`, or a name of the author's.
    pub name: String,
    /// What the numbers mean; never `vector`.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// For `symbol`: the texts by index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// The smallest value it can take, where the author knows one. A score that rules multiply by `boost` must say 0 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
}

/// What a module was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The kind of source, such as `rust`, `linear`, `xgboost`.
    pub kind: String,
    /// The trainer or compiler and its version, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    /// `sha256:…` of the source file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What a module was sized for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most candidate rows of one call.
    pub rows: u32,
    /// The memory it needs for such a call, in bytes; it never grows beyond.
    pub memory_bytes: u64,
}

/// The outputs that mean something to the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The score of a candidate.
    Score,
    /// Whether a candidate may be chosen at all.
    Eligible,
    /// Multiplies the score.
    Boost,
    /// The slot, from 0, a candidate is pinned to; NaN for none.
    Pin,
    /// Which row of the rules matched, from 0; NaN for none.
    Row,
    /// A value that goes into the answer.
    Value,
}

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("manifest: {at}: {why}")]
pub struct BadManifest {
    /// The path inside the manifest, such as `inputs[3].symbols`.
    pub at: String,
    /// What is wrong and what is expected.
    pub why: String,
}

// === forms ===

form!(enum Scope { Shared, 1 Candidate });
form!(enum Kind { Number, 1 Flag, 2 Symbol, 3 Vector });
form!(struct Output { name, kind, symbols, min });

// === impl Manifest ===

impl Manifest {
    /// Columns of the `shared` row.
    pub fn shared_width(&self) -> usize {
        self.width(Scope::Shared)
    }

    /// Columns of a row of `candidates`.
    pub fn candidate_width(&self) -> usize {
        self.width(Scope::Candidate)
    }

    fn width(&self, scope: Scope) -> usize {
        self.inputs.iter().filter(|input| input.scope == scope).map(Input::width).sum()
    }

    /// The column of output `name`.
    pub fn output(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output.name == name)
    }

    /// Checks all that can be known without the modules around it.
    pub fn check(&self) -> Result<(), BadManifest> {
        let fail = |at: String, why: String| Err(BadManifest { at, why });
        if self.manifest != MANIFEST_VERSION {
            let why = format!("version {} is unknown, this runtime reads {MANIFEST_VERSION}", self.manifest);
            return fail("manifest".into(), why);
        }
        if self.outputs.is_empty() {
            return fail("outputs".into(), "empty: a module needs at least one output".into());
        }
        if self.inputs.len() > 65_536 || self.outputs.len() > 256 {
            return fail("inputs".into(), "more than 65,536 inputs or 256 outputs".into());
        }
        if self.limits.rows == 0 || self.limits.rows > 65_536 {
            return fail("limits.rows".into(), format!("{} is not between 1 and 65,536", self.limits.rows));
        }
        let mut seen = alloc::collections::BTreeSet::new();
        for (i, input) in self.inputs.iter().enumerate() {
            if let Err(why) = input.check() {
                return fail(format!("inputs[{i}] {:?}", input.name), why);
            }
            if !seen.insert(&input.name) {
                return fail(format!("inputs[{i}]"), format!("the name {:?} stands twice", input.name));
            }
        }
        seen.clear();
        for (i, output) in self.outputs.iter().enumerate() {
            if let Err(why) = output.check() {
                return fail(format!("outputs[{i}] {:?}", output.name), why);
            }
            if !seen.insert(&output.name) {
                return fail(format!("outputs[{i}]"), format!("the name {:?} stands twice", output.name));
            }
        }
        let columns = self.shared_width() + self.candidate_width();
        if columns > 1_000_000 {
            return fail("inputs".into(), format!("{columns} columns in all, at most 1,000,000"));
        }
        Ok(())
    }
}

// === impl Input ===

impl Input {
    /// How many columns it takes.
    pub fn width(&self) -> usize {
        match self.kind {
            Kind::Vector => self.len.unwrap_or(0) as usize,
            Kind::Number | Kind::Flag | Kind::Symbol => 1,
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.name.is_empty() || self.name.len() > 200 {
            return Err("a name has 1 to 200 bytes".into());
        }
        check_symbols(self.kind, &self.symbols)?;
        match (self.kind, self.len) {
            (Kind::Vector, None | Some(0)) => return Err("a vector needs its `len`".into()),
            (Kind::Vector, Some(len)) if len > 65_536 => return Err(format!("len {len} is above 65,536")),
            (Kind::Vector, Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err("only a vector has a `len`".into()),
        }
        self.default_value().map(|_| ())
    }

    /// The number its `missing` default stands for; `None` when it has none.
    pub fn default_value(&self) -> Result<Option<f64>, String> {
        let Missing::Default { default } = &self.missing else { return Ok(None) };
        match (self.kind, default) {
            (Kind::Number | Kind::Vector, Scalar::Number(number)) => Ok(Some(*number)),
            (Kind::Flag, Scalar::Flag(flag)) => Ok(Some(f64::from(*flag))),
            (Kind::Symbol, Scalar::Text(text)) => match self.symbols.iter().position(|symbol| symbol == text) {
                Some(index) => Ok(Some(index as f64)),
                None => Err(format!("missing.default {text:?} is not one of its symbols")),
            },
            (kind, _) => Err(format!("missing.default does not fit the type {kind}")),
        }
    }
}

// === impl Output ===

impl Output {
    /// What the output means to the runtime.
    pub fn role(&self) -> Role {
        match self.name.as_str() {
            "score" => Role::Score,
            "eligible" => Role::Eligible,
            "boost" => Role::Boost,
            "pin" => Role::Pin,
            "row" => Role::Row,
            _ => Role::Value,
        }
    }

    fn check(&self) -> Result<(), String> {
        check_symbols(self.kind, &self.symbols)?;
        let expected = match self.role() {
            Role::Score | Role::Boost | Role::Pin | Role::Row => Kind::Number,
            Role::Eligible => Kind::Flag,
            Role::Value if self.kind == Kind::Vector => return Err("an output cannot be a vector".into()),
            Role::Value => self.kind,
        };
        if self.kind != expected {
            return Err(format!("has the type {}, but {:?} must be a {expected}", self.kind, self.name));
        }
        Ok(())
    }
}

// === impl Kind ===

impl core::fmt::Display for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Flag => "flag",
            Self::Symbol => "symbol",
            Self::Vector => "vector",
        })
    }
}

// === impl Missing ===

impl Missing {
    fn is_no_match(&self) -> bool {
        matches!(self, Self::Word(MissingWord::NoMatch) | Self::Unsaid)
    }

    /// Whether a missing value is a fault of the rung.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Word(MissingWord::Error))
    }
}

fn check_symbols(kind: Kind, symbols: &[String]) -> Result<(), String> {
    match kind {
        Kind::Symbol if symbols.is_empty() => Err("a symbol needs its `symbols`".into()),
        Kind::Symbol if symbols.len() > 65_536 => Err(format!("{} symbols, at most 65,536", symbols.len())),
        Kind::Symbol => {
            let mut seen = alloc::collections::BTreeSet::new();
            match symbols.iter().find(|symbol| !seen.insert(*symbol)) {
                Some(twice) => Err(format!("the symbol {twice:?} stands twice")),
                None => Ok(()),
            }
        }
        Kind::Number | Kind::Flag | Kind::Vector if symbols.is_empty() => Ok(()),
        Kind::Number | Kind::Flag | Kind::Vector => Err("only a symbol has `symbols`".into()),
    }
}
