//! What a folder of tokenized shards was made from, and what it must hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::layout::{Rule, SourceRole};
use crate::megatron::TokenType;
use crate::placing::Tally;
use crate::split::Split;
use crate::token_bytes::TokenBytesRecord;

/// Raised when tokenizing or the layout of the cache changes, so that older caches are not used.
pub(crate) const FORMAT_VERSION: u32 = 3;

/// The manifest's file name.
pub(crate) const MANIFEST: &str = "manifest.json";

/// `manifest.json`. It holds no absolute path and no time: the same text and tokenizer give the same
/// manifest on every machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the cache's format.
    pub format: u32,
    /// The tokenizer that made the tokens.
    pub tokenizer: TokenizerRecord,
    /// How tokens are stored.
    pub token_type: TokenType,
    /// JSON field or Parquet column of the text.
    pub text_field: String,
    /// Share of documents that a split by hash put into validation.
    pub validation_fraction: f64,
    /// The source files, in the order in which they were tokenized.
    pub sources: Vec<SourceRecord>,
    /// The groups that consecutive sources were packed in, in the same order.
    pub groups: Vec<GroupRecord>,
    /// The token files, in the same order.
    pub shards: Vec<ShardRecord>,
}

/// A group of consecutive sources in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The role of all of them.
    pub role: SourceRole,
    /// Windows that their documents were cut into.
    pub windows: usize,
}

/// The tokenizer in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerRecord {
    /// SHA-256 of its `tokenizer.json`.
    pub sha256: String,
    /// Largest id plus one.
    pub vocab_size: usize,
    /// The token that ends documents.
    pub eod_token: String,
    /// Its id.
    pub eod: u32,
    /// The id that begins documents, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos: Option<u32>,
}

/// A source file in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its path below the folder that was given.
    pub name: String,
    /// Its stored size in bytes.
    pub size: u64,
    /// SHA-256 of its stored bytes; of a file that lies elsewhere and was listed without one, `git:` with the SHA-1 that git
    /// gives it, or `etag:` with a digest of its address and its server's tag.
    pub sha256: String,
    /// How its documents found their split.
    pub role: SourceRole,
    /// What gave it that role.
    pub rule: Rule,
    /// Where its documents went.
    pub documents: Tally,
}

/// A pair of token files in a manifest: the documents of a window that belong to one split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// File name without `.bin` and `.idx`.
    pub name: String,
    /// The split of its documents.
    pub split: Split,
    /// The group that they are of.
    pub group: usize,
    /// The window of the group.
    pub window: usize,
    /// Documents; each ends with the end-of-document token.
    pub documents: u64,
    /// Tokens, end-of-document tokens included.
    pub tokens: u64,
    /// UTF-8 bytes of the documents' text, as it was before any normalization.
    pub text_bytes: u64,
    /// XXH3 of the `.bin` file, 64 bits in hexadecimal.
    pub bin_xxh3: String,
    /// XXH3 of the `.idx` file.
    pub idx_xxh3: String,
    /// The `.bytes` file, where the tokenizer has no table of the bytes that its tokens stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_bytes: Option<TokenBytesRecord>,
    /// Tokens that stand for text which the tokenizer doesn't know.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown: u64,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Sums over the shards of a split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Token files.
    pub shards: usize,
    /// Documents.
    pub documents: u64,
    /// Tokens, end-of-document tokens included.
    pub tokens: u64,
    /// UTF-8 bytes of text.
    pub text_bytes: u64,
    /// Tokens that stand for text which the tokenizer doesn't know.
    pub unknown: u64,
}

/// From this share of unknown tokens on a warning is due. Word-level models of the literature have
/// at most half of it (Penn Treebank 5 %), and what is scored then is more and more a guess of which
/// words the tokenizer lacks, not of text.
const UNKNOWN_SHARE: f64 = 0.1;

impl Manifest {
    /// The groups that may have text of a split, with their numbers. Numbered among themselves they are the split's shards.
    fn groups(&self, split: Split) -> impl Iterator<Item = (usize, &GroupRecord)> {
        let groups = self.groups.iter().enumerate();
        groups.filter(move |(_, group)| group.role.has(split))
    }

    /// Windows of each shard of a split.
    pub(crate) fn windows(&self, split: Split) -> Vec<usize> {
        self.groups(split).map(|(_, group)| group.windows).collect()
    }

    /// The token files of a split with the numbers of their shards.
    pub(crate) fn placed(&self, split: Split) -> impl Iterator<Item = (usize, &ShardRecord)> {
        let shards: BTreeMap<usize, usize> = self
            .groups(split)
            .enumerate()
            .map(|(shard, (group, _))| (group, shard))
            .collect();
        let records = self.shards.iter().filter(move |s| s.split == split);
        records.filter_map(move |record| Some((*shards.get(&record.group)?, record)))
    }

    /// Whether each group is one window with training text, or has none of its own: then shards are numbered as they were
    /// when only those that had a file counted, and what was trained on them before can go on.
    fn is_plain(&self) -> bool {
        let windows = self.windows(Split::Train);
        windows.len() == self.placed(Split::Train).count() && windows.iter().all(|w| *w == 1)
    }

    /// What a hash of the token files doesn't say of the order of samples.
    fn places(&self) -> String {
        if self.is_plain() {
            return String::new();
        }
        let mut text = format!("windows {:?}\n", self.windows(Split::Train));
        for (shard, record) in self.placed(Split::Train) {
            text += &format!("{shard} {}\n", record.window);
        }
        text
    }

    /// What a split holds.
    pub fn totals(&self, split: Split) -> Totals {
        let mut totals = Totals::default();
        for shard in self.shards.iter().filter(|s| s.split == split) {
            totals.shards += 1;
            totals.documents += shard.documents;
            totals.tokens += shard.tokens;
            totals.text_bytes += shard.text_bytes;
            totals.unknown += shard.unknown;
        }
        totals
    }

    /// What should be known about the tokens before numbers are read off them, in sentences.
    pub fn remarks(&self) -> Vec<String> {
        let splits = [Split::Train, Split::Validation].into_iter();
        splits
            .filter_map(|split| {
                let totals = self.totals(split);
                let share = totals.unknown as f64 / totals.tokens as f64;
                (share >= UNKNOWN_SHARE).then(|| {
                    format!(
                        "{:.0} % of the {} split's tokens are the tokenizer's token for unknown text: losses on them say little, \
                         and a tokenizer that knows this text would say more",
                        100.0 * share,
                        split.name()
                    )
                })
            })
            .collect()
    }

    /// A SHA-256 over the tokens and what they mean: equal for equal data, wherever it lies and whatever its files are
    /// called. A checkpoint stores it, to refuse a resume on other data.
    pub fn fingerprint(&self) -> String {
        let tokenizer = &self.tokenizer;
        let mut text = format!(
            "tokens 2\n{} {} {:?} {:?}\n",
            tokenizer.sha256, tokenizer.eod, tokenizer.bos, self.token_type
        );
        for shard in &self.shards {
            let ShardRecord {
                split,
                documents,
                tokens,
                bin_xxh3,
                idx_xxh3,
                ..
            } = shard;
            let split = split.name();
            text += &format!("{split} {documents} {tokens} {bin_xxh3} {idx_xxh3}\n");
        }
        text += &self.places();
        evenburn_files::sha256(text.as_bytes())
    }

    /// The fingerprint that the first version of this format gave the same data, by the names of its files: the
    /// checkpoints of that version have it.
    pub fn first_fingerprint(&self) -> String {
        let sources = self.sources.iter().map(|source| FirstSource {
            name: &source.name,
            size: source.size,
            sha256: &source.sha256,
            role: source.role,
        });
        let shards = self.shards.iter().map(|shard| FirstShard {
            name: &shard.name,
            split: shard.split,
            documents: shard.documents,
            tokens: shard.tokens,
            text_bytes: shard.text_bytes,
            bin_xxh3: &shard.bin_xxh3,
            idx_xxh3: &shard.idx_xxh3,
        });
        let first = FirstManifest {
            format: 1,
            tokenizer: &self.tokenizer,
            token_type: self.token_type,
            text_field: &self.text_field,
            validation_fraction: self.validation_fraction,
            sources: sources.collect(),
            shards: shards.collect(),
        };
        let text = pretty(&first) + &self.places();
        evenburn_files::sha256(text.as_bytes())
    }

    pub(crate) fn to_json(&self) -> String {
        pretty(self)
    }

    /// Reads the manifest of a cache folder; `None` if there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, DataError> {
        let path = folder.join(MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let json = fs::read(&path).map_err(|e| DataError::io("read", &path, e))?;
        let manifest = serde_json::from_slice(&json).map_err(|e| DataError::Damaged {
            message: e.to_string(),
            cache: folder.to_path_buf(),
            path,
        })?;
        Ok(Some(manifest))
    }
}

fn pretty(manifest: &impl Serialize) -> String {
    serde_json::to_string_pretty(manifest)
        .expect("a manifest has string keys and finite numbers only, which JSON can hold")
}

/// The first version of the manifest.
#[derive(Serialize)]
struct FirstManifest<'a> {
    format: u32,
    tokenizer: &'a TokenizerRecord,
    token_type: TokenType,
    text_field: &'a str,
    validation_fraction: f64,
    sources: Vec<FirstSource<'a>>,
    shards: Vec<FirstShard<'a>>,
}

#[derive(Serialize)]
struct FirstShard<'a> {
    name: &'a str,
    split: Split,
    documents: u64,
    tokens: u64,
    text_bytes: u64,
    bin_xxh3: &'a str,
    idx_xxh3: &'a str,
}

#[derive(Serialize)]
struct FirstSource<'a> {
    name: &'a str,
    size: u64,
    sha256: &'a str,
    role: SourceRole,
}
