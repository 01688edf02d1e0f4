//! Answers with an error of its own.

use selvedge_guest::Call;
use selvedge_hostile::{behave, provoked};

selvedge_guest::export!(evaluate);

/// Says no when provoked.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    if provoked(&call) {
        return Err("not today".into());
    }
    behave(call)
}
