//! How fast a folded anGPT decodes beside a plain decoder without norms of the same sizes.
//!
//! `cargo run --release -p evenburn-tests --bin decode_speed`: both generate with a key/value cache, batch 1, in turns;
//! the ratio of their median times is printed, as it is for the anGPT before folding.

use anyhow::Result;
use burn::tensor::Device;
use evenburn_model::strategy::{AnGpt, HeadNorm};
use evenburn_model::{Decoder, ModelConfig, Plan, Recompute, Sampler, fold};
use evenburn_tests::bare::Bare;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 21;
const TOKENS: usize = 64;

fn seconds(model: &Decoder) -> Result<f64> {
    let start = Instant::now();
    let new = model.generate(&[1], TOKENS, None, &Sampler::default(), Recompute::Cached)?;
    anyhow::ensure!(new.len() == TOKENS, "generation stopped early");
    Ok(start.elapsed().as_secs_f64())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
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
            qk,
            ..AnGpt::default()
        };
        let plan = Plan::new(&config, &angpt)?;
        let trained = Decoder::new(&plan, 0, &device);
        let folded = fold(&plan, &trained, &device)?.decoder;
        let plain = Decoder::new(&Plan::new(&config, &Bare { qk })?, 0, &device);
        let models = [&plain, &folded, &trained];
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (times, model) in times.iter_mut().zip(models) {
                times.push(seconds(model)?);
            }
        }
        let [plain, folded, trained] = times.map(median);
        println!(
            "{name} q/k norm: plain {:.0} tokens/s; folded anGPT takes {:.3} of its time, anGPT as trained {:.3}",
            TOKENS as f64 / plain,
            folded / plain,
            trained / plain
        );
    }
    Ok(())
}
