//! Loss on a split, without gradients.

use burn::module::Module;
use burn::tensor::Tensor;
use evenburn_data::{Batch, DataError};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::task::{Task, valid_targets};

/// What an evaluation found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy in nats per token.
    pub loss: f64,
    /// Bits per byte of text, `loss * tokens / (ln 2 * bytes)`.
    pub bits_per_byte: f64,
    /// Tokens predicted.
    pub tokens: u64,
    /// Bytes of text those tokens stand for.
    pub bytes: u64,
}

impl Evaluation {
    /// `exp(loss)`.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }

    /// An evaluation from a summed cross-entropy in nats.
    pub fn from_sum(nats: f64, tokens: u64, bytes: u64) -> Self {
        Self {
            loss: nats / tokens as f64,
            bits_per_byte: nats / (std::f64::consts::LN_2 * bytes as f64),
            tokens,
            bytes,
        }
    }
}

/// Evaluates a task on batches. `token_bytes` says how many bytes of text each token stands for.
///
/// The task is taken without its gradients first; its weights are shared, not copied.
///
/// # Errors
/// [`TrainError::Data`] from the batches, [`TrainError::DeviceRead`] if the device fails, [`TrainError::Invalid`] if
/// there is no batch.
pub fn evaluate(
    task: &Task,
    batches: impl Iterator<Item = Result<Batch, DataError>>,
    token_bytes: &[u32],
) -> Result<Evaluation, TrainError> {
    let task = task.valid();
    let (mut nats, mut tokens, mut bytes) = (0.0, 0, 0);
    for batch in batches {
        let batch = batch?;
        nats += read(task.loss_sum(&batch), 0)?;
        tokens += valid_targets(&batch);
        bytes += bytes_of(&batch.targets, token_bytes);
    }
    if tokens == 0 {
        return Err(TrainError::invalid("data.path", "the validation split has no whole sample"));
    }
    Ok(Evaluation::from_sum(nats, tokens, bytes))
}

/// Bytes of text that targets stand for.
pub fn bytes_of(targets: &[i32], token_bytes: &[u32]) -> u64 {
    targets
        .iter()
        .filter_map(|target| token_bytes.get(usize::try_from(*target).ok()?))
        .map(|bytes| u64::from(*bytes))
        .sum()
}

/// A scalar from the device.
pub(crate) fn read(scalar: Tensor<1>, step: u64) -> Result<f64, TrainError> {
    scalar.try_into_scalar::<f64>().map_err(|e| TrainError::DeviceRead {
        step,
        why: e.to_string(),
    })
}
