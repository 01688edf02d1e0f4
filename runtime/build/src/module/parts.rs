//! The parts of a component that a module is judged by. Owns the walk over its sections; validity was found before.

use selvedge_decision::Manifest;
use wasmparser::{ComponentTypeRef, Encoding, Parser, Payload, TypeBounds};

use super::{BadModule, MANIFEST_SECTION, VECTORS_SECTION, invalid, not_liftable};

/// What walking over a component finds.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) manifest: Option<&'a [u8]>,
    pub(super) vectors: Option<&'a [u8]>,
    /// Names of the imports that are not types.
    pub(super) imports: Vec<String>,
    core_modules: usize,
    core_imports: usize,
    memories: usize,
    memory_bytes: u64,
}

// === impl Parts ===

impl<'a> Parts<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, BadModule> {
        let mut parts = Self::default();
        let mut nesting = Vec::new();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(invalid)? {
                Payload::Version { encoding, .. } => {
                    parts.core_modules += usize::from(encoding == Encoding::Module);
                    nesting.push(encoding);
                }
                Payload::End(_) => drop(nesting.pop()),
                Payload::ImportSection(section) => parts.core_imports += section.count() as usize,
                Payload::MemorySection(section) => {
                    for memory in section {
                        let pages = memory.map_err(invalid)?.initial;
                        parts.memories += 1;
                        parts.memory_bytes = parts.memory_bytes.saturating_add(pages.saturating_mul(1 << 16));
                    }
                }
                // What nested components import, their parents give.
                Payload::ComponentImportSection(section) if nesting.len() == 1 => {
                    for import in section {
                        let import = import.map_err(invalid)?;
                        if !matches!(import.ty, ComponentTypeRef::Type(TypeBounds::Eq(_))) {
                            parts.imports.push(import.name.name.to_owned());
                        }
                    }
                }
                Payload::CustomSection(section) if nesting.len() == 1 => parts.take(section.name(), section.data())?,
                _ => {}
            }
        }
        Ok(parts)
    }

    fn take(&mut self, name: &str, data: &'a [u8]) -> Result<(), BadModule> {
        let (name, place) = match name {
            MANIFEST_SECTION => (MANIFEST_SECTION, &mut self.manifest),
            VECTORS_SECTION => (VECTORS_SECTION, &mut self.vectors),
            _ => return Ok(()),
        };
        if place.replace(data).is_some() { Err(BadModule::Twice(name)) } else { Ok(()) }
    }

    pub(super) fn check_memory(&self, manifest: &Manifest) -> Result<(), BadModule> {
        if self.memories != 1 {
            return Err(BadModule::Memory(format!("{} of them, a module has one", self.memories)));
        }
        let stated = manifest.limits.memory_bytes;
        if self.memory_bytes > stated {
            let why =
                format!("starts with {} bytes, the manifest's limits.memory_bytes says {stated}", self.memory_bytes);
            return Err(BadModule::Memory(why));
        }
        if manifest.browser && (self.core_modules != 1 || self.core_imports != 0) {
            return Err(not_liftable("it needs exactly one core module, and that without imports"));
        }
        Ok(())
    }
}
