//! The loop: optimizer steps until the budget is spent.
//!
//! burn-train runs it as its training strategy, which gives the dashboard and its interrupter. The loop holds the
//! model, the optimizer and the schedule itself: burn-train's learner keeps its own private.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::data::dataloader::Progress as Done;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn_train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};
use evenburn_model::{Decoder, Plan, weights};
use evenburn_optim::{Engine, OptimError, Schedule};

use crate::checkpoint::{Checkpoints, State};
use crate::config::RunConfig;
use crate::error::TrainError;
use crate::evaluate::{Evaluation, evaluate, read};
use crate::feed::Feed;
use crate::memory::peak_rss;
use crate::metrics::{MetricsFile, Record};
use crate::norms::norms;
use crate::progress::{Line, Pace, Progress};
use crate::samples::Samples;
use crate::task::{MicroBatch, Shown, Task, valid_targets};
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
    pub(crate) evaluation: Option<Evaluation>,
    pub(crate) checkpoint: Option<PathBuf>,
    pub(crate) seconds: f64,
    pub(crate) steps_done: u64,
}

/// Everything the loop works with.
pub(crate) struct Loop {
    pub(crate) config: RunConfig,
    pub(crate) plan: Plan,
    pub(crate) engine: Engine,
    pub(crate) schedule: Schedule,
    pub(crate) total: u64,
    pub(crate) flops_per_token: f64,
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
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        let mut task = learner.model();
        // The learner's copy would keep the first weights in memory for the whole run.
        drop(learner);
        let mut shown = Events {
            processor: components.event_processor,
            interrupter: components.interrupter,
        };
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut work) = work {
            let outcome = work.run(&mut task, &mut shown);
            work.progress.finish();
            *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        }
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

    fn step(&mut self, shown: Shown, step: u64, total: u64) {
        let item = TrainingItem::new(shown, steps(step, total), Some(step as usize), None);
        let result = self.processor.process_train(LearnerEvent::ProcessedItem(item));
        self.interrupter.fail_on_error(result);
    }

    fn evaluation(&mut self, shown: Shown, step: u64, total: u64) {
        let progress = steps(step, total);
        let item = TrainingItem::new(shown, progress.clone(), Some(step as usize), None);
        for event in [
            LearnerEvent::StartSplit {
                epoch_number: 1,
                progress: progress.clone(),
            },
            LearnerEvent::ProcessedItem(item),
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
    Done::new(done as usize, Some(total as usize), Some("steps".to_owned()))
}

/// What one optimizer step found.
struct Stepped {
    loss: f64,
    lr: f64,
    grad_norm: f64,
    norms: Vec<(String, f64)>,
    data_wait: f64,
}

impl Loop {
    fn run(&mut self, task: &mut Task, shown: &mut Events) -> Result<Outcome, TrainError> {
        let config = &self.config.train;
        let last = config.stop_after.map_or(self.total, |stop| stop.get().min(self.total));
        let mut pace = Pace::new();
        let first = self.state.step;
        let mut saved = (first > 0).then_some(first);
        let mut checkpoint = self.checkpoints.newest()?;
        let (mut loss, mut evaluation) = (None, None);
        let mut interrupted = false;
        shown.start(first, self.total);
        while self.state.step < last && !interrupted {
            let found = self.one(task, shown, &mut pace, &checkpoint)?;
            loss = Some(found.0);
            evaluation = found.1.or(evaluation);
            interrupted = self.stop.load(Ordering::Relaxed) || shown.interrupter.should_stop();
            if due(self.state.step, self.config.train.checkpoint_every) {
                checkpoint = Some(self.save(task)?);
                saved = Some(self.state.step);
            }
            if due(self.state.step, self.config.train.sample_every) && self.state.step < self.total {
                self.samples.write(&task.decoder.valid(), self.state.step)?;
            }
            if let Some(error) = shown.interrupter.error() {
                return Err(TrainError::Stopped(error.to_string()));
            }
        }
        if self.state.step > first && saved != Some(self.state.step) {
            checkpoint = Some(self.save(task)?);
        }
        shown.end(self.state.step, self.total);
        Ok(Outcome {
            ended: match self.state.step {
                step if step >= self.total => Ended::Finished,
                step if step >= last => Ended::StopAfter,
                _ => Ended::Interrupted,
            },
            state: self.state.clone(),
            loss,
            evaluation,
            checkpoint,
            seconds: pace.elapsed().as_secs_f64(),
            steps_done: self.state.step - first,
        })
    }

    /// One step with all that is written and shown of it: the loss, and the evaluation if one was due.
    fn one(
        &mut self,
        task: &mut Task,
        shown: &mut Events,
        pace: &mut Pace,
        checkpoint: &Option<PathBuf>,
    ) -> Result<(f64, Option<Evaluation>), TrainError> {
        let started = Instant::now();
        let stepped = self.step(task, checkpoint)?;
        let took = started.elapsed();
        pace.step(took);
        let step = self.state.step;
        let tokens = self.config.train.tokens_per_step(self.config.model.context) as f64;
        let speed = tokens / took.as_secs_f64();

        let mut record = Record::new(step);
        record.push("train/loss", stepped.loss);
        record.push("train/lr", stepped.lr);
        record.push("train/grad_norm", stepped.grad_norm);
        record.push("train/tokens", self.state.tokens as f64);
        let evaluation = if due(step, self.config.train.eval_every) || step == self.total {
            let evaluation = self.evaluate(task)?;
            record.push("val/loss", evaluation.loss);
            record.push("val/bpb", evaluation.bits_per_byte);
            Some(evaluation)
        } else {
            None
        };
        record.push("perf/tokens_per_sec", speed);
        record.push("perf/step_ms", took.as_secs_f64() * 1e3);
        record.push("perf/data_wait_ms", stepped.data_wait * 1e3);
        if let Some(peak) = self.config.metrics.peak_tflops {
            record.push("perf/mfu", speed * self.flops_per_token / (peak * 1e12));
        }
        if let Some(bytes) = peak_rss() {
            record.push("mem/peak_rss", bytes as f64);
        }
        for (name, value) in stepped.norms {
            record.push(name, value);
        }
        self.metrics.append(&record)?;
        self.events.append(&record)?;
        self.show(shown, &stepped_line(step, self.total, stepped.loss, evaluation, speed, pace), Shown {
            loss: stepped.loss,
            lr: Some(stepped.lr),
            grad_norm: Some(stepped.grad_norm),
            tokens_per_sec: Some(speed),
            bpb: None,
        }, evaluation);
        Ok((stepped.loss, evaluation))
    }

    fn show(&self, events: &mut Events, line: &Line, shown: Shown, evaluation: Option<Evaluation>) {
        self.progress.show(line, evaluation.is_some());
        events.step(shown, line.step, line.total);
        if let Some(evaluation) = evaluation {
            let shown = Shown {
                loss: evaluation.loss,
                bpb: Some(evaluation.bits_per_byte),
                ..Shown::default()
            };
            events.evaluation(shown, line.step, line.total);
        }
    }

    /// One optimizer step. An error leaves no trace in the state of the run.
    fn step(&mut self, task: &mut Task, checkpoint: &Option<PathBuf>) -> Result<Stepped, TrainError> {
        let step = self.state.step + 1;
        let started = Instant::now();
        let batches = (0..self.config.train.accumulate)
            .map(|_| self.feed.next())
            .collect::<Result<Vec<_>, _>>()?;
        let data_wait = started.elapsed().as_secs_f64();
        // A step whose targets are all ignored has the loss 0, not 0 / 0.
        let step_tokens = batches.iter().map(valid_targets).sum::<u64>().max(1);

        let mut gradients = GradientsAccumulator::new();
        let mut shares = Vec::with_capacity(batches.len());
        for batch in batches {
            let (new, share) = task.gradients(&MicroBatch { batch, step_tokens });
            gradients.accumulate(&task.decoder, new);
            shares.push(share);
        }
        let gradients = gradients.grads();
        let mut loss = 0.0;
        for share in shares {
            loss += read(share, step)?;
        }
        let unusable = |what: String, value: f64| TrainError::NonFinite {
            what,
            value,
            step,
            checkpoint: checkpoint.clone(),
        };
        if !loss.is_finite() {
            return Err(unusable("loss".to_owned(), loss));
        }
        let norms = if due(step, self.config.metrics.norms_every) {
            norms(&task.decoder, &gradients)
        } else {
            Vec::new()
        };
        let factor = self.schedule.factor(self.state.step, self.total);
        let report = self.optimize(task, gradients, factor).map_err(|error| match error {
            OptimError::NonFiniteGradient { parameter, .. } => {
                unusable(format!("gradient of {parameter}"), f64::NAN)
            }
            other => other.into(),
        })?;
        self.state.step = step;
        self.state.tokens += self.config.train.tokens_per_step(self.config.model.context);
        self.state.cursor = self.feed.cursor();
        Ok(Stepped {
            loss,
            lr: self.config.optim.lr * factor,
            grad_norm: report,
            norms,
            data_wait,
        })
    }

    /// Steps the weights and returns the global gradient norm.
    fn optimize(&mut self, task: &mut Task, gradients: GradientsParams, factor: f64) -> Result<f64, OptimError> {
        // Asked first, because a step that fails keeps the weights it was given.
        self.engine.measure(&task.decoder, &gradients)?;
        let decoder = task.decoder.clone();
        let (decoder, report) = self.engine.step(decoder, gradients, factor)?;
        task.decoder = decoder;
        Ok(report.grad_norm)
    }

    fn evaluate(&self, task: &Task) -> Result<Evaluation, TrainError> {
        let train = &self.config.train;
        let batches = self.feed.validation(train.batch_size, train.eval_tokens.get())?;
        evaluate(task, batches, self.feed.token_bytes())
    }

    fn save(&mut self, task: &Task) -> Result<PathBuf, TrainError> {
        self.state.metrics_bytes = self.metrics.sync()?;
        self.state.optim = self.engine.counts();
        self.checkpoints.save(
            &self.state,
            || weights::collect(&task.decoder),
            || self.engine.state(),
        )
    }
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
