//! From a program to a core module of world `decision-module`, by writing its instructions: no interpreter, no allocation but
//! the answer's. Owns the module around the rules: memory, the canonical ABI, the loop over candidates.
//!
//! All memory is there from the start, sized for the largest call; `cabi_realloc` moves a pointer on, and the post-return
//! function moves it back, so nothing survives a call.

mod emit;
mod expr;
mod values;
mod writing;

use selvedge_decision::manifest::Scope;
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function, FunctionSection, GlobalSection,
    GlobalType, Instruction as I, MemArg, MemorySection, MemoryType, Module, TypeSection, ValType,
};

use self::emit::{Emit, Written};
use self::values::{Shape, number};
use super::check::Wrong;
use super::finding::Code;
use super::program::Program;

/// Where the answer's head stands: tag, address, length.
const HEAD: i32 = 0;
/// Where the text of the one error stands.
const TEXT_AT: i32 = 16;
const TEXT: &str = "rows are not as the manifest says";
/// Where values stand that have no local, and behind them arguments and answers.
const BASE: i32 = 64;
const PAGE_BYTES: u64 = 1 << 16;

/// The most bytes of instructions: an engine compiles so many in seconds.
const MAX_CODE_BYTES: usize = 2 << 20;

/// The functions, by number.
const REALLOC: u32 = 0;
const EVALUATE: u32 = 1;
const POST: u32 = 2;
const REMAINDER: u32 = 3;
const FIRST_PART: u32 = 4;

/// The parameters of `evaluate`, and its own locals after them.
const PARAMETERS: u32 = 5;
const SHARED: u32 = 0;
const SHARED_LEN: u32 = 1;
const CANDIDATE: u32 = 2;
const CANDIDATES_LEN: u32 = 3;
const COUNT: u32 = 4;
const ANSWER: u32 = 5;
const OUT: u32 = 6;
const LEFT: u32 = 7;
/// The first local that holds a number.
const NUMBERS: u32 = 8;

/// Code that weighs more is cut into parts. Tables of some hundred rows and some dozen columns weigh less.
const MAX_WEIGHT: usize = 1 << 20;

/// Longer code is cut, too, whatever it weighs: of a table that collects, each row reads what the row before wrote.
const MAX_WHOLE_BYTES: usize = 128 << 10;

/// Writes the core module. Where it is large, or `in_parts` says so, its code is cut into functions.
///
/// # Errors
///
/// When its largest call needs more memory than a module may have, or its code is too large.
pub(super) fn core(program: &Program, in_parts: bool) -> Result<Vec<u8>, Wrong> {
    let widths = widths(program);
    let mut written = evaluate(program, widths, if in_parts { Shape::Parts } else { Shape::Whole });
    if (written.weight > MAX_WEIGHT || written.bytes > MAX_WHOLE_BYTES) && !in_parts {
        written = evaluate(program, widths, Shape::Parts);
    }
    if written.bytes > MAX_CODE_BYTES {
        let message = format!("{} bytes of instructions, at most {MAX_CODE_BYTES}", written.bytes);
        return Err(Wrong::new(Code::Limit, message, "split it into several modules"));
    }
    let base = BASE + 8 * written.frame as i32;
    let pages = pages(program, widths, base)?;
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([ValType::I32; 5], [ValType::I32]);
    types.ty().function([ValType::I32], []);
    types.ty().function([ValType::F64; 2], [ValType::F64]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1).function(2);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: pages,
        maximum: Some(pages),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut globals = GlobalSection::new();
    let top = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(top, &ConstExpr::i32_const(base));
    let mut exports = ExportSection::new();
    let name = "selvedge:decision/module@1.0.0#evaluate";
    exports
        .export("memory", ExportKind::Memory, 0)
        .export("cabi_realloc", ExportKind::Func, REALLOC)
        .export(name, ExportKind::Func, EVALUATE)
        .export(&format!("cabi_post_{name}"), ExportKind::Func, POST);
    let mut code = CodeSection::new();
    code.function(&realloc((pages * PAGE_BYTES) as i64)).function(&written.evaluate).function(&post(base));
    if written.divides || !written.parts.is_empty() {
        functions.function(3);
        code.function(&remainder());
    }
    if !written.parts.is_empty() {
        types.ty().function([ValType::I32; 2], [ValType::I32]);
    }
    for part in &written.parts {
        functions.function(4);
        code.function(part);
    }
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(TEXT_AT), TEXT.bytes());
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memories)
        .section(&globals)
        .section(&exports)
        .section(&code)
        .section(&data);
    Ok(module.finish())
}

/// Inputs of the shared row and of a candidate's.
fn widths(program: &Program) -> [u32; 2] {
    [Scope::Shared, Scope::Candidate]
        .map(|scope| program.inputs.iter().filter(|input| input.scope == scope).count() as u32)
}

fn pages(program: &Program, [shared, candidate]: [u32; 2], base: i32) -> Result<u64, Wrong> {
    let rows = u64::from(program.rows);
    let numbers = u64::from(shared) + rows * (u64::from(candidate) + program.outputs.len() as u64);
    let bytes = base as u64 + 8 * numbers;
    let pages = bytes.div_ceil(PAGE_BYTES);
    if pages > 1 << 15 {
        let message = format!("{bytes} bytes of memory for {rows} rows, at most 2 GiB");
        return Err(Wrong::new(Code::Limit, message, "lower `rows`"));
    }
    Ok(pages)
}

/// The next free place, and how many bytes from it are taken. Everything is aligned to 8.
fn realloc(memory_bytes: i64) -> Function {
    let mut function = Function::new([(1, ValType::I32)]);
    for instruction in [
        I::GlobalGet(0),
        I::LocalTee(4),
        I::I64ExtendI32U,
        I::LocalGet(3),
        I::I64ExtendI32U,
        I::I64Add,
        I::I64Const(memory_bytes),
        I::I64GtU,
        I::If(wasm_encoder::BlockType::Empty),
        I::Unreachable,
        I::End,
        I::LocalGet(4),
        I::LocalGet(3),
        I::I32Add,
        I::I32Const(7),
        I::I32Add,
        I::I32Const(-8),
        I::I32And,
        I::GlobalSet(0),
        I::LocalGet(4),
        I::End,
    ] {
        function.instruction(&instruction);
    }
    function
}

fn post(base: i32) -> Function {
    let mut function = Function::new([]);
    for instruction in [I::I32Const(base), I::GlobalSet(0), I::End] {
        function.instruction(&instruction);
    }
    function
}

fn word(offset: u64) -> MemArg {
    MemArg { offset, align: 2, memory_index: 0 }
}

/// `evaluate` and what it calls.
fn evaluate(program: &Program, [shared, candidate]: [u32; 2], shape: Shape) -> Written {
    let outputs = program.outputs.len() as u32;
    let mut emit = Emit::new(program, shape);
    // The rows must be what the memory was sized for.
    emit.open();
    emit.all([I::LocalGet(SHARED_LEN), I::I32Const(shared as i32), I::I32Ne, I::BrIf(0)]);
    emit.all([I::LocalGet(COUNT), I::I32Const(program.rows as i32), I::I32GtU, I::BrIf(0)]);
    emit.all([I::LocalGet(CANDIDATES_LEN), I::LocalGet(COUNT), I::I32Const(candidate as i32), I::I32Mul]);
    emit.all([I::I32Ne, I::BrIf(0)]);

    emit.all([I::I32Const(0), I::I32Const(0), I::I32Const(8), I::LocalGet(COUNT)]);
    emit.all([I::I32Const(8 * outputs as i32), I::I32Mul, I::Call(REALLOC), I::LocalTee(ANSWER), I::LocalSet(OUT)]);
    emit.inputs(Scope::Shared, SHARED);
    emit.steps(Scope::Shared);
    emit.all([I::LocalGet(COUNT), I::LocalSet(LEFT)]);
    emit.open();
    emit.all([I::LocalGet(LEFT), I::I32Eqz, I::BrIf(0), I::Loop(wasm_encoder::BlockType::Empty)]);
    emit.inside(|emit| {
        emit.inputs(Scope::Candidate, CANDIDATE);
        emit.steps(Scope::Candidate);
        for (at, output) in program.outputs.iter().enumerate() {
            emit.one(I::LocalGet(OUT));
            emit.output(output);
            emit.one(I::F64Store(number(at as u32)));
        }
        for (local, step) in [(OUT, 8 * outputs as i32), (CANDIDATE, 8 * candidate as i32), (LEFT, -1)] {
            emit.all([I::LocalGet(local), I::I32Const(step), I::I32Add, I::LocalSet(local)]);
        }
        emit.all([I::LocalGet(LEFT), I::BrIf(0)]);
    });
    emit.close();
    // The answer: ok, where, how many.
    emit.all([I::I32Const(HEAD), I::I32Const(0), I::I32Store(word(0)), I::I32Const(HEAD), I::LocalGet(ANSWER)]);
    emit.all([I::I32Store(word(4)), I::I32Const(HEAD), I::LocalGet(COUNT), I::I32Const(outputs as i32), I::I32Mul]);
    emit.all([I::I32Store(word(8)), I::I32Const(HEAD), I::Return]);
    emit.close();
    emit.all([I::I32Const(HEAD), I::I32Const(1), I::I32Store(word(0)), I::I32Const(HEAD), I::I32Const(TEXT_AT)]);
    emit.all([I::I32Store(word(4)), I::I32Const(HEAD), I::I32Const(TEXT.len() as i32), I::I32Store(word(8))]);
    emit.all([I::I32Const(HEAD), I::End]);
    emit.finish()
}

/// The exact remainder of two numbers, with the sign of the first: subtract the divisor, doubled as often as it fits, and
/// halve it back. Each step is exact. What cannot be divided gives NaN.
fn remainder() -> Function {
    use wasm_encoder::BlockType::Empty;
    let (a, b, rest, step) = (0, 1, 2, 3);
    let mut function = Function::new([(2, ValType::F64)]);
    let nan = I::F64Const(f64::NAN.into());
    for instruction in [
        // Infinite or missing, or a divisor of 0.
        I::LocalGet(a),
        I::LocalGet(a),
        I::F64Sub,
        I::F64Const(0.0.into()),
        I::F64Ne,
        I::LocalGet(b),
        I::F64Const(0.0.into()),
        I::F64Eq,
        I::I32Or,
        I::LocalGet(b),
        I::LocalGet(b),
        I::F64Ne,
        I::I32Or,
        I::If(Empty),
        nan,
        I::Return,
        I::End,
        // By an infinite divisor, all of it is left.
        I::LocalGet(b),
        I::F64Abs,
        I::F64Const(f64::INFINITY.into()),
        I::F64Eq,
        I::If(Empty),
        I::LocalGet(a),
        I::Return,
        I::End,
        I::LocalGet(a),
        I::F64Abs,
        I::LocalSet(rest),
        I::LocalGet(b),
        I::F64Abs,
        I::LocalTee(b),
        I::LocalSet(step),
        I::Loop(Empty),
        I::LocalGet(step),
        I::LocalGet(rest),
        I::F64Const(0.5.into()),
        I::F64Mul,
        I::F64Le,
        I::If(Empty),
        I::LocalGet(step),
        I::LocalGet(step),
        I::F64Add,
        I::LocalSet(step),
        I::Br(1),
        I::End,
        I::End,
        I::Loop(Empty),
        I::LocalGet(rest),
        I::LocalGet(step),
        I::F64Ge,
        I::If(Empty),
        I::LocalGet(rest),
        I::LocalGet(step),
        I::F64Sub,
        I::LocalSet(rest),
        I::End,
        I::LocalGet(step),
        I::F64Const(0.5.into()),
        I::F64Mul,
        I::LocalTee(step),
        I::LocalGet(b),
        I::F64Ge,
        I::BrIf(0),
        I::End,
        I::LocalGet(rest),
        I::LocalGet(a),
        I::F64Copysign,
        I::End,
    ] {
        function.instruction(&instruction);
    }
    function
}
