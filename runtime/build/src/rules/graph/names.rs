//! Names with dots: `a.b` lies in the group `a`. Owns which of known names lie in a group, and which cannot stand side by side.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Whether `inner` lies within the group `outer`: `a.b` within `a`.
pub(super) fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
}

/// A name of `given` that is a group of which `name` is a part.
pub(super) fn within<'n, K: Borrow<str> + Ord, V>(given: &'n BTreeMap<K, V>, name: &str) -> Option<&'n str> {
    let ends = name.match_indices('.').map(|(at, _)| &name[..at]);
    ends.filter_map(|outer| given.get_key_value(outer)).map(|(outer, _)| outer.borrow()).next()
}

/// What of `given` is in the group `group`.
pub(super) fn all_inside<'n, K: Borrow<str> + Ord, V>(
    given: &'n BTreeMap<K, V>,
    group: &str,
) -> impl Iterator<Item = (&'n K, &'n V)> {
    let first = format!("{group}.");
    let from = given.range::<str, _>((Bound::Included(first.as_str()), Bound::Unbounded));
    from.take_while(move |(inner, _)| (*inner).borrow().starts_with(&first))
}

/// A name of `given` in the group `group`.
pub(super) fn inside<'n, K: Borrow<str> + Ord, V>(given: &'n BTreeMap<K, V>, group: &str) -> Option<&'n str> {
    all_inside(given, group).next().map(|(inner, _)| inner.borrow())
}

/// A name of `given` that cannot stand beside `name`: one of them is a value, the other a group of values.
pub(super) fn clash<'n, K: Borrow<str> + Ord, V>(given: &'n BTreeMap<K, V>, name: &str) -> Option<&'n str> {
    within(given, name).or_else(|| inside(given, name))
}
