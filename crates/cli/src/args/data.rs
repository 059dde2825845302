//! What `evenburn data` and `evenburn tokenizer` take.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::at_least_one;

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// First documents, packed samples decoded, token counts.
    ///
    /// Of text that lies elsewhere, one or two files are read and the others are counted by their listing.
    #[command(after_help = "Examples:
  evenburn data inspect --data.path text/
  evenburn data inspect --data.path hf://datasets/DKYoon/SlimPajama-6B --data.tokenizer hf://EleutherAI/gpt-neox-20b")]
    Inspect {
        /// Configuration file, or a run to take it from; the defaults when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Documents to show.
        #[arg(
            long,
            default_value_t = 3,
            value_name = "N",
            allow_negative_numbers = true
        )]
        documents: usize,
        /// Packed samples to show.
        #[arg(
            long,
            default_value_t = 2,
            value_name = "N",
            allow_negative_numbers = true
        )]
        samples: usize,
    },
    /// Token ids of each document of text files, one JSON object `{"text", "ids"}` a line.
    Ids {
        /// The tokenizer: a file of this machine or a location, such as `hf://openai-community/gpt2`.
        #[arg(long, value_name = "FILE")]
        tokenizer: PathBuf,
        /// Text, in any form and at any place that `data.path` reads.
        #[arg(required = true)]
        path: Vec<PathBuf>,
        /// Documents to write at most.
        #[arg(
            long,
            default_value = "1000",
            value_name = "N",
            allow_negative_numbers = true,
        value_parser = at_least_one::<NonZeroUsize>
        )]
        documents: NonZeroUsize,
    },
    /// Every document at some locations, one a line: its text as a JSON string, or its SHA-256.
    ///
    /// A LOCATION is a file, folder or glob of this machine, `hf://datasets/OWNER/NAME[@REVISION][/GLOB]`, a web address, or
    /// an object store's `s3://`, `gs://` or `az://`. Files come in the order of their paths, empty documents too. What
    /// can't be read ends the command; the last line of standard error then says `error[CLASS]: ...`, with the class
    /// `changed`, `corrupt`, `denied`, `not_found`, `bad_listing`, `redirects` or `unavailable`.
    #[command(after_help = "Examples:
  evenburn data documents text/ --sha256
  evenburn data documents hf://datasets/DKYoon/SlimPajama-6B --split validation
  evenburn data documents 's3://bucket/corpus/**/*.jsonl.zst'")]
    Documents {
        /// Where the files are.
        #[arg(required = true, value_name = "LOCATION")]
        locations: Vec<String>,
        /// Branch, tag or commit of repositories that name none.
        #[arg(long, value_name = "REVISION")]
        revision: Option<String>,
        /// Only files of this split, by the names of their folders or their own; all files when left out.
        #[arg(long, value_enum)]
        split: Option<FileSplit>,
        /// The SHA-256 of each text in place of the text.
        #[arg(long)]
        sha256: bool,
    },
    /// Size, path and content id of every file at some locations; nothing is downloaded.
    Ls {
        /// Where the files are, as for `data documents`.
        #[arg(required = true, value_name = "LOCATION")]
        locations: Vec<String>,
        /// Branch, tag or commit of repositories that name none.
        #[arg(long, value_name = "REVISION")]
        revision: Option<String>,
    },
    /// How fast text becomes tokens: each stage by itself on the same documents, all of them together, and which is slowest.
    ///
    /// Documents of `data.path` are read up to a limit. fetch is how long their place takes for the bytes (files of this
    /// machine: reading them); what is fetched isn't kept, so the next call measures the same. decode decompresses, parse
    /// finds the documents, tokenize makes tokens of their text, with all threads, and pack writes these as a shard.
    /// Parquet decompresses where it finds documents: all of that is decode. MB/s are millions of bytes of what a stage is
    /// given; tokens/s are those of all documents. Together, all stages work at once on documents that are read once more: files
    /// are fetched while those before are worked on, and documents are read while others are tokenized.
    #[command(after_help = "Examples:
  evenburn data bench --data.path text/
  evenburn data bench --config configs/slimpajama-simple_norm.toml --seconds 30
  evenburn data bench --data.path 's3://bucket/corpus/**/*.jsonl.zst' --data.tokenizer tokenizer.json --threads 4 --json")]
    Bench {
        /// Configuration file, or a run to take it from; the defaults when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Read documents for so many seconds at most.
        #[arg(long, default_value = "10", value_name = "S", allow_negative_numbers = true, value_parser = at_least_one::<NonZeroU64>)]
        seconds: NonZeroU64,
        /// Bytes of text to read at most; they are kept in memory.
        #[arg(long, default_value = "134217728", value_name = "N", allow_negative_numbers = true, value_parser = at_least_one::<NonZeroU64>)]
        bytes: NonZeroU64,
        /// Threads that tokenize; one for each processor when left out.
        #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one::<NonZeroUsize>)]
        threads: Option<NonZeroUsize>,
        /// One JSON object in place of the table.
        #[arg(long)]
        json: bool,
    },
    /// Files that were fetched and are kept.
    #[command(subcommand)]
    Cache(DataCache),
}

/// What the names of files say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileSplit {
    Train,
    #[value(alias = "valid", alias = "val", alias = "dev")]
    Validation,
    Test,
}

impl FileSplit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCache {
    /// Size and place of every file, and of every repository in the hub's own cache.
    Ls,
    /// Remove all files but those of the hub's own cache.
    Clear,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenizerCommand {
    /// Learn a byte-level BPE from text; the same text always gives the same file.
    Train {
        /// Text files, folders or globs, in any form and at any place that `data.path` reads.
        #[arg(required = true)]
        path: Vec<PathBuf>,
        /// Entries of the vocabulary, as `--data.tokenizer_vocab`: at least 257, 4096 when left out.
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        vocab: Option<String>,
        /// File to write; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}
