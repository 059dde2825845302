//! What a stream must give, word by word from its definition, slowly.

use crate::layout::SourceRole;
use crate::order::{sample_order, shard_order};
use crate::{Cursor, Tokenizer};

use super::world::{Doc, World};

/// Everything, tokenized.
pub(super) struct Oracle {
    /// The tokens of each window of each shard.
    pub(super) shards: Vec<Vec<Vec<u32>>>,
    /// The tokens of each window that has validation text.
    validation: Vec<Vec<u32>>,
}

/// Which split a document is for: true for training, false for validation.
fn trains(role: SourceRole, doc: &Doc, fraction: f64) -> Option<bool> {
    if doc.text.is_empty() {
        return None;
    }
    match (role, doc.tag) {
        (SourceRole::Train, _) | (SourceRole::Mixed, Some("train")) => Some(true),
        (SourceRole::Validation, _) | (SourceRole::Mixed, Some("validation")) => Some(false),
        (_, Some(_)) => None,
        (_, None) => {
            let hash = xxhash_rust::xxh3::xxh3_64(doc.text.as_bytes()) >> 11;
            Some(hash as f64 / 9_007_199_254_740_992.0 >= fraction)
        }
    }
}

impl Oracle {
    pub(super) fn of(world: &World, tokenizer: &Tokenizer) -> Self {
        // Groups of consecutive files of one role.
        let mut groups: Vec<(SourceRole, u64, Vec<&Doc>)> = Vec::new();
        for file in &world.files {
            let (role, size) = (file.role, file.bytes.len() as u64);
            let fits = groups.last().is_some_and(|(of, bytes, _)| {
                *of == role && bytes + size <= world.config.shard_bytes
            });
            if !fits {
                groups.push((role, 0, Vec::new()));
            }
            let group = groups.last_mut().unwrap();
            group.1 += size;
            group.2.extend(&file.docs);
        }
        let (mut shards, mut validation) = (Vec::new(), Vec::new());
        for (role, _, docs) in &groups {
            // Windows of consecutive documents.
            let mut windows: Vec<Vec<&Doc>> = Vec::new();
            for doc in docs {
                let fits = windows.last().is_some_and(|window| {
                    let bytes: usize = window.iter().map(|doc| doc.text.len()).sum();
                    (bytes + doc.text.len()) as u64 <= world.config.window_bytes
                });
                if !fits {
                    windows.push(Vec::new());
                }
                windows.last_mut().unwrap().push(doc);
            }
            let tokens = |window: &Vec<&Doc>, wanted| -> Vec<u32> {
                let fraction = world.config.validation_fraction;
                let docs = window
                    .iter()
                    .filter(|doc| trains(*role, doc, fraction) == Some(wanted));
                docs.flat_map(|doc| {
                    let mut ids = tokenizer.encode(&doc.text).unwrap();
                    ids.push(tokenizer.eod());
                    ids
                })
                .collect()
            };
            if *role != SourceRole::Validation {
                shards.push(windows.iter().map(|window| tokens(window, true)).collect());
            }
            if *role != SourceRole::Train {
                validation.extend(windows.iter().map(|window| tokens(window, false)));
            }
        }
        let this = Self { shards, validation };
        this.has_every_document_once(world, tokenizer);
        this
    }

    /// An epoch reads each training document once.
    fn has_every_document_once(&self, world: &World, tokenizer: &Tokenizer) {
        let mut read: Vec<Vec<u32>> = self
            .shards
            .iter()
            .flatten()
            .flat_map(|window| window.split_inclusive(|id| *id == tokenizer.eod()))
            .map(<[u32]>::to_vec)
            .collect();
        let fraction = world.config.validation_fraction;
        let mut there: Vec<Vec<u32>> = Vec::new();
        for file in &world.files {
            for doc in &file.docs {
                if trains(file.role, doc, fraction) == Some(true) {
                    let mut ids = tokenizer.encode(&doc.text).unwrap();
                    ids.push(tokenizer.eod());
                    there.push(ids);
                }
            }
        }
        read.sort();
        there.sort();
        assert_eq!(read, there);
    }

    /// The first `count` samples, each with the cursor behind it; fewer where an epoch has none.
    pub(super) fn samples(
        &self,
        seed: u64,
        context: usize,
        count: usize,
    ) -> Vec<(Cursor, Vec<u32>)> {
        let mut found = Vec::new();
        for epoch in 0.. {
            let before = found.len();
            let order = shard_order(seed, epoch, self.shards.len());
            for (position, shard) in order.iter().enumerate() {
                let windows = &self.shards[*shard as usize];
                for (window, tokens) in windows.iter().enumerate() {
                    let samples = tokens.len().saturating_sub(1) / context;
                    let order = sample_order(seed, epoch, *shard as usize, window, samples as u64);
                    for (at, index) in order.iter().enumerate() {
                        let start = *index as usize * context;
                        let row = tokens[start..=start + context].to_vec();
                        let cursor = if at + 1 < samples {
                            (epoch, position, window, at as u64 + 1)
                        } else if window + 1 < windows.len() {
                            (epoch, position, window + 1, 0)
                        } else if position + 1 < self.shards.len() {
                            (epoch, position + 1, 0, 0)
                        } else {
                            (epoch + 1, 0, 0, 0)
                        };
                        let (epoch, shard, window, sample) = cursor;
                        let cursor = Cursor {
                            epoch,
                            shard,
                            window,
                            sample,
                        };
                        found.push((cursor, row));
                    }
                }
            }
            if found.len() == before || found.len() >= count {
                break;
            }
        }
        found.truncate(count);
        found
    }

    pub(super) fn has_validation(&self) -> bool {
        self.validation.iter().any(|window| !window.is_empty())
    }

    /// The first samples of the validation text, in the order of the listing.
    pub(super) fn validation(&self, context: usize, count: usize) -> Vec<Vec<u32>> {
        let samples = self.validation.iter().flat_map(|tokens| {
            let samples = tokens.len().saturating_sub(1) / context;
            (0..samples).map(move |i| tokens[i * context..=(i + 1) * context].to_vec())
        });
        samples.take(count).collect()
    }
}
