//! A program that trains a few steps whenever it is asked.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use evenburn_workspace::shown;

/// `bench_train` or its peer, which answer a line with a line.
pub(crate) struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    name: String,
}

/// What a worker says once its first steps are done.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Ready {
    pub(crate) parameters: u64,
    /// Only this project's worker knows it.
    pub(crate) flops_per_token: Option<f64>,
    pub(crate) tokens_per_step: Option<f64>,
    /// Of a worker that scores documents.
    pub(crate) documents: Option<u64>,
    /// How much it is asked about them.
    pub(crate) requests: Option<u64>,
}

/// All requests of a worker, scored once.
#[derive(Debug, Deserialize)]
pub(crate) struct Scores {
    pub(crate) seconds: Vec<f64>,
    /// The sum over requests.
    pub(crate) log_likelihood: f64,
}

#[derive(Debug, Deserialize)]
struct Steps {
    seconds: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct Memory {
    peak_rss_bytes: Option<u64>,
}

/// What the machine reaches.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Peak {
    pub(crate) gflops: f64,
    pub(crate) gbytes_per_sec: f64,
}

/// Some steps, taken apart.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Measured {
    pub(crate) steps: u64,
    /// All steps.
    pub(crate) seconds: f64,
    /// Making batches.
    pub(crate) data: f64,
    /// Clipping and the optimizer.
    pub(crate) update: f64,
    pub(crate) costs: Vec<Cost>,
}

/// All calls of one fused operation with one shape.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Cost {
    pub(crate) operation: String,
    pub(crate) pass: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) calls: u64,
    pub(crate) seconds: f64,
    pub(crate) flops: f64,
    pub(crate) bytes: f64,
}

impl Worker {
    /// Starts a worker and waits for its first steps.
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<(Self, Ready)> {
        let line = shown(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {line}"))?;
        let output = child.stdout.take().context("the worker has no output")?;
        let mut worker = Self {
            input: child.stdin.take(),
            output: BufReader::new(output),
            child,
            name: name.to_owned(),
        };
        let ready = worker.read().with_context(|| format!("starting {line}"))?;
        Ok((worker, ready))
    }

    /// Seconds of each of so many steps.
    pub(crate) fn steps(&mut self, count: u64) -> Result<Vec<f64>> {
        let answer: Steps = self.ask(&format!("steps {count}"))?;
        Ok(answer.seconds)
    }

    /// Seconds that so many tokens take, of a worker that decodes.
    pub(crate) fn tokens(&mut self, count: u64) -> Result<f64> {
        let answer: Steps = self.ask(&format!("tokens {count}"))?;
        answer.seconds.first().copied().context("no time was told")
    }

    /// Scores everything, of a worker that has documents.
    pub(crate) fn scores(&mut self) -> Result<Scores> {
        self.ask("score")
    }

    /// Largest resident set so far.
    pub(crate) fn peak_rss(&mut self) -> Result<Option<u64>> {
        let answer: Memory = self.ask("memory")?;
        Ok(answer.peak_rss_bytes)
    }

    /// What the machine reaches now, of this project's worker.
    pub(crate) fn peak(&mut self) -> Result<Peak> {
        self.ask("peak")
    }

    /// Where the time of so many steps goes, of this project's worker.
    pub(crate) fn parts(&mut self, count: u64) -> Result<Measured> {
        self.ask(&format!("parts {count}"))
    }

    fn ask<T: DeserializeOwned>(&mut self, line: &str) -> Result<T> {
        let input = self.input.as_mut().context("the worker has no input")?;
        writeln!(input, "{line}")
            .and_then(|()| input.flush())
            .with_context(|| format!("asking {} for {line}", self.name))?;
        self.read()
    }

    fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        if read.with_context(|| format!("reading from {}", self.name))? == 0 {
            bail!("{} ended early ({})", self.name, self.child.wait()?);
        }
        serde_json::from_str(&line)
            .with_context(|| format!("{} answered `{}`", self.name, line.trim_end()))
    }
}

impl Drop for Worker {
    /// A worker ends with its input.
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
