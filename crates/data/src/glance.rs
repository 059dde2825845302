//! What `data inspect` shows of text that lies elsewhere: what its listing says, and the first documents. Little is fetched.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evenburn_locations::Storage;
use indicatif::HumanCount;

use crate::inspect::DocumentPreview;
use crate::layout::{Listing, PlacedSource, SourceRole, find_sources};
use crate::places::{named_tokenizer, storage_settings};
use crate::reading::{counted, left, some};
use crate::{DataConfig, DataError, Progress, Tokenizer, fetch};

/// Files of which documents are read.
const FILES: usize = 2;

/// Bytes of text read of each: some thousand documents, enough for a share of tokens to two digits.
const TEXT: u64 = 2 << 20;

/// Files larger than this are read by ranges and not fetched. Those of SlimPajama have 15 MB.
const WHOLE: u64 = 64 << 20;

/// The result of [`glance`].
#[derive(Debug, Clone)]
pub struct Glance {
    /// What the listing says, in sentences.
    pub reading: Vec<String>,
    /// The tokenizer that tokens are of; where it is to be trained, one that was trained on the documents read here.
    pub tokenizer: Tokenizer,
    /// The first documents.
    pub documents: Vec<DocumentPreview>,
    /// What was read, of how many files.
    pub read: GlanceTotals,
    /// Stored bytes of all files with training text.
    pub training_bytes: u64,
}

/// Sums over the documents that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GlanceTotals {
    /// Files.
    pub files: usize,
    /// Bytes of them as they are stored.
    pub stored_bytes: u64,
    /// Documents.
    pub documents: u64,
    /// UTF-8 bytes of their text.
    pub text_bytes: u64,
    /// Their tokens, each document's end among them.
    pub tokens: u64,
}

impl Glance {
    /// About how many tokens all training files hold: as many a stored byte as those that were read.
    pub fn training_tokens(&self) -> Option<u64> {
        let share = self.read.tokens as f64 / self.read.stored_bytes as f64;
        (self.read.stored_bytes > 0).then_some((share * self.training_bytes as f64) as u64)
    }
}

/// Lists the text of a configuration and reads a few documents, `documents` of which come back.
///
/// # Errors
/// As [`find_sources`], and any [`DataError`] of the files that are read or the tokenizer.
///
/// ```
/// use evenburn_data::{DataConfig, glance};
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("a.jsonl"), "{\"text\": \"one\"}\n{\"text\": \"two\"}\n")?;
/// let path = dir.path().display().to_string();
/// let config = DataConfig { path: path.as_str().into(), tokenizer_vocab: 257, ..Default::default() };
/// let seen = glance(&config, dir.path(), &(), 1)?;
/// assert_eq!((seen.documents[0].text.as_str(), seen.read.documents), ("one", 2));
/// assert_eq!((seen.read.text_bytes, seen.read.tokens), (6, 8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn glance(
    config: &DataConfig,
    cache: &Path,
    progress: &dyn Progress,
    documents: usize,
) -> Result<Glance, DataError> {
    let mut settings = storage_settings(config, cache);
    settings.whole_up_to = WHOLE;
    let storage = Storage::new(settings).map_err(DataError::Location)?;
    let listing = find_sources(config, &storage)?;
    let mut sources: Vec<&PlacedSource> = listing.sources.iter().collect();
    sources.sort_by_key(|it| it.role == SourceRole::Validation);
    let mut read = GlanceTotals::default();
    let mut texts: Vec<(String, String)> = Vec::new();
    for placed in sources {
        if read.files == FILES {
            break;
        }
        fetch(&[Arc::clone(&placed.source)], &storage, progress)?;
        read.add(placed, config, &mut texts)?;
    }
    let tokenizer = tokenizer(config, &storage, &texts)?;
    let mut previews = Vec::new();
    for (source, text) in texts {
        let tokens = tokenizer.encode(&text)?;
        read.tokens += tokens.len() as u64 + 1 + u64::from(tokenizer.bos().is_some());
        if previews.len() < documents {
            previews.push(DocumentPreview {
                source,
                text,
                tokens,
            });
        }
    }
    let training = listing
        .sources
        .iter()
        .filter(|it| it.role != SourceRole::Validation);
    Ok(Glance {
        training_bytes: training.map(|it| it.source.size()).sum(),
        reading: reading(&listing),
        tokenizer,
        documents: previews,
        read,
    })
}

impl GlanceTotals {
    /// Reads the first documents of a source, if it is text.
    fn add(
        &mut self,
        placed: &PlacedSource,
        config: &DataConfig,
        texts: &mut Vec<(String, String)>,
    ) -> Result<(), DataError> {
        let stored = Arc::new(AtomicU64::new(0));
        let Ok(documents) = placed.counted_documents(config, &stored)? else {
            return Ok(());
        };
        self.files += 1;
        let mut bytes = 0;
        for document in documents {
            let text = document?.text;
            bytes += text.len() as u64;
            self.documents += 1;
            texts.push((placed.source.name().to_owned(), text));
            if bytes >= TEXT {
                break;
            }
        }
        self.text_bytes += bytes;
        self.stored_bytes += stored.load(Ordering::Relaxed).min(placed.source.size());
        Ok(())
    }
}

fn tokenizer(
    config: &DataConfig,
    storage: &Storage,
    texts: &[(String, String)],
) -> Result<Tokenizer, DataError> {
    let eod = &config.eod_token;
    if config.tokenizer == DataConfig::TRAIN {
        let texts: Vec<_> = texts.iter().map(|(_, text)| Ok(text.clone())).collect();
        return Tokenizer::train(texts.into_iter(), config.tokenizer_vocab, eod);
    }
    named_tokenizer(config, storage)?.with_bos(config.bos_token.as_deref())
}

/// How many files and bytes are for what, and what is left out.
fn reading(listing: &Listing) -> Vec<String> {
    let mut places: BTreeMap<SourceRole, Vec<&PlacedSource>> = BTreeMap::new();
    for placed in &listing.sources {
        places.entry(placed.role).or_default().push(placed);
    }
    let mut lines = Vec::new();
    for (role, sources) in places {
        let what = match role {
            SourceRole::Train => "training",
            SourceRole::Validation => "validation",
            SourceRole::Mixed => "training, and validation by document",
        };
        let names: Vec<_> = sources.iter().map(|it| it.source.name()).collect();
        let bytes: u64 = sources.iter().map(|it| it.source.size()).sum();
        lines.push(format!(
            "{what}: {} ({}), {} bytes",
            counted(sources.len() as u64, "file"),
            some(&names),
            HumanCount(bytes)
        ));
    }
    let left_out = listing.left_out.iter();
    lines.extend(left_out.map(|(why, names)| left(why, names)));
    lines.extend(listing.notes.iter().map(|note| format!("note: {note}")));
    lines
}
