//! The loop: optimizer steps until the budget is spent.
//!
//! ```text
//! Feed --batches--> step::gradients --> step::update --> Monitors --Record--> Sinks
//!                          └─ Monitors look at them          └─ checkpoint, sample, decay started by hand
//! ```

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use evenburn_data::Batch;
use evenburn_model::function::Moment;
use evenburn_model::{Decoder, weights};
use evenburn_optim::Engine;

use crate::checkpoint::{Checkpoints, State};
use crate::config::TrainConfig;
use crate::data_parallel::{Looks, Ranks};
use crate::error::TrainError;
use crate::feed::Feed;
use crate::learning_rate::LearningRate;
use crate::metrics::Record;
use crate::monitor::{GradientView, GradientsOf, Monitors, StepTimes, StepView};
use crate::samples::Samples;
use crate::sinks::{Sink, Sinks};
use crate::step::{StepInfo, Updated, largest_scores};
use crate::task::Task;
use crate::validation::{After, Entries};

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The budget is spent.
    Finished,
    /// `train.stop_after` was reached.
    StopAfter,
    /// Somebody asked for it.
    Interrupted,
}

/// What the loop leaves behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ended: Ended,
    pub(crate) state: State,
    /// Of the last step of this launch.
    pub(crate) loss: Option<f64>,
    /// What the last evaluation of this launch measured.
    pub(crate) validation: Option<Record>,
    pub(crate) checkpoint: Option<PathBuf>,
    pub(crate) seconds: f64,
    pub(crate) steps_done: u64,
    /// Steps of the whole run.
    pub(crate) total: u64,
}

/// The parts of a run that trains.
pub(crate) struct TrainingLoop {
    pub(crate) config: TrainConfig,
    /// `optim.qk_clip`.
    pub(crate) qk_clip: f64,
    /// Tokens of one step.
    pub(crate) step_tokens: u64,
    /// Of the model.
    pub(crate) parameters: usize,
    /// What the user should know before the first step.
    pub(crate) notes: Vec<String>,
    /// Where the data comes from.
    pub(crate) feed: Feed,
    /// What computes its steps.
    pub(crate) ranks: Ranks,
    /// What moves the weights, and how fast.
    pub(crate) engine: Engine,
    pub(crate) rate: LearningRate,
    /// What looks at the steps, and where that goes.
    pub(crate) monitors: Monitors,
    pub(crate) validation: Entries,
    pub(crate) sinks: Vec<Box<dyn Sink + Send>>,
    /// What is kept of them.
    pub(crate) state: State,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) samples: Samples,
    pub(crate) stop: Arc<AtomicBool>,
    /// When the program was.
    pub(crate) launched: Instant,
}

/// A step after its update.
struct Stepped {
    updated: Updated,
    lr: f64,
    times: StepTimes,
    weights_before: Option<Decoder>,
    activations: Option<Vec<Tensor<3>>>,
}

impl TrainingLoop {
    /// Trains until the budget is spent, `train.stop_after` is reached or somebody asks to stop. `screen` is told last.
    pub(crate) fn run(
        mut self,
        mut task: Task,
        screen: &mut dyn Sink,
    ) -> Result<(Task, Outcome), TrainError> {
        let mut own = std::mem::take(&mut self.sinks);
        let mut sinks = Sinks::default();
        for sink in &mut own {
            sinks.push(&mut **sink);
        }
        sinks.push(screen);
        for note in &self.notes {
            log::warn!("{note}");
        }
        self.look_for_cooldown(&mut sinks)?;
        let started = Instant::now();
        let first = self.state.step;
        let stop_after = self.config.stop_after.map_or(u64::MAX, NonZeroU64::get);
        let mut checkpoint = self.checkpoints.newest()?;
        let mut saved = first;
        let (mut loss, mut validation) = (None, None);
        let mut observed = Duration::ZERO;
        sinks.note(&format!(
            "{}: step {first} of {}, {} parameters",
            self.checkpoints.run().display(),
            self.rate.end(),
            self.parameters
        ));
        sinks.begin(first, self.rate.end())?;
        while self.state.step < self.rate.end().min(stop_after)
            && !self.stop.load(Ordering::Relaxed)
            && !sinks.asks_to_stop()
        {
            let stepped;
            (task, stepped) = self
                .step(task, observed, &mut sinks)
                .map_err(|e| e.after(checkpoint.as_deref()))?;
            loss = Some(stepped.updated.loss);
            if self.state.step == first + 1 {
                let waited = self.launched.elapsed().as_secs_f64();
                sinks.note(&format!("first step after {waited:.1} s"));
            }
            let measured;
            (measured, observed) = match self.observe(&task, stepped, &mut sinks) {
                Ok(seen) => seen,
                Err(error) => return Err(self.saved_after(error, &task, &mut sinks)),
            };
            validation = measured.or(validation);
            if due(self.state.step, self.config.checkpoint_every) {
                checkpoint = Some(self.save(&task, &mut sinks)?);
                saved = self.state.step;
            }
            self.sample(&task, &mut sinks);
            // After the last step it is for the next launch to find.
            if self.state.step < self.rate.end()
                && let Err(error) = self.look_for_cooldown(&mut sinks)
            {
                if saved != self.state.step {
                    self.save(&task, &mut sinks)?;
                }
                return Err(error);
            }
        }
        if saved != self.state.step {
            checkpoint = Some(self.save(&task, &mut sinks)?);
        }
        sinks.end(self.state.step, self.rate.end());
        let ended = match self.state.step {
            step if step >= self.rate.end() => Ended::Finished,
            step if step >= stop_after => Ended::StopAfter,
            _ => Ended::Interrupted,
        };
        log::info!("step {}: ended, {ended:?}", self.state.step);
        let outcome = Outcome {
            ended,
            loss,
            validation,
            checkpoint,
            seconds: started.elapsed().as_secs_f64(),
            steps_done: self.state.step - first,
            total: self.rate.end(),
            state: self.state,
        };
        Ok((task, outcome))
    }

    /// One optimizer step. An error leaves no trace in the state of the run.
    fn step(
        &mut self,
        task: Task,
        observed: Duration,
        sinks: &mut Sinks<'_>,
    ) -> Result<(Task, Stepped), TrainError> {
        let started = Instant::now();
        let before = Moment {
            step: self.state.step,
            total: self.rate.total,
        };
        let info = StepInfo {
            seed: self.config.seed,
            before,
            factor: self.rate.factor(before.step),
            qk_clip: self.qk_clip,
        };
        let batches = (0..self.config.accumulate)
            .map(|_| self.feed.next())
            .collect::<Result<Vec<_>, _>>()?;
        batches.iter().try_for_each(|batch| task.check(batch))?;
        let data_wait = started.elapsed();
        for news in self.feed.news() {
            sinks.note(&news);
        }

        let wanted = self.monitors.ask(info.step());
        let clips = info.qk_clip > 0.0;
        let last = batches
            .last()
            .filter(|_| clips || wanted.attention_scores || wanted.activations);
        let last: Option<Batch> = last.cloned();
        let mut looking = Duration::ZERO;
        let mut look = |of, gradients: &GradientsParams| {
            let started = Instant::now();
            let shown = self.monitors.on_gradients(&GradientView {
                step: info.step(),
                of,
                task: &task,
                gradients,
            });
            looking += started.elapsed();
            shown
        };
        let each =
            |part, gradients: &GradientsParams| look(GradientsOf::MicroBatch(part), gradients);
        let looks = Looks {
            micro_batches: wanted.micro_batch_gradients,
            sum: wanted.gradients,
            scores: clips,
        };
        let ranks = &mut self.ranks;
        let gradients = ranks.sum_gradients(&task, batches, &info, looks, each)?;
        look(GradientsOf::Step, gradients.all())?;
        if gradients.stop {
            self.stop.store(true, Ordering::Relaxed);
        }
        let weights_before = wanted.weights_before.then(|| task.decoder.clone());
        let clip_on = last.as_ref().filter(|_| clips);
        let (task, mut updated) =
            ranks.update(task, &mut self.engine, gradients, &info, clip_on)?;
        let took = started.elapsed();

        let scores_of = last.as_ref().filter(|_| wanted.attention_scores && !clips);
        if let Some(batch) = scores_of {
            updated.attention_scores = Some(largest_scores(&task, batch)?);
        }
        let seen = last.filter(|_| wanted.activations);
        let activations = seen.map(|batch| task.residual_stream(&batch));

        self.state.step = info.step();
        self.state.tokens += self.step_tokens;
        self.state.cursor = self.feed.position();
        let stepped = Stepped {
            updated,
            lr: self.rate.at(info.factor),
            times: StepTimes {
                step: took,
                data_wait,
                gradients: looking,
                probes: started.elapsed().saturating_sub(took),
                evaluation: Duration::ZERO,
                observed_before: observed,
                ranks: self.ranks.times(),
            },
            weights_before,
            activations,
        };
        Ok((task, stepped))
    }

    /// Measures what is due after a step, and tells it. What validation entries measured, and the time all else took.
    fn observe(
        &mut self,
        task: &Task,
        stepped: Stepped,
        sinks: &mut Sinks<'_>,
    ) -> Result<(Option<Record>, Duration), TrainError> {
        let started = Instant::now();
        let (step, end) = (self.state.step, self.rate.end());
        let every = self.config.eval_every;
        let validation = self
            .validation
            .run(task, &mut self.ranks, &After { step, end, every })?;
        let evaluated = started.elapsed();
        let Stepped {
            updated,
            lr,
            times,
            weights_before,
            activations,
        } = stepped;
        let record = self.monitors.after_step(&StepView {
            step,
            end,
            task,
            loss: updated.loss,
            lr,
            optimizer: &updated.optimizer,
            routers: &updated.routers,
            scheduled: updated.scheduled,
            step_tokens: self.step_tokens,
            tokens: self.state.tokens,
            data: &self.state.cursor,
            times: StepTimes {
                evaluation: evaluated,
                ..times
            },
            traffic: self.feed.traffic(),
            validation: &validation,
            weights_before: weights_before.as_ref(),
            attention_scores: updated.attention_scores.as_deref(),
            activations: activations.as_deref(),
        })?;
        // Before a checkpoint is saved, which takes memory of its own.
        drop((weights_before, activations));
        sinks.record(&record, end)?;
        let measured = Some(validation).filter(|record| !record.values().is_empty());
        Ok((measured, started.elapsed().saturating_sub(evaluated)))
    }

    fn save(&mut self, task: &Task, sinks: &mut Sinks<'_>) -> Result<PathBuf, TrainError> {
        sinks.sync(&mut self.state)?;
        self.state.optim = self.ranks.optimizer_counts(&self.engine)?;
        let path = self.checkpoints.save_from(
            &self.state,
            || weights::collect(&task.decoder),
            || self.ranks.optimizer_state(&self.engine),
        )?;
        log::info!("step {}: saved {}", self.state.step, path.display());
        Ok(path)
    }

    /// An error of whatever looked at a step, once the step is saved: it has nothing to do with it.
    fn saved_after(&mut self, error: TrainError, task: &Task, sinks: &mut Sinks<'_>) -> TrainError {
        if let Err(unsaved) = self.save(task, sinks) {
            log::error!("step {}: not saved: {unsaved}", self.state.step);
        }
        error
    }

    /// Writes a sample of generated text where one is due before the end.
    fn sample(&self, task: &Task, sinks: &mut Sinks<'_>) {
        let step = self.state.step;
        if !due(step, self.config.sample_every) || step >= self.rate.end() {
            return;
        }
        // What a sample can fail on was asked before; a full disk, say, is for the next checkpoint to tell.
        if let Err(error) = self.samples.write(&task.decoder.valid(), step) {
            sinks.note(&format!("step {step}: no sample: {error}"));
        }
    }

    /// Takes up a decay that somebody has asked for since the last step.
    fn look_for_cooldown(&mut self, sinks: &mut Sinks<'_>) -> Result<(), TrainError> {
        let (run, step) = (self.checkpoints.run(), self.state.step);
        if let Some(note) = self.rate.look_for_cooldown(run, step)? {
            sinks.note(&note);
        }
        Ok(())
    }
}

/// Whether something that is done every `every` steps is due after a step; never where that is 0.
pub(crate) fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
