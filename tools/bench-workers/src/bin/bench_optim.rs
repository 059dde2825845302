//! What a step of each optimizer costs on a model of ten million parameters.
//!
//! `cargo xtask bench optim` runs it; with `--json` it prints one object a line for what it measured.

use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Int, Tensor};
use clap::{Parser, ValueEnum};
use evenburn_model::strategy::PreNorm;
use evenburn_model::{Decoder, ModelConfig, Plan};
use evenburn_optim::{Engine, OptimizerRegistry};
use evenburn_train::groups;
use std::time::Instant;

evenburn_allocator::training_allocator!();

/// Times optimizer steps on a model of ten million parameters.
#[derive(Debug, Parser)]
struct Arguments {
    /// Steps of each recipe that are timed, in turns
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// What is timed
    #[arg(long, value_enum, default_value = "all")]
    what: What,
    /// Only these recipes, by name
    #[arg(long, value_delimiter = ',')]
    recipes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Optimizers and the training step
    All,
    /// Optimizers
    Steps,
    /// A training step, without an optimizer
    Training,
}

/// 9.7 million parameters; `tools/bench/torch/optim.py` has the same shapes.
fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 8192,
        dim: 256,
        layers: 7,
        heads: 4,
        hidden: Some(688),
        context: 256,
        ..ModelConfig::default()
    }
}

/// Sequences in a step of 16,384 tokens, and in one of the parts it is computed in.
const SEQUENCES: usize = 64;
const PART: usize = 8;

struct Fresh<'a>(&'a mut GradientsParams);

impl ModuleVisitor for Fresh<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let normal = Distribution::Normal(0.0, 1e-3);
        let device = param.val().device().inner();
        self.0
            .register(param.id, Tensor::<D>::random(param.dims(), normal, &device));
    }
}

fn report(recipe: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let line = serde_json::json!({
        "contender": "evenburn",
        "recipe": recipe,
        "ms": times[times.len() / 2] * 1e3,
        "rounds": times.len(),
    });
    println!("{line}");
}

fn steps(decoder: &Decoder, plan: &Plan, rounds: usize, only: &[String]) -> Result<()> {
    let mut runs = Vec::new();
    let registry = OptimizerRegistry::default();
    for name in registry.names() {
        let name = name.to_owned();
        if !(only.is_empty() || only.contains(&name)) {
            continue;
        }
        let mut text = format!("recipe = '{name}'\nlr = 1e-4\n");
        if registry.has_option(&name, "matrix_lr") {
            text += "matrix_lr = 1e-4\n";
        }
        let config = registry.read(text.parse()?)?;
        let engine = Engine::new(groups::from_plan(plan, &config)?, config.clip());
        runs.push((name, engine, Vec::new()));
    }
    for round in 0..=rounds {
        for (_, engine, times) in &mut runs {
            let mut grads = GradientsParams::new();
            decoder.visit(&mut Fresh(&mut grads));
            // A copy of the weights that nobody else holds, as in training.
            let model = decoder.clone().map(&mut Copied);
            let start = Instant::now();
            let (model, _) = engine.step(model, grads, 1.0)?;
            let took = start.elapsed().as_secs_f64();
            drop(model);
            // The first step makes the state.
            if round > 0 {
                times.push(took);
            }
        }
    }
    for (name, _, times) in runs {
        report(&name, times);
    }
    Ok(())
}

struct Copied;

impl burn::module::ModuleMapper for Copied {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|w| {
            let data = w.to_data();
            Tensor::from_inner(Tensor::from_data(data, &w.device().inner())).require_grad()
        })
    }
}

fn training(decoder: &Decoder, rounds: usize, device: &Device) {
    let mut times = Vec::new();
    for round in 0..=rounds {
        let start = Instant::now();
        for part in 0..SEQUENCES / PART {
            let tokens = |shift: i64| {
                let first = shift + 977 * part as i64;
                let all = Tensor::<1, Int>::arange(first..first + (PART * 256) as i64, device);
                all.remainder_scalar(8192).reshape([PART, 256])
            };
            let loss = decoder.loss_sum(tokens(0), tokens(1));
            let grads = GradientsParams::from_grads(loss.backward(), decoder);
            drop(grads);
        }
        if round > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    report("forward and backward of 16384 tokens", times);
}

fn main() -> Result<()> {
    let Arguments {
        rounds,
        what,
        recipes,
    } = Arguments::parse();
    let device = Device::flex().autodiff();
    let plan = Plan::new(&config(), &PreNorm::default())?;
    let decoder = Decoder::new(&plan, 0, &device);
    if what != What::Training {
        steps(&decoder, &plan, rounds, &recipes)?;
    }
    if what != What::Steps {
        training(&decoder, rounds.div_ceil(3), &device);
    }
    Ok(())
}
