//! From a batch to what a decoder takes.

use burn::tensor::{Device, Int, Tensor};
use evenburn_data::Batch;

use crate::task::ids;

/// A batch on a device, for whoever calls a decoder and not a [`Task`](crate::Task), which does this by itself.
///
/// ```
/// use burn::tensor::Device;
/// use evenburn_data::{Batch, Boundaries, Sample};
/// use evenburn_train::BatchTensors;
/// let mut batch = Batch::new(3);
/// batch.push(&Sample { tokens: vec![5, 6, 0, 7], bytes: None }, Boundaries { eod: 0, bos: None });
/// let tensors = BatchTensors::new(&batch, &Device::flex());
/// assert_eq!(tensors.tokens.dims(), [1, 3]);
/// assert_eq!(tensors.segments.into_data().iter::<i64>().collect::<Vec<_>>(), [0, 0, 1]);
/// ```
#[derive(Debug, Clone)]
pub struct BatchTensors {
    /// Inputs, `[B, T]`. Nothing has checked that the model has them: see [`Decoder::check_tokens`].
    ///
    /// [`Decoder::check_tokens`]: evenburn_model::Decoder::check_tokens
    pub tokens: Tensor<2, Int>,
    /// The token that follows each input, `[B, T]`; -1 = ignored.
    pub targets: Tensor<2, Int>,
    /// Number of the document that each input belongs to, `[B, T]`: for a forward pass in which documents don't see one
    /// another.
    pub segments: Tensor<2, Int>,
}

impl BatchTensors {
    /// Puts a batch on a device.
    pub fn new(batch: &Batch, device: &Device) -> Self {
        Self {
            tokens: ids(batch, &batch.tokens, device),
            targets: ids(batch, &batch.targets, device),
            segments: ids(batch, &batch.segments, device),
        }
    }
}
