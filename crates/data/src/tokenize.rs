//! Tokenizes groups of sources into shards, with all cores, and continues after a kill.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::decode::{Document, Documents};
use crate::layout::PlacedSource;
use crate::manifest::ShardRecord;
use crate::megatron::{MegatronWriter, TokenType, bin_path, idx_path, idx_size};
use crate::placing::{Placing, Tally};
use crate::split::Split;
use crate::token_bytes::{TokenBytesWriter, Tokens, bytes_path, bytes_size};
use crate::{DataConfig, DataError, Phase, Progress, ProgressState, Tokenizer, cut};

/// Text encoded in parallel at a time, in bytes…
const BATCH_BYTES: usize = 4 << 20;
/// …and in documents.
const BATCH_DOCUMENTS: usize = 8192;

/// Sources that become one shard per split.
#[derive(Debug)]
pub(crate) struct Group {
    sources: Vec<PlacedSource>,
    /// Their stored size together.
    bytes: u64,
}

/// Gathers consecutive sources of one role up to `limit` bytes; a larger source is alone.
pub(crate) fn groups(sources: Vec<PlacedSource>, limit: u64) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for placed in sources {
        let bytes = placed.source.size();
        match groups.last_mut() {
            Some(group) if group.sources[0].role == placed.role && group.bytes + bytes <= limit => {
                group.sources.push(placed);
                group.bytes += bytes;
            }
            _ => groups.push(Group {
                sources: vec![placed],
                bytes,
            }),
        }
    }
    groups
}

/// What became of a group, in a note that vouches for its files.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tokenized {
    /// Its shards.
    pub(crate) shards: Vec<ShardRecord>,
    /// Where the documents of each of its sources went.
    pub(crate) tallies: Vec<Tally>,
}

/// One tokenization.
pub(crate) struct Job<'a> {
    pub(crate) config: &'a DataConfig,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) folder: &'a Path,
    pub(crate) token_type: TokenType,
    pub(crate) progress: &'a dyn Progress,
}

impl Job<'_> {
    /// Tokenizes the groups that have no note yet, and returns what became of all.
    pub(crate) fn run(&self, groups: &[Group]) -> Result<Tokenized, DataError> {
        let mut state = ProgressState {
            phase: Phase::Tokenizing,
            source: String::new(),
            bytes_done: 0,
            bytes_total: groups.iter().map(|g| g.bytes).sum(),
            documents: 0,
            tokens: 0,
        };
        let mut all = Tokenized::default();
        let mut finished = 0;
        for (number, group) in groups.iter().enumerate() {
            let done = match self.read_note(number, group) {
                Some(done) => done,
                None => self.group(number, group, &mut state)?,
            };
            all.shards.extend(done.shards);
            all.tallies.extend(done.tallies);
            finished += group.bytes;
            state.bytes_done = finished;
        }
        Ok(all)
    }

    /// A group's note lists its shards. It is written after them, so that it vouches for them.
    fn note_path(&self, number: usize) -> PathBuf {
        self.folder.join(format!("group-{number:05}.json"))
    }

    /// What became of a finished group; `None` if it is unfinished or its files aren't whole.
    fn read_note(&self, number: usize, group: &Group) -> Option<Tokenized> {
        let json = fs::read(self.note_path(number)).ok()?;
        let done: Tokenized = serde_json::from_slice(&json).ok()?;
        let size = |path: PathBuf| fs::metadata(path).ok().map(|m| m.len());
        let whole = done.shards.iter().all(|r| {
            let stem = self.folder.join(&r.name);
            let bytes = r.token_bytes.as_ref();
            size(bin_path(&stem)) == Some(r.tokens * self.token_type.width() as u64)
                && bytes.is_none_or(|b| size(bytes_path(&stem)) == Some(bytes_size(r.tokens, b)))
                && size(idx_path(&stem)) == Some(idx_size(r.documents))
        });
        (whole && done.tallies.len() == group.sources.len()).then_some(done)
    }

    /// Removes the notes once the manifest vouches for everything.
    pub(crate) fn remove_notes(&self) {
        // A note that stays is harmless, so a failure is too.
        let mut number = 0;
        while fs::remove_file(self.note_path(number)).is_ok() {
            number += 1;
        }
    }

    fn group(
        &self,
        number: usize,
        group: &Group,
        state: &mut ProgressState,
    ) -> Result<Tokenized, DataError> {
        let mut outputs = [Split::Train, Split::Validation].map(|split| Output {
            split,
            name: format!("{}-{number:05}", split.name()),
            writer: None,
            token_bytes: None,
            text_bytes: 0,
            unknown: 0,
        });
        let mut before = state.bytes_done;
        let mut tallies = Vec::new();
        for placed in &group.sources {
            placed.source.name().clone_into(&mut state.source);
            let tally = self.source(placed, before, &mut outputs, state)?;
            if !placed.is_unchanged()? {
                let path = placed.source.location().to_path_buf();
                return Err(DataError::Changed { path });
            }
            tallies.push(tally);
            before += placed.source.size();
        }
        let mut shards = Vec::new();
        for output in outputs {
            shards.extend(output.finish()?);
        }
        let done = Tokenized { shards, tallies };
        let note = serde_json::to_vec(&done)
            .expect("notes have string keys and integers only, which JSON can hold");
        evenburn_files::replace(&self.note_path(number), &note)?;
        Ok(done)
    }

    /// Tokenizes one source, after `before` bytes of others.
    fn source(
        &self,
        placed: &PlacedSource,
        before: u64,
        outputs: &mut [Output; 2],
        state: &mut ProgressState,
    ) -> Result<Tally, DataError> {
        let read = Arc::new(AtomicU64::new(0));
        let documents = match placed.counted_documents(self.config, &read)? {
            Ok(documents) => documents,
            Err(unreadable) => {
                let unreadable = Some(unreadable);
                return Ok(Tally {
                    unreadable,
                    ..Tally::default()
                });
            }
        };
        let mut reader = Batches {
            documents,
            placing: Placing::new(placed.role, self.config.validation_fraction),
            tally: Tally::default(),
        };
        let mut batch = reader.next()?;
        while !batch.is_empty() {
            // The next batch is read and decompressed while this one is encoded.
            let (tokens, next) = rayon::join(|| self.encode(&batch), || reader.next());
            for ((document, split), tokens) in batch.iter().zip(tokens?) {
                state.documents += 1;
                state.tokens += tokens.ids.len() as u64;
                let output = match split {
                    Split::Train => &mut outputs[0],
                    Split::Validation => &mut outputs[1],
                };
                output.add(self, &tokens, document.text.len() as u64)?;
            }
            state.bytes_done = before + read.load(Ordering::Relaxed).min(placed.source.size());
            if self.progress.report(state) == ControlFlow::Break(()) {
                return Err(DataError::Interrupted);
            }
            batch = next?;
        }
        reader.tally.bad = reader.documents.bad_records().clone();
        Ok(reader.tally)
    }

    /// The tokens of every document, between its BOS, where there is one, and its end-of-document token.
    fn encode(&self, batch: &[(Document, Split)]) -> Result<Vec<Tokens>, DataError> {
        let pieces: Vec<(usize, &str)> = batch
            .iter()
            .enumerate()
            .flat_map(|(i, (d, _))| {
                let pieces = self.tokenizer.pieces(&d.text, cut::PIECE);
                pieces.into_iter().map(move |p| (i, p))
            })
            .collect();
        let encoded: Vec<Tokens> = pieces
            .par_iter()
            .map(|(_, piece)| self.tokenizer.encode_piece(piece))
            .collect::<Result<_, _>>()?;
        let mut documents = vec![self.tokenizer.begin(); batch.len()];
        for ((document, _), piece) in pieces.into_iter().zip(encoded) {
            documents[document].append(piece);
        }
        for document in &mut documents {
            document.push(self.tokenizer.eod());
        }
        Ok(documents)
    }
}

/// Cuts a stream of documents into batches.
struct Batches {
    documents: Documents,
    placing: Placing,
    tally: Tally,
}

impl Batches {
    /// The next documents with their splits; none at the end.
    fn next(&mut self) -> Result<Vec<(Document, Split)>, DataError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES && batch.len() < BATCH_DOCUMENTS {
            let Some(document) = self.documents.next().transpose()? else {
                break;
            };
            if let Some(split) = self.placing.split(&document, &mut self.tally) {
                bytes += document.text.len();
                batch.push((document, split));
            }
        }
        Ok(batch)
    }
}

/// The shard that a group's documents of one split go to. It has files only once it has a document.
struct Output {
    split: Split,
    name: String,
    writer: Option<MegatronWriter>,
    token_bytes: Option<TokenBytesWriter>,
    text_bytes: u64,
    unknown: u64,
}

impl Output {
    fn add(&mut self, job: &Job, tokens: &Tokens, text_bytes: u64) -> Result<(), DataError> {
        let stem = || job.folder.join(&self.name);
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(MegatronWriter::create(&stem(), job.token_type)?),
        };
        writer.document(&tokens.ids)?;
        if let Some(bytes) = &tokens.bytes {
            let writer = match &mut self.token_bytes {
                Some(writer) => writer,
                none => none.insert(TokenBytesWriter::create(&stem())?),
            };
            writer.document(bytes)?;
        }
        if let Some(unknown) = job.tokenizer.unknown() {
            let ids = tokens.ids.iter();
            self.unknown += ids.filter(|id| **id == unknown).count() as u64;
        }
        self.text_bytes += text_bytes;
        Ok(())
    }

    fn finish(self) -> Result<Option<ShardRecord>, DataError> {
        let Some(writer) = self.writer else {
            return Ok(None);
        };
        let written = writer.finish()?;
        let token_bytes = self.token_bytes.map(TokenBytesWriter::finish);
        Ok(Some(ShardRecord {
            name: self.name,
            split: self.split,
            documents: written.documents,
            tokens: written.tokens,
            text_bytes: self.text_bytes,
            bin_xxh3: written.bin_xxh3,
            idx_xxh3: written.idx_xxh3,
            token_bytes: token_bytes.transpose()?,
            unknown: self.unknown,
        }))
    }
}
