//! What a rank does in a step, the same on every rank.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::optim::GradientsParams;
use burn::tensor::TensorData;
use evenburn_data::Batch;
use evenburn_model::Decoder;
use evenburn_optim::{Counts, Engine, StepReport};
use evenburn_ranks::{Communicator, collect, reduce_scatter, share};

use super::layout::Layout;
use super::messages::{Contribution, all_results};
use crate::checkpoint::Named;
use crate::error::TrainError;
use crate::evaluate::read;
use crate::step::{StepGradients, StepInfo, Updated};
use crate::task::Task;

/// How long rank 0 waited for other ranks in a step, and how long numbers of parameters moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RankTimes {
    /// From the end of its own part until the last rank had its own.
    pub others: Duration,
    /// Exchanging gradients and weights, additions included.
    pub communication: Duration,
}

/// A rank with its part of the parameters.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) comm: Arc<dyn Communicator>,
    layout: Layout,
    times: RankTimes,
}

/// Measures the largest attention scores of a model, block by block.
pub(super) type Measure<'m> = &'m dyn Fn(&Task) -> Result<Vec<Vec<f64>>, TrainError>;

/// The gradients of a step: those of a rank's own parameters, and all of them where somebody looks at them.
pub(super) struct Summed {
    pub(super) own: StepGradients,
    pub(super) whole: Option<GradientsParams>,
    /// Whether some rank was asked to stop.
    pub(super) stop: bool,
}

impl Member {
    pub(super) fn new(comm: Arc<dyn Communicator>, decoder: &Decoder) -> Result<Self, TrainError> {
        Ok(Self {
            layout: Layout::new(decoder, comm.world())?,
            comm,
            times: RankTimes::default(),
        })
    }

    /// Paths of the parameters of this rank.
    pub(super) fn owned(&self) -> BTreeSet<String> {
        self.layout.owned(self.comm.rank())
    }

    /// Those of the last step.
    pub(super) fn times(&mut self) -> RankTimes {
        std::mem::take(&mut self.times)
    }

    /// This rank's micro-batches of a step.
    fn block(&self, accumulate: usize) -> Range<usize> {
        let length = accumulate / self.comm.world();
        let start = self.comm.rank() * length;
        start..start + length
    }

    /// Gradients of a step, summed over the ranks.
    pub(super) fn sum_gradients(
        &mut self,
        task: &Task,
        batches: Vec<Batch>,
        info: &StepInfo,
        whole: bool,
        stop: bool,
    ) -> Result<Summed, TrainError> {
        let rank = self.comm.rank();
        let block = self.block(batches.len());
        let local = task.block_gradients(batches, block, info, |_, _| Ok(()));
        let local = local.and_then(|(gradients, figures)| {
            let flat = self.layout.flatten(&task.decoder, gradients, info.step())?;
            Ok((flat, Contribution { figures, stop }))
        });
        let started = Instant::now();
        let said = all_results(&*self.comm, local.as_ref().map(|(_, said)| said));
        self.times.others += started.elapsed();
        let (mut flat, _) = local?;
        let said = said?;
        let stop = said.iter().any(|said| said.stop);
        let figures = said.into_iter().flat_map(|said| said.figures);

        let started = Instant::now();
        reduce_scatter(&*self.comm, &mut flat, self.layout.ranges())?;
        if whole {
            share(&*self.comm, &mut flat, self.layout.ranges())?;
        }
        self.times.communication += started.elapsed();
        let gradients = |of| self.layout.gradients(&task.decoder, &flat, of);
        Ok(Summed {
            own: StepGradients::new(gradients(Some(rank)), figures, info)?,
            whole: whole.then(|| gradients(None)),
            stop,
        })
    }

    /// The model after a step: every rank steps its own parameters, and has those of the others from them. Where `scores` are asked for,
    /// rank 0 measures them, on the last micro-batch.
    pub(super) fn update(
        &mut self,
        task: Task,
        engine: &mut Engine,
        gradients: StepGradients,
        info: &StepInfo,
        scores: Option<Measure<'_>>,
    ) -> Result<(Task, Updated), TrainError> {
        let comm = Arc::clone(&self.comm);
        task.update_by(
            gradients,
            info,
            |decoder, gradients| self.step(decoder, engine, gradients, info.factor),
            |task| {
                let Some(measure) = scores else {
                    return Ok(None);
                };
                let own = match comm.rank() {
                    0 => measure(task).map(Some),
                    _ => Ok(None),
                };
                let all = all_results(&*comm, own.as_ref());
                own?;
                Ok(all?.into_iter().next().flatten())
            },
        )
    }

    fn step(
        &mut self,
        decoder: Decoder,
        engine: &mut Engine,
        gradients: GradientsParams,
        factor: f64,
    ) -> Result<(Decoder, StepReport), TrainError> {
        let rank = self.comm.rank();
        let own = engine
            .squares(&decoder, &gradients)
            .map_err(TrainError::from);
        let started = Instant::now();
        let all = all_results(&*self.comm, own.as_ref());
        self.times.others += started.elapsed();
        own?;
        let squares: BTreeMap<String, f64> = all?.into_iter().flatten().collect();
        let report = engine.report(&decoder, &squares)?;
        // A rule of one's own may fail on one rank alone; the others learn of it where they wait.
        let stepped = engine.apply(decoder, gradients, &report, factor);
        let stepped = stepped.map_err(TrainError::from).and_then(|decoder| {
            let values = self.layout.values(&decoder, rank)?;
            Ok((decoder, values))
        });
        let (decoder, mut values) = stepped.inspect_err(|error| {
            self.comm.abort(&error.to_string());
        })?;
        let started = Instant::now();
        share(&*self.comm, &mut values, self.layout.ranges())?;
        self.times.communication += started.elapsed();
        Ok((self.layout.replace(decoder, &values, rank), report))
    }

    /// The summed losses of some batches, of which each rank scores one, in their order. The task has no gradients.
    pub(super) fn score(&self, task: &Task, batches: &[Batch]) -> Result<Vec<f64>, TrainError> {
        let own = match batches.get(self.comm.rank()) {
            Some(batch) => task
                .check(batch)
                .and_then(|()| read(task.loss_sum(batch)))
                .map(Some),
            None => Ok(None),
        };
        let all = all_results(&*self.comm, own.as_ref());
        own?;
        Ok(all?.into_iter().flatten().collect())
    }

    /// The counts of all optimizers as those of one.
    pub(super) fn optimizer_counts(&self, engine: &Engine) -> Result<Counts, TrainError> {
        let all = all_results(&*self.comm, Ok(&engine.counts()))?;
        let mut counts = engine.counts();
        counts
            .parameters
            .extend(all.into_iter().flat_map(|counts| counts.parameters));
        Ok(counts)
    }

    /// On rank 0 the state of all optimizers as that of one; nothing elsewhere.
    pub(super) fn optimizer_state(&self, engine: &Engine) -> Result<Vec<Named>, TrainError> {
        let own = engine.state();
        let shape = |(name, data): &Named| (name.clone(), data.shape().to_vec());
        let names: Vec<_> = own.iter().map(shape).collect();
        let flat = own.iter().map(|(_, data)| floats(data));
        let flat = flat.collect::<Result<Vec<_>, _>>().map(|all| all.concat());
        let names = all_results(&*self.comm, flat.as_ref().map(|_| &names));
        drop(own);
        let (flat, names) = (flat?, names?);
        let flats = collect(&*self.comm, &flat)?;
        drop(flat);
        let mut tensors = Vec::new();
        for (names, flat) in names.into_iter().zip(flats) {
            let mut values = flat.into_iter();
            for (name, shape) in names {
                let length = shape.iter().product();
                let own: Vec<f32> = values.by_ref().take(length).collect();
                tensors.push((name, TensorData::new(own, shape)));
            }
        }
        // As one engine has them: by path, then by name.
        tensors.sort_by(|(a, _), (b, _)| a.rsplit_once('/').cmp(&b.rsplit_once('/')));
        Ok(tensors)
    }
}

/// Numbers that ranks exchange.
pub(super) fn floats(data: &TensorData) -> Result<&[f32], TrainError> {
    data.as_slice::<f32>().map_err(|e| TrainError::DeviceRead {
        why: format!("ranks exchange f32: {e:?}"),
    })
}
