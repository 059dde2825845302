//! The threads of a stream: some fetch files, one makes windows, and what reads the stream takes them from a queue.
//!
//! ```text
//! fetch (data.ahead shards) -> Disk -> build: decode, tokenize, pack -> queue (data.ahead windows) -> Stream
//! ```
//!
//! The order of the work is the stream's. What is ready when, and what the disk has, decides how long the stream waits
//! and nothing else: at most `data.ahead` windows in the queue, the one that is read and the one that is made are in
//! memory.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{io, thread};

use indicatif::{BinaryBytes, HumanCount};
use rayon::ThreadPoolBuilder;

use super::Plan;
use crate::DataError;
use crate::batch::Boundaries;
use crate::fetching::FILES_AT_ONCE;
use crate::order::ShardOrder;
use crate::reading::bad_records;
use crate::shard_text::{End, Reading, Rules, ShardText, Sink};
use crate::split::Split;
use crate::token_bytes::Tokens;
use crate::window::{MemoryText, NetworkTraffic, Place, Window, Windows};

type Built = Result<Option<Window>, DataError>;

/// Windows that are made ahead of what reads them.
#[derive(Debug)]
pub(crate) struct Ahead {
    shared: Arc<Shared>,
    is_started: bool,
    news: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    plan: Arc<Plan>,
    seed: u64,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// Where the windows begin; counted anew whenever somebody wants others.
    start: Option<Place>,
    run: u64,
    /// What is taken next.
    next: Option<Place>,
    ready: VecDeque<Built>,
    /// Where the shard is that is being built.
    building: Option<Place>,
    /// Whether nobody reads any more.
    ended: bool,
    /// Whether the thread that makes windows is gone.
    broken: bool,
}

impl Ahead {
    /// The windows of a plan's shards, in the order of a seed. Nothing happens before the first is asked for.
    pub(crate) fn new(plan: Arc<Plan>, seed: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                plan,
                seed,
                queue: Mutex::default(),
                changed: Condvar::new(),
            }),
            is_started: false,
            news: Vec::new(),
        }
    }

    /// Windows that are ready.
    #[cfg(test)]
    pub(crate) fn ready(&self) -> usize {
        self.shared.queue().ready.len()
    }

    fn start(&mut self) -> Result<(), DataError> {
        if self.is_started {
            return Ok(());
        }
        let fault =
            |e: io::Error| DataError::io("start a thread for", self.shared.plan.disk.folder(), e);
        // A pool of its own: what trains may use all threads of the common one, and wait in one of them.
        let pool = ThreadPoolBuilder::new().thread_name(|n| format!("tokenize-{n}"));
        let pool = pool.build().map_err(|e| fault(io::Error::other(e)))?;
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned());
            thread.spawn(work).map(|_| ()).map_err(fault)
        };
        let shared = Arc::clone(&self.shared);
        spawn(
            "build",
            Box::new(move || {
                let _guard = Breaks(&shared);
                pool.install(|| shared.build());
            }),
        )?;
        for number in 0..FILES_AT_ONCE {
            let shared = Arc::clone(&self.shared);
            spawn(&format!("fetch-{number}"), Box::new(move || shared.fetch()))?;
        }
        self.is_started = true;
        Ok(())
    }
}

impl Drop for Ahead {
    /// The threads end by themselves: within a batch of documents, or at the end of a download.
    fn drop(&mut self) {
        self.shared.queue().ended = true;
        self.shared.changed.notify_all();
    }
}

/// Tells whoever waits for windows that no more will come.
struct Breaks<'a>(&'a Shared);

impl Drop for Breaks<'_> {
    fn drop(&mut self) {
        self.0.queue().broken = true;
        self.0.changed.notify_all();
    }
}

impl Windows for Ahead {
    fn shards(&self) -> usize {
        self.shared.plan.shards.len()
    }

    fn boundaries(&self) -> Boundaries {
        self.shared.plan.tokenizer.boundaries()
    }

    fn window(&mut self, place: Place, shard: usize) -> Built {
        let (is_first, asked) = (!self.is_started, Instant::now());
        self.start()?;
        let shards = self.shards();
        let mut queue = self.shared.queue();
        if queue.next != Some(place) {
            queue.run += 1;
            queue.start = Some(place);
            queue.ready.clear();
            self.shared.changed.notify_all();
        }
        let built = loop {
            if let Some(built) = queue.ready.pop_front() {
                break built;
            }
            if queue.broken {
                let why = io::Error::other("the thread that makes windows is gone");
                return Err(DataError::io(
                    "go on in",
                    self.shared.plan.disk.folder(),
                    why,
                ));
            }
            queue = self.shared.wait(queue);
        };
        queue.next = match &built {
            Ok(Some(window)) => Some(place.behind(window.is_last, shards)),
            Ok(None) => Some(place.next_shard(shards)),
            // Asked for again, it is tried again.
            Err(_) => None,
        };
        self.shared.changed.notify_all();
        drop(queue);
        self.shared.plan.disk.use_window(shard, place.window);
        if let (true, Ok(Some(window))) = (is_first, &built) {
            self.news.push(format!(
                "the first window of text was ready after {:.1} s: {} tokens{}",
                asked.elapsed().as_secs_f64(),
                HumanCount(window.text.tokens()),
                match self.traffic() {
                    Some(traffic) => format!(", {} fetched so far", BinaryBytes(traffic.bytes)),
                    None => String::new(),
                }
            ));
        }
        built
    }

    fn traffic(&self) -> Option<NetworkTraffic> {
        let Plan {
            config, storage, ..
        } = &*self.shared.plan;
        config.is_elsewhere().then(|| NetworkTraffic {
            bytes: storage.traffic().bytes(),
            retries: storage.traffic().retries(),
        })
    }

    fn news(&mut self) -> Vec<String> {
        let mut news = std::mem::take(&mut self.news);
        news.extend(self.shared.plan.disk.news());
        news
    }
}

impl Shared {
    /// Makes windows until nobody reads any more.
    fn build(&self) {
        let mut run = 0;
        while let Some(start) = self.next_start(&mut run) {
            let mut order = ShardOrder::new(self.seed, self.plan.shards.len());
            let mut at = start;
            loop {
                self.queue().building = Some(at);
                self.changed.notify_all();
                match self.build_shard(run, at, order.shard(at.epoch, at.position)) {
                    Ok(ControlFlow::Continue(())) => at = at.next_shard(self.plan.shards.len()),
                    Ok(ControlFlow::Break(())) => break,
                    Err(error) => {
                        let _ = self.push(run, Err(error));
                        break;
                    }
                }
            }
        }
    }

    /// Makes the windows of a shard from one on, as long as they are wanted.
    fn build_shard(&self, run: u64, at: Place, shard: usize) -> Result<ControlFlow<()>, DataError> {
        let Plan {
            tokenizer,
            shards,
            disk,
            ..
        } = &*self.plan;
        let group = &shards[shard];
        let rules = Rules {
            tokenizer,
            config: &self.plan.config,
            only: Some(Split::Train),
        };
        let made_of = self.plan.made_of(group);
        let mut text = ShardText::new(group, rules, &disk);
        let mut window = at.window;
        loop {
            let kept = disk.window(shard, window, made_of.as_deref(), tokenizer);
            let built = if let Some(kept) = kept {
                Some(kept)
            } else {
                while text.window() < window && text.skip_window()?.is_some() {
                    if !self.is_wanted(run) {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                let mut packing = Packing {
                    text: MemoryText::new(tokenizer),
                    shared: self,
                    run,
                };
                // The shard may have fewer.
                let end = if text.window() == window {
                    text.read_window(&mut packing)?
                } else {
                    None
                };
                if end == Some(End::Enough) {
                    return Ok(ControlFlow::Break(()));
                }
                end.map(|end| {
                    let is_last = end == End::Shard;
                    if let Some(made_of) = &made_of {
                        disk.keep_window(shard, window, made_of, &packing.text, is_last);
                    }
                    Window {
                        text: Arc::new(packing.text),
                        is_last,
                    }
                })
            };
            let is_last = built.as_ref().is_none_or(|window| window.is_last);
            if is_last {
                let names = group.sources.iter().map(|placed| placed.source.name());
                let left_out = bad_records(names.zip(text.tallies()));
                if let Some(news) = left_out {
                    disk.tell(news);
                }
            }
            if self.push(run, Ok(built)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if is_last {
                return Ok(ControlFlow::Continue(()));
            }
            window += 1;
        }
    }

    /// Puts what was made into the queue, once there is room.
    fn push(&self, run: u64, built: Built) -> ControlFlow<()> {
        let mut queue = self.queue();
        loop {
            if queue.ended || queue.run != run {
                return ControlFlow::Break(());
            }
            if queue.ready.len() < self.plan.config.ahead {
                queue.ready.push_back(built);
                self.changed.notify_all();
                return ControlFlow::Continue(());
            }
            queue = self.wait(queue);
        }
    }

    /// Where windows are wanted from, once it is elsewhere than in `run`; nothing once nobody reads any more.
    fn next_start(&self, run: &mut u64) -> Option<Place> {
        let mut queue = self.queue();
        loop {
            if queue.ended {
                return None;
            }
            if queue.run != *run {
                *run = queue.run;
                return queue.start;
            }
            queue = self.wait(queue);
        }
    }

    fn is_wanted(&self, run: u64) -> bool {
        let queue = self.queue();
        !queue.ended && queue.run == run
    }

    /// Fetches the files of the next shards, until nobody reads any more.
    fn fetch(&self) {
        let Plan {
            config,
            shards,
            disk,
            ..
        } = &*self.plan;
        let mut order = ShardOrder::new(self.seed, shards.len());
        let mut seen = None;
        while let Some(at) = self.next_building(seen) {
            seen = Some(at);
            let mut place = at;
            'shards: for _ in 0..=config.ahead {
                let shard = order.shard(place.epoch, place.position);
                if !disk.has_windows(shard, place.window) {
                    for placed in &shards[shard].sources {
                        let queue = self.queue();
                        let moved = queue.ended || queue.building != seen;
                        drop(queue);
                        if moved || !disk.fetch_ahead(&placed.source) {
                            break 'shards;
                        }
                    }
                }
                place = place.next_shard(shards.len());
            }
        }
    }

    /// Where a shard is being built, once it is elsewhere than was seen; nothing once nobody reads any more.
    fn next_building(&self, seen: Option<Place>) -> Option<Place> {
        let mut queue = self.queue();
        loop {
            if queue.ended {
                return None;
            }
            if queue.building != seen {
                return queue.building;
            }
            queue = self.wait(queue);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'q>(&self, queue: MutexGuard<'q, Queue>) -> MutexGuard<'q, Queue> {
        let queue = self.changed.wait(queue);
        queue.unwrap_or_else(PoisonError::into_inner)
    }
}

/// A window that is being packed.
struct Packing<'a> {
    text: MemoryText,
    shared: &'a Shared,
    run: u64,
}

impl Sink for Packing<'_> {
    fn document(&mut self, _: Split, tokens: &Tokens, _: u64) -> Result<(), DataError> {
        self.text.push(tokens);
        Ok(())
    }

    fn goes_on(&mut self, _: &Reading<'_>) -> Result<ControlFlow<()>, DataError> {
        if self.shared.is_wanted(self.run) {
            Ok(ControlFlow::Continue(()))
        } else {
            Ok(ControlFlow::Break(()))
        }
    }
}
