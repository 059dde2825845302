//! The engine around the recipes: rules, gradients, clipping, constraints, what it keeps.

use crate::common::{
    Net, Numbers, PATHS, adamw_rules, engine, gradients, largest_error, mixed_rules, net, norm,
    rule, tensor, values, weights,
};
use burn::module::{Module, Param};
use burn::nn;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{DType, Device, Tensor};
use evenburn_geometry::{Axis, Constraint, l2_norm_along};
use evenburn_optim::{Adam, Clip, Composition, Engine, OptimError, Scaling, Shaping};

#[test]
fn paths_are_the_names_on_the_way() {
    let engine = engine(adamw_rules(1e-3, 0.0));
    engine.check(&net(1, DType::F32)).unwrap();
    assert_eq!(engine.rules().len(), PATHS.len());
}

#[test]
fn rules_and_parameters_match_one_to_one() {
    let mut rules = adamw_rules(1e-3, 0.0);
    rules.remove("blocks.1.gain");
    let stray = rule(Composition::adam(Adam::default()), 1e-3, 0.0);
    rules.insert("blocks.10.gain".to_owned(), stray);
    let error = engine(rules).check(&net(1, DType::F32)).unwrap_err();
    assert_eq!(
        error,
        OptimError::RuleMismatch {
            unclaimed: vec!["blocks.1.gain".to_owned()],
            unmatched: vec!["blocks.10.gain".to_owned()],
        }
    );
    assert_eq!(
        error.to_string(),
        "parameters without a rule: blocks.1.gain; rules without a parameter: blocks.10.gain"
    );
}

#[test]
fn rules_that_cannot_train_their_parameter_are_errors() {
    let check = |path: &str, change: fn(&mut evenburn_optim::Rule)| {
        let mut rules = adamw_rules(1e-3, 0.0);
        change(rules.get_mut(path).unwrap());
        engine(rules).check(&net(1, DType::F32))
    };
    let muon = |r: &mut evenburn_optim::Rule| r.update = Composition::muon().into();
    assert!(check("experts", muon).is_ok());
    let error = check("blocks.0.gain", muon).unwrap_err();
    assert!(error.to_string().contains("trains matrices"), "{error}");
    // What keeps a norm has neither decay nor constraint.
    let error = check("head.weight", |r| {
        r.update = Composition::muon_h().into();
        r.weight_decay = 0.1;
    });
    assert!(matches!(error, Err(OptimError::Rule { parameter, .. }) if parameter == "head.weight"));
    let error = check("head.weight", |r| {
        r.update = Composition::muon_h().into();
        r.constraint = Constraint::Frobenius { radius: 1.0 };
    });
    assert!(matches!(error, Err(OptimError::Rule { parameter, .. }) if parameter == "head.weight"));
    let heads = |r: &mut evenburn_optim::Rule| {
        r.update = Composition::muon().with_orthogonal(|o| o.heads = 4).into();
    };
    let error = check("head.weight", heads).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("7 outputs are not 4 equal heads"),
        "{error}"
    );
    let along_in = |r: &mut evenburn_optim::Rule| {
        r.constraint = Constraint::Unit { along: Axis::In };
    };
    assert!(check("head.weight", along_in).is_ok());
    let error = check("blocks.0.gain", along_in);
    assert!(
        matches!(error, Err(OptimError::Constraint { parameter, .. }) if parameter == "blocks.0.gain")
    );
    assert!(check("head.weight", |r| r.lr = f64::NAN).is_err());
    assert!(check("head.weight", |r| r.weight_decay = -1.0).is_err());
    assert!(
        check("head.weight", |r| r.update = Composition::adam(Adam {
            beta2: 1.0,
            ..Adam::default()
        })
        .into())
        .is_err()
    );
}

#[test]
fn a_tied_parameter_has_one_owner() {
    let mut model = net(1, DType::F32);
    model.blocks[1].up = model.blocks[0].up.clone();
    assert_eq!(
        engine(adamw_rules(1e-3, 0.0)).check(&model),
        Err(OptimError::SharedParameter {
            first: "blocks.0.up.weight".to_owned(),
            second: "blocks.1.up.weight".to_owned(),
        })
    );
}

#[test]
fn clipping_is_by_the_norm_of_all_gradients() {
    for (scale, max) in [(0.1, 1.0), (3.0, 1.0), (3.0, 0.25)] {
        let model = net(2, DType::F64);
        let (grads, g) = gradients(&model, 4, scale);
        let expected = norm(&g);
        let engine = Engine::new(adamw_rules(1e-3, 0.0), Clip::All { max });
        let report = engine.measure(&model, &grads).unwrap();
        assert!((report.grad_norm / expected - 1.0).abs() < 1e-14);
        let clip = (max / (expected + 1e-6)).min(1.0);
        assert!((report.clip_factor() - clip).abs() < 1e-14);
        let unclipped = Engine::new(adamw_rules(1e-3, 0.0), Clip::None);
        let report = unclipped.measure(&model, &grads).unwrap();
        assert_eq!(report.clip_factor().to_bits(), 1f64.to_bits());
    }
}

#[test]
fn groups_are_clipped_by_their_own_norms() {
    let mut rules = adamw_rules(1e-3, 0.0);
    for (path, rule) in &mut rules {
        rule.group = if path.starts_with("blocks") {
            "blocks"
        } else {
            "rest"
        }
        .to_owned();
        // A step that shows the size of its gradient.
        rule.update = Composition {
            shaping: Shaping::None,
            ..Composition::scion_sign(Scaling::One)
        }
        .into();
    }
    let model = net(2, DType::F64);
    let (grads, g) = gradients(&model, 4, 3.0);
    let of = |blocks: bool| {
        let own = g
            .iter()
            .filter(|(path, _)| path.starts_with("blocks") == blocks);
        norm(&own.map(|(path, g)| (path.clone(), g.clone())).collect())
    };
    let mut engine = Engine::new(rules, Clip::Groups { max: 1.0 });
    let before = weights(&model);
    let (model, report) = engine.step(model, grads, 1.0).unwrap();
    assert!((report.grad_norm / norm(&g) - 1.0).abs() < 1e-14);
    for (path, after) in weights(&model) {
        let blocks = path.starts_with("blocks");
        let name = if blocks { "blocks" } else { "rest" };
        let factor = 1.0 / (of(blocks) + 1e-6);
        assert!((report.groups[name].grad_norm / of(blocks) - 1.0).abs() < 1e-14);
        assert!((report.groups[name].clip_factor / factor - 1.0).abs() < 1e-14);
        let expected: Vec<f64> = before[&path]
            .iter()
            .zip(&g[&path])
            .map(|(w, g)| w - 1e-3 * 0.1 * factor * g)
            .collect();
        assert!(largest_error(&after, &expected) < 1e-15, "{path}");
    }
}

#[test]
fn bad_gradients_change_nothing() {
    let mut engine = engine(mixed_rules(Composition::muon()));
    let (grads, _) = gradients(&net(2, DType::F32), 1, 1.0);
    drop(grads);
    let model = net(2, DType::F32);
    let (grads, _) = gradients(&model, 1, 1.0);
    let (model, _) = engine.step(model, grads, 1.0).unwrap();
    let (before, state, counts) = (weights(&model), engine.state(), engine.counts());

    for bad in [f64::NAN, f64::INFINITY] {
        let (mut grads, _) = gradients(&model, 2, 1.0);
        let mut g = vec![0.1; 24];
        g[7] = bad;
        grads.register(
            model.blocks[1].down.weight.id,
            tensor(&g, [6, 4], DType::F32),
        );
        let error = engine.step(model.clone(), grads, 1.0).unwrap_err();
        assert_eq!(
            error,
            OptimError::NonFiniteGradient {
                step: 1,
                parameter: "blocks.1.down.weight".to_owned(),
            }
        );
    }

    let (mut grads, _) = gradients(&model, 2, 1.0);
    grads.remove::<1>(model.blocks[0].gain.id);
    grads.remove::<3>(model.experts.id);
    let error = engine.step(model.clone(), grads, 1.0).unwrap_err();
    assert_eq!(
        error,
        OptimError::MissingGradient {
            step: 1,
            parameters: vec!["blocks.0.gain".to_owned(), "experts".to_owned()],
        }
    );

    for (shape, dtype) in [([4, 6], DType::F32), ([6, 4], DType::F64)] {
        let (mut grads, _) = gradients(&model, 2, 1.0);
        let wrong = tensor(&[0.1; 24], shape, dtype);
        grads.register(model.blocks[1].down.weight.id, wrong);
        let error = engine.step(model.clone(), grads, 1.0).unwrap_err();
        assert!(
            matches!(error, OptimError::GradientMismatch { .. }),
            "{error}"
        );
    }

    for factor in [-1.0, f64::NAN] {
        let (grads, _) = gradients(&model, 2, 1.0);
        let error = engine.step(model.clone(), grads, factor).unwrap_err();
        assert!(matches!(error, OptimError::Factor { step: 1, .. }));
    }

    assert_eq!(weights(&model), before);
    assert_eq!(engine.counts(), counts);
    for ((name, a), (other, b)) in state.iter().zip(&engine.state()) {
        assert_eq!((name, a.as_bytes()), (other, b.as_bytes()));
    }
}

#[test]
fn frozen_parameters_are_left_alone() {
    let mut engine = engine(mixed_rules(Composition::muon()));
    let mut model = net(5, DType::F32);
    model.blocks[0].up.weight = model.blocks[0].up.weight.clone().set_require_grad(false);
    model.blocks[0].gain = model.blocks[0].gain.clone().set_require_grad(false);
    let before = weights(&model);
    let (mut grads, _) = gradients(&model, 1, 1.0);
    grads.remove::<2>(model.blocks[0].up.weight.id);
    grads.remove::<1>(model.blocks[0].gain.id);
    let (model, _) = engine.step(model, grads, 1.0).unwrap();
    for (path, w) in weights(&model) {
        let frozen = path == "blocks.0.up.weight" || path == "blocks.0.gain";
        assert_eq!(w == before[&path], frozen, "{path}");
    }
    assert_eq!(engine.counts().parameters.len(), PATHS.len() - 2);

    let error = engine.step(model, GradientsParams::new(), 1.0).unwrap_err();
    assert!(matches!(error, OptimError::MissingGradient { .. }));
}

#[test]
fn constraints_hold_after_every_step() {
    let mut rules = mixed_rules(Composition::muon());
    for (path, rule) in &mut rules {
        rule.lr = 0.5;
        rule.constraint = match path.as_str() {
            "embed.weight" => Constraint::AtMost {
                along: Axis::Out,
                radius: 1.0,
            },
            "head.weight" => Constraint::Frobenius { radius: 2.0 },
            "experts" => Constraint::AtMost {
                along: Axis::In,
                radius: 0.5,
            },
            _ if path.ends_with("up.weight") => Constraint::Unit { along: Axis::In },
            _ if path.ends_with("down.weight") => Constraint::Unit { along: Axis::Out },
            _ => Constraint::Free,
        };
    }
    let mut engine = engine(rules);
    let mut model = net(6, DType::F64);
    for step in 0..3 {
        let (grads, _) = gradients(&model, step, 1.0);
        model = engine.step(model, grads, 1.0).unwrap().0;
        let Net {
            embed,
            blocks,
            experts,
            head,
        } = &model;
        let at_most = |norms: Vec<f64>, radius: f64| {
            assert!(norms.iter().all(|&n| n <= radius + 1e-14), "{norms:?}");
            // Steps this large reach the bound.
            assert!(norms.iter().any(|&n| n > radius - 1e-14), "{norms:?}");
        };
        at_most(values(l2_norm_along(embed.weight.val(), Axis::Out)), 1.0);
        at_most(values(l2_norm_along(experts.val(), Axis::In)), 0.5);
        for block in blocks {
            for norm in values(l2_norm_along(block.up.weight.val(), Axis::In)) {
                assert!((norm - 1.0).abs() < 1e-14);
            }
            for norm in values(l2_norm_along(block.down.weight.val(), Axis::Out)) {
                assert!((norm - 1.0).abs() < 1e-14);
            }
        }
        let head = values(head.as_ref().unwrap().weight.val());
        let norm = head.iter().map(|w| w * w).sum::<f64>().sqrt();
        assert!((norm - 2.0).abs() < 1e-14);
    }
}

#[test]
fn summed_micro_batches_equal_one_batch() {
    let step = |micro: bool| {
        let mut engine = engine(mixed_rules(Composition::muon()));
        let mut model = net(8, DType::F64);
        for step in 0..3 {
            let (mut grads, _) = gradients(&model, step, 1.0);
            if micro {
                let mut sum = GradientsAccumulator::new();
                for share in [0.25, 0.75] {
                    sum.accumulate(&model, gradients(&model, step, share).0);
                }
                grads = sum.grads();
            }
            model = engine.step(model, grads, 1.0).unwrap().0;
        }
        weights(&model)
    };
    let (once, summed) = (step(false), step(true));
    for (path, w) in &once {
        assert!(largest_error(w, &summed[path]) < 1e-12, "{path}");
    }
}

#[derive(Module, Debug)]
struct Mlp {
    up: nn::Linear,
    down: nn::Linear,
}

/// A real forward and backward pass after each step: ids, gradients and the checkpointing strategy
/// must have survived, else the second pass has no gradient or panics.
#[test]
fn training_goes_on_after_a_step() {
    let plain = Device::flex().autodiff();
    for device in [plain.clone(), plain.gradient_checkpointing()] {
        let mut model = Mlp {
            up: nn::LinearConfig::new(4, 8).init(&device),
            down: nn::LinearConfig::new(8, 4).init(&device),
        };
        let numbers = &mut Numbers::new(3);
        let fill = |numbers: &mut Numbers, n: usize, w: Param<Tensor<2>>| {
            w.map(|w| {
                let all = tensor(&numbers.take(n), w.dims(), DType::F32);
                Tensor::from_inner(all)
                    .with_gradient_checkpointing_strategy(
                        w.gradient_checkpointing_strategy().unwrap(),
                    )
                    .require_grad()
            })
        };
        model.up.weight = fill(numbers, 32, model.up.weight);
        model.down.weight = fill(numbers, 32, model.down.weight);
        let ids = [model.up.weight.id, model.down.weight.id];
        let mut rules = std::collections::BTreeMap::new();
        for path in ["up.weight", "down.weight"] {
            rules.insert(path.to_owned(), rule(Composition::muon(), 0.05, 0.0));
        }
        for path in ["up.bias", "down.bias"] {
            rules.insert(
                path.to_owned(),
                rule(Composition::adam(Adam::default()), 0.01, 0.0),
            );
        }
        let mut engine = engine(rules);
        let x = Tensor::<2>::from_data([[1.0, 0.0, 0.5, -1.0], [0.0, 1.0, -0.5, 1.0]], &device);
        let mut losses = Vec::new();
        for _ in 0..30 {
            let y = model.down.forward(model.up.forward(x.clone()).tanh());
            let loss = (y - x.clone()).square().mean();
            losses.push(loss.clone().into_scalar::<f32>());
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            model = engine.step(model, grads, 1.0).unwrap().0;
        }
        assert!(losses[29] < 0.2 * losses[0], "{losses:?}");
        assert_eq!(ids, [model.up.weight.id, model.down.weight.id]);
        assert!(model.up.weight.val().is_require_grad());
        assert_eq!(
            model.up.weight.val().gradient_checkpointing_strategy(),
            x.gradient_checkpointing_strategy()
        );
    }
}
