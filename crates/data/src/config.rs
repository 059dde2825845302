//! The `[data]` section of a run configuration.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DataError, SourceConfig};

/// Where the text comes from and how it becomes tokens: section `[data]`.
///
/// ```
/// use evenburn_data::DataConfig;
/// let config = DataConfig { path: "books/*.txt".into(), ..Default::default() };
/// assert_eq!(config.tokenizer, "train");
/// config.validate().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Training text: a file, a glob pattern or a folder, or a list of them, on this machine or
    /// elsewhere: `hf://datasets/OWNER/NAME[@REVISION][/GLOB]`, `https://...`, `s3://`, `gs://`,
    /// `az://` (docs/locations.md). Reads plain text (`.txt`), JSON lines (`.jsonl`, `.ndjson`, `.json`), either also as `.zst` or `.gz`, and
    /// `.parquet`. A folder, also one that a glob finds, is searched recursively; what it holds beside these is counted and
    /// left alone. A `.txt` file is one document, or several separated by lines that hold only
    /// `<|endoftext|>`. See `data.split_names` for what becomes validation text.
    pub path: PathList,
    /// Validation text, in the same forms as `path`. Without it, the validation files found in
    /// `path` are used; without those, a document whose field `split` says so goes to validation,
    /// and the others are split by the hash of their text; and where no document falls into
    /// validation, the end of the text is held out.
    pub validation_path: Option<PathList>,
    /// Which configuration of a data set repository that `path` names without naming files of it:
    /// one of those that its card lists. Without it the default one, where there is one.
    pub config: Option<String>,
    /// Whether names say the split of files that a folder or a glob finds: `train` or `training`;
    /// `valid`, `validation`, `val`, `dev` or `eval`; `test`, which is left out. The word stands
    /// between characters that are no letters, in any case. The outermost folder with such a word
    /// decides (below the folder that was given, or the part of the glob without wildcards), else
    /// the last such word in the file's name. A file that is given by itself has no split.
    pub split_names: bool,
    /// Share of the documents that the split by hash puts into validation, at least 0 and below 1;
    /// 0 holds nothing out. Where no document falls into it, as in a text that is one document, the
    /// end of the text is held out: this share or one evaluation batch, whichever is more, but at
    /// most a tenth.
    pub validation_fraction: f64,
    /// A tokenizer: the path of a `tokenizer.json`, one that lies elsewhere
    /// (`hf://OWNER/NAME[@REVISION][/FILE]`, `https://...`), or `train` to train a byte-level BPE on
    /// the training split and keep it in the cache.
    pub tokenizer: String,
    /// Entries of the vocabulary when `tokenizer` is `train`, at least 257; fewer come out if the
    /// text has no more pairs to merge.
    #[schemars(range(min = 257))]
    pub tokenizer_vocab: usize,
    /// Name of the token that ends every document.
    pub eod_token: String,
    /// Name of a token that is put before every document and is never scored. Without one, the
    /// token that ended the document before stands there, and generated text begins with it.
    pub bos_token: Option<String>,
    /// JSON field or Parquet column that holds a document's text.
    pub text_field: String,
    /// What is done with a record that can't be used: `stop` ends with an error that says where it is; `skip` leaves it out,
    /// counts it and tells of the first few. It is a line that is no JSON object, has no text, is no UTF-8 or is too long; a
    /// row of Parquet that is null or no UTF-8; the rest of a file from where its compression or a page is damaged. A file
    /// that isn't what was listed, or doesn't pass its digest, always ends it.
    pub on_bad_record: OnBadRecord,
    /// Whether attention reaches across the documents packed into one sample.
    pub document_mask: DocumentMask,
    /// Folder for tokenized shards and trained tokenizers; the program's own cache folder if unset.
    pub cache: Option<PathBuf>,
    /// Consecutive source files are packed together into one shard up to this many bytes, counted
    /// as stored; a larger file is a shard of its own. An epoch reads the shards in a shuffled order.
    pub shard_bytes: u64,
    /// The documents of a shard are cut into windows of at most this many bytes of text, or of one
    /// document. Samples are shuffled within a window and never cross its ends; a stream holds
    /// whole windows in memory.
    #[schemars(range(min = 1))]
    pub window_bytes: u64,
    /// When text is tokenized: `all` of it before the first step, or `ahead` of the training that
    /// reads it, in the background, which takes a bounded part of the disk and begins as soon as
    /// the first files are there. The samples are the same. Unset, it is `ahead` where text lies
    /// elsewhere than on this machine, else `all`.
    pub prepare: Option<Prepare>,
    /// Windows that are made ahead of the one that is trained on, with `prepare = "ahead"`, and
    /// shards whose files are fetched ahead.
    #[schemars(range(min = 1))]
    pub ahead: usize,
    /// Bytes of the disk that fetched files and tokenized windows take at most, with `prepare =
    /// "ahead"`. What is needed least recently goes first. Files that were there before don't
    /// count and stay.
    pub cache_bytes: u64,
    /// Sources that are mixed, in place of `path` and `validation_path`, each a table: `name`, by which its metrics are called;
    /// `path`; `validation_path`; `weight`, how often a sample is drawn from it, compared with the others (1 unless given): a
    /// number of at least 0, or pairs of trained tokens and the weight from there on, `[[0, 1.0], [1000000, 0.5]]`;
    /// `text_field`, where it isn't `data.text_field`; and `config`. All other keys of `data` are those of all sources, which
    /// divide `cache_bytes`; a tokenizer that is trained sees their text in proportion to their first weights, and each is read
    /// in an order, and epochs, of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceConfig>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            path: PathList::default(),
            validation_path: None,
            config: None,
            split_names: true,
            validation_fraction: 0.01,
            tokenizer: Self::TRAIN.into(),
            tokenizer_vocab: 4096,
            eod_token: "<|endoftext|>".into(),
            bos_token: None,
            text_field: "text".into(),
            on_bad_record: OnBadRecord::default(),
            document_mask: DocumentMask::default(),
            cache: None,
            shard_bytes: 8 << 20,
            window_bytes: 64 << 20,
            prepare: None,
            ahead: 2,
            cache_bytes: 16 << 30,
            sources: Vec::new(),
        }
    }
}

/// Memory for all entries is taken before training begins; the largest vocabularies in use have a million.
const LARGEST_VOCAB: usize = 1 << 24;

impl DataConfig {
    /// The value of `tokenizer` that asks for training one.
    pub const TRAIN: &'static str = "train";

    /// When the text is tokenized: `prepare`, or what stands for it where it is unset.
    ///
    /// ```
    /// use evenburn_data::{DataConfig, Prepare};
    /// let at = |path: &str| DataConfig { path: path.into(), ..Default::default() }.prepares();
    /// assert_eq!((at("books"), at("hf://datasets/a/books")), (Prepare::All, Prepare::Ahead));
    /// ```
    pub fn prepares(&self) -> Prepare {
        let unset = if self.is_elsewhere() {
            Prepare::Ahead
        } else {
            Prepare::All
        };
        self.prepare.unwrap_or(unset)
    }

    /// Checks what can be checked without touching a file.
    ///
    /// # Errors
    /// [`DataError::Config`] names the key: no `path`, a `validation_fraction` outside [0, 1), a
    /// `tokenizer_vocab` too small for the 256 bytes and the end-of-document token or too large to be
    /// trained, an empty name, nothing ahead, a window without room; sources beside a `path`, of one name, or whose weights
    /// can't be drawn by.
    pub fn validate(&self) -> Result<(), DataError> {
        if !self.sources.is_empty() {
            self.check_sources()?;
        } else if self.path.0.is_empty() {
            return Err(DataError::config(
                "data.path",
                "is not set; give a file, a glob or a folder of text",
            ));
        }
        if self
            .validation_path
            .as_ref()
            .is_some_and(|p| p.0.is_empty())
        {
            return Err(DataError::config(
                "data.validation_path",
                "is an empty list; remove it or name a file",
            ));
        }
        if !(0.0..1.0).contains(&self.validation_fraction) {
            return Err(DataError::config(
                "data.validation_fraction",
                format!(
                    "is {}, must be at least 0 and below 1",
                    self.validation_fraction
                ),
            ));
        }
        if self.bos_token.as_ref() == Some(&self.eod_token) {
            return Err(DataError::config(
                "data.bos_token",
                "is data.eod_token, which stands before a document without it; leave it out",
            ));
        }
        if self.tokenizer == Self::TRAIN && self.tokenizer_vocab < 257 {
            return Err(DataError::config(
                "data.tokenizer_vocab",
                format!(
                    "is {}, must be at least 257: 256 bytes and {}",
                    self.tokenizer_vocab, self.eod_token
                ),
            ));
        }
        if self.tokenizer == Self::TRAIN && self.tokenizer_vocab > LARGEST_VOCAB {
            return Err(DataError::config(
                "data.tokenizer_vocab",
                format!(
                    "is {}, must be at most {LARGEST_VOCAB}",
                    self.tokenizer_vocab
                ),
            ));
        }
        for (field, value) in [
            ("data.ahead", self.ahead as u64),
            ("data.window_bytes", self.window_bytes),
        ] {
            if value == 0 {
                return Err(DataError::config(field, "is 0, must be at least 1"));
            }
        }
        for (field, value) in [
            ("data.tokenizer", &self.tokenizer),
            ("data.eod_token", &self.eod_token),
            ("data.text_field", &self.text_field),
        ]
        .into_iter()
        .chain(self.bos_token.iter().map(|token| ("data.bos_token", token)))
        {
            if value.is_empty() {
                return Err(DataError::config(field, "is empty"));
            }
        }
        Ok(())
    }
}

/// Whether attention reaches across the documents packed into one sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentMask {
    /// A position attends to everything before it in its sample.
    #[default]
    Across,
    /// A position attends only to its own document.
    Within,
}

/// What is done with a record that can't be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRecord {
    /// It is an error.
    #[default]
    Stop,
    /// It is left out and counted.
    Skip,
}

/// When text is tokenized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prepare {
    /// All of it before the first step, into the cache.
    All,
    /// Ahead of the training that reads it.
    Ahead,
}

/// One or more files, globs or folders; written as a string or as a list of strings.
///
/// ```
/// use evenburn_data::PathList;
/// let one: PathList = serde_json::from_str(r#""a.txt""#).unwrap();
/// let two: PathList = serde_json::from_str(r#"["a.txt", "b/*.jsonl"]"#).unwrap();
/// assert_eq!((one.0.len(), two.0.len()), (1, 2));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany", into = "OneOrMany")]
#[schemars(with = "OneOrMany")]
pub struct PathList(pub Vec<String>);

impl From<&str> for PathList {
    fn from(path: &str) -> Self {
        Self(vec![path.into()])
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for PathList {
    fn from(value: OneOrMany) -> Self {
        match value {
            OneOrMany::One(path) => Self(vec![path]),
            OneOrMany::Many(paths) => Self(paths),
        }
    }
}

impl From<PathList> for OneOrMany {
    fn from(mut list: PathList) -> Self {
        match list.0.len() {
            1 => Self::One(list.0.remove(0)),
            _ => Self::Many(list.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented() {
        let schema = schemars::schema_for!(DataConfig);
        let keys = schema.get("properties").unwrap().as_object().unwrap();
        let sources = vec![SourceConfig::default()];
        let defaults = serde_json::to_value(DataConfig {
            sources,
            ..Default::default()
        });
        let defaults = defaults.unwrap();
        assert_eq!(keys.len(), defaults.as_object().unwrap().len());
        for (key, property) in keys {
            let text = property.get("description").and_then(|d| d.as_str());
            assert!(text.is_some_and(|t| t.len() > 20), "{key}");
        }
    }

    #[test]
    fn unknown_and_unusable_values_are_refused() {
        let unknown = serde_json::from_str::<DataConfig>(r#"{"pth": "a.txt"}"#).unwrap_err();
        assert!(unknown.to_string().contains("pth"));
        let good = r#"{"path": "a.txt", "document_mask": "within"}"#;
        let good: DataConfig = serde_json::from_str(good).unwrap();
        assert_eq!(good.document_mask, DocumentMask::Within);
        let fails = |config: DataConfig, field: &str| {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(field), "{message}");
        };
        fails(
            DataConfig {
                path: PathList::default(),
                ..good.clone()
            },
            "data.path",
        );
        fails(
            DataConfig {
                validation_path: Some(PathList::default()),
                ..good.clone()
            },
            "data.validation_path",
        );
        for validation_fraction in [1.0, -0.1, f64::NAN] {
            fails(
                DataConfig {
                    validation_fraction,
                    ..good.clone()
                },
                "data.validation_fraction",
            );
        }
        fails(
            DataConfig {
                tokenizer_vocab: 256,
                ..good.clone()
            },
            "data.tokenizer_vocab",
        );
        fails(
            DataConfig {
                text_field: String::new(),
                ..good
            },
            "data.text_field",
        );
    }
}
