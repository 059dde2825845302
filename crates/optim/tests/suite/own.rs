//! Update rules of one's own in the engine.

use std::collections::BTreeMap;

use crate::common::{Net, PATHS, gradients, net, rule, weights};
use burn::tensor::{DType, Tensor};
use evenburn_geometry::{Axis, Constraint};
use evenburn_optim::{
    Clip, Composition, Engine, GradientSpace, Momentum, OptimError, ParamState, Rule, StateTensor,
    StepInfo, Update, UpdateError, UpdateRule,
};

/// Muon's momentum as a step, and the count of steps in a state of another shape.
#[derive(Debug, Clone, Copy)]
struct Plain {
    beta: f64,
}

impl UpdateRule for Plain {
    fn describe(&self) -> String {
        format!("plain({})", self.beta)
    }

    fn check(&self, shape: &[usize]) -> Result<(), String> {
        match shape {
            [_, _, _, ..] => Err(format!("it has never seen {shape:?}")),
            _ => Ok(()),
        }
    }

    fn init(&self, shape @ [n, ..]: [usize; 3]) -> Vec<StateTensor> {
        vec![("m", shape), ("steps", [n, 1, 1])]
    }

    fn step(
        &self,
        weights: Tensor<3>,
        gradient: Tensor<3>,
        state: &mut ParamState,
        info: &StepInfo,
    ) -> Result<Tensor<3>, UpdateError> {
        let fresh = gradient.mul_scalar(1.0 - self.beta);
        let m = state.update("m", |m| m.mul_scalar(self.beta).add(fresh.clone()));
        state.update("steps", |steps| steps.add_scalar(1.0));
        let ahead = m.mul_scalar(self.beta).add(fresh);
        Ok(info.decayed(weights).sub(ahead.mul_scalar(info.rate)))
    }
}

fn rules(update: &Update, decay: f64, constraint: Constraint) -> BTreeMap<String, Rule> {
    let rule = Rule {
        constraint,
        ..rule(update.clone(), 0.05, decay)
    };
    let paths = PATHS.iter().filter(|path| **path != "experts");
    let mut rules: BTreeMap<String, Rule> = paths
        .map(|path| ((*path).to_owned(), rule.clone()))
        .collect();
    for (path, rule) in &mut rules {
        if path.ends_with("gain") {
            rule.constraint = Constraint::Free;
        }
    }
    rules.insert(
        "experts".to_owned(),
        crate::common::rule(Composition::muon(), 0.02, decay),
    );
    rules
}

fn stepped(engine: &mut Engine, mut model: Net, steps: std::ops::Range<u64>) -> Net {
    for step in steps {
        let (grads, _) = gradients(&model, step, 3.0);
        model = engine.step(model, grads, 0.7).unwrap().0;
    }
    model
}

/// Clip, rate, decay, constraint and the part of the gradient reach it as they reach a composition of parts.
#[test]
fn a_rule_of_ones_own_equals_the_composition_that_says_the_same() {
    let momentum = Composition {
        shaping: evenburn_optim::Shaping::None,
        scaling: evenburn_optim::Scaling::One,
        ..Composition::muon()
    };
    let beta = Momentum::default().beta;
    let unit = Constraint::Unit { along: Axis::Out };
    for (constraint, gradient) in [
        (Constraint::Free, GradientSpace::Ambient),
        (unit, GradientSpace::Ambient),
        (unit, GradientSpace::Tangent),
    ] {
        let trained = |update: Update| {
            let rules = rules(&update.with_gradient(gradient), 0.1, constraint);
            let mut engine = Engine::new(rules, Clip::All { max: 1.0 });
            weights(&stepped(&mut engine, net(5, DType::F64), 0..6))
        };
        let own = trained(Update::own(Plain { beta }));
        let parts = trained(momentum.into());
        for (path, own) in &own {
            let error = crate::common::largest_error(own, &parts[path]);
            assert!(error < 1e-14, "{path} {constraint} {gradient:?}: {error:e}");
        }
    }
}

#[test]
fn its_state_is_saved_by_name_and_goes_on_bit_for_bit() {
    let rules = rules(&Update::own(Plain { beta: 0.8 }), 0.1, Constraint::Free);
    let mut engine = Engine::new(rules.clone(), Clip::None);
    let half = stepped(&mut engine, net(6, DType::F32), 0..3);
    let state = engine.state();
    let names: Vec<&str> = state.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"embed.weight/m") && names.contains(&"embed.weight/steps"));
    let (_, steps) = state
        .iter()
        .find(|(name, _)| name == "head.weight/steps")
        .unwrap();
    assert_eq!(steps.iter::<f64>().collect::<Vec<_>>(), [3.0]);

    let mut reloaded = Engine::new(rules.clone(), Clip::None);
    reloaded
        .load_state(&half, state.clone(), &engine.counts())
        .unwrap();
    let straight = stepped(&mut engine, half.clone(), 3..6);
    let resumed = stepped(&mut reloaded, half.clone(), 3..6);
    assert_eq!(weights(&straight), weights(&resumed));

    // A rule that keeps something else doesn't take it.
    let adam = Composition::adam(evenburn_optim::Adam::default());
    let mut other = Engine::new(self::rules(&adam.into(), 0.1, Constraint::Free), Clip::None);
    let error = other
        .load_state(&half, state, &engine.counts())
        .unwrap_err();
    assert!(matches!(error, OptimError::StateMismatch { .. }), "{error}");
}

#[test]
fn what_it_cannot_train_is_an_error_before_any_step() {
    let mut rules = rules(&Update::own(Plain { beta: 0.8 }), 0.0, Constraint::Free);
    let own = rules["embed.weight"].clone();
    assert_eq!(own.update.to_string(), "plain(0.8)");
    assert_eq!(own.update.state_len(&[7, 4]), 29);
    rules.insert("experts".to_owned(), own);
    let error = Engine::new(rules, Clip::None)
        .check(&net(1, DType::F32))
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("`experts`") && message.contains("never seen"),
        "{message}"
    );
}

/// What a faulty rule does.
#[derive(Debug, Clone, Copy)]
enum Faulty {
    TwoOfOneName,
    Fails,
    WeightsOfAnotherShape,
    StateOfAnotherShape,
    StateOfAnotherFormat,
}

impl UpdateRule for Faulty {
    fn describe(&self) -> String {
        format!("{self:?}")
    }

    fn init(&self, shape: [usize; 3]) -> Vec<StateTensor> {
        match self {
            Self::TwoOfOneName => vec![("m", shape), ("m", [1, 1, 1])],
            _ => vec![("m", shape)],
        }
    }

    fn step(
        &self,
        weights: Tensor<3>,
        _: Tensor<3>,
        state: &mut ParamState,
        _: &StepInfo,
    ) -> Result<Tensor<3>, UpdateError> {
        match self {
            Self::TwoOfOneName => {}
            Self::Fails => return Err("the device is gone".into()),
            Self::WeightsOfAnotherShape => return Ok(weights.sum_dim(2)),
            Self::StateOfAnotherShape => state.set("m", weights.clone().sum_dim(2)),
            Self::StateOfAnotherFormat => state.set("m", weights.clone().cast(DType::F64)),
        }
        Ok(weights)
    }
}

#[test]
fn a_faulty_rule_is_an_error_that_names_the_parameter() {
    for (faulty, why) in [
        (Faulty::Fails, "the device is gone"),
        (Faulty::WeightsOfAnotherShape, "the weights came back as"),
        (Faulty::StateOfAnotherShape, "state `m` came back as"),
        (Faulty::StateOfAnotherFormat, "F64"),
    ] {
        let rules = rules(&Update::own(faulty), 0.0, Constraint::Free);
        let mut engine = Engine::new(rules, Clip::None);
        let model = net(1, DType::F32);
        let (grads, _) = gradients(&model, 0, 1.0);
        let error = engine.step(model, grads, 1.0).unwrap_err();
        let OptimError::Update {
            step: 0,
            parameter,
            reason,
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(parameter, PATHS[0]);
        assert!(reason.contains(why), "{reason}");
    }
    let rules = rules(&Update::own(Faulty::TwoOfOneName), 0.0, Constraint::Free);
    let error = Engine::new(rules, Clip::None)
        .check(&net(1, DType::F32))
        .unwrap_err();
    assert!(
        error.to_string().contains("two tensors called `m`"),
        "{error}"
    );
}
