//! 100 trees of depth 6 over 100 numbers a candidate: the work of ranking a listing page.

use selvedge_bench_guests::Forest;
use selvedge_guest::Call;

selvedge_guest::export!(evaluate);

static FOREST: Forest<100> = Forest::new(100, 0x4a9c);

/// A score a candidate.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    if call.candidates().len() != 100 * call.count() {
        return Err("100 columns a candidate are needed".into());
    }
    Ok(call.rows().map(|row| FOREST.score(row)).collect())
}
