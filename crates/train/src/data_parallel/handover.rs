//! Weights and optimizer state from rank 0 to the others, where a run begins or goes on.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::TensorData;
use evenburn_model::{Decoder, weights};
use evenburn_optim::Engine;
use evenburn_ranks::{Communicator, broadcast};

use super::member::floats;
use super::messages::{StateNames, decode, encode};
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
    let own = weights::collect(&decoder).into_iter();
    let sent = own.map(|(path, data)| Ok((path, receive(comm, data.shape().to_vec())?)));
    let sent: BTreeMap<String, TensorData> = sent.collect::<Result<_, TrainError>>()?;
    Ok(weights::replace(decoder, sent)?)
}

/// Sends the whole state of an optimizer.
pub(super) fn send_state(comm: &dyn Communicator, engine: &Engine) -> Result<(), TrainError> {
    let tensors = engine.state();
    let shape = |(name, data): &Named| (name.clone(), data.shape().to_vec());
    let names = StateNames {
        counts: engine.counts(),
        tensors: tensors.iter().map(shape).collect(),
    };
    broadcast(comm, encode(&names)?)?;
    tensors.iter().try_for_each(|(_, data)| send(comm, data))
}

/// Takes up the state of the parameters that an engine owns, of all that rank 0 sends.
pub(super) fn receive_state(
    comm: &dyn Communicator,
    decoder: &Decoder,
    engine: &mut Engine,
    owned: &BTreeSet<String>,
) -> Result<(), TrainError> {
    let mut names: StateNames = decode(&broadcast(comm, Vec::new())?)?;
    let mut kept = Vec::new();
    for (name, shape) in names.tensors {
        let data = receive(comm, shape)?;
        let path = name.rsplit_once('/').map_or(&*name, |(path, _)| path);
        if owned.contains(path) {
            kept.push((name, data));
        }
    }
    names
        .counts
        .parameters
        .retain(|path, _| owned.contains(path));
    Ok(engine.load_state(decoder, kept, &names.counts)?)
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
