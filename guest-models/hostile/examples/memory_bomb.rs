//! Allocates until it is refused.

use selvedge_guest::Call;
use selvedge_hostile::{behave, provoked};

selvedge_guest::export!(evaluate);

/// Allocates a page after the other when provoked.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    let mut hoard = Vec::new();
    while provoked(&call) {
        hoard.push(std::hint::black_box(vec![1u8; 65_536]));
    }
    behave(call)
}
