//! Streams against what their definition says, with everything that can go wrong on the way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod oracle;
mod world;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use evenburn_locations::{Environment, Settings, Storage};
use oracle::Oracle;
use world::{Draw, World};

use super::{Evaluation, StreamedCorpus};
use crate::layout::Listing;
use crate::prepare;
use crate::window::{Place, Windows as _};
use crate::{Batch, Cursor, DataConfig, DataError, PackedStore, Stream, Tokenizer};

/// Cases of a test run; `EVENBURN_STREAM_CASES` asks for others, `EVENBURN_STREAM_SEED` for the case to begin with.
const CASES: u64 = 300;

fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| {
        let texts = (0..40).map(|n| Ok(Draw::new(n).words(60)));
        Tokenizer::train(texts, 290, "<|endoftext|>").unwrap()
    })
}

/// What isn't asked for anything: all files are in memory.
fn storage() -> Storage {
    static STORAGE: OnceLock<Storage> = OnceLock::new();
    let storage = STORAGE.get_or_init(|| {
        let settings = Settings {
            environment: Environment::default(),
            ..Settings::of_process(Path::new("nowhere"))
        };
        Storage::new(settings).unwrap()
    });
    storage.clone()
}

fn streamed(
    listing: Listing,
    config: &DataConfig,
    evaluation: Evaluation,
    cache: &Path,
) -> Result<StreamedCorpus, DataError> {
    let tokenizer = Some(tokenizer().clone());
    super::streamed(
        listing,
        storage(),
        config,
        tokenizer,
        evaluation,
        cache,
        &(),
    )
}

/// Names the case that failed.
struct Announced(u64);

impl Drop for Announced {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "failed: EVENBURN_STREAM_SEED={} EVENBURN_STREAM_CASES=1",
                self.0
            );
        }
    }
}

#[test]
fn streams_are_what_their_definition_says() {
    let asked = |name, otherwise| {
        let asked = std::env::var(name).ok();
        asked.map_or(otherwise, |text| text.parse().unwrap())
    };
    let first = asked("EVENBURN_STREAM_SEED", 0);
    let next = AtomicU64::new(first);
    let end = first + asked("EVENBURN_STREAM_CASES", CASES);
    // They wait for the disk most of the time.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let _announced = Announced(seed);
                    check(seed);
                }
            });
        }
    });
}

/// The samples of a batch: inputs and the last target.
fn rows(batch: &Batch) -> Vec<Vec<u32>> {
    let rows = batch
        .tokens
        .chunks(batch.time)
        .zip(batch.targets.chunks(batch.time));
    rows.map(|(inputs, targets)| {
        let last = targets.last();
        inputs.iter().chain(last).map(|id| *id as u32).collect()
    })
    .collect()
}

/// Tries until no fault is left.
fn patiently<T>(mut work: impl FnMut() -> Result<T, DataError>) -> T {
    let mut tried = 0;
    loop {
        match work() {
            Ok(done) => return done,
            Err(DataError::Config { field, message }) => panic!("{field} {message}"),
            Err(error) if tried > 60 => panic!("{error}"),
            Err(_) => tried += 1,
        }
    }
}

/// A run that is killed now and then.
struct Run<'w> {
    world: &'w World,
    cache: &'w Path,
    seed: u64,
    corpus: Option<StreamedCorpus>,
    stream: Option<Stream>,
    rank: usize,
    ranks: usize,
}

impl Run<'_> {
    fn begin(&mut self, draw: &mut Draw, cursor: Cursor) {
        let World {
            config, evaluation, ..
        } = self.world;
        let config = DataConfig {
            ahead: 1 + draw.below(3) as usize,
            ..config.clone()
        };
        let prepared = |samples| {
            let evaluation = Evaluation {
                samples,
                ..*evaluation
            };
            streamed(self.world.listing(), &config, evaluation, self.cache)
        };
        let corpus = patiently(|| match prepared(evaluation.samples) {
            Err(DataError::Config { field, .. }) => {
                assert_eq!(
                    (&*field, self.world.has_validation()),
                    ("data.validation_path", false)
                );
                prepared(0)
            }
            other => other,
        });
        self.ranks = 1 + draw.below(3) as usize;
        self.rank = draw.below(self.ranks as u64) as usize;
        let stream = corpus.stream(evaluation.context, self.seed).unwrap();
        let mut stream = stream.for_rank(self.rank, self.ranks).unwrap();
        patiently(|| stream.seek(cursor));
        assert_eq!(stream.cursor(), cursor);
        (self.corpus, self.stream) = (Some(corpus), Some(stream));
    }

    /// Ends it; the next one has its cache or none.
    fn kill(&mut self, loses_cache: bool) {
        self.stream = None;
        let plan = self
            .corpus
            .take()
            .map(|corpus| Arc::downgrade(&corpus.plan));
        // The threads let the folder go.
        while plan.as_ref().is_some_and(|plan| plan.strong_count() > 0) {
            thread::yield_now();
        }
        if loses_cache {
            let _ = std::fs::remove_dir_all(self.cache);
            self.world.lose_fetched();
        }
    }
}

fn check(seed: u64) {
    let mut draw = Draw::new(seed);
    let world = World::new(&mut draw);
    let oracle = Oracle::of(&world, tokenizer());
    let context = world.evaluation.context;
    let folder = tempfile::tempdir().unwrap();
    let order = draw.below(1000);
    let want = oracle.samples(order, context, 150);

    let Some(all) = prepared(
        &world.untroubled(),
        &world.config,
        &folder.path().join("all"),
    ) else {
        assert!(want.is_empty());
        return;
    };
    validation_is(&oracle, &world, &all.1);
    let streamed = Stream::new(all.0, context, order);
    if want.is_empty() {
        assert!(streamed.is_err());
    } else {
        let mut stream = streamed.unwrap();
        for (cursor, row) in &want {
            assert_eq!(rows(&stream.next_batch(1).unwrap())[0], *row);
            assert_eq!(stream.cursor(), *cursor);
        }
    }
    if oracle.shards.is_empty() {
        return;
    }

    let cache = folder.path().join("ahead");
    let mut run = Run {
        world: &world,
        cache: &cache,
        seed: order,
        corpus: None,
        stream: None,
        rank: 0,
        ranks: 1,
    };
    run.begin(&mut draw, Cursor::default());
    validation_is(&oracle, &world, &run.corpus.as_ref().unwrap().validation);
    let behind = |position: usize| match position {
        0 => Cursor::default(),
        _ => want[position - 1].0,
    };
    let mut position = 0;
    let mut kills = draw.below(4);
    loop {
        let stream = run.stream.as_mut().unwrap();
        if want.is_empty() {
            while let Err(error) = stream.next_batch(1) {
                if matches!(error, DataError::Config { .. }) {
                    return;
                }
            }
            panic!("a sample from nowhere");
        }
        let n = 1 + draw.below(5) as usize;
        let after = position + n * run.ranks;
        if after > want.len() {
            break;
        }
        if draw.chance(15) {
            patiently(|| stream.skip(n as u64));
        } else {
            let batch = patiently(|| stream.next_batch(n));
            let own = want[position..after]
                .iter()
                .skip(run.rank)
                .step_by(run.ranks);
            let own: Vec<_> = own.map(|(_, row)| row.clone()).collect();
            assert_eq!(rows(&batch), own, "samples {position} to {after}");
        }
        position = after;
        assert_eq!(stream.cursor(), behind(position));
        assert!(world.fetched_bytes() <= world.config.cache_bytes);
        if kills > 0 && draw.chance(25) {
            kills -= 1;
            run.kill(draw.chance(50));
            world.trouble(&mut draw);
            position = draw.below(position as u64 + 1) as usize;
            run.begin(&mut draw, behind(position));
        }
    }
    assert!(
        !world.was_read_elsewhere(),
        "a file was evicted while it was read"
    );
    run.kill(false);
}

/// Both splits, all tokenized; nothing where there is no text at all.
fn prepared(
    listing: &Listing,
    config: &DataConfig,
    cache: &Path,
) -> Option<(PackedStore, PackedStore)> {
    let tokenizer = Some(tokenizer().clone());
    match prepare::tokenized(listing.clone(), &storage(), config, tokenizer, cache, &()) {
        Ok(corpus) => Some((corpus.train, corpus.validation)),
        Err(DataError::NoText { .. } | DataError::FirstObject { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The samples that an evaluation reads.
fn validation_is(oracle: &Oracle, world: &World, store: &PackedStore) {
    let Evaluation { context, samples } = world.evaluation;
    let want = oracle.validation(context, samples as usize);
    let found: Vec<_> = match store.batches(context, 3, Some(samples)) {
        Ok(batches) => batches.flat_map(|batch| rows(&batch.unwrap())).collect(),
        Err(_) => Vec::new(),
    };
    assert_eq!(found, want);
}

/// What is in memory at once: the queue, beside the window that is read and the one that is made.
#[test]
fn no_more_windows_are_made_than_are_asked_for() {
    let draw = &mut Draw::new(7);
    let world = World::of_windows(draw, 12);
    let folder = tempfile::tempdir().unwrap();
    let config = DataConfig {
        ahead: 3,
        ..world.config.clone()
    };
    let none = Evaluation {
        context: 4,
        samples: 0,
    };
    let corpus = streamed(world.listing(), &config, none, folder.path()).unwrap();
    let mut ahead = super::Ahead::new(Arc::clone(&corpus.plan), 0);
    let mut place = Place {
        epoch: 0,
        position: 0,
        window: 0,
    };
    for _ in 0..8 {
        let window = ahead.window(place, 0).unwrap().unwrap();
        place = place.behind(window.is_last, 1);
        // It goes on until the queue is full, and no further.
        while ahead.ready() < 3 {
            thread::yield_now();
        }
        for _ in 0..100 {
            thread::yield_now();
            assert_eq!(ahead.ready(), 3);
        }
    }
}

/// Another process, or another stream of this one, has a folder of its own beside it.
#[test]
fn streams_of_one_listing_do_not_share_a_folder() {
    let draw = &mut Draw::new(3);
    let world = World::of_windows(draw, 4);
    let folder = tempfile::tempdir().unwrap();
    let none = Evaluation {
        context: 4,
        samples: 0,
    };
    let open = || streamed(world.listing(), &world.config, none, folder.path()).unwrap();
    let (first, second) = (open(), open());
    assert_ne!(first.plan.disk.folder(), second.plan.disk.folder());
    let batch = |corpus: &StreamedCorpus| {
        let mut stream = corpus.stream(4, 1).unwrap();
        patiently(|| stream.next_batch(20))
    };
    assert_eq!(batch(&first), batch(&second));
}

/// A window that is damaged on the disk is made again, and so is one that nothing vouches for.
#[test]
fn damaged_windows_are_made_again() {
    let draw = &mut Draw::new(5);
    let world = World::of_windows(draw, 6);
    let folder = tempfile::tempdir().unwrap();
    let none = Evaluation {
        context: 4,
        samples: 0,
    };
    let read = || {
        let corpus = streamed(world.listing(), &world.config, none, folder.path()).unwrap();
        let mut stream = corpus.stream(4, 1).unwrap();
        let batch = patiently(|| stream.next_batch(60));
        let path = corpus.plan.disk.folder().to_path_buf();
        drop(stream);
        drop(corpus);
        // The threads of a stream end by themselves, and let go of its folder then.
        while crate::files::try_lock(&path).unwrap().is_none() {
            thread::yield_now();
        }
        (batch, path)
    };
    let (first, path) = read();
    let files = || {
        let entries = std::fs::read_dir(&path).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|e| e == "tokens"));
        files.sort();
        files
    };
    let kept = files();
    assert!(kept.len() >= 4, "{kept:?}");
    let mut bytes = std::fs::read(&kept[0]).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&kept[0], bytes).unwrap();
    std::fs::write(&kept[1], "").unwrap();
    std::fs::remove_file(&kept[2]).unwrap();
    std::fs::remove_file(kept[3].with_extension("json")).unwrap();
    let (again, same) = read();
    assert_eq!((again, same), (first, path.clone()));
    assert_eq!(files().len(), kept.len());
}
