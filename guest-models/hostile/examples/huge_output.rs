//! Answers with far more than it was asked for.

use selvedge_guest::Call;
use selvedge_hostile::{behave, provoked};

selvedge_guest::export!(evaluate);

/// When provoked, 48 KB of zeros times the shared number: as much as its memory holds at 1, megabytes with more of it.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    if provoked(&call) {
        return Ok(vec![0.0; 6_000 * call.shared()[0] as usize]);
    }
    behave(call)
}
