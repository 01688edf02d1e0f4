//! The rules of the Open Bandit demo, as a merchandiser would state them. Owns the rules; what the columns are is the
//! manifest's.
//!
//! | row | when | then |
//! |---|---|---|
//! | 0 | the item is out of stock | it is not shown |
//! | 1 | `feature_0` is above 0.5, as of a quarter of the dataset's items | its score counts 1.1 times |
//!
//! The first row that matches counts. A missing value matches nothing: an item without a known stock is shown.

use selvedge_guest::Call;

selvedge_guest::module!("manifest.json", evaluate);

/// From this value of `feature_0` on, exclusive, an item is boosted.
const PREMIUM_FEATURE_0: f64 = 0.5;
const PREMIUM_BOOST: f64 = 1.1;

/// `eligible`, `boost` and `row` of each candidate.
///
/// # Errors
///
/// When the rows are not as the manifest says.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    let mut answer = Vec::with_capacity(3 * call.count());
    for row in call.rows() {
        let &[feature_0, stock] = row else { return Err(format!("{} columns instead of 2", row.len())) };
        answer.extend(decide(feature_0, stock));
    }
    Ok(answer)
}

fn decide(feature_0: f64, stock: f64) -> [f64; 3] {
    if stock <= 0.0 {
        return [0.0, 1.0, 0.0];
    }
    if feature_0 > PREMIUM_FEATURE_0 {
        return [1.0, PREMIUM_BOOST, 1.0];
    }
    [1.0, 1.0, f64::NAN]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(feature_0: f64, stock: f64, expected: [f64; 3]) {
        let found = evaluate(Call::new(&[], &[feature_0, stock], 1)).unwrap_or_default();
        let bits = |row: &[f64]| row.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&expected), "{found:?}");
    }

    #[test]
    fn the_first_row_that_matches_counts() {
        check(0.9, 0.0, [0.0, 1.0, 0.0]);
        check(0.9, 3.0, [1.0, 1.1, 1.0]);
        check(0.5, 3.0, [1.0, 1.0, f64::NAN]);
        check(f64::NAN, f64::NAN, [1.0, 1.0, f64::NAN]);
        check(0.9, f64::NAN, [1.0, 1.1, 1.0]);
    }

    #[test]
    fn rows_of_another_width_are_refused() {
        assert!(evaluate(Call::new(&[], &[1.0], 1)).is_err());
    }
}
