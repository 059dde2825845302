//! Lengths of random vectors concentrate, which is why anGPT may divide by constants (2505.22014): with its branch norms
//! what reaches them has nearly their length already, and without them the stream keeps it.
//!
//! `D` model, `F` hidden, `H` heads, `K` head width, `B` batch, `T` time.

use super::{Normal, length, mean};
use crate::common::{distance, numbers};
use crate::gradients::{random_tokens, values, with};
use burn::tensor::{DType, Device, Tensor};
use evenburn_model::modules::{AttentionMask, BlockContext, Layout, Projection, Rotary};
use evenburn_model::plan::AttentionFactor;
use evenburn_model::strategy::{AnGpt, FactorScales, UnitNorm};
use evenburn_model::{Activation, Decoder, MlpKind, ModelConfig, Plan};

/// A vector of length 1 in a random direction.
fn unit(draw: &mut Normal, width: usize) -> Vec<f64> {
    let v = draw.take(width);
    let size = length(&v);
    v.into_iter().map(|v| v / size).collect()
}

/// Mean and relative spread of some lengths.
fn spread(lengths: &[f64]) -> (f64, f64) {
    let centre = mean(lengths);
    let squares: Vec<f64> = lengths.iter().map(|l| (l / centre - 1.0).powi(2)).collect();
    (centre, mean(&squares).sqrt())
}

/// Lengths of `u * silu(sqrt(D) z)` for unit vectors `u` and `z` of `4 D` channels.
fn activations(width: usize, draws: usize) -> Vec<f64> {
    let mut draw = Normal::new(width as f64 as u64);
    let root = (width as f64).sqrt();
    (0..draws)
        .map(|_| {
            let (u, z) = (unit(&mut draw, 4 * width), unit(&mut draw, 4 * width));
            let y = u.iter().zip(z);
            length(
                &y.map(|(u, z)| u * Activation::Silu.at(root * z))
                    .collect::<Vec<_>>(),
            )
        })
        .collect()
}

/// The constant `k` of the spread `k / sqrt(D)` of those lengths at large `D`.
///
/// With `f(b) = silu(b / 2)^2` and `b` normal, the squared length is a mean of `a_i^2 f(b_i)` over `n = 4 D` channels with
/// the lengths of `a` and `b` divided out. To first order its relative variance is `(3 q - 3 - m^2 / 2) / n`, where
/// `q = E[f^2] / E[f]^2` and `m = E[b^2 f] / E[f] - 1`; a length spreads half as much as its square.
fn limit() -> f64 {
    let normal = |g: &dyn Fn(f64) -> f64| -> f64 {
        let step = 0.01;
        let points = (-1200..=1200).map(|i| f64::from(i) * step);
        let sum: f64 = points.map(|b| g(b) * (-0.5 * b * b).exp()).sum();
        sum * step / (2.0 * std::f64::consts::PI).sqrt()
    };
    let f = |b: f64| Activation::Silu.at(0.5 * b).powi(2);
    let first = normal(&f);
    let q = normal(&|b| f(b) * f(b)) / (first * first);
    let m = normal(&|b| b * b * f(b)) / first - 1.0;
    0.5 * ((3.0 * q - 3.0 - 0.5 * m * m) / 4.0).sqrt()
}

#[test]
fn the_activation_concentrates_with_the_root_of_the_width() {
    const DRAWS: usize = 4000;
    let limit = limit();
    let mut points = Vec::new();
    // Spreads measured independently, some with as few as 80 draws, which leaves 8 % of uncertainty.
    for (width, known) in [(64, 0.10), (128, 0.068), (256, 0.053), (512, 0.035)] {
        let (centre, found) = spread(&activations(width, DRAWS));
        assert!((found / known - 1.0).abs() < 0.1, "{width}: {found}");
        // The next order takes 5 % off at 64 channels; 4000 draws of heavy-tailed squares leave 2 %.
        let ratio = found * (width as f64).sqrt() / limit;
        let next = 4.0 / width as f64;
        assert!((ratio - 1.0 + next).abs() < 0.04, "{width}: {ratio}");
        // The strategy's constant restores the length, up to the square of the spread.
        let factor = AnGpt::activation_factor(MlpKind::Swiglu, width, 4 * width);
        let restored = factor * centre;
        assert!(
            (restored - 1.0).abs() < found * found + 0.002,
            "{width}: {restored}"
        );
        points.push(((width as f64).ln(), found.ln()));
    }
    // Least squares on the logarithms; the next order moves the exponent by 0.025.
    let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
    let (mx, my) = (mean(&x), mean(&y));
    let cross: Vec<f64> = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).collect();
    let square: Vec<f64> = x.iter().map(|x| (x - mx).powi(2)).collect();
    let exponent = mean(&cross) / mean(&square);
    assert!((exponent + 0.5).abs() < 0.05, "{exponent}");
}

const WIDTH: usize = 256;
const HEADS: usize = 4;
const HEAD: usize = WIDTH / HEADS;
/// Many short sequences: what attention takes is nearly the same for all tokens of one.
const BATCH: usize = 24;
const TIME: usize = 8;

fn plan(scheme: &AnGpt) -> Plan {
    let config = ModelConfig {
        vocab_size: 512,
        dim: WIDTH,
        layers: 3,
        heads: HEADS,
        hidden: Some(4 * WIDTH),
        ..ModelConfig::default()
    };
    Plan::new(&config, scheme).unwrap()
}

/// Length of each group of `width` channels.
fn lengths<const D: usize>(x: &Tensor<D>, width: usize) -> Vec<f64> {
    numbers(x.clone()).chunks(width).map(length).collect()
}

/// Lengths at the places that anGPT's factors are made for, block by block.
fn walk(scheme: &AnGpt, seed: u64) -> Vec<(String, Vec<f64>)> {
    let device = Device::flex();
    let plan = plan(scheme);
    let model = Decoder::new(&plan, seed, &device);
    let all = values(&model);
    let model = with(model, &all);
    let d = model.dims();
    let tokens = random_tokens([BATCH, TIME], d.vocab, seed, &device);
    let layout = Layout::Neighbours;
    let rotary = Rotary::new(0, TIME, d.head, d.rope_theta, layout, DType::F64, &device);
    let context = BlockContext {
        rotary: Some(&rotary),
        mask: &AttentionMask::Causal,
        dropout: None,
        largest: None,
        watch: None,
    };
    let mut found = Vec::new();
    let mut h = model.embed.forward(tokens.clone(), 0, None);
    found.push(("embedding".to_owned(), lengths(&h, WIDTH)));
    for (n, (block, layer)) in model.blocks.iter().zip(&plan.layers).enumerate() {
        let mut note = |what: &str, lengths| found.push((format!("block {n}, {what}"), lengths));
        let attn = &block.attn;
        for (what, map) in [("q", &attn.q), ("k", &attn.k), ("v", &attn.v)] {
            note(what, lengths(&map.forward(h.clone()), HEAD));
        }
        // With the identity in place of its matrix, the output projection shows what it reads, times its factor.
        let mut shown = attn.clone();
        let identity = Tensor::<2>::eye(WIDTH, &device).cast(DType::F64);
        shown.o.weight = burn::module::Param::from_tensor(identity);
        note(
            "input of o",
            lengths(&shown.forward(h.clone(), &context, None), WIDTH),
        );
        h = block.attn_residual.forward(h, |x| {
            let y = attn.forward(x, &context, None);
            note("output of o", lengths(&y, WIDTH));
            y
        });
        note("stream behind attention", lengths(&h, WIDTH));

        let mlp = block.mlp.as_ref().unwrap();
        let gate: &Projection = mlp.gate.as_ref().unwrap();
        let (u, g) = (mlp.up.forward(h.clone()), gate.forward(h.clone()));
        note("u", lengths(&u, 4 * WIDTH));
        note("g", lengths(&g, 4 * WIDTH));
        let inside = burn::tensor::activation::silu(g.mul_scalar(layer.mlp.before));
        let y = (u * inside).mul_scalar(layer.mlp.after);
        note("activation", lengths(&y, 4 * WIDTH));
        // The steps above are the network's.
        let (steps, whole) = (mlp.down.forward(y), mlp.forward(h.clone()));
        assert!(distance(&numbers(steps.clone()), &numbers(whole)) < 1e-13);
        note("output of down", lengths(&steps, WIDTH));
        h = block.mlp_residual.forward(h, |x| mlp.forward(x));
        note("stream behind the MLP", lengths(&h, WIDTH));
    }
    assert_eq!(numbers(h), numbers(model.hidden(tokens)));
    found
}

/// Root of the mean square: what the factors are computed to make 1.
fn size(lengths: &[f64]) -> f64 {
    length(lengths) / (lengths.len() as f64).sqrt()
}

#[test]
fn constant_factors_keep_lengths_near_one() {
    // The exact factor is the one that undoes an attention that is not dense.
    for (branch_norm, seed) in [
        (UnitNorm::Unit, 0),
        (UnitNorm::None, 0),
        (UnitNorm::None, 1),
    ] {
        let scheme = AnGpt {
            branch_norm,
            attention_factor: AttentionFactor::Exact,
            ..AnGpt::default()
        };
        for (place, lengths) in walk(&scheme, seed) {
            let (size, (_, spread)) = (size(&lengths), spread(&lengths));
            assert!((size - 1.0).abs() < 0.05, "{place}: {size}");
            // A head of 64 channels spreads most: 1 / sqrt(2 * 64) = 9 %.
            assert!(spread < 0.12, "{place}: {spread}");
        }
    }
}

#[test]
fn without_its_factor_attention_shrinks() {
    let found = walk(&AnGpt::default(), 0);
    let read = found
        .iter()
        .find(|(place, _)| place == "block 0, input of o");
    let lengths = &read.unwrap().1;
    // The first token sees only itself, whose heads are nearly unit vectors; the last one a mean of eight values.
    assert!((lengths[0] - 1.0).abs() < 0.15, "{}", lengths[0]);
    assert!(lengths[TIME - 1] < 0.6, "{}", lengths[TIME - 1]);
}

/// A wrong factor shows at its own place: the test above can fail.
#[test]
fn a_factor_that_is_off_shows() {
    let scheme = AnGpt {
        factors: FactorScales {
            down: 1.1,
            ..FactorScales::default()
        },
        ..AnGpt::default()
    };
    let off: Vec<_> = walk(&scheme, 0)
        .into_iter()
        .filter(|(place, lengths)| place.ends_with("down") && (size(lengths) - 1.0).abs() > 0.05)
        .collect();
    assert_eq!(off.len(), 3);
}
