//! `selvedge build`: a model file, a table of rules or a guest becomes a module, when it answers as its golden vectors say.
//! What was built is told, and nothing is written before all of it is right.

use std::path::{Path, PathBuf};

use selvedge_build::build::{is_model, module_name, sidecar_name};
use selvedge_build::derived;
use selvedge_build::model::{Feature, Model, Wishes};
use selvedge_build::pipeline::OutputKind;
use selvedge_build::sidecar;
use selvedge_decision::manifest::{Derive, Input, Kind, Output as ModuleOutput, Scope};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::files::{read_file, write_file};
use crate::modules::{self, Built, MAX_FILE_BYTES, MAX_TEXT_BYTES, file_name, of_model, read_model, read_or_build};
use crate::output::{Outcome, Output, Usage};

/// The most inputs named in text; JSON names all.
const SHOWN: usize = 6;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is written when anything is wrong: the module is opened, compiled within the limits of a node \
    and its golden vectors run, as `release pack` does with every file of `modules/`."
)]
pub(crate) struct Args {
    /// The source.
    file: PathBuf,
    /// The module to write, or a folder for it; NAME.wasm in this folder when not said.
    #[arg(short = 'o', long = "out", value_name = "PATH")]
    out: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

/// What is said of a model, over its sidecar.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Models")]
struct ModelArgs {
    /// The sidecar; NAME.toml beside the model when it is there.
    #[arg(long, value_name = "FILE")]
    sidecar: Option<PathBuf>,
    /// Print a sidecar to start from instead of building: every input with its name, scope and type.
    #[arg(long, conflicts_with_all = ["out", "sidecar"])]
    print_sidecar: bool,
    /// What the model answers; the probability, where it has one.
    #[arg(long, value_name = "margin|probability", value_parser = output_kind)]
    output: Option<OutputKind>,
    /// Names of the inputs in the model's order, one a line; `NAME ["DE", "FR"]` names a symbol's texts, too.
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// The module's name in its manifest; the file's when not said.
    #[arg(long)]
    name: Option<String>,
    /// The most candidates of one call.
    #[arg(long, value_name = "N")]
    rows: Option<u32>,
    /// Do not let browsers have it.
    #[arg(long)]
    no_browser: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    file: &'a Path,
    module: &'a str,
    digest: String,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a selvedge_decision::manifest::Source>,
    inputs: &'a [Input],
    outputs: &'a [ModuleOutput],
    rows: u32,
    memory_bytes: u64,
    browser: bool,
    golden_vectors: usize,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let file_name = file_name(&self.file);
        let mut built = if is_model(&file_name) {
            let wishes = self.model.wishes()?;
            if self.model.print_sidecar {
                let model = Model::read(&file_name, &read_file(&self.file, MAX_FILE_BYTES)?, None, &wishes)?;
                let own = sidecar_name(&file_name).unwrap_or_default();
                output.bytes(sidecar::template(&file_name, &own, &model.pipeline).as_bytes())?;
                return Ok(Outcome::Ok);
            }
            of_model(read_model(&self.file, self.model.sidecar.as_deref(), &wishes)?)?
        } else if let Some(flag) = self.model.given() {
            return Err(Usage(format!("{flag} is for model files, and {file_name} is none by its ending")).into());
        } else {
            read_or_build(&self.file)?
        };
        // Compiling needs memory, too.
        built.pipeline = None;
        modules::checked(&modules::host(None)?, &built.bytes, &built.file)
            .map_err(|why| anyhow::anyhow!("{}: the module it becomes {why}", self.file.display()))?;
        let name = format!("{}.wasm", module_name(&file_name).unwrap_or(&file_name));
        let file = match self.out {
            Some(path) if path.is_dir() => path.join(name),
            Some(path) => path,
            None => PathBuf::from(name),
        };
        if same_file(&file, &self.file) {
            return Err(Usage(format!("{} would be replaced by what is built from it; give -o", file.display())).into());
        }
        write_file(&file, &built.bytes)?;
        let report = report(&file, &built);
        output.data(&report, report.text())?;
        let row = example_row(report.inputs);
        output.talk(format_args!("next: selvedge eval {} --rows rows.jsonl  # a row: {row}", file.display()));
        Ok(Outcome::Ok)
    }
}

fn output_kind(word: &str) -> Result<OutputKind, String> {
    match word {
        "margin" => Ok(OutputKind::Margin),
        "probability" => Ok(OutputKind::Probability),
        _ => Err("either margin or probability".into()),
    }
}

// === impl ModelArgs ===

impl ModelArgs {
    /// The first flag that was given.
    fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--sidecar", self.sidecar.is_some()),
            ("--print-sidecar", self.print_sidecar),
            ("--output", self.output.is_some()),
            ("--features", self.features.is_some()),
            ("--name", self.name.is_some()),
            ("--rows", self.rows.is_some()),
            ("--no-browser", self.no_browser),
        ];
        flags.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    fn wishes(&self) -> anyhow::Result<Wishes> {
        let features = match &self.features {
            Some(file) => Some(Feature::read_all(&file.display().to_string(), &read_file(file, MAX_TEXT_BYTES)?)?),
            None => None,
        };
        Ok(Wishes {
            name: self.name.clone(),
            output: self.output,
            rows: self.rows,
            browser: self.no_browser.then_some(false),
            features,
        })
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn report<'a>(file: &'a Path, built: &'a Built) -> Report<'a> {
    let manifest = &built.file.manifest;
    Report {
        file,
        module: &manifest.name,
        digest: built.file.digest.to_string(),
        bytes: built.bytes.len(),
        source: manifest.source.as_ref(),
        inputs: &manifest.inputs,
        outputs: &manifest.outputs,
        rows: manifest.limits.rows,
        memory_bytes: manifest.limits.memory_bytes,
        browser: manifest.browser,
        golden_vectors: built.file.vectors.len(),
    }
}

/// A line for `selvedge eval` with the first inputs of each scope. Of one that is computed it has what that is computed of.
fn example_row(inputs: &[Input]) -> Value {
    let of = |scope: Scope| -> Map<String, Value> {
        let mut row = Map::new();
        for input in inputs.iter().filter(|input| input.scope == scope) {
            let parts = input
                .derive
                .iter()
                .flat_map(|derive| derived::parts(derive).into_iter().map(move |part| (derive, part)));
            for (derive, part) in parts.filter(|(_, part)| !inputs.iter().any(|input| input.name == *part)) {
                row.insert(part.to_owned(), example_part(derive));
            }
            if input.derive.is_none() {
                row.insert(input.name.clone(), example(input));
            }
            if row.len() >= SHOWN {
                break;
            }
        }
        row
    };
    let (shared, candidate) = (of(Scope::Shared), of(Scope::Candidate));
    match (shared.is_empty(), candidate.is_empty()) {
        (_, true) => shared.into(),
        (true, false) => json!({ "candidates": [candidate] }),
        (false, false) => json!({ "shared": shared, "candidates": [candidate] }),
    }
}

/// A value that a function may be computed of.
fn example_part(derive: &Derive) -> Value {
    match derive {
        Derive::StartsWith { text, .. } | Derive::EndsWith { text, .. } | Derive::Contains { text, .. } => json!(text),
        Derive::Age { .. } => json!("2026-11-25T08:00:00Z"),
        Derive::Includes { .. } | Derive::Dot { .. } | Derive::Cosine { .. } => Value::Null,
        Derive::MinuteOfDay | Derive::DayOfWeek | Derive::EpochSeconds => Value::Null,
    }
}

fn example(input: &Input) -> Value {
    match input.kind {
        Kind::Number => json!(1.5),
        Kind::Flag => json!(true),
        Kind::Symbol => json!(input.symbols.first()),
        Kind::Vector => Value::Array(vec![json!(0.5); input.width()]),
    }
}

// === impl Report ===

impl Report<'_> {
    fn text(&self) -> String {
        let mut lines = vec![format!("module   {}", self.file.display()), format!("digest   {}", self.digest)];
        if let Some(source) = self.source {
            lines.push(match &source.made_by {
                Some(made_by) if made_by.starts_with(&source.kind) => format!("source   {made_by}"),
                Some(made_by) => format!("source   {}, {made_by}", source.kind),
                None => format!("source   {}", source.kind),
            });
        }
        for (scope, word) in [(Scope::Shared, "shared"), (Scope::Candidate, "candidate")] {
            let names: Vec<&str> =
                self.inputs.iter().filter(|input| input.scope == scope).map(|input| input.name.as_str()).collect();
            if names.is_empty() {
                continue;
            }
            let more = if names.len() > SHOWN { ", …" } else { "" };
            let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
            lines.push(format!("inputs   {} {word}: {shown}{more}", names.len()));
        }
        let outputs: Vec<&str> = self.outputs.iter().map(|output| output.name.as_str()).collect();
        lines.push(format!("outputs  {}", outputs.join(", ")));
        let browser = if self.browser { ", for browsers too" } else { "" };
        lines.push(format!(
            "size     {} KiB, memory {} KiB for at most {} rows a call{browser}",
            self.bytes.div_ceil(1 << 10),
            self.memory_bytes >> 10,
            self.rows
        ));
        lines.push(match self.golden_vectors {
            0 => "checked  compiles; it has no golden vectors".to_owned(),
            vectors => format!("checked  {vectors} golden vectors, bit for bit"),
        });
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_example_has_what_inputs_are_computed_of() {
        let check = |inputs: Value, expected: Value| {
            let inputs: Vec<Input> = serde_json::from_value(inputs).unwrap();
            assert_eq!(example_row(&inputs), expected);
        };
        let test = |text: &str| json!({ "fn": "starts_with", "of": "user.segment", "text": text });
        let derived =
            |name: &str, text: &str| json!({ "name": name, "scope": "shared", "type": "flag", "derive": test(text) });
        let now = json!({ "name": "now", "scope": "shared", "type": "number", "derive": { "fn": "epoch_seconds" } });
        let price = json!({ "name": "item.price", "scope": "candidate", "type": "number" });
        check(
            json!([derived("a", "v"), derived("b", "w"), now, price]),
            json!({ "shared": { "user.segment": "w" }, "candidates": [{ "item.price": 1.5 }] }),
        );
        let symbol = json!({ "name": "user.segment", "scope": "shared", "type": "symbol", "symbols": ["vip"] });
        check(json!([derived("a", "v"), symbol]), json!({ "user.segment": "vip" }));
        check(json!([now, price]), json!({ "candidates": [{ "item.price": 1.5 }] }));
    }
}
