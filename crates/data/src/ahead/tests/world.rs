//! Corpora that are drawn, in memory, with files that are elsewhere and now and then out of reach.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use evenburn_locations::ContentId;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Evaluation;
use crate::DataConfig;
use crate::layout::{Listing, PlacedSource, Rule, SourceRole};
use crate::parquet_files::{Cells, parquet};
use crate::source::{ReadSeek, Source};

/// A generator of a seed.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    pub(super) fn words(&mut self, count: u64) -> String {
        const WORDS: [&str; 12] = [
            "the", "norm", "of", "a", "stream", "is", "naïve", "window,", "42", "(so)", "\u{2028}",
            "shards",
        ];
        let words: Vec<_> = (0..count).map(|_| self.pick(&WORDS)).collect();
        words.join(" ")
    }
}

/// A document as it was written.
#[derive(Debug, Clone)]
pub(super) struct Doc {
    pub(super) text: String,
    pub(super) tag: Option<&'static str>,
}

/// A file in memory, which is elsewhere until it is fetched.
#[derive(Debug)]
pub(super) struct MemoryFile {
    pub(super) role: SourceRole,
    pub(super) docs: Vec<Doc>,
    pub(super) bytes: Arc<[u8]>,
    name: String,
    location: PathBuf,
    id: ContentId,
    is_ranged: bool,
    /// Whether its user had it before.
    is_own: bool,
    is_here: AtomicBool,
    /// Whether it was opened when it was elsewhere.
    was_read_elsewhere: AtomicBool,
    /// How often fetching, opening and reading it to its end will fail.
    fetch_fails: AtomicU32,
    open_fails: AtomicU32,
    read_fails: AtomicU32,
}

fn fails(left: &AtomicU32) -> bool {
    let less = |left: u32| left.checked_sub(1);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        .is_ok()
}

impl Source for MemoryFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn location(&self) -> &Path {
        &self.location
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn stamp(&self) -> Option<String> {
        None
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        if fails(&self.open_fails) {
            return Err(io::Error::other("no connection"));
        }
        if !self.is_here() && !self.is_ranged {
            self.was_read_elsewhere.store(true, Ordering::Relaxed);
        }
        let ends = fails(&self.read_fails).then_some(self.bytes.len() / 2);
        Ok(Box::new(Truncated {
            bytes: Cursor::new(Arc::clone(&self.bytes)),
            ends,
        }))
    }

    fn id(&self) -> &ContentId {
        &self.id
    }

    fn fetch(&self) -> io::Result<()> {
        if fails(&self.fetch_fails) {
            return Err(io::Error::other("no connection"));
        }
        self.is_here.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn is_here(&self) -> bool {
        self.is_here.load(Ordering::Relaxed)
    }

    fn is_ranged(&self) -> bool {
        self.is_ranged
    }

    fn release(&self) -> io::Result<bool> {
        assert!(!self.is_own, "a file of the user's is removed");
        Ok(self.is_here.swap(false, Ordering::Relaxed))
    }
}

/// A body that breaks off.
struct Truncated {
    bytes: Cursor<Arc<[u8]>>,
    ends: Option<usize>,
}

impl Read for Truncated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.bytes.position() as usize;
        match self.ends {
            Some(end) if at >= end => Err(io::Error::other("the connection broke")),
            Some(end) => {
                let most = buffer.len().min(end - at);
                self.bytes.read(&mut buffer[..most])
            }
            None => self.bytes.read(buffer),
        }
    }
}

impl Seek for Truncated {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

/// A corpus and how it is read.
pub(super) struct World {
    pub(super) files: Vec<Arc<MemoryFile>>,
    pub(super) config: DataConfig,
    pub(super) evaluation: Evaluation,
}

impl World {
    pub(super) fn new(draw: &mut Draw) -> Self {
        let config = DataConfig {
            validation_fraction: draw.pick(&[0.0, 0.2, 0.5]),
            shard_bytes: draw.pick(&[1, 500, 3000, 1 << 20]),
            window_bytes: draw.pick(&[1, 60, 300, 2000, 64 << 20]),
            cache_bytes: draw.pick(&[0, 400, 3000, 1 << 30]),
            ..DataConfig::default()
        };
        let by_file = draw.chance(40);
        let files = (0..draw.below(9)).map(|number| {
            let role = if by_file {
                draw.pick(&[SourceRole::Train, SourceRole::Train, SourceRole::Validation])
            } else {
                SourceRole::Mixed
            };
            Arc::new(file(draw, number, role, &config))
        });
        let world = Self {
            files: files.collect(),
            evaluation: Evaluation {
                context: 1 + draw.below(12) as usize,
                samples: 1 + draw.below(9),
            },
            config,
        };
        world.trouble(draw);
        world
    }

    /// One shard of so many windows.
    pub(super) fn of_windows(draw: &mut Draw, windows: u64) -> Self {
        let config = DataConfig {
            window_bytes: 100,
            ..DataConfig::default()
        };
        let docs = (0..windows).map(|_| Doc {
            text: format!("{:.<100}", draw.words(10))
                .chars()
                .take(60)
                .collect(),
            tag: None,
        });
        let docs = docs.collect();
        let file = MemoryFile {
            id: ContentId::Sha256("of windows".into()),
            ..stored(draw, 0, "jsonl", SourceRole::Train, docs, &config)
        };
        Self {
            files: vec![Arc::new(file)],
            config,
            evaluation: Evaluation {
                context: 4,
                samples: 0,
            },
        }
    }

    /// The files, wherever they are.
    pub(super) fn listing(&self) -> Listing {
        let sources = self.files.iter().map(|file| placed(Arc::clone(file)));
        Listing {
            sources: sources.collect(),
            ..Listing::default()
        }
    }

    /// Copies of the files on this machine.
    pub(super) fn untroubled(&self) -> Listing {
        let sources = self.files.iter().map(|file| {
            let file = MemoryFile {
                docs: file.docs.clone(),
                bytes: Arc::clone(&file.bytes),
                name: file.name.clone(),
                location: file.location.clone(),
                id: file.id.clone(),
                is_here: AtomicBool::new(true),
                is_own: true,
                was_read_elsewhere: AtomicBool::default(),
                fetch_fails: AtomicU32::default(),
                open_fails: AtomicU32::default(),
                read_fails: AtomicU32::default(),
                ..**file
            };
            placed(Arc::new(file))
        });
        Listing {
            sources: sources.collect(),
            ..Listing::default()
        }
    }

    /// Makes some of what is done with files fail some times.
    pub(super) fn trouble(&self, draw: &mut Draw) {
        for file in &self.files {
            for fails in [&file.fetch_fails, &file.open_fails, &file.read_fails] {
                let times = if draw.chance(15) { draw.below(3) } else { 0 };
                fails.store(times as u32, Ordering::Relaxed);
            }
        }
    }

    /// Forgets what was fetched.
    pub(super) fn lose_fetched(&self) {
        for file in &self.files {
            file.is_here.store(file.is_own, Ordering::Relaxed);
        }
    }

    /// Bytes of the files that were fetched and are here.
    pub(super) fn fetched_bytes(&self) -> u64 {
        let fetched = self
            .files
            .iter()
            .filter(|file| !file.is_own && file.is_here());
        fetched.map(|file| file.size()).sum()
    }

    pub(super) fn was_read_elsewhere(&self) -> bool {
        let mut files = self.files.iter();
        files.any(|file| file.was_read_elsewhere.load(Ordering::Relaxed))
    }

    /// Whether a document is for validation.
    pub(super) fn has_validation(&self) -> bool {
        let oracle = super::Oracle::of(self, super::tokenizer());
        oracle.has_validation()
    }
}

fn placed(file: Arc<MemoryFile>) -> PlacedSource {
    PlacedSource {
        role: file.role,
        rule: Rule::Name,
        named: false,
        source: file,
    }
}

fn file(draw: &mut Draw, number: u64, role: SourceRole, config: &DataConfig) -> MemoryFile {
    let kind = draw.pick(&[
        "txt",
        "jsonl",
        "jsonl",
        "jsonl.gz",
        "jsonl.zst",
        "parquet",
        "json",
        "empty",
    ]);
    let docs = if matches!(kind, "json" | "empty") {
        0
    } else {
        draw.pick(&[0, 1, 3, 12])
    };
    let docs = (0..docs).map(|_| {
        let words = draw.pick(&[0, 1, 4, 15, 40]);
        // Plain text has neither empty documents nor tags.
        let words = if kind == "txt" { 1 + words } else { words };
        let text = match draw.words(words) {
            text if kind == "txt" && text.trim().is_empty() => "word".to_owned(),
            text => text,
        };
        let tags = [
            None,
            None,
            None,
            Some("train"),
            Some("validation"),
            Some("test"),
        ];
        let tag = if kind == "txt" {
            None
        } else {
            draw.pick(&tags)
        };
        Doc { text, tag }
    });
    let docs = docs.collect();
    stored(draw, number, kind, role, docs, config)
}

fn stored(
    draw: &mut Draw,
    number: u64,
    kind: &str,
    role: SourceRole,
    docs: Vec<Doc>,
    config: &DataConfig,
) -> MemoryFile {
    let lines: Vec<String> = docs
        .iter()
        .map(|doc| match doc.tag {
            Some(tag) => serde_json::json!({ "text": doc.text, "split": tag }).to_string(),
            None => serde_json::json!({ "text": doc.text }).to_string(),
        })
        .collect();
    let halves = lines.split_at(lines.len() / 2);
    let halves = [halves.0, halves.1].map(|lines| {
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    });
    let bytes: Vec<u8> = match kind {
        "txt" => {
            let texts: Vec<_> = docs.iter().map(|doc| &*doc.text).collect();
            texts.join("\n<|endoftext|>\n").into_bytes()
        }
        "jsonl" => halves.concat().into_bytes(),
        "jsonl.gz" => halves.iter().flat_map(|half| gzip(half)).collect(),
        "jsonl.zst" => halves
            .iter()
            .flat_map(|half| zstd::encode_all(half.as_bytes(), 1).unwrap())
            .collect(),
        "parquet" => {
            let texts = docs.iter().map(|doc| doc.text.clone());
            let tags = docs.iter().map(|doc| doc.tag.unwrap_or("none"));
            let columns = [("text", Cells::text(texts)), ("split", Cells::text(tags))];
            let compression = ::parquet::basic::Compression::SNAPPY;
            parquet(&columns, compression, 1 + draw.below(4) as usize)
        }
        // No document, and no text.
        "json" => b"{\"content\": \"none\"}\n".to_vec(),
        _ => Vec::new(),
    };
    let ending = if kind == "empty" { "txt" } else { kind };
    let size = bytes.len() as u64;
    let is_own = draw.chance(20);
    MemoryFile {
        role,
        docs,
        name: format!("part-{number}.{ending}"),
        location: format!("memory://corpus/part-{number}.{ending}").into(),
        id: if draw.chance(80) {
            ContentId::Sha256(evenburn_files::sha256(&bytes))
        } else {
            ContentId::Unknown
        },
        is_ranged: size > config.cache_bytes / 2,
        is_own,
        is_here: AtomicBool::new(is_own),
        was_read_elsewhere: AtomicBool::default(),
        fetch_fails: AtomicU32::default(),
        open_fails: AtomicU32::default(),
        read_fails: AtomicU32::default(),
        bytes: bytes.into(),
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
