//! The ranks behind rank 0: they do what it says.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::module::Module;
use evenburn_data::Batch;
use evenburn_optim::Engine;
use evenburn_ranks::{Communicator, agree};

use super::evaluation::score_part;
use super::handover::{receive_state, receive_weights};
use super::member::{Measure, Member};
use super::messages::{Beginning, Order, StepOrder, receive};
use crate::config::RunConfig;
use crate::error::TrainError;
use crate::recorded_plan::RecordedPlan;
use crate::registry::Registry;
use crate::task::{Task, untrained};
use crate::{device, groups};

/// Does a rank's part of a run until rank 0, where the [`Trainer`](crate::Trainer) is, lets it go. `local` is the number of the rank
/// on its machine, which chooses its device. Where `stop` gets set, the run ends after the step it is in, with a checkpoint.
///
/// It reads no file and writes none: configuration, plan, weights and text come from rank 0.
///
/// # Errors
/// Whatever ends the run: every rank has the same error where a rank could say what is wrong. [`TrainError::Device`] where this
/// build lacks the backend.
pub fn follow(
    registry: &Registry,
    comm: &Arc<dyn Communicator>,
    local: usize,
    stop: &AtomicBool,
) -> Result<(), TrainError> {
    // A panic ends all others: they would wait for ever.
    let _ends_all = EndsAll(&**comm);
    let mut replica: Option<Replica> = None;
    loop {
        match receive(&**comm)? {
            Order::Begin => replica = Some(Replica::receive(registry, comm, local)?),
            Order::End => return receive(&**comm),
            order => {
                let early = || TrainError::Stopped("an order before the model".to_owned());
                let now = replica.take().ok_or_else(early)?;
                replica = Some(now.obey(order, stop)?);
            }
        }
    }
}

struct EndsAll<'c>(&'c dyn Communicator);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abort("it panicked");
        }
    }
}

/// The model of a rank, with its part of the optimizer.
struct Replica {
    task: Task,
    engine: Engine,
    member: Member,
}

impl Replica {
    /// The model and the optimizer that rank 0 begins with.
    fn receive(
        registry: &Registry,
        comm: &Arc<dyn Communicator>,
        local: usize,
    ) -> Result<Self, TrainError> {
        let beginning: Beginning = receive(&**comm)?;
        let made = (|| -> Result<_, TrainError> {
            let config = &beginning.config;
            let config = RunConfig::from_toml(registry, "rank 0", config, &[])?.config;
            let plan = RecordedPlan::parse(registry, Path::new("plan of rank 0"), &beginning.plan)?;
            let device = device::open_local(&config.train, local)?;
            let decoder = untrained(&plan, &config.train, &device.autodiff());
            let engine = groups::engine(&plan, &config.optim, beginning.total, &decoder)?;
            Ok((config, decoder, engine))
        })();
        let (config, decoder, mut engine) = match made {
            Ok(made) => made,
            // The others send tensors, and ask only then.
            Err(error) => {
                comm.abort(&TrainError::to_string(&error));
                return Err(error);
            }
        };
        comm.set_patience(Some(Duration::from_secs(config.ranks.patience)));
        let decoder = receive_weights(&**comm, decoder)?;
        let member = Member::new(Arc::clone(comm), &decoder)?;
        let owned = member.owned();
        engine.restrict_to(owned.clone());
        let state = receive_state(&**comm, &owned)?;
        let loaded = state.load(&decoder, &mut engine);
        let ready = loaded.as_ref().map(|()| Vec::new());
        let all = agree(&**comm, ready.map_err(ToString::to_string));
        loaded?;
        all?;
        Ok(Self {
            task: Task::new(decoder, config.data.document_mask),
            engine,
            member,
        })
    }

    fn obey(self, order: Order, stop: &AtomicBool) -> Result<Self, TrainError> {
        let comm = Arc::clone(&self.member.comm);
        match order {
            Order::Step => return self.step(receive(&*comm)?, stop.load(Ordering::Relaxed)),
            // Whatever comes of it, all go on: the model is as it was.
            Order::Evaluate => {
                let batches: Vec<Batch> = receive(&*comm)?;
                let scored = self.member.score(&self.task.valid(), &batches);
                scored
                    .err()
                    .inspect(|error| log::warn!("evaluation: {error}"));
            }
            Order::Score => {
                let order = receive(&*comm)?;
                let scored = score_part(&*comm, &self.task.decoder.valid(), &order);
                scored
                    .err()
                    .inspect(|error| log::warn!("benchmark: {error}"));
            }
            Order::OptimizerCounts => {
                receive::<()>(&*comm)?;
                self.member.optimizer_counts(&self.engine)?;
            }
            Order::OptimizerState => {
                receive::<()>(&*comm)?;
                self.member.optimizer_state(&self.engine)?;
            }
            Order::Begin | Order::End => {}
        }
        Ok(self)
    }

    fn step(self, mut order: StepOrder, stop: bool) -> Result<Self, TrainError> {
        let Self {
            task,
            mut engine,
            mut member,
        } = self;
        let info = order.info();
        let batches = std::mem::take(&mut order.batches);
        let summed = member.sum_gradients(&task, batches, &info, order.whole, stop)?;
        // Only rank 0 measures; the others are told.
        let told = |_: &Task| Ok(Vec::new());
        let scores = order.scores.then_some(&told as Measure<'_>);
        let (task, _) = member.update(task, &mut engine, summed.own, &info, scores)?;
        Ok(Self {
            task,
            engine,
            member,
        })
    }
}
