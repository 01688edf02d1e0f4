//! Assignment of units to arms: the same arm for the same unit on every node and in every browser. Owns the hash and the
//! table of slots.

use crate::form::form;
use alloc::vec::Vec;

/// Slots of an experiment's table: one is 0.01 % of the units.
pub const SLOTS: u32 = 10_000;

/// Which arm has each slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Runs of slots in order: the first slot behind the run, and the arm's index.
    runs: Vec<(u16, u16)>,
}

/// MurmurHash3, x86 32-bit variant, seed 0 (Austin Appleby, public domain; SMHasher's `MurmurHash3_x86_32`).
pub fn murmur3_x86_32(bytes: &[u8]) -> u32 {
    let mut hash = 0u32;
    let chunks = bytes.chunks_exact(4);
    let tail = chunks.remainder();
    for chunk in chunks {
        hash ^= scramble(u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        let block = tail.iter().rev().fold(0, |block, byte| block << 8 | u32::from(*byte));
        hash ^= scramble(block);
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

fn scramble(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

/// The slot, 0 to 9,999, of `unit` under `salt`: murmur3 of salt ‖ 0x00 ‖ unit, scaled.
pub fn bucket(salt: &str, unit: &str) -> u16 {
    let mut bytes = Vec::with_capacity(salt.len() + 1 + unit.len());
    bytes.extend_from_slice(salt.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(unit.as_bytes());
    ((u64::from(murmur3_x86_32(&bytes)) * u64::from(SLOTS)) >> 32) as u16
}

/// How many slots each arm has: its weight over the sum of the weights, which must not all be 0.
pub fn quotas(weights: &[u32]) -> Vec<u16> {
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let (mut seen, mut before) = (0u64, 0u16);
    weights
        .iter()
        .map(|weight| {
            seen += u64::from(*weight);
            let end = (seen * u64::from(SLOTS)).checked_div(sum).unwrap_or(0) as u16;
            let quota = end - before;
            before = end;
            quota
        })
        .collect()
}

// === forms ===

form!(struct Table { runs });

// === impl Table ===

impl Table {
    /// Arm after arm.
    pub fn new(weights: &[u32]) -> Self {
        Self::of(
            quotas(weights).iter().enumerate().flat_map(|(arm, quota)| core::iter::repeat_n(arm, usize::from(*quota))),
        )
    }

    /// The table of these weights that moves the fewest units from one in which slots belonged to `before`, which names arms of
    /// today and nothing for those that are gone: each arm keeps the first of its slots as far as it still has so many, and the
    /// others go, in their order, to the arms that have too few, in theirs.
    pub fn after(before: impl IntoIterator<Item = Option<usize>>, weights: &[u32]) -> Self {
        let mut wanted = quotas(weights);
        let mut slots: Vec<Option<usize>> = before.into_iter().take(SLOTS as usize).collect();
        slots.resize(SLOTS as usize, None);
        for slot in &mut slots {
            let kept = slot.and_then(|arm| wanted.get_mut(arm)).filter(|wanted| **wanted > 0);
            match kept {
                Some(wanted) => *wanted -= 1,
                None => *slot = None,
            }
        }
        let mut next = 0;
        Self::of(slots.into_iter().map(|slot| {
            slot.unwrap_or_else(|| {
                while wanted.get(next).is_some_and(|wanted| *wanted == 0) {
                    next += 1;
                }
                if let Some(wanted) = wanted.get_mut(next) {
                    *wanted -= 1;
                }
                next
            })
        }))
    }

    /// From runs as [`Table::runs`] gives them.
    pub fn from_runs(runs: impl IntoIterator<Item = (u16, usize)>) -> Self {
        Self { runs: runs.into_iter().map(|(end, arm)| (end, arm as u16)).collect() }
    }

    /// The first slot behind each run, and its arm.
    pub fn runs(&self) -> impl Iterator<Item = (u16, usize)> {
        self.runs.iter().map(|(end, arm)| (*end, usize::from(*arm)))
    }

    /// Whether it is as [`Table::new`] makes it: one run an arm, in their order.
    pub fn is_plain(&self) -> bool {
        self.runs.is_sorted_by(|a, b| a.1 < b.1)
    }

    /// The arm that has a slot.
    pub fn arm(&self, slot: u16) -> Option<usize> {
        let at = self.runs.partition_point(|(end, _)| *end <= slot);
        self.runs.get(at).map(|(_, arm)| usize::from(*arm))
    }

    /// The arm of every slot.
    pub fn slots(&self) -> impl Iterator<Item = usize> {
        let mut start = 0;
        self.runs.iter().flat_map(move |(end, arm)| {
            let n = usize::from(end.saturating_sub(start));
            start = *end;
            core::iter::repeat_n(usize::from(*arm), n)
        })
    }

    fn of(slots: impl Iterator<Item = usize>) -> Self {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for (slot, arm) in slots.enumerate() {
            let end = slot as u16 + 1;
            match runs.last_mut() {
                Some((last, of)) if usize::from(*of) == arm => *last = end,
                _ => runs.push((end, arm as u16)),
            }
        }
        Self { runs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur3_gives_the_published_values() {
        // The reference implementation's results with seed 0.
        for (text, hash) in [
            ("", 0),
            ("test", 0xba6b_d213),
            ("Hello, world!", 0xc036_3e43),
            ("aaaa", 0x7eee_d987),
            ("abc", 0xb3dd_93fa),
        ] {
            assert_eq!(murmur3_x86_32(text.as_bytes()), hash, "{text:?}");
        }
    }

    #[test]
    fn quotas_are_all_slots() {
        assert_eq!(quotas(&[50, 50]), [5_000, 5_000]);
        assert_eq!(quotas(&[1, 1, 1]), [3_333, 3_333, 3_334]);
        assert_eq!(quotas(&[0, 7]), [0, 10_000]);
    }

    #[test]
    fn changed_weights_move_only_whom_they_must() {
        let check = |before: &[u32], names: &[Option<usize>], after: &[u32], moved: usize| {
            let old = Table::new(before);
            let new = Table::after(old.slots().map(|arm| names[arm]), after);
            let sizes: Vec<usize> = (0..after.len()).map(|arm| new.slots().filter(|of| *of == arm).count()).collect();
            assert_eq!(sizes, quotas(after).into_iter().map(usize::from).collect::<Vec<_>>());
            let changed = old.slots().zip(new.slots()).filter(|(old, new)| names[*old] != Some(*new)).count();
            assert_eq!(changed, moved, "{before:?} {names:?} {after:?}");
            assert!((0..SLOTS as u16).zip(new.slots()).all(|(slot, arm)| new.arm(slot) == Some(arm)));
            assert_eq!(Table::from_runs(new.runs()), new);
        };
        let same = |n: usize| (0..n).map(Some).collect::<Vec<_>>();
        check(&[50, 50], &same(2), &[50, 50], 0);
        check(&[50, 50], &same(2), &[60, 40], 1_000);
        check(&[90, 10], &same(2), &[50, 50], 4_000);
        // A third arm takes from both; a plain table would have moved the second's, too.
        check(&[50, 50], &same(2), &[40, 40, 20], 2_000);
        // Other order, same arms.
        check(&[30, 70], &[Some(1), Some(0)], &[70, 30], 0);
        // One is gone.
        check(&[50, 50], &[Some(0), None], &[100], 5_000);
        check(&[10, 20, 30, 40], &same(4), &[40, 30, 20, 10], 4_000);
    }

    #[test]
    fn a_slot_has_the_arm_of_its_run() {
        let table = Table::new(&[25, 0, 75]);
        assert_eq!([0, 2_499, 2_500, 9_999].map(|slot| table.arm(slot)), [Some(0), Some(0), Some(2), Some(2)]);
        assert_eq!(table.arm(10_000), None);
    }
}
