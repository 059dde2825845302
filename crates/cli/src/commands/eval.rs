//! `evenburn eval`.

use super::train::{NO_BITS, decimals};
use super::{load, run_data};
use crate::args::{Eval, Split};
use crate::output::say;
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_data::{Baselines, Score};
use evenburn_train::Registry;
use evenburn_train::evaluate;
use indicatif::HumanCount;

pub(super) fn run(registry: &Registry, arguments: Eval, overrides: Overrides) -> Result<()> {
    let run = load(registry, &arguments.run, arguments.compute, overrides)?;
    let corpus = run_data::corpus(&run)?;
    let split = match arguments.split {
        Split::Train => evenburn_data::Split::Train,
        Split::Validation => evenburn_data::Split::Validation,
    };
    let (context, batch) = (run.config.model.context, run.config.train.batch_size);
    let samples = arguments
        .tokens
        .map(|tokens| tokens.get().div_ceil(context as u64));
    let batches = || corpus.store(split).batches(context, batch, samples);
    let mut scores = vec![("model", evaluate(&run.task(), batches()?)?)];
    if arguments.baselines {
        let models = Baselines::fit(&corpus.train, run.config.model.vocab_size, None)?;
        let found = models.score_all(batches()?)?;
        scores.insert(0, ("bigram", found.bigram));
        scores.insert(0, ("unigram", found.unigram));
    }
    if arguments.json {
        say!("{}", json(&scores, run.state.step))?;
    } else {
        say!(
            "{} after step {}",
            run.plan.scheme,
            HumanCount(run.state.step)
        )?;
        say!(
            "{:<8} {:>12} {:>12} {:>12} {:>12}",
            "",
            "loss (nats)",
            "perplexity",
            "bits/byte",
            "tokens"
        )?;
        for (name, score) in &scores {
            say!(
                "{name:<8} {:>12.4} {:>12.2} {:>12} {:>12}",
                score.nats_per_token(),
                score.perplexity(),
                decimals(score.bits_per_byte(), 4),
                HumanCount(score.targets).to_string()
            )?;
        }
        if scores
            .iter()
            .any(|(_, score)| score.bits_per_byte().is_none())
        {
            say!("{NO_BITS}")?;
        }
    }
    Ok(())
}

fn json(scores: &[(&str, Score)], step: u64) -> String {
    let models: serde_json::Map<_, _> = scores
        .iter()
        .map(|(name, score)| {
            let fields = serde_json::json!({
                "loss": score.nats_per_token(),
                "perplexity": score.perplexity(),
                "bits_per_byte": score.bits_per_byte(),
                "tokens": score.targets,
            });
            ((*name).to_owned(), fields)
        })
        .collect();
    serde_json::json!({ "step": step, "models": models }).to_string()
}
