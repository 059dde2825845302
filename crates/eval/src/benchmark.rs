//! A task from its data to its metrics: read and tokenized once, asked of any number of models.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::data_sets::no_documents;
use crate::{
    DataOrigin, DataSets, Encoder, EvalError, Options, Prepared, ScoreError, Scorer, Task,
    TaskResult, prepare,
};

/// A task with its questions in tokens, and where their documents came from.
///
/// ```
/// use std::ops::ControlFlow;
/// use std::path::Path;
/// use burn::tensor::Device;
/// use evenburn_data::Tokenizer;
/// use evenburn_eval::{Benchmark, DataSets, Definition, Options, Scorer, TextEncoder};
/// use evenburn_locations::{Settings, Storage};
/// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::PreNorm};
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("sums.jsonl"), "{\"sum\": \"1 + 1\", \"right\": \"2\", \"wrong\": \"3\"}\n")?;
/// let toml = "name = 'sums'\ndescription = 'Sums.'\nkind = 'multiple_choice'\ncontext = '{{ sum }} ='\n\
///             choices = ['{{ right }}', '{{ wrong }}']\ngold = 0\n[dataset]\npath = 'sums.jsonl'";
/// let task = Definition::parse(toml, "sums.toml", folder.path())?.tasks.remove(0);
///
/// let texts = ["1 + 1 = 2"].map(|text| Ok(text.to_owned()));
/// let tokenizer = Tokenizer::train(texts.into_iter(), 257, "<|endoftext|>")?;
/// let config = ModelConfig { vocab_size: 257, dim: 16, layers: 1, heads: 2, ..Default::default() };
/// let model = Decoder::new(&Plan::new(&config, &PreNorm::default())?, 0, &Device::flex());
///
/// let data = DataSets::new(Storage::new(Settings::of_process(folder.path()))?, None);
/// let benchmark = Benchmark::load(&task, &data, &Options::new(config.context), &TextEncoder::new(&tokenizer)?)?;
/// let result = benchmark.run(&Scorer::new(&model, config.context), &mut |_| ControlFlow::Continue(()))?;
/// assert_eq!((result.documents, result.metrics[0].name), (1, "acc"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Benchmark {
    prepared: Prepared,
    documents: DataOrigin,
    examples: Option<DataOrigin>,
}

impl Benchmark {
    /// Reads a task's documents, and its examples where there are to be any, and makes tokens of them.
    ///
    /// # Errors
    /// Data that isn't there or can't be read, and what [`prepare`] finds wrong with it.
    pub fn load(
        task: &Arc<Task>,
        data: &DataSets,
        options: &Options,
        encoder: &dyn Encoder,
    ) -> Result<Self, EvalError> {
        let (mut pool, mut examples) = (Vec::new(), None);
        if task.shots(options.shots) > 0 && task.examples().is_some() {
            let found = data.examples(task)?;
            pool = found.documents().collect::<Result<_, _>>()?;
            examples = Some(found.origin);
        }
        let found = data.documents(task)?;
        let prepared = prepare(task, found.documents(), &pool, options, encoder)?;
        if prepared.documents() == 0 && prepared.skipped().count == 0 {
            return Err(no_documents(task, &found.origin));
        }
        Ok(Self {
            prepared,
            documents: found.origin,
            examples,
        })
    }

    /// Asks a model. `watch` is told after each pass how many requests are scored, and ends it by [`ControlFlow::Break`].
    ///
    /// # Errors
    /// The model can't be asked, or `watch` has seen enough ([`EvalError::is_interrupted`]).
    pub fn run(
        &self,
        scorer: &Scorer<'_>,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<TaskResult, EvalError> {
        let scores = scorer.score(self.prepared.requests(), watch);
        self.prepared.finish(&scores.map_err(|e| self.fault(e))?)
    }

    /// An error of the scorer about this task.
    pub fn fault(&self, source: ScoreError) -> EvalError {
        EvalError::Score {
            task: self.prepared.task().name().into(),
            source,
        }
    }

    /// The questions.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Where the documents came from.
    pub fn documents(&self) -> &DataOrigin {
        &self.documents
    }

    /// Where the examples came from, where there are any.
    pub fn examples(&self) -> Option<&DataOrigin> {
        self.examples.as_ref()
    }
}
