//! Sorting. Owns which algorithm does it: where a node decides the standard library's, in a page one small one for all kinds of things.
//! Whatever is sorted here has no two that are equal and yet not the same, so that every algorithm gives the same.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// Sorts `items`.
#[cfg(feature = "std")]
#[allow(clippy::ptr_arg, reason = "as the other one, which makes the list anew")]
pub(crate) fn sort<T: Clone>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    items.sort_unstable_by(compare);
}

/// Sorts `items`.
#[cfg(not(feature = "std"))]
pub(crate) fn sort<T: Clone>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let order = merged(items.len(), &|a, b| compare(&items[a as usize], &items[b as usize]).is_le());
    *items = order.into_iter().map(|at| items[at as usize].clone()).collect();
}

/// The numbers below `count` in order, where `is_right` says of two whether the first may come first: runs of 1, 2, 4 … are merged.
#[cfg(any(test, not(feature = "std")))]
fn merged(count: usize, is_right: &dyn Fn(u32, u32) -> bool) -> Vec<u32> {
    let mut from: Vec<u32> = (0..count as u32).collect();
    let mut to = from.clone();
    let mut run = 1;
    while run < count {
        let (mut a, mut b) = (0, 0);
        for (at, place) in to.iter_mut().enumerate() {
            if at % (2 * run) == 0 {
                (a, b) = (at, at + run);
            }
            let start = at - at % (2 * run);
            let of_a = from.get(a).filter(|_| a < start + run);
            let of_b = from.get(b).filter(|_| b < start + 2 * run);
            let takes_a = match (of_a, of_b) {
                (Some(a), Some(b)) => is_right(*a, *b),
                (a, _) => a.is_some(),
            };
            if takes_a {
                *place = from[a];
                a += 1;
            } else {
                *place = from[b];
                b += 1;
            }
        }
        core::mem::swap(&mut from, &mut to);
        run *= 2;
    }
    from
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_small_one_sorts_as_the_large_one(mut items in proptest::collection::vec(0u8..50, 0..300)) {
            let order = merged(items.len(), &|a, b| items[a as usize] <= items[b as usize]);
            let found: Vec<u8> = order.iter().map(|at| items[*at as usize]).collect();
            // Those that are equal stay as they were.
            prop_assert!(order.windows(2).all(|pair| items[pair[0] as usize] != items[pair[1] as usize] || pair[0] < pair[1]));
            items.sort();
            prop_assert_eq!(found, items);
        }
    }
}
