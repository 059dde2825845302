//! What each stage between stored files and packed tokens takes, measured one after the other on the same documents.

mod recorded;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::decode::{self, Documents};
use crate::megatron::{MegatronWriter, TokenType};
use crate::shard_text::{self, BATCH_BYTES};
use crate::token_bytes::Tokens;
use crate::{DataConfig, DataError, Source, Tokenizer, documents, files};
use recorded::Recorder;

/// Files that are fetched ahead of the one that is read.
const AHEAD: usize = 2;

/// How much is measured, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageLimits {
    /// No document is read after one with which their text has so many bytes…
    pub bytes: u64,
    /// …or after so much time.
    pub time: Duration,
    /// Threads that tokenize; the program's own if unset.
    pub threads: Option<usize>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// `fetch`, `decode`, `parse`, `tokenize` or `pack`.
    pub name: &'static str,
    /// Bytes of what it was given: stored ones, stored ones, decompressed ones, text, tokens.
    pub bytes: u64,
    /// Wall time for all documents.
    pub seconds: f64,
}

/// What the stages took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stages {
    /// Files that documents came from.
    pub files: usize,
    /// Documents.
    pub documents: usize,
    /// Bytes of their text.
    pub text_bytes: u64,
    /// Tokens of their text, those that end documents among them.
    pub tokens: u64,
    /// Threads that tokenized.
    pub threads: usize,
    /// In the order of the work.
    pub stages: Vec<Stage>,
    /// Wall time of all of them at work together on the same documents, as where a corpus is prepared: a thread fetches
    /// files while those before are worked on, and the next documents are read while others are tokenized.
    pub together_seconds: f64,
}

impl Stages {
    /// The stage that takes longest.
    pub fn slowest(&self) -> Option<&Stage> {
        let stages = self.stages.iter();
        stages.max_by(|a, b| a.seconds.total_cmp(&b.seconds))
    }
}

/// Reads documents of some sources, in order and up to a limit; does the work of each stage for them alone; and reads them
/// once more, from the same sources `again`, with all stages at work. What was fetched of the first may not be there for
/// the second, or that isn't measured.
///
/// A tokenizer that isn't given is trained on the documents. Shards are written below `folder` and removed again.
///
/// Fetching is what the sources take for their bytes while documents are read from them. Parquet decompresses its pages
/// where it reads them: all of that counts as decoding.
///
/// # Errors
/// What the sources, their documents, the tokenizer or the disk answer; [`DataError::NoText`] where no document is there.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use evenburn_data::{DataConfig, LocalFile, Source, StageLimits, measure_stages};
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a.jsonl");
/// std::fs::write(&path, "{\"text\": \"one\"}\n{\"text\": \"two\"}\n")?;
/// let source: Arc<dyn Source> = Arc::new(LocalFile::new("a.jsonl".into(), path)?);
/// let again = [Arc::clone(&source)];
/// let limits = StageLimits { bytes: 1000, time: Duration::from_secs(10), threads: None };
/// let config = DataConfig { tokenizer_vocab: 257, ..Default::default() };
/// let stages = measure_stages(vec![source], &again, &config, None, dir.path(), &limits)?;
/// assert_eq!((stages.documents, stages.text_bytes, stages.tokens), (2, 6, 8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn measure_stages(
    sources: Vec<Arc<dyn Source>>,
    again: &[Arc<dyn Source>],
    config: &DataConfig,
    tokenizer: Option<Tokenizer>,
    folder: &Path,
    limits: &StageLimits,
) -> Result<Stages, DataError> {
    let measure = || measure(sources, again, config, tokenizer, folder, limits);
    let Some(threads) = limits.threads else {
        return measure();
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| DataError::config("--threads", e.to_string()))?;
    pool.install(measure)
}

fn measure(
    sources: Vec<Arc<dyn Source>>,
    again: &[Arc<dyn Source>],
    config: &DataConfig,
    tokenizer: Option<Tokenizer>,
    folder: &Path,
    limits: &StageLimits,
) -> Result<Stages, DataError> {
    let (parts, all) = read(sources, &config.text_field, limits)?;
    let text_bytes = all.iter().map(|text| text.len() as u64).sum();
    let taken = parts.iter().map(|part| part.recorder.taken());
    let (fetched, fetching) = taken.fold((0, Duration::ZERO), |(bytes, time), taken| {
        (bytes + taken.0, time + taken.1)
    });
    let tokenizer = if let Some(tokenizer) = tokenizer {
        tokenizer
    } else {
        let texts = all.iter().cloned().map(Ok);
        Tokenizer::train(texts, config.tokenizer_vocab, &config.eod_token)?
    };

    let (mut decoding, mut parsing, mut decompressed) = (Duration::ZERO, Duration::ZERO, 0);
    for part in &parts {
        let source: Arc<dyn Source> = Arc::new(part.recorder.recorded());
        let (bytes, unpacking) = timed(|| Ok(decode::decompressed(&source)))?;
        let ((), reading) = timed(|| {
            let documents = documents(source, &config.text_field)?;
            texts(documents, part.documents).try_for_each(|text| text.map(drop))
        })?;
        match bytes {
            Some(bytes) => {
                decompressed += bytes;
                decoding += unpacking;
                parsing += reading.saturating_sub(unpacking);
            }
            None => decoding += reading,
        }
    }
    let (tokens, tokenizing) = timed(|| encode(&tokenizer, &all))?;
    let count = tokens
        .iter()
        .map(|document| document.ids.len() as u64)
        .sum();
    drop(all);

    let scratch = Scratch::new(folder)?;
    let token_type = TokenType::for_vocab(tokenizer.vocab_size());
    let writer = || MegatronWriter::create(&scratch.0.join("shard"), token_type);
    let ((), packing) = timed(|| {
        let mut writer = writer()?;
        tokens.iter().try_for_each(|t| writer.document(&t.ids))?;
        writer.finish().map(drop)
    })?;
    drop(tokens);
    let ((), together) = timed(|| {
        let mut writer = writer()?;
        at_once(&parts, again, &config.text_field, |texts| {
            let mut batch = next_batch(texts)?;
            while !batch.is_empty() {
                let encode = || encode(&tokenizer, &batch);
                let (tokens, next) = rayon::join(encode, || next_batch(texts));
                tokens?.iter().try_for_each(|t| writer.document(&t.ids))?;
                batch = next?;
            }
            Ok(())
        })?;
        writer.finish().map(drop)
    })?;

    let stage = |name, bytes, time: Duration| Stage {
        name,
        bytes,
        seconds: time.as_secs_f64(),
    };
    Ok(Stages {
        files: parts.len(),
        documents: parts.iter().map(|part| part.documents).sum(),
        text_bytes,
        tokens: count,
        threads: rayon::current_num_threads(),
        stages: vec![
            stage("fetch", fetched, fetching),
            stage("decode", fetched, decoding),
            stage("parse", decompressed, parsing),
            stage("tokenize", text_bytes, tokenizing),
            stage("pack", count * token_type.width() as u64, packing),
        ],
        together_seconds: together.as_secs_f64(),
    })
}

/// The documents that were read of a source.
struct Part {
    /// Which of the sources.
    source: usize,
    recorder: Recorder,
    documents: usize,
}

/// Texts in order.
type Texts<'a> = Box<dyn Iterator<Item = Result<String, DataError>> + Send + 'a>;

/// The texts of the first documents.
fn texts(
    documents: Documents,
    count: usize,
) -> impl Iterator<Item = Result<String, DataError>> + Send {
    documents.take(count).map(|document| Ok(document?.text))
}

/// Does some work with the texts of all parts, read `again`; each source is opened ahead of that, which fetches it.
fn at_once(
    parts: &[Part],
    again: &[Arc<dyn Source>],
    text_field: &str,
    work: impl FnOnce(&mut Texts<'_>) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let (fetched, ready) = mpsc::sync_channel(AHEAD);
    thread::scope(|scope| {
        scope.spawn(move || {
            for part in parts {
                // What it fails with, whoever opens it next is told.
                drop(again[part.source].open());
                if fetched.send(part).is_err() {
                    return;
                }
            }
        });
        let texts = |part: &Part| -> Texts<'static> {
            match documents(Arc::clone(&again[part.source]), text_field) {
                Ok(documents) => Box::new(texts(documents, part.documents)),
                Err(e) => Box::new(std::iter::once(Err(e))),
            }
        };
        work(&mut (Box::new(ready.into_iter().flat_map(texts)) as Texts<'_>))
    })
}

/// Reads documents up to the limits, and keeps the bytes that they come from.
fn read(
    sources: Vec<Arc<dyn Source>>,
    text_field: &str,
    limits: &StageLimits,
) -> Result<(Vec<Part>, Vec<String>), DataError> {
    let start = Instant::now();
    let (mut parts, mut texts, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut nothing = None;
    for (number, source) in sources.into_iter().enumerate() {
        let recorder = Recorder::new(source);
        let documents = match documents(Arc::new(recorder.clone()), text_field) {
            Err(e @ DataError::NoText { .. }) => {
                nothing.get_or_insert(e);
                continue;
            }
            other => other?,
        };
        let before = texts.len();
        let mut is_over = false;
        for document in documents {
            let text = document?.text;
            bytes += text.len() as u64;
            texts.push(text);
            is_over = bytes >= limits.bytes || start.elapsed() >= limits.time;
            if is_over {
                break;
            }
        }
        parts.push(Part {
            source: number,
            recorder,
            documents: texts.len() - before,
        });
        if is_over {
            break;
        }
    }
    match nothing {
        Some(e) if texts.is_empty() => Err(e),
        _ => Ok((parts, texts)),
    }
}

/// The next texts, at least one and about [`BATCH_BYTES`] of them; none at the end.
fn next_batch(texts: &mut Texts<'_>) -> Result<Vec<String>, DataError> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES {
        let Some(text) = texts.next().transpose()? else {
            break;
        };
        bytes += text.len();
        batch.push(text);
    }
    Ok(batch)
}

/// The tokens of documents, as where a corpus is prepared.
fn encode(tokenizer: &Tokenizer, texts: &[String]) -> Result<Vec<Tokens>, DataError> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    shard_text::encode(tokenizer, &texts)
}

/// What some work gives, and how long it takes.
fn timed<T>(work: impl FnOnce() -> Result<T, DataError>) -> Result<(T, Duration), DataError> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed()))
}

/// A folder that goes when it isn't needed any more.
struct Scratch(PathBuf);

impl Scratch {
    fn new(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(format!("stages-{}", std::process::id()));
        files::create_folder(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // One that stays is harmless.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::LocalFile;

    fn source(folder: &Path, name: &str, bytes: &[u8]) -> Arc<dyn Source> {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        Arc::new(LocalFile::new(name.into(), path).unwrap())
    }

    fn lines(count: usize) -> (Vec<u8>, u64) {
        let texts = (0..count).map(|n| format!("Document {n} says \"{}\".", n * n));
        let texts: Vec<_> = texts.collect();
        let lines = texts
            .iter()
            .map(|text| format!("{}\n", serde_json::json!({"text": text})));
        let bytes = texts.iter().map(|text| text.len() as u64).sum();
        (lines.collect::<String>().into_bytes(), bytes)
    }

    #[test]
    fn every_stage_has_the_same_documents() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, text_bytes) = lines(5000);
        let packed = zstd::encode_all(&lines[..], 1).unwrap();
        let size = packed.len() as u64;
        let sources = || {
            vec![
                source(folder.path(), "a.jsonl.zst", &packed),
                source(folder.path(), "b.jsonl", b""),
                source(folder.path(), "c.jsonl", &lines),
            ]
        };
        let config = DataConfig {
            tokenizer_vocab: 300,
            ..Default::default()
        };
        let measure = |bytes: u64, threads: Option<usize>| {
            let limits = StageLimits {
                bytes,
                time: Duration::from_secs(1000),
                threads,
            };
            let cache = folder.path().join("cache");
            let stages =
                measure_stages(sources(), &sources(), &config, None, &cache, &limits).unwrap();
            assert_eq!(fs::read_dir(cache).unwrap().count(), 0);
            stages
        };
        let all = measure(u64::MAX, Some(2));
        assert_eq!((all.files, all.documents, all.threads), (2, 10_000, 2));
        assert_eq!(all.text_bytes, 2 * text_bytes);
        let bytes: Vec<_> = all.stages.iter().map(|s| (s.name, s.bytes)).collect();
        assert_eq!(
            bytes,
            [
                ("fetch", size + lines.len() as u64),
                ("decode", size + lines.len() as u64),
                ("parse", 2 * lines.len() as u64),
                ("tokenize", all.text_bytes),
                ("pack", 2 * all.tokens),
            ]
        );
        assert!(all.together_seconds > 0.0 && all.slowest().is_some());

        let some = measure(text_bytes + 1, None);
        assert_eq!((some.files, some.documents), (2, 5001));
        let one = measure(1, None);
        assert_eq!((one.files, one.documents), (1, 1));
    }

    #[test]
    fn nothing_to_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let empty = source(folder.path(), "a.jsonl", b"");
        let limits = StageLimits {
            bytes: 1,
            time: Duration::from_secs(1),
            threads: None,
        };
        let config = DataConfig::default();
        let measured = measure_stages(vec![empty], &[], &config, None, folder.path(), &limits);
        assert!(matches!(measured, Err(DataError::NoText { .. })));
    }
}
