//! What comes out, for a table, a file, and whoever wants to see each document.

use serde::Serialize;

use crate::metrics::{self, Metric, stderr_of_group};
use crate::task::Group;

/// The result of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskResult {
    /// The task.
    pub name: String,
    /// Examples before each question.
    pub shots: usize,
    /// Documents that were asked about.
    pub documents: usize,
    /// Documents that were left out because something is wrong with them.
    pub skipped: usize,
    /// Documents of which the model doesn't see the start, because they have more tokens than it takes.
    pub cut: usize,
    /// What the harness computes of the task, in its order.
    pub metrics: Vec<Metric>,
    /// More numbers from the same answers.
    pub more: Vec<Metric>,
    /// Each document.
    pub docs: Vec<DocResult>,
}

impl TaskResult {
    /// A number by its name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics
            .iter()
            .chain(&self.more)
            .find(|metric| metric.name == name)
    }
}

/// What a document was asked, and the answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum DocResult {
    /// Continuations after contexts.
    Choice(ChoiceRecord),
    /// A text as a whole.
    Rolling(RollingRecord),
}

/// A document whose continuations were scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChoiceRecord {
    /// Its number in the data set, from 0.
    pub id: usize,
    /// The contexts, with examples.
    pub contexts: Vec<String>,
    /// Their tokens, before anything is cut.
    pub context_tokens: Vec<Vec<u32>>,
    /// The number of the right choice; none where there is one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gold: Option<usize>,
    /// 1 where the likeliest choice is the right one, or the only one is the likeliest text; else 0.
    pub acc: u8,
    /// 1 where the right choice is the likeliest for its length; else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acc_norm: Option<u8>,
    /// The questions and their answers.
    pub requests: Vec<RequestRecord>,
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestRecord {
    /// The number of the context.
    pub context: usize,
    /// What was scored.
    pub continuation: String,
    /// Its tokens.
    pub continuation_tokens: Vec<u32>,
    /// The natural logarithm of its probability.
    pub loglikelihood: f64,
    /// Whether it is the likeliest text, token by token.
    pub is_greedy: bool,
}

/// A document that was scored as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RollingRecord {
    /// Its number in the data set, from 0.
    pub id: usize,
    /// The text that was scored.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
    /// Words that count, perhaps of another form of the text.
    pub words: usize,
    /// Bytes that count, perhaps of another form of the text.
    pub bytes: usize,
    /// The natural logarithm of its probability.
    pub loglikelihood: f64,
    /// The windows in which it was scored.
    pub windows: Vec<WindowRecord>,
}

/// A window of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowRecord {
    /// Tokens before those that are scored.
    pub context_tokens: usize,
    /// The first of them.
    pub first_context_token: u32,
    /// Tokens that are scored.
    pub scored_tokens: usize,
    /// The natural logarithm of their probability.
    pub loglikelihood: f64,
}

/// The result of several tasks as one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupResult {
    /// The group.
    pub name: String,
    /// Its tasks that were asked.
    pub tasks: Vec<String>,
    /// Unweighted means over tasks.
    pub metrics: Vec<Metric>,
}

impl GroupResult {
    /// Puts the results of a group's tasks together, those that there are; none where there is none.
    pub fn new(group: &Group, results: &[TaskResult]) -> Option<Self> {
        let own: Vec<_> = results
            .iter()
            .filter(|result| group.tasks.contains(&result.name))
            .collect();
        let of_all = |name: &str| -> Option<Vec<&Metric>> {
            own.iter()
                .map(|result| result.metrics.iter().find(|metric| metric.name == name))
                .collect()
        };
        let mean = |metric: &Metric| {
            let all = of_all(metric.name)?;
            let values: Vec<_> = all.iter().map(|metric| metric.value).collect();
            let stderrs: Vec<_> = all.iter().map(|metric| metric.stderr).collect();
            Some(Metric {
                name: metric.name,
                value: metrics::mean(&values),
                stderr: stderr_of_group(&stderrs),
            })
        };
        Some(Self {
            name: group.name.clone(),
            tasks: own.iter().map(|result| result.name.clone()).collect(),
            metrics: own.first()?.metrics.iter().filter_map(mean).collect(),
        })
    }
}
