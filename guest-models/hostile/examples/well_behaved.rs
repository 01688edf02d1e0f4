//! Does what the others owe, always.

use selvedge_guest::Call;

selvedge_guest::export!(evaluate);

/// The candidate's number plus one.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    selvedge_hostile::behave(call)
}
