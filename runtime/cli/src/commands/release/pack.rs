//! `selvedge release pack`: a folder becomes a release file, when nothing in it is wrong.

use std::path::{Path, PathBuf};

use selvedge_build::keys::SigningKey;
use selvedge_build::release::{self, Finding, Limits, PackError, PackedRelease, ReleaseFiles};
use selvedge_decision::Plan;
use serde::Serialize;

use crate::commands::core::plan_of;
use crate::files::write_file;
use crate::modules;
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder.
    dir: PathBuf,
    /// The secret key to sign with.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The release file whose place this takes: of its experiments that go on, no more people change their arm than must.
    #[arg(long, value_name = "FILE")]
    after: Option<PathBuf>,
    /// The file to write, or a folder for it; DIGEST.release in this folder when not said.
    #[arg(short, long = "output", value_name = "PATH")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    findings: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    at: &'a str,
    message: &'a str,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let key = SigningKey::read(&self.key)?;
        let before = self.after.as_deref().map(plan_of).transpose()?;
        let Some(packed) = pack_folder(&self.dir, &key, before.as_ref(), output)? else { return Ok(Outcome::Findings) };
        let name = format!("{}.release", packed.digest.hex());
        let file = match self.output {
            Some(path) if path.is_dir() => path.join(name),
            Some(path) => path,
            None => PathBuf::from(name),
        };
        write_file(&file, &packed.bytes)?;
        let report = Report {
            ok: true,
            file: Some(&file),
            digest: Some(packed.digest.to_string()),
            name: Some(&packed.name),
            bytes: Some(packed.bytes.len()),
            findings: Vec::new(),
        };
        output.data(&report, file.display())?;
        output.talk(format_args!("{} is {}, {} bytes", packed.name, packed.digest, packed.bytes.len()));
        Ok(Outcome::Ok)
    }
}

/// Packs a folder and runs its modules' golden vectors. `None` when something in it is wrong, which was told then.
pub(in crate::commands) fn pack_folder(
    dir: &Path,
    key: &SigningKey,
    before: Option<&Plan>,
    output: &Output,
) -> anyhow::Result<Option<PackedRelease>> {
    let packed = match before {
        Some(before) => release::pack_after(dir, key, before),
        None => release::pack(dir, key),
    };
    let findings = match packed {
        Ok(packed) => {
            let findings = check_modules(&release::open(&packed.bytes, &Limits::default())?)?;
            if findings.is_empty() {
                return Ok(Some(packed));
            }
            findings
        }
        Err(PackError::Bad(bad)) => bad.findings,
        Err(error @ PackError::Read { .. }) => return Err(error.into()),
    };
    if output.is_json() {
        let findings = findings.iter().map(|finding| Told { at: &finding.at, message: &finding.message }).collect();
        output.json_line(&Report { ok: false, file: None, digest: None, name: None, bytes: None, findings })?;
    } else {
        findings.iter().try_for_each(|finding| output.text_line(finding))?;
    }
    let count = findings.len();
    output.talk(format_args!(
        "{}: {count} finding{}, nothing written",
        dir.display(),
        if count == 1 { "" } else { "s" }
    ));
    Ok(None)
}

/// Runs the golden vectors of every module of a release, as a node does before it swaps.
pub(in crate::commands) fn check_modules(files: &ReleaseFiles) -> anyhow::Result<Vec<Finding>> {
    let contents = release::definition(files)?;
    if contents.modules.is_empty() {
        return Ok(Vec::new());
    }
    let host = modules::host(None)?;
    let mut findings = Vec::new();
    for (name, module) in &contents.modules {
        let checked = modules::checked(&host, module.bytes, &module.file);
        findings.extend(checked.err().map(|why| Finding::new(format_args!("modules/{name}.wasm"), why)));
    }
    Ok(findings)
}
