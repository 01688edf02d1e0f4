//! Module files: what opens, what is refused and why, what sealing makes of a core module.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use selvedge_build::module::{self, BadModule, MANIFEST_SECTION, VECTORS_SECTION};
use selvedge_decision::manifest::{Input, Kind, Limits, MANIFEST_VERSION, Missing, Output, Scope};
use selvedge_decision::vector::Vector;
use selvedge_decision::{Digest, Manifest};
use selvedge_prebuilt::{HERO_RULES, LINEAR, hostile};
use wasm_encoder::{
    CodeSection, Component, CustomSection, ExportKind, ExportSection, Function, FunctionSection, GlobalSection,
    GlobalType, Instruction, MemArg, MemorySection, MemoryType, Module, ModuleSection, Section, TypeSection, ValType,
};

fn manifest() -> Manifest {
    let input = |name: &str, scope| Input {
        name: name.into(),
        scope,
        kind: Kind::Number,
        symbols: vec![],
        len: None,
        missing: Missing::default(),
        derive: None,
    };
    Manifest {
        manifest: MANIFEST_VERSION,
        name: "test".into(),
        inputs: vec![input("context.a", Scope::Shared), input("item.b", Scope::Candidate)],
        outputs: vec![Output { name: "score".into(), kind: Kind::Number, symbols: vec![], min: None }],
        source: None,
        limits: Limits { rows: 100, memory_bytes: 0 },
        browser: false,
    }
}

fn vectors() -> Vec<Vector> {
    vec![Vector { shared: vec![0.0], candidates: vec![1.0, 2.0], count: 2, outputs: vec![2.0, 3.0] }]
}

fn good() -> Vec<u8> {
    module::seal(hostile::WELL_BEHAVED, &manifest(), &vectors()).unwrap()
}

fn with_section(mut bytes: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    component_section(&mut bytes, &CustomSection { name: name.into(), data: data.into() });
    bytes
}

fn component_section(bytes: &mut Vec<u8>, section: &impl Section) {
    section.append_to(bytes);
}

/// A component around a core module, otherwise of no use.
fn around(core: &Module) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&ModuleSection(core));
    component.finish()
}

fn memory(minimum: u64, shared: bool) -> MemorySection {
    let mut memories = MemorySection::new();
    let maximum = shared.then_some(minimum);
    memories.memory(MemoryType { minimum, maximum, memory64: false, shared, page_size_log2: None });
    memories
}

/// A core module of one function.
fn function(parameters: &[ValType], results: &[ValType], body: &[Instruction<'_>]) -> Module {
    let mut types = TypeSection::new();
    types.ty().function(parameters.iter().copied(), results.iter().copied());
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut code = CodeSection::new();
    let mut function = Function::new([]);
    for instruction in body {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    code.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module
}

#[test]
fn a_sealed_module_opens_with_what_it_was_sealed_with() {
    let bytes = good();
    let file = module::open(&bytes).unwrap();
    assert_eq!(file.digest, Digest::of(&bytes));
    assert_eq!(file.vectors, vectors());
    let mut expected = manifest();
    expected.limits.memory_bytes = file.manifest.limits.memory_bytes;
    assert_eq!(file.manifest, expected);
    // Stack and statics, 100 rows in and out, scratch: three pages of 64 KiB.
    assert_eq!(file.manifest.limits.memory_bytes, 3 << 16);
    assert_eq!(module::seal(hostile::WELL_BEHAVED, &manifest(), &vectors()).unwrap(), bytes, "the same every time");
}

#[test]
fn a_guest_brings_its_manifest() {
    let sealed = module::seal_guest(HERO_RULES, &[]).unwrap();
    assert_eq!(module::open(&sealed).unwrap().manifest.name, "hero-rules");
    assert_eq!(module::seal_guest(LINEAR, &[]), Err(BadModule::NoManifest));
    let core = module::lift(&sealed).unwrap();
    let section = MANIFEST_SECTION.as_bytes();
    assert!(!core.windows(section.len()).any(|window| window == section), "it is said once, outside");
}

#[test]
fn the_core_module_inside_is_what_a_browser_needs() {
    let bytes = good();
    let core = module::lift(&bytes).unwrap();
    let mut names = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(core) {
        match payload.unwrap() {
            wasmparser::Payload::ImportSection(_) => panic!("imports"),
            wasmparser::Payload::ExportSection(section) => {
                names.extend(section.into_iter().map(|export| export.unwrap().name.to_owned()));
            }
            wasmparser::Payload::MemorySection(section) => {
                let memory = section.into_iter().next().unwrap().unwrap();
                assert_eq!((memory.initial, memory.maximum), (3, Some(3)), "it can never grow");
            }
            _ => {}
        }
    }
    names.sort();
    assert_eq!(
        names,
        [
            "cabi_post_selvedge:decision/module@1.0.0#evaluate",
            "cabi_realloc",
            "cabi_realloc_wit_bindgen_0_61_1",
            "memory",
            "selvedge:decision/module@1.0.0#evaluate",
        ]
    );
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    match module::open(bytes) {
        Ok(_) => panic!("it opens; expected {expected:?}"),
        Err(error) => assert!(error.to_string().contains(expected), "{error}; expected {expected:?}"),
    }
}

#[test]
fn what_is_no_module_is_refused_with_the_reason() {
    refused(b"", "not valid WebAssembly");
    refused(b"shop", "not valid WebAssembly");
    refused(hostile::WELL_BEHAVED, "core WebAssembly module");
    refused(&good()[..1000], "not valid WebAssembly");
    refused(&Component::new().finish(), "wrong world: it does not export the interface");
    refused(&vec![0; module::MAX_MODULE_BYTES + 1], "a module file of 67108865 bytes, at most 67108864");
}

#[test]
fn what_no_browser_or_no_replay_could_run_is_refused_by_name() {
    let mut threads = Module::new();
    threads.section(&memory(1, true));
    refused(&around(&threads), "uses threads");
    let madd =
        [Instruction::LocalGet(0), Instruction::LocalGet(1), Instruction::LocalGet(2), Instruction::F32x4RelaxedMadd];
    refused(&around(&function(&[ValType::V128; 3], &[ValType::V128], &madd)), "uses relaxed SIMD");
    refused(&around(&function(&[], &[], &[Instruction::ReturnCall(0)])), "uses tail calls");
    refused(&around(&function(&[ValType::EXTERNREF], &[], &[])), "uses host references");
    let mut several = Module::new();
    let mut memories = memory(1, false);
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    several.section(&memories);
    refused(&around(&several), "uses several memories");
    let mut globals = GlobalSection::new();
    let extended =
        wasm_encoder::ConstExpr::extended([Instruction::I32Const(1), Instruction::I32Const(2), Instruction::I32Add]);
    globals.global(GlobalType { val_type: ValType::I32, mutable: false, shared: false }, &extended);
    let mut module = Module::new();
    module.section(&globals);
    refused(&around(&module), "uses extended constant expressions");
}

#[test]
fn imports_and_other_worlds_are_refused() {
    let sealing = |guest| module::seal(guest, &manifest(), &[]).unwrap_err().to_string();
    assert_eq!(sealing(hostile::WANTS_IMPORT), "imports clock; a module may import nothing but types");
    assert!(sealing(hostile::WRONG_WORLD).starts_with("wrong world: it does not export the interface"));
}

#[test]
fn a_manifest_that_cannot_be_is_refused() {
    let without = module::seal(hostile::WELL_BEHAVED, &manifest(), &[]).unwrap();
    let mut other = serde_json::to_value(module::open(&without).unwrap().manifest).unwrap();
    // The section is the last thing in the file.
    let at = without.windows(MANIFEST_SECTION.len()).rposition(|window| window == MANIFEST_SECTION.as_bytes()).unwrap();
    let bare = &without[..at - 4];
    let mut check = |edit: &dyn Fn(&mut serde_json::Value), expected: &str| {
        let before = other.clone();
        edit(&mut other);
        refused(&with_section(bare.to_vec(), MANIFEST_SECTION, other.to_string().as_bytes()), expected);
        other = before;
    };
    check(&|json| json["manifest"] = 2.into(), "manifest: manifest: version 2 is unknown");
    check(&|json| json["outputs"] = serde_json::json!([]), "outputs: empty");
    check(&|json| json["inputs"][1]["type"] = "text".into(), "inputs[1].type");
    check(&|json| json["wat"] = 1.into(), "unknown field `wat`");
    check(&|json| json["limits"]["memory_bytes"] = 1.into(), "the manifest's limits.memory_bytes says 1");
    refused(bare, "has no custom section `selvedge:manifest`");
    refused(&with_section(bare.to_vec(), MANIFEST_SECTION, b"{"), "EOF while parsing");
    refused(&with_section(bare.to_vec(), MANIFEST_SECTION, b"\xff"), "custom section `selvedge:manifest`");
    refused(
        &with_section(without.clone(), MANIFEST_SECTION, b"{}"),
        "more than one custom section `selvedge:manifest`",
    );
    refused(
        &with_section(bare.to_vec(), MANIFEST_SECTION, &vec![b' '; module::MAX_MANIFEST_BYTES + 1]),
        "a manifest of",
    );
    refused(&with_section(without.clone(), VECTORS_SECTION, b"\x01\0\0\0\x09\0\0\0"), "not golden vectors");
    refused(&with_section(good(), VECTORS_SECTION, b""), "more than one custom section `selvedge:vectors`");
}

#[test]
fn golden_vectors_must_be_calls_of_the_module() {
    let check = |edit: &dyn Fn(&mut Vector), ok: bool| {
        let mut vectors = vectors();
        edit(&mut vectors[0]);
        assert_eq!(module::seal(hostile::WELL_BEHAVED, &manifest(), &vectors).is_ok(), ok);
    };
    check(&|_| {}, true);
    check(&|vector| vector.shared.push(0.0), false);
    check(&|vector| vector.count = 1, false);
    check(&|vector| vector.outputs.push(0.0), false);
    let many = |vector: &mut Vector| {
        *vector = Vector { shared: vec![0.0], candidates: vec![0.0; 101], count: 101, outputs: vec![0.0; 101] };
    };
    check(&many, false);
}

/// A core module as another language's toolchain might make it: our exports, no descriptor, no word of a world. It answers
/// with its candidates, from a page it grows by.
fn foreign() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([ValType::I32; 5], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    let mut globals = GlobalSection::new();
    let top = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(top, &wasm_encoder::ConstExpr::i32_const(64));
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("cabi_realloc", ExportKind::Func, 0).export(
        "selvedge:decision/module@1.0.0#evaluate",
        ExportKind::Func,
        1,
    );
    // cabi_realloc: aligned to 8, never freed.
    let mut realloc = Function::new([]);
    for instruction in [
        Instruction::GlobalGet(0),
        Instruction::GlobalGet(0),
        Instruction::LocalGet(3),
        Instruction::I32Add,
        Instruction::I32Const(7),
        Instruction::I32Add,
        Instruction::I32Const(-8),
        Instruction::I32And,
        Instruction::GlobalSet(0),
        Instruction::End,
    ] {
        realloc.instruction(&instruction);
    }
    // evaluate: at 0 the tag ok, at 4 the candidates' address, at 8 the count.
    let at = |offset| MemArg { offset, align: 2, memory_index: 0 };
    let mut evaluate = Function::new([]);
    for instruction in [
        Instruction::I32Const(0),
        Instruction::LocalGet(2),
        Instruction::I32Store(at(4)),
        Instruction::I32Const(0),
        Instruction::LocalGet(4),
        Instruction::I32Store(at(8)),
        Instruction::I32Const(0),
        Instruction::End,
    ] {
        evaluate.instruction(&instruction);
    }
    let mut code = CodeSection::new();
    code.function(&realloc).function(&evaluate);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memory(2, false))
        .section(&globals)
        .section(&exports)
        .section(&code);
    module.finish()
}

#[test]
fn a_foreign_core_module_is_sealed_as_it_is() {
    let bytes = module::seal(&foreign(), &manifest(), &[]).unwrap();
    assert_eq!(module::open(&bytes).unwrap().manifest.limits.memory_bytes, 2 << 16);
    let core = module::lift(&bytes).unwrap();
    assert!(wasmparser::Parser::is_core_wasm(core));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_mutated_module_is_opened_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = good();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(file) = module::open(&bytes) {
            prop_assert_eq!(file.manifest.check(), Ok(()));
        }
        drop(module::lift(&bytes));
    }

    #[test]
    fn a_mutated_guest_is_sealed_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut core = HERO_RULES.to_vec();
        for (at, byte) in edits {
            let at = at.index(core.len());
            core[at] = byte;
        }
        if let Ok(bytes) = module::seal_guest(&core, &[]) {
            prop_assert!(module::open(&bytes).is_ok());
        }
    }
}
