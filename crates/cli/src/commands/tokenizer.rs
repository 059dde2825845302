//! `evenburn tokenizer train`.

use super::train::count;
use crate::args::TokenizerCommand;
use crate::failure::WrongInput;
use crate::tokenizing::bar;
use anyhow::Result;
use evenburn_data::{DataConfig, PathList, train_tokenizer};
use std::sync::Arc;

pub(super) fn run(arguments: &TokenizerCommand) -> Result<()> {
    let TokenizerCommand::Train { path, vocab, out } = arguments;
    if out.exists() {
        let why = format!("{}: already exists; name another file", out.display());
        return Err(WrongInput(why).into());
    }
    let config = DataConfig {
        path: PathList(path.clone()),
        tokenizer_vocab: *vocab,
        ..DataConfig::default()
    };
    let tokenizer = train_tokenizer(&config, &bar(Arc::default()))?;
    tokenizer.save(out)?;
    println!(
        "{}: {} entries, sha256 {}",
        out.display(),
        count(tokenizer.vocab_size() as u64),
        tokenizer.sha256()
    );
    Ok(())
}
