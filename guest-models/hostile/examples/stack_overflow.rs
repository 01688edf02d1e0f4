//! Recurses without end.

use selvedge_guest::Call;
use selvedge_hostile::{behave, provoked};

selvedge_guest::export!(evaluate);

/// Recurses when provoked.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    if provoked(&call) {
        return Ok(vec![f64::from(recurse([1; 64]))]);
    }
    behave(call)
}

#[expect(unconditional_recursion, reason = "the fault this guest is for")]
#[inline(never)]
fn recurse(frame: [u8; 64]) -> u8 {
    let mut deeper = std::hint::black_box(frame);
    deeper[0] = deeper[0].wrapping_add(1);
    let below = recurse(deeper);
    std::hint::black_box(&frame)[0].wrapping_add(below)
}
