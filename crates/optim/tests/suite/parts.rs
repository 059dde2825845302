//! Several engines, each with a part of the parameters, are one.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{Net, PATHS, gradients, mixed_rules, net, registered, weights};
use burn::tensor::DType;
use evenburn_optim::{Clip, Composition, Engine, OptimError, StepReport};

const PARTS: usize = 3;

fn owned(part: usize) -> BTreeSet<String> {
    let own = PATHS.iter().skip(part).step_by(PARTS);
    own.map(ToString::to_string).collect()
}

fn whole() -> Engine {
    Engine::new(mixed_rules(Composition::muon()), Clip::All { max: 0.5 })
}

fn part(number: usize) -> Engine {
    let mut engine = whole();
    engine.restrict_to(owned(number));
    engine
}

/// A step of all parts: what each has found, and what it makes of its own parameters.
fn step(
    model: &Net,
    engines: &mut [Engine],
    seed: u64,
) -> (BTreeMap<String, Vec<f64>>, StepReport) {
    let (_, all) = gradients(model, seed, 1.0);
    let own = |number: usize| {
        let mut own = all.clone();
        own.retain(|path, _| owned(number).contains(path));
        registered(model, &own)
    };
    let mut squares = BTreeMap::new();
    for (number, engine) in engines.iter().enumerate() {
        squares.extend(engine.squares(model, &own(number)).unwrap());
    }
    let report = engines[0].report(model, &squares).unwrap();
    let mut after = BTreeMap::new();
    for (number, engine) in engines.iter_mut().enumerate() {
        let stepped = engine
            .apply(model.clone(), own(number), &report, 0.5)
            .unwrap();
        let (own, before) = (owned(number), weights(model));
        for (path, values) in weights(&stepped) {
            if own.contains(&path) {
                after.insert(path, values);
            } else {
                assert_eq!(values, before[&path], "{path} is another's");
            }
        }
    }
    (after, report)
}

#[test]
fn parts_step_as_one_to_the_last_bit() {
    let mut model = net(1, DType::F32);
    let mut one = whole();
    let mut engines: Vec<Engine> = (0..PARTS).map(part).collect();
    for seed in 2..6 {
        let (after, report) = step(&model, &mut engines, seed);
        let (grads, _) = gradients(&model, seed, 1.0);
        let (stepped, expected) = one.step(model, grads, 0.5).unwrap();
        assert_eq!(report, expected);
        assert_eq!(after, weights(&stepped));
        model = stepped;
    }
    // Each has the state of its own, and together they have that of one.
    let mut states: Vec<_> = engines.iter().flat_map(Engine::state).collect();
    states.sort_by(|(a, _), (b, _)| a.rsplit_once('/').cmp(&b.rsplit_once('/')));
    assert_eq!(states, one.state());
    let mut counts = engines[0].counts();
    for engine in &engines {
        counts.parameters.extend(engine.counts().parameters);
    }
    assert_eq!(counts, one.counts());

    // They go on from the state of one, too.
    for (number, engine) in engines.iter_mut().enumerate() {
        let mut loaded = part(number);
        let mut counts = one.counts();
        counts
            .parameters
            .retain(|path, _| owned(number).contains(path));
        let mut state = one.state();
        state.retain(|(name, _)| owned(number).contains(name.rsplit_once('/').unwrap().0));
        loaded.load_state(&model, state, &counts).unwrap();
        *engine = loaded;
    }
    let (after, _) = step(&model, &mut engines, 9);
    let (grads, _) = gradients(&model, 9, 1.0);
    let (stepped, _) = one.step(model, grads, 0.5).unwrap();
    assert_eq!(after, weights(&stepped));
}

#[test]
fn what_no_part_has_measured_is_missing() {
    let model = net(1, DType::F32);
    let engine = part(0);
    let (_, mut all) = gradients(&model, 2, 1.0);
    all.remove("experts");
    let squares = engine.squares(&model, &registered(&model, &all)).unwrap();
    let error = engine.report(&model, &squares).unwrap_err();
    let OptimError::MissingGradient { parameters, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(parameters, ["experts"]);
    let mut squares = squares;
    squares.insert("experts".to_owned(), f64::NAN);
    let error = engine.report(&model, &squares).unwrap_err();
    assert!(
        matches!(&error, OptimError::NonFiniteGradient { parameter, .. } if parameter == "experts"),
        "{error}"
    );
}

/// An engine that has stepped gives away what isn't its own.
#[test]
fn a_restriction_drops_the_state_of_others() {
    let model = net(1, DType::F32);
    let mut engine = whole();
    let (grads, _) = gradients(&model, 2, 1.0);
    let _ = engine.step(model, grads, 1.0).unwrap();
    engine.restrict_to(owned(1));
    let paths: BTreeSet<String> = engine.counts().parameters.into_keys().collect();
    assert_eq!(paths, owned(1));
}
