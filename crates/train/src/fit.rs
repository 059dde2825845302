//! The loop: optimizer steps until the budget is spent.
//!
//! burn-train runs it as its training strategy, which gives the dashboard and its interrupter. The loop holds the
//! model, the optimizer and the schedule itself: burn-train's learner keeps its own private.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::data::dataloader::Progress as Done;
use burn::module::Module;
use burn::optim::GradientsAccumulator;
use burn::tensor::Device;
use burn_train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};
use evenburn_data::{Batch, Score};
use evenburn_model::{Noise, Plan, weights};
use evenburn_optim::{Cooldown, Engine, OptimError, Schedule};

use crate::checkpoint::{Checkpoints, State};
use crate::config::{DeviceName, RunConfig};
use crate::cooldown;
use crate::error::TrainError;
use crate::evaluate::{evaluate, read};
use crate::feed::Feed;
use crate::memory::peak_rss;
use crate::metrics::{MetricsFile, Record};
use crate::norms::norms;
use crate::progress::{Line, Pace, Progress};
use crate::routing::Routing;
use crate::samples::Samples;
use crate::scores;
use crate::task::{MicroBatch, Shown, Task, untrained};
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
}

/// A loop that burn-train can run, once.
pub(crate) struct Strategy {
    work: Mutex<Option<Loop>>,
    outcome: Mutex<Option<Result<Outcome, TrainError>>>,
}

impl Strategy {
    pub(crate) fn new(work: Loop) -> Self {
        Self {
            work: Mutex::new(Some(work)),
            outcome: Mutex::new(None),
        }
    }

    /// What came of it; nothing if burn-train didn't run it.
    pub(crate) fn outcome(&self) -> Option<Result<Outcome, TrainError>> {
        self.outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl SupervisedLearningStrategy<Task> for Strategy {
    fn fit(
        &self,
        components: TrainingComponents<Task>,
        learner: Learner<Task>,
        _: TrainLoader<Task>,
        _: ValidLoader<Task>,
        _: usize,
    ) -> (Task, SupervisedTrainingEventProcessor<Task>) {
        let task = learner.model();
        // The learner's copy would keep the first weights in memory for the whole run.
        drop(learner);
        let mut shown = Events {
            processor: components.event_processor,
            interrupter: components.interrupter,
        };
        let work = self
            .work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut work) = work else {
            return (task, shown.processor);
        };
        let device = task.device();
        let (task, outcome) = match work.run(task, &mut shown) {
            Ok((task, outcome)) => (task, Ok(outcome)),
            // The failed step consumed the weights; burn-train wants some, and nobody reads them.
            Err(error) => (work.untrained(&device), Err(error)),
        };
        work.progress.finish();
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        (task, shown.processor)
    }
}

/// The way to the dashboard.
struct Events {
    processor: SupervisedTrainingEventProcessor<Task>,
    interrupter: Interrupter,
}

impl Events {
    fn start(&mut self, done: u64, total: u64) {
        let event = LearnerEvent::StartSplit {
            epoch_number: 1,
            progress: steps(done, total),
        };
        let result = self.processor.process_train(event);
        self.interrupter.fail_on_error(result);
    }

    fn step(&mut self, stepped: &Stepped, speed: f64, step: u64, total: u64) {
        let shown = Shown {
            loss: stepped.loss,
            lr: Some(stepped.lr),
            grad_norm: Some(stepped.grad_norm),
            tokens_per_sec: Some(speed),
            bpb: None,
        };
        let progress = steps(step, total);
        let item = TrainingItem::new(shown, progress.clone(), Some(step as usize), None);
        let result = self
            .processor
            .process_train(LearnerEvent::ProcessedItem(item));
        self.interrupter.fail_on_error(result);
        let Some(evaluation) = stepped.evaluation else {
            return;
        };
        let shown = Shown {
            loss: evaluation.nats_per_token(),
            bpb: Some(evaluation.bits_per_byte()),
            ..Shown::default()
        };
        for event in [
            LearnerEvent::StartSplit {
                epoch_number: 1,
                progress: progress.clone(),
            },
            LearnerEvent::ProcessedItem(TrainingItem::new(
                shown,
                progress.clone(),
                Some(step as usize),
                None,
            )),
            LearnerEvent::EndSplit { epoch: 1, progress },
        ] {
            let result = self.processor.process_valid(event);
            self.interrupter.fail_on_error(result);
        }
    }

    fn end(&mut self, done: u64, total: u64) {
        let event = LearnerEvent::EndSplit {
            epoch: 1,
            progress: steps(done, total),
        };
        let result = self.processor.process_train(event);
        self.interrupter.fail_on_error(result);
    }
}

fn steps(done: u64, total: u64) -> Done {
    Done::new(
        done as usize,
        Some(total as usize),
        Some("steps".to_owned()),
    )
}

/// What one optimizer step found.
struct Stepped {
    loss: f64,
    lr: f64,
    grad_norm: f64,
    /// Of attention, before it was clipped.
    largest_score: Option<f64>,
    norms: Vec<(String, f64)>,
    routing: Routing,
    /// Seconds until the data was there.
    data_wait: f64,
    norms_took: Duration,
    evaluation: Option<Score>,
}

impl Loop {
    fn run(&mut self, mut task: Task, shown: &mut Events) -> Result<(Task, Outcome), TrainError> {
        let stop_after = self
            .config
            .train
            .stop_after
            .map_or(u64::MAX, NonZeroU64::get);
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
        log::info!("{beginning}");
        self.progress.note(&beginning);
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
                self.samples.write(&task.decoder.valid(), self.state.step)?;
            }
            if let Some(error) = shown.interrupter.error() {
                return Err(TrainError::Stopped(error.to_string()));
            }
            self.look_for_cooldown()?;
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
        self.cooldown = cooldown::of_run(self.checkpoints.run(), self.state.step)?;
        if let Some(cooldown) = self.cooldown {
            let note = format!(
                "the rate decays from step {} to step {}",
                cooldown.start,
                cooldown.end()
            );
            log::info!("{note}");
            self.progress.note(&note);
        }
        Ok(())
    }

    /// The schedule's factor for the next step.
    fn factor(&self) -> f64 {
        let (step, total) = (self.state.step, self.total);
        match &self.cooldown {
            Some(cooldown) => cooldown.factor(&self.schedule, step, total),
            None => self.schedule.factor(step, total),
        }
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
        let started = Instant::now();
        let (task, mut stepped) = self.step(task, checkpoint)?;
        let took = started.elapsed();
        pace.step(took);
        let watching = Instant::now();
        let step = self.state.step;
        let speed = self.tokens_per_step() as f64 / took.as_secs_f64();
        if due(step, self.config.train.eval_every) || step == self.end() {
            stepped.evaluation = Some(self.evaluate(&task)?);
        }
        let evaluated = watching.elapsed();

        let mut record = Record::new(step);
        record.push("train/loss", stepped.loss);
        record.push("train/lr", stepped.lr);
        record.push("train/grad_norm", stepped.grad_norm);
        record.push("train/tokens", self.state.tokens as f64);
        if let Some(largest) = stepped.largest_score {
            record.push("attn/largest_score", largest);
        }
        for (name, value) in stepped.routing.metrics() {
            record.push(name, value);
        }
        if let Some(evaluation) = &stepped.evaluation {
            record.push("val/loss", evaluation.nats_per_token());
            record.push("val/bpb", evaluation.bits_per_byte());
        }
        record.push("perf/tokens_per_sec", speed);
        record.push("perf/step_ms", took.as_secs_f64() * 1e3);
        record.push("perf/data_wait_ms", stepped.data_wait * 1e3);
        record.push(
            "perf/monitor_ms",
            (stepped.norms_took + pace.watched()).as_secs_f64() * 1e3,
        );
        if let Some(peak) = self.config.metrics.peak_tflops {
            record.push(
                "perf/mfu",
                speed * self.plan.cost().train_flops_per_token / (peak * 1e12),
            );
        }
        if let Some(bytes) = peak_rss() {
            record.push("mem/peak_rss", bytes as f64);
        }
        for (name, value) in std::mem::take(&mut stepped.norms) {
            record.push(name, value);
        }
        self.metrics.append(&record)?;
        self.events.append(&record)?;

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

    /// One optimizer step. An error leaves no trace in the state of the run.
    fn step(
        &mut self,
        task: Task,
        checkpoint: Option<&Path>,
    ) -> Result<(Task, Stepped), TrainError> {
        let step = self.state.step + 1;
        let started = Instant::now();
        let batches = (0..self.config.train.accumulate)
            .map(|_| self.feed.next())
            .collect::<Result<Vec<_>, _>>()?;
        let data_wait = started.elapsed().as_secs_f64();
        // A step whose targets are all ignored has the loss 0, not 0 / 0.
        let step_tokens = batches.iter().map(Batch::scored).sum::<usize>().max(1) as u64;

        let threshold = self.config.optim.qk_clip;
        let measured = batches.last().filter(|_| threshold > 0.0).cloned();
        let mut gradients = GradientsAccumulator::new();
        let mut shares = Vec::with_capacity(batches.len());
        for (part, batch) in batches.into_iter().enumerate() {
            let noise = Noise {
                seed: self.config.train.seed,
                step,
                part: part as u64,
            };
            let (new, share) = task.gradients(&MicroBatch {
                batch,
                step_tokens,
                noise,
            });
            gradients.accumulate(&task.decoder, new);
            shares.push(share);
        }
        let gradients = gradients.grads();
        let mut loss = 0.0;
        let mut routing = Routing::default();
        for share in shares {
            loss += read(share.loss)?;
            if let Some(penalty) = share.penalty {
                routing.penalty += read(penalty)?;
            }
            routing.add(&share.loads, share.part);
        }
        let unusable = |what: String, value: f64| TrainError::NonFinite {
            what,
            value,
            step,
            checkpoint: checkpoint.map(Path::to_owned),
        };
        if !loss.is_finite() {
            return Err(unusable("loss".to_owned(), loss));
        }
        let measuring = Instant::now();
        let norms = if due(step, self.config.metrics.norms_every) {
            norms(&task.decoder, &gradients)
        } else {
            Vec::new()
        };
        let norms_took = measuring.elapsed();
        let factor = self.factor();
        let mask = self.config.data.document_mask;
        let (decoder, report) =
            self.engine
                .step(task.decoder, gradients, factor)
                .map_err(|error| match error {
                    OptimError::NonFiniteGradient { parameter, .. } => {
                        unusable(format!("gradient of {parameter}"), f64::NAN)
                    }
                    other => other.into(),
                })?;
        let mut task = Task::new(decoder.rebalanced(&routing.loads), mask);
        let mut largest_score = None;
        if let Some(batch) = measured {
            let largest;
            (task, largest) = scores::clipped(task, &batch, threshold)?;
            largest_score = Some(largest);
        }
        self.state.step = step;
        self.state.tokens += self.tokens_per_step();
        self.state.cursor = self.feed.cursor();
        let stepped = Stepped {
            loss,
            lr: self.config.optim.lr * factor,
            grad_norm: report.grad_norm,
            largest_score,
            norms,
            routing,
            data_wait,
            norms_took,
            evaluation: None,
        };
        Ok((task, stepped))
    }

    fn tokens_per_step(&self) -> u64 {
        self.config.train.tokens_per_step(self.config.model.context)
    }

    fn evaluate(&self, task: &Task) -> Result<Score, TrainError> {
        let train = &self.config.train;
        let batches = self
            .feed
            .validation(train.eval_samples(self.config.model.context))?;
        evaluate(task, batches, self.feed.token_bytes())
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
