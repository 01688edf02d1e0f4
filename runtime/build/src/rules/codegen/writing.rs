//! One function being written. Owns its instructions, labels, and the locals that hold a number for a while.

use wasm_encoder::{BlockType, Encode as _, Function, Instruction as I, ValType};

/// A block that is open, by how many were open with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(u32);

/// Instructions of one function.
#[derive(Debug)]
pub(super) struct Writing {
    /// As they stand in the module: a tenth of what they are apart.
    code: Vec<u8>,
    /// How many locals are whole numbers, beside the parameters.
    ints: u32,
    /// The first local for numbers, how many there are, and those free to hold a number for a while.
    first: u32,
    count: u32,
    free: Vec<u32>,
    depth: u32,
    /// How many places there are from which or to which it jumps.
    jumps: usize,
}

// === impl Writing ===

impl Writing {
    /// A function of so many parameters, and so many locals that are whole numbers; `count` locals hold a number for good.
    pub(super) fn new(parameters: u32, ints: u32, count: u32) -> Self {
        Self { code: Vec::new(), ints, first: parameters + ints, count, free: Vec::new(), depth: 0, jumps: 0 }
    }

    pub(super) fn finish(self) -> Function {
        let mut function = Function::new([(self.ints, ValType::I32), (self.count, ValType::F64)]);
        function.raw(self.code);
        function
    }

    /// How many bytes were written.
    pub(super) fn bytes(&self) -> usize {
        self.code.len()
    }

    /// What an engine's compiler keeps of it at least: something of every local at every place of a jump.
    pub(super) fn weight(&self) -> usize {
        self.jumps.saturating_mul(self.count as usize)
    }

    pub(super) fn one(&mut self, instruction: &I<'static>) {
        let jumps = matches!(instruction, I::Block(_) | I::Loop(_) | I::If(_) | I::Else | I::Br(_) | I::BrIf(_));
        self.jumps += usize::from(jumps);
        instruction.encode(&mut self.code);
    }

    pub(super) fn open(&mut self) -> Label {
        self.one(&I::Block(BlockType::Empty));
        self.enter()
    }

    /// Goes into a block that was opened by hand.
    pub(super) fn enter(&mut self) -> Label {
        self.depth += 1;
        Label(self.depth)
    }

    pub(super) fn close(&mut self) {
        self.one(&I::End);
        self.depth -= 1;
    }

    /// How many blocks lie between here and the label's.
    pub(super) fn out_of(&self, label: Label) -> u32 {
        self.depth - label.0
    }

    /// A local for a while; give it back with [`Writing::release`].
    pub(super) fn hold(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.first + self.count - 1
        })
    }

    pub(super) fn release(&mut self, local: u32) {
        self.free.push(local);
    }
}
