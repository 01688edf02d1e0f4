//! 100 trees of depth 6 over a shared row of 1,000 numbers: one score for all candidates.

use selvedge_bench_guests::Forest;
use selvedge_guest::Call;

selvedge_guest::export!(evaluate);

static FOREST: Forest<100> = Forest::new(1000, 0x7ee5);

/// The same score for every candidate.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    if call.shared().len() != 1000 {
        return Err("1,000 shared columns are needed".into());
    }
    Ok(vec![FOREST.score(call.shared()); call.count()])
}
