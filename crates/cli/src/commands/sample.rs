//! `evenburn sample`.

use super::{imported_texts, load};
use crate::args::Sample;
use crate::output::{say, tell};
use crate::overrides::Overrides;
use crate::tokenizing;
use anyhow::Result;
use evenburn_model::Sampler;
use evenburn_train::Registry;
use evenburn_train::{room, sample};

/// Tokens of a sample where nobody says.
const TOKENS: usize = 128;

pub(super) fn run(registry: &Registry, arguments: Sample, overrides: Overrides) -> Result<()> {
    let run = load(registry, &arguments.run, arguments.compute, overrides)?;
    let tokenizer = tokenizing::tokenizer(&run.tokenizer, &run.config.data)?;
    let ends = imported_texts(&run)?.map_or_else(Vec::new, |texts| texts.stops);
    let count = arguments.count.get();
    let tokens = match arguments.tokens {
        Some(tokens) => tokens.get(),
        None => match room(&run.plan, &tokenizer, &arguments.prompt)? {
            Some(room) if room < TOKENS => {
                tell!("{room} tokens instead of {TOKENS}: the model has learned no more positions");
                room
            }
            _ => TOKENS,
        },
    };
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
            tokens,
            &sampler,
        )?;
        if count > 1 {
            say!("--- sample {} of {count}", n + 1)?;
        }
        say!("{text}")?;
    }
    Ok(())
}
