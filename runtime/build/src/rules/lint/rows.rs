//! Sets of rows. Owns their form: a bit a row, sixty-four at a time.

/// A set of rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rows(Vec<u64>);

// === impl Rows ===

impl Rows {
    pub(super) fn new(count: usize, is_in: impl Fn(usize) -> bool) -> Self {
        let mut rows = Self(vec![0u64; count.div_ceil(64)]);
        (0..count).filter(|row| is_in(*row)).for_each(|row| rows.insert(row));
        rows
    }

    pub(super) fn insert(&mut self, row: usize) {
        if let Some(word) = self.0.get_mut(row / 64) {
            *word |= 1 << (row % 64);
        }
    }

    pub(super) fn has(&self, row: usize) -> bool {
        self.0.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    /// Adds the rows of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    /// The rows up to the first that is in `stops`, and that one.
    pub(super) fn up_to(&self, stops: &Self) -> Self {
        let mut rows = self.clone();
        let both = self.0.iter().zip(&stops.0).map(|(a, b)| a & b);
        if let Some((at, stop)) = both.enumerate().find(|(_, both)| *both != 0) {
            let first = stop & stop.wrapping_neg();
            rows.0[at] &= first | (first - 1);
            rows.0[at + 1..].fill(0);
        }
        rows
    }

    /// How many words it has.
    pub(super) fn words(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_up_to_the_first_stop() {
        let check = |rows: &[usize], stops: &[usize], expected: &[usize]| {
            let set = |rows: &[usize]| Rows::new(130, |row| rows.contains(&row));
            assert_eq!(set(rows).up_to(&set(stops)), set(expected), "{rows:?} {stops:?}");
        };
        check(&[1, 5, 70, 129], &[5, 70], &[1, 5]);
        check(&[1, 5, 70, 129], &[2, 70], &[1, 5, 70]);
        check(&[1, 5, 63, 64], &[63], &[1, 5, 63]);
        check(&[1, 5, 129], &[0], &[1, 5, 129]);
    }
}
