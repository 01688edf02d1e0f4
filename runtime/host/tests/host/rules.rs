//! Rules as modules: what the code generator writes answers as the reference evaluation does.

use selvedge_build::{module, rules};

use crate::host;

/// Builds a file of rules, loads it and checks its golden vectors in fresh instances and in one that is kept.
fn check(file: &str, text: &str) {
    let bytes = rules::build(file, text.as_bytes()).unwrap_or_else(|bad| panic!("{bad}"));
    let opened = module::open(&bytes).unwrap();
    let loaded = host().load(&bytes, &opened.manifest).unwrap();
    assert!(opened.vectors.len() >= 32);
    loaded.check_keeps_no_state(&opened.vectors).unwrap_or_else(|mismatch| panic!("{file}: {mismatch}"));
}

#[test]
fn rules_answer_their_golden_vectors_bit_for_bit() {
    check("hero.jdm.json", include_str!("../../../../tests/cases/rules/hero.jdm.json"));
    check("boost.csv", "user.segment,item.price,> boost\nvip,[10..100),1.5\n,> 100,item.price % 7\nnot new,,1\n");
}
