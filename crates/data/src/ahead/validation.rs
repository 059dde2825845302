//! The validation text of a stream: as much of it as evaluations read, from the start of the listing.

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::Evaluation;
use super::access::Watched;
use crate::group::Group;
use crate::shard_text::{End, Reading, Rules, ShardText, Sink};
use crate::split::Split;
use crate::store::{PackedStore, Piece};
use crate::token_bytes::Tokens;
use crate::window::{MemoryText, PackedText as _, samples_in};
use crate::{DataError, Phase, Progress, ProgressState};

/// Files that are searched for validation documents at most: nobody should have to wait longer to hear that there are none.
const SEARCHED_FILES: usize = 64;

/// What was read on the way, which says how much text and how many tokens a stored byte stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    stored_bytes: u64,
    text_bytes: u64,
    encoded_bytes: u64,
    tokens: u64,
}

impl Measured {
    /// About how many tokens a number of stored bytes holds; nothing before any text was encoded.
    pub(crate) fn tokens_in(&self, stored_bytes: u64) -> Option<u64> {
        if self.encoded_bytes == 0 || self.stored_bytes == 0 {
            return None;
        }
        let text = self.text_bytes as f64 / self.stored_bytes as f64;
        let tokens = self.tokens as f64 / self.encoded_bytes as f64;
        Some((stored_bytes as f64 * text * tokens) as u64)
    }
}

/// The validation text of the groups that have some, window by window, until there are as many samples as are read of it.
pub(super) fn read<'a>(
    groups: impl Iterator<Item = &'a Group>,
    rules: Rules<'_>,
    need: Evaluation,
    disk: &Watched<'_>,
) -> Result<(PackedStore, Measured), DataError> {
    let mut search = Search {
        rules,
        need,
        progress: disk.progress,
        window: MemoryText::new(rules.tokenizer),
        documents: 0,
        text_bytes: 0,
        samples: 0,
        files: 0,
        measured: Measured::default(),
        state: ProgressState {
            phase: Phase::Validation,
            source: String::new(),
            bytes_done: 0,
            bytes_total: 0,
            documents: 0,
            tokens: 0,
        },
    };
    let (mut pieces, mut windows) = (Vec::new(), Vec::new());
    for (shard, group) in groups.enumerate() {
        if search.is_over() {
            break;
        }
        windows.push(search.group(group, shard, disk, &mut pieces)?);
    }
    if need.samples > 0 && pieces.is_empty() {
        return Err(search.found_none());
    }
    let store = PackedStore::new(Split::Validation, rules.tokenizer, pieces, windows);
    Ok((store, search.measured))
}

/// The text at hand, and what was found before it.
struct Search<'a> {
    rules: Rules<'a>,
    need: Evaluation,
    progress: &'a dyn Progress,
    /// The window at hand.
    window: MemoryText,
    documents: u64,
    text_bytes: u64,
    /// Samples of the windows before.
    samples: u64,
    /// Files that were read.
    files: usize,
    measured: Measured,
    state: ProgressState,
}

impl Search<'_> {
    /// Whether there is enough, or too little to go on.
    fn is_over(&self) -> bool {
        self.samples >= self.need.samples
            || (self.measured.tokens == 0 && self.files >= SEARCHED_FILES)
    }

    /// Reads a group, and returns how many windows of it.
    fn group(
        &mut self,
        group: &Group,
        shard: usize,
        disk: &Watched<'_>,
        pieces: &mut Vec<Piece>,
    ) -> Result<usize, DataError> {
        let mut text = ShardText::new(group, self.rules, disk);
        let before = self.measured;
        self.state.bytes_total += group.bytes;
        loop {
            let window = text.window();
            let end = text.read_window(self)?;
            let reading = text.reading();
            self.measured.stored_bytes =
                before.stored_bytes + reading.stored_bytes.min(group.bytes);
            self.measured.text_bytes = before.text_bytes + reading.text_bytes;
            if self.documents > 0 {
                let empty = MemoryText::new(self.rules.tokenizer);
                let packed = mem::replace(&mut self.window, empty);
                self.samples += samples_in(packed.tokens(), self.need.context);
                pieces.push(Piece {
                    shard,
                    window,
                    documents: mem::take(&mut self.documents),
                    text_bytes: mem::take(&mut self.text_bytes),
                    text: Arc::new(packed),
                });
            }
            if end != Some(End::Window) || self.is_over() {
                self.files += reading.sources;
                return Ok(text.window() + usize::from(end == Some(End::Enough)));
            }
        }
    }

    fn found_none(&self) -> DataError {
        DataError::config(
            "data.validation_path",
            format!(
                "is needed: none of the first {} files has a validation document, and a stream holds no text out by its position",
                self.files.min(SEARCHED_FILES)
            ),
        )
    }
}

impl Sink for Search<'_> {
    fn document(&mut self, _: Split, tokens: &Tokens, text_bytes: u64) -> Result<(), DataError> {
        self.window.push(tokens);
        self.documents += 1;
        self.text_bytes += text_bytes;
        self.measured.encoded_bytes += text_bytes;
        self.measured.tokens += tokens.ids.len() as u64;
        Ok(())
    }

    fn goes_on(&mut self, text: &Reading<'_>) -> Result<ControlFlow<()>, DataError> {
        text.source.clone_into(&mut self.state.source);
        self.state.bytes_done =
            (self.measured.stored_bytes + text.stored_bytes).min(self.state.bytes_total);
        self.state.tokens = self.measured.tokens;
        if self.progress.report(&self.state).is_break() {
            return Err(DataError::Interrupted);
        }
        let here = samples_in(self.window.tokens(), self.need.context);
        let found_none = self.measured.tokens == 0 && self.files + text.sources > SEARCHED_FILES;
        if found_none || self.samples + here >= self.need.samples {
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }
}
