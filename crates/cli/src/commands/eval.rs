//! `evenburn eval`.

use super::run_data;
use super::train::{NO_BITS, count, decimals};
use crate::args::{Eval, Split};
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_data::{Baselines, Score};
use evenburn_train::{evaluate, load_run};

pub(super) fn run(arguments: &Eval, overrides: &Overrides) -> Result<()> {
    let run = load_run(&arguments.run)?;
    let corpus = run_data::corpus(&run.config, &run.tokenizer, overrides)?;
    let split = match arguments.split {
        Split::Train => evenburn_data::Split::Train,
        Split::Validation => evenburn_data::Split::Validation,
    };
    let (context, batch) = (run.config.model.context, run.config.train.batch_size);
    let samples = arguments
        .tokens
        .map(|tokens| tokens.div_ceil(context as u64));
    let batches = || corpus.store(split).batches(context, batch, samples);
    let mut scores = vec![("model", evaluate(&run.task(), batches()?)?)];
    if arguments.baselines {
        let models = Baselines::fit(&corpus.train, run.config.model.vocab_size, None)?;
        let found = models.score_all(batches()?)?;
        scores.insert(0, ("bigram", found.bigram));
        scores.insert(0, ("unigram", found.unigram));
    }
    if arguments.json {
        println!("{}", json(&scores, run.state.step));
    } else {
        println!("{} after step {}", run.plan.scheme, count(run.state.step));
        println!(
            "{:<8} {:>12} {:>12} {:>12} {:>12}",
            "", "loss (nats)", "perplexity", "bits/byte", "tokens"
        );
        for (name, score) in &scores {
            println!(
                "{name:<8} {:>12.4} {:>12.2} {:>12} {:>12}",
                score.nats_per_token(),
                score.perplexity(),
                decimals(score.bits_per_byte(), 4),
                count(score.targets)
            );
        }
        if scores
            .iter()
            .any(|(_, score)| score.bits_per_byte().is_none())
        {
            println!("{NO_BITS}");
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
