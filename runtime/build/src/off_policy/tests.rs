#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn draw(weight: f64, reward: f64, person: u64) -> Draw {
    Draw { weight, reward, expected: 0.0, expected_logged: 0.0, unsupported: 0.0, person }
}

/// A uniform number, 0 to 1.
fn unit(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn estimates_are_those_of_the_formulas() {
    let mut draws = vec![draw(2.0, 1.0, 1), draw(4.0, 0.0, 2), draw(0.0, 5.0, 3)];
    let worth = Worth::of(&draws);
    assert_eq!((worth.ipw.value, worth.snips.value), (2.0 / 3.0, 2.0 / 6.0));
    assert_eq!((worth.ess, worth.mean_weight, worth.rewarded), (36.0 / 20.0, 2.0, 1));
    draws[0].expected = 0.5;
    draws[0].expected_logged = 0.25;
    // 0.5 + 2 (1 - 0.25), 0, 0.
    assert_eq!(Worth::of(&draws).doubly_robust.value, 2.0 / 3.0);
    // Influence of the mean of 1, 0, 0, 0: squares (9 + 1 + 1 + 1) / 16 / 16, times 4 / 3.
    let ones: Vec<_> = (0..4).map(|at| draw(1.0, f64::from(u8::from(at == 0)), at)).collect();
    assert_eq!(Worth::of(&ones).snips.standard_error, 0.25);
}

#[test]
fn a_persons_draws_are_one_observation() {
    let apart: Vec<_> = (0..400).map(|at| draw(1.0, f64::from((at % 2) as u8), at)).collect();
    let together: Vec<_> =
        apart.iter().map(|of| Draw { person: (of.reward as u64) + 2 * (of.person / 20), ..*of }).collect();
    let (apart, together) = (Worth::of(&apart).snips, Worth::of(&together).snips);
    assert_eq!(apart.value, together.value);
    assert!(together.standard_error > 3.0 * apart.standard_error, "{apart:?} {together:?}");
}

#[test]
fn the_same_policy_changes_nothing() {
    let draws: Vec<_> = (0..50).map(|at| draw(1.0, f64::from((at % 7) as u8), at)).collect();
    let change = Change::of(&draws, &draws);
    for of in [change.snips, change.doubly_robust] {
        assert_eq!((of.value, of.standard_error, of.low, of.high), (0.0, 0.0, 0.0, 0.0));
    }
}

#[test]
fn what_cannot_be_concluded_says_why() {
    let check = |draws: &[Draw], expected: &[&str]| {
        let told: Vec<_> = Worth::of(draws).lacks(draws, &Limits::default()).iter().map(Lack::to_string).collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        told.iter().zip(expected).for_each(|(told, expected)| assert!(told.contains(expected), "{told}"));
    };
    let good: Vec<_> = (0..2_000).map(|at| draw(1.0, f64::from(u8::from(at % 10 == 0)), at)).collect();
    check(&good, &[]);
    check(&[], &["no decisions"]);
    // A log that always chose the same, and a policy that chooses something else one time in two.
    let other =
        |of: &Draw| if of.person.is_multiple_of(2) { *of } else { Draw { weight: 0.0, unsupported: 1.0, ..*of } };
    check(&good.iter().map(other).collect::<Vec<_>>(), &["50.0 % of its choices have a logging propensity of 0"]);
    // Propensities that are wrong by half.
    check(&good.iter().map(|of| Draw { weight: 2.0, ..*of }).collect::<Vec<_>>(), &["the mean weight is 2.000"]);
    let one_counts = |of: &Draw| Draw { weight: if of.person == 0 { 1_990.0 } else { 0.005 }, ..*of };
    check(&good.iter().map(one_counts).collect::<Vec<_>>(), &["an effective sample size of 1.0"]);
    check(
        &good.iter().map(|of| Draw { person: of.person % 29, ..*of }).collect::<Vec<_>>(),
        &["decisions of 29 persons"],
    );
    check(&good.iter().map(|of| Draw { reward: 0.0, ..*of }).collect::<Vec<_>>(), &["0 decisions with a reward"]);
}

/// Five choices, chosen by the logger with 0.05 to 0.45, that earn 1 with known probabilities; the policy asked about prefers
/// other ones.
#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    const LOGGED: [f64; 5] = [0.45, 0.25, 0.15, 0.10, 0.05];
    const ASKED: [f64; 5] = [0.1, 0.1, 0.2, 0.2, 0.4];
    const EARNS: [f64; 5] = [0.05, 0.1, 0.2, 0.1, 0.3];
    let truth: f64 = ASKED.iter().zip(EARNS).map(|(asked, earns)| asked * earns).sum();
    let pick = |of: &[f64; 5], at: f64| {
        let mut sum = 0.0;
        of.iter()
            .position(|share| {
                sum += share;
                at < sum
            })
            .unwrap_or(4)
    };
    let mut random = 7;
    let (mut held, mut runs, mut errors) = ([0u32; 2], 0u32, [0.0; 2]);
    while runs < 60 {
        let seen: Vec<(usize, usize, f64)> = (0..800)
            .map(|_| {
                let (logged, asked) = (pick(&LOGGED, unit(&mut random)), pick(&ASKED, unit(&mut random)));
                (logged, asked, f64::from(u8::from(unit(&mut random) < EARNS[logged])))
            })
            .collect();
        let mut means = Means::default();
        seen.iter().enumerate().for_each(|(at, (logged, _, reward))| means.add(at as u64, *logged as u32, *reward));
        let draws: Vec<_> = seen
            .iter()
            .enumerate()
            .map(|(at, (logged, asked, reward))| Draw {
                weight: ASKED[*logged] / LOGGED[*logged],
                reward: *reward,
                expected: means.expected(at as u64, *asked as u32),
                expected_logged: means.expected(at as u64, *logged as u32),
                unsupported: 0.0,
                person: at as u64,
            })
            .collect();
        let worth = Worth::of(&draws);
        for (at, of) in [worth.snips, worth.doubly_robust].into_iter().enumerate() {
            held[at] += u32::from(of.low <= truth && truth <= of.high);
            errors[at] += (of.value - truth) * (of.value - truth);
        }
        assert_eq!(worth.lacks(&draws, &Limits::default()), []);
        runs += 1;
    }
    // 95 % of 60 is 57; the bound is four standard errors of a binomial off.
    for held in held {
        assert!((50..=60).contains(&held), "{held} of {runs}");
    }
    assert!(errors.iter().all(|error| (error / f64::from(runs)).sqrt() < 0.05), "{errors:?}");
}
