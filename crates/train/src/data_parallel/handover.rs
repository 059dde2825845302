//! Weights and optimizer state from rank 0 to the others, where a run begins or goes on.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use evenburn_model::Decoder;
use evenburn_model::weights::{self, ParameterVisitor};
use evenburn_optim::{Counts, Engine};
use evenburn_ranks::{Communicator, broadcast};

use super::member::floats;
use super::messages::{self, StateNames, encode};
use crate::checkpoint::Named;
use crate::error::TrainError;

/// Sends all weights.
pub(super) fn send_weights(comm: &dyn Communicator, decoder: &Decoder) -> Result<(), TrainError> {
    for (_, data) in weights::collect(decoder) {
        send(comm, &data)?;
    }
    Ok(())
}

/// The decoder with the weights that rank 0 sends: those of the same plan.
pub(super) fn receive_weights(
    comm: &dyn Communicator,
    decoder: Decoder,
) -> Result<Decoder, TrainError> {
    struct Receive<'c> {
        comm: &'c dyn Communicator,
        received: Result<BTreeMap<String, TensorData>, TrainError>,
    }
    impl ParameterVisitor for Receive<'_> {
        fn parameter<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
            let Ok(received) = &mut self.received else {
                return;
            };
            match receive(self.comm, param.lazy_shape().to_vec()) {
                Ok(data) => {
                    received.insert(path.to_owned(), data);
                }
                Err(error) => self.received = Err(error),
            }
        }
    }
    let mut visitor = Receive {
        comm,
        received: Ok(BTreeMap::new()),
    };
    weights::visit(&decoder, &mut visitor);
    Ok(weights::replace(decoder, visitor.received?)?)
}

/// The state of an optimizer, or of a part of its parameters.
#[derive(Debug, Default)]
pub(crate) struct OptimizerState {
    pub(crate) counts: Counts,
    pub(crate) tensors: Vec<Named>,
}

impl OptimizerState {
    /// That of some parameters.
    pub(super) fn of(mut self, owned: &BTreeSet<String>) -> Self {
        self.tensors
            .retain(|(name, _)| owned.contains(parameter(name)));
        self.counts
            .parameters
            .retain(|path, _| owned.contains(path));
        self
    }

    /// Gives it to an engine; before the first step there is none.
    pub(super) fn load(self, decoder: &Decoder, engine: &mut Engine) -> Result<(), TrainError> {
        if self.counts.step == 0 {
            return Ok(());
        }
        Ok(engine.load_state(decoder, self.tensors, &self.counts)?)
    }
}

/// The path of the parameter that a tensor is kept of.
fn parameter(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(path, _)| path)
}

/// Sends the whole state of an optimizer.
pub(super) fn send_state(
    comm: &dyn Communicator,
    state: &OptimizerState,
) -> Result<(), TrainError> {
    let shape = |(name, data): &Named| (name.clone(), data.shape().to_vec());
    let names = StateNames {
        counts: state.counts.clone(),
        tensors: state.tensors.iter().map(shape).collect(),
    };
    broadcast(comm, encode(&names)?)?;
    state
        .tensors
        .iter()
        .try_for_each(|(_, data)| send(comm, data))
}

/// The state of the parameters that an engine owns, of all that rank 0 sends.
pub(super) fn receive_state(
    comm: &dyn Communicator,
    owned: &BTreeSet<String>,
) -> Result<OptimizerState, TrainError> {
    let names: StateNames = messages::receive(comm)?;
    let mut tensors = Vec::new();
    for (name, shape) in names.tensors {
        let data = receive(comm, shape)?;
        if owned.contains(parameter(&name)) {
            tensors.push((name, data));
        }
    }
    let state = OptimizerState {
        counts: names.counts,
        tensors,
    };
    Ok(state.of(owned))
}

fn send(comm: &dyn Communicator, data: &TensorData) -> Result<(), TrainError> {
    let values = floats(data)?.iter();
    let bytes = values.flat_map(|value| value.to_le_bytes()).collect();
    broadcast(comm, bytes)?;
    Ok(())
}

fn receive(comm: &dyn Communicator, shape: Vec<usize>) -> Result<TensorData, TrainError> {
    let bytes = broadcast(comm, Vec::new())?;
    let (values, rest) = bytes.as_chunks();
    if !rest.is_empty() || values.len() != shape.iter().product::<usize>() {
        return Err(TrainError::DeviceRead {
            why: format!("rank 0 sent {} bytes for a tensor {shape:?}", bytes.len()),
        });
    }
    let values: Vec<f32> = values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    Ok(TensorData::new(values, shape))
}
