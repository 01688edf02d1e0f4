//! Golden vectors and kept state.

use selvedge_build::{linear, module};
use selvedge_decision::Fault;
use selvedge_decision::vector::Vector;
use selvedge_host::VectorMismatch;
use selvedge_prebuilt::{HERO_RULES, hostile};

use crate::{host, load, small};

fn vector(shared: f64, candidates: &[f64], outputs: &[f64]) -> Vector {
    Vector {
        shared: vec![shared],
        candidates: candidates.to_vec(),
        count: candidates.len() as u32,
        outputs: outputs.to_vec(),
    }
}

#[test]
fn a_linear_model_answers_its_golden_vectors_bit_for_bit() {
    let text = r#"
        link = "logistic"
        intercept = -1.25
        rows = 300
        [[input]]
        name = "user.age"
        scope = "shared"
        type = "number"
        weight = 0.031
        [[input]]
        name = "user.taste"
        scope = "shared"
        type = "vector"
        weights = [0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8, 0.9, -1.0, 1.1]
        [[input]]
        name = "item.category"
        scope = "candidate"
        type = "symbol"
        weights = { shoes = 0.7, bags = -0.3 }
        other = 0.11
        missing = { default = "bags" }
        [[input]]
        name = "item.sale"
        scope = "candidate"
        type = "flag"
        weight = 0.4
    "#;
    let bytes = linear::build("modules/m.linear.toml", text.as_bytes()).unwrap();
    let file = module::open(&bytes).unwrap();
    assert_eq!(file.vectors.len(), 8);
    assert_eq!((file.manifest.name.as_str(), file.manifest.limits.rows), ("m", 300));
    let module = host().load(&bytes, &file.manifest).unwrap();
    assert_eq!(module.check_vectors(&file.vectors), Ok(()));
    assert_eq!(module.check_keeps_no_state(&file.vectors), Ok(()));
    let mut wrong = file.vectors;
    wrong[5].outputs[1] = f64::from_bits(wrong[5].outputs[1].to_bits() + 1);
    let found = module.check_vectors(&wrong).unwrap_err();
    assert!(matches!(found, VectorMismatch::Value { index: 5, at: 1, .. }), "{found}");
}

#[test]
fn a_guest_that_carries_its_manifest_is_sealed_and_answers() {
    let bytes = module::seal_guest(HERO_RULES, &[]).unwrap();
    let file = module::open(&bytes).unwrap();
    let module = host().load(&bytes, &file.manifest).unwrap();
    let vectors = [Vector {
        shared: vec![],
        candidates: vec![0.9, 1.0, 0.9, 0.0, f64::NAN, f64::NAN],
        count: 3,
        outputs: vec![1.0, 1.1, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, f64::NAN],
    }];
    assert_eq!(module.check_keeps_no_state(&vectors), Ok(()));
}

#[test]
fn kept_state_is_found_although_fresh_instances_answer_right() {
    let vectors = [vector(0.0, &[1.0], &[2.0]), vector(0.0, &[5.0, 6.0], &[6.0, 7.0])];
    let module = load(hostile::KEEPS_STATE, &small());
    assert_eq!(module.check_vectors(&vectors), Ok(()));
    let found = module.check_keeps_no_state(&vectors).unwrap_err();
    assert!(matches!(found, VectorMismatch::KeepsState(_)), "{found}");
    assert_eq!(load(hostile::WELL_BEHAVED, &small()).check_keeps_no_state(&vectors), Ok(()));
}

#[test]
fn a_kept_instance_takes_any_number_of_large_calls() {
    // 100 rows are all it is sized for: the arena has to rewind after each.
    let numbers = vec![1.0; 100];
    let vectors = vec![vector(0.0, &numbers, &[2.0; 100]); 1000];
    assert_eq!(load(hostile::WELL_BEHAVED, &small()).check_keeps_no_state(&vectors), Ok(()));
}

#[test]
fn a_fault_on_a_golden_vector_is_told() {
    let module = load(hostile::TRAP, &small());
    let vectors = [vector(0.0, &[1.0], &[2.0]), vector(1.0, &[1.0], &[2.0])];
    assert_eq!(module.check_vectors(&vectors), Err(VectorMismatch::Fault { index: 1, fault: Fault::Trap }));
}
