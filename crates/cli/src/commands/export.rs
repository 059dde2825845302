//! `evenburn export`.

use super::load;
use crate::args::Export;
use crate::output::say;
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_data::Tokenizer;
use evenburn_interchange::{Model, Target, Vocabulary, export};
use evenburn_model::weights;

pub(super) fn run(arguments: Export, overrides: Overrides) -> Result<()> {
    let run = load(&arguments.run, arguments.compute, overrides)?;
    let vocabulary = if run.tokenizer.is_file() {
        let end_of_text = run.config.data.eod_token.clone();
        let tokenizer = Tokenizer::from_file(&run.tokenizer, &end_of_text)?;
        Some(Vocabulary {
            json: tokenizer.json().to_owned(),
            end_of_text,
            end_of_text_id: tokenizer.eod(),
        })
    } else {
        None
    };
    let target = match arguments.class.as_str() {
        "auto" => Target::Auto,
        "evenburn" => Target::Own,
        name => Target::Peer(name.to_owned()),
    };
    let model = Model {
        weights: weights::collect(&run.decoder),
        plan: run.plan,
        vocabulary,
    };
    let written = export(&model, &target, &arguments.folder)?;
    say!(
        "{} with {} tensors: {}",
        written.class,
        written.tensors,
        arguments.folder.display()
    )?;
    Ok(())
}
