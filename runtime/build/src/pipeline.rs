//! The middle form of a model: named inputs, steps that append columns, outputs. Every importer produces it and one backend
//! compiles it; as JSON it is what `sdk-python` writes (`docs/pipeline.md`). Owns the shape of the whole and what must hold
//! of it; a step's own shape stands in `step` and `trees`.
//!
//! Evaluation is a tape. Column 0 up to the inputs' width are the inputs in their order (a vector takes `len` columns); every
//! step reads columns that stand before it and appends its own. All columns are f64, a missing value is NaN. The reference
//! evaluation in `reference` says to the bit what each step computes; the kernel must agree with it.

pub mod calibrate;
mod check;
pub mod compile;
pub mod explain;
pub mod reference;
pub mod step;
pub mod trees;

use selvedge_decision::manifest::{Derive, Kind, Missing, Scope};
use serde::{Deserialize, Serialize};

pub use check::BadPipeline;
pub use step::{Column, Function, Precision, Step};
pub use trees::{Compare, Tree, Trees};

/// The version of the form that this builder reads and writes.
pub const PIPELINE_VERSION: u32 = 1;
/// The most columns of a pipeline, inputs and steps together.
pub const MAX_COLUMNS: usize = 1_000_000;
/// The most steps.
pub const MAX_STEPS: usize = 10_000;
/// The most outputs.
pub const MAX_OUTPUTS: usize = 256;
/// The most symbols of an input, which is what a manifest can list; and the most vectors of an embedding.
pub const MAX_SYMBOLS: usize = 65_536;
/// The most nodes of all trees together, leaves included.
pub const MAX_NODES: usize = 4_000_000;

/// A model and its preprocessing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// [`PIPELINE_VERSION`].
    pub selvedge_pipeline: u32,
    /// The kind of source: `xgboost`, `lightgbm`, `scikit-learn`, `onnx`, `smartcore`, `embedding`, `linear`.
    pub kind: String,
    /// The trainer and its version, such as `scikit-learn 1.7.2`, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    /// What it reads, in the order of its columns.
    pub inputs: Vec<PipelineInput>,
    /// What it computes, in order.
    pub steps: Vec<Step>,
    /// What it answers.
    pub outputs: Answers,
}

/// One input, as the trainer knows it; the sidecar of a model file may give it another name, a scope and a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineInput {
    /// The feature's name.
    pub name: String,
    /// What its numbers mean.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// For a symbol: the texts whose index is the number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// For a vector: how many columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u32>,
    /// Which row it stands in; by its name when it is not said: `item.…` and `candidate.…` are the candidate's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What stands there when there is no value.
    #[serde(default, skip_serializing_if = "is_unsaid")]
    pub missing: Missing,
    /// What the node computes it from, when it is no value of a view or the context itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derive: Option<Derive>,
}

/// The columns that may be answered; at least one of the two lists is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Before the link: margins, decision functions, and the values of a regression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub margin: Vec<Answer>,
    /// After the link: probabilities, and the means of a regression with a link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probability: Vec<Answer>,
}

/// One answered column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// `score` for a model with one output, else such as `class_2`.
    pub name: String,
    /// The column.
    pub column: u32,
}

/// Which of [`Answers`] a module answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// [`Answers::margin`].
    Margin,
    /// [`Answers::probability`].
    Probability,
}

fn is_unsaid(missing: &Missing) -> bool {
    *missing == Missing::Unsaid
}

// === impl Pipeline ===

impl Pipeline {
    /// How many columns the inputs take.
    pub fn input_width(&self) -> usize {
        self.inputs.iter().map(PipelineInput::width).sum()
    }

    /// The columns of the whole tape.
    pub fn width(&self) -> usize {
        self.steps.iter().fold(self.input_width(), |width, step| width.saturating_add(step.width()))
    }

    /// How many columns the inputs of a row take.
    pub fn width_of(&self, scope: Scope) -> usize {
        self.inputs.iter().filter(|input| input.scope() == scope).map(PipelineInput::width).sum()
    }

    /// The outputs of a kind, if there are any.
    pub fn answers(&self, output: OutputKind) -> Option<&[Answer]> {
        let answers = match output {
            OutputKind::Margin => &self.outputs.margin,
            OutputKind::Probability => &self.outputs.probability,
        };
        (!answers.is_empty()).then_some(answers)
    }

    /// Whether each column of the tape depends on the candidate: an input as it says, a step's column when any column does
    /// that it reads. A step that works column by column, or term by term, has columns of both.
    pub fn scopes(&self) -> Vec<Scope> {
        let inputs = self.inputs.iter();
        let mut scopes: Vec<Scope> =
            inputs.flat_map(|input| std::iter::repeat_n(input.scope(), input.width())).collect();
        for step in &self.steps {
            let of = |columns: &[Column]| match columns.iter().any(|at| scopes[*at as usize] == Scope::Candidate) {
                true => Scope::Candidate,
                false => Scope::Shared,
            };
            let own: Vec<Scope> = match step {
                Step::Products { terms } | Step::Sums { terms } => terms.iter().map(|term| of(term)).collect(),
                _ => match step.each() {
                    Some(columns) => columns.iter().map(|column| of(&[*column])).collect(),
                    None => vec![of(&step.reads().collect::<Vec<_>>()); step.width()],
                },
            };
            scopes.extend(own);
        }
        scopes
    }

    /// Checks all that must hold of a pipeline before it is evaluated or compiled.
    ///
    /// # Errors
    ///
    /// With the path of what is wrong, and what was expected.
    pub fn check(&self) -> Result<(), BadPipeline> {
        check::pipeline(self)
    }
}

// === impl PipelineInput ===

impl PipelineInput {
    /// A number without a default.
    pub fn number(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Number,
            symbols: Vec::new(),
            len: None,
            scope: None,
            missing: Missing::Unsaid,
            derive: None,
        }
    }

    /// A symbol without a default.
    pub fn symbol(name: impl Into<String>, symbols: Vec<String>) -> Self {
        Self { kind: Kind::Symbol, symbols, ..Self::number(name) }
    }

    /// How many columns it takes.
    pub fn width(&self) -> usize {
        match self.kind {
            Kind::Vector => self.len.unwrap_or(0) as usize,
            Kind::Number | Kind::Flag | Kind::Symbol => 1,
        }
    }

    /// The row it stands in.
    pub fn scope(&self) -> Scope {
        let of_candidate = self.name.starts_with("item.") || self.name.starts_with("candidate.");
        self.scope.unwrap_or(if of_candidate { Scope::Candidate } else { Scope::Shared })
    }
}
