//! Loss, perplexity and bits per byte on the text of a run.

use crate::args::{Eval, Split};
use crate::commands::train::{NO_BITS, decimals};
use crate::commands::{load, run_data};
use crate::failure::WrongInput;
use crate::output::say;
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_data::{DataError, PackedStore, Score, Text};
use evenburn_train::Registry;
use evenburn_train::evaluate;
use indicatif::HumanCount;

pub(super) fn run(registry: &Registry, arguments: Eval, overrides: Overrides) -> Result<()> {
    let [path] = arguments.models.as_slice() else {
        let why = "name one run, or benchmarks for several models: --tasks hellaswag,piqa";
        return Err(WrongInput(why.to_owned()).into());
    };
    let mut run = load(registry, path, arguments.compute, overrides)?;
    // As much as is evaluated is read of a stream.
    if let Some(tokens) = arguments.tokens {
        run.config.train.eval_tokens = tokens;
    }
    let data = run_data::corpus(&run)?;
    let (texts, split) = (data.texts().into_iter(), arguments.split);
    let stores = texts.map(|(_, text)| store(text, split));
    let stores = stores.collect::<Result<Vec<_>>>()?;
    let (context, batch) = (run.config.model.context, run.config.train.batch_size);
    let samples = (arguments.tokens.is_some() || data.is_streamed()).then(|| {
        run.config
            .train
            .eval_samples(context)
            .div_ceil(stores.len() as u64)
    });
    let batches = || -> Result<_, DataError> {
        let batches = stores
            .iter()
            .map(|store| store.batches(context, batch, samples));
        Ok(batches
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten())
    };
    let mut scores = vec![("model", evaluate(&run.task(), batches()?)?)];
    if arguments.baselines {
        let vocab = run.config.model.vocab_size;
        let models = data.baselines(vocab, run.config.train.seed, u64::MAX)?;
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

/// The tokens that are scored of a text.
fn store(text: &Text, split: Split) -> Result<&PackedStore> {
    match (split, text) {
        (Split::Validation, _) => Ok(text.validation()),
        (Split::Train, Text::Prepared(corpus)) => Ok(&corpus.train),
        (Split::Train, Text::Streamed(_)) => Err(WrongInput(
            "--split train: training text that is tokenized ahead is in no place to be scored; give --data.prepare all"
                .to_owned(),
        )
        .into()),
    }
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
