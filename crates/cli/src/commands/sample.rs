//! `evenburn sample`.

use super::imported_texts;
use crate::args::Sample;
use anyhow::Result;
use evenburn_data::Tokenizer;
use evenburn_model::Sampler;
use evenburn_train::{load_run, sample};

pub(super) fn run(arguments: &Sample) -> Result<()> {
    let run = load_run(&arguments.run)?;
    let data = &run.config.data;
    let tokenizer = Tokenizer::from_file(&run.tokenizer, &data.eod_token)?
        .with_bos(data.bos_token.as_deref())?;
    let ends = imported_texts(&run)?.map_or_else(Vec::new, |texts| texts.stops);
    for n in 0..arguments.count {
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
            arguments.tokens,
            &sampler,
        )?;
        if arguments.count > 1 {
            println!("--- sample {} of {}", n + 1, arguments.count);
        }
        println!("{text}");
    }
    Ok(())
}
