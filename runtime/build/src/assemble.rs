//! From a core module to a component. Owns the rewriting of a guest's memory (appended data, arena, size) through the
//! descriptor that `selvedge_guest::memory` documents; no toolchain is needed where this runs.

use std::borrow::Cow;
use std::convert::Infallible;

use selvedge_decision::Manifest;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{ConstExpr, DataSection, MemorySection, MemoryType, Module};
use wasmparser::{ExternalKind, Operator, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding};

use crate::module::{BadModule, MANIFEST_SECTION, push_section};

const PAGE_BYTES: u64 = 1 << 16;
const WIT: &str = include_str!("../../../wit/decision.wit");
const WORLD: &str = "decision-module";
/// The export through which a guest of the SDK says where its descriptor is.
const DESCRIPTOR: &str = "selvedge_descriptor";
/// What a module may allocate for itself besides arguments and answer, unless its manifest asks for more.
const SCRATCH_BYTES: u64 = 64 << 10;

/// A core module made ready.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) bytes: Vec<u8>,
    /// The memory it starts with.
    pub(crate) memory_bytes: u64,
}

/// What a core module says about its memory.
#[derive(Debug, Default)]
struct Layout {
    /// Its one memory: pages at the start.
    pages: Option<u64>,
    /// The address of the descriptor, when it is a guest of the SDK.
    descriptor: Option<u32>,
    has_world: bool,
}

/// Sizes the memory of a guest of the SDK for the manifest's largest call, in which it allocates `scratch` bytes besides
/// arguments and answer, appends `data` to it, and leaves out what only
/// the builder needs. A foreign core module keeps its memory as it is.
pub(crate) fn core(core: &[u8], data: &[u8], scratch: u64, manifest: &Manifest) -> Result<Assembled, BadModule> {
    let layout = Layout::of(core)?;
    let pages = layout.pages.ok_or_else(|| BadModule::Memory("a module needs one".into()))?;
    let mut rewrite = Rewrite { memory: None, segments: Vec::new(), data_written: false };
    let mut memory_bytes = pages * PAGE_BYTES;
    match layout.descriptor {
        Some(descriptor) => {
            let arena = memory_bytes + (data.len() as u64).next_multiple_of(16);
            let needed = (arena + arena_bytes(manifest) + scratch).max(manifest.limits.memory_bytes);
            let pages = needed.div_ceil(PAGE_BYTES);
            if pages > 1 << 15 {
                return Err(BadModule::Memory(format!(
                    "{needed} bytes for {} rows, at most 2 GiB",
                    manifest.limits.rows
                )));
            }
            rewrite.memory = Some(pages);
            if !data.is_empty() {
                let words = [memory_bytes as u32, data.len() as u32, arena as u32];
                rewrite.segments.push((memory_bytes as u32, data.into()));
                rewrite.segments.push((descriptor, words.map(u32::to_le_bytes).concat().into()));
            }
            memory_bytes = pages * PAGE_BYTES;
        }
        None if data.is_empty() => {}
        None => return Err(BadModule::Seal(format!("nothing can be appended, it exports no `{DESCRIPTOR}`"))),
    }
    let mut bytes = rewrite.run(core).map_err(|error| BadModule::Seal(error.to_string()))?;
    if !layout.has_world {
        embed_world(&mut bytes)?;
    }
    Ok(Assembled { bytes, memory_bytes })
}

/// Wraps a core module that [`core`] made ready into a component.
pub(crate) fn component(core: Vec<u8>) -> Result<Vec<u8>, BadModule> {
    let encoded = ComponentEncoder::default().module(&core).and_then(|encoder| encoder.validate(true).encode());
    encoded.map_err(|error| BadModule::Seal(format!("{error:#}")))
}

/// The arena for the largest call: its arguments, its answer twice, because a growing `Vec` copies, and scratch.
fn arena_bytes(manifest: &Manifest) -> u64 {
    let rows = u64::from(manifest.limits.rows);
    let arguments = manifest.shared_width() as u64 + rows * manifest.candidate_width() as u64;
    let answer = rows * manifest.outputs.len() as u64;
    8 * (arguments + 2 * answer) + SCRATCH_BYTES
}

/// Says in the core module which world it is of; `wit-bindgen` does so for its guests.
fn embed_world(core: &mut Vec<u8>) -> Result<(), BadModule> {
    let mut resolve = wit_parser::Resolve::default();
    let encoded = resolve.push_source("decision.wit", WIT).and_then(|package| {
        let world = resolve.select_world(&[package], Some(WORLD))?;
        wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None)
    });
    let encoded = encoded.map_err(|error| BadModule::Seal(format!("{error:#}")))?;
    push_section(core, "component-type", &encoded);
    Ok(())
}

// === impl Layout ===

impl Layout {
    fn of(core: &[u8]) -> Result<Self, BadModule> {
        let invalid = |error: wasmparser::BinaryReaderError| BadModule::Invalid(error.to_string());
        let mut layout = Self::default();
        let mut globals = Vec::new();
        let mut imported_globals = 0;
        for payload in Parser::new(0).parse_all(core) {
            match payload.map_err(invalid)? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let global = matches!(import.map_err(invalid)?.ty, wasmparser::TypeRef::Global(_));
                        imported_globals += usize::from(global);
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory.map_err(invalid)?;
                        if memory.shared {
                            return Err(BadModule::Feature("threads"));
                        }
                        if memory.memory64 || memory.page_size_log2.is_some() || memory.initial > PAGE_BYTES {
                            return Err(BadModule::Memory("it must be a 32-bit memory of 64 KiB pages".into()));
                        }
                        layout.pages = Some(memory.initial);
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        let mut init = global.map_err(invalid)?.init_expr.get_operators_reader();
                        globals.push(match init.read() {
                            Ok(Operator::I32Const { value }) => Some(value as u32),
                            Ok(_) | Err(_) => None,
                        });
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.map_err(invalid)?;
                        if export.name == DESCRIPTOR && export.kind == ExternalKind::Global {
                            let defined = (export.index as usize).checked_sub(imported_globals);
                            layout.descriptor = defined.and_then(|index| globals.get(index).copied().flatten());
                        }
                    }
                }
                Payload::CustomSection(section) => layout.has_world |= section.name().starts_with("component-type"),
                _ => {}
            }
        }
        Ok(layout)
    }
}

/// The rewriting of a core module.
struct Rewrite<'a> {
    /// Pages of memory, at the start and at most; `None` leaves it as it is.
    memory: Option<u64>,
    /// Data segments to add: address, bytes.
    segments: Vec<(u32, Cow<'a, [u8]>)>,
    data_written: bool,
}

// === impl Rewrite ===

impl Rewrite<'_> {
    fn run(mut self, core: &[u8]) -> Result<Vec<u8>, reencode::Error<Infallible>> {
        let mut module = Module::new();
        self.parse_core_module(&mut module, Parser::new(0), core)?;
        if !self.data_written {
            // A guest without a data section of its own.
            let mut data = DataSection::new();
            self.add_segments(&mut data);
            if !data.is_empty() {
                module.section(&data);
            }
        }
        Ok(module.finish())
    }

    fn add_segments(&mut self, data: &mut DataSection) {
        for (address, bytes) in &self.segments {
            data.active(0, &ConstExpr::i32_const(*address as i32), bytes.iter().copied());
        }
        self.data_written = true;
    }
}

impl Reencode for Rewrite<'_> {
    type Error = Infallible;

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: wasmparser::MemorySectionReader<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        match self.memory {
            Some(pages) => {
                memories.memory(MemoryType {
                    minimum: pages,
                    maximum: Some(pages),
                    memory64: false,
                    shared: false,
                    page_size_log2: None,
                });
                Ok(())
            }
            None => reencode::utils::parse_memory_section(self, memories, section),
        }
    }

    fn parse_data_section(
        &mut self,
        data: &mut DataSection,
        section: wasmparser::DataSectionReader<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        reencode::utils::parse_data_section(self, data, section)?;
        self.add_segments(data);
        Ok(())
    }

    fn data_count(&mut self, count: u32) -> Result<u32, reencode::Error<Infallible>> {
        Ok(count + self.segments.len() as u32)
    }

    fn parse_export(
        &mut self,
        exports: &mut wasm_encoder::ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        // Addresses that only the linker and the builder needed.
        if [DESCRIPTOR, "__heap_base", "__data_end"].contains(&export.name) {
            return Ok(());
        }
        reencode::utils::parse_export(self, exports, export)
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        // The component's own section says the manifest, with the sizes found here; the names of a guest's functions are a
        // fifth of a kernel, and nothing shows them.
        if [MANIFEST_SECTION, "name"].contains(&section.name()) {
            return Ok(());
        }
        reencode::utils::parse_custom_section(self, module, section)
    }
}
