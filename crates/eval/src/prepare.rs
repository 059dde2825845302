//! A task's documents as questions to a model, and its answers as a result.

use std::ops::Range;
use std::sync::Arc;

use evenburn_files::Sha256;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::encode::encode_after;
use crate::few_shot::FewShot;
use crate::metrics::{self, Metric, bits_per_byte, centered, first_best, per_length};
use crate::task::{Asked, Form, Task, Whole};
use crate::{
    ChoiceRecord, DocResult, Document, Encoder, EvalError, RequestFault, RequestRecord,
    RollingRecord, Sampler, TaskResult, TokenRequest, TokenScore, WindowRecord, rolling_windows,
};

/// What is done about a document that can't be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBad {
    /// It is an error.
    #[default]
    Error,
    /// It is left out, counted and named.
    Skip,
}

/// How a task is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Tokens that the model takes.
    pub context_length: usize,
    /// Examples before each question, where the task has no number of its own.
    pub shots: usize,
    /// How they are chosen.
    pub sampler: Sampler,
    /// The first so many documents only.
    pub limit: Option<usize>,
    /// What is done about a bad document.
    pub on_bad: OnBad,
}

impl Options {
    /// All documents, without examples, none of which may be bad.
    pub fn new(context_length: usize) -> Self {
        Self {
            context_length,
            shots: 0,
            sampler: Sampler::Default,
            limit: None,
            on_bad: OnBad::Error,
        }
    }
}

/// Documents that were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// How many.
    pub count: usize,
    /// What is wrong with the first ones.
    pub first: Vec<String>,
}

/// How many of the documents that were left out are named.
const NAMED: usize = 5;

/// A task's documents as questions.
#[derive(Debug)]
pub struct Prepared {
    task: Arc<Task>,
    shots: usize,
    items: Vec<Item>,
    requests: Vec<TokenRequest>,
    skipped: Skipped,
    cut: usize,
}

/// A document.
#[derive(Debug)]
struct Item {
    id: usize,
    content: Content,
    requests: Range<usize>,
}

#[derive(Debug)]
enum Content {
    Asked(Asked),
    Whole(Whole),
}

/// Makes questions of a task's documents, in their order. `pool` has the examples, where any are asked for; it isn't
/// looked at otherwise.
///
/// # Errors
/// A document can't be read or asked about and isn't to be skipped, or there are too few examples.
pub fn prepare(
    task: &Arc<Task>,
    documents: impl IntoIterator<Item = Result<Document, EvalError>>,
    pool: &[Document],
    options: &Options,
    encoder: &dyn Encoder,
) -> Result<Prepared, EvalError> {
    let shots = task.shots(options.shots);
    let mut few_shot = FewShot::new(task, pool, shots, options.sampler)?;
    let mut skipped = Skipped::default();
    let mut skip = |error: EvalError| {
        let of_document = matches!(error, EvalError::Document { .. } | EvalError::Record { .. });
        if options.on_bad == OnBad::Error || !of_document {
            return Err(error);
        }
        skipped.count += 1;
        if skipped.first.len() < NAMED {
            skipped.first.push(error.to_string());
        }
        Ok(())
    };
    // Examples are drawn by one generator, so in order; the rest is done for all documents at once.
    let mut asked = Vec::new();
    let limit = options.limit.unwrap_or(usize::MAX);
    for (id, document) in documents.into_iter().take(limit).enumerate() {
        match document {
            Ok(document) => {
                let before = few_shot.before(&document)?;
                asked.push((id, document, before));
            }
            Err(error) => skip(error)?,
        }
    }
    let made: Vec<_> = asked
        .into_par_iter()
        .map(|(id, document, before)| {
            let (content, requests) = ask(task, &document, &before, options, encoder)?;
            Ok((id, content, requests))
        })
        .collect();
    let (mut items, mut all, mut cut) = (Vec::new(), Vec::new(), 0);
    for item in made {
        match item {
            Ok((id, content, requests)) => {
                let is_cut = |request: &TokenRequest| request.is_cut(options.context_length);
                cut += usize::from(requests.iter().any(is_cut));
                let start = all.len();
                all.extend(requests);
                items.push(Item {
                    id,
                    content,
                    requests: start..all.len(),
                });
            }
            Err(error) => skip(error)?,
        }
    }
    Ok(Prepared {
        task: Arc::clone(task),
        shots,
        items,
        requests: all,
        skipped,
        cut,
    })
}

/// The questions of a document.
fn ask(
    task: &Task,
    document: &Document,
    before: &str,
    options: &Options,
    encoder: &dyn Encoder,
) -> Result<(Content, Vec<TokenRequest>), EvalError> {
    let length = options.context_length;
    match &task.form {
        Form::Question(question) => {
            let asked = task.ask(question, document, before)?;
            let mut heads = vec![None; asked.contexts.len()];
            let mut requests = Vec::with_capacity(asked.requests.len());
            for (i, request) in asked.requests.iter().enumerate() {
                let context = &asked.contexts[request.context];
                let head = &mut heads[request.context];
                let tokens = encode_after(encoder, context, &request.continuation, head);
                let tokens = tokens.and_then(|tokens| {
                    tokens.check_length(length)?;
                    Ok(tokens)
                });
                let fault =
                    |e: RequestFault| task.fault(document, format!("requests[{i}]"), e.to_string());
                requests.push(tokens.map_err(fault)?);
            }
            Ok((Content::Asked(asked), requests))
        }
        Form::Rolling { text, measured } => {
            let whole = task.whole(text, measured.as_ref(), document)?;
            let fault = |e: EvalError| task.fault(document, "text".into(), e.to_string());
            let ids = encoder.encode(&whole.text).map_err(fault)?;
            let windows = rolling_windows(&ids, encoder.prefix(), length);
            Ok((Content::Whole(whole), windows))
        }
    }
}

impl Prepared {
    /// The task.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// How many examples stand before each question.
    pub fn shots(&self) -> usize {
        self.shots
    }

    /// How many documents are asked about.
    pub fn documents(&self) -> usize {
        self.items.len()
    }

    /// The questions, in the order in which the answers are wanted. Those of a document follow one another.
    pub fn requests(&self) -> &[TokenRequest] {
        &self.requests
    }

    /// How many questions each document asks, in order.
    pub fn requests_by_document(&self) -> impl Iterator<Item = &[TokenRequest]> {
        self.items
            .iter()
            .map(|item| &self.requests[item.requests.clone()])
    }

    /// The documents that were left out.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// How many documents lose their start, because they have more tokens than the model takes.
    pub fn cut(&self) -> usize {
        self.cut
    }

    /// A hash of all that is asked and of how answers are judged: where two are equal, so are the results of a model.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::default();
        let mut add = |part: &dyn std::fmt::Debug| hash.update(format!("{part:?}\n"));
        add(&(
            self.task.name(),
            self.task.kind(),
            self.shots,
            &self.skipped,
        ));
        for item in &self.items {
            add(&(item, &self.requests[item.requests.clone()]));
        }
        hash.finish()
    }

    /// Makes metrics of the answers, one for each of the [`requests`](Self::requests).
    ///
    /// # Errors
    /// There are more or fewer answers.
    pub fn finish(&self, scores: &[TokenScore]) -> Result<TaskResult, EvalError> {
        if scores.len() != self.requests.len() {
            return Err(EvalError::Scores {
                task: self.task.name().into(),
                requests: self.requests.len(),
                scores: scores.len(),
            });
        }
        let mut tally = Tally::default();
        let mut docs = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let requests = &self.requests[item.requests.clone()];
            let scores = &scores[item.requests.clone()];
            docs.push(match &item.content {
                Content::Asked(asked) => {
                    DocResult::Choice(tally.choice(item.id, asked, requests, scores))
                }
                Content::Whole(whole) => {
                    DocResult::Rolling(tally.whole(item.id, whole, requests, scores))
                }
            });
        }
        let (metrics, more) = match &self.task.form {
            Form::Question(question) if question.gold.is_none() => (tally.cloze(), tally.more()),
            Form::Question(_) => (tally.choices(), tally.more()),
            Form::Rolling { .. } => (tally.rolling(), Vec::new()),
        };
        Ok(TaskResult {
            name: self.task.name().into(),
            shots: self.shots,
            documents: docs.len(),
            skipped: self.skipped.count,
            cut: self.cut,
            metrics,
            more,
            docs,
        })
    }
}

/// A value a document, or sums over all.
#[derive(Default)]
struct Tally {
    acc: Vec<f64>,
    acc_norm: Vec<f64>,
    acc_bytes: Vec<f64>,
    /// One by the number of choices.
    chances: Vec<f64>,
    /// Log-likelihoods of the right continuations.
    gold: Vec<f64>,
    bits_with_space: Vec<f64>,
    bits_without_space: Vec<f64>,
    log_likelihood: f64,
    words: usize,
    bytes: usize,
}

impl Tally {
    fn choice(
        &mut self,
        id: usize,
        asked: &Asked,
        tokens: &[TokenRequest],
        scores: &[TokenScore],
    ) -> ChoiceRecord {
        let values = || scores.iter().map(|score| score.log_likelihood);
        let right = asked.gold.unwrap_or(0);
        let is_right = match asked.gold {
            Some(gold) => first_best(values()) == gold,
            None => scores[0].greedy,
        };
        self.acc.push(f64::from(u8::from(is_right)));
        self.chances.push(1.0 / scores.len() as f64);
        let continuation = &asked.requests[right].continuation;
        let score = scores[right].log_likelihood;
        self.gold.push(score);
        self.bits_with_space
            .push(bits_per_byte(score, continuation.len()));
        let mut acc_norm = None;
        if let Some(delimiter) = asked.delimiter {
            let bytes = continuation.len() - delimiter;
            self.bits_without_space.push(bits_per_byte(score, bytes));
            if asked.normalized {
                let best = |length: fn(&str) -> usize| {
                    let lengths = asked
                        .requests
                        .iter()
                        .map(|request| length(&request.continuation[delimiter..]));
                    first_best(
                        values()
                            .zip(lengths)
                            .map(|(value, length)| per_length(value, length)),
                    )
                };
                let is_best = best(|choice| choice.chars().count()) == right;
                acc_norm = Some(u8::from(is_best));
                self.acc_norm.push(f64::from(u8::from(is_best)));
                self.acc_bytes
                    .push(f64::from(u8::from(best(str::len) == right)));
            }
        }
        let mut context_tokens = vec![Vec::new(); asked.contexts.len()];
        for (request, tokens) in asked.requests.iter().zip(tokens) {
            context_tokens[request.context].clone_from(&tokens.head);
        }
        let answered = asked.requests.iter().zip(tokens).zip(scores);
        ChoiceRecord {
            id,
            contexts: asked.contexts.clone(),
            context_tokens,
            gold: asked.gold,
            acc: u8::from(is_right),
            acc_norm,
            requests: answered
                .map(|((request, tokens), score)| RequestRecord {
                    context: request.context,
                    continuation: request.continuation.clone(),
                    continuation_tokens: tokens.tail.clone(),
                    loglikelihood: score.log_likelihood,
                    is_greedy: score.greedy,
                })
                .collect(),
        }
    }

    fn whole(
        &mut self,
        id: usize,
        whole: &Whole,
        windows: &[TokenRequest],
        scores: &[TokenScore],
    ) -> RollingRecord {
        let loglikelihood = scores
            .iter()
            .fold(0.0, |sum, score| sum + score.log_likelihood);
        self.log_likelihood += loglikelihood;
        self.words += whole.words;
        self.bytes += whole.bytes;
        RollingRecord {
            id,
            text: whole.text.clone(),
            tokens: windows.iter().map(|window| window.tail.len()).sum(),
            words: whole.words,
            bytes: whole.bytes,
            loglikelihood,
            windows: windows
                .iter()
                .zip(scores)
                .map(|(window, score)| WindowRecord {
                    context_tokens: window.head.len(),
                    first_context_token: window.head[0],
                    scored_tokens: window.tail.len(),
                    loglikelihood: score.log_likelihood,
                })
                .collect(),
        }
    }

    fn choices(&self) -> Vec<Metric> {
        let mut metrics = vec![Metric::of_mean("acc", &self.acc)];
        if !self.acc_norm.is_empty() {
            metrics.push(Metric::of_mean("acc_norm", &self.acc_norm));
        }
        metrics
    }

    fn cloze(&self) -> Vec<Metric> {
        vec![
            Metric {
                name: "perplexity",
                value: metrics::perplexity(&self.gold),
                stderr: metrics::perplexity_stderr(&self.gold),
            },
            Metric::of_mean("acc", &self.acc),
        ]
    }

    fn rolling(&self) -> Vec<Metric> {
        let by = |count: usize| -self.log_likelihood / count as f64;
        let metric = |name, value| Metric {
            name,
            value,
            stderr: None,
        };
        vec![
            metric("word_perplexity", by(self.words).exp()),
            metric("byte_perplexity", by(self.bytes).exp()),
            metric(
                "bits_per_byte",
                bits_per_byte(self.log_likelihood, self.bytes),
            ),
        ]
    }

    fn more(&self) -> Vec<Metric> {
        let mut more = vec![Metric::of_mean(
            "bits_per_byte_with_space",
            &self.bits_with_space,
        )];
        if !self.bits_without_space.is_empty() {
            more.push(Metric::of_mean(
                "bits_per_byte_without_space",
                &self.bits_without_space,
            ));
        }
        if !self.acc_bytes.is_empty() {
            more.push(Metric::of_mean("acc_bytes", &self.acc_bytes));
        }
        let acc = Metric::of_mean("acc", &self.acc);
        let chance = metrics::mean(&self.chances);
        if let Some(value) = centered(acc.value, chance) {
            more.push(Metric {
                name: "acc_centered",
                value,
                stderr: acc.stderr.map(|stderr| stderr / (1.0 - chance)),
            });
        }
        more
    }
}
