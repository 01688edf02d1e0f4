//! Ensembles of trees. Owns their layout and the walk.
//!
//! Eight trees that follow each other are a group and are walked side by side, because one tree alone waits for every
//! comparison. A node is 16 bytes: a threshold (f64), the place it looks at as a byte offset, and its first child as a byte
//! offset among the nodes (2 × u32); the second child stands right behind the first. A walk goes to the second child when the
//! value at the place is at least the threshold, which is false for a missing value; the builder has turned every comparison
//! of every trainer into this one, and where missing values go to the other side it looks at a negated copy of the column.
//! A leaf is its own first child and looks at place 0, which holds NaN: a walk may go on when it has arrived, and needs no
//! branch. Its threshold is its value, or the bits of the index of its first value when it has one an output.
//!
//! A node that asks for membership has [`SET`] in its offset, and [`MISSING_FIRST`] when a missing value goes to the first
//! child, as members do; its threshold's bits are where its set begins, and its words. A set is a list of bits. Only groups
//! with such a node are walked in a way that knows of them.
//!
//! Fields: first, outputs, trees, groups, values, words of all sets, nodes, flags (1 sums in f32, 2 divides); `[f64]` where each
//! sum begins, and what is divided by; the output of each tree (0xffffffff for all of them); for each group the levels that
//! are walked in any case, the most that follow, whether it asks for membership, and eight roots as byte offsets; `[f64]`
//! values; sets; nodes.

#![expect(unsafe_code, reason = "the walk does not check what the builder checked: it would cost half its time")]

use crate::program::Reader;

/// Trees walked side by side.
pub(crate) const LANES: usize = 8;
const GROUP_WORDS: usize = 3 + LANES;
/// In a node's offset: it asks for membership.
const SET: u32 = 1;
/// In a node's offset: a missing value goes to the first child.
const MISSING_FIRST: u32 = 2;
const F32: usize = 1;
const DIVIDES: usize = 2;
/// The output of a tree whose leaves have a value for each.
const ALL: usize = u32::MAX as usize;
/// Levels between two looks at whether every walk has arrived.
const STRIDE: u32 = 4;

/// An ensemble as read, in place.
pub(crate) struct Forest<'a> {
    first: usize,
    outputs: usize,
    trees: usize,
    flags: usize,
    base: &'a [[u8; 8]],
    divide: f64,
    outputs_of: &'a [[u8; 4]],
    values: &'a [[u8; 8]],
    sets: &'a [[u8; 4]],
    groups: &'a [[u8; 4]],
    nodes: &'a [u8],
}

// === impl Forest ===

impl<'a> Forest<'a> {
    pub(crate) fn read(fields: &mut Reader<'a>) -> Option<Self> {
        let (first, outputs, trees, groups) = (fields.word()?, fields.word()?, fields.word()?, fields.word()?);
        let (values, sets, nodes, flags) = (fields.word()?, fields.word()?, fields.word()?, fields.word()?);
        Some(Self {
            first,
            outputs,
            trees,
            flags,
            base: fields.numbers(outputs)?,
            divide: fields.number()?,
            outputs_of: fields.words(trees)?,
            groups: fields.words(groups.checked_mul(GROUP_WORDS)?)?,
            values: fields.numbers(values)?,
            sets: fields.words(sets)?,
            nodes: fields.nodes(nodes)?,
        })
    }

    pub(crate) fn run(&self, tape: &mut [f64]) -> Option<()> {
        let first = self.first;
        let end = first.checked_add(self.outputs)?;
        let is_f32 = self.flags & F32 != 0;
        match self.base {
            // One sum stays in a register.
            [base] if is_f32 => {
                let sum = self.sum(tape, f64::from_le_bytes(*base) as f32, |sum, leaf| sum + leaf as f32)?;
                *tape.get_mut(first)? = f64::from(sum);
            }
            [base] => *tape.get_mut(first)? = self.sum(tape, f64::from_le_bytes(*base), |sum, leaf| sum + leaf)?,
            _ => {
                for (to, base) in tape.get_mut(first..end)?.iter_mut().zip(self.base) {
                    *to = f64::from_le_bytes(*base);
                }
                if is_f32 {
                    self.sums(tape, |sum, leaf| f64::from(sum as f32 + leaf as f32))?;
                } else {
                    self.sums(tape, |sum, leaf| sum + leaf)?;
                }
            }
        }
        if self.flags & DIVIDES != 0 {
            for sum in tape.get_mut(first..end)? {
                *sum = if is_f32 { f64::from(*sum as f32 / self.divide as f32) } else { *sum / self.divide };
            }
        }
        Some(())
    }

    /// The sum of one output.
    #[inline]
    fn sum<T: Copy>(&self, tape: &[f64], base: T, add: impl Fn(T, f64) -> T) -> Option<T> {
        let (mut sum, mut left) = (base, self.trees);
        for group in self.groups.as_chunks::<GROUP_WORDS>().0 {
            let leaves = self.walk(group, tape);
            for leaf in &leaves[..left.min(LANES)] {
                // SAFETY: a walk ends at a node.
                sum = add(sum, f64::from_bits(unsafe { threshold(self.nodes.as_ptr(), *leaf) }));
            }
            left = left.saturating_sub(LANES);
        }
        Some(sum)
    }

    /// The sums of several outputs.
    fn sums(&self, tape: &mut [f64], add: impl Fn(f64, f64) -> f64) -> Option<()> {
        let (first, outputs) = (self.first, self.outputs);
        let groups = self.groups.as_chunks::<GROUP_WORDS>().0;
        for (group, outputs_of) in groups.iter().zip(self.outputs_of.chunks(LANES)) {
            let leaves = self.walk(group, tape);
            for (leaf, output) in leaves.iter().zip(outputs_of) {
                // SAFETY: a walk ends at a node.
                let bits = unsafe { threshold(self.nodes.as_ptr(), *leaf) };
                let output = u32::from_le_bytes(*output) as usize;
                if output == ALL {
                    let values = self.values.get(bits as usize..)?.get(..outputs)?;
                    for (sum, value) in tape.get_mut(first..first + outputs)?.iter_mut().zip(values) {
                        *sum = add(*sum, f64::from_le_bytes(*value));
                    }
                } else {
                    let sum = tape.get_mut(first + output)?;
                    *sum = add(*sum, f64::from_bits(bits));
                }
            }
        }
        Some(())
    }

    /// The leaves that a group's trees come to.
    #[inline(never)]
    fn walk(&self, group: &[[u8; 4]; GROUP_WORDS], tape: &[f64]) -> [u32; LANES] {
        let [levels, most, has_sets, roots @ ..] = group.map(u32::from_le_bytes);
        if has_sets == 0 {
            // SAFETY: the builder made the nodes of this group, and the tape is as long as it said.
            unsafe { walk(self.nodes.as_ptr(), tape.as_ptr(), roots, levels, most) }
        } else {
            roots.map(|root| self.walk_sets(root, tape, levels + most))
        }
    }

    /// The leaf of one tree that asks for membership.
    fn walk_sets(&self, mut at: u32, tape: &[f64], levels: u32) -> u32 {
        for _ in 0..levels {
            // SAFETY: the builder made the nodes, and the tape is as long as it said.
            at = unsafe {
                let (_, offset, child) = node(self.nodes.as_ptr(), at);
                if offset & SET == 0 {
                    step(self.nodes.as_ptr(), tape.as_ptr(), at)
                } else {
                    let x = *tape.as_ptr().byte_add((offset & !(SET | MISSING_FIRST)) as usize);
                    let first = if x.is_nan() { offset & MISSING_FIRST != 0 } else { self.has(at, x) };
                    child + if first { 0 } else { 16 }
                }
            };
        }
        at
    }

    /// Whether a value is in a node's set.
    fn has(&self, at: u32, x: f64) -> bool {
        // SAFETY: a node of the builder's.
        let bits = unsafe { threshold(self.nodes.as_ptr(), at) };
        let (start, words) = ((bits >> 32) as usize, bits as u32 as usize);
        let set = self.sets.get(start..).and_then(|sets| sets.get(..words)).unwrap_or(&[]);
        let member = if x >= 0.0 { x as usize } else { return false };
        set.get(member / 32).is_some_and(|word| u32::from_le_bytes(*word) >> (member % 32) & 1 == 1)
    }
}

/// Eight trees, level by level.
#[inline(always)]
unsafe fn walk(nodes: *const u8, tape: *const f64, roots: [u32; LANES], levels: u32, most: u32) -> [u32; LANES] {
    let mut at = roots;
    // SAFETY: the caller's promise: roots and children are nodes, offsets are on the tape.
    unsafe {
        // Two levels a round: the engine looks at its clock in each, and a leaf leads to itself.
        for _ in 0..levels.div_ceil(2) {
            for _ in 0..2 {
                for lane in &mut at {
                    *lane = step(nodes, tape, *lane);
                }
            }
        }
        let mut walked = 0;
        while walked < most {
            for _ in 1..STRIDE {
                for lane in &mut at {
                    *lane = step(nodes, tape, *lane);
                }
            }
            let mut moved = 0;
            for lane in &mut at {
                let next = step(nodes, tape, *lane);
                moved |= next ^ *lane;
                *lane = next;
            }
            if moved == 0 {
                break;
            }
            walked += STRIDE;
        }
    }
    at
}

#[inline(always)]
unsafe fn step(nodes: *const u8, tape: *const f64, at: u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        let (threshold, offset, child) = node(nodes, at);
        let x = *tape.byte_add(offset as usize);
        child + (u32::from(x >= f64::from_bits(threshold)) << 4)
    }
}

#[inline(always)]
unsafe fn node(nodes: *const u8, at: u32) -> (u64, u32, u32) {
    // SAFETY: the caller's promise: a node stands there.
    unsafe {
        let node = nodes.add(at as usize);
        let words = node.cast::<u32>();
        let offset = u32::from_le(words.add(2).read_unaligned());
        (threshold(nodes, at), offset, u32::from_le(words.add(3).read_unaligned()))
    }
}

#[inline(always)]
unsafe fn threshold(nodes: *const u8, at: u32) -> u64 {
    // SAFETY: the caller's promise: a node stands there.
    unsafe { u64::from_le(nodes.add(at as usize).cast::<u64>().read_unaligned()) }
}
