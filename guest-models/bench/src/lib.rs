//! What the benchmark modules share: a forest made up at compile time, and rules made up the same way. Owns no measuring.
//!
//! They stand in for real models until the trees kernel exists, so they are built as it will be: node tables as data, eight
//! trees walked side by side, because one tree alone waits for every comparison.

mod forest;
mod rules;

pub use forest::{Forest, LEAVES, NODES, Node};
pub use rules::{CONDITIONS, Rule, rules};

/// SplitMix64 (Steele, Lea and Flood, 2014): the state after `state`, and a draw.
pub(crate) const fn splitmix(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state, mixed ^ mixed >> 31)
}

/// A draw as a number from -1 to 1.
pub(crate) const fn spread(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
