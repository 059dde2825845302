//! `cargo xtask bench eval`: a benchmark's documents.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::worker::{Scores, Worker};
use crate::{build, quartiles, report, train};
use evenburn_workspace::python::{environment, layer, scratch};
use evenburn_workspace::{root, run, say};

/// Documents, tokenizer and shape of answers come from here unless told otherwise.
const CASES: &str = "crates/eval/tests/fixtures/cases";

/// How far the sums of both programs' log-likelihoods may be apart.
const APART: f64 = 1e-5;

/// Scoring `HellaSwag`'s documents, beside lm-evaluation-harness
///
/// A Llama with the sizes of a model of `benches/models` and random weights, in f32, in turns with the harness of
/// `tools/reference/lm_eval.txt` at the batch size that is the fastest for it. Loading and tokenizing count for neither, and both
/// must come to the same log-likelihoods. Writes `docs/benchmarks/evaluation.md`.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench eval --documents hellaswag.jsonl --rounds 5")]
pub(crate) struct EvalArgs {
    /// Documents of `HellaSwag` as JSON lines; the few of this project's tests when left out
    #[arg(long, value_name = "FILE")]
    documents: Option<PathBuf>,
    /// Name of a file in benches/models, or path of such a file
    #[arg(long, default_value = "S")]
    model: String,
    /// Tokens that the model takes
    #[arg(long, default_value_t = 512)]
    context: usize,
    /// Folder with a tokenizer as `transformers` has it; the one of this project's tests when left out
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// Threads of each
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Turns of each, after one that isn't counted
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Batch sizes of the harness, of which the fastest is measured
    #[arg(long, value_delimiter = ',', default_value = "1,8,32")]
    batches: Vec<usize>,
    /// Folder of the table
    #[arg(long, value_name = "DIR", default_value = "docs/benchmarks")]
    out: PathBuf,
    /// The Python that makes the environment
    #[arg(long, default_value = if cfg!(windows) { "python" } else { "python3" })]
    python: PathBuf,
    /// Build without optimization of the project's own crates (its kernels and Burn always are)
    #[arg(long)]
    debug_build: bool,
}

/// A program's turns.
struct Turns {
    documents_per_second: Vec<f64>,
    peak_mib: f64,
}

impl EvalArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let root = root()?;
        let binary = build(&root, "bench_eval", self.debug_build)?;
        let work = scratch(&root);
        environment(&root, &work, &self.python)?;
        let python = layer(&root, &work, &self.python, "lm_eval")?;
        let cases = root.join(CASES);
        let documents = self.documents.clone();
        let documents = documents.unwrap_or_else(|| cases.join("tasks/hellaswag.jsonl"));
        let model = self.made(&root, &work, &python)?;

        let (batch, speeds) = self.fastest(&root, &python, &model, &documents)?;
        let mut ours = Command::new(&binary);
        ours.arg(&model).arg("hellaswag").arg(&documents);
        ours.env("RAYON_NUM_THREADS", self.threads.to_string());
        let (ours, ready) = Worker::start("bench_eval", &mut ours)?;
        let (theirs, their) = self.harness(&root, &python, &model, &documents, batch)?;
        ensure!(
            (ready.documents, ready.requests, ready.parameters)
                == (their.documents, their.requests, their.parameters),
            "they have different models or documents: {ready:?}, {their:?}"
        );
        let count = ready.documents.context("the number of documents")? as f64;
        let mut workers = [ours, theirs];
        let mut turns = [const { Vec::new() }; 2];
        // The first turn warms both up.
        for round in 0..=self.rounds {
            eprintln!("round {round} of {}", self.rounds);
            let mut sums = [0.0; 2];
            for turn in 0..workers.len() {
                let which = (round + turn) % workers.len();
                let scores = workers[which].scores()?;
                sums[which] = scores.log_likelihood;
                if round > 0 {
                    turns[which].push(count / seconds(&scores)?);
                }
            }
            let apart = (sums[0] - sums[1]).abs() / sums[1].abs();
            ensure!(apart <= APART, "they come to different numbers: {sums:?}");
        }
        let mut figures = Vec::new();
        for (worker, documents_per_second) in workers.iter_mut().zip(turns) {
            let bytes = worker.peak_rss()?.context("the system tells no memory")?;
            figures.push(Turns {
                documents_per_second,
                peak_mib: bytes as f64 / f64::from(1 << 20),
            });
        }
        let table = table(&figures[0], &figures[1], batch);
        say!("{}", table.trim_end())?;
        let text = format!(
            "# Evaluation\n\n<!-- Written by `cargo xtask bench eval`. -->\n\n\
             {count} documents of HellaSwag ({} requests), scored by a Llama of random weights ({} of `benches/models`, {} parameters,\n\
             context {}, f32) with {} threads, {} rounds in turns with lm-evaluation-harness 0.4.13 (`tools/bench/eval`). Loading and\n\
             tokenizing count for neither; memory is the largest of the whole process. The harness's batch size is the fastest of\n\
             {speeds}.\n\n{}\n{table}",
            ready.requests.unwrap_or_default(),
            self.model,
            ready.parameters,
            self.context,
            self.threads,
            self.rounds,
            report::about(&root, self.debug_build)?
        );
        let out = root.join(&self.out);
        fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
        let path = out.join("evaluation.md");
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// The folder of the model, made anew.
    fn made(&self, root: &Path, work: &Path, python: &Path) -> Result<PathBuf> {
        let (_, file) = train::model(root, &self.model)?;
        let tokenizer = self.tokenizer.clone();
        let tokenizer = tokenizer.unwrap_or_else(|| root.join(CASES).join("model"));
        let folder = work.join("bench_eval");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        run(Command::new(python)
            .arg(root.join("tools/bench/eval/model.py"))
            .arg(file)
            .arg(self.context.to_string())
            .args([&tokenizer, &folder]))?;
        Ok(folder)
    }

    fn harness(
        &self,
        root: &Path,
        python: &Path,
        model: &Path,
        documents: &Path,
        batch: usize,
    ) -> Result<(Worker, crate::worker::Ready)> {
        let mut command = Command::new(python);
        command
            .arg(root.join("tools/bench/eval/lm_eval_scores.py"))
            .args([model, documents])
            .args(["--batch", &batch.to_string()])
            .args(["--threads", &self.threads.to_string()])
            .env("OMP_NUM_THREADS", self.threads.to_string())
            // Threads that wait for one another don't take processors from who works.
            .env("OMP_WAIT_POLICY", "passive");
        Worker::start("lm_eval_scores.py", &mut command)
    }

    /// The harness's fastest batch size by its second turn, and what was found of each.
    fn fastest(
        &self,
        root: &Path,
        python: &Path,
        model: &Path,
        documents: &Path,
    ) -> Result<(usize, String)> {
        let mut found = Vec::new();
        for batch in &self.batches {
            eprintln!("lm-evaluation-harness with batches of {batch}");
            let (mut worker, ready) = self.harness(root, python, model, documents, *batch)?;
            let count = ready.documents.context("the number of documents")? as f64;
            worker.scores()?;
            found.push((count / seconds(&worker.scores()?)?, *batch));
        }
        let best = found.iter().max_by(|a, b| a.0.total_cmp(&b.0));
        let best = best.context("no batch size is given")?.1;
        let shown = found
            .iter()
            .map(|(speed, batch)| format!("{batch} ({speed:.1} documents/s)"));
        Ok((best, shown.collect::<Vec<_>>().join(", ")))
    }
}

fn seconds(scores: &Scores) -> Result<f64> {
    scores.seconds.first().copied().context("no time was told")
}

fn table(ours: &Turns, theirs: &Turns, batch: usize) -> String {
    let mut table = String::from(
        "| | documents/s, median | quartiles | peak memory, MiB |\n|---|---|---|---|\n",
    );
    let harness = format!("lm-evaluation-harness, batches of {batch}");
    for (name, turns) in [("this project", ours), (harness.as_str(), theirs)] {
        let [low, middle, high] = quartiles(&turns.documents_per_second);
        table += &format!(
            "| {name} | {middle:.1} | {low:.1} to {high:.1} | {:.0} |\n",
            turns.peak_mib
        );
    }
    let middle = |turns: &Turns| quartiles(&turns.documents_per_second)[1];
    table += &format!(
        "| ratio | {:.2} | | {:.2} |\n",
        middle(ours) / middle(theirs),
        ours.peak_mib / theirs.peak_mib
    );
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians() {
        let turns = |speed: f64, peak_mib| Turns {
            documents_per_second: vec![speed, 3.0 * speed, 2.0 * speed],
            peak_mib,
        };
        let text = table(&turns(6.0, 50.0), &turns(2.0, 200.0), 8);
        assert!(
            text.contains("| this project | 12.0 | 6.0 to 18.0 | 50 |"),
            "{text}"
        );
        assert!(text.ends_with("| ratio | 3.00 | | 0.25 |\n"), "{text}");
    }
}
