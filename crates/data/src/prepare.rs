//! From a configuration to packed splits: find, hash, tokenize or reuse, open.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use evenburn_locations::Storage;

use crate::digest::digests;
use crate::group::groups;
use crate::key::Key;
use crate::layout::{Listing, PlacedSource, SourceRole, find_sources};
use crate::learned::{Part, Share, learned, train_on};
use crate::manifest::{FORMAT_VERSION, MANIFEST, Manifest, SourceRecord, TokenizerRecord};
use crate::megatron::TokenType;
use crate::places::named_tokenizer;
use crate::placing::Tally;
use crate::shard_text::InPlace;
use crate::source::Source;
use crate::split::Split;
use crate::store::PackedStore;
use crate::tokenize::Job;
use crate::{
    Corpus, DataConfig, DataError, OnBadRecord, Pins, Progress, Tokenizer, fetch, files,
    open_storage,
};

/// Token files up to this size altogether are hashed whenever they are opened, larger ones only
/// checked for size and counts. (XXH3 takes some milliseconds for it.)
const VERIFY_BYTES: u64 = 256 << 20;

/// Finds the configured text, tokenizes what the cache doesn't hold yet, and opens both splits.
///
/// The cache is `config.cache`, or `cache` if that is unset. It is keyed by the contents of the
/// sources, the tokenizer and the keys that shape the tokens, so that a change of any of them makes
/// a new folder and never mixes with an old one. Finished shards of an interrupted call are kept;
/// the next call continues at the first unfinished one. Several processes may call it at once: one
/// tokenizes, the others wait.
///
/// # Errors
/// Any [`DataError`] of the configuration, the sources, the tokenizer or the cache;
/// [`DataError::Interrupted`] if `progress` asked to stop.
///
/// ```
/// use evenburn_data::{DataConfig, prepare};
/// let dir = tempfile::tempdir().unwrap();
/// let text = dir.path().join("a.txt");
/// std::fs::write(&text, "one document\n<|endoftext|>\nanother document\n").unwrap();
/// let config = DataConfig {
///     path: text.to_str().unwrap().into(),
///     tokenizer_vocab: 260,
///     ..Default::default()
/// };
/// let corpus = prepare(&config, &dir.path().join("cache"), &()).unwrap();
/// let documents: u64 = corpus.manifest.shards.iter().map(|s| s.documents).sum();
/// assert_eq!(documents, 2);
/// ```
pub fn prepare(
    config: &DataConfig,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Corpus, DataError> {
    prepared(config, None, cache, progress)
}

/// [`prepare`] in the tokens of a tokenizer that is at hand, whatever `config.tokenizer` says.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_in(
    config: &DataConfig,
    tokenizer: Tokenizer,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Corpus, DataError> {
    prepared(config, Some(tokenizer), cache, progress)
}

fn prepared(
    config: &DataConfig,
    at_hand: Option<Tokenizer>,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Corpus, DataError> {
    let cache = config.cache.as_deref().unwrap_or(cache);
    let storage = open_storage(config, cache)?;
    let listing = find_sources(config, &storage)?;
    tokenized(listing, &storage, config, at_hand, cache, progress)
}

/// The corpus of a listing.
pub(crate) fn tokenized(
    listing: Listing,
    storage: &Storage,
    config: &DataConfig,
    at_hand: Option<Tokenizer>,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Corpus, DataError> {
    let Listing {
        sources,
        left_out,
        notes,
    } = listing;
    require_text(&sources, config)?;
    files::create_folder(cache)?;
    let hashes = digests(&sources, cache, progress)?;
    let mut records: Vec<_> = sources.iter().zip(hashes).map(record).collect();
    let tokenizer = match at_hand {
        Some(tokenizer) => tokenizer.with_bos(config.bos_token.as_deref())?,
        None => tokenizer(config, storage, &sources, &records, cache, progress)?,
    };

    let folder = cache.join(format!("tokens-{}", key(config, &records, &tokenizer)));
    if !folder.join(MANIFEST).exists() {
        files::create_folder(&folder)?;
        let _lock = files::lock(&folder)?;
        if !folder.join(MANIFEST).exists() {
            let job = Job {
                config,
                tokenizer: &tokenizer,
                folder: &folder,
                token_type: TokenType::for_vocab(tokenizer.vocab_size()),
                progress,
            };
            fetch(&all(&sources), storage, progress)?;
            let done = job.run(&groups(sources, config.shard_bytes))?;
            for (record, tally) in records.iter_mut().zip(done.tallies) {
                record.documents = tally;
            }
            let manifest = Manifest {
                format: FORMAT_VERSION,
                tokenizer: TokenizerRecord {
                    sha256: tokenizer.sha256().into(),
                    vocab_size: tokenizer.vocab_size(),
                    eod_token: tokenizer.eod_token().into(),
                    eod: tokenizer.eod(),
                    bos: tokenizer.bos(),
                },
                token_type: job.token_type,
                text_field: config.text_field.clone(),
                validation_fraction: config.validation_fraction,
                sources: records,
                groups: done.groups,
                shards: done.shards,
            };
            tokenizer.save(&folder.join("tokenizer.json"))?;
            evenburn_files::replace(&folder.join(MANIFEST), manifest.to_json().as_bytes())?;
            job.remove_notes();
        }
    }
    Ok(Corpus {
        left_out,
        notes,
        pins: Pins::of(config, storage),
        ..open(&folder, tokenizer)?
    })
}

/// The sources themselves.
fn all(sources: &[PlacedSource]) -> Vec<Arc<dyn Source>> {
    sources.iter().map(|it| Arc::clone(&it.source)).collect()
}

/// Sees to it that there is text to learn a tokenizer from, or to train on: at least one source is some.
fn require_text(sources: &[PlacedSource], config: &DataConfig) -> Result<(), DataError> {
    let mut first = None;
    for placed in sources {
        match placed.documents(config)? {
            Ok(_) => return Ok(()),
            Err(why) => {
                first.get_or_insert((placed.source.location(), why));
            }
        }
    }
    let Some((path, why)) = first else {
        return Ok(());
    };
    Err(DataError::NoText {
        path: path.to_path_buf(),
        message: match sources.len() {
            1 => why,
            files => format!("{why}; none of {files} files is text"),
        },
    })
}

fn open(folder: &Path, tokenizer: Tokenizer) -> Result<Corpus, DataError> {
    let manifest = Manifest::read(folder)?.ok_or_else(|| DataError::Missing {
        path: folder.join(MANIFEST),
    })?;
    if (
        manifest.tokenizer.sha256.as_str(),
        manifest.tokenizer.eod,
        manifest.tokenizer.bos,
    ) != (tokenizer.sha256(), tokenizer.eod(), tokenizer.bos())
        || manifest.tokenizer.vocab_size != tokenizer.vocab_size()
    {
        return Err(DataError::Damaged {
            path: folder.join(MANIFEST),
            message: "it names another tokenizer than its folder".into(),
            cache: folder.to_path_buf(),
        });
    }
    let train = PackedStore::open(folder, &manifest, Split::Train, &tokenizer)?;
    let validation = PackedStore::open(folder, &manifest, Split::Validation, &tokenizer)?;
    let tokens = train.tokens() + validation.tokens();
    if tokens * manifest.token_type.width() as u64 <= VERIFY_BYTES {
        train.verify()?;
        validation.verify()?;
    }
    Ok(Corpus {
        tokenizer,
        train,
        validation,
        manifest,
        left_out: BTreeMap::new(),
        notes: Vec::new(),
        pins: Pins::default(),
        folder: folder.to_path_buf(),
    })
}

fn record((placed, sha256): (&PlacedSource, String)) -> SourceRecord {
    SourceRecord {
        name: placed.source.name().into(),
        size: placed.source.size(),
        sha256,
        role: placed.role,
        rule: placed.rule,
        documents: Tally::default(),
    }
}

/// Adds the text and its distribution over the splits.
fn add_text(key: &mut Key, config: &DataConfig, records: &[SourceRecord]) {
    key.add(&config.text_field);
    if config.on_bad_record == OnBadRecord::Skip {
        key.add("without bad records");
    }
    if records.iter().any(|r| r.role == SourceRole::Mixed) {
        key.add(&config.validation_fraction.to_string());
    }
    for r in records {
        key.add(&r.name);
        key.add(&r.sha256);
        key.add(&format!("{:?} {:?}", r.role, r.rule));
    }
}

fn key(config: &DataConfig, records: &[SourceRecord], tokenizer: &Tokenizer) -> String {
    let mut key = Key::new("tokens");
    add_text(&mut key, config, records);
    key.add(tokenizer.sha256());
    key.add(tokenizer.eod_token());
    key.add(config.bos_token.as_deref().unwrap_or_default());
    key.add(&config.shard_bytes.to_string());
    key.add(&config.window_bytes.to_string());
    key.short()
}

fn tokenizer(
    config: &DataConfig,
    storage: &Storage,
    sources: &[PlacedSource],
    records: &[SourceRecord],
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Tokenizer, DataError> {
    if let Some(tokenizer) = given_tokenizer(config, storage)? {
        return Ok(tokenizer);
    }
    let mut key = Key::new("tokenizer");
    add_text(&mut key, config, records);
    key.add(&config.tokenizer_vocab.to_string());
    key.add(&config.eod_token);
    learned(config, &key.short(), cache, || {
        fetch(&all(sources), storage, progress)?;
        let all = Share {
            config,
            sources,
            part: Part::Spread,
            access: &InPlace,
            part_of_all: 1.0,
        };
        train_on(config, [all], progress)
    })
}

/// The tokenizer that `data.tokenizer` names; nothing where one is to be trained.
pub(crate) fn given_tokenizer(
    config: &DataConfig,
    storage: &Storage,
) -> Result<Option<Tokenizer>, DataError> {
    let bos = config.bos_token.as_deref();
    if config.tokenizer != DataConfig::TRAIN {
        return named_tokenizer(config, storage)?.with_bos(bos).map(Some);
    }
    if let Some(bos) = bos {
        let why = format!(
            "is {bos}, which a tokenizer that is trained doesn't have; leave it out, or give one with data.tokenizer"
        );
        return Err(DataError::config("data.bos_token", why));
    }
    Ok(None)
}
