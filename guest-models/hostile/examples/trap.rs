//! Traps: a panic is `unreachable` in a guest.

use selvedge_guest::Call;
use selvedge_hostile::{behave, provoked};

selvedge_guest::export!(evaluate);

/// Traps when provoked.
#[expect(clippy::panic, reason = "the fault this guest is for")]
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    if provoked(&call) {
        panic!("as asked");
    }
    behave(call)
}
