//! The example guest that runs smartcore itself: what comes out of the module is what smartcore answers natively, to the bit.

use selvedge_build::module;
use selvedge_guest::Call;
use selvedge_prebuilt::SMARTCORE;
use selvedge_smartcore_guest::{evaluate, fit};

use crate::{AMPLE, host};

#[test]
fn smartcore_answers_inside_a_module_as_it_does_natively() {
    let bytes = module::seal_guest(SMARTCORE, &[]).unwrap();
    let file = module::open(&bytes).unwrap();
    let module = host().load(&bytes, &file.manifest).unwrap();
    let rows = fit::rows();
    for user in rows.iter().take(20) {
        let items: Vec<f64> = rows.iter().take(200).flat_map(|row| row[2..].to_vec()).collect();
        for count in [0, 1, 7, 200] {
            let items = &items[..2 * count];
            let found = module.evaluate(&user[..2], items, count as u32, AMPLE).unwrap();
            let expected = evaluate(Call::new(&user[..2], items, count)).unwrap();
            let bits = |scores: &[f64]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&expected), "{count} candidates");
            assert_eq!(found.len(), count);
        }
    }
}
