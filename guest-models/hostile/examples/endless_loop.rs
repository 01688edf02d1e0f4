//! Never returns.

use selvedge_guest::Call;
use selvedge_hostile::{behave, provoked};

selvedge_guest::export!(evaluate);

/// Loops when provoked.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    let mut turns = 0u64;
    while provoked(&call) {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
    behave(call)
}
