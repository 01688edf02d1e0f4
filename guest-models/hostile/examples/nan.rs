//! Answers with NaN where a number must stand.

use selvedge_guest::Call;
use selvedge_hostile::{behave, provoked};

selvedge_guest::export!(evaluate);

/// NaN scores when provoked.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    let mut answer = behave(call)?;
    if provoked(&call) {
        answer.fill(f64::NAN);
    }
    Ok(answer)
}
