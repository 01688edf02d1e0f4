//! `selvedge release inspect`: what a release file holds, whether it is whole, and who signed it.

use std::path::PathBuf;

use selvedge_build::keys::TrustStore;
use selvedge_build::release::{self, Contents, Limits, ReleaseFiles};
use serde::Serialize;

use crate::files::read_file;
use crate::output::{Outcome, Output};
use crate::table::Table;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The release file.
    file: PathBuf,
    /// A file with public keys; with any, a release that none of them signed is a finding.
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    digest: String,
    name: String,
    runtime: String,
    key: String,
    signed_by: Option<String>,
    problem: Option<String>,
    files: Vec<File>,
    placements: Vec<String>,
    views: Vec<String>,
    modules: Vec<Module>,
}

#[derive(Serialize)]
struct File {
    path: String,
    size: u64,
    sha256: String,
}

#[derive(Serialize)]
struct Module {
    name: String,
    inputs: usize,
    outputs: Vec<String>,
    golden_vectors: usize,
    rows: u32,
    memory_bytes: u64,
    browser: bool,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let limits = Limits::default();
        let bytes = read_file(&self.file, limits.max_total_bytes)?;
        let files = release::open(&bytes, &limits)?;
        let contents = release::definition(&files)?;
        let signer = (!self.trust.is_empty()).then(|| files.verify(&TrustStore::from_files(self.trust)));
        let (signed_by, problem) = match signer {
            Some(Ok(name)) => (Some(name), None),
            Some(Err(bad)) => (None, Some(bad.to_string())),
            None => (None, None),
        };
        let report = report(&files, &contents, signed_by, problem);
        output.data(&report, text(&report))?;
        Ok(Outcome::of(report.problem.is_none()))
    }
}

fn report(files: &ReleaseFiles, contents: &Contents<'_>, signed_by: Option<String>, problem: Option<String>) -> Report {
    let file =
        |entry: &release::FileEntry| File { path: entry.path.clone(), size: entry.size, sha256: entry.sha256.clone() };
    let module = |(name, module): (&String, &release::ReleaseModule<'_>)| {
        let manifest = &module.file.manifest;
        Module {
            name: name.clone(),
            inputs: manifest.inputs.len(),
            outputs: manifest.outputs.iter().map(|output| output.name.clone()).collect(),
            golden_vectors: module.file.vectors.len(),
            rows: manifest.limits.rows,
            memory_bytes: manifest.limits.memory_bytes,
            browser: manifest.browser,
        }
    };
    Report {
        digest: files.digest.to_string(),
        name: files.manifest.name.clone(),
        runtime: files.manifest.runtime.clone(),
        key: files.signature.key().to_string(),
        signed_by,
        problem,
        files: files.manifest.files.iter().map(file).collect(),
        placements: contents.placements.keys().cloned().collect(),
        views: contents.features.view.keys().cloned().collect(),
        modules: contents.modules.iter().map(module).collect(),
    }
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "release     {}\nname        {}\nruntime     {} or newer\nsigned by   key {}",
        report.digest, report.name, report.runtime, report.key
    );
    let believed = match (&report.signed_by, &report.problem) {
        (Some(name), _) => format!(", trusted as {name}"),
        (None, Some(problem)) => format!(", NOT TRUSTED: {problem}"),
        (None, None) => ", not checked: no --trust given".to_owned(),
    };
    text.push_str(&believed);
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    text.push_str(&format!("\nplacements  {}\nviews       {}\n\n", list(&report.placements), list(&report.views)));
    let mut files = Table::new(&["file", "bytes", "sha256"]);
    for file in &report.files {
        files.row([file.path.clone(), file.size.to_string(), file.sha256.clone()]);
    }
    text.push_str(&files.to_string());
    if !report.modules.is_empty() {
        let mut modules = Table::new(&["module", "inputs", "outputs", "rows", "memory", "golden vectors"]);
        for module in &report.modules {
            let memory = format!("{} KiB", module.memory_bytes >> 10);
            let (rows, vectors) = (module.rows.to_string(), module.golden_vectors.to_string());
            let inputs = module.inputs.to_string();
            modules.row([module.name.clone(), inputs, module.outputs.join(", "), rows, memory, vectors]);
        }
        text.push_str(&format!("\n\n{modules}"));
    }
    text
}
