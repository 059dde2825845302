//! `GeoNorm` turns the stream of each token and never changes its length.

use super::{Normal, dot, double, length};
use crate::common::{config, numbers};
use crate::gradients::{random_decoder, random_tokens, values, with};
use burn::tensor::Device;
use evenburn_model::modules::{Arrays, Initializer, Mix};
use evenburn_model::plan::MixPlan;
use evenburn_model::rule::{Geodesic, MixRule};
use evenburn_model::strategy::{AngleDecay, GeoNorm};
use evenburn_model::{Decoder, Dims, ModelConfig, Plan};
use std::f64::consts::{FRAC_PI_4, PI};

const WIDTH: usize = 24;
const TOKENS: usize = 6;

/// A turn of random vectors, the branch's of this deviation: before, branch, after.
fn turned(rule: Geodesic, deviation: f64, seed: u64) -> [Vec<f64>; 3] {
    let device = Device::flex();
    let mut draw = Normal::new(seed);
    let h = draw.tensor([1, TOKENS, WIDTH], 1.0, &device);
    let x = draw.tensor([1, TOKENS, WIDTH], deviation, &device);
    let rule = MixPlan::Rule { rule: rule.into() };
    let mix = Mix::new(&rule, "mix", WIDTH, Initializer::new(0), &device);
    let start = values(&mix);
    let after = with(mix, &start).forward(h.clone(), x.clone());
    [numbers(h), numbers(x), numbers(after)]
}

#[test]
fn a_turn_is_along_the_great_circle_through_both() {
    for (deviation, clamp) in [(0.1, FRAC_PI_4), (0.1, 0.05), (3.0, FRAC_PI_4), (3.0, PI)] {
        let factor = 0.5;
        let [h, x, after] = turned(Geodesic { factor, clamp }, deviation, 1);
        let tokens = h.chunks(WIDTH).zip(x.chunks(WIDTH));
        for ((h, x), after) in tokens.zip(after.chunks(WIDTH)) {
            let along = dot(h, x) / dot(h, h);
            let tangent: Vec<f64> = h.iter().zip(x).map(|(h, x)| x - along * h).collect();
            let (radius, t) = (length(h), length(&tangent));
            let angle = ((t / radius).min(clamp) * factor).min(clamp);
            for ((h, v), after) in h.iter().zip(&tangent).zip(after) {
                let expected = h * angle.cos() + radius * angle.sin() * v / t;
                assert!((expected - after).abs() < 1e-12, "{expected} {after}");
            }
            assert!((length(after) / radius - 1.0).abs() < 1e-12);
        }
    }
}

/// The two bounds below keep a stream or a branch that is nothing from making what is no number.
#[test]
fn nothing_turns_nothing() {
    let device = Device::flex().autodiff();
    let rule = Geodesic {
        factor: 1.0,
        clamp: FRAC_PI_4,
    };
    let arrays = rule.arrays(WIDTH);
    let arrays = Arrays::new(&arrays, "mix", Initializer::new(0), &device);
    let start = values(&arrays);
    let arrays = with(arrays, &start);
    let some = |value| double(vec![value; WIDTH], [1, 1, WIDTH], &device);
    for (h, x) in [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 2.0)] {
        let (h, x) = (some(h).require_grad(), some(x).require_grad());
        let after = rule.forward(h.clone(), x.clone(), &arrays);
        let gradients = after.clone().sum().backward();
        let slopes = [&h, &x].map(|x| numbers(x.grad(&gradients).unwrap()));
        // A branch along the stream has no tangent to turn to.
        for (before, after) in numbers(h).into_iter().zip(numbers(after)) {
            assert!((before - after).abs() < 1e-5, "{before} {after}");
        }
        assert!(slopes.iter().flatten().all(|v| v.is_finite()));
    }
}

#[test]
fn the_stream_keeps_its_length_to_the_end() {
    let device = Device::flex();
    for decay in [AngleDecay::Harmonic, AngleDecay::Sqrt, AngleDecay::Linear] {
        let scheme = GeoNorm {
            decay,
            ..GeoNorm::default()
        };
        let plan = Plan::new(&config(), &scheme).unwrap();
        let model = random_decoder(&plan, 3, &device);
        let Dims {
            model: width,
            vocab,
            ..
        } = *model.dims();
        let tokens = random_tokens([2, 12], vocab, 3, &device);
        let embedded = numbers(model.embed.forward(tokens.clone(), 0, None));
        let end = numbers(model.hidden(tokens));
        let mut moved = 0.0;
        for (a, b) in embedded.chunks(width).zip(end.chunks(width)) {
            assert!((length(b) / length(a) - 1.0).abs() < 1e-12);
            moved += dot(a, b) / (length(a) * length(b));
        }
        // Not by standing still.
        assert!(moved / 24.0 < 0.99, "{decay:?}: {moved}");
    }
}

/// In single precision, through more blocks than the sizes of the tests have.
#[test]
fn rounding_does_not_add_up() {
    let device = Device::flex();
    let config = ModelConfig {
        layers: 24,
        ..config()
    };
    let plan = Plan::new(&config, &GeoNorm::default()).unwrap();
    let model = Decoder::new(&plan, 5, &device);
    let tokens = random_tokens([2, 12], config.vocab_size, 5, &device);
    let embedded = numbers(model.embed.forward(tokens.clone(), 0, None));
    let end = numbers(model.hidden(tokens));
    for (a, b) in embedded.chunks(WIDTH).zip(end.chunks(WIDTH)) {
        assert!((length(b) / length(a) - 1.0).abs() < 1e-5);
    }
}
