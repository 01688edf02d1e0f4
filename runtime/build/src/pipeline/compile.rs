//! From a pipeline to a module: the kernel, the program appended to it, the manifest and golden vectors. Owns what is refused
//! because no host would take it, whatever memory it gives; how steps become records is `emit`'s, how trees are laid out
//! `forest`'s.

mod emit;
mod forest;
mod golden;
mod needed;
mod range;
mod size;

use selvedge_decision::Digest;
use selvedge_decision::manifest::{Input, Kind, Limits, MANIFEST_VERSION, Manifest, Output, Source};
use selvedge_pipeline::program::Draft;

use super::{BadPipeline, OutputKind, Pipeline, PipelineInput};
use crate::module::{self, BadModule, MAX_MODULE_BYTES};

/// What a module is made with.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The module's name, for people.
    pub name: String,
    /// What it answers; unless said, probabilities where there are any, else margins.
    pub output: Option<OutputKind>,
    /// The most candidate rows of one call.
    pub rows: u32,
    /// Whether it may be served to browsers.
    pub browser: bool,
    /// The digest of the file it is built from.
    pub digest: Option<Digest>,
}

/// Why a pipeline does not become a module.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CompileError {
    /// What the pipeline says cannot be.
    #[error(transparent)]
    Pipeline(#[from] BadPipeline),
    /// It has no outputs of the kind asked for.
    #[error("the model has no {0} to answer with: ask for {1}")]
    Output(&'static str, &'static str),
    /// It is larger than a module may be.
    #[error("the model becomes at least {needed} bytes, a module has at most {MAX_MODULE_BYTES}: {advice}")]
    Size {
        /// What it becomes.
        needed: u64,
        /// What to do.
        advice: &'static str,
    },
    /// The result would not open as a module.
    #[error(transparent)]
    Module(#[from] BadModule),
}

/// Makes a module of a pipeline.
///
/// # Errors
///
/// With what is wrong with the pipeline, or which limit its module would break.
pub fn module(pipeline: &Pipeline, options: &Options) -> Result<Vec<u8>, CompileError> {
    pipeline.check()?;
    let output = chosen(pipeline, options)?;
    let manifest = manifest(pipeline, output, options);
    manifest.check().map_err(BadModule::from)?;
    let program = laid_out(pipeline, output)?;
    let steps = (program.candidate_ops.len() * selvedge_pipeline::STEP_BYTES) as u64;
    let scratch = 8 * u64::from(program.places) + 4 * u64::from(program.narrow) + steps;
    let bytes = program.to_bytes();
    let vectors = golden::vectors(pipeline, output, &manifest);
    Ok(module::seal_with(selvedge_prebuilt::PIPELINE, &bytes, scratch, &manifest, &vectors)?)
}

/// The program alone, as the kernel runs it: for comparing and measuring the kernel outside a module.
///
/// # Errors
///
/// As [`module`].
pub fn program(pipeline: &Pipeline, options: &Options) -> Result<Vec<u8>, CompileError> {
    pipeline.check()?;
    Ok(laid_out(pipeline, chosen(pipeline, options)?)?.to_bytes())
}

/// The program, unless it would be larger than a module: that is found before it takes any memory.
fn laid_out(pipeline: &Pipeline, output: OutputKind) -> Result<Draft, CompileError> {
    let needed = needed::needed(pipeline, pipeline.answers(output).unwrap_or_default());
    match size::of(pipeline, &needed) {
        (size, advice) if size > MAX_MODULE_BYTES as u64 => Err(CompileError::Size { needed: size, advice }),
        _ => Ok(emit::program(pipeline, output, needed)),
    }
}

fn chosen(pipeline: &Pipeline, options: &Options) -> Result<OutputKind, CompileError> {
    let (margin, probability) = (OutputKind::Margin, OutputKind::Probability);
    let wanted = options.output.unwrap_or(if pipeline.answers(probability).is_some() { probability } else { margin });
    match (pipeline.answers(wanted), wanted) {
        (Some(_), _) => Ok(wanted),
        (None, OutputKind::Margin) => Err(CompileError::Output("margin", "probability")),
        (None, OutputKind::Probability) => Err(CompileError::Output("probability", "margin")),
    }
}

fn manifest(pipeline: &Pipeline, output: OutputKind, options: &Options) -> Manifest {
    let ranges = range::ranges(pipeline);
    let outputs = pipeline.answers(output).unwrap_or_default().iter().map(|answer| Output {
        name: answer.name.clone(),
        kind: Kind::Number,
        symbols: Vec::new(),
        min: (ranges[answer.column as usize].low >= 0.0).then_some(0.0),
    });
    Manifest {
        manifest: MANIFEST_VERSION,
        name: options.name.clone(),
        inputs: pipeline.inputs.iter().map(input).collect(),
        outputs: outputs.collect(),
        source: Some(Source {
            kind: pipeline.kind.clone(),
            made_by: pipeline.made_by.clone(),
            digest: options.digest.map(|digest| digest.to_string()),
        }),
        limits: Limits { rows: options.rows, memory_bytes: 0 },
        browser: options.browser,
    }
}

fn input(input: &PipelineInput) -> Input {
    Input {
        name: input.name.clone(),
        scope: input.scope(),
        kind: input.kind,
        symbols: input.symbols.clone(),
        len: input.len,
        missing: input.missing.clone(),
        derive: input.derive.clone(),
    }
}

// === impl Options ===

impl Options {
    /// A module that answers what the model is for, with 1,024 rows, for browsers too.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), output: None, rows: 1024, browser: true, digest: None }
    }
}
