//! The way of the residual stream around a branch.

use super::projection::scaled;
use super::{Gain, Norm};
use crate::dims::Dims;
use crate::plan::{LerpFactor, MixPlan, NormPlan, ResidualPlan};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use evenburn_kernels::interpolate;

/// How a branch's output joins the stream.
#[derive(Module, Debug)]
pub struct Mix {
    /// Step size of an interpolation; a plain sum has none.
    pub alpha: Option<Gain>,
    skip: f64,
    #[module(skip)]
    factor: LerpFactor,
}

impl Mix {
    /// A mix of two streams of `width` channels.
    pub fn new(plan: &MixPlan, width: usize, device: &Device) -> Self {
        match plan {
            MixPlan::Add => Self {
                alpha: None,
                skip: 1.0,
                factor: LerpFactor::One,
            },
            MixPlan::Scaled { skip } => Self {
                alpha: None,
                skip: *skip,
                factor: LerpFactor::One,
            },
            MixPlan::Lerp { alpha, factor } => Self {
                alpha: Some(Gain::new(alpha, width, device)),
                skip: 1.0,
                factor: *factor,
            },
        }
    }

    /// `skip h + x` or `nu (h + alpha (x - h))`, both `[B, T, D]`.
    ///
    /// The interpolation is computed as `nu (1 - alpha) h + nu alpha x`: the coefficients have `D` entries, so
    /// they cost nothing.
    pub fn forward(&self, h: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
        let Some(alpha) = &self.alpha else {
            return scaled(h, self.skip) + x;
        };
        let alpha = alpha.used();
        let keep = alpha.clone().neg().add_scalar(1.0);
        let (keep, alpha) = match self.factor {
            LerpFactor::One => (keep, alpha),
            LerpFactor::SecondMoment => {
                let size = (alpha.clone().square() + keep.clone().square()).sqrt();
                (keep / size.clone(), alpha / size)
            }
        };
        interpolate(h, x, keep, alpha)
    }
}

/// The stream around one branch: `after( mix( skip(h), output( branch( input(h) ) ) ) )`, `h = stream(h)` first.
#[derive(Module, Debug)]
pub struct Residual {
    /// Before the split.
    pub stream: Option<Norm>,
    /// Of what the branch reads.
    pub input: Option<Norm>,
    /// Of what the branch writes.
    pub output: Option<Norm>,
    /// Of the skip connection.
    pub skip: Option<Norm>,
    /// How both join.
    pub mix: Mix,
    /// Of the result.
    pub after: Option<Norm>,
}

/// Applies a normalization where there is one.
fn apply(norm: Option<&Norm>, x: Tensor<3>) -> Tensor<3> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

impl Residual {
    /// Carries out a residual plan on a stream of `d.model` channels.
    pub fn new(plan: &ResidualPlan, d: &Dims, device: &Device) -> Self {
        let norm = |plan: &Option<NormPlan>| {
            plan.as_ref()
                .map(|plan| Norm::new(plan, d.model, d.head, device))
        };
        Self {
            stream: norm(&plan.stream),
            input: norm(&plan.input),
            output: norm(&plan.output),
            skip: norm(&plan.skip),
            mix: Mix::new(&plan.mix, d.model, device),
            after: norm(&plan.after),
        }
    }

    /// `[B, T, D] -> [B, T, D]` around `branch`.
    pub fn forward(&self, h: Tensor<3>, branch: impl FnOnce(Tensor<3>) -> Tensor<3>) -> Tensor<3> {
        let h = apply(self.stream.as_ref(), h);
        let x = branch(apply(self.input.as_ref(), h.clone()));
        let x = apply(self.output.as_ref(), x);
        let h = apply(self.skip.as_ref(), h);
        apply(self.after.as_ref(), self.mix.forward(h, x))
    }
}
