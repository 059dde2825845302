//! `evenburn export`.

use super::{imported_texts, load, tokenizer_json};
use crate::args::Export;
use crate::output::say;
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_data::{DataError, Tokenizer};
use evenburn_interchange::{Ends, ExportModel, Target, Texts, Token, export};
use evenburn_model::weights;
use evenburn_train::Registry;
use evenburn_train::TrainedRun;
use evenburn_train::config::RunConfig;

pub(super) fn run(registry: &Registry, arguments: Export, overrides: Overrides) -> Result<()> {
    let given = overrides
        .iter()
        .any(|(key, _)| key == "data.eod_token" || key == "data.bos_token");
    let run = load(registry, &arguments.run, arguments.compute, overrides)?;
    let target = match arguments.class.as_str() {
        "auto" => Target::Auto,
        "evenburn" => Target::Own,
        name => Target::Peer(name.to_owned()),
    };
    let tokenizer = tokenizer_json(&run)?;
    let model = ExportModel {
        weights: weights::collect(&run.decoder),
        ends: ends(&run, tokenizer.as_deref(), given)?,
        plan: run.plan,
        tokenizer,
    };
    let written = export(&model, &target, &arguments.folder)?;
    say!(
        "{} with {} tensors: {}",
        written.class,
        written.tensors,
        arguments.folder.display()
    )?;
    if let Some(template) = written.template {
        say!("{template}")?;
    }
    Ok(())
}

/// How the texts of a run begin and end: between the tokens of its configuration, or as they did where it was imported from,
/// if the command line hasn't `given` other tokens.
fn ends(run: &TrainedRun, tokenizer: Option<&str>, given: bool) -> Result<Ends> {
    let data = &run.config.data;
    let as_imported = |texts: &Texts| {
        let default = RunConfig::default().data.eod_token;
        let end = texts.end_token.as_ref().unwrap_or(&default);
        !given && (&data.eod_token, &data.bos_token) == (end, &texts.begin_token)
    };
    if let Some(texts) = imported_texts(run)?.filter(as_imported) {
        return Ok(Ends::Imported(Box::new(texts)));
    }
    let Some(json) = tokenizer else {
        return Ok(Ends::Unknown);
    };
    let tokenizer = match Tokenizer::from_json(json.to_owned(), &run.tokenizer, &data.eod_token) {
        // A model that was imported before special tokens were recorded may have another.
        Err(DataError::NoToken { .. }) if run.origin.is_some() && !given => {
            return Ok(Ends::Unknown);
        }
        other => other?.with_bos(data.bos_token.as_deref())?,
    };
    let begin = data.bos_token.clone().zip(tokenizer.bos());
    Ok(Ends::Trained {
        begin: begin.map(|(name, id)| Token { name, id }),
        end: Token {
            name: data.eod_token.clone(),
            id: tokenizer.eod(),
        },
    })
}
