//! Answers with one value too many, or none at all.

use selvedge_guest::Call;
use selvedge_hostile::{behave, provoked};

selvedge_guest::export!(evaluate);

/// One value too many when provoked with a positive number, none when with a negative one.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    let mut answer = behave(call)?;
    if provoked(&call) {
        if call.shared()[0] > 0.0 { answer.push(0.0) } else { answer.clear() }
    }
    Ok(answer)
}
