//! Modules as commands are given them: a file that is a module or becomes one, and a host that has seen it answer as its
//! golden vectors say.

use std::path::Path;

use anyhow::Context as _;
use selvedge_build::build::{build_source, sidecar_name};
use selvedge_build::module::{self, ModuleFile};
use selvedge_host::{Host, HostConfig, Module};

use crate::config;
use crate::files::read_file;

/// The largest module, source or file of rows, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 30;
/// The largest sidecar, in bytes.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// A module file.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) bytes: Vec<u8>,
    pub(crate) file: ModuleFile,
}

/// Reads a module, or builds one from a source as `release pack` would.
pub(crate) fn read_or_build(path: &Path) -> anyhow::Result<Built> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let sidecar = read_sidecar(path, &name)?;
    let sidecar = sidecar.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let bytes = build_source(&name, &read_file(path, MAX_FILE_BYTES)?, sidecar)?;
    Ok(Built { file: module::open(&bytes)?, bytes })
}

/// The sidecar beside a source, when it may have one and it is there: its path and text.
fn read_sidecar(source: &Path, name: &str) -> anyhow::Result<Option<(String, String)>> {
    let file = sidecar_name(name).map(|beside| source.with_file_name(beside)).filter(|file| file.is_file());
    let Some(file) = file else { return Ok(None) };
    let told = file.display().to_string();
    let text = String::from_utf8(read_file(&file, MAX_TEXT_BYTES)?).with_context(|| format!("{told} is not UTF-8"))?;
    Ok(Some((told, text)))
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
