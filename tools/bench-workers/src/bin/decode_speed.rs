//! How fast a folded norm-free anGPT decodes beside a plain decoder without norms of the same sizes.
//!
//! `cargo run --release -p evenburn-bench-workers --bin decode_speed`: both generate with a key/value cache, batch 1, in turns that
//! begin with each of them equally often; the median of the ratios within a turn is printed with its quartiles, as it is
//! for the anGPT before folding.

use anyhow::Result;
use burn::tensor::Device;
use evenburn_model::strategy::{AnGpt, HeadNorm, SoftmaxGain, UnitNorm};
use evenburn_model::{Decoder, ModelConfig, Plan, Recompute, Sampler, fold};
use evenburn_parity::bare::Bare;
use std::time::Instant;

evenburn_allocator::training_allocator!();

const ROUNDS: usize = 90;
const TOKENS: usize = 64;

fn seconds(model: &Decoder) -> Result<f64> {
    let start = Instant::now();
    let sampler = Sampler::default();
    let new = model.generate(&[1], TOKENS, &[], |_| true, &sampler, Recompute::Cached)?;
    anyhow::ensure!(new.len() == TOKENS, "generation stopped early");
    Ok(start.elapsed().as_secs_f64())
}

/// The quartiles.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}

fn main() -> Result<()> {
    let device = Device::flex();
    let config = ModelConfig {
        vocab_size: 8192,
        dim: 256,
        layers: 6,
        heads: 4,
        ..ModelConfig::default()
    };
    for (name, qk) in [("without", HeadNorm::None), ("with", HeadNorm::Unit)] {
        let angpt = AnGpt {
            branch_norm: UnitNorm::None,
            softmax_gain: SoftmaxGain::None,
            qk,
            ..AnGpt::default()
        };
        let plan = Plan::new(&config, &angpt)?;
        let trained = Decoder::new(&plan, 0, &device);
        let folded = fold(&plan, &trained, &device)?.decoder;
        let plain = Decoder::new(&Plan::new(&config, &Bare { qk })?, 0, &device);
        let models = [&plain, &folded, &trained];
        // The first calls of a model are slower than all others.
        for model in models {
            seconds(model)?;
        }
        let mut times = [const { Vec::new() }; 3];
        for round in 0..ROUNDS {
            for turn in 0..models.len() {
                let which = (round + turn) % models.len();
                times[which].push(seconds(models[which])?);
            }
        }
        let [plain, folded, trained] = times;
        let to_plain = |times: &[f64]| {
            let ratios = times.iter().zip(&plain).map(|(a, b)| a / b);
            let [low, middle, high] = quartiles(ratios.collect());
            format!("{middle:.3} ({low:.3} to {high:.3})")
        };
        println!(
            "{name} q/k norm: plain {:.0} tokens/s; of its time, folded anGPT takes {}, anGPT as trained {}",
            TOKENS as f64 / quartiles(plain.clone())[1],
            to_plain(&folded),
            to_plain(&trained)
        );
    }
    Ok(())
}
