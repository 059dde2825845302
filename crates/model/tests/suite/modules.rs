//! The parts that compute against their formulas, on numbers small enough to work out by hand.

use crate::common::{config, distance, numbers};
use burn::module::Param;
use burn::tensor::{Device, Int, Tensor, TensorData};
use evenburn_model::function::{Erf, Function, Layer, Rms, Tanh, Unit};
use evenburn_model::modules::{
    AttentionMask, Embedding, Gain, Head, Initializer, Layout, Mlp, Projection, Residual, Rotary,
    Routing, penalty,
};
use evenburn_model::plan::{BiasPlan, Form, GainPlan, GainRole, LinearPlan, NormPlan, Over};
use evenburn_model::strategy::{AnGpt, PreNorm};
use evenburn_model::{Balance, ExpertsConfig, MlpKind, ModelConfig, Plan, Positions, weights};

/// Both numbers of a gain that was moved away from its start, and what it multiplies by.
fn used(form: Form, stored: [f64; 3], magnitude: f64) -> Vec<f64> {
    let plan = GainPlan {
        init: 2.0,
        scale: 4.0,
        form,
        ..GainPlan::ones(GainRole::Output)
    };
    let device = Device::flex();
    let mut gain = Gain::new(&plan, 3, &device);
    let vector = |v: &[f64]| Param::from_tensor(Tensor::<1>::from_floats(v, &device));
    gain.value = vector(&stored);
    assert_eq!(gain.magnitude.is_some(), form.has_magnitude());
    gain.magnitude = gain.magnitude.map(|_| vector(&[magnitude]));
    let scaled = numbers(gain.forward(Tensor::<2>::from_floats([[1.0, 2.0, -3.0]], &device)));
    let used = numbers(gain.used());
    let expected: Vec<f64> = used
        .iter()
        .zip([1.0, 2.0, -3.0])
        .map(|(u, x)| u * x)
        .collect();
    assert!(distance(&scaled, &expected) < 1e-6);
    used
}

#[test]
fn every_form_of_a_gain_is_its_formula() {
    let stored = [3.0, -1.0, 0.5];
    let close = |form, magnitude: f64, expected: [f64; 3]| {
        let got = used(form, stored, magnitude);
        assert!(distance(&got, &expected) < 1e-5, "{form:?}: {got:?}");
    };
    // Stored values times init / scale = 1/2.
    close(Form::Direct, 0.0, [1.5, -0.5, 0.25]);
    close(Form::Absolute, 0.0, [1.5, 0.5, 0.25]);
    close(Form::OnePlus, 0.0, [4.0, 0.0, 1.5]);
    close(Form::Product, 1.5, [4.5, -1.5, 0.75]);
    let e = 1.5_f64.exp();
    close(Form::ExpProduct, 1.5, [3.0 * e, -e, 0.5 * e]);
    // 1.5 times the vector divided by its root mean square.
    let rms = ((9.0 + 1.0 + 0.25) / 3.0_f64).sqrt();
    close(Form::UnitProduct, 1.5, [4.5 / rms, -1.5 / rms, 0.75 / rms]);
    let mean = 2.5 / 3.0;
    let centered = [3.0, -1.0, 0.5].map(|v: f64| (1.5 + v - mean).exp());
    close(Form::CenteredExp, 1.5, centered);
}

#[test]
fn every_normalization_is_its_formula() {
    let device = Device::flex();
    let x = [0.5, -1.0, 2.0];
    let (gain, bias, factor, eps) = ([1.5, -2.0, 0.25], [0.75, 3.0, -0.5], 0.5, 0.125);
    let (slope, shift) = (0.75, -0.25);
    let mean = x.iter().sum::<f64>() / 3.0;
    let square: f64 = x.iter().map(|x| x * x).sum();
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 3.0;
    let (rms, layer) = ((square / 3.0 + eps).sqrt(), (variance + eps).sqrt());
    // As the kernels have it: epsilon is added to the sum of squares.
    let length = (square + eps).sqrt();
    let cases: [(Function, &dyn Fn(f64) -> f64); 5] = [
        (Rms {}.into(), &|x| x / rms),
        (Unit {}.into(), &|x| x / length),
        (Layer {}.into(), &|x| (x - mean) / layer),
        (Tanh { slope: 0.5 }.into(), &|x| (slope * x).tanh()),
        (Erf { slope: 0.5 }.into(), &|x| libm::erf(slope * x + shift)),
    ];
    for (function, formula) in cases {
        for with in [true, false] {
            let plan = NormPlan {
                function: function.clone(),
                factor,
                gain: with.then(|| GainPlan::ones(GainRole::Output)),
                bias: with.then(BiasPlan::default),
                ..NormPlan::rms(eps, GainRole::Output)
            };
            let norm = plan.init_full(3, &device);
            let values = weights::collect(&norm).into_iter().map(|(path, _)| {
                let values = match path.as_str() {
                    "gain.value" => gain.to_vec(),
                    "bias" => bias.to_vec(),
                    "slope" => vec![slope],
                    "shift" => vec![shift],
                    other => panic!("{other}"),
                };
                let shape = [values.len()];
                (path, TensorData::new(values, shape).convert::<f32>())
            });
            let norm = weights::replace(norm, values).unwrap();
            let found = numbers(norm.forward(Tensor::<2>::from_floats([x], &device)));
            let expected: Vec<f64> = (0..3)
                .map(|i| {
                    let y = factor * formula(x[i]);
                    if with { gain[i] * y + bias[i] } else { y }
                })
                .collect();
            assert!(
                distance(&found, &expected) < 1e-6,
                "{function:?}: {found:?}"
            );
        }
    }
}

#[test]
fn every_feed_forward_network_is_its_formula() {
    let device = Device::flex();
    for mlp in [
        MlpKind::Swiglu,
        MlpKind::Geglu,
        MlpKind::GegluTanh,
        MlpKind::Gelu,
        MlpKind::GeluTanh,
        MlpKind::Relu2,
    ] {
        let config = ModelConfig { mlp, ..config() };
        let mut plan = Plan::new(&config, &PreNorm::default()).unwrap();
        let (before, after) = (1.75, 0.625);
        plan.layers[0].mlp.before = before;
        plan.layers[0].mlp.after = after;
        let (layer, init) = (&plan.layers[0], Initializer::new(5));
        let network = Mlp::new(layer, "mlp", plan.dims(), init, &device);
        let (width, hidden) = (plan.dims().model, plan.dims().hidden);
        let x: Vec<f32> = (0..width).map(|i| (i as f32 * 1.7).sin() * 9.0).collect();
        let product = |weight: &Param<Tensor<2>>, x: &[f64], outputs: usize| -> Vec<f64> {
            let weight = numbers(weight.val());
            (0..outputs)
                .map(|o| {
                    x.iter()
                        .enumerate()
                        .map(|(i, x)| x * weight[i * outputs + o])
                        .sum()
                })
                .collect()
        };
        let given: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let up = product(&network.up.weight, &given, hidden);
        let f = |z: &f64| mlp.activation().at(before * z);
        let inside: Vec<f64> = match &network.gate {
            Some(gate) => {
                let gate = product(&gate.weight, &given, hidden);
                up.iter()
                    .zip(&gate)
                    .map(|(u, g)| after * u * f(g))
                    .collect()
            }
            None => up.iter().map(|u| after * f(u)).collect(),
        };
        let expected = product(&network.down.weight, &inside, width);
        let x: Tensor<3> = Tensor::<1>::from_floats(x.as_slice(), &device).reshape([1, 1, width]);
        let found = numbers(network.forward(x));
        let largest = expected.iter().fold(0f64, |m, v| m.max(v.abs()));
        assert!(distance(&found, &expected) < 1e-5 * largest, "{mlp:?}");
    }
}

/// Moves every learned vector around a projection away from where it starts.
fn stir(projection: &mut Projection, by: f32) {
    let moved = |vector: Param<Tensor<1>>| {
        let [n] = vector.dims();
        let steps: Vec<f32> = (0..n)
            .map(|i| 0.5 + by + 0.25 * (i as f32 * 2.3).cos())
            .collect();
        let device = vector.device();
        Param::from_tensor(vector.val() + Tensor::from_floats(steps.as_slice(), &device))
    };
    projection.bias = projection.bias.take().map(moved);
    let norm = projection.norm.as_mut();
    if let Some(norm) = norm {
        norm.bias = norm.bias.take().map(moved);
        if let Some(gain) = &mut norm.gain {
            gain.value = moved(gain.value.clone());
        }
    }
    if let Some(after) = &mut projection.after {
        after.value = moved(after.value.clone());
    }
}

#[test]
fn a_gated_network_joins_what_its_projections_give_whatever_follows_their_products() {
    let device = Device::flex();
    let gain = || GainPlan::ones(GainRole::Output);
    let norm = |change: &dyn Fn(&mut NormPlan)| {
        let mut norm = NormPlan::rms(1e-3, GainRole::Output);
        change(&mut norm);
        LinearPlan {
            norm: Some(norm),
            ..LinearPlan::default()
        }
    };
    let plain = norm(&|_| {});
    let behind = [
        plain.clone(),
        norm(&|norm| norm.over = Over::PerHead),
        norm(&|norm| norm.gain = None),
        norm(&|norm| (norm.gain, norm.factor) = (None, 1.5)),
        norm(&|norm| norm.factor = -0.5),
        norm(&|norm| norm.bias = Some(BiasPlan::default())),
        norm(&|norm| norm.function = Unit {}.into()),
        norm(&|norm| norm.function = Layer {}.into()),
        norm(&|norm| norm.function = Tanh { slope: 0.7 }.into()),
        LinearPlan {
            bias: Some(BiasPlan::default()),
            factor: 3.0,
            ..plain.clone()
        },
        LinearPlan {
            before: Some(gain()),
            after: Some(gain()),
            ..plain
        },
        LinearPlan::default(),
    ];
    for mlp in [MlpKind::Swiglu, MlpKind::Geglu] {
        let config = ModelConfig { mlp, ..config() };
        let mut plan = Plan::new(&config, &PreNorm::default()).unwrap();
        let dims = plan.dims().clone();
        let layer = &mut plan.layers[0];
        (layer.mlp.before, layer.mlp.after) = (1.75, 0.625);
        let cases = behind
            .iter()
            .flat_map(|a| behind.iter().map(move |b| (a, b)));
        for (of_gate, of_up) in cases {
            let gate = layer.gate.as_mut().expect("these networks have one");
            gate.linear = of_gate.clone();
            layer.up.linear = of_up.clone();
            let mut network = Mlp::new(layer, "mlp", &dims, Initializer::new(5), &device);
            stir(&mut network.up, 0.125);
            stir(network.gate.as_mut().expect("as planned"), -1.0);
            let x: Vec<f32> = (0..3 * dims.model)
                .map(|i| (i as f32 * 1.7).sin() * 9.0)
                .collect();
            let x: Tensor<3> =
                Tensor::<1>::from_floats(x.as_slice(), &device).reshape([1, 3, dims.model]);
            let gate = network.gate.as_ref().expect("as planned");
            let (gate, up) = (gate.forward(x.clone()), network.up.forward(x.clone()));
            let inside: Vec<f32> = numbers(gate)
                .iter()
                .zip(numbers(up))
                .map(|(g, u)| (0.625 * u * mlp.activation().at(1.75 * g)) as f32)
                .collect();
            let inside: Tensor<3> =
                Tensor::<1>::from_floats(inside.as_slice(), &device).reshape([1, 3, dims.hidden]);
            let expected = numbers(network.down.forward(inside));
            let found = numbers(network.forward(x));
            let largest = expected.iter().fold(0f64, |m, v| m.max(v.abs()));
            assert!(
                distance(&found, &expected) < 1e-5 * largest,
                "{mlp:?}, gate {of_gate:?}, up {of_up:?}"
            );
        }
    }
}

#[test]
fn learned_positions_are_added_to_the_tokens() {
    let config = ModelConfig {
        positions: Positions::Learned,
        ..config()
    };
    let plan = Plan::new(&config, &PreNorm::default()).unwrap();
    let device = Device::flex();
    let embedding = Embedding::new(&plan, Initializer::new(3), &device);
    let table = numbers(embedding.weight.val());
    let places = numbers(embedding.positions.as_ref().unwrap().val());
    let tokens = [5, 0, 7];
    let expected = |at: [usize; 3]| -> Vec<f64> {
        let rows = tokens.iter().zip(at);
        rows.flat_map(|(token, place)| (0..24).map(move |c| (token * 24 + c, place * 24 + c)))
            .map(|(a, b)| table[a] + places[b])
            .collect()
    };
    let ids = || Tensor::<2, Int>::from_ints([[5, 0, 7]], &device);
    let counted = numbers(embedding.forward(ids(), 4, None));
    assert!(distance(&counted, &expected([4, 5, 6])) < 1e-6);
    let given = Tensor::<2, Int>::from_ints([[2, 0, 1]], &device);
    let given = numbers(embedding.forward(ids(), 0, Some(given)));
    assert!(distance(&given, &expected([2, 0, 1])) < 1e-6);
}

#[test]
fn the_output_layer_scales_each_logit() {
    let plan = Plan::new(&config(), &AnGpt::default()).unwrap();
    let device = Device::flex();
    let init = Initializer::new(3);
    let embedding = Embedding::new(&plan, init, &device);
    let mut head = Head::new(&plan, plan.dims(), init, &device);
    let gain = head.after.as_mut().unwrap();
    let stored: Vec<f32> = (0..37_u16).map(|v| 0.1 + f32::from(v)).collect();
    gain.value = Param::from_tensor(Tensor::from_floats(stored.as_slice(), &device));
    let scales = numbers(gain.used());
    let weight = numbers(head.weight.as_ref().unwrap().val());
    // The first channel alone reads the first row of the matrix.
    let mut first = [[0.0_f32; 24]];
    first[0][0] = 2.0;
    let logits = numbers(head.forward(Tensor::from_floats(first, &device), &embedding));
    let expected: Vec<f64> = (0..37).map(|v| 2.0 * weight[v] * scales[v]).collect();
    assert!(distance(&logits, &expected) < 1e-4);
}

#[test]
fn positions_start_again_in_each_document() {
    let device = Device::flex();
    let segments = Tensor::<2, Int>::from_ints([[0, 0, 0, 1, 1], [4, 5, 5, 5, 6]], &device);
    let positions = AttentionMask::within(segments).positions().unwrap();
    let positions: Vec<i64> = positions.into_data().convert::<i64>().try_to_vec().unwrap();
    assert_eq!(positions, [0, 1, 2, 0, 1, 0, 0, 1, 2, 0]);
    assert!(AttentionMask::Causal.positions().is_none());
}

#[test]
fn a_number_that_comes_back_begins_a_new_document() {
    let device = Device::flex();
    let positions = |segments: Tensor<2, Int>| -> Vec<i64> {
        let positions = AttentionMask::within(segments).positions().unwrap();
        positions.into_data().convert::<i64>().try_to_vec().unwrap()
    };
    let segments = Tensor::from_ints([[0, 0, 7, 0, 0], [1, 2, 1, 1, 2]], &device);
    assert_eq!(positions(segments), [0, 1, 0, 0, 1, 0, 0, 0, 1, 0]);
    assert_eq!(positions(Tensor::from_ints([[3], [4]], &device)), [0, 0]);
}

#[test]
fn a_rotary_embedding_rotates() {
    let device = Device::flex();
    // Two heads of four channels at position 3: pair i of each turns by 3 * 100^(-i/2); of two channels alone, by 3.
    let x = [1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 2.0, -3.0_f64];
    let turn = |a: f64, b: f64, angle: f64| {
        let (sin, cos) = angle.sin_cos();
        (a * cos - b * sin, a * sin + b * cos)
    };
    for (layout, pairs) in [
        (Layout::Neighbours, vec![[0, 1], [2, 3]]),
        (Layout::Halves, vec![[0, 2], [1, 3]]),
        (Layout::Neighbours, vec![[0, 1]]),
        (Layout::Halves, vec![[0, 1]]),
    ] {
        let channels = 2 * pairs.len();
        let mut expected = x;
        for head in [0, 4] {
            for (i, &[a, b]) in pairs.iter().enumerate() {
                let angle = 3.0 * [1.0, 0.1][i];
                let (left, right) = turn(x[head + a], x[head + b], angle);
                expected[head + a] = left;
                expected[head + b] = right;
            }
        }
        let dtype = burn::tensor::DType::F32;
        let rotary = Rotary::new(3, 1, channels, 100.0, layout, dtype, &device);
        let x: Tensor<3> = Tensor::<1>::from_floats(x.as_slice(), &device).reshape([1, 1, 8]);
        let turned = numbers(rotary.forward(x.clone(), 2));
        assert!(distance(&turned, &expected) < 1e-5, "{layout:?} {channels}");
        assert!(distance(&turned, &numbers(x)) > 1.0, "{layout:?}");
    }
}

/// A head of which a part turns is that narrower head beside channels that stay, in both layouts.
#[test]
fn a_part_of_each_head_turns_as_a_narrower_head() {
    let device = Device::flex();
    let (heads, head, channels) = (3, 10, 6);
    let wave: Vec<f64> = (0..2 * 4 * heads * head)
        .map(|i| (i as f64).sin())
        .collect();
    let x: Tensor<4> =
        Tensor::<1>::from_floats(wave.as_slice(), &device).reshape([2, 4, heads, head]);
    for layout in [Layout::Neighbours, Layout::Halves] {
        let dtype = burn::tensor::DType::F32;
        let rotary = Rotary::new(5, 4, channels, 100.0, layout, dtype, &device);
        let first = x.clone().narrow(3, 0, channels);
        let first = rotary.forward(first.reshape([2, 4, heads * channels]), heads);
        let first: Tensor<4> = first.reshape([2, 4, heads, channels]);
        let rest = x.clone().narrow(3, channels, head - channels);
        let expected = numbers(Tensor::cat(vec![first, rest], 3));
        let turned = rotary.forward(x.clone().reshape([2, 4, heads * head]), heads);
        assert!(distance(&numbers(turned), &expected) < 1e-6, "{layout:?}");
    }
}

#[test]
fn both_router_losses_add_up() {
    let device = Device::flex();
    let routing = |p: [f64; 2], load: [f64; 2], z: f64| Routing {
        load: load.to_vec(),
        probability: Tensor::from_floats(p, &device),
        z: Tensor::from_floats([z], &device),
    };
    let blocks = [
        routing([0.25, 0.75], [0.5, 0.5], 2.0),
        routing([0.5, 0.5], [1.0, 0.0], 6.0),
    ];
    let loss = |balance_coef, z_coef| {
        let config = ExpertsConfig {
            count: 2,
            top_k: 1,
            balance: Balance::LayerLoss,
            balance_coef,
            z_coef,
            ..ExpertsConfig::default()
        };
        penalty(&config, &blocks).map(|loss| numbers(loss)[0])
    };
    // E sum p load: 2 * 0.5 in both blocks; the mean of z is 4.
    assert!((loss(0.3, 0.05).unwrap() - (0.3 + 0.2)).abs() < 1e-6);
    assert!((loss(0.3, 0.0).unwrap() - 0.3).abs() < 1e-6);
    assert!((loss(0.0, 0.05).unwrap() - 0.2).abs() < 1e-6);
    assert!(loss(0.0, 0.0).is_none());
}

#[test]
fn the_skip_connection_of_pre_norm_carries_the_stream_itself() {
    let plan = Plan::new(&config(), &PreNorm::default()).unwrap();
    let device = Device::flex();
    let init = Initializer::new(0);
    let around = Residual::new(
        &plan.layers[0].attn_residual,
        "attn_residual",
        plan.dims(),
        init,
        &device,
    );
    let stream: Vec<f32> = (0..24_u8).map(|c| f32::from(c) - 7.5).collect();
    let h: Tensor<3> = Tensor::<1>::from_floats(stream.as_slice(), &device).reshape([1, 1, 24]);
    // h + branch(N(h)) with a branch that writes nothing is h, and not N(h).
    let silent = around.forward(h.clone(), |x| x.zeros_like());
    assert!(distance(&numbers(silent), &numbers(h.clone())) < 1e-6);
    // With a branch that hands on what it reads, N(h) is what is added.
    let echo = numbers(around.forward(h.clone(), |x| x) - h);
    let mean_square = stream.iter().map(|v| f64::from(v * v)).sum::<f64>() / 24.0;
    let expected: Vec<f64> = stream
        .iter()
        .map(|v| f64::from(*v) / mean_square.sqrt())
        .collect();
    assert!(distance(&echo, &expected) < 1e-5);
}
