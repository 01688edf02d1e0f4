//! Modules as commands are given them: a file that is a module or becomes one, and a host that has seen it answer as its
//! golden vectors say.

use std::path::Path;

use anyhow::Context as _;
use selvedge_build::build::{build_source, is_model, sidecar_name};
use selvedge_build::model::{Model, Wishes};
use selvedge_build::module::{self, ModuleFile};
use selvedge_build::pipeline::Pipeline;
use selvedge_build::sidecar::Sidecar;
use selvedge_host::{Host, HostConfig, Module};

use crate::config;
use crate::files::read_file;

/// The largest module, source or file of rows, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 30;
/// The largest sidecar or file of names, in bytes.
pub(crate) const MAX_TEXT_BYTES: u64 = 64 << 20;

/// A module file.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) bytes: Vec<u8>,
    pub(crate) file: ModuleFile,
    /// What it was built from, when that was a model.
    pub(crate) pipeline: Option<Pipeline>,
}

/// The last part of a path.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Reads a module, or builds one from a source as `release pack` would.
pub(crate) fn read_or_build(path: &Path) -> anyhow::Result<Built> {
    let name = file_name(path);
    if is_model(&name) {
        return of_model(read_model(path, None, &Wishes::default())?);
    }
    let sidecar = read_sidecar(path, &name)?;
    let sidecar = sidecar.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let bytes = build_source(&name, &read_file(path, MAX_FILE_BYTES)?, sidecar)?;
    Ok(Built { file: module::open(&bytes)?, bytes, pipeline: None })
}

/// Reads a model file with its sidecar: the one that is named, else the one beside it when it is there. The file's bytes are
/// let go before anything is compiled.
pub(crate) fn read_model(path: &Path, sidecar: Option<&Path>, wishes: &Wishes) -> anyhow::Result<Model> {
    let name = file_name(path);
    let text = match sidecar {
        Some(sidecar) => Some(read_text(sidecar)?),
        None => read_sidecar(path, &name)?,
    };
    let sidecar = text.map(|(name, text)| Sidecar::read(&name, &text)).transpose()?;
    Ok(Model::read(&name, &read_file(path, MAX_FILE_BYTES)?, sidecar.as_ref(), wishes)?)
}

/// Compiles a model.
pub(crate) fn of_model(model: Model) -> anyhow::Result<Built> {
    let bytes = model.build()?;
    Ok(Built { file: module::open(&bytes)?, bytes, pipeline: Some(model.pipeline) })
}

/// The sidecar beside a source, when it may have one and it is there: its path and text.
fn read_sidecar(source: &Path, name: &str) -> anyhow::Result<Option<(String, String)>> {
    let file = sidecar_name(name).map(|beside| source.with_file_name(beside)).filter(|file| file.is_file());
    file.map(|file| read_text(&file)).transpose()
}

fn read_text(file: &Path) -> anyhow::Result<(String, String)> {
    let told = file.display().to_string();
    let text = String::from_utf8(read_file(file, MAX_TEXT_BYTES)?).with_context(|| format!("{told} is not UTF-8"))?;
    Ok((told, text))
}

/// A host that holds modules to the limits of a node with the settings of this environment, else the default ones; with few
/// instances.
pub(crate) fn host(cache_dir: Option<&Path>) -> anyhow::Result<Host> {
    let limits = config::load(None, &[])?.modules;
    Ok(Host::new(HostConfig {
        cache_dir: cache_dir.map(Path::to_owned),
        max_memory_bytes: limits.max_memory.bytes(),
        max_output_bytes: limits.max_output.bytes(),
        instances: 4,
        ..HostConfig::default()
    })?)
}

/// Loads a module and runs its golden vectors, as a node does before it swaps; or says what is wrong with it.
pub(crate) fn checked(host: &Host, bytes: &[u8], file: &ModuleFile) -> Result<Module, String> {
    let loaded = host.load(bytes, &file.manifest).map_err(|error| error.to_string())?;
    let vectors = &file.vectors;
    let checked =
        if file.manifest.browser { loaded.check_keeps_no_state(vectors) } else { loaded.check_vectors(vectors) };
    checked.map(|()| loaded).map_err(|mismatch| mismatch.to_string())
}
