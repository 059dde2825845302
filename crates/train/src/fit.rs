//! The loop: optimizer steps until the budget is spent.
//!
//! burn-train runs it as its training strategy, which gives the metrics and the interrupter. The loop holds the
//! model, the optimizer and the schedule itself: burn-train's learner keeps its own private.

mod events;
mod record;
mod step;
mod strategy;

pub(crate) use strategy::Strategy;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use evenburn_data::Score;
use evenburn_model::{Plan, weights};
use evenburn_optim::{Cooldown, Engine, Schedule};

use self::events::Events;
use self::step::Stepped;
use crate::checkpoint::{Checkpoints, State};
use crate::config::{DeviceName, RunConfig};
use crate::cooldown::{self, Found};
use crate::error::TrainError;
use crate::evaluate::evaluate;
use crate::feed::Feed;
use crate::metrics::MetricsFile;
use crate::progress::{Line, Pace, Progress};
use crate::samples::Samples;
use crate::task::{Task, untrained};
use crate::tensorboard::EventFile;

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
    pub(crate) loss: Option<f64>,
    pub(crate) evaluation: Option<Score>,
    pub(crate) checkpoint: Option<PathBuf>,
    pub(crate) seconds: f64,
    pub(crate) steps_done: u64,
    /// Steps of the whole run.
    pub(crate) total: u64,
}

/// Everything the loop works with.
pub(crate) struct Loop {
    pub(crate) config: RunConfig,
    pub(crate) plan: Plan,
    pub(crate) engine: Engine,
    pub(crate) schedule: Schedule,
    /// Steps that the schedule spans.
    pub(crate) total: u64,
    /// A decay started by hand, which ends the run.
    pub(crate) cooldown: Option<Cooldown>,
    pub(crate) state: State,
    pub(crate) feed: Feed,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) metrics: MetricsFile,
    pub(crate) events: EventFile,
    pub(crate) samples: Samples,
    pub(crate) progress: Progress,
    pub(crate) stop: Arc<AtomicBool>,
    /// What the user should know before the first step.
    pub(crate) notes: Vec<String>,
}

impl Loop {
    fn run(&mut self, mut task: Task, shown: &mut Events) -> Result<(Task, Outcome), TrainError> {
        let stop_after = self
            .config
            .train
            .stop_after
            .map_or(u64::MAX, NonZeroU64::get);
        for note in &self.notes {
            log::warn!("{note}");
        }
        self.look_for_cooldown()?;
        let first = self.state.step;
        let mut pace = Pace::new();
        let mut checkpoint = self.checkpoints.newest()?;
        let mut saved = first;
        let (mut loss, mut evaluation) = (None, None);
        let beginning = format!(
            "{}: step {first} of {}, {} parameters",
            self.checkpoints.run().display(),
            self.end(),
            self.plan.cost().params
        );
        self.note(&beginning);
        let train = &self.config.train;
        let precision = evenburn_model::Precision::from(train.precision);
        if train.device == DeviceName::Flex && !precision.is_fast() {
            let slow = "train.precision: this processor has no fast instructions for bf16 products; they take a little longer \
                than f32";
            log::warn!("{slow}");
            self.progress.note(slow);
        }
        shown.start(first, self.end());
        while self.state.step < self.end().min(stop_after) && !self.is_stopped(shown) {
            let stepped;
            (task, stepped) = self.one(task, shown, &mut pace, checkpoint.as_deref())?;
            loss = Some(stepped.loss);
            evaluation = stepped.evaluation.or(evaluation);
            if due(self.state.step, self.config.train.checkpoint_every) {
                checkpoint = Some(self.save(&task)?);
                saved = self.state.step;
            }
            if due(self.state.step, self.config.train.sample_every) && self.state.step < self.end()
            {
                // What a sample can fail on was asked before; a full disk, say, is for the next checkpoint to tell.
                if let Err(error) = self.samples.write(&task.decoder.valid(), self.state.step) {
                    self.note(&format!("step {}: no sample: {error}", self.state.step));
                }
            }
            if let Some(error) = shown.interrupter.error() {
                return Err(TrainError::Stopped(error.to_string()));
            }
            // After the last step it is for the next launch to find.
            if self.state.step < self.end()
                && let Err(error) = self.look_for_cooldown()
            {
                if saved != self.state.step {
                    self.save(&task)?;
                }
                return Err(error);
            }
        }
        if saved != self.state.step {
            checkpoint = Some(self.save(&task)?);
        }
        shown.end(self.state.step, self.end());
        let ended = match self.state.step {
            step if step >= self.end() => Ended::Finished,
            step if step >= stop_after => Ended::StopAfter,
            _ => Ended::Interrupted,
        };
        log::info!("step {}: ended, {ended:?}", self.state.step);
        let outcome = Outcome {
            ended,
            state: self.state.clone(),
            loss,
            evaluation,
            checkpoint,
            seconds: pace.elapsed().as_secs_f64(),
            steps_done: self.state.step - first,
            total: self.end(),
        };
        Ok((task, outcome))
    }

    /// Steps of the whole run: those of the budget, or until the end of a decay started by hand.
    fn end(&self) -> u64 {
        self.cooldown.map_or(self.total, |cooldown| cooldown.end())
    }

    /// Takes up a decay that somebody has asked for since the last step.
    fn look_for_cooldown(&mut self) -> Result<(), TrainError> {
        if self.cooldown.is_some() {
            return Ok(());
        }
        let (run, step) = (self.checkpoints.run(), self.state.step);
        match cooldown::of_run(run, &self.schedule, step, self.total)? {
            Found::Nothing => {}
            Found::TooLate(why) => self.note(&why),
            Found::Decay(cooldown) => {
                self.cooldown = Some(cooldown);
                self.note(&format!(
                    "the rate decays from step {} to step {}",
                    cooldown.start,
                    cooldown.end()
                ));
            }
        }
        Ok(())
    }

    /// Says something in the log and to the user.
    fn note(&self, text: &str) {
        log::info!("{text}");
        self.progress.note(text);
    }

    fn is_stopped(&self, shown: &Events) -> bool {
        self.stop.load(Ordering::Relaxed) || shown.interrupter.should_stop()
    }

    fn untrained(&self, device: &Device) -> Task {
        let decoder = untrained(&self.plan, &self.config.train, device);
        Task::new(decoder, self.config.data.document_mask)
    }

    /// One step with all that is written and shown of it.
    fn one(
        &mut self,
        task: Task,
        shown: &mut Events,
        pace: &mut Pace,
        checkpoint: Option<&Path>,
    ) -> Result<(Task, Stepped), TrainError> {
        let (task, mut stepped) = self.step(task, checkpoint)?;
        pace.step(stepped.took);
        let watching = Instant::now();
        let step = self.state.step;
        if due(step, self.config.train.eval_every) || step == self.end() {
            stepped.evaluation = Some(self.evaluate(&task)?);
        }
        let evaluated = watching.elapsed();

        let record = self.record(&stepped, pace.watched());
        self.metrics.append(&record)?;
        self.events.append(&record)?;

        let speed = self.speed(&stepped);
        let line = Line {
            step,
            total: self.end(),
            loss: stepped.loss,
            val_loss: stepped.evaluation.map(|e| e.nats_per_token()),
            tokens_per_sec: speed,
            left: pace.left(self.end() - step),
        };
        if stepped.evaluation.is_some() {
            log::info!("{line}");
        }
        self.progress.show(&line);
        shown.step(&stepped, speed, step, self.end());
        pace.watch(watching.elapsed().saturating_sub(evaluated));
        Ok((task, stepped))
    }

    fn evaluate(&self, task: &Task) -> Result<Score, TrainError> {
        let train = &self.config.train;
        let batches = self
            .feed
            .validation(train.eval_samples(self.config.model.context))?;
        evaluate(task, batches)
    }

    fn save(&mut self, task: &Task) -> Result<PathBuf, TrainError> {
        self.state.metrics_bytes = self.metrics.sync()?;
        self.state.optim = self.engine.counts();
        let path = self.checkpoints.save(
            &self.state,
            || weights::collect(&task.decoder),
            || self.engine.state(),
        )?;
        log::info!("step {}: saved {}", self.state.step, path.display());
        Ok(path)
    }
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
