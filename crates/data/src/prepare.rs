//! From a configuration to packed splits: find, hash, tokenize or reuse, open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evenburn_files::{Sha256, hex};

use crate::digest::digests;
use crate::layout::{LeftOut, Listing, PlacedSource, SourceRole, find_sources};
use crate::manifest::{FORMAT_VERSION, MANIFEST, Manifest, SourceRecord, TokenizerRecord};
use crate::megatron::TokenType;
use crate::placing::{Placing, Tally};
use crate::split::Split;
use crate::store::PackedStore;
use crate::tokenize::{Job, groups};
use crate::{DataConfig, DataError, OnBadRecord, Phase, Progress, ProgressState, Tokenizer, files};

/// A tokenizer is trained on at most this much text…
const TRAINING_BYTES: u64 = 64 << 20;
/// …taken in equal shares from at most this many sources, evenly spaced.
const TRAINING_SOURCES: usize = 64;

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
        let (train, validation) = text.hold_out(share.max(tokens).min(total / 10))?;
        Ok(Self {
            train,
            validation,
            ..self
        })
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
    let Listing { sources, left_out } = find_sources(config)?;
    require_text(&sources, config)?;
    files::create_folder(cache)?;
    let hashes = digests(&sources, cache, progress)?;
    let mut records: Vec<_> = sources.iter().zip(hashes).map(record).collect();
    let tokenizer = match at_hand {
        Some(tokenizer) => tokenizer.with_bos(config.bos_token.as_deref())?,
        None => tokenizer(config, &sources, &records, cache, progress)?,
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
                shards: done.shards,
            };
            tokenizer.save(&folder.join("tokenizer.json"))?;
            evenburn_files::replace(&folder.join(MANIFEST), manifest.to_json().as_bytes())?;
            job.remove_notes();
        }
    }
    open(&folder, tokenizer, left_out)
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

fn open(
    folder: &Path,
    tokenizer: Tokenizer,
    left_out: BTreeMap<LeftOut, Vec<String>>,
) -> Result<Corpus, DataError> {
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
    if train.stored_bytes() + validation.stored_bytes() <= VERIFY_BYTES {
        train.verify()?;
        validation.verify()?;
    }
    Ok(Corpus {
        tokenizer,
        train,
        validation,
        manifest,
        left_out,
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

/// Hashes values with their lengths, so that no two lists of values give the same bytes.
struct Key(Sha256);

impl Key {
    fn new(purpose: &str) -> Self {
        let mut key = Self(Sha256::default());
        key.add(purpose);
        key.add(&FORMAT_VERSION.to_string());
        key
    }

    fn add(&mut self, value: &str) {
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value.as_bytes());
    }

    fn finish(self) -> String {
        hex(&self.0.bytes()[..10])
    }

    /// The text and its distribution over the splits.
    fn add_text(&mut self, config: &DataConfig, records: &[SourceRecord]) {
        self.add(&config.text_field);
        if config.on_bad_record == OnBadRecord::Skip {
            self.add("without bad records");
        }
        if records.iter().any(|r| r.role == SourceRole::Mixed) {
            self.add(&config.validation_fraction.to_string());
        }
        for r in records {
            self.add(&r.name);
            self.add(&r.sha256);
            self.add(&format!("{:?} {:?}", r.role, r.rule));
        }
    }
}

fn key(config: &DataConfig, records: &[SourceRecord], tokenizer: &Tokenizer) -> String {
    let mut key = Key::new("tokens");
    key.add_text(config, records);
    key.add(tokenizer.sha256());
    key.add(tokenizer.eod_token());
    key.add(config.bos_token.as_deref().unwrap_or_default());
    key.add(&config.shard_bytes.to_string());
    key.finish()
}

fn tokenizer(
    config: &DataConfig,
    sources: &[PlacedSource],
    records: &[SourceRecord],
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Tokenizer, DataError> {
    let bos = config.bos_token.as_deref();
    if config.tokenizer != DataConfig::TRAIN {
        let file = Path::new(&config.tokenizer);
        let tokenizer = Tokenizer::from_file(file, &config.eod_token).map_err(|e| match e {
            DataError::Missing { .. } => {
                let why = format!(
                    "no such file: {}; if it lies elsewhere now, give that place",
                    file.display()
                );
                DataError::config("data.tokenizer", why)
            }
            other => other,
        })?;
        return tokenizer.with_bos(bos);
    }
    if let Some(bos) = bos {
        let why = format!(
            "is {bos}, which a tokenizer that is trained doesn't have; leave it out, or give one with data.tokenizer"
        );
        return Err(DataError::config("data.bos_token", why));
    }
    learned(config, sources, records, cache, progress)
}

/// The tokenizer that `tokenizer = "train"` stands for, which is kept in the cache.
fn learned(
    config: &DataConfig,
    sources: &[PlacedSource],
    records: &[SourceRecord],
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Tokenizer, DataError> {
    let mut key = Key::new("tokenizer");
    key.add_text(config, records);
    key.add(&config.tokenizer_vocab.to_string());
    key.add(&config.eod_token);
    let path = cache.join(format!("tokenizer-{}.json", key.finish()));
    if path.exists() {
        return Tokenizer::from_file(&path, &config.eod_token);
    }
    let _lock = files::lock(cache)?;
    if path.exists() {
        return Tokenizer::from_file(&path, &config.eod_token);
    }
    let tokenizer = train_on(config, sources, progress)?;
    tokenizer.save(&path)?;
    Ok(tokenizer)
}

/// Trains the tokenizer that `tokenizer = "train"` stands for, on the configured training split.
///
/// # Errors
/// Any [`DataError`] of the configuration or the sources.
pub fn train_tokenizer(
    config: &DataConfig,
    progress: &dyn Progress,
) -> Result<Tokenizer, DataError> {
    train_on(config, &find_sources(config)?.sources, progress)
}

fn train_on(
    config: &DataConfig,
    sources: &[PlacedSource],
    progress: &dyn Progress,
) -> Result<Tokenizer, DataError> {
    let eligible: Vec<_> = sources
        .iter()
        .filter(|s| s.role != SourceRole::Validation)
        .collect();
    let count = eligible.len().min(TRAINING_SOURCES);
    let chosen = (0..count).map(|i| eligible[i * eligible.len() / count]);
    let texts = TrainingTexts {
        sources: chosen.collect::<Vec<_>>().into_iter(),
        current: None,
        left_here: 0,
        left: TRAINING_BYTES,
        config,
        progress,
        documents: 0,
    };
    Tokenizer::train_reporting(texts, config.tokenizer_vocab, &config.eod_token, progress)
}

/// The training split's documents up to a number of bytes, in equal shares of the sources; what a
/// source doesn't use goes to those after it.
struct TrainingTexts<'a, I> {
    sources: I,
    current: Option<(crate::Documents, &'a PlacedSource)>,
    left_here: u64,
    left: u64,
    config: &'a DataConfig,
    progress: &'a dyn Progress,
    documents: u64,
}

impl<'a, I: ExactSizeIterator<Item = &'a PlacedSource>> TrainingTexts<'a, I> {
    fn next_text(&mut self) -> Result<Option<String>, DataError> {
        loop {
            if self.left_here == 0 {
                self.current = None;
            }
            let Some((documents, placed)) = &mut self.current else {
                let sources = self.sources.len() as u64;
                let Some(placed) = self.sources.next() else {
                    return Ok(None);
                };
                self.left_here = self.left.div_ceil(sources);
                if let Ok(documents) = placed.documents(self.config)? {
                    self.current = Some((documents, placed));
                } else {
                    self.left_here = 0;
                }
                continue;
            };
            let Some(document) = documents.next().transpose()? else {
                self.left_here = 0;
                continue;
            };
            let placing = Placing::new(placed.role, self.config.validation_fraction);
            if placing.split(&document, &mut Tally::default()) != Some(Split::Train) {
                continue;
            }
            let name = placed.source.name().to_owned();
            let bytes = document.text.len() as u64;
            self.left_here = self.left_here.saturating_sub(bytes);
            self.left = self.left.saturating_sub(bytes);
            self.documents += 1;
            self.report(name, bytes)?;
            return Ok(Some(document.text));
        }
    }

    /// Says how far it is: every so often, and after a document that took its time.
    fn report(&self, source: String, bytes: u64) -> Result<(), DataError> {
        if !self.documents.is_multiple_of(256) && bytes < 1 << 20 {
            return Ok(());
        }
        let state = ProgressState {
            phase: Phase::TrainingTokenizer,
            source,
            bytes_done: TRAINING_BYTES - self.left,
            bytes_total: TRAINING_BYTES,
            documents: self.documents,
            tokens: 0,
        };
        match self.progress.report(&state) {
            std::ops::ControlFlow::Continue(()) => Ok(()),
            std::ops::ControlFlow::Break(()) => Err(DataError::Interrupted),
        }
    }
}

impl<'a, I: ExactSizeIterator<Item = &'a PlacedSource>> Iterator for TrainingTexts<'a, I> {
    type Item = Result<String, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_text().transpose()
    }
}
