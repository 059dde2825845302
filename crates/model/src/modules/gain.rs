//! A learned scale.

use crate::plan::{Form, GainPlan, GainShape};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// A learned scale whose stored and used values differ by a constant and a form.
///
/// `used = form(stored * init / scale)`, shape `[width]` or `[1]`; [`Form`] has the other forms.
#[derive(Module, Debug)]
pub struct Gain {
    /// The stored value, which the optimizer updates: `[width]` or `[1]`.
    pub value: Param<Tensor<1>>,
    /// Learned scalar beside it, where the form has one.
    pub magnitude: Option<Param<Tensor<1>>>,
    ratio: f64,
    #[module(skip)]
    form: Form,
}

impl Gain {
    /// A scale at its initial value for a vector of `width` channels.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use evenburn_model::{modules::Gain, plan::{GainPlan, GainRole}};
    /// let plan = GainPlan { init: 0.05, scale: 0.01, ..GainPlan::ones(GainRole::Output) };
    /// let gain = Gain::new(&plan, 3, &Device::flex());
    /// let used = gain.used().into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
    /// assert!(used.iter().all(|v| (v - 0.05).abs() < 1e-6));
    /// # Ok::<(), String>(())
    /// ```
    pub fn new(plan: &GainPlan, width: usize, device: &Device) -> Self {
        let entries = match plan.shape {
            GainShape::Vector => width,
            GainShape::Scalar => 1,
        };
        Self {
            value: Param::from_tensor(Tensor::full([entries], plan.stored_init(), device)),
            magnitude: plan
                .magnitude_init()
                .map(|m| Param::from_tensor(Tensor::full([1], m, device))),
            ratio: plan.ratio(),
            form: plan.form,
        }
    }

    /// The used value, which multiplies: `[width]` or `[1]`.
    #[allow(clippy::float_cmp)] // exactly 1 is what skips the product
    pub fn used(&self) -> Tensor<1> {
        let stored = self.value.val();
        let scaled = if self.ratio == 1.0 {
            stored
        } else {
            stored.mul_scalar(self.ratio)
        };
        let magnitude = self.magnitude.as_ref().map(Param::val);
        match (self.form, magnitude) {
            (Form::Absolute, _) => scaled.abs(),
            (Form::OnePlus, _) => scaled.add_scalar(1.0),
            (Form::Product, Some(magnitude)) => scaled * magnitude,
            (Form::ExpProduct, Some(magnitude)) => scaled * magnitude.exp(),
            (Form::UnitProduct, Some(magnitude)) => {
                let mean_square = scaled.clone().square().mean_dim(0);
                scaled / mean_square.sqrt() * magnitude
            }
            (Form::CenteredExp, Some(magnitude)) => {
                let centered = scaled.clone() - scaled.mean_dim(0);
                (centered + magnitude).exp()
            }
            // A form with a magnitude is always built with one.
            (
                Form::Direct
                | Form::Product
                | Form::ExpProduct
                | Form::UnitProduct
                | Form::CenteredExp,
                _,
            ) => scaled,
        }
    }

    /// `used * x`, entry by entry along the last dimension.
    ///
    /// # Shapes
    /// - `x`: `[.., width]`; a scalar takes any width
    /// - output: that of `x`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        x * self.used().unsqueeze()
    }
}
