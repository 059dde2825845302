//! Text that is fetched, decoded, tokenized and packed ahead of the training that reads it.

mod access;
mod disk;
mod folders;
mod kept;
mod reader;
mod shelf;
#[cfg(test)]
mod tests;
mod validation;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use evenburn_locations::{ContentId, Storage};

pub use self::folders::{clear_streams, kept_streams};

use self::access::Watched;
use self::disk::Disk;
use self::reader::Ahead;
use self::validation::Measured;
use crate::group::{Group, groups};
use crate::key::Key;
use crate::layout::{LeftOut, Listing, PlacedSource, find_sources};
use crate::learned::{Part, Share, learned, train_on};
use crate::order::ShardOrder;
use crate::places::storage_settings;
use crate::prepare::given_tokenizer;
use crate::shard_text::Rules;
use crate::split::Split;
use crate::store::PackedStore;
use crate::window::{Place, Windows as _};
use crate::{
    Baselines, DataConfig, DataError, OnBadRecord, Pins, Progress, Stream, Tokenizer, files,
};

/// How much validation text is read of a stream: as much as evaluations score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// Positions per sample, `T`.
    pub context: usize,
    /// Samples; with none, no validation text is looked for.
    pub samples: u64,
}

/// A corpus whose training text is tokenized ahead of the training that reads it. Cheap to clone.
///
/// Nothing of it is read before a [`stream`](Self::stream) is, but for the validation text and, where one is trained, the
/// tokenizer. The samples are those of [`prepare`](crate::prepare) on the same files, in the same order.
///
/// ```
/// use evenburn_data::{DataConfig, Evaluation, Stream, prepare, prepare_ahead};
/// let dir = tempfile::tempdir().unwrap();
/// let text = dir.path().join("a.txt");
/// let document = |n| format!("document {n} has some words of text\n<|endoftext|>\n");
/// std::fs::write(&text, (0..300).map(document).collect::<String>()).unwrap();
/// let config = DataConfig { path: text.to_str().unwrap().into(), tokenizer_vocab: 260,
///     validation_fraction: 0.1, window_bytes: 2000, ..Default::default() };
/// let cache = dir.path().join("cache");
/// let corpus = prepare_ahead(&config, Evaluation { context: 16, samples: 4 }, &cache, &()).unwrap();
/// let mut stream = corpus.stream(16, 42).unwrap();
///
/// let prepared = prepare(&config, &cache, &()).unwrap();
/// let mut same = Stream::new(prepared.train, 16, 42).unwrap();
/// assert_eq!(stream.next_batch(100).unwrap(), same.next_batch(100).unwrap());
/// ```
#[derive(Debug, Clone)]
pub struct StreamedCorpus {
    /// What makes the tokens.
    pub tokenizer: Tokenizer,
    /// What the model is evaluated on: the start of the validation split.
    pub validation: PackedStore,
    /// Names of files that were found and are not read, by reason.
    pub left_out: BTreeMap<LeftOut, Vec<String>>,
    /// What should be known of the listing, in sentences.
    pub notes: Vec<String>,
    /// The commits at which repositories are read.
    pub pins: Pins,
    plan: Arc<Plan>,
    measured: Measured,
}

/// What a stream's windows are made from.
#[derive(Debug)]
struct Plan {
    config: DataConfig,
    tokenizer: Tokenizer,
    /// What is read, in the order of the listing.
    sources: Vec<PlacedSource>,
    /// Their groups that may have training text.
    shards: Vec<Group>,
    identity: String,
    disk: Disk,
    storage: Storage,
}

/// Finds the configured text and reads what has to be known of it before a stream begins: a tokenizer where one is trained,
/// from the first files, and the validation text that evaluations need.
///
/// Fetched files and tokenized windows are kept below `config.cache`, or `cache` if that is unset, up to
/// `config.cache_bytes`.
///
/// # Errors
/// Any [`DataError`] of the configuration, the listing, the tokenizer or what is read of the text;
/// [`DataError::Interrupted`] if `progress` asked to stop; [`DataError::Config`] names `data.validation_path` where the first
/// 64 files have no validation text.
pub fn prepare_ahead(
    config: &DataConfig,
    evaluation: Evaluation,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<StreamedCorpus, DataError> {
    listed(config, None, evaluation, cache, progress)
}

/// [`prepare_ahead`] in the tokens of a tokenizer that is at hand, whatever `config.tokenizer` says.
///
/// # Errors
/// As [`prepare_ahead`].
pub fn prepare_ahead_in(
    config: &DataConfig,
    tokenizer: Tokenizer,
    evaluation: Evaluation,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<StreamedCorpus, DataError> {
    listed(config, Some(tokenizer), evaluation, cache, progress)
}

fn listed(
    config: &DataConfig,
    at_hand: Option<Tokenizer>,
    evaluation: Evaluation,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<StreamedCorpus, DataError> {
    let cache = config.cache.as_deref().unwrap_or(cache);
    let mut settings = storage_settings(config, cache);
    // There is room for a file that is read and for the next one, which is fetched meanwhile.
    settings.whole_up_to = config.cache_bytes / 2;
    let storage = Storage::new(settings).map_err(DataError::Location)?;
    let listing = find_sources(config, &storage)?;
    streamed(
        listing, storage, config, at_hand, evaluation, cache, progress,
    )
}

/// The stream of a listing.
fn streamed(
    listing: Listing,
    storage: Storage,
    config: &DataConfig,
    at_hand: Option<Tokenizer>,
    evaluation: Evaluation,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<StreamedCorpus, DataError> {
    let Listing {
        sources,
        left_out,
        notes,
    } = listing;
    files::create_folder(cache)?;
    let mut text = Key::new("stream");
    add_text(&mut text, config, &sources);
    let text = text.finish();
    let mut folder = Key::new("folder of a stream");
    folder.add(&text);
    for placed in &sources {
        folder.add(&placed.source.location().to_string_lossy());
    }
    let disk = Disk::open(cache, &folder.short(), config.cache_bytes, sources.iter())?;
    let watched = Watched {
        disk: &disk,
        storage: &storage,
        progress,
    };
    let given = match at_hand {
        Some(tokenizer) => Some(tokenizer.with_bos(config.bos_token.as_deref())?),
        None => given_tokenizer(config, &storage)?,
    };
    let tokenizer = if let Some(given) = given {
        given
    } else {
        let mut key = Key::new("tokenizer of a stream");
        key.add(&text);
        key.add(&config.tokenizer_vocab.to_string());
        key.add(&config.eod_token);
        let all = Share {
            config,
            sources: &sources,
            part: Part::First,
            access: &watched,
            part_of_all: 1.0,
        };
        learned(config, &key.short(), cache, || {
            train_on(config, [all], progress)
        })?
    };
    let identity = identity(&text, config, &tokenizer);
    let groups = groups(sources.clone(), config.shard_bytes);
    let rules = Rules {
        tokenizer: &tokenizer,
        config,
        only: Some(Split::Validation),
    };
    let held_out = groups
        .iter()
        .filter(|group| group.role().has(Split::Validation));
    let (validation, measured) = validation::read(held_out, rules, evaluation, &watched)?;
    let mut shards = groups;
    shards.retain(|group| group.role().has(Split::Train));
    let pins = Pins::of(config, &storage);
    Ok(StreamedCorpus {
        plan: Arc::new(Plan {
            config: config.clone(),
            tokenizer: tokenizer.clone(),
            sources,
            shards,
            identity,
            disk,
            storage,
        }),
        tokenizer,
        validation,
        left_out,
        notes,
        pins,
        measured,
    })
}

/// Adds the text and its distribution over the splits, as far as a listing knows them: what isn't a digest says no more than
/// when a file was written.
pub(crate) fn add_text(key: &mut Key, config: &DataConfig, sources: &[PlacedSource]) {
    key.add(&config.text_field);
    if config.on_bad_record == OnBadRecord::Skip {
        key.add("without bad records");
    }
    key.add(&config.validation_fraction.to_string());
    for placed in sources {
        let source = &placed.source;
        key.add(source.name());
        key.add(&source.size().to_string());
        let id = source.id();
        key.add(&if id.is_digest() {
            id.to_string()
        } else {
            String::new()
        });
        key.add(&format!("{:?}", placed.role));
    }
}

/// What a checkpoint refuses to mix.
fn identity(text: &str, config: &DataConfig, tokenizer: &Tokenizer) -> String {
    let mut key = Key::new("identity of a stream");
    key.add(text);
    key.add(tokenizer.sha256());
    key.add(&format!("{:?}", tokenizer.boundaries()));
    key.add(&config.shard_bytes.to_string());
    key.add(&config.window_bytes.to_string());
    key.finish()
}

impl Plan {
    /// What tells a shard's windows from those of other contents and another corpus; nothing where the contents of a file can't
    /// be told from others.
    fn made_of(&self, group: &Group) -> Option<String> {
        let mut key = Key::new("windows");
        key.add(&self.identity);
        for placed in &group.sources {
            match placed.source.id() {
                ContentId::Unknown => key.add(&placed.source.stamp()?),
                id => key.add(&id.to_string()),
            }
        }
        Some(key.finish())
    }
}

impl StreamedCorpus {
    /// The training samples of context `T` in the order of a seed, from the beginning. Threads make its windows in the
    /// background until it is dropped.
    ///
    /// # Errors
    /// [`DataError::Config`] for a context of 0, and where no file may have training text.
    pub fn stream(&self, context: usize, seed: u64) -> Result<Stream, DataError> {
        let windows = Ahead::new(Arc::clone(&self.plan), seed);
        Stream::over(Box::new(windows), context, seed)
    }

    /// A SHA-256 over what the training samples follow from: names, sizes and digests of the files, their splits, the
    /// tokenizer and the sizes of shards and windows. A checkpoint stores it, to refuse a resume on other data.
    pub fn identity(&self) -> &str {
        &self.plan.identity
    }

    /// About how many training tokens there are: the bytes of the listing, times the tokens that a byte of the validation text
    /// stands for; nothing where none was read.
    pub fn about_tokens(&self) -> Option<u64> {
        self.measured.tokens_in(self.training_bytes())
    }

    /// Stored bytes of the files that may have training text.
    pub fn training_bytes(&self) -> u64 {
        self.plan.shards.iter().map(|group| group.bytes).sum()
    }

    /// N-gram models of the first windows of a seed's stream, up to `limit` tokens.
    ///
    /// # Errors
    /// What goes wrong where these windows have to be made again.
    pub fn baselines(
        &self,
        vocab_size: usize,
        seed: u64,
        limit: u64,
    ) -> Result<Baselines, DataError> {
        self.tokenizer.check_vocab(vocab_size)?;
        let mut windows = Ahead::new(Arc::clone(&self.plan), seed);
        let shards = windows.shards();
        let mut order = ShardOrder::new(seed, shards);
        let mut place = Place {
            epoch: 0,
            position: 0,
            window: 0,
        };
        let texts = std::iter::from_fn(|| {
            while place.epoch == 0 && shards > 0 {
                let shard = order.shard(place.epoch, place.position);
                match windows.window(place, shard) {
                    Ok(Some(window)) => {
                        place = place.behind(window.is_last, shards);
                        return Some(Ok(window.text));
                    }
                    Ok(None) => place = place.next_shard(shards),
                    Err(error) => return Some(Err(error)),
                }
            }
            None
        });
        Baselines::count(texts, vocab_size, Some(limit))
    }

    /// Bytes of fetched files and of windows that the disk holds for it.
    pub fn kept_bytes(&self) -> u64 {
        self.plan.disk.used()
    }

    /// `data.cache_bytes`.
    pub(crate) fn most_kept_bytes(&self) -> u64 {
        self.plan.config.cache_bytes
    }

    /// What is read, in the order of the listing.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &PlacedSource> {
        self.plan.sources.iter()
    }
}
