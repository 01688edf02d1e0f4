//! One tiny guest per fault, each in `examples/` under the fault's name. All but the last two are of one shape: they take a
//! shared row of one number and candidates of one number, and owe one `score` a candidate. Where the shared number is 0 they
//! behave, so that one test can ask the same guest for both.

use selvedge_guest::Call;

/// What a well-behaved guest answers: the candidate's number plus one.
pub fn behave(call: Call<'_>) -> Result<Vec<f64>, String> {
    Ok(call.candidates().iter().map(|number| number + 1.0).collect())
}

/// Whether this call asks for the fault.
pub fn provoked(call: &Call<'_>) -> bool {
    call.shared().first().is_some_and(|number| *number != 0.0)
}
