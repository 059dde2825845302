//! What is measured on the validation split, and when.
//!
//! Each [`ValidationEntry`] adds its `val/*` values to the record of a step after which it is due. A new one is a file in this
//! folder and a line in [`built_in`]; a program adds its own with
//! [`Trainer::validation_entry`](crate::Trainer::validation_entry) (`examples/own_metric`).

mod entries;
mod evaluation;
mod loss;
mod tasks;

pub(crate) use entries::Entries;
pub use evaluation::Evaluation;
use evenburn_data::{Batch, DataError, PackedStore, Text, TrainingData};
pub use tasks::Benchmarks;
pub(crate) use tasks::specs as task_specs;

use crate::config::RunConfig;
use crate::error::TrainError;
use crate::metrics::{MetricSpec, Record};
use crate::monitor::MonitorError;
use crate::training_loop::due;

/// Measures something of a model on text it isn't trained on.
///
/// ```
/// use evenburn_train::metrics::{MetricSpec, Record};
/// use evenburn_train::monitor::MonitorError;
/// use evenburn_train::validation::{Evaluation, ValidationEntry};
///
/// struct Perplexity;
///
/// static SPECS: [MetricSpec; 1] = [MetricSpec::new("val/perplexity", "", "at evaluations", "exp of the validation loss.")];
///
/// impl ValidationEntry for Perplexity {
///     fn name(&self) -> &str {
///         "perplexity"
///     }
///
///     fn specs(&self) -> &[MetricSpec] {
///         &SPECS
///     }
///
///     fn run(&mut self, on: &mut Evaluation<'_>, record: &mut Record) -> Result<(), MonitorError> {
///         let score = on.evaluate(on.split().batches()?)?;
///         record.push("val/perplexity", score.perplexity());
///         Ok(())
///     }
/// }
/// ```
pub trait ValidationEntry: Send {
    /// Its name, for errors.
    fn name(&self) -> &str;

    /// Its metrics, `val/...`.
    fn specs(&self) -> &[MetricSpec];

    /// Whether it is due after a step: every `train.eval_every` steps and after the last one, unless it says otherwise.
    fn is_due(&self, after: &After) -> bool {
        after.is_regular()
    }

    /// Adds its values for a model, which has no gradients.
    ///
    /// # Errors
    /// Whatever goes wrong; it ends the run.
    fn run(&mut self, on: &mut Evaluation<'_>, record: &mut Record) -> Result<(), MonitorError>;
}

/// A step after which something may be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// The step, counted from 1.
    pub step: u64,
    /// Steps of the whole run.
    pub end: u64,
    /// `train.eval_every`.
    pub every: u64,
}

impl After {
    /// Every `every` steps, and after the last one.
    ///
    /// ```
    /// use evenburn_train::validation::After;
    /// let regular = |step| After { step, end: 25, every: 10 }.is_regular();
    /// assert!(regular(20) && regular(25) && !regular(21));
    /// ```
    pub fn is_regular(&self) -> bool {
        due(self.step, self.every) || self.step == self.end
    }
}

/// The part of the validation split that an evaluation reads.
#[derive(Debug, Clone)]
pub struct ValidationSplit {
    parts: Vec<ValidationPart>,
}

/// The validation text of a corpus, or of one source of a mixture, as far as an evaluation reads it.
#[derive(Debug, Clone)]
pub struct ValidationPart {
    name: Option<String>,
    store: PackedStore,
    context: usize,
    batch_size: usize,
    samples: u64,
}

impl ValidationPart {
    /// The name of the source, where there are several.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its batches, in their stored order: the same ones each time.
    ///
    /// # Errors
    /// [`TrainError::Data`] for a split that holds no sample.
    pub fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<Batch, DataError>> + use<>, TrainError> {
        let samples = Some(self.samples);
        Ok(self.store.batches(self.context, self.batch_size, samples)?)
    }
}

impl ValidationSplit {
    /// The first `train.eval_tokens` tokens of a corpus's validation split, in samples of `model.context` tokens; of a mixture,
    /// equal parts of that of every source.
    ///
    /// # Errors
    /// [`TrainError::Data`] for a split that holds no sample.
    pub(crate) fn open(data: &TrainingData, config: &RunConfig) -> Result<Self, TrainError> {
        let context = config.model.context;
        let texts = data.texts();
        let samples = config.train.eval_samples(context);
        let samples = samples.div_ceil(texts.len() as u64);
        let part = |(name, text): (Option<&str>, &Text)| {
            let store = text.validation().clone();
            // Asked now: the first evaluation may be hours away.
            store.require(context)?;
            Ok(ValidationPart {
                name: name.map(str::to_owned),
                store,
                context,
                batch_size: config.train.batch_size,
                samples,
            })
        };
        let parts = texts
            .into_iter()
            .map(part)
            .collect::<Result<_, TrainError>>()?;
        Ok(Self { parts })
    }

    /// The text of each source; one, where there is one.
    pub fn parts(&self) -> &[ValidationPart] {
        &self.parts
    }

    /// The batches of all parts, in their stored order: the same ones each time.
    ///
    /// # Errors
    /// [`TrainError::Data`] for a split that holds no sample.
    pub fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<Batch, DataError>> + use<>, TrainError> {
        let parts = self.parts.iter().map(ValidationPart::batches);
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        Ok(parts.into_iter().flatten())
    }
}

/// The entries of every run, in the order of their values in a record.
pub fn built_in() -> Vec<Box<dyn ValidationEntry>> {
    vec![Box::new(loss::Loss)]
}
