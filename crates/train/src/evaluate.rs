//! Loss on a split, without gradients.

use burn::module::Module;
use burn::tensor::Tensor;
use evenburn_data::{Batch, DataError, Score};

use crate::error::TrainError;
use crate::task::Task;

/// Scores a task on batches.
///
/// The task is taken without its gradients first; its weights are shared, not copied.
///
/// # Errors
/// [`TrainError::Data`] from the batches, [`TrainError::Tokens`] for a token that the model doesn't have,
/// [`TrainError::DeviceRead`] if the device fails.
pub fn evaluate(
    task: &Task,
    batches: impl Iterator<Item = Result<Batch, DataError>>,
) -> Result<Score, TrainError> {
    let task = task.valid();
    let mut score = Score::default();
    for batch in batches {
        let batch = batch?;
        task.check(&batch)?;
        let nats = read(task.loss_sum(&batch))?;
        score += Score::of_batch(nats, &batch);
    }
    Ok(score)
}

/// Numbers from the device.
pub(crate) fn read_all(numbers: Tensor<1>) -> Result<Vec<f64>, TrainError> {
    let unread = |why: String| TrainError::DeviceRead { why };
    let data = numbers.try_into_data().map_err(|e| unread(e.to_string()))?;
    data.convert::<f64>()
        .try_to_vec()
        .map_err(|e| unread(format!("{e:?}")))
}

/// A scalar from the device.
pub(crate) fn read(scalar: Tensor<1>) -> Result<f64, TrainError> {
    scalar
        .try_into_scalar::<f64>()
        .map_err(|e| TrainError::DeviceRead { why: e.to_string() })
}
