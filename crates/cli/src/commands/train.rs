//! `evenburn train`.

use super::run_data::baselines;
use crate::args::Train;
use crate::output::{Unwritten, say, tell};
use crate::overrides::Overrides;
use crate::ranks::{self, Role};
use crate::{dashboard, signals, tokenizing};
use anyhow::Result;
use evenburn_data::{BaselineScores, Text, Tokenizer, TrainingData};
use evenburn_eval::DataSets;
use evenburn_model::Plan;
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use evenburn_train::validation::Benchmarks;
use evenburn_train::{Display, Ended, Launch, Resume, Start, Summary, Trainer, own_tokenizer};
use indicatif::{BinaryBytes, HumanCount};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

pub(super) fn run(
    registry: &Registry,
    with: &dyn Fn(Trainer) -> Trainer,
    arguments: Train,
    overrides: Overrides,
) -> Result<()> {
    let launched = Instant::now();
    let ranks = match ranks::join(registry, &arguments, &overrides)? {
        Role::Lead(ranks) => ranks,
        Role::Followed => return Ok(()),
    };
    let launch = Launch {
        file: arguments.config,
        overrides,
        resume: match arguments.resume {
            None => Resume::Never,
            Some(auto) if auto.as_os_str() == "auto" => Resume::Auto,
            Some(run) => Resume::Run(run),
        },
        run_dir: arguments.run_dir,
    };
    let (resolved, start) = launch.resolve(registry)?;
    let config = resolved.config.clone();
    let plan = start.plan(registry, &config)?;
    let stop = signals::stop_flag("finishing the step and saving a checkpoint")?;
    let data = tokenizing::corpus(
        &config,
        own_tokenizer(&resolved, &start).as_deref(),
        Arc::clone(&stop),
    )?;
    let benchmarks = benchmarks(&config, data.tokenizer())?;
    let world = match &ranks {
        Some(ranks) => ranks.world(),
        None => config.train.device.entries()?.len(),
    };
    announce(&config, &plan, &data, &start, world)?;
    let mut trainer = Trainer::new(registry, resolved, data.clone())
        .start(start)
        .display(Display::Lines)
        .stop_flag(stop)
        .launched(launched)
        .benchmarks(benchmarks)
        .with_run_log();
    if let Some(ranks) = ranks {
        trainer = trainer.ranks(ranks);
    }
    if !arguments.no_dashboard && on_a_terminal() {
        trainer = trainer.renderer(dashboard::open);
    }
    let summary = with(trainer).run()?;
    let scores = match summary.ended {
        Ended::Finished if !arguments.no_baselines => baselines(&config, &data)
            // The summary of a run is worth more than what it is compared with.
            .inspect_err(|error| tell!("no baselines: {error:#}"))
            .ok(),
        _ => None,
    };
    match report(&summary, scores.as_ref()) {
        // The run is done, whoever reads about it.
        Err(unwritten) if unwritten.is_closed() => Ok(()),
        reported => Ok(reported?),
    }
}

/// The benchmarks of `[eval]`, whose documents are fetched where they aren't here.
fn benchmarks(config: &RunConfig, tokenizer: &Tokenizer) -> Result<Benchmarks> {
    if config.eval.is_empty() {
        return Ok(Benchmarks::default());
    }
    let storage = tokenizing::storage(&config.data)?;
    let data = DataSets::new(storage, config.eval.data.clone());
    Ok(Benchmarks::load(config, tokenizer, &data)?)
}

/// Whether there is somebody to see a dashboard and to press its keys.
fn on_a_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

fn announce(
    config: &RunConfig,
    plan: &Plan,
    data: &TrainingData,
    start: &Start,
    ranks: usize,
) -> Result<()> {
    let cost = plan.cost();
    let steps = config.train.total_steps(config.model.context)?;
    let tokens = steps.saturating_mul(config.train.tokens_per_step(config.model.context));
    let action = match start {
        Start::Fresh(_) => "training".to_owned(),
        Start::Continue(run) => format!("continuing {}:", run.display()),
        Start::Branch { checkpoint, .. } => {
            format!("continuing {} in a new run:", checkpoint.display())
        }
    };
    tell!(
        "{action} {} with {} parameters ({} outside embedding and output layer) on {}{}",
        plan.scheme,
        HumanCount(cost.params as u64),
        HumanCount(cost.non_embedding as u64),
        config.train.device,
        match ranks {
            1 => String::new(),
            ranks => format!(", {ranks} ranks"),
        }
    );
    tell!(
        "{}, vocabulary {}; {steps} steps, {} tokens",
        counted(data),
        data.tokenizer().vocab_size(),
        HumanCount(tokens)
    );
    Ok(())
}

/// How much text there is, as far as that is known before it is read.
fn counted(data: &TrainingData) -> String {
    let texts = data.texts().into_iter();
    let counts = texts.map(|(name, text)| match name {
        Some(name) => format!("{name}: {}", counted_in(text)),
        None => counted_in(text),
    });
    counts.collect::<Vec<_>>().join("; ")
}

fn counted_in(text: &Text) -> String {
    let validation = HumanCount(text.validation().tokens());
    match text {
        Text::Prepared(corpus) => format!(
            "{} training tokens, {validation} validation tokens",
            HumanCount(corpus.train.tokens())
        ),
        Text::Streamed(corpus) => {
            let listed = BinaryBytes(corpus.training_bytes());
            let training = match corpus.about_tokens() {
                Some(tokens) => format!("about {} training tokens", HumanCount(tokens)),
                None => "training tokens".to_owned(),
            };
            format!(
                "{training} in {listed} of files, tokenized ahead of the training; {validation} validation tokens"
            )
        }
    }
}

/// Why there are no bits per byte.
pub(super) const NO_BITS: &str =
    "no bits per byte: how much text the scored tokens stand for can't be told";

/// A number with so many decimals; `-` for none.
pub(super) fn decimals(number: Option<f64>, count: usize) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.count$}"))
}

fn report(summary: &Summary, baselines: Option<&BaselineScores>) -> Result<(), Unwritten> {
    let why = match summary.ended {
        Ended::Finished => "finished",
        Ended::StopAfter => "stopped at train.stop_after",
        Ended::Interrupted => "interrupted",
    };
    say!(
        "{why} after step {} of {}: {} tokens, {:.0} s, {:.0} tokens/s",
        summary.step,
        summary.total,
        HumanCount(summary.tokens),
        summary.seconds,
        summary.tokens_per_sec
    )?;
    let measured = |name| summary.validation.as_ref()?.get(name);
    if let Some(loss) = measured("val/loss") {
        let bits = measured("val/bpb");
        match baselines {
            Some(b) => say!(
                "validation loss (nats per token): unigram {:.2}, bigram {:.2}, model {loss:.2}",
                b.unigram.nats_per_token(),
                b.bigram.nats_per_token()
            )?,
            None => say!("validation loss (nats per token): model {loss:.2}")?,
        }
        match baselines {
            Some(b) => say!(
                "bits per byte: unigram {}, bigram {}, model {}",
                decimals(b.unigram.bits_per_byte(), 3),
                decimals(b.bigram.bits_per_byte(), 3),
                decimals(bits, 3)
            )?,
            None => say!("bits per byte: model {}", decimals(bits, 3))?,
        }
        if bits.is_none() {
            say!("{NO_BITS}")?;
        }
    }
    if let Some((path, text)) = &summary.sample {
        say!("sample ({}):\n{}", path.display(), indent(text))?;
    }
    say!("run: {}", summary.run.display())?;
    if let Some(checkpoint) = &summary.checkpoint {
        say!("checkpoint: {}", checkpoint.display())?;
    }
    let run = summary.run.display();
    // As it was called: the binary of a build is seldom on the search path.
    let called = std::env::args_os().next();
    let program = called.map_or_else(|| PathBuf::from("evenburn"), PathBuf::from);
    let program = program.display();
    match summary.ended {
        Ended::Finished => say!("next: {program} sample {run} --prompt \"...\""),
        Ended::StopAfter | Ended::Interrupted => say!("next: {program} train --resume {run}"),
    }
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {line}\n"))
        .collect::<String>()
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_number_is_a_dash() {
        assert_eq!(decimals(Some(1.23456), 3), "1.235");
        assert_eq!(decimals(None, 3), "-");
    }
}
