//! The two streams of `SiameseNorm`: silencing one leaves the other's scheme.

use crate::common::{config, distance, numbers};
use crate::gradients::{random_decoder, random_tokens, values, with};
use burn::tensor::Device;
use evenburn_model::modules::{AttentionMask, Stream};
use evenburn_model::strategy::{PreNorm, QkNorm, SiameseNorm, Streams};
use evenburn_model::{ModelConfig, Plan, Positions};

/// So small that a norm of a norm is the norm.
const EPS: f64 = 1e-24;

#[test]
fn without_the_post_normed_stream_it_is_pre_norm() {
    let device = Device::flex();
    let siamese = SiameseNorm {
        eps: EPS,
        ..SiameseNorm::default()
    };
    let plan = Plan::new(&config(), &siamese).unwrap();
    let model = random_decoder(&plan, 7, &device);
    let mut all = values(&model);
    for (path, values) in &mut all {
        // x = 0 behind every one of its norms; the second of two norms in a row is pre-norm's.
        if path.ends_with("residual.stream.gain.value") || path == "join.stream.gain.value" {
            values.fill(0.0);
        } else if path.contains("companion") {
            values.fill(1.0);
        }
    }
    let model = with(model, &all);

    let pre = PreNorm {
        qk: QkNorm::None,
        eps: EPS,
        ..PreNorm::default()
    };
    let plan = Plan::new(&config(), &pre).unwrap();
    let other = with(random_decoder(&plan, 8, &device), &all);
    let tokens = random_tokens([2, 12], config().vocab_size, 7, &device);
    let error = distance(
        &numbers(model.hidden(tokens.clone())),
        &numbers(other.hidden(tokens)),
    );
    assert!(error < 1e-9, "{error}");
}

/// `y` is the sum of the embedding and all that the branches write; `x` has mean square 1 where it is normalized, and
/// takes part `1 / sqrt(2 (l + 1))` of it.
#[test]
fn both_streams_take_what_a_branch_writes() {
    let device = Device::flex();
    for streams in [Streams::PostPre, Streams::HybridPre] {
        let siamese = SiameseNorm {
            streams,
            ..SiameseNorm::default()
        };
        let config = ModelConfig {
            positions: Positions::None,
            ..config()
        };
        let plan = Plan::new(&config, &siamese).unwrap();
        let model = random_decoder(&plan, 9, &device);
        let tokens = random_tokens([2, 12], config.vocab_size, 9, &device);
        let h = model.embed.forward(tokens, 0, None);
        let mut stream = Stream {
            companion: Some(h.clone()),
            h,
        };
        let mask = AttentionMask::Causal;
        let context = evenburn_model::modules::BlockContext {
            rotary: None,
            mask: &mask,
            dropout: None,
            largest: None,
            watch: None,
        };
        for (l, block) in model.blocks.iter().enumerate() {
            let part = (2.0 * (l as f64 + 1.0)).sqrt().recip();
            for (residual, attention) in
                [(&block.attn_residual, true), (&block.mlp_residual, false)]
            {
                let (x, y) = (stream.h.clone(), stream.companion.clone().unwrap());
                let x = residual.stream.as_ref().map_or(x.clone(), |n| n.forward(x));
                let mut written = None;
                stream = residual.carry(stream, |read| {
                    let z = match (attention, &block.mlp) {
                        (false, Some(mlp)) => mlp.forward(read),
                        _ => block.attn.forward(read, &context, None),
                    };
                    written = Some(z.clone());
                    z
                });
                let z = written.unwrap();
                let beside = numbers(stream.companion.clone().unwrap());
                assert!(distance(&beside, &numbers(y + z.clone())) < 1e-12);
                let main = numbers(x + z.mul_scalar(part));
                assert!(distance(&numbers(stream.h.clone()), &main) < 1e-12);
            }
        }
    }
}
