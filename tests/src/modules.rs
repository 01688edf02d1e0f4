//! Modules for tests, benchmarks and the demo: the guests, sealed with the manifests they are used with here, and modules
//! that no builder would make. Owns the manifests; the guests' code is in `guest-models`.

use anyhow::Result;
use selvedge_build::module;
use selvedge_decision::Manifest;
use serde_json::{Value, json};
use wasm_encoder::{
    CodeSection, Component, ComponentImportSection, ComponentTypeRef, ComponentTypeSection, ComponentValType, Function,
    FunctionSection, Instruction, MemorySection, MemoryType, Module, ModuleSection, PrimitiveValType, RawSection,
    Section, TypeSection, ValType,
};

use crate::guests;

/// Features of a view of the speed rows' shop.
const VIEW_FEATURES: usize = 250;

/// A module that must be refused, and words of the reason.
#[derive(Debug, Clone)]
pub struct Refused {
    /// What is wrong with it.
    pub what: &'static str,
    /// What the refusal must say.
    pub reason: &'static str,
    /// The module file.
    pub bytes: Vec<u8>,
}

/// The demo's rules.
pub fn hero_rules() -> Result<Vec<u8>> {
    Ok(module::seal_guest(guests::HERO_RULES, &[])?)
}

/// 20 rules over the first 40 features of the speed rows' first view.
pub fn bench_rules() -> Result<Vec<u8>> {
    let inputs: Vec<Value> = (0..40).map(|at| input(&feature(at), "shared")).collect();
    let outputs = json!([
        {"name": "eligible", "type": "flag"}, {"name": "boost", "type": "number"}, {"name": "row", "type": "number"},
    ]);
    seal(guests::BENCH_RULES, "bench-rules", &inputs, &outputs, 16)
}

/// 100 trees over the 1,000 features of the speed rows' four views.
pub fn bench_trees() -> Result<Vec<u8>> {
    let inputs: Vec<Value> = (0..1_000).map(|at| input(&feature(at), "shared")).collect();
    // Rules multiply it by their boost, so it has to say that it is not negative; the numbers mean nothing.
    seal(guests::BENCH_TREES, "bench-trees", &inputs, &json!([{"name": "score", "type": "number", "min": 0.0}]), 16)
}

/// 100 trees over 100 features of each candidate.
pub fn bench_rank() -> Result<Vec<u8>> {
    let inputs: Vec<Value> = (0..100).map(|at| input(&format!("item.f{at:03}"), "candidate")).collect();
    seal(guests::BENCH_RANK, "bench-rank", &inputs, &json!([{"name": "score", "type": "number"}]), 256)
}

/// A hostile guest as a scorer: `context.provoke` other than 0 provokes it, else it scores an item's price plus one.
pub fn hostile(name: &str) -> Result<Vec<u8>> {
    hostile_as(name, &json!([{"name": "score", "type": "number"}]))
}

/// A guest that traps when provoked, as rules: else it boosts by an item's price plus one.
pub fn hostile_rules() -> Result<Vec<u8>> {
    hostile_as("trap", &json!([{"name": "boost", "type": "number"}]))
}

fn hostile_as(name: &str, outputs: &Value) -> Result<Vec<u8>> {
    let inputs = [input("context.provoke", "shared"), input("item.price", "candidate")];
    seal(guests::hostile(name)?, name, &inputs, outputs, 64)
}

fn feature(at: usize) -> String {
    format!("v{}.f{:03}", at / VIEW_FEATURES, at % VIEW_FEATURES)
}

fn input(name: &str, scope: &str) -> Value {
    json!({"name": name, "scope": scope, "type": "number"})
}

fn seal(core: &[u8], name: &str, inputs: &[Value], outputs: &Value, rows: u32) -> Result<Vec<u8>> {
    Ok(module::seal(core, &manifest(name, inputs, outputs, rows)?, &[])?)
}

fn manifest(name: &str, inputs: &[Value], outputs: &Value, rows: u32) -> Result<Manifest> {
    let manifest = json!({
        "manifest": 1, "name": name, "inputs": inputs, "outputs": outputs, "limits": {"rows": rows, "memory_bytes": 0},
    });
    Ok(serde_json::from_value(manifest)?)
}

// === modules to be refused ===

/// Every kind of module that must be refused at deploy.
pub fn refused() -> Result<Vec<Refused>> {
    let mut refused = vec![
        Refused { what: "an import", reason: "imports", bytes: with_import() },
        Refused { what: "no export of the world", reason: "wrong world", bytes: with_manifest(Component::new())? },
        Refused { what: "threads", reason: "threads", bytes: nested(&shared_memory())? },
        Refused { what: "relaxed SIMD", reason: "relaxed SIMD", bytes: nested(&relaxed_simd())? },
        Refused { what: "an unknown section", reason: "not valid WebAssembly", bytes: nested(&unknown_section())? },
        Refused { what: "no WebAssembly", reason: "not valid WebAssembly", bytes: b"not a module".to_vec() },
    ];
    let good = hostile("well_behaved")?;
    refused.push(Refused { what: "a module cut off", reason: "", bytes: good[..good.len() / 2].to_vec() });
    Ok(refused)
}

fn with_import() -> Vec<u8> {
    let mut component = Component::new();
    let mut types = ComponentTypeSection::new();
    types
        .function()
        .params(std::iter::empty::<(&str, ComponentValType)>())
        .result(Some(ComponentValType::Primitive(PrimitiveValType::U64)));
    component.section(&types);
    let mut imports = ComponentImportSection::new();
    imports.import("now", ComponentTypeRef::Func(0));
    component.section(&imports);
    component.finish()
}

/// A component with a manifest and without anything of the world.
fn with_manifest(mut component: Component) -> Result<Vec<u8>> {
    let manifest = manifest("bare", &[], &json!([{"name": "score", "type": "number"}]), 1)?;
    let json = serde_json::to_vec(&manifest)?;
    component.section(&wasm_encoder::CustomSection { name: module::MANIFEST_SECTION.into(), data: json.into() });
    Ok(component.finish())
}

/// A component around a core module.
fn nested(core: &Module) -> Result<Vec<u8>> {
    let mut component = Component::new();
    component.section(&ModuleSection(core));
    with_manifest(component)
}

fn shared_memory() -> Module {
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: Some(1), memory64: false, shared: true, page_size_log2: None });
    let mut core = Module::new();
    core.section(&memories);
    core
}

fn relaxed_simd() -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::V128; 3], [ValType::V128]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut body = Function::new([]);
    for local in 0..3 {
        body.instruction(&Instruction::LocalGet(local));
    }
    body.instruction(&Instruction::F32x4RelaxedMadd).instruction(&Instruction::End);
    let mut code = CodeSection::new();
    code.function(&body);
    let mut core = Module::new();
    core.section(&types).section(&functions).section(&code);
    core
}

fn unknown_section() -> Module {
    let mut core = Module::new();
    let section = RawSection { id: 99, data: &[] };
    debug_assert_eq!(section.id(), 99);
    core.section(&section);
    core
}
