//! Module files: a WebAssembly component with its manifest and golden vectors in custom sections. Owns what a module may be
//! and every reason it may not; runs nothing.

mod parts;
mod world;

use selvedge_decision::manifest::BadManifest;
use selvedge_decision::{Digest, Manifest};
use serde::{Deserialize, Serialize};
use wasm_encoder::{Encode, Section};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::assemble;
use crate::vectors;

use self::parts::Parts;

pub use selvedge_decision::vector::Vector;

/// The custom section that holds the manifest, as JSON.
pub const MANIFEST_SECTION: &str = "selvedge:manifest";
/// The custom section that holds the golden vectors.
pub const VECTORS_SECTION: &str = "selvedge:vectors";

/// The custom section that holds decision tables for people, as JSON. Nothing is computed by it.
pub const TABLES_SECTION: &str = "selvedge:tables";

/// The largest module file, in bytes.
pub const MAX_MODULE_BYTES: usize = 64 << 20;
/// The largest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 8 << 20;
/// The largest section of tables, in bytes; larger tables are left out.
pub const MAX_TABLES_BYTES: usize = 256 << 10;
/// The largest section of golden vectors, in bytes.
pub const MAX_VECTORS_BYTES: usize = 16 << 20;

/// What a module may use: WebAssembly 2.0 without references to host objects, inside a component. No threads, no relaxed
/// SIMD and nothing else whose results differ between machines or browsers.
const ALLOWED: WasmFeatures =
    WasmFeatures::WASM2.difference(WasmFeatures::GC_TYPES).union(WasmFeatures::COMPONENT_MODEL);

/// What a module may not use, by the name its refusal tells.
const REFUSED: [(&str, WasmFeatures); 17] = [
    ("threads", WasmFeatures::THREADS),
    ("relaxed SIMD", WasmFeatures::RELAXED_SIMD),
    ("64-bit memory", WasmFeatures::MEMORY64),
    ("several memories", WasmFeatures::MULTI_MEMORY),
    ("exceptions", WasmFeatures::EXCEPTIONS),
    ("legacy exceptions", WasmFeatures::LEGACY_EXCEPTIONS),
    ("tail calls", WasmFeatures::TAIL_CALL),
    ("extended constant expressions", WasmFeatures::EXTENDED_CONST),
    ("host references", WasmFeatures::GC_TYPES),
    ("typed function references", WasmFeatures::FUNCTION_REFERENCES),
    ("garbage collection", WasmFeatures::GC.union(WasmFeatures::GC_TYPES).union(WasmFeatures::FUNCTION_REFERENCES)),
    ("custom page sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("stack switching", WasmFeatures::STACK_SWITCHING),
    ("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
    ("asynchronous functions", WasmFeatures::CM_ASYNC),
    ("component values", WasmFeatures::CM_VALUES),
    ("shared-everything threads", WasmFeatures::SHARED_EVERYTHING_THREADS.union(WasmFeatures::THREADS)),
];

/// A module file that was opened and found in order.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleFile {
    /// What its rows of numbers mean.
    pub manifest: Manifest,
    /// The answers it must give.
    pub vectors: Vec<Vector>,
    /// SHA-256 of the whole file.
    pub digest: Digest,
}

/// A decision table as people wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableText {
    /// The name of its node.
    pub name: String,
    /// The heads of its input columns.
    pub inputs: Vec<String>,
    /// The heads of its output columns.
    pub outputs: Vec<String>,
    /// Whether the module's output `row` is always this table's.
    pub is_counted: bool,
    /// The rows.
    pub rows: Vec<RowText>,
}

/// A row of a table as people wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowText {
    /// The cells: inputs, then outputs.
    pub cells: Vec<String>,
    /// What the author noted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Why a file is not a module, or cannot become one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadModule {
    /// Larger than any module may be.
    #[error("{what} of {bytes} bytes, at most {limit}")]
    TooLarge {
        /// The file or one of its sections.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A core module.
    #[error("a core WebAssembly module, not a component: `selvedge release pack` seals it when it has a manifest")]
    NotSealed,
    /// A feature that a module may not use.
    #[error("uses {0}, which a module may not: its answers would depend on the machine, or no browser could run it")]
    Feature(&'static str),
    /// Not WebAssembly, or not valid.
    #[error("not valid WebAssembly: {0}")]
    Invalid(String),
    /// Imports that are not types.
    #[error("imports {0}; a module may import nothing but types")]
    Imports(String),
    /// Not the world of `wit/decision.wit`.
    #[error("wrong world: {0}")]
    World(String),
    /// No manifest.
    #[error("has no custom section `selvedge:manifest`")]
    NoManifest,
    /// A section that may stand once only.
    #[error("has more than one custom section `{0}`")]
    Twice(&'static str),
    /// The manifest is not such JSON.
    #[error("custom section `selvedge:manifest`: {0}")]
    ManifestJson(String),
    /// The manifest says what cannot be.
    #[error(transparent)]
    Manifest(#[from] BadManifest),
    /// The golden vectors cannot be read.
    #[error("custom section `selvedge:vectors`: not golden vectors of version 1, or cut off")]
    VectorBytes,
    /// A golden vector that is no call of this module.
    #[error("golden vector {index}: {why}")]
    Vector {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        why: String,
    },
    /// It is said to keep no state between calls, but nothing shows it.
    #[error("says browser = true, but has no golden vector with a row, by which it could be shown to keep no state")]
    Untold,
    /// The memory is not what the manifest or the runtime allow.
    #[error("memory: {0}")]
    Memory(String),
    /// A core module that cannot be sealed.
    #[error("cannot be sealed: {0}")]
    Seal(String),
}

/// Opens a module file and checks all that can be known without running it.
///
/// # Errors
///
/// Every reason a file is not a module, or one that this runtime must not run.
pub fn open(bytes: &[u8]) -> Result<ModuleFile, BadModule> {
    limit("a module file", bytes.len(), MAX_MODULE_BYTES)?;
    if Parser::is_core_wasm(bytes) {
        return Err(BadModule::NotSealed);
    }
    let types = validate(bytes)?;
    let parts = Parts::of(bytes)?;
    if !parts.imports.is_empty() {
        return Err(BadModule::Imports(parts.imports.join(", ")));
    }
    world::check(&types)?;
    let manifest = read_manifest(parts.manifest.ok_or(BadModule::NoManifest)?)?;
    let vectors = match parts.vectors {
        Some(section) => {
            limit("golden vectors", section.len(), MAX_VECTORS_BYTES)?;
            vectors::decode(section)?
        }
        None => Vec::new(),
    };
    vectors::check(&vectors, &manifest)?;
    if manifest.browser && vectors.iter().all(|vector| vector.count == 0) {
        return Err(BadModule::Untold);
    }
    parts.check_memory(&manifest)?;
    Ok(ModuleFile { manifest, vectors, digest: Digest::of(bytes) })
}

/// Makes a module file of a core module: a component of world `decision-module` with manifest and golden vectors.
///
/// A guest of our SDK gets the memory that its largest call needs, and the manifest's `limits.memory_bytes` says how much
/// that is; a larger value in the manifest given here stands.
///
/// # Errors
///
/// When the result would not open.
pub fn seal(core: &[u8], manifest: &Manifest, vectors: &[Vector]) -> Result<Vec<u8>, BadModule> {
    seal_with(core, &[], 0, manifest, vectors)
}

/// As [`seal`], with data for a kernel that allocates `scratch` bytes besides arguments and answer.
pub(crate) fn seal_with(
    core: &[u8],
    appended: &[u8],
    scratch: u64,
    manifest: &Manifest,
    vectors: &[Vector],
) -> Result<Vec<u8>, BadModule> {
    limit("a module file", core.len(), MAX_MODULE_BYTES)?;
    manifest.check()?;
    validate(core)?;
    let assembled = assemble::core(core, appended, scratch, manifest)?;
    let mut manifest = manifest.clone();
    manifest.limits.memory_bytes = assembled.memory_bytes.max(manifest.limits.memory_bytes);
    let mut bytes = assemble::component(assembled.bytes)?;
    let json = serde_json::to_vec(&manifest).map_err(|error| BadModule::ManifestJson(error.to_string()))?;
    push_section(&mut bytes, MANIFEST_SECTION, &json);
    if !vectors.is_empty() {
        push_section(&mut bytes, VECTORS_SECTION, &vectors::encode(vectors));
    }
    open(&bytes)?;
    Ok(bytes)
}

/// Adds tables for people to a module file; none where they are larger than [`MAX_TABLES_BYTES`].
pub(crate) fn with_tables(mut bytes: Vec<u8>, tables: &[TableText]) -> Vec<u8> {
    // Texts and numbers only: writing them cannot fail.
    let json = serde_json::to_vec(tables).unwrap_or_default();
    if !tables.is_empty() && json.len() <= MAX_TABLES_BYTES {
        push_section(&mut bytes, TABLES_SECTION, &json);
    }
    bytes
}

/// The tables of a module file for people; empty where it has none that can be read.
pub fn tables(bytes: &[u8]) -> Vec<TableText> {
    let sections = Parser::new(0).parse_all(bytes).filter_map(|payload| match payload {
        Ok(Payload::CustomSection(section)) if section.name() == TABLES_SECTION => Some(section.data()),
        _ => None,
    });
    let section = sections.take(1).find(|data| data.len() <= MAX_TABLES_BYTES);
    section.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
}

/// As [`seal`], for a core module that carries its manifest in the custom section `selvedge:manifest`, as the macro of the
/// guest SDK makes it.
///
/// # Errors
///
/// When it has no manifest, or the result would not open.
pub fn seal_guest(core: &[u8], vectors: &[Vector]) -> Result<Vec<u8>, BadModule> {
    seal(core, &core_manifest(core)?, vectors)
}

/// The manifest a core module carries.
///
/// # Errors
///
/// When it has none, or one that cannot be.
pub fn core_manifest(core: &[u8]) -> Result<Manifest, BadModule> {
    limit("a module file", core.len(), MAX_MODULE_BYTES)?;
    let mut found = None;
    for payload in Parser::new(0).parse_all(core) {
        if let Payload::CustomSection(section) = payload.map_err(invalid)?
            && section.name() == MANIFEST_SECTION
            && found.replace(section.data()).is_some()
        {
            return Err(BadModule::Twice(MANIFEST_SECTION));
        }
    }
    read_manifest(found.ok_or(BadModule::NoManifest)?)
}

/// The core module inside a module file, as browsers run it: they have no components yet. It has no imports and exports
/// `memory`, `cabi_realloc`, `selvedge:decision/module@1.0.0#evaluate` and its `cabi_post_…`.
///
/// # Errors
///
/// When the file has not exactly one core module without imports.
pub fn lift(bytes: &[u8]) -> Result<&[u8], BadModule> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::ModuleSection { unchecked_range, .. } => found.push(unchecked_range),
            Payload::ImportSection(_) => return Err(not_liftable("its core module has imports")),
            _ => {}
        }
    }
    let [range] = found.as_slice() else { return Err(not_liftable("it has not exactly one core module")) };
    bytes.get(range.clone()).ok_or_else(|| not_liftable("its core module is cut off"))
}

/// Whether a core module has an instruction that grows its memory.
pub fn grows_memory(core: &[u8]) -> bool {
    Parser::new(0).parse_all(core).any(|payload| match payload {
        Ok(Payload::CodeSectionEntry(body)) => body.get_operators_reader().is_ok_and(|mut operators| {
            std::iter::from_fn(|| operators.read().ok()).any(|op| matches!(op, wasmparser::Operator::MemoryGrow { .. }))
        }),
        _ => false,
    })
}

fn not_liftable(why: &str) -> BadModule {
    BadModule::Invalid(format!("browsers cannot run it: {why}"))
}

fn read_manifest(json: &[u8]) -> Result<Manifest, BadModule> {
    limit("a manifest", json.len(), MAX_MANIFEST_BYTES)?;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let manifest: Manifest =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| BadModule::ManifestJson(error.to_string()))?;
    reader.end().map_err(|error| BadModule::ManifestJson(error.to_string()))?;
    manifest.check()?;
    Ok(manifest)
}

fn validate(bytes: &[u8]) -> Result<wasmparser::types::Types, BadModule> {
    let error = match Validator::new_with_features(ALLOWED).validate_all(bytes) {
        Ok(types) => return Ok(types),
        Err(error) => error,
    };
    // Which feature was missing: the one with which it would be valid.
    let missing = REFUSED
        .iter()
        .find(|(_, feature)| Validator::new_with_features(ALLOWED.union(*feature)).validate_all(bytes).is_ok());
    Err(missing.map_or_else(|| invalid(error), |(name, _)| BadModule::Feature(name)))
}

fn invalid(error: wasmparser::BinaryReaderError) -> BadModule {
    BadModule::Invalid(error.to_string())
}

fn limit(what: &'static str, bytes: usize, limit: usize) -> Result<(), BadModule> {
    if bytes > limit { Err(BadModule::TooLarge { what, bytes, limit }) } else { Ok(()) }
}

pub(crate) fn push_section(bytes: &mut Vec<u8>, name: &str, data: &[u8]) {
    let section = wasm_encoder::CustomSection { name: name.into(), data: data.into() };
    bytes.push(section.id());
    section.encode(bytes);
}
