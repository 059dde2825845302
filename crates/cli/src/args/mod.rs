//! The command line.

mod data;
mod eval;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::num::{IntErrorKind, NonZeroU64, NonZeroUsize, ParseIntError};
use std::path::PathBuf;
use std::str::FromStr;

pub(crate) use data::{Data, DataCache, FileSplit, TokenizerCommand};
pub(crate) use eval::{Benchmarks, Eval, ExampleSampler, OnBadDocument, Split, WhichCheckpoints};

/// Pre-train language models whose normalization is a choice.
///
/// Every configuration key can be set on the command line as `--section.field VALUE`, for example
/// `evenburn train --config configs/angpt.toml --optim.lr 0.003`. `evenburn config keys` lists them. Text is taken as it
/// is; where a key also takes a list, a value that begins with `[` is one: `--data.path '["a.txt", "b/*.jsonl"]'`. A
/// command that reads a part of the configuration takes the keys of that part.
#[derive(Debug, Parser)]
#[command(name = "evenburn", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How operations are computed on the CPU: `reference` tells whether a fused one is to blame for a result
    #[arg(long, global = true, value_enum, env = "EVENBURN_KERNELS", default_value_t = Kernels::Fused)]
    pub(crate) kernels: Kernels,
}

/// The two ways of every operation; they differ by rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernels {
    /// Each in one pass over memory
    Fused,
    /// Composed of plain tensor operations, several times as slow
    Reference,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model, or continue a run.
    ///
    /// A run lives in a directory of its own with its configuration, metrics, checkpoints and samples. Ctrl-C finishes
    /// the step, writes a checkpoint and exits.
    #[command(after_help = "Examples:
  evenburn train --config configs/default.toml --data.path text/
  evenburn train --config configs/default.toml --data.path text/ --norm.scheme angpt --train.steps 500
  evenburn train --resume auto                      continue the newest run
  evenburn train --resume runs/20261123T075312Z-run
  evenburn train --resume runs/20261123T075312Z-run --train.steps 2000
  evenburn train --resume runs/20261123T075312Z-run/checkpoints/step-00000800 --train.steps 2000")]
    Train(Train),
    /// Decay the rate of a run over its last steps, beginning now.
    ///
    /// A run that is training begins with its next step; one that was stopped or has finished begins when it is resumed.
    /// The run ends with the decay, whatever its budget was.
    #[command(after_help = "Examples:
  evenburn cooldown runs/20261123T075312Z-run --steps 200
  evenburn cooldown runs/20261123T075312Z-run --steps 200 --shape one_minus_sqrt
  evenburn train --resume runs/20261123T075312Z-run")]
    Cooldown(Cooldown),
    /// Evaluate models: loss, perplexity and bits per byte of a run, or benchmarks as lm-evaluation-harness scores them.
    ///
    /// With --tasks, a MODEL is a run or one checkpoint in it, a folder of transformers (config.json, safetensors, tokenizer.json)
    /// or `hf://OWNER/NAME[@REVISION]`; several are printed side by side, with the mean differences of their documents to those of
    /// the first. Documents come from the places that the tasks name; those of the hub are read at one commit, which --json
    /// prints. What an interrupted evaluation has finished is kept in the cache and used by the next one.
    #[command(after_help = "Examples:
  evenburn eval runs/20261123T075312Z-run
  evenburn eval runs/20261123T075312Z-run --baselines --tokens 500000
  evenburn eval --tasks list
  evenburn eval runs/20261123T075312Z-run --tasks hellaswag,piqa,arc_easy --limit 200
  evenburn eval hf://EleutherAI/pythia-14m --tasks lambada_openai,blimp --json
  evenburn eval runs/a runs/b --tasks arc_easy --shots 5      differences of two runs
  evenburn eval runs/a --tasks hellaswag --checkpoints all    a row a checkpoint
  evenburn eval runs/a --tasks my.toml,hellaswag --data data/ --log-samples answers/")]
    Eval(Eval),
    /// Generate text with a trained run.
    #[command(after_help = "Examples:
  evenburn sample runs/20261123T075312Z-run --prompt \"The function returns\"
  evenburn sample runs/20261123T075312Z-run --temperature 0 --tokens 200")]
    Sample(Sample),
    /// Fold a trained model: equal logits, with every constant and learned scale in a matrix that can carry it.
    ///
    /// Writes a folder that `sample`, `eval` and `export` take for a run, and says what could not be folded. A folded anGPT
    /// is a sum of branch outputs, each divided by its length and scaled: no normalization, constant or interpolation is
    /// left in its residual stream.
    #[command(after_help = "Examples:
  evenburn fold runs/20261123T075312Z-run
  evenburn fold runs/20261123T075312Z-run --out folded
  evenburn sample folded --prompt \"The function returns\"")]
    Fold(Fold),
    /// Read a checkpoint of transformers: Llama, Qwen3, OLMo 2, GPT-2, GPT-NeoX, `StableLM`, Phi-3, Gemma 2, Mixtral, Qwen3-MoE.
    ///
    /// DIR holds config.json and safetensors, in one file or in shards; it may be a repository of the hub,
    /// `hf://OWNER/NAME[@REVISION]`. Writes a folder that `sample`, `eval`, `fold` and
    /// `export` take for a run. What the checkpoint asks for and this program can't compute is refused by its key.
    #[command(after_help = "Examples:
  evenburn import Llama-2-7b-hf
  evenburn import hf://openai-community/gpt2 --out runs/gpt2
  evenburn eval runs/gpt2 --data.path text/")]
    Import(Import),
    /// Write a model for transformers, with its tokenizer.
    ///
    /// DIR can be loaded with `AutoModelForCausalLM.from_pretrained`. A model that a class of transformers computes is
    /// written for that class; every other one with a small `modeling_evenburn.py` beside its weights
    /// (`trust_remote_code=True`).
    #[command(after_help = "Examples:
  evenburn export runs/20261123T075312Z-run exported
  evenburn export runs/20261123T075312Z-run exported --for qwen3
  evenburn export runs/20261123T075312Z-run exported --for evenburn")]
    Export(Export),
    /// Show what a configuration resolves to, without training.
    ///
    /// Prints every decision of the scheme, the parameter groups of the optimizer, the exact parameter count,
    /// floating-point operations per token and an estimate of memory.
    Describe(Describe),
    /// List configuration keys, or print a resolved configuration.
    #[command(subcommand)]
    Config(Config),
    /// Look at the data.
    #[command(subcommand)]
    Data(Data),
    /// Make tokenizers.
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
}

/// A number that must not be 0, with words for it.
fn at_least_one<N: FromStr<Err = ParseIntError>>(text: &str) -> Result<N, String> {
    text.parse().map_err(|error: ParseIntError| {
        if *error.kind() == IntErrorKind::Zero || text.starts_with('-') {
            "must be at least 1".to_owned()
        } else {
            error.to_string()
        }
    })
}

#[derive(Debug, Args)]
pub(crate) struct Train {
    /// Configuration file, or a run to take it from; keys that it leaves out have their defaults.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Continue a run: a run directory, or `auto` for the one started last (or that of --run-dir); `auto` starts a new run
    /// where there is none. A checkpoint that isn't the newest of its run goes on in a new run.
    #[arg(long, value_name = "auto|PATH")]
    pub(crate) resume: Option<PathBuf>,
    /// Directory of the run, instead of one named by time under `run.dir`.
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// Progress lines instead of the dashboard, on a terminal too.
    #[arg(long)]
    pub(crate) no_dashboard: bool,
    /// Skip the unigram and bigram models that the final summary compares with.
    #[arg(long)]
    pub(crate) no_baselines: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cooldown {
    /// Run directory.
    pub(crate) run: PathBuf,
    /// Length of the decay.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one::<NonZeroU64>)]
    pub(crate) steps: NonZeroU64,
    /// The way down; `optim.decay_shape` of the run when left out.
    #[arg(long, value_enum)]
    pub(crate) shape: Option<DecayShape>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum DecayShape {
    Linear,
    Cosine,
    OneMinusSqrt,
}

/// Where a trained model computes.
#[derive(Debug, Args)]
pub(crate) struct Compute {
    /// Backend to compute on, as `--train.device`; that of the run when left out, or flex where this build lacks it.
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Sample {
    /// Run directory, or one checkpoint in it.
    pub(crate) run: PathBuf,
    /// Text to continue; a new document when left out.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub(crate) prompt: String,
    /// Tokens to generate at most; 128 when left out, or as many as the model has positions for.
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = at_least_one::<NonZeroUsize>
    )]
    pub(crate) tokens: Option<NonZeroUsize>,
    /// Logits are divided by it; 0 always takes the most likely token.
    #[arg(
        long,
        default_value_t = 0.8,
        value_name = "T",
        allow_negative_numbers = true
    )]
    pub(crate) temperature: f64,
    /// Only the K most likely tokens; 0 for all.
    #[arg(
        long,
        default_value_t = 0,
        value_name = "K",
        allow_negative_numbers = true
    )]
    pub(crate) top_k: usize,
    /// Only the most likely tokens whose probabilities first sum to P.
    #[arg(
        long,
        default_value_t = 0.95,
        value_name = "P",
        allow_negative_numbers = true
    )]
    pub(crate) top_p: f64,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Number of samples; each has a seed of its own.
    #[arg(
        long,
        default_value = "1",
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = at_least_one::<NonZeroU64>
    )]
    pub(crate) count: NonZeroU64,
    #[command(flatten)]
    pub(crate) compute: Compute,
}

#[derive(Debug, Args)]
pub(crate) struct Fold {
    /// Run directory, or one checkpoint in it.
    pub(crate) run: PathBuf,
    /// Folder to write; RUN/folded/step-... when left out.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) compute: Compute,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Folder with config.json and safetensors, or `hf://OWNER/NAME[@REVISION]`.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Folder to write; runs/<time>-<name of DIR> when left out.
    #[arg(long, value_name = "RUN")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Run directory, or one checkpoint in it; a folded or an imported model too.
    pub(crate) run: PathBuf,
    /// Folder to write.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Class that loads it: a `model_type` of transformers, `evenburn` for this project's own code, or `auto`.
    #[arg(long = "for", value_name = "CLASS", default_value = "auto")]
    pub(crate) class: String,
    #[command(flatten)]
    pub(crate) compute: Compute,
}

#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// Configuration file, run directory, or one checkpoint in it, a folded or an imported model too; the defaults when left
    /// out.
    pub(crate) config: Option<PathBuf>,
    /// Also the memory of each of so many ranks that share out a step.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroUsize>)]
    pub(crate) ranks: Option<NonZeroUsize>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Every key with its type, default and meaning.
    Keys,
    /// The resolved configuration, each value with where it came from.
    Print {
        /// Configuration file, or a run to take it from; the defaults when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}
