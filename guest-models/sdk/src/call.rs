//! One call as a module sees it. Owns the split of `candidates` into rows; knows nothing of what the columns mean.

/// The arguments of one call: columns in the manifest's order, a missing value is NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call<'a> {
    shared: &'a [f64],
    candidates: &'a [f64],
    count: usize,
}

// === impl Call ===

impl<'a> Call<'a> {
    /// A call of `count` candidates; `candidates` holds their rows one after the other.
    pub fn new(shared: &'a [f64], candidates: &'a [f64], count: usize) -> Self {
        Self { shared, candidates, count }
    }

    /// The request's row.
    pub fn shared(&self) -> &'a [f64] {
        self.shared
    }

    /// The candidates' rows, row-major.
    pub fn candidates(&self) -> &'a [f64] {
        self.candidates
    }

    /// How many candidates there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The candidates' rows, one at a time: `count` of them, empty when the manifest has no candidate inputs.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [f64]> + use<'a> {
        let width = self.candidates.len().checked_div(self.count).unwrap_or(0);
        let candidates = self.candidates;
        (0..self.count).map(move |row| &candidates[row * width..][..width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(candidates: &[f64], count: usize, expected: &[&[f64]]) {
        assert_eq!(Call::new(&[], candidates, count).rows().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn rows_are_count_slices_of_one_width() {
        check(&[1.0, 2.0, 3.0, 4.0], 2, &[&[1.0, 2.0], &[3.0, 4.0]]);
        check(&[], 3, &[&[], &[], &[]]);
        check(&[], 0, &[]);
    }
}
