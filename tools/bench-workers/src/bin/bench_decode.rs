//! Decodes token by token behind a key/value cache, as lines on standard input ask.
//!
//! `cargo xtask bench decode` runs it beside `tools/bench/torch/decode.py`. The line `tokens 64` is answered with
//! `{"seconds": [0.5]}`, the time of so many tokens at batch 1.

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use clap::Parser;
use evenburn::kernels::work_along;
use evenburn_model::{Decoder, Recompute, Sampler};
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use serde_json::json;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::PathBuf;
use std::time::Instant;

evenburn_allocator::training_allocator!();

/// Decodes with random weights, a number of tokens at a time, as lines on standard input ask.
#[derive(Debug, Parser)]
struct Arguments {
    /// The model, a configuration file
    model: PathBuf,
}

fn main() -> Result<()> {
    work_along();
    let arguments = Arguments::parse();
    // Llama's block, which is what the peer has.
    let keys = [("norm.scheme", "pre_norm"), ("norm.qk", "none")];
    let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = RunConfig::load(&Registry::default(), Some(&arguments.model), &keys)?.config;
    let plan = config.norm.plan(&config.model)?;
    let decoder = Decoder::new(&plan, 1, &Device::flex());
    let greedy = Sampler {
        temperature: 0.0,
        ..Sampler::default()
    };
    let mut out = stdout().lock();
    writeln!(out, "{}", json!({ "parameters": plan.cost().params }))?;
    out.flush()?;
    for line in stdin().lock().lines() {
        let line = line?;
        let Some(count) = line.strip_prefix("tokens ") else {
            bail!("`{line}` is no request");
        };
        let count: usize = count.parse().context("the number of tokens")?;
        let start = Instant::now();
        let new = decoder.generate(&[1], count, &[], |_| true, &greedy, Recompute::Cached)?;
        let seconds = start.elapsed().as_secs_f64();
        ensure!(new.len() == count, "generation stopped early");
        writeln!(out, "{}", json!({ "seconds": [seconds] }))?;
        out.flush()?;
    }
    Ok(())
}
