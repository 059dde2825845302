//! SimpleNorm adds a vector of mean square 1 twice a block, so the stream's second moment is `1 + 2 l` after `l` blocks.
//!
//! `B` batch, `T` time, `D` model, `l` blocks passed.

use super::mean;
use crate::common::numbers;
use crate::gradients::{random_tokens, values, with};
use burn::tensor::{Device, Tensor};
use evenburn_model::modules::{AttentionMask, BlockContext, Layout, Rotary};
use evenburn_model::strategy::{PreNorm, SimpleNorm, Statistics};
use evenburn_model::{Decoder, ModelConfig, Plan, strategy::NormStrategy};
use std::cell::RefCell;

const BATCH: usize = 4;
const TIME: usize = 24;
const LAYERS: usize = 4;

fn square(x: &Tensor<3>) -> f64 {
    mean(&numbers(x.clone().square()))
}

/// Second moments of the stream behind the embedding and behind each block, and of what each branch writes.
fn moments(scheme: &dyn NormStrategy, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let config = ModelConfig {
        vocab_size: 512,
        dim: 256,
        layers: LAYERS,
        hidden: Some(256),
        ..ModelConfig::default()
    };
    let device = Device::flex();
    let plan = Plan::new(&config, scheme).unwrap();
    let model = Decoder::new(&plan, seed, &device);
    let all = values(&model);
    let model = with(model, &all);
    let tokens = random_tokens([BATCH, TIME], config.vocab_size, seed, &device);

    let d = model.dims();
    let dtype = model.embed.weight.val().dtype();
    let rotary = Rotary::new(
        0,
        TIME,
        d.head,
        d.rope_theta,
        Layout::Neighbours,
        dtype,
        &device,
    );
    let context = BlockContext {
        rotary: Some(&rotary),
        mask: &AttentionMask::Causal,
        dropout: None,
        largest: None,
        watch: None,
    };
    let written = RefCell::new(Vec::new());
    let note = |x: Tensor<3>| {
        written.borrow_mut().push(square(&x));
        x
    };
    let mut h = model.embed.forward(tokens.clone(), 0, None);
    let mut stream = vec![square(&h)];
    for block in &model.blocks {
        h = block
            .attn_residual
            .forward(h, |x| note(block.attn.forward(x, &context, None)));
        h = block
            .mlp_residual
            .forward(h, |x| note(block.mlp.as_ref().unwrap().forward(x)));
        stream.push(square(&h));
    }
    // What was walked through is the decoder.
    let end = model.final_norm.as_ref().unwrap().forward(h);
    assert_eq!(numbers(end), numbers(model.hidden(tokens)));
    (stream, written.into_inner())
}

#[test]
fn second_moments_are_those_of_the_paper() {
    for norm in [Statistics::Rms, Statistics::Layer] {
        let scheme = SimpleNorm {
            norm,
            eps: 1e-18,
            ..SimpleNorm::default()
        };
        for seed in 0..3 {
            let (stream, written) = moments(&scheme, seed);
            assert_eq!(written.len(), 2 * LAYERS);
            // Whatever the initial weights: o and down start smaller in later blocks.
            for m in written {
                assert!((m - 1.0).abs() < 1e-10, "{norm:?}: {m}");
            }
            for (l, m) in stream.into_iter().enumerate() {
                let expected = (1 + 2 * l) as f64;
                // The sum's terms are independent only in the mean.
                assert!((m / expected - 1.0).abs() < 0.04, "{norm:?} {l}: {m}");
            }
        }
    }
    // Pre-norm adds less and less: the same measurement tells the schemes apart.
    let (stream, _) = moments(&PreNorm::default(), 0);
    assert!(stream[LAYERS] < 0.6 * (1 + 2 * LAYERS) as f64, "{stream:?}");
}
