//! From a configuration to packed splits: find, hash, tokenize or reuse, open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evenburn_locations::Storage;

use crate::digest::digests;
use crate::group::groups;
use crate::key::Key;
use crate::layout::{LeftOut, Listing, PlacedSource, SourceRole, find_sources};
use crate::learned::{Part, learned};
use crate::manifest::{FORMAT_VERSION, MANIFEST, Manifest, SourceRecord, TokenizerRecord};
use crate::megatron::TokenType;
use crate::placing::Tally;
use crate::shard_text::InPlace;
use crate::source::Source;
use crate::split::Split;
use crate::store::{PackedStore, Piece};
use crate::token_file::{TokenFile, TokenFolder};
use crate::tokenize::Job;
use crate::window::PackedText as _;
use crate::{DataConfig, DataError, Pins, Progress, Tokenizer, fetch, files, open_storage};

/// Token files up to this size altogether are hashed whenever they are opened, larger ones only
/// checked for size and counts. (XXH3 takes some milliseconds for it.)
const VERIFY_BYTES: u64 = 256 << 20;

/// Tokenized text, ready to be read.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// What made the tokens.
    pub tokenizer: Tokenizer,
    /// What the model learns from.
    pub train: PackedStore,
    /// What it is evaluated on.
    pub validation: PackedStore,
    /// What both were made from.
    pub manifest: Manifest,
    /// Names of files that were found and not read, by reason.
    pub left_out: BTreeMap<LeftOut, Vec<String>>,
    /// What should be known of the listing, in sentences.
    pub notes: Vec<String>,
    /// The commits at which repositories were read.
    pub pins: Pins,
    /// The cache folder that holds them.
    pub folder: PathBuf,
}

impl Corpus {
    /// The store of a split.
    pub fn store(&self, split: Split) -> &PackedStore {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
        }
    }

    /// The corpus with the end of its text held out for validation, where no document fell into it, or a single one that fell
    /// there by its hash: at least `fraction` of the tokens and at least `tokens` (one evaluation batch), but at most a tenth. A corpus with validation text, or
    /// with files for it, stays as it is; so does one of which nothing is to be held out (`fraction` 0).
    ///
    /// # Errors
    /// [`DataError::Damaged`] if the index of a token file can't be read.
    ///
    /// ```
    /// use evenburn_data::{DataConfig, prepare};
    /// let dir = tempfile::tempdir().unwrap();
    /// let text = dir.path().join("input.txt");
    /// std::fs::write(&text, "one long text, ".repeat(200)).unwrap();
    /// let config = DataConfig { path: text.to_str().unwrap().into(), tokenizer_vocab: 257, ..Default::default() };
    /// let corpus = prepare(&config, &dir.path().join("cache"), &()).unwrap();
    /// assert_eq!((corpus.train.tokens(), corpus.validation.tokens()), (3001, 0));
    /// let corpus = corpus.hold_out(config.validation_fraction, 65).unwrap();
    /// assert_eq!((corpus.train.tokens(), corpus.validation.tokens()), (2936, 65));
    /// ```
    pub fn hold_out(self, fraction: f64, tokens: u64) -> Result<Self, DataError> {
        let by_document = self
            .manifest
            .sources
            .iter()
            .all(|s| s.role == SourceRole::Mixed);
        let is_split = self.train.tokens() > 0 && self.validation.tokens() > 0;
        // What its own field holds out stays so, and so do many texts that were meant to be evaluated.
        let by_field = self
            .manifest
            .sources
            .iter()
            .any(|s| s.documents.by_field > 0);
        let is_held = self.train.tokens() == 0 && (by_field || self.validation.documents() > 1);
        if !by_document || fraction == 0.0 || is_split || is_held {
            return Ok(self);
        }
        // A single text falls into either split by its hash.
        let text = if self.train.tokens() > 0 {
            &self.train
        } else {
            &self.validation
        };
        let total = text.tokens();
        let share = (fraction * total as f64).ceil() as u64;
        let held = share.max(tokens).min(total / 10);
        let (train, validation) = self.parted(text.split(), held)?;
        Ok(Self {
            train,
            validation,
            ..self
        })
    }

    /// The text of a split without its last `tokens` tokens, for training, and those for validation.
    fn parted(&self, split: Split, tokens: u64) -> Result<(PackedStore, PackedStore), DataError> {
        let Self {
            manifest,
            tokenizer,
            ..
        } = self;
        let folder = Arc::new(TokenFolder::new(&self.folder, manifest, tokenizer));
        let (mut kept, mut held) = (Vec::new(), Vec::new());
        for (shard, record) in manifest.placed(split) {
            kept.push((shard, record.window, TokenFile::open(&folder, record)?));
        }
        let mut left = tokens;
        while left > 0
            && let Some((shard, window, file)) = kept.pop()
        {
            let there = file.tokens();
            if there > left {
                kept.push((shard, window, file.part(0..there - left)));
            }
            let start = there.saturating_sub(left);
            held.push((shard, window, file.part(start..there)));
            left = left.saturating_sub(there);
        }
        held.reverse();
        let mut windows = manifest.windows(split);
        // What was held out to its end is no shard or window for training.
        let (shards, last) = kept.last().map_or((0, 0), |(s, w, _)| (s + 1, w + 1));
        let held_windows = windows.clone();
        windows.truncate(shards);
        if let Some(count) = windows.last_mut() {
            *count = last;
        }
        let store = |split, files: Vec<(usize, usize, TokenFile)>, windows| {
            let pieces = files.into_iter();
            let pieces = pieces.map(|(shard, window, file)| Piece::of_file(shard, window, file));
            let pieces = pieces.collect::<Result<_, _>>()?;
            Ok(PackedStore::new(split, tokenizer, pieces, windows))
        };
        Ok((
            store(Split::Train, kept, windows)?,
            store(Split::Validation, held, held_windows)?,
        ))
    }
}

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
    require_text(&sources, &config.text_field)?;
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
    let about = About {
        left_out,
        notes,
        pins: Pins::of(config, storage),
    };
    open(&folder, tokenizer, about)
}

/// The sources themselves.
fn all(sources: &[PlacedSource]) -> Vec<Arc<dyn Source>> {
    sources.iter().map(|it| Arc::clone(&it.source)).collect()
}

/// What a listing tells beside sources.
struct About {
    left_out: BTreeMap<LeftOut, Vec<String>>,
    notes: Vec<String>,
    pins: Pins,
}

/// Sees to it that there is text to learn a tokenizer from, or to train on: at least one source is some.
fn require_text(sources: &[PlacedSource], text_field: &str) -> Result<(), DataError> {
    let mut first = None;
    for placed in sources {
        match placed.documents(text_field)? {
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

fn open(folder: &Path, tokenizer: Tokenizer, about: About) -> Result<Corpus, DataError> {
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
        left_out: about.left_out,
        notes: about.notes,
        pins: about.pins,
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
    learned(
        config,
        sources,
        Part::Spread,
        &InPlace,
        &|| fetch(&all(sources), storage, progress),
        &key.short(),
        cache,
        progress,
    )
}

/// The tokenizer that `data.tokenizer` names; nothing where one is to be trained.
pub(crate) fn given_tokenizer(
    config: &DataConfig,
    storage: &Storage,
) -> Result<Option<Tokenizer>, DataError> {
    let bos = config.bos_token.as_deref();
    if config.tokenizer != DataConfig::TRAIN {
        let (key, place) = ("data.tokenizer", &config.tokenizer);
        let tokenizer = Tokenizer::from_location(place, &config.eod_token, storage);
        let tokenizer = tokenizer.map_err(|e| match e {
            DataError::Missing { .. } => {
                let why =
                    format!("no such file: {place}; if it lies elsewhere now, give that place");
                DataError::config(key, why)
            }
            DataError::Location(source) => DataError::Place { key, source },
            other => other,
        })?;
        return tokenizer.with_bos(bos).map(Some);
    }
    if let Some(bos) = bos {
        let why = format!(
            "is {bos}, which a tokenizer that is trained doesn't have; leave it out, or give one with data.tokenizer"
        );
        return Err(DataError::config("data.bos_token", why));
    }
    Ok(None)
}
