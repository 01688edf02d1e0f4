//! What a host refuses to load or to call.

use selvedge_build::module;
use selvedge_decision::Fault;
use selvedge_host::{Host, HostConfig, LoadError};
use selvedge_prebuilt::hostile;

use crate::{AMPLE, load, manifest, sealed, small};

#[test]
fn a_module_that_needs_too_much_is_not_loaded() {
    let bytes = sealed(hostile::WELL_BEHAVED, &manifest(1, 1, &["score"], 60_000), &[]);
    let needs = module::open(&bytes).unwrap().manifest;
    let config = HostConfig { instances: 1, max_memory_bytes: 1 << 20, ..HostConfig::default() };
    let found = Host::new(config).unwrap().load(&bytes, &needs);
    assert!(matches!(found, Err(LoadError::Memory { limit: 0x10_0000, .. })), "{found:?}");
    let config = HostConfig { instances: 1, max_output_bytes: 1 << 10, ..HostConfig::default() };
    let found = Host::new(config).unwrap().load(&bytes, &needs);
    assert!(matches!(found, Err(LoadError::Output { needed: 480_000, limit: 0x400 })), "{found:?}");
}

#[test]
fn what_is_no_module_is_not_loaded() {
    let well = module::open(&sealed(hostile::WELL_BEHAVED, &small(), &[])).unwrap().manifest;
    assert!(matches!(crate::host().load(b"\0asm", &well), Err(LoadError::Compile(_))));
    assert!(matches!(crate::host().load(b"", &well), Err(LoadError::Compile(_))));
}

#[test]
fn the_largest_call_fits_and_a_larger_one_is_refused() {
    for (shared, rows) in [(1, 1), (1000, 100), (65_536, 1), (1, 65_536)] {
        let module = load(hostile::WELL_BEHAVED, &manifest(shared, 1, &["score"], rows));
        let shared = vec![0.0; shared as usize];
        let found = module.evaluate(&shared, &vec![1.0; rows as usize], rows, AMPLE);
        assert_eq!(found, Ok(vec![2.0; rows as usize]));
        let found = module.evaluate(&shared, &vec![1.0; rows as usize + 1], rows + 1, AMPLE);
        assert_eq!(found, Err(Fault::Memory));
    }
}

#[test]
fn rows_of_another_width_are_an_input_fault() {
    let module = load(hostile::WELL_BEHAVED, &small());
    assert_eq!(module.evaluate(&[], &[1.0], 1, AMPLE), Err(Fault::Input));
    assert_eq!(module.evaluate(&[0.0], &[1.0], 2, AMPLE), Err(Fault::Input));
    assert_eq!(module.evaluate(&[0.0], &[], 0, AMPLE), Ok(vec![]));
}
