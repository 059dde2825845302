//! Trains a model of the benchmark, a few steps at a time.
//!
//! `cargo xtask bench` runs it beside `tools/bench/torch/train.py`, which reads the same files and answers the same lines; so
//! does `cargo xtask profile`. A line on standard input asks, a line of JSON on standard output answers:
//!
//! ```text
//!                 {"parameters": 11, "flops_per_token": 6e7}   once the first steps are done
//! steps 3         {"seconds": [0.2, 0.2, 0.2], "loss": 9.0}
//! memory          {"peak_rss_bytes": 500000000}
//! peak            {"gflops": 80.0, "gbytes_per_sec": 20.0}
//! parts 3         {"steps": 3, "seconds": 0.6, "data": 1e-5, "update": 0.02, "costs": [...]}
//! ```

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Distribution, Tensor};
use clap::Parser;
use evenburn::data::{Batch, Boundaries, DocumentMask, Sample};
use evenburn::kernels::profile::{self, Cost};
use evenburn::kernels::{Precision, linear};
use evenburn_model::{Decoder, Noise};
use evenburn_optim::Engine;
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use evenburn_train::{MicroBatch, Task, groups, peak_rss};
use serde_json::{Value, json};
use std::io::{BufRead, Write, stdin, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

evenburn_allocator::training_allocator!();

/// Trains a model of the benchmark, a few steps at a time, as lines on standard input ask.
#[derive(Debug, Parser)]
struct Arguments {
    /// The model and its optimizer, a configuration file
    model: PathBuf,
    /// Keys in its place, as `norm.scheme=angpt`
    #[arg(value_parser = key_value)]
    keys: Vec<(String, String)>,
    /// Steps before the first that is timed
    #[arg(long, default_value_t = 2)]
    warm: u64,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("this is no KEY=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

/// Training, without everything that is written and shown of it.
struct Training {
    /// Gone while a step is made of it.
    task: Option<Task>,
    engine: Engine,
    config: RunConfig,
    step: u64,
    /// Of the last step.
    loss: f64,
}

/// Seconds of one step and of two of its parts.
#[derive(Default)]
struct Seconds {
    whole: f64,
    data: f64,
    update: f64,
}

impl Training {
    /// The tokens of a step: their values cost nothing, and no two steps see the same.
    fn micro_batch(&self) -> MicroBatch {
        let (time, vocabulary) = (
            self.config.model.context,
            self.config.model.vocab_size as u64,
        );
        let mut batch = Batch::new(time);
        for row in 0..self.config.train.batch_size as u64 {
            let token = |i: u64| {
                let mixed =
                    (i + 7919 * row + 104_729 * self.step).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                ((mixed >> 32) % vocabulary) as u32
            };
            let tokens = (0..=time as u64).map(token).collect();
            let boundaries = Boundaries {
                eod: u32::MAX,
                bos: None,
            };
            let bytes = None;
            batch.push(&Sample { tokens, bytes }, boundaries);
        }
        MicroBatch {
            step_tokens: batch.scored() as u64,
            batch,
            noise: Noise {
                seed: 0,
                step: self.step,
                part: 0,
            },
            at: None,
        }
    }

    /// Never part of its caller, so that `cargo xtask instructions` finds where it begins and ends.
    #[inline(never)]
    fn step(&mut self) -> Result<Seconds> {
        let start = Instant::now();
        let micro = self.micro_batch();
        let data = start.elapsed().as_secs_f64();
        let task = self.task.take().context("an earlier step failed")?;
        let (gradients, share) = task.gradients(&micro);
        let before = start.elapsed().as_secs_f64();
        let (decoder, _) = self.engine.step(task.decoder, gradients, 1.0)?;
        self.loss = share.loss.try_into_scalar::<f64>()?;
        let whole = start.elapsed().as_secs_f64();
        self.task = Some(Task::new(decoder, DocumentMask::Across));
        self.step += 1;
        Ok(Seconds {
            whole,
            data,
            update: whole - before,
        })
    }

    fn steps(&mut self, count: u64) -> Result<Vec<Seconds>> {
        (0..count).map(|_| self.step()).collect()
    }

    fn answer(&mut self, line: &str) -> Result<Value> {
        let mut words = line.split_whitespace();
        let what = words.next().unwrap_or_default();
        let count = words.next().map_or(Ok(1), str::parse)?;
        Ok(match what {
            "steps" => {
                let steps = self.steps(count)?;
                let seconds: Vec<f64> = steps.iter().map(|step| step.whole).collect();
                json!({ "seconds": seconds, "loss": self.loss })
            }
            "memory" => json!({ "peak_rss_bytes": peak_rss() }),
            "peak" => json!({ "gflops": peak_gflops(), "gbytes_per_sec": peak_gbytes() }),
            "parts" => {
                profile::start();
                let steps = self.steps(count);
                let costs = profile::stop();
                let steps = steps?;
                let sum = |of: fn(&Seconds) -> f64| steps.iter().map(of).sum::<f64>();
                json!({
                    "steps": count,
                    "seconds": sum(|step| step.whole),
                    "data": sum(|step| step.data),
                    "update": sum(|step| step.update),
                    "costs": costs.iter().map(cost).collect::<Vec<_>>(),
                })
            }
            _ => bail!("`{line}` is no request"),
        })
    }
}

fn cost(cost: &Cost) -> Value {
    json!({
        "operation": cost.operation,
        "pass": format!("{:?}", cost.pass).to_lowercase(),
        "shape": cost.shape,
        "calls": cost.calls,
        "seconds": cost.time.as_secs_f64(),
        "flops": cost.flops,
        "bytes": cost.bytes,
    })
}

/// The best of several runs, in seconds.
fn best(runs: usize, run: impl Fn()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..runs)
        .map(time)
        .min()
        .unwrap_or(Duration::MAX)
        .as_secs_f64()
}

/// What a product of square matrices reaches at best.
fn peak_gflops() -> f64 {
    const SIDE: usize = 1536;
    let normal = Distribution::Normal(0.0, 1.0);
    let square = || Tensor::<2>::random([SIDE, SIDE], normal, &Device::flex());
    let (a, b) = (square(), square());
    let seconds = best(5, || {
        drop(linear(a.clone(), b.clone(), 1.0, Precision::F32));
    });
    2.0 * SIDE.pow(3) as f64 / seconds / 1e9
}

/// What a copy in memory by all threads reaches at best, reading and writing counted.
fn peak_gbytes() -> f64 {
    const NUMBERS: usize = 1 << 24;
    let (from, threads) = (vec![1.0_f32; NUMBERS], std::thread::available_parallelism());
    let piece = NUMBERS.div_ceil(threads.map_or(1, usize::from));
    let mut to = vec![0.0_f32; NUMBERS];
    let mut runs: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                for (to, from) in to.chunks_mut(piece).zip(from.chunks(piece)) {
                    scope.spawn(|| to.copy_from_slice(from));
                }
            });
            start.elapsed().as_secs_f64()
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    (2 * NUMBERS * size_of::<f32>()) as f64 / runs[0] / 1e9
}

fn main() -> Result<()> {
    // As `work_along`, and with one thread too: then every instruction of a step is this thread's.
    rayon::ThreadPoolBuilder::new()
        .use_current_thread()
        .build_global()?;
    let arguments = Arguments::parse();
    let config = RunConfig::load(
        &Registry::default(),
        Some(&arguments.model),
        &arguments.keys,
    )?
    .config;
    let plan = config.norm.plan(&config.model)?;
    let cost = plan.cost();
    let decoder = Decoder::new(&plan, 1, &Device::flex().autodiff());
    let decoder = decoder.with_precision(config.train.precision.into());
    let engine = groups::engine(&plan, &config.optim, 1_000_000, &decoder)?;
    let mut training = Training {
        task: Some(Task::new(decoder, DocumentMask::Across)),
        engine,
        config,
        step: 0,
        loss: f64::NAN,
    };
    training.steps(arguments.warm)?;
    let mut out = stdout().lock();
    let ready = json!({
        "parameters": cost.params,
        "flops_per_token": cost.train_flops_per_token,
        "tokens_per_step": training.config.train.tokens_per_step(training.config.model.context),
    });
    writeln!(out, "{ready}")?;
    out.flush()?;
    for line in stdin().lock().lines() {
        writeln!(out, "{}", training.answer(&line?)?)?;
        out.flush()?;
    }
    Ok(())
}
