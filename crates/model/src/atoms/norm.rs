//! Normalization of the last dimension.

use super::Gain;
use super::projection::scaled;
use crate::plan::{NormKind, NormPlan, Over};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use evenburn_kernels::{Normalization, Size, normalize};

/// A normalization layer, `gain * x / size(x)`, over all channels or head by head.
#[derive(Debug, Module)]
pub struct Norm {
    /// Learned scale after the division.
    pub gain: Option<Gain>,
    /// Learned slope of a pointwise function, `[1]`.
    pub slope: Option<Param<Tensor<1>>>,
    /// Learned shift of a pointwise function, `[1]`.
    pub shift: Option<Param<Tensor<1>>>,
    /// Learned vector that is added last.
    pub bias: Option<Param<Tensor<1>>>,
    factor: f64,
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
        let scalar = |v: f64| Param::from_tensor(Tensor::full([1], v, device));
        let (slope, shift) = match plan.kind {
            NormKind::Tanh { slope } => (Some(slope), None),
            NormKind::Erf { slope } => (Some(slope), Some(0.0)),
            NormKind::Rms | NormKind::L2 | NormKind::Layer => (None, None),
        };
        Self {
            gain: plan
                .gain
                .as_ref()
                .map(|gain| Gain::new(gain, group, device)),
            slope: slope.map(scalar),
            shift: shift.map(scalar),
            bias: plan
                .bias
                .map(|_| Param::from_tensor(Tensor::zeros([group], device))),
            factor: plan.factor,
            eps: plan.eps,
            group,
            kind: plan.kind,
        }
    }

    /// What fused operations call this normalization, if it is one that they know and nothing comes after it.
    #[allow(clippy::float_cmp)]
    pub(super) fn fused(&self) -> Option<Normalization> {
        let size = match self.kind {
            NormKind::Rms => Size::Rms,
            NormKind::L2 => Size::L2,
            NormKind::Layer | NormKind::Tanh { .. } | NormKind::Erf { .. } => return None,
        };
        let (gain, rest) = self.scale();
        (rest == 1.0 && self.bias.is_none()).then_some(Normalization {
            gain,
            size,
            eps: self.eps,
            group: self.group,
        })
    }

    /// The gain, which the factor multiplies, `width` numbers; without one, the factor is what is left.
    fn scale(&self) -> (Option<Tensor<1>>, f64) {
        let gain = self.gain.as_ref();
        let gain = gain.map(|gain| scaled(gain.used(), self.factor));
        let rest = if gain.is_some() { 1.0 } else { self.factor };
        (gain, rest)
    }

    /// Normalizes the last dimension of `x`, shape `[.., width]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (gain, rest) = self.scale();
        let shape = x.shape();
        let groups = [shape.num_elements() / self.group, self.group];
        let y = match self.kind {
            NormKind::Rms => normalize(x, gain, Size::Rms, self.eps, self.group),
            NormKind::L2 => normalize(x, gain, Size::L2, self.eps, self.group),
            NormKind::Layer => {
                times(centred(x.reshape(groups), self.eps), gain).reshape(shape.clone())
            }
            NormKind::Tanh { .. } => {
                times(self.argument(x.reshape(groups)).tanh(), gain).reshape(shape.clone())
            }
            NormKind::Erf { .. } => {
                times(self.argument(x.reshape(groups)).erf(), gain).reshape(shape.clone())
            }
        };
        let y = scaled(y, rest);
        match &self.bias {
            Some(bias) => {
                let y: Tensor<2> = y.reshape(groups);
                (y + bias.val().unsqueeze()).reshape(shape)
            }
            None => y,
        }
    }

    /// `slope * x + shift`, what a pointwise function is applied to.
    fn argument(&self, x: Tensor<2>) -> Tensor<2> {
        let x = match &self.slope {
            Some(slope) => x * slope.val().unsqueeze(),
            None => x,
        };
        match &self.shift {
            Some(shift) => x + shift.val().unsqueeze(),
            None => x,
        }
    }
}

fn times(x: Tensor<2>, gain: Option<Tensor<1>>) -> Tensor<2> {
    match gain {
        Some(gain) => x * gain.unsqueeze(),
        None => x,
    }
}

/// `(x - mean(x)) / sqrt(var(x) + eps)` row by row.
fn centred(x: Tensor<2>, eps: f64) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let size = centred.clone().square().mean_dim(1).add_scalar(eps).sqrt();
    centred / size
}
