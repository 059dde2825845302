//! One tokenizer for all sources of a mixture.

use std::path::Path;

use crate::ahead;
use crate::digest::digests;
use crate::key::Key;
use crate::layout::find_sources;
use crate::learned::{Part, Share, learned, train_on};
use crate::prepare::given_tokenizer;
use crate::shard_text::InPlace;
use crate::{DataConfig, DataError, Prepare, Progress, Tokenizer, files, open_storage};

/// The tokenizer of a mixture: the one that `config.tokenizer` names, or one that is trained on the training text of its
/// sources, as much of each as its first weight says, and kept in `config.cache`, or `cache` if that is unset. Of a source
/// that is streamed, the text is that of its first files.
///
/// # Errors
/// Any [`DataError`] of the configuration, the listings, the tokenizer or what is read of the text;
/// [`DataError::Interrupted`] if `progress` asked to stop.
pub fn mixture_tokenizer(
    config: &DataConfig,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Tokenizer, DataError> {
    config.validate()?;
    let cache = config.cache.as_deref().unwrap_or(cache);
    let storage = open_storage(config, cache)?;
    if let Some(tokenizer) = given_tokenizer(config, &storage)? {
        return Ok(tokenizer);
    }
    files::create_folder(cache)?;
    let total: f64 = config.sources.iter().map(|s| s.weight.at(0)).sum();
    let mut key = Key::new("tokenizer of a mixture");
    key.add(&config.tokenizer_vocab.to_string());
    key.add(&config.eod_token);
    let mut texts = Vec::new();
    for source in &config.sources {
        let own = config.of_source(source);
        let sources = find_sources(&own, &storage)?.sources;
        let share = source.weight.at(0) / total;
        key.add(&share.to_string());
        ahead::add_text(&mut key, &own, &sources);
        let part = match own.prepares() {
            Prepare::Ahead => Part::First,
            Prepare::All => {
                for digest in digests(&sources, cache, progress)? {
                    key.add(&digest);
                }
                Part::Spread
            }
        };
        texts.push((own, sources, part, share));
    }
    learned(config, &key.short(), cache, || {
        let shares = texts.iter().map(|(config, sources, part, share)| Share {
            config,
            sources,
            part: *part,
            access: &InPlace,
            part_of_all: *share,
        });
        train_on(config, shares, progress)
    })
}
