//! The order of a tree's nodes. Trainers number them as they were made, and reuse numbers; the middle form wants every child
//! behind its parent. Owns the walk that renumbers them, which also finds cycles and children that do not exist.

/// The old numbers of the nodes that can be reached from node 0, parents first, and the new number of each old one
/// (`u32::MAX` for those that cannot). `children` tells the left and right child of an inner node, `None` for a leaf.
///
/// # Errors
///
/// With the node whose child is wrong, and why.
pub(super) fn parents_first(
    nodes: usize,
    children: impl Fn(usize) -> Option<(i64, i64)>,
) -> Result<(Vec<u32>, Vec<u32>), (usize, String)> {
    let mut order = Vec::with_capacity(nodes);
    let mut number = vec![u32::MAX; nodes];
    let mut pending = vec![0];
    while let Some(node) = pending.pop() {
        number[node] = order.len() as u32;
        order.push(node as u32);
        let Some((left, right)) = children(node) else { continue };
        for child in [right, left] {
            let Some(child) = usize::try_from(child).ok().filter(|child| *child < nodes) else {
                return Err((node, format!("child {child} of {nodes} nodes")));
            };
            // A node is numbered when it is taken up; until then a second parent must still be noticed.
            if number[child] != u32::MAX || child == 0 {
                return Err((node, format!("child {child} has two parents, or is its own ancestor")));
            }
            number[child] = u32::MAX - 1;
            pending.push(child);
        }
    }
    Ok((order, number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests")]

    use super::*;

    #[track_caller]
    fn check(children: &[(i64, i64)], expected: Result<&[u32], &str>) {
        let found = parents_first(children.len(), |node| Some(children[node]).filter(|(left, _)| *left >= 0));
        match (found, expected) {
            (Ok((order, _)), Ok(expected)) => assert_eq!(order, expected),
            (Err((_, why)), Err(expected)) => assert!(why.contains(expected), "{why}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn parents_stand_before_their_children() {
        let leaf = (-1, -1);
        check(&[leaf], Ok(&[0]));
        check(&[(3, 2), leaf, (4, 1), leaf, leaf], Ok(&[0, 3, 2, 4, 1]));
        check(&[(2, 3), (4, 5), leaf, leaf, leaf, leaf], Ok(&[0, 2, 3]));
        check(&[(1, 2), (0, 2), leaf], Err("own ancestor"));
        check(&[(1, 1), leaf], Err("two parents"));
        check(&[(1, 3), leaf, leaf], Err("child 3 of 3 nodes"));
    }
}
