//! Every hostile guest: the right fault in time, and the next call is unharmed.

use std::time::{Duration, Instant};

use selvedge_decision::Fault;
use selvedge_prebuilt::hostile;

use crate::{AMPLE, load, small};

/// Provokes a guest between two calls that must not notice.
#[track_caller]
fn check(guest: &[u8], shared: f64, budget: Duration, expected: Result<Vec<f64>, Fault>) {
    let module = load(guest, &small());
    for _ in 0..3 {
        assert_eq!(module.evaluate(&[0.0], &[1.0, 2.0], 2, AMPLE), Ok(vec![2.0, 3.0]));
        let found = module.evaluate(&[shared], &[1.0, 2.0], 2, budget);
        let bits =
            |found: Result<Vec<f64>, Fault>| found.map(|row| row.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        assert_eq!(bits(found), bits(expected.clone()));
    }
    assert_eq!(module.evaluate(&[0.0], &[1.0, 2.0], 2, AMPLE), Ok(vec![2.0, 3.0]));
}

#[test]
fn trap() {
    check(hostile::TRAP, 1.0, AMPLE, Err(Fault::Trap));
}

#[test]
fn stack_overflow() {
    check(hostile::STACK_OVERFLOW, 1.0, AMPLE, Err(Fault::Trap));
}

#[test]
fn memory_bomb() {
    check(hostile::MEMORY_BOMB, 1.0, AMPLE, Err(Fault::Memory));
}

#[test]
fn huge_output() {
    check(hostile::HUGE_OUTPUT, 1.0, AMPLE, Err(Fault::BadOutput));
    // What does not even fit into the memory it was sized for.
    check(hostile::HUGE_OUTPUT, 80.0, AMPLE, Err(Fault::Memory));
}

#[test]
fn huge_output_of_a_guest_with_much_memory() {
    let mut manifest = small();
    manifest.limits.memory_bytes = 16 << 20;
    let module = load(hostile::HUGE_OUTPUT, &manifest);
    assert_eq!(module.evaluate(&[80.0], &[1.0], 1, AMPLE), Err(Fault::BadOutput));
    assert_eq!(module.evaluate(&[0.0], &[1.0], 1, AMPLE), Ok(vec![2.0]));
}

#[test]
fn wrong_length() {
    check(hostile::WRONG_LENGTH, 1.0, AMPLE, Err(Fault::BadOutput));
    check(hostile::WRONG_LENGTH, -1.0, AMPLE, Err(Fault::BadOutput));
}

#[test]
fn refuses() {
    check(hostile::REFUSES, 1.0, AMPLE, Err(Fault::Refused));
}

#[test]
fn nan_is_passed_on_for_the_decision_core_to_judge() {
    check(hostile::NAN, 1.0, AMPLE, Ok(vec![f64::NAN; 2]));
}

#[test]
fn endless_loop() {
    check(hostile::ENDLESS_LOOP, 1.0, Duration::from_millis(2), Err(Fault::Deadline));
}

#[test]
fn a_deadline_is_never_early_and_little_late() {
    let module = load(hostile::ENDLESS_LOOP, &small());
    let budget = Duration::from_millis(3);
    let mut late: Vec<Duration> = (0..50)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(module.evaluate(&[1.0], &[], 0, budget), Err(Fault::Deadline));
            start.elapsed().checked_sub(budget).expect("stopped before its deadline")
        })
        .collect();
    late.sort();
    // The median: on a busy machine the ticker itself may wait for a core now and then.
    assert!(late[25] < Duration::from_millis(2), "overshoot, sorted: {late:?}");
}

#[test]
fn no_time_left_is_a_deadline() {
    let module = load(hostile::WELL_BEHAVED, &small());
    assert_eq!(module.evaluate(&[0.0], &[1.0], 1, Duration::ZERO), Err(Fault::Deadline));
}

#[test]
fn state_does_not_survive_a_call() {
    let module = load(hostile::KEEPS_STATE, &small());
    for _ in 0..100 {
        assert_eq!(module.evaluate(&[0.0], &[1.0, 2.0], 2, AMPLE), Ok(vec![2.0, 3.0]));
    }
}

#[test]
fn one_guest_s_faults_leave_the_others_alone() {
    let guests = [hostile::TRAP, hostile::MEMORY_BOMB, hostile::ENDLESS_LOOP, hostile::STACK_OVERFLOW];
    let guests = guests.map(|guest| load(guest, &small()));
    let well = load(hostile::WELL_BEHAVED, &small());
    std::thread::scope(|scope| {
        for guest in &guests {
            scope.spawn(move || {
                for _ in 0..20 {
                    assert!(guest.evaluate(&[1.0], &[1.0], 1, Duration::from_millis(2)).is_err());
                }
            });
        }
        for thread in 0..2 {
            let well = &well;
            scope.spawn(move || {
                for call in 0..500 {
                    let number = f64::from(thread * 1000 + call);
                    assert_eq!(well.evaluate(&[0.0], &[number], 1, AMPLE), Ok(vec![number + 1.0]));
                }
            });
        }
    });
}
