//! From a file in a release's `modules/` to module bytes. Owns which endings mean what.

use wasmparser::Parser;

use crate::definitions::BadFile;
use crate::linear;
use crate::module::{self, BadModule};
use crate::rules::{self, BadRules};

const ENDINGS: &str = ".wasm, .linear.toml, .jdm.json, .csv";

/// Why a file in `modules/` does not become a module.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A module or guest that cannot be used.
    #[error("{file}: {why}")]
    Module {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: BadModule,
    },
    /// A source with a mistake in it.
    #[error(transparent)]
    Source(#[from] BadFile),
    /// Rules with mistakes in them.
    #[error(transparent)]
    Rules(#[from] BadRules),
    /// An ending without a builder.
    #[error("{file}: nothing builds such a file; known endings: {ENDINGS}")]
    Ending {
        /// The file.
        file: String,
    },
}

/// The name of the module a file in `modules/` becomes, by which placements refer to it; `None` for other files.
pub fn module_name(file_name: &str) -> Option<&str> {
    let name =
        [".linear.toml", ".wasm", ".jdm.json", ".csv"].iter().find_map(|ending| file_name.strip_suffix(ending))?;
    (!name.is_empty()).then_some(name)
}

/// The name of the TOML file that may stand beside a source and says what the source does not; `None` for a file that has
/// none.
pub fn sidecar_name(file_name: &str) -> Option<String> {
    rules::sidecar_name(file_name)
}

/// Builds one file of `modules/`: a `.wasm` module passes through when it opens, a core module of the guest SDK is sealed,
/// a source is compiled with its sidecar, of which name and text are given.
///
/// # Errors
///
/// When nothing builds such a file, or it has a mistake.
pub fn build_source(file_name: &str, bytes: &[u8], sidecar: Option<(&str, &str)>) -> Result<Vec<u8>, BuildError> {
    let bad = |why| BuildError::Module { file: file_name.to_owned(), why };
    if file_name.ends_with(".wasm") && Parser::is_core_wasm(bytes) {
        return module::seal_guest(bytes, &[]).map_err(bad);
    }
    if file_name.ends_with(".wasm") {
        return module::open(bytes).map(|_| bytes.to_vec()).map_err(bad);
    }
    if file_name.ends_with(".linear.toml") {
        return Ok(linear::build(file_name, bytes)?);
    }
    if file_name.ends_with(".jdm.json") || file_name.ends_with(".csv") {
        return Ok(rules::build_with(file_name, bytes, sidecar)?);
    }
    Err(BuildError::Ending { file: file_name.to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_ending_says_what_builds_a_file() {
        let linear = b"link = \"identity\"\ninput = []\n";
        let module = build_source("m.linear.toml", linear, None).unwrap();
        assert_eq!(build_source("m.wasm", &module, None).unwrap(), module, "a module passes through");
        assert!(matches!(build_source("m.wasm", b"shop", None), Err(BuildError::Module { .. })));
        assert!(matches!(build_source("m.linear.toml", b"link", None), Err(BuildError::Source(_))));
        assert!(matches!(build_source("m.onnx", b"", None), Err(BuildError::Ending { .. })));
        let core = selvedge_prebuilt::HERO_RULES;
        assert!(module::open(&build_source("m.wasm", core, None).unwrap()).is_ok(), "a guest is sealed");
    }

    #[test]
    fn module_names_are_file_names_without_their_endings() {
        for (file, name) in [
            ("hero.linear.toml", Some("hero")),
            ("hero.v2.wasm", Some("hero.v2")),
            ("hero.toml", None),
            (".wasm", None),
            ("README.md", None),
        ] {
            assert_eq!(module_name(file), name, "{file}");
        }
    }

    #[test]
    fn sidecars_are_named_after_the_module() {
        for (file, sidecar) in [
            ("hero.jdm.json", Some("hero.toml")),
            ("hero.v2.csv", Some("hero.v2.toml")),
            ("hero.linear.toml", None),
            ("hero.wasm", None),
            ("hero.toml", None),
        ] {
            assert_eq!(sidecar_name(file).as_deref(), sidecar, "{file}");
        }
    }
}
