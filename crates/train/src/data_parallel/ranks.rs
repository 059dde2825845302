//! Rank 0: the loop's side of a step on several devices.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use burn::optim::GradientsParams;
use evenburn_data::{Batch, Score};
use evenburn_eval::{Passes, ScoreError, Scorer, TokenRequest, TokenScore};
use evenburn_model::Decoder;
use evenburn_optim::{Counts, Engine};
use evenburn_ranks::{Communicator, agree, broadcast};
use serde::Serialize;

use super::evaluation::score_part;
use super::handover::{OptimizerState, send_state, send_weights};
use super::member::{Measure, Member, RankTimes};
use super::messages::{Beginning, Order, ScoreOrder, StepOrder, encode};
use super::worlds;
use crate::checkpoint::Named;
use crate::error::TrainError;
use crate::evaluate::evaluate;
use crate::step::{StepGradients, StepInfo, Updated, largest_scores};
use crate::task::Task;

/// The ranks of a run, as rank 0 has them: it gives orders, and does its own part of each.
///
/// Dropped in the middle of a run it ends the other ranks, whatever they wait for.
#[derive(Default)]
pub struct Ranks {
    team: Option<Team>,
}

struct Team {
    comm: Arc<dyn Communicator>,
    member: Option<Member>,
    awaited: Awaited,
}

/// What the other ranks wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// An order.
    Order,
    /// This rank's part of what they have agreed to do.
    Agreement,
    /// Nothing: they are gone, or know that it is over.
    Nothing,
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ranks")
            .field("world", &self.world())
            .finish()
    }
}

/// Gradients of a step: what the update takes, and all of them where somebody looks.
pub(crate) struct Gradients {
    pub(crate) step: StepGradients,
    pub(crate) whole: Option<GradientsParams>,
    /// Whether another rank was asked to stop.
    pub(crate) stop: bool,
}

impl Gradients {
    /// The gradients of all parameters.
    pub(crate) fn all(&self) -> &GradientsParams {
        self.whole.as_ref().unwrap_or(&self.step.gradients)
    }
}

impl Ranks {
    /// One rank.
    pub fn alone() -> Self {
        Self::default()
    }

    /// The ranks of a communicator in which this one is rank 0; the others [`follow`](super::follow).
    pub fn lead(comm: Arc<dyn Communicator>) -> Self {
        let several = comm.world() > 1;
        Self {
            team: several.then_some(Team {
                comm,
                member: None,
                awaited: Awaited::Order,
            }),
        }
    }

    /// How many there are.
    pub fn world(&self) -> usize {
        self.team.as_ref().map_or(1, |team| team.comm.world())
    }

    /// Whether so many ranks can share out a step.
    pub(crate) fn check(&self, accumulate: usize) -> Result<(), TrainError> {
        worlds::check(accumulate, self.world())
    }

    /// Gives the engine the state with which the run goes on; with other ranks each has the model and its part of that state.
    pub(crate) fn begin(
        &mut self,
        beginning: impl FnOnce() -> Result<Beginning, TrainError>,
        decoder: &Decoder,
        engine: &mut Engine,
        state: OptimizerState,
        patience: Duration,
    ) -> Result<(), TrainError> {
        let Some(team) = &mut self.team else {
            return state.load(decoder, engine);
        };
        let beginning = beginning()?;
        let member = Member::new(Arc::clone(&team.comm), decoder)?;
        team.comm.set_patience(Some(patience));
        team.order(Order::Begin, &beginning)?;
        let sent =
            send_weights(&*team.comm, decoder).and_then(|()| send_state(&*team.comm, &state));
        if let Err(error) = sent {
            // The others wait for the next tensor.
            team.comm.abort(&error.to_string());
            return Err(error);
        }
        let owned = member.owned();
        engine.restrict_to(owned.clone());
        let loaded = state.of(&owned).load(decoder, engine);
        let ready = loaded.as_ref().map(|()| Vec::new());
        let all = agree(&*team.comm, ready.map_err(ToString::to_string));
        loaded?;
        all?;
        team.member = Some(member);
        team.awaited = Awaited::Order;
        Ok(())
    }

    /// Gradients of a step: see [`Task::sum_gradients`].
    pub(crate) fn sum_gradients(
        &mut self,
        task: &Task,
        batches: Vec<Batch>,
        info: &StepInfo,
        looks: Looks,
        each: impl FnMut(usize, &GradientsParams) -> Result<(), TrainError>,
    ) -> Result<Gradients, TrainError> {
        let Some(team) = &mut self.team else {
            return Ok(Gradients {
                step: task.sum_gradients(batches, info, each)?,
                whole: None,
                stop: false,
            });
        };
        if looks.micro_batches {
            let why = "a monitor looks at the gradients of each micro-batch, which one rank has only where there is one";
            return Err(TrainError::invalid("ranks", why));
        }
        let order = StepOrder::new(info, batches, looks.sum, looks.scores);
        team.order(Order::Step, &order)?;
        let batches = order.batches;
        let summed = team.shared(|team| {
            let member = team.member()?;
            member.sum_gradients(task, batches, info, looks.sum, false)
        })?;
        // The norms of their gradients.
        team.awaited = Awaited::Agreement;
        Ok(Gradients {
            step: summed.own,
            whole: summed.whole,
            stop: summed.stop,
        })
    }

    /// The model after a step: see [`Task::update`].
    pub(crate) fn update(
        &mut self,
        task: Task,
        engine: &mut Engine,
        gradients: Gradients,
        info: &StepInfo,
        scores_on: Option<&Batch>,
    ) -> Result<(Task, Updated), TrainError> {
        let Gradients { step, whole, .. } = gradients;
        drop(whole);
        let Some(team) = &mut self.team else {
            return task.update(engine, step, info, scores_on);
        };
        team.shared(|team| {
            let scores = scores_on.map(|batch| move |task: &Task| largest_scores(task, batch));
            let scores = scores.as_ref().map(|scores| scores as Measure<'_>);
            team.member()?.update(task, engine, step, info, scores)
        })
    }

    /// What the last step has waited for; nothing where there is one rank.
    pub(crate) fn times(&mut self) -> Option<RankTimes> {
        let team = self.team.as_mut()?;
        Some(team.member.as_mut()?.times())
    }

    /// How often the whole optimizer and each of its parameters have stepped.
    pub(crate) fn optimizer_counts(&mut self, engine: &Engine) -> Result<Counts, TrainError> {
        let Some(team) = &mut self.team else {
            return Ok(engine.counts());
        };
        team.order(Order::OptimizerCounts, &())?;
        team.shared(|team| team.member()?.optimizer_counts(engine))
    }

    /// The state of the whole optimizer.
    pub(crate) fn optimizer_state(&mut self, engine: &Engine) -> Result<Vec<Named>, TrainError> {
        let Some(team) = &mut self.team else {
            return Ok(engine.state());
        };
        team.order(Order::OptimizerState, &())?;
        team.shared(|team| team.member()?.optimizer_state(engine))
    }

    /// Scores a task without gradients on batches: see [`evaluate`].
    pub(crate) fn evaluate(
        &mut self,
        task: &Task,
        batches: impl Iterator<Item = Result<Batch, evenburn_data::DataError>>,
    ) -> Result<Score, TrainError> {
        let Some(team) = &mut self.team else {
            return evaluate(task, batches);
        };
        let mut score = Score::default();
        let mut batches = batches.peekable();
        while batches.peek().is_some() {
            let some = batches.by_ref().take(team.comm.world());
            let some = some.collect::<Result<Vec<_>, _>>()?;
            team.order(Order::Evaluate, &some)?;
            let nats = team.looked(|team| team.member()?.score(task, &some))?;
            for (nats, batch) in nats.into_iter().zip(&some) {
                score += Score::of_batch(nats, batch);
            }
        }
        Ok(score)
    }

    /// Scores requests: see [`Scorer::score`](evenburn_eval::Scorer::score).
    pub(crate) fn score(
        &mut self,
        decoder: &Decoder,
        requests: &[TokenRequest],
        context: usize,
        passes: Passes,
    ) -> Result<Vec<TokenScore>, TrainError> {
        let Some(team) = &mut self.team else {
            let scorer = Scorer::new(decoder, context).passes(passes);
            let scores = scorer.score(requests, &mut |_| ControlFlow::Continue(()));
            return scores.map_err(|error| unscored(&error));
        };
        let order = ScoreOrder {
            requests: requests.to_vec(),
            context,
            passes,
        };
        team.order(Order::Score, &order)?;
        team.looked(|team| score_part(&*team.comm, decoder, &order))
    }
}

/// What is looked at in a step, beside its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Looks {
    /// The gradients of each micro-batch.
    pub(crate) micro_batches: bool,
    /// Their sums.
    pub(crate) sum: bool,
    /// The attention scores after the update.
    pub(crate) scores: bool,
}

/// An error of a scorer.
pub(super) fn unscored(error: &ScoreError) -> TrainError {
    TrainError::DeviceRead {
        why: error.to_string(),
    }
}

impl Team {
    /// Tells the other ranks what to do.
    fn order(&mut self, order: Order, details: &impl Serialize) -> Result<(), TrainError> {
        if self.awaited != Awaited::Order {
            return Err(TrainError::Stopped("the other ranks have ended".to_owned()));
        }
        let messages = [encode(&order)?, encode(details)?];
        self.awaited = Awaited::Nothing;
        for message in messages {
            broadcast(&*self.comm, message)?;
        }
        Ok(())
    }

    /// Does what every rank does; an error in it is every rank's, or has ended them.
    fn shared<R>(
        &mut self,
        part: impl FnOnce(&mut Self) -> Result<R, TrainError>,
    ) -> Result<R, TrainError> {
        self.awaited = Awaited::Nothing;
        let result = part(self)?;
        self.awaited = Awaited::Order;
        Ok(result)
    }

    /// The same of what only looks at the model: whatever comes of it, all go on.
    fn looked<R>(
        &mut self,
        part: impl FnOnce(&mut Self) -> Result<R, TrainError>,
    ) -> Result<R, TrainError> {
        let result = self.shared(part);
        self.awaited = Awaited::Order;
        result
    }

    fn member(&mut self) -> Result<&mut Member, TrainError> {
        let none = || TrainError::Stopped("the ranks were given no model".to_owned());
        self.member.as_mut().ok_or_else(none)
    }

    /// Ends the others where they wait.
    fn dismiss(&mut self) {
        let told = match self.awaited {
            Awaited::Order => self.order(Order::End, &()),
            Awaited::Agreement => {
                let why = Err("it has given up; it says why".to_owned());
                // Which every rank, this one too, then takes for its result.
                let _ = agree(&*self.comm, why);
                Ok(())
            }
            Awaited::Nothing => Ok(()),
        };
        self.awaited = Awaited::Nothing;
        if let Err(error) = told {
            log::error!("the other ranks were not told that the run is over: {error}");
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.comm.abort("it panicked");
        } else {
            self.dismiss();
        }
    }
}
