//! `evenburn sample`.

use super::{imported_texts, load};
use crate::args::Sample;
use crate::output::say;
use crate::overrides::Overrides;
use crate::tokenizing;
use anyhow::Result;
use evenburn_model::Sampler;
use evenburn_train::sample;

pub(super) fn run(arguments: Sample, overrides: Overrides) -> Result<()> {
    let run = load(&arguments.run, arguments.compute, overrides)?;
    let tokenizer = tokenizing::tokenizer(&run.tokenizer, &run.config.data)?;
    let ends = imported_texts(&run)?.map_or_else(Vec::new, |texts| texts.stops);
    let count = arguments.count.get();
    for n in 0..count {
        let sampler = Sampler {
            temperature: arguments.temperature,
            top_k: arguments.top_k,
            top_p: arguments.top_p,
            seed: arguments.seed.wrapping_add(n),
        };
        let text = sample(
            &run.decoder,
            &tokenizer,
            &ends,
            &arguments.prompt,
            arguments.tokens.get(),
            &sampler,
        )?;
        if count > 1 {
            say!("--- sample {} of {count}", n + 1)?;
        }
        say!("{text}")?;
    }
    Ok(())
}
