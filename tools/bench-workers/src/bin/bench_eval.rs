//! Scores a task's documents with a model of `transformers`, as lines on standard input ask.
//!
//! `cargo xtask bench eval` runs it beside `tools/bench/eval/lm_eval_scores.py`. Model, documents, requests and tokens are made
//! before the first line is read. The line `score` is answered with `{"seconds": [0.5], "log_likelihood": -1e5}`, the time of
//! scoring all requests and the sum of what came out; `memory` with `{"peak_rss_bytes": 50000000}`.

use anyhow::{Context, Result, bail};
use clap::Parser;
use evenburn::kernels::work_along;
use evenburn_eval::{Options, TaskRegistry, prepare};
use evenburn_parity::eval::{Model, documents_of};
use evenburn_train::peak_rss;
use serde_json::json;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::PathBuf;
use std::time::Instant;

evenburn_allocator::training_allocator!();

/// Scores a task's documents, all of them whenever a line on standard input asks.
#[derive(Debug, Parser)]
struct Arguments {
    /// The model, a folder of `transformers`
    model: PathBuf,
    /// The task
    task: String,
    /// Its documents
    documents: PathBuf,
}

fn main() -> Result<()> {
    work_along();
    let arguments = Arguments::parse();
    let model = Model::load(&arguments.model)?;
    let selected = TaskRegistry::built_in()?.select(&arguments.task)?.tasks;
    let task = selected.first().context("no task is named")?;
    let documents = documents_of(&arguments.documents)?;
    let options = Options::new(model.context());
    let prepared = prepare(task, documents, &[], &options, model.encoder())?;
    let mut out = stdout().lock();
    let ready = json!({
        "parameters": model.parameters(),
        "documents": prepared.documents(),
        "requests": prepared.requests().len(),
    });
    writeln!(out, "{ready}")?;
    out.flush()?;
    for line in stdin().lock().lines() {
        let answer = match line?.as_str() {
            "memory" => json!({ "peak_rss_bytes": peak_rss() }),
            "score" => {
                let start = Instant::now();
                let scores = model.score(prepared.requests())?;
                let seconds = start.elapsed().as_secs_f64();
                let sum: f64 = scores.iter().map(|score| score.log_likelihood).sum();
                json!({ "seconds": [seconds], "log_likelihood": sum })
            }
            other => bail!("`{other}` is no request"),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
