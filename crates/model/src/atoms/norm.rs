//! Normalization of the last dimension.

use super::Gain;
use crate::plan::{NormKind, NormPlan, Over};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use evenburn_kernels::{Size, normalize};

/// A normalization layer, `gain * x / size(x)`, over all channels or head by head.
#[derive(Debug, Module)]
pub struct Norm {
    /// Learned scale after the division.
    pub gain: Option<Gain>,
    eps: f64,
    /// Channels that are normalized together.
    group: usize,
    #[module(skip)]
    kind: NormKind,
}

impl Norm {
    /// A normalization of vectors of `width` channels, split into heads of `head` channels where the plan says so.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use evenburn_model::{atoms::Norm, plan::NormPlan};
    /// let device = Device::flex();
    /// let norm = Norm::new(&NormPlan::unit(), 2, 2, &device);
    /// let y = norm.forward(Tensor::<2>::from_floats([[3.0, 4.0]], &device));
    /// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
    /// assert!((y[0] - 0.6).abs() < 1e-6 && (y[1] - 0.8).abs() < 1e-6);
    /// # Ok::<(), String>(())
    /// ```
    pub fn new(plan: &NormPlan, width: usize, head: usize, device: &Device) -> Self {
        let group = match plan.over {
            Over::Full => width,
            Over::PerHead => head,
        };
        Self {
            gain: plan
                .gain
                .as_ref()
                .map(|gain| Gain::new(gain, group, device)),
            eps: plan.eps,
            group,
            kind: plan.kind,
        }
    }

    /// Normalizes the last dimension of `x`, shape `[.., width]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let gain = self.gain.as_ref().map(Gain::used);
        match self.kind {
            NormKind::Rms => normalize(x, gain, Size::Rms, self.eps, self.group),
            NormKind::L2 => normalize(x, gain, Size::L2, self.eps, self.group),
            NormKind::Layer => {
                let shape = x.shape();
                let x: Tensor<2> = x.reshape([shape.num_elements() / self.group, self.group]);
                let centred = x.clone() - x.mean_dim(1);
                let size = centred
                    .clone()
                    .square()
                    .mean_dim(1)
                    .add_scalar(self.eps)
                    .sqrt();
                let y = centred / size;
                match gain {
                    Some(gain) => y * gain.unsqueeze(),
                    None => y,
                }
                .reshape(shape)
            }
        }
    }
}
