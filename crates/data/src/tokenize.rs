//! Tokenizes groups of sources into files, a pair for each window and split, and continues after a kill.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::group::Group;
use crate::manifest::{GroupRecord, ShardRecord};
use crate::megatron::{MegatronWriter, TokenType, bin_path, idx_path, idx_size};
use crate::placing::Tally;
use crate::shard_text::{End, InPlace, Reading, Rules, ShardText, Sink};
use crate::split::Split;
use crate::token_bytes::{TokenBytesWriter, Tokens, bytes_path, bytes_size};
use crate::{DataConfig, DataError, Phase, Progress, ProgressState, Tokenizer};

/// What became of a group, in a note that vouches for its files.
#[derive(Debug, Serialize, Deserialize)]
struct Tokenized {
    windows: usize,
    /// Its token files.
    shards: Vec<ShardRecord>,
    /// Where the documents of each of its sources went.
    tallies: Vec<Tally>,
}

/// What became of all groups.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) groups: Vec<GroupRecord>,
    /// Their token files.
    pub(crate) shards: Vec<ShardRecord>,
    /// Where the documents of each source went.
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
    pub(crate) fn run(&self, groups: &[Group]) -> Result<Done, DataError> {
        let mut state = ProgressState {
            phase: Phase::Tokenizing,
            source: String::new(),
            bytes_done: 0,
            bytes_total: groups.iter().map(|g| g.bytes).sum(),
            documents: 0,
            tokens: 0,
        };
        let mut all = Done::default();
        let mut finished = 0;
        for (number, group) in groups.iter().enumerate() {
            let done = match self.read_note(number, group) {
                Some(done) => done,
                None => self.group(number, group, &mut state)?,
            };
            all.groups.push(GroupRecord {
                role: group.role(),
                windows: done.windows,
            });
            all.shards.extend(done.shards);
            all.tallies.extend(done.tallies);
            finished += group.bytes;
            state.bytes_done = finished;
        }
        Ok(all)
    }

    /// A group's note lists its files. It is written after them, so that it vouches for them.
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
        let before = state.bytes_done;
        let rules = Rules {
            tokenizer: self.tokenizer,
            config: self.config,
            only: None,
        };
        let mut text = ShardText::new(group, rules, &InPlace);
        let mut shards = Vec::new();
        let mut windows = 0;
        loop {
            let mut files = WindowFiles {
                job: self,
                outputs: [Split::Train, Split::Validation]
                    .map(|split| Output::new(split, number, windows)),
                before,
                bytes: group.bytes,
                state: &mut *state,
            };
            let Some(end) = text.read_window(&mut files)? else {
                break;
            };
            windows += 1;
            for output in files.outputs {
                shards.extend(output.finish()?);
            }
            if end == End::Shard {
                break;
            }
        }
        let done = Tokenized {
            windows,
            shards,
            tallies: text.tallies().to_vec(),
        };
        let note = serde_json::to_vec(&done)
            .expect("notes have string keys and integers only, which JSON can hold");
        evenburn_files::replace(&self.note_path(number), &note)?;
        Ok(done)
    }
}

/// The files of a window that are being written.
struct WindowFiles<'a> {
    job: &'a Job<'a>,
    outputs: [Output; 2],
    /// Stored bytes of the groups before, and of this one.
    before: u64,
    bytes: u64,
    state: &'a mut ProgressState,
}

impl Sink for WindowFiles<'_> {
    fn document(
        &mut self,
        split: Split,
        tokens: &Tokens,
        text_bytes: u64,
    ) -> Result<(), DataError> {
        self.state.documents += 1;
        self.state.tokens += tokens.ids.len() as u64;
        let output = match split {
            Split::Train => &mut self.outputs[0],
            Split::Validation => &mut self.outputs[1],
        };
        output.add(self.job, tokens, text_bytes)
    }

    fn goes_on(&mut self, text: &Reading<'_>) -> Result<ControlFlow<()>, DataError> {
        text.source.clone_into(&mut self.state.source);
        self.state.bytes_done = self.before + text.stored_bytes.min(self.bytes);
        if self.job.progress.report(self.state).is_break() {
            return Err(DataError::Interrupted);
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Where a window's documents of one split go to. It has files only once it has a document.
struct Output {
    split: Split,
    group: usize,
    window: usize,
    name: String,
    writer: Option<MegatronWriter>,
    token_bytes: Option<TokenBytesWriter>,
    text_bytes: u64,
    unknown: u64,
}

impl Output {
    /// The first window's files are called by the group alone.
    fn new(split: Split, group: usize, window: usize) -> Self {
        let name = split.name();
        Self {
            split,
            group,
            window,
            name: match window {
                0 => format!("{name}-{group:05}"),
                _ => format!("{name}-{group:05}-{window:04}"),
            },
            writer: None,
            token_bytes: None,
            text_bytes: 0,
            unknown: 0,
        }
    }

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
            group: self.group,
            window: self.window,
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
