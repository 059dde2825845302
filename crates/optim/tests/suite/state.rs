//! State out and in again: bit for bit, or an error that says what doesn't fit.

use crate::common::{PATHS, engine, gradients, mixed_rules, net, weights};
use burn::tensor::{DType, TensorData};
use evenburn_geometry::{Axis, Constraint};
use evenburn_optim::{
    Clip, Composition, Counts, Engine, OptimConfig, OptimError, OptimizerRegistry, ParamInfo,
    ParamRole, Soap, rules,
};

fn trained(dtype: DType, steps: u64) -> (crate::common::Net, Engine) {
    let mut engine = engine(mixed_rules(Composition::muon()));
    let mut model = net(9, dtype);
    for step in 0..steps {
        let (grads, _) = gradients(&model, step, 0.3);
        model = engine.step(model, grads, 0.9).unwrap().0;
    }
    (model, engine)
}

#[test]
fn a_reloaded_engine_goes_on_bit_for_bit() {
    for dtype in [DType::F32, DType::F64] {
        let (model, mut engine) = trained(dtype, 3);
        let counts = serde_json::to_string(&engine.counts()).unwrap();
        let counts: Counts = serde_json::from_str(&counts).unwrap();
        assert_eq!(counts.step, 3);
        let mut reloaded = Engine::new(engine.rules().clone(), Clip::All { max: 1.0 });
        reloaded
            .load_state(&model, engine.state(), &counts)
            .unwrap();

        let saved = engine.state();
        assert_eq!(saved.len(), 2 * 4 + 5);
        for ((name, a), (other, b)) in saved.iter().zip(&reloaded.state()) {
            assert_eq!(name, other);
            assert_eq!((a.shape(), a.dtype()), (b.shape(), b.dtype()), "{name}");
            assert_eq!(a.as_bytes(), b.as_bytes(), "{name}");
        }

        let (mut straight, mut resumed) = (model.clone(), model);
        for step in 3..6 {
            let (grads, _) = gradients(&straight, step, 0.3);
            straight = engine.step(straight, grads, 0.9).unwrap().0;
            let (grads, _) = gradients(&resumed, step, 0.3);
            resumed = reloaded.step(resumed, grads, 0.9).unwrap().0;
        }
        assert_eq!(weights(&straight), weights(&resumed));
        assert_eq!(engine.counts(), reloaded.counts());
    }
}

/// What the paths of the net are, as a scheme without constraints has them.
fn infos() -> impl Iterator<Item = ParamInfo> {
    PATHS.iter().map(|path| {
        let role = match *path {
            "embed.weight" => ParamRole::Embedding,
            "head.weight" => ParamRole::Head,
            gain if gain.ends_with("gain") => ParamRole::Gain,
            _ => ParamRole::Matrix,
        };
        ParamInfo {
            path: (*path).to_owned(),
            role,
            constraint: Constraint::Free,
            decay: !role.is_vector(),
            stream: Axis::Out,
            heads: None,
        }
    })
}

#[test]
fn every_recipe_goes_on_bit_for_bit() {
    for recipe in OptimizerRegistry::default().recipes() {
        let name = recipe.name().to_owned();
        let mut config = OptimConfig {
            recipe,
            ..OptimConfig::default()
        };
        if name == "soap" {
            // So that bases are corrected before and behind the reload.
            let soap = Soap {
                precondition_frequency: 2,
                ..Soap::default()
            };
            config.recipe = soap.into();
        }
        let new = || Engine::new(rules(&config, infos()).unwrap(), config.clip());
        let steps = |engine: &mut Engine, model, steps: std::ops::Range<u64>| {
            steps.fold(model, |model, step| {
                let (grads, _) = gradients(&model, step, 0.3);
                engine.step(model, grads, 0.9).unwrap().0
            })
        };
        let mut engine = new();
        let half = steps(&mut engine, net(3, DType::F32), 0..4);
        let mut reloaded = new();
        reloaded
            .load_state(&half, engine.state(), &engine.counts())
            .unwrap();
        let straight = steps(&mut engine, half.clone(), 4..8);
        let resumed = steps(&mut reloaded, half.clone(), 4..8);
        assert_eq!(weights(&straight), weights(&resumed), "{name}");
        assert_ne!(weights(&straight), weights(&half), "{name}");
    }
}

#[test]
fn an_engine_before_its_first_step_has_an_empty_state() {
    let (model, engine) = trained(DType::F32, 0);
    assert!(engine.state().is_empty());
    let mut other = engine.clone();
    other
        .load_state(&model, engine.state(), &engine.counts())
        .unwrap();
}

/// Loads a changed state; the engine must not change by it.
fn load(change: impl FnOnce(&mut Vec<(String, TensorData)>, &mut Counts)) -> OptimError {
    let (model, mut engine) = trained(DType::F32, 2);
    let (mut state, mut counts) = (engine.state(), engine.counts());
    let before = (engine.state(), engine.counts());
    change(&mut state, &mut counts);
    let error = engine.load_state(&model, state, &counts).unwrap_err();
    assert_eq!(engine.counts(), before.1);
    for ((name, a), (other, b)) in engine.state().iter().zip(&before.0) {
        assert_eq!((name, a.as_bytes()), (other, b.as_bytes()));
    }
    error
}

#[test]
fn state_that_does_not_fit_is_an_error_that_lists_it() {
    let error = load(|state, _| {
        state.retain(|(name, _)| name != "head.weight/v" && name != "experts/m");
        state.push(("nothing/m".to_owned(), TensorData::zeros::<f32, _>([2])));
    });
    assert_eq!(
        error,
        OptimError::StateMismatch {
            missing: vec!["experts/m".to_owned(), "head.weight/v".to_owned()],
            unexpected: vec!["nothing/m".to_owned()],
        }
    );

    let error = load(|_, counts| {
        counts.parameters.remove("experts");
        counts.parameters.insert("nothing".to_owned(), 2);
    });
    assert_eq!(
        error,
        OptimError::StateMismatch {
            missing: vec!["the step count of experts".to_owned()],
            unexpected: vec![
                "experts/m".to_owned(),
                "the step count of nothing".to_owned()
            ],
        }
    );

    let transposed = load(|state, _| {
        let (_, data) = state
            .iter_mut()
            .find(|(n, _)| n == "head.weight/m")
            .unwrap();
        *data = TensorData::zeros::<f32, _>([7, 4]);
    });
    assert_eq!(
        transposed.to_string(),
        "optimizer state `head.weight/m` is [7, 4] F32, not [4, 7] F32"
    );
    let wider = load(|state, _| {
        let (_, data) = state
            .iter_mut()
            .find(|(n, _)| n == "head.weight/m")
            .unwrap();
        *data = TensorData::zeros::<f64, _>([4, 7]);
    });
    assert!(matches!(wider, OptimError::StateShape { .. }));

    let twice = load(|state, _| state.push(state[0].clone()));
    assert!(matches!(twice, OptimError::DuplicateParameter { .. }));
}

#[test]
fn state_of_another_recipe_is_refused() {
    let (model, engine) = trained(DType::F32, 1);
    let mut other = Engine::new(crate::common::adamw_rules(1e-3, 0.0), Clip::None);
    let error = other
        .load_state(&model, engine.state(), &engine.counts())
        .unwrap_err();
    let OptimError::StateMismatch { missing, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(missing.len(), 5);
    assert!(missing.iter().all(|name| name.ends_with("/v")));
}
