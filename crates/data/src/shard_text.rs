//! The text of a group of sources, window by window, with all cores.

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::decode::{Document, Documents};
use crate::group::Group;
use crate::layout::PlacedSource;
use crate::placing::{Placing, Tally};
use crate::split::Split;
use crate::token_bytes::Tokens;
use crate::{DataConfig, DataError, Tokenizer, cut};

/// Text encoded in parallel at a time, in bytes…
pub(crate) const BATCH_BYTES: usize = 4 << 20;
/// …and in documents.
const BATCH_DOCUMENTS: usize = 8192;

/// What is done before a source is opened: what it gives back is kept until the source is read.
pub(crate) trait Access: Sync {
    /// What keeps a source readable.
    type Hold: Send;

    /// Sees to it that a source can be read.
    fn hold(&self, placed: &PlacedSource) -> Result<Self::Hold, DataError>;
}

/// Sources that are read wherever they are.
pub(crate) struct InPlace;

impl Access for InPlace {
    type Hold = ();

    fn hold(&self, _: &PlacedSource) -> Result<(), DataError> {
        Ok(())
    }
}

/// What takes the documents of a window.
pub(crate) trait Sink {
    /// Takes a document's tokens, its end-of-document token included, and the bytes of its text.
    fn document(&mut self, split: Split, tokens: &Tokens, text_bytes: u64)
    -> Result<(), DataError>;

    /// Hears, after some documents, how far the text is read, and says whether the window is read on.
    fn goes_on(&mut self, text: &Reading<'_>) -> Result<ControlFlow<()>, DataError>;
}

/// How far a text is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// The source at hand.
    pub(crate) source: &'a str,
    /// How many sources were opened, that one among them.
    pub(crate) sources: usize,
    /// Stored bytes read of all sources so far.
    pub(crate) stored_bytes: u64,
    /// Bytes of text in them, that of documents that are left out included.
    pub(crate) text_bytes: u64,
}

/// How reading a window ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Another window follows.
    Window,
    /// It was the last one.
    Shard,
    /// The sink has enough.
    Enough,
}

/// How the documents of a group are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) config: &'a DataConfig,
    /// The split whose documents alone are encoded, if it is one.
    pub(crate) only: Option<Split>,
}

/// A group of sources that is read from its start.
///
/// A window ends before the document with which its text would exceed `data.window_bytes`, unless that is its first.
/// All documents count, whatever becomes of them, so that windows are the same whichever split is wanted.
pub(crate) struct ShardText<'a, A: Access> {
    group: &'a Group,
    rules: Rules<'a>,
    access: &'a A,
    /// Where the documents of the sources that are read went.
    tallies: Vec<Tally>,
    open: Option<Open<A::Hold>>,
    /// Sources that were opened.
    opened: usize,
    /// The document that begins the next window.
    held: Option<(Document, Option<Split>)>,
    /// The number of the window at hand, its documents and their bytes so far.
    window: usize,
    documents: u64,
    bytes: u64,
    stored_bytes: Arc<AtomicU64>,
    text_bytes: u64,
}

/// A source that is being read.
struct Open<H> {
    documents: Documents,
    placing: Placing,
    tally: Tally,
    _hold: H,
}

/// Some documents of one window.
#[derive(Default)]
struct Batch {
    documents: Vec<(Document, Split)>,
    /// Set where the window ends behind them.
    end: Option<End>,
}

impl<'a, A: Access> ShardText<'a, A> {
    pub(crate) fn new(group: &'a Group, rules: Rules<'a>, access: &'a A) -> Self {
        Self {
            group,
            rules,
            access,
            tallies: Vec::new(),
            open: None,
            opened: 0,
            held: None,
            window: 0,
            documents: 0,
            bytes: 0,
            stored_bytes: Arc::default(),
            text_bytes: 0,
        }
    }

    /// The number of the window that is read next.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// How far it is read.
    pub(crate) fn reading(&self) -> Reading<'_> {
        let at = self.opened.saturating_sub(1);
        let source = self.group.sources.get(at);
        Reading {
            source: source.map_or("", |placed| placed.source.name()),
            sources: self.opened,
            stored_bytes: self.stored_bytes.load(Ordering::Relaxed),
            text_bytes: self.text_bytes,
        }
    }

    /// Where the documents of the sources that were read to their end went.
    pub(crate) fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// Encodes the next window into a sink; nothing where no document is left.
    ///
    /// # Errors
    /// What is wrong with a source or its text, [`DataError::Changed`] for one that isn't what was listed any more, and
    /// those of the sink.
    pub(crate) fn read_window(&mut self, sink: &mut dyn Sink) -> Result<Option<End>, DataError> {
        let tokenizer = self.rules.tokenizer;
        let mut batch = self.next_batch()?;
        loop {
            // The next documents are read and decompressed while these are encoded.
            let texts: Vec<&str> = batch.documents.iter().map(|(d, _)| &*d.text).collect();
            let (tokens, next) = match batch.end {
                None => rayon::join(|| encode(tokenizer, &texts), || self.next_batch()),
                Some(_) => (encode(tokenizer, &texts), Ok(Batch::default())),
            };
            for ((document, split), tokens) in batch.documents.iter().zip(tokens?) {
                sink.document(*split, &tokens, document.text.len() as u64)?;
            }
            if sink.goes_on(&self.reading())?.is_break() {
                return Ok(Some(End::Enough));
            }
            if let Some(end) = batch.end {
                return self.end_window(end);
            }
            batch = next?;
        }
    }

    /// Passes over the next window without encoding it; nothing where no document is left.
    ///
    /// # Errors
    /// As [`read_window`](Self::read_window).
    pub(crate) fn skip_window(&mut self) -> Result<Option<End>, DataError> {
        loop {
            if let Some(end) = self.next_batch()?.end {
                return self.end_window(end);
            }
        }
    }

    fn end_window(&mut self, end: End) -> Result<Option<End>, DataError> {
        for placed in &self.group.sources[..self.opened] {
            if !placed.is_unchanged()? {
                let path = placed.source.location().to_path_buf();
                return Err(DataError::Changed { path });
            }
        }
        if self.documents == 0 {
            return Ok(None);
        }
        (self.documents, self.bytes) = (0, 0);
        self.window += 1;
        Ok(Some(end))
    }

    /// The next documents of the window.
    fn next_batch(&mut self) -> Result<Batch, DataError> {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        let opened = self.opened;
        while bytes < BATCH_BYTES && batch.documents.len() < BATCH_DOCUMENTS {
            let next = match self.held.take() {
                Some(held) => Some(held),
                None => self.next_document()?,
            };
            let Some((document, split)) = next else {
                batch.end = Some(End::Shard);
                break;
            };
            // Whoever looks for documents hears of every source that has none.
            if self.opened > opened && batch.documents.is_empty() {
                self.held = Some((document, split));
                break;
            }
            let length = document.text.len();
            if self.documents > 0 && self.bytes + length as u64 > self.rules.config.window_bytes {
                self.held = Some((document, split));
                batch.end = Some(End::Window);
                break;
            }
            self.documents += 1;
            self.bytes += length as u64;
            let wanted = split.filter(|split| self.rules.only.is_none_or(|only| only == *split));
            if let Some(split) = wanted {
                bytes += length;
                batch.documents.push((document, split));
            }
        }
        Ok(batch)
    }

    /// The next document of the sources, with the split that it belongs to, if to any.
    fn next_document(&mut self) -> Result<Option<(Document, Option<Split>)>, DataError> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(document) = open.documents.next().transpose()? {
                    let split = open.placing.split(&document, &mut open.tally);
                    self.text_bytes += document.text.len() as u64;
                    return Ok(Some((document, split)));
                }
                open.tally.bad = open.documents.bad_records().clone();
                self.tallies.push(mem::take(&mut open.tally));
                self.open = None;
            }
            let Some(placed) = self.group.sources.get(self.opened) else {
                return Ok(None);
            };
            let hold = self.access.hold(placed)?;
            self.opened += 1;
            let config = self.rules.config;
            match placed.counted_documents(config, &self.stored_bytes)? {
                Ok(documents) => {
                    self.open = Some(Open {
                        documents,
                        placing: Placing::new(placed.role, config.validation_fraction),
                        tally: Tally::default(),
                        _hold: hold,
                    });
                }
                Err(unreadable) => self.tallies.push(Tally {
                    unreadable: Some(unreadable),
                    ..Tally::default()
                }),
            }
        }
    }
}

/// The tokens of every document, between its BOS, where there is one, and its end-of-document token.
pub(crate) fn encode(tokenizer: &Tokenizer, texts: &[&str]) -> Result<Vec<Tokens>, DataError> {
    let pieces: Vec<(usize, &str)> = texts
        .iter()
        .enumerate()
        .flat_map(|(i, text)| {
            let pieces = tokenizer.pieces(text, cut::PIECE);
            pieces.into_iter().map(move |p| (i, p))
        })
        .collect();
    let encoded: Vec<Tokens> = pieces
        .par_iter()
        .map(|(_, piece)| tokenizer.encode_piece(piece))
        .collect::<Result<_, _>>()?;
    let mut all = vec![tokenizer.begin(); texts.len()];
    for ((document, _), piece) in pieces.into_iter().zip(encoded) {
        all[document].append(piece);
    }
    for tokens in &mut all {
        tokens.push(tokenizer.eod());
    }
    Ok(all)
}
