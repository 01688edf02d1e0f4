//! 20 rules of four conditions over a shared row of 40 numbers: `eligible`, `boost` and `row` for every candidate.

use selvedge_bench_guests::{Rule, rules};
use selvedge_guest::Call;

selvedge_guest::export!(evaluate);

static RULES: [Rule; 20] = rules(40, 0x4a1e);

/// The first rule that matches counts; all candidates stay eligible.
pub fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
    if call.shared().len() != 40 {
        return Err("40 shared columns are needed".into());
    }
    let matched = RULES.iter().position(|rule| rule.matches(call.shared()));
    let boost = matched.map_or(1.0, |index| RULES[index].boost);
    let row = matched.map_or(f64::NAN, |index| index as f64);
    Ok([1.0, boost, row].repeat(call.count()))
}
