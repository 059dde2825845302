//! The factor of every shape at the first, last-of-warm-up, first-after and last step.

use evenburn_optim::{Cooldown, Descent, Schedule, ScheduleError, Shape, Warmup};

const TOTAL: u64 = 20;
const WARMUP: u64 = 4;

fn schedule(shape: Shape, final_fraction: f64) -> Schedule {
    Schedule {
        shape,
        warmup: Warmup::Steps(WARMUP),
        final_fraction,
    }
}

fn assert_factors(schedule: Schedule, expected: &[(u64, f64)]) {
    schedule.check(TOTAL).unwrap();
    for &(step, factor) in expected {
        let found = schedule.factor(step, TOTAL);
        assert!(
            (found - factor).abs() < 1e-15,
            "{schedule:?} at {step}: {found}, not {factor}"
        );
    }
}

#[test]
fn linear() {
    assert_factors(
        schedule(Shape::Linear, 0.0),
        &[
            (0, 0.2),
            (3, 0.8),
            (4, 1.0),
            (12, 0.5),
            (19, 1.0 / 16.0),
            (20, 0.0),
            (99, 0.0),
        ],
    );
    assert_factors(
        schedule(Shape::Linear, 0.1),
        &[
            (0, 0.2),
            (4, 1.0),
            (12, 0.55),
            (19, 0.1 + 0.9 / 16.0),
            (20, 0.1),
        ],
    );
}

#[test]
fn constant() {
    assert_factors(
        schedule(Shape::Constant, 0.0),
        &[(0, 0.2), (3, 0.8), (4, 1.0), (19, 1.0)],
    );
}

#[test]
fn cosine() {
    let last = 0.5 * (1.0 + (std::f64::consts::PI * 15.0 / 16.0).cos());
    assert_factors(
        schedule(Shape::Cosine, 0.0),
        &[
            (0, 0.2),
            (3, 0.8),
            (4, 1.0),
            (12, 0.5),
            (19, last),
            (20, 0.0),
        ],
    );
    assert_factors(
        schedule(Shape::Cosine, 0.1),
        &[(4, 1.0), (12, 0.55), (19, 0.1 + 0.9 * last)],
    );
}

fn wsd(decay_fraction: f64, descent: Descent) -> Shape {
    Shape::Wsd {
        decay_fraction,
        descent,
    }
}

#[test]
fn warmup_stable_decay() {
    // Down over 8 steps from step 12 on.
    let rows = |at_13: f64, at_16: f64, last: f64| {
        [
            (0, 0.2),
            (3, 0.8),
            (4, 1.0),
            (11, 1.0),
            (12, 1.0),
            (13, at_13),
            (16, at_16),
            (19, last),
            (20, 0.0),
        ]
    };
    let linear = wsd(0.4, Descent::Linear);
    assert_factors(schedule(linear, 0.0), &rows(0.875, 0.5, 0.125));
    assert_factors(schedule(linear, 0.2), &[(12, 1.0), (19, 0.3), (20, 0.2)]);
    let cosine = |p: f64| 0.5 * (1.0 + (std::f64::consts::PI * p).cos());
    assert_factors(
        schedule(wsd(0.4, Descent::Cosine), 0.0),
        &rows(cosine(0.125), 0.5, cosine(0.875)),
    );
    let root = |p: f64| 1.0 - p.sqrt();
    let one_minus_sqrt = wsd(0.4, Descent::OneMinusSqrt);
    assert_factors(
        schedule(one_minus_sqrt, 0.0),
        &rows(root(0.125), root(0.5), root(0.875)),
    );
    assert_factors(
        schedule(one_minus_sqrt, 0.2),
        &[(12, 1.0), (16, 0.2 + 0.8 * root(0.5)), (20, 0.2)],
    );
}

#[test]
fn inverse_sqrt() {
    assert_factors(
        schedule(Shape::InverseSqrt, 0.0),
        &[
            (0, 0.2),
            (3, 0.8),
            (4, 1.0),
            (5, (5f64 / 6.0).sqrt()),
            (19, 0.5),
        ],
    );
    assert_factors(
        schedule(Shape::InverseSqrt, 0.1),
        &[(3, 0.8), (4, 1.0), (19, 0.1 + 0.9 * 0.5)],
    );
}

#[test]
fn a_decay_started_by_hand() {
    let cooldown = |start, descent| Cooldown {
        start,
        steps: 4,
        descent,
    };
    let factors = |cooldown: Cooldown, schedule: Schedule, expected: &[(u64, f64)]| {
        for &(step, factor) in expected {
            let found = cooldown.factor(&schedule, step, TOTAL);
            assert!(
                (found - factor).abs() < 1e-15,
                "{step}: {found}, not {factor}"
            );
        }
    };
    let constant = schedule(Shape::Constant, 0.0);
    let linear = cooldown(10, Descent::Linear);
    assert_eq!(linear.end(), 14);
    factors(
        linear,
        constant,
        &[
            (0, 0.2),
            (3, 0.8),
            (4, 1.0),
            (9, 1.0),
            (10, 1.0),
            (11, 0.75),
            (13, 0.25),
            (14, 0.0),
            (19, 0.0),
        ],
    );
    factors(
        cooldown(10, Descent::OneMinusSqrt),
        constant,
        &[(10, 1.0), (11, 0.5), (13, 1.0 - 0.75f64.sqrt())],
    );
    // From where the schedule had come to, down to its final fraction.
    factors(
        linear,
        schedule(Shape::Linear, 0.1),
        &[
            (9, 0.1 + 0.9 * 11.0 / 16.0),
            (10, 0.6625),
            (12, 0.1 + 0.5625 / 2.0),
            (14, 0.1),
        ],
    );
    // Started in the warm-up, it goes down from there.
    factors(
        cooldown(1, Descent::Linear),
        constant,
        &[(0, 0.2), (1, 0.4), (3, 0.2), (5, 0.0)],
    );
}

#[test]
fn warmup_as_a_fraction_and_none_at_all() {
    let fraction = Schedule {
        warmup: Warmup::Fraction(0.2),
        ..schedule(Shape::Linear, 0.0)
    };
    for step in 0..TOTAL {
        let steps = schedule(Shape::Linear, 0.0);
        assert_eq!(
            fraction.factor(step, TOTAL).to_bits(),
            steps.factor(step, TOTAL).to_bits()
        );
    }
    let none = Schedule {
        warmup: Warmup::Steps(0),
        ..schedule(Shape::Linear, 0.0)
    };
    assert_factors(none, &[(0, 1.0), (10, 0.5), (19, 0.05)]);
    // A run of one step takes it at the full rate.
    let default = Schedule::default();
    default.check(1).unwrap();
    assert!((default.factor(0, 1) - 1.0).abs() < 1e-15);
}

#[test]
fn schedules_that_do_not_fit_are_errors() {
    let warmup = |steps| Schedule {
        warmup: Warmup::Steps(steps),
        ..Schedule::default()
    };
    assert!(warmup(19).check(20).is_ok());
    assert_eq!(
        warmup(20).check(20),
        Err(ScheduleError::WarmupTooLong {
            warmup: 20,
            total: 20
        })
    );
    assert_eq!(Schedule::default().check(0), Err(ScheduleError::NoSteps));
    assert_eq!(
        schedule(wsd(0.9, Descent::Linear), 0.0).check(20),
        Err(ScheduleError::Overlap {
            warmup: 4,
            decay: 18,
            total: 20
        })
    );
    for bad in [-0.1, 1.5, f64::NAN] {
        assert!(schedule(Shape::Linear, bad).check(20).is_err());
        assert!(schedule(wsd(bad, Descent::Linear), 0.0).check(20).is_err());
        let fraction = Schedule {
            warmup: Warmup::Fraction(bad),
            ..Schedule::default()
        };
        assert!(fraction.check(20).is_err());
        // Not a panic either, and a number.
        for step in [0, 5, 20] {
            assert!(!fraction.factor(step, 20).is_nan());
        }
    }
}
