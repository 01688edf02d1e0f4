//! From a file in a release's `modules/` to module bytes. Owns which endings mean what.

use wasmparser::Parser;

use crate::definitions::BadFile;
use crate::import::BadModel;
use crate::linear;
use crate::model::{Model, Wishes};
use crate::module::{self, BadModule};
use crate::pipeline::compile::CompileError;
use crate::rules::{self, BadRules};
use crate::sidecar::Sidecar;

/// What builds a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Builder {
    /// Nothing but a seal, if that.
    Module,
    Linear,
    Rules,
    /// An importer, by the content.
    Model,
}

/// By a file's ending. One that ends in another stands before it.
const ENDINGS: [(&str, Builder); 10] = [
    (".wasm", Builder::Module),
    (".linear.toml", Builder::Linear),
    (".jdm.json", Builder::Rules),
    (".embedding.csv", Builder::Model),
    (".embedding.jsonl", Builder::Model),
    (".csv", Builder::Rules),
    (".json", Builder::Model),
    (".ubj", Builder::Model),
    (".txt", Builder::Model),
    (".onnx", Builder::Model),
];

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
    /// A model file that cannot be read.
    #[error("{file}: {why}")]
    Model {
        /// The file.
        file: String,
        /// What is wrong with it, and where.
        why: BadModel,
    },
    /// A sidecar with a mistake in it, or one that does not fit its model.
    #[error("{0}")]
    Sidecar(BadFile),
    /// A model that does not fit into a module.
    #[error("{file}: {why}")]
    Compile {
        /// The file.
        file: String,
        /// What does not fit.
        why: CompileError,
    },
    /// An ending without a builder.
    #[error("{file}: nothing builds such a file; known endings: {}", endings())]
    Ending {
        /// The file.
        file: String,
    },
}

/// The name of the module a file in `modules/` becomes, by which placements refer to it; `None` for other files.
pub fn module_name(file_name: &str) -> Option<&str> {
    split(file_name).map(|(name, _)| name)
}

/// The name of the TOML file that may stand beside a source and says what the source does not; `None` for a file that has
/// none.
pub fn sidecar_name(file_name: &str) -> Option<String> {
    let (name, builder) = split(file_name)?;
    matches!(builder, Builder::Rules | Builder::Model).then(|| format!("{name}.toml"))
}

/// Whether a file holds rules, by its ending.
pub fn is_rules(file_name: &str) -> bool {
    split(file_name).is_some_and(|(_, builder)| builder == Builder::Rules)
}

/// Whether a file holds a model, by its ending.
pub fn is_model(file_name: &str) -> bool {
    split(file_name).is_some_and(|(_, builder)| builder == Builder::Model)
}

fn split(file_name: &str) -> Option<(&str, Builder)> {
    if file_name.ends_with(".test.json") {
        return None;
    }
    let (name, builder) =
        ENDINGS.iter().find_map(|(ending, builder)| Some((file_name.strip_suffix(ending)?, *builder)))?;
    (!name.is_empty()).then_some((name, builder))
}

fn endings() -> String {
    ENDINGS.map(|(ending, _)| ending).join(", ")
}

/// Builds one file of `modules/`: a `.wasm` module passes through when it opens, a core module of the guest SDK is sealed,
/// a source is compiled with its sidecar, of which name and text are given.
///
/// # Errors
///
/// When nothing builds such a file, or it has a mistake.
pub fn build_source(file_name: &str, bytes: &[u8], sidecar: Option<(&str, &str)>) -> Result<Vec<u8>, BuildError> {
    let bad = |why| BuildError::Module { file: file_name.to_owned(), why };
    match split(file_name).map(|(_, builder)| builder) {
        Some(Builder::Module) if Parser::is_core_wasm(bytes) => module::seal_guest(bytes, &[]).map_err(bad),
        Some(Builder::Module) => module::open(bytes).map(|_| bytes.to_vec()).map_err(bad),
        Some(Builder::Linear) => Ok(linear::build(file_name, bytes)?),
        Some(Builder::Rules) => Ok(rules::build_with(file_name, bytes, sidecar)?),
        Some(Builder::Model) => {
            let sidecar = sidecar.map(|(name, text)| Sidecar::read(name, text)).transpose();
            let sidecar = sidecar.map_err(BuildError::Sidecar)?;
            Model::read(file_name, bytes, sidecar.as_ref(), &Wishes::default())?.build()
        }
        None => Err(BuildError::Ending { file: file_name.to_owned() }),
    }
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
        assert!(matches!(build_source("m.gguf", b"", None), Err(BuildError::Ending { .. })));
        let core = selvedge_prebuilt::HERO_RULES;
        assert!(module::open(&build_source("m.wasm", core, None).unwrap()).is_ok(), "a guest is sealed");
    }

    #[test]
    fn module_names_are_file_names_without_their_endings() {
        for (file, name) in [
            ("hero.linear.toml", Some("hero")),
            ("hero.v2.wasm", Some("hero.v2")),
            ("hero.json", Some("hero")),
            ("hero.ubj", Some("hero")),
            ("hero.jdm.json", Some("hero")),
            ("hero.embedding.csv", Some("hero")),
            ("hero.test.json", None),
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
            ("hero.json", Some("hero.toml")),
            ("hero.embedding.jsonl", Some("hero.toml")),
            ("hero.linear.toml", None),
            ("hero.wasm", None),
            ("hero.toml", None),
        ] {
            assert_eq!(sidecar_name(file).as_deref(), sidecar, "{file}");
        }
    }
}
