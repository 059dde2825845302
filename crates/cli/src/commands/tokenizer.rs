//! `evenburn tokenizer train`.

use super::data::{texts, without_key};
use crate::args::TokenizerCommand;
use crate::failure::WrongInput;
use crate::keys;
use crate::output::say;
use crate::overrides::Overrides;
use crate::tokenizing::{bar, cache_folder};
use anyhow::Result;
use evenburn_data::{open_storage, train_tokenizer};
use evenburn_train::Registry;
use indicatif::HumanCount;
use std::sync::Arc;

pub(super) fn run(
    registry: &Registry,
    arguments: TokenizerCommand,
    mut overrides: Overrides,
) -> Result<()> {
    let TokenizerCommand::Train { path, vocab, out } = arguments;
    if out.exists() {
        let why = format!("{}: already exists; name another file", out.display());
        return Err(WrongInput(why).into());
    }
    keys::add(&mut overrides, "--vocab", "data.tokenizer_vocab", vocab)?;
    let config = texts(registry, &path, &overrides)?;
    let storage = open_storage(&config, &cache_folder())?;
    let bar = bar(Arc::default());
    let tokenizer = train_tokenizer(&config, &storage, &bar).map_err(without_key)?;
    tokenizer.save(&out)?;
    say!(
        "{}: {} entries, sha256 {}",
        out.display(),
        HumanCount(tokenizer.vocab_size() as u64),
        tokenizer.sha256()
    )?;
    Ok(())
}
