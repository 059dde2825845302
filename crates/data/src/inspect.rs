//! What `data inspect` shows: the first documents, packed samples decoded, counts.

use std::path::Path;

use evenburn_locations::Storage;
use serde::Serialize;

use crate::layout::{SourceRole, find_sources};
use crate::manifest::TokenizerRecord;
use crate::split::Split;
use crate::{Corpus, DataConfig, DataError, Progress, Stream, open_storage, prepare};

/// What [`inspect`] shows, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct InspectOptions {
    /// Documents from the start of the sources.
    pub documents: usize,
    /// Samples from the start of the training stream.
    pub samples: usize,
    /// Positions per sample, `T`.
    pub context: usize,
    /// Tokens of one evaluation batch: so many at least are held out, where no document falls into validation.
    pub evaluation: u64,
    /// Seed of the stream's order.
    pub seed: u64,
}

/// The result of [`inspect`]: counts, first documents, first samples.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// What was read and what was not, in sentences.
    pub reading: Vec<String>,
    /// The tokenizer.
    pub tokenizer: TokenizerRecord,
    /// Training, then validation.
    pub splits: Vec<SplitSummary>,
    /// The first documents, as their files have them.
    pub documents: Vec<DocumentPreview>,
    /// The first samples that training would see.
    pub samples: Vec<SamplePreview>,
}

/// What a split holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitSummary {
    /// `train` or `validation`.
    pub split: Split,
    /// Source files that are for this split, or partly.
    pub sources: usize,
    /// Token files.
    pub shards: usize,
    /// Documents.
    pub documents: u64,
    /// Tokens, end-of-document tokens included.
    pub tokens: u64,
    /// UTF-8 bytes of text.
    pub text_bytes: u64,
    /// Samples of the context asked for: the length of an epoch.
    pub samples: u64,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DocumentPreview {
    /// The source it is in.
    pub source: String,
    /// Its text.
    pub text: String,
    /// Its ids, without the end-of-document token.
    pub tokens: Vec<u32>,
}

/// A packed sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SamplePreview {
    /// Its `T + 1` tokens decoded, end-of-document tokens written out.
    pub text: String,
    /// Documents that its inputs belong to.
    pub documents: usize,
}

/// Prepares the data as training would and looks at it. A split too short for a sample shows none.
///
/// # Errors
/// As [`prepare`].
pub fn inspect(
    config: &DataConfig,
    cache: &Path,
    progress: &dyn Progress,
    options: &InspectOptions,
) -> Result<Inspection, DataError> {
    let corpus = prepare(config, cache, progress)?
        .hold_out(config.validation_fraction, options.evaluation)?;
    let splits = [Split::Train, Split::Validation].map(|split| summary(&corpus, split, options));
    let available = splits[0].samples.min(options.samples as u64);
    let mut samples = Vec::new();
    if available > 0 {
        let mut stream = Stream::new(corpus.train.clone(), options.context, options.seed)?;
        for _ in 0..available {
            let batch = stream.next_batch(1)?;
            let last = batch.targets.last().copied();
            let ids: Vec<u32> = batch
                .tokens
                .iter()
                .copied()
                .chain(last)
                .map(|t| t as u32)
                .collect();
            samples.push(SamplePreview {
                text: corpus.tokenizer.decode(&ids)?,
                documents: batch.segments.last().map_or(0, |s| *s as usize + 1),
            });
        }
    }
    Ok(Inspection {
        reading: corpus.reading(),
        documents: previews(
            config,
            &open_storage(config, cache)?,
            &corpus,
            options.documents,
        )?,
        tokenizer: corpus.manifest.tokenizer,
        splits: splits.into(),
        samples,
    })
}

fn summary(corpus: &Corpus, split: Split, options: &InspectOptions) -> SplitSummary {
    let excluded = match split {
        Split::Train => SourceRole::Validation,
        Split::Validation => SourceRole::Train,
    };
    let sources = corpus.manifest.sources.iter();
    let read = sources.filter(|s| s.role != excluded && s.documents.unreadable.is_none());
    let store = corpus.store(split);
    SplitSummary {
        split,
        sources: read.count(),
        shards: store.windows(),
        documents: store.documents(),
        tokens: store.tokens(),
        text_bytes: store.text_bytes(),
        samples: store.samples(options.context),
    }
}

/// The first documents of all sources.
fn previews(
    config: &DataConfig,
    storage: &Storage,
    corpus: &Corpus,
    count: usize,
) -> Result<Vec<DocumentPreview>, DataError> {
    let mut previews = Vec::new();
    for placed in find_sources(config, storage)?.sources {
        let Ok(documents) = placed.documents(config)? else {
            continue;
        };
        for document in documents.take(count - previews.len()) {
            let text = document?.text;
            previews.push(DocumentPreview {
                source: placed.source.name().into(),
                tokens: corpus.tokenizer.encode(&text)?,
                text,
            });
        }
        if previews.len() == count {
            break;
        }
    }
    Ok(previews)
}
