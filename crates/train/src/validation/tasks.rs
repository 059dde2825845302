//! Benchmarks: what a model answers to their questions.

use evenburn_data::Tokenizer;
use evenburn_eval::{
    Benchmark, DataSets, EvalError, Group, GroupResult, Metric, Passes, TaskRegistry, TaskResult,
    TextEncoder,
};

use super::{After, Evaluation, ValidationEntry};
use crate::config::RunConfig;
use crate::metrics::{MetricSpec, Record};
use crate::monitor::MonitorError;

const WHEN: &str = "every `eval.every` steps and after the last one, for tasks that have it";

static SPECS: [MetricSpec; 10] = [
    MetricSpec::new(
        "eval/{task}/acc",
        "share",
        WHEN,
        "Documents whose right answer is the likeliest; of a text's end, those in which every token is the likeliest; of a \
         group, the mean over its tasks.",
    ),
    MetricSpec::new(
        "eval/{task}/acc_norm",
        "share",
        WHEN,
        "Documents whose right answer has the largest log-likelihood a character.",
    ),
    MetricSpec::new(
        "eval/{task}/acc_bytes",
        "share",
        WHEN,
        "Documents whose right answer has the largest log-likelihood a byte.",
    ),
    MetricSpec::new(
        "eval/{task}/acc_centered",
        "share",
        WHEN,
        "`acc` on a scale where guessing has 0 and a perfect model 1.",
    ),
    MetricSpec::new(
        "eval/{task}/bits_per_byte_with_space",
        "bits/byte",
        WHEN,
        "Bits per byte of the right answer and the space before it, the mean over documents: it moves where accuracy is still that of \
         guessing.",
    ),
    MetricSpec::new(
        "eval/{task}/bits_per_byte_without_space",
        "bits/byte",
        WHEN,
        "The same divided by the bytes of the answer alone.",
    ),
    MetricSpec::new(
        "eval/{task}/perplexity",
        "",
        WHEN,
        "`exp` of the mean negative log-likelihood of a document's end.",
    ),
    MetricSpec::new(
        "eval/{task}/word_perplexity",
        "",
        WHEN,
        "`exp` of the negative log-likelihood of all text over its words.",
    ),
    MetricSpec::new(
        "eval/{task}/byte_perplexity",
        "",
        WHEN,
        "`exp` of the negative log-likelihood of all text over its bytes.",
    ),
    MetricSpec::new(
        "eval/{task}/bits_per_byte",
        "bits/byte",
        WHEN,
        "Negative log-likelihood of all text over its bytes, in bits.",
    ),
];

/// The metrics of benchmarks, of any task.
pub(crate) fn specs() -> &'static [MetricSpec] {
    &SPECS
}

/// The benchmarks of a run, read and tokenized: [`Trainer::benchmarks`](crate::Trainer::benchmarks) takes them.
#[derive(Debug, Default)]
pub struct Benchmarks(Vec<Tasks>);

/// Benchmarks that are measured together.
#[derive(Debug)]
struct Tasks {
    benchmarks: Vec<Benchmark>,
    groups: Vec<Group>,
    /// Steps between two measurements; none where those of the loss are meant.
    every: Option<u64>,
    specs: Vec<MetricSpec>,
    /// Tokens that the model sees.
    context: usize,
    /// Tokens of a pass.
    pass: usize,
}

impl Benchmarks {
    /// Reads what `[eval]` asks for, in the tokens of a run. Nothing that is wrong with it waits for the first measurement.
    ///
    /// # Errors
    /// An unknown task, and whatever is wrong with the documents of one.
    pub fn load(
        config: &RunConfig,
        tokenizer: &Tokenizer,
        data: &DataSets,
    ) -> Result<Self, EvalError> {
        let context = config.model.context;
        let selections = config.eval.selections(context);
        if selections.is_empty() {
            return Ok(Self::default());
        }
        let encoder = TextEncoder::new(tokenizer)?;
        let registry = TaskRegistry::built_in()?;
        let mut all = Vec::new();
        for selection in selections {
            let selected = registry.select(&selection.names)?;
            let load = |task| Benchmark::load(task, data, &selection.options, &encoder);
            let names = selected.tasks.iter().map(|task| task.name());
            let names = names.chain(selected.groups.iter().map(|group| group.name.as_str()));
            all.push(Tasks {
                specs: names.flat_map(specs_of).collect(),
                benchmarks: selected.tasks.iter().map(load).collect::<Result<_, _>>()?,
                groups: selected.groups,
                every: selection.every,
                context,
                // As many as the training has at once, for which there is memory.
                pass: config.train.batch_size * context,
            });
        }
        Ok(Self(all))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What measures them.
    pub(crate) fn entries(self) -> impl Iterator<Item = Box<dyn ValidationEntry>> {
        let boxed = |tasks| Box::new(tasks) as Box<dyn ValidationEntry>;
        self.0.into_iter().map(boxed)
    }
}

/// The metrics of a task.
fn specs_of(task: &str) -> Vec<MetricSpec> {
    let named = |spec: &MetricSpec| MetricSpec {
        name: spec.name.replace("{task}", task).into(),
        ..spec.clone()
    };
    SPECS.iter().map(named).collect()
}

fn push<'m>(record: &mut Record, task: &str, metrics: impl Iterator<Item = &'m Metric>) {
    for metric in metrics {
        record.push(format!("eval/{task}/{}", metric.name), metric.value);
    }
}

impl ValidationEntry for Tasks {
    fn name(&self) -> &'static str {
        "benchmarks"
    }

    fn specs(&self) -> &[MetricSpec] {
        &self.specs
    }

    fn is_due(&self, after: &After) -> bool {
        let every = self.every.unwrap_or(after.every);
        After { every, ..*after }.is_regular()
    }

    fn run(&mut self, on: &mut Evaluation<'_>, record: &mut Record) -> Result<(), MonitorError> {
        let mut results: Vec<TaskResult> = Vec::with_capacity(self.benchmarks.len());
        for benchmark in &self.benchmarks {
            let asked = benchmark.prepared();
            let passes = Passes::Tokens(self.pass);
            let scores = on.score(asked.requests(), self.context, passes)?;
            let result = asked.finish(&scores)?;
            push(
                record,
                &result.name,
                result.metrics.iter().chain(&result.more),
            );
            results.push(result);
        }
        for group in &self.groups {
            if let Some(result) = GroupResult::new(group, &results) {
                push(record, &result.name, result.metrics.iter());
            }
        }
        Ok(())
    }
}
