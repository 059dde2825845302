//! Training of each model and scheme by each contender, in turns.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::report::{self, Case, Sizes};
use crate::worker::{Peak, Ready, Worker};
use crate::{build, median};
use evenburn_workspace::python::{environment, scratch};
use evenburn_workspace::{root, say};

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Names of files in benches/models, or paths of such files
    #[arg(long, value_delimiter = ',', default_value = "S,M")]
    models: Vec<String>,
    /// Schemes; the peer knows `pre_norm`, `simple_norm` and `angpt` and sits out the others
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "pre_norm,simple_norm,angpt"
    )]
    schemes: Vec<String>,
    /// Turns of each contender
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Steps of a turn
    #[arg(long, default_value_t = 2)]
    steps: u64,
    /// Formats this project multiplies in: by default single precision, and bfloat16 on a processor that has instructions
    /// for it
    #[arg(long, value_enum, value_delimiter = ',')]
    precisions: Option<Vec<Precision>>,
    /// Who runs beside this project: by default all, bfloat16 only on a processor that has instructions for it
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Option<Vec<Peer>>,
    /// Folder of the table and the plot
    #[arg(long, value_name = "DIR", default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Also write every figure to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The Python that makes the environment
    #[arg(long, default_value = if cfg!(windows) { "python" } else { "python3" })]
    python: PathBuf,
    /// Build without optimization of the project's own crates (its kernels and Burn always are)
    #[arg(long)]
    debug_build: bool,
}

/// A value of `train.precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    F32,
    Bf16,
}

impl Precision {
    /// The contender, and the key that makes this project it.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::F32 => ["evenburn-f32", "train.precision=f32"],
            Self::Bf16 => ["evenburn-bf16", "train.precision=bf16"],
        }
    }
}

/// A way PyTorch can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// Operation by operation
    TorchEagerF32,
    /// `torch.compile`
    TorchCompileF32,
    /// `torch.compile` with bfloat16 autocast
    TorchCompileBf16,
    /// Nobody
    None,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::TorchEagerF32 => "torch-eager-f32",
            Self::TorchCompileF32 => "torch-compile-f32",
            Self::TorchCompileBf16 => "torch-compile-bf16",
            Self::None => "none",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::TorchEagerF32 | Self::None => &["--way", "eager"],
            Self::TorchCompileF32 => &["--way", "compile"],
            Self::TorchCompileBf16 => &["--way", "compile", "--bf16"],
        }
    }
}

/// The schemes that `tools/bench/torch/train.py` has.
const KNOWN_TO_PEERS: [&str; 3] = ["pre_norm", "simple_norm", "angpt"];

/// What was measured of one contender.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) model: String,
    pub(crate) scheme: String,
    pub(crate) contender: String,
    /// Of the median step.
    pub(crate) tokens_per_sec: f64,
    pub(crate) peak_rss_bytes: Option<u64>,
    /// Operations of the model's products over those of the measured peak, forward and backward.
    pub(crate) mfu: f64,
    pub(crate) rounds: usize,
    pub(crate) parameters: u64,
    /// Of every step, in order.
    pub(crate) step_seconds: Vec<f64>,
}

struct Contender {
    name: String,
    worker: Worker,
    ready: Ready,
    seconds: Vec<f64>,
}

impl TrainArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let root = root()?;
        let models: Vec<_> = self
            .models
            .iter()
            .map(|name| model(&root, name))
            .collect::<Result<_>>()?;
        let binary = build(&root, "bench_train", self.debug_build)?;
        let python = self.python(&root);
        // A process of its own: what it copies would count as memory of training.
        let mut idle = Command::new(&binary);
        idle.arg(root.join("benches/models/S.toml"));
        let (mut machine, _) = Worker::start("bench_train", idle.args(["--warm", "0"]))?;
        let mut cases = Vec::new();
        for (name, path) in &models {
            for scheme in &self.schemes {
                let contenders =
                    self.contenders(&root, &binary, python.as_deref(), (name, path), scheme)?;
                cases.push(self.case((name, path), scheme, contenders, &mut machine)?);
            }
        }
        let figures: Vec<&Figure> = cases.iter().flat_map(|case| &case.figures).collect();
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&figures)? + "\n";
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        let out = root.join(&self.out);
        say!("{}", report::table(&cases).trim_end())?;
        report::write(&root, &out, self.debug_build, &cases)
    }

    fn precisions(&self) -> Vec<Precision> {
        let all = || {
            let bf16 = report::multiplies_bf16().then_some(Precision::Bf16);
            std::iter::once(Precision::F32).chain(bf16).collect()
        };
        self.precisions.clone().unwrap_or_else(all)
    }

    fn peers(&self) -> Vec<Peer> {
        let all = || {
            let f32 = [Peer::TorchEagerF32, Peer::TorchCompileF32];
            let bf16 = report::multiplies_bf16().then_some(Peer::TorchCompileBf16);
            f32.into_iter().chain(bf16).collect()
        };
        let mut peers = self.peers.clone().unwrap_or_else(all);
        peers.retain(|&peer| peer != Peer::None);
        peers
    }

    /// The environment's Python, if anybody is to run beside this project and there is one.
    fn python(&self, root: &Path) -> Option<PathBuf> {
        if self.peers().is_empty() {
            return None;
        }
        environment(root, &scratch(root), &self.python)
            .inspect_err(|error| eprintln!("PyTorch is left out: {error:#}"))
            .ok()
    }

    /// Everybody who trains one model with one scheme, this project first.
    fn contenders(
        &self,
        root: &Path,
        binary: &Path,
        python: Option<&Path>,
        (model, file): (&str, &Path),
        scheme: &str,
    ) -> Result<Vec<Contender>> {
        let key = format!("norm.scheme={scheme}");
        let mut contenders = Vec::new();
        for precision in self.precisions() {
            let [name, precision] = precision.names();
            let mut ours = Command::new(binary);
            ours.arg(file).args([&key, precision]);
            contenders.push(Contender::start(name, &mut ours)?);
        }
        if let Some(python) = python.filter(|_| KNOWN_TO_PEERS.contains(&scheme)) {
            for peer in self.peers() {
                eprintln!("{model} {scheme}: {} starts", peer.name());
                let mut command = Command::new(python);
                command
                    .arg(root.join("tools/bench/torch/train.py"))
                    .arg(file)
                    .arg(&key)
                    .args(peer.arguments());
                contenders.push(Contender::start(peer.name(), &mut command)?);
            }
        }
        Ok(contenders)
    }

    /// One model with one scheme, in turns; `machine` tells what the machine reaches meanwhile.
    fn case(
        &self,
        (model, file): (&str, &Path),
        scheme: &str,
        mut contenders: Vec<Contender>,
        machine: &mut Worker,
    ) -> Result<Case> {
        let mut peaks = Vec::new();
        let count = contenders.len();
        for round in 0..self.rounds {
            eprintln!("{model} {scheme}: round {} of {}", round + 1, self.rounds);
            // Everybody begins equally often.
            for turn in 0..count {
                let contender = &mut contenders[(round + turn) % count];
                let seconds = contender.worker.steps(self.steps)?;
                contender.seconds.extend(seconds);
            }
            peaks.push(machine.peak()?);
        }
        let ready = contenders[0].ready;
        let parts = contenders[0].worker.parts(self.steps)?;
        // What else goes on takes from a peak and never adds to it.
        let most = |rate: fn(&Peak) -> f64| peaks.iter().map(rate).fold(0.0, f64::max);
        let peak = Peak {
            gflops: most(|peak| peak.gflops),
            gbytes_per_sec: most(|peak| peak.gbytes_per_sec),
        };
        let tokens = ready.tokens_per_step.context("the tokens of a step")?;
        let flops = ready.flops_per_token.context("the operations of a token")?;
        let figures = contenders
            .into_iter()
            .map(|mut contender| {
                let speed = tokens / median(&contender.seconds);
                Ok(Figure {
                    model: model.to_owned(),
                    scheme: scheme.to_owned(),
                    tokens_per_sec: speed,
                    peak_rss_bytes: contender.worker.peak_rss()?,
                    mfu: speed * flops / (peak.gflops * 1e9),
                    rounds: self.rounds,
                    parameters: contender.ready.parameters,
                    step_seconds: contender.seconds,
                    contender: contender.name,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Case {
            figures,
            peak,
            parts,
            sizes: sizes(file)?,
        })
    }
}

impl Contender {
    fn start(name: &str, command: &mut Command) -> Result<Self> {
        let (worker, ready) = Worker::start(name, command)?;
        Ok(Self {
            name: name.to_owned(),
            worker,
            ready,
            seconds: Vec::new(),
        })
    }
}

/// The widths that a model's file has.
fn sizes(file: &Path) -> Result<Sizes> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let table: toml::Table = toml::from_str(&text)?;
    let size = |name: &str| {
        let value = table.get("model").and_then(|model| model.get(name));
        let value = value.and_then(toml::Value::as_integer).map(usize::try_from);
        let value = value.with_context(|| format!("{}: `model.{name}`", file.display()))?;
        Ok::<_, anyhow::Error>(value?)
    };
    Ok(Sizes {
        dim: size("dim")?,
        hidden: size("hidden")?,
    })
}

/// A model's name and its file.
pub(crate) fn model(root: &Path, name: &str) -> Result<(String, PathBuf)> {
    let given = PathBuf::from(name);
    let known = root
        .join("benches/models")
        .join(name)
        .with_extension("toml");
    let path = if given.is_file() { given } else { known };
    if !path.is_file() {
        bail!(
            "there is no model {name}: neither a file nor a name in benches/models ({})",
            path.display()
        );
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok((stem.into_owned(), path))
}
