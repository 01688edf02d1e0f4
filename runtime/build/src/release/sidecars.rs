//! The sidecars of a folder's sources: which files they are, whose each is, and what to say of one that is nobody's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::contents::Finding;
use crate::build::{module_name, sidecar_name};
use crate::definitions::nearest;

/// Takes the sidecars out of the sources: by their path in the folder, such as `modules/hero.toml`.
pub(super) fn take(sources: &mut BTreeMap<String, PathBuf>) -> BTreeMap<String, PathBuf> {
    let is_sidecar = |path: &str| {
        let file = path.strip_prefix("modules/");
        file.is_some_and(|file| file.ends_with(".toml") && module_name(file).is_none())
    };
    let (sidecars, others) = std::mem::take(sources).into_iter().partition(|(path, _)| is_sidecar(path));
    *sources = others;
    sidecars
}

/// The text of one, when a source has it.
pub(super) fn read(path: &str, bytes: Vec<u8>, sources: &BTreeMap<String, PathBuf>) -> Result<String, Finding> {
    let files = || sources.keys().filter_map(|source| source.strip_prefix("modules/"));
    let own = path.strip_prefix("modules/").unwrap_or(path);
    if files().any(|file| sidecar_name(file).as_deref() == Some(own)) {
        return String::from_utf8(bytes).map_err(|error| Finding::new(path, format_args!("is not UTF-8: {error}")));
    }
    let name = own.trim_end_matches(".toml");
    if let Some(file) = files().find(|file| module_name(file) == Some(name)) {
        return Err(Finding::new(path, format_args!("stands beside {file}, which has no sidecar")));
    }
    let near = nearest(name, files().filter(|file| sidecar_name(file).is_some()).filter_map(module_name));
    let hint = near.map(|near| format!("; did you mean {near}.toml?")).unwrap_or_default();
    let why = format_args!("is the sidecar of a source called {name}, and there is none{hint}");
    Err(Finding::new(path, why))
}
