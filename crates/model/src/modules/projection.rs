//! A linear map with the scales, bias and normalization around its product.

use super::{Gain, Norm};
use crate::dims::{Dims, Site};
use crate::init::Initializer;
use crate::plan::SitePlan;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use evenburn_kernels::{Normalization, Precision, linear};

/// `y = after * norm( factor * ((before * x) W) + bias )`, with `W` of shape `[in, out]`.
///
/// It needs a [`SitePlan`] and the sizes of a model. Its parameters are `weight`, `before.value`, `bias`, those of `norm` (as
/// `norm.gain.value`) and `after.value`; in a decoder they are `blocks.0.attn.q.weight` and so on.
#[derive(Module, Debug)]
pub struct Projection {
    /// `W`, `[in, out]`.
    pub weight: Param<Tensor<2>>,
    /// Learned scale of the input.
    pub before: Option<Gain>,
    /// Learned vector on the product, `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// Normalization of the product.
    pub norm: Option<Norm>,
    /// Learned scale of the output.
    pub after: Option<Gain>,
    factor: f64,
    #[module(skip)]
    precision: Precision,
}

impl Projection {
    /// A linear map of the shape and place that `site` names; its initial matrix depends on the initializer and on
    /// `path`, its name.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use evenburn_model::modules::{Initializer, Projection};
    /// use evenburn_model::{ModelConfig, Plan, Site, strategy::SimpleNorm};
    /// let plan = Plan::new(&ModelConfig::default(), &SimpleNorm::default())?;
    /// let device = Device::flex();
    /// let up = Projection::new(&plan.layers[0].up, Site::Up, "up", plan.dims(), Initializer::new(0), &device);
    /// let y = up.forward(Tensor::ones([1, 2, 128], &device));
    /// assert_eq!(y.dims(), [1, 2, 352]);
    /// # Ok::<(), evenburn_model::PlanError>(())
    /// ```
    pub fn new(
        plan: &SitePlan,
        site: Site,
        path: &str,
        d: &Dims,
        init: Initializer,
        device: &Device,
    ) -> Self {
        let [input, output] = site.shape(d);
        let around = &plan.linear;
        Self {
            weight: init.matrix(
                &format!("{path}.weight"),
                plan.weight.init,
                [input, output],
                device,
            ),
            before: around.before.as_ref().map(|g| Gain::new(g, input, device)),
            bias: around
                .bias
                .map(|_| Param::from_tensor(Tensor::zeros([output], device))),
            norm: around
                .norm
                .as_ref()
                .map(|n| Norm::new(n, [output, d.head], &format!("{path}.norm"), init, device)),
            after: around.after.as_ref().map(|g| Gain::new(g, output, device)),
            factor: around.factor,
            precision: Precision::F32,
        }
    }

    /// The same map whose product rounds its factors to a precision; single precision until then.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// `after * norm( factor * ((before * x) W) + bias )`.
    ///
    /// # Shapes
    /// - `x`: `[B, T, in]`
    /// - output: `[B, T, out]`
    ///
    /// Scales multiply the matrix, `in * out` numbers, rather than the activations, `B * T` times as many rows; the
    /// one behind a normalization or a bias can't.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let y = self.product(x);
        let y = match &self.norm {
            Some(norm) => norm.forward(y),
            None => y,
        };
        match &self.after {
            Some(after) if !self.is_direct() => after.forward(y),
            _ => y,
        }
    }

    /// What the normalization is applied to.
    pub(super) fn product(&self, x: Tensor<3>) -> Tensor<3> {
        let mut weight = self.weight.val();
        if let Some(before) = &self.before {
            weight = weight * before.used().unsqueeze_dim::<2>(1);
        }
        if self.is_direct()
            && let Some(after) = &self.after
        {
            weight = weight * after.used().unsqueeze::<2>();
        }
        let y = linear(x, weight, self.factor, self.precision);
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    }

    /// Whether nothing stands between the product and the scale of the output.
    fn is_direct(&self) -> bool {
        self.norm.is_none() && self.bias.is_none()
    }

    /// The normalization, if fused operations know it and it is all that follows the [product](Self::product).
    pub(super) fn fused_norm(&self) -> Option<Normalization> {
        let last = self.norm.as_ref().filter(|_| self.after.is_none());
        last.and_then(Norm::fused)
    }
}

/// `x * factor`, without a pass over `x` where the factor is 1.
#[allow(clippy::float_cmp)]
pub(super) fn scaled<const D: usize>(x: Tensor<D>, factor: f64) -> Tensor<D> {
    if factor == 1.0 {
        x
    } else {
        x.mul_scalar(factor)
    }
}
