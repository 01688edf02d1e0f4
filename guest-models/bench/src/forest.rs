//! A forest of perfect trees of depth 6. Owns its tables and the walk; the numbers in it mean nothing.

use crate::{splitmix, spread};

const DEPTH: usize = 6;
/// Inner nodes of a tree, and one to make the index a mask.
pub const NODES: usize = 1 << DEPTH;
/// Leaves of a tree.
pub const LEAVES: usize = 1 << DEPTH;
/// Trees walked side by side.
const LANES: usize = 8;

/// An inner node: below the threshold goes left, as does a missing value.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Values below go left.
    pub threshold: f64,
    /// The column compared.
    pub column: u32,
}

/// `TREES` trees; the children of inner node `i` (from 1) are `2i` and `2i + 1`.
#[derive(Debug)]
pub struct Forest<const TREES: usize> {
    nodes: [[Node; NODES]; TREES],
    leaves: [[f64; LEAVES]; TREES],
}

// === impl Forest ===

impl<const TREES: usize> Forest<TREES> {
    /// Trees over `columns` columns of values from -1 to 1, the same for the same seed; no score is below 0.
    pub const fn new(columns: u32, seed: u64) -> Self {
        let mut forest =
            Self { nodes: [[Node { threshold: 0.0, column: 0 }; NODES]; TREES], leaves: [[0.0; LEAVES]; TREES] };
        let mut state = seed;
        let mut tree = 0;
        while tree < TREES {
            let mut node = 0;
            while node < NODES {
                let (next, column) = splitmix(state);
                let (next, threshold) = splitmix(next);
                let (next, leaf) = splitmix(next);
                state = next;
                forest.nodes[tree][node] =
                    Node { threshold: spread(threshold), column: (column % columns as u64) as u32 };
                forest.leaves[tree][node] = (spread(leaf) + 1.0) / TREES as f64;
                node += 1;
            }
            tree += 1;
        }
        forest
    }

    /// The sum of the leaves that `row` falls into, tree by tree. `row` must have all columns.
    #[inline]
    pub fn score(&self, row: &[f64]) -> f64 {
        let mut sum = 0.0;
        let (groups, rest) = self.nodes.as_chunks::<LANES>();
        for (group, nodes) in groups.iter().enumerate() {
            let mut at = [1; LANES];
            for _ in 0..DEPTH {
                for lane in 0..LANES {
                    at[lane] = step(&nodes[lane], at[lane], row);
                }
            }
            for (lane, at) in at.iter().enumerate() {
                sum += self.leaves[group * LANES + lane][at % LEAVES];
            }
        }
        for (nodes, leaves) in rest.iter().zip(&self.leaves[groups.len() * LANES..]) {
            let mut at = 1;
            for _ in 0..DEPTH {
                at = step(nodes, at, row);
            }
            sum += leaves[at % LEAVES];
        }
        sum
    }
}

#[inline]
fn step(nodes: &[Node; NODES], at: usize, row: &[f64]) -> usize {
    let node = &nodes[at % NODES];
    2 * at + usize::from(row[node.column as usize] >= node.threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a textbook would walk it.
    fn plain<const TREES: usize>(forest: &Forest<TREES>, row: &[f64]) -> f64 {
        let mut sum = 0.0;
        for tree in 0..TREES {
            let mut at = 1;
            while at < NODES {
                let node = forest.nodes[tree][at];
                at = if row[node.column as usize] >= node.threshold { 2 * at + 1 } else { 2 * at };
            }
            sum += forest.leaves[tree][at - NODES];
        }
        sum
    }

    #[test]
    fn walking_eight_trees_side_by_side_changes_no_bit() {
        static FOREST: Forest<19> = Forest::new(40, 7);
        let mut state = 1;
        for _ in 0..200 {
            let row: Vec<f64> = (0..40)
                .map(|_| {
                    let (next, draw) = splitmix(state);
                    state = next;
                    if draw % 10 == 0 { f64::NAN } else { spread(draw) }
                })
                .collect();
            assert_eq!(FOREST.score(&row).to_bits(), plain(&FOREST, &row).to_bits());
        }
    }
}
