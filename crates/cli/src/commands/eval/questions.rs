//! The tasks of a command line as questions in the tokens of a model.

use super::candidate::Candidate;
use crate::args::{Benchmarks, ExampleSampler, OnBadDocument};
use anyhow::Result;
use evenburn_eval::{Benchmark, DataSets, OnBad, Options, Sampler, Selection, TextEncoder};
use std::sync::Arc;

/// Questions, and what they were made with.
pub(super) struct Questions {
    key: String,
    pub(super) benchmarks: Vec<Benchmark>,
}

impl Questions {
    /// Makes the questions for a model, or takes those of the model before where they are the same.
    pub(super) fn of(
        candidate: &Candidate,
        before: Option<Arc<Self>>,
        selection: &Selection,
        data: &DataSets,
        arguments: &Benchmarks,
    ) -> Result<Arc<Self>> {
        let tokenizer = &candidate.tokenizer;
        let ends = (tokenizer.eod(), tokenizer.bos());
        let key = format!("{} {ends:?} {}", tokenizer.sha256(), candidate.context);
        if let Some(before) = before.filter(|before| before.key == key) {
            return Ok(before);
        }
        let options = options(arguments, candidate.context);
        let encoder = TextEncoder::new(tokenizer)?.with_bos(arguments.add_bos);
        let benchmarks = selection
            .tasks
            .iter()
            .map(|task| Benchmark::load(task, data, &options, &encoder));
        Ok(Arc::new(Self {
            benchmarks: benchmarks.collect::<Result<_, _>>()?,
            key,
        }))
    }
}

fn options(arguments: &Benchmarks, context: usize) -> Options {
    Options {
        shots: arguments.shots,
        sampler: match arguments.sampler {
            ExampleSampler::Default => Sampler::Default,
            ExampleSampler::First => Sampler::FirstN,
        },
        limit: arguments.limit.map(usize::from),
        on_bad: match arguments.on_bad {
            OnBadDocument::Error => OnBad::Error,
            OnBadDocument::Skip => OnBad::Skip,
        },
        ..Options::new(context)
    }
}
