//! Magnitudes beside a direction.

use burn::tensor::{Tensor, activation::sigmoid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Adam;
use crate::matrices::{IN, OUT};
use crate::state::{ParamState, StateTensor};

/// Magnitude-direction decoupling (arXiv 2606.25971, algorithm 2): a weight is taken apart into
/// magnitudes of its inputs and outputs and a direction of constant Frobenius norm, each part is
/// stepped by itself, and they are put together again, so that the model sees a plain matrix.
///
/// ```text
/// W_ij = a_i V_ij b_j,   a = softplus(raw_in), b = softplus(raw_out), 1 at the start
/// dV = a dW b,   draw_out_j = sigmoid(raw_out_j) sum_i V_ij a_i dW_ij,   the same for inputs
/// ```
///
/// The direction is stepped by the recipe and brought back to the norm it had first; the
/// magnitudes are stepped by Adam at the parameter's rate times `lr_factor`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Magnitudes {
    /// What steps the magnitudes.
    pub adam: Adam,
    /// Their rate, as a multiple of the parameter's.
    pub lr_factor: f64,
}

impl Default for Magnitudes {
    fn default() -> Self {
        Self {
            adam: Adam::default(),
            lr_factor: 1.0,
        }
    }
}

/// The stored value of a magnitude of 1: `ln(e - 1)`.
const RAW_ONE: f64 = 0.541_324_854_612_918_1;

/// What the magnitudes of one step were and are.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    before: Tensor<3>,
    after: Tensor<3>,
}

impl Frame {
    pub(crate) fn direction(&self, w: Tensor<3>) -> Tensor<3> {
        w.div(self.before.clone())
    }

    pub(crate) fn weight(self, v: Tensor<3>) -> Tensor<3> {
        v.mul(self.after)
    }
}

/// Names of one side: stored magnitudes, their mean gradient, its mean square.
type Side = [&'static str; 3];
const INPUTS: Side = ["in", "in_m", "in_v"];
const OUTPUTS: Side = ["out", "out_m", "out_v"];

impl Magnitudes {
    pub(super) fn kept([n, input, output]: [usize; 3]) -> Vec<StateTensor> {
        let side = |names: Side, shape| names.map(|name| (name, shape));
        [side(INPUTS, [n, input, 1]), side(OUTPUTS, [n, 1, output])].concat()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let factor = self.lr_factor;
        if !(factor.is_finite() && factor >= 0.0) {
            return Err(format!("the magnitudes' factor on the rate is {factor}"));
        }
        self.adam.check()
    }

    /// Steps the magnitudes, and gives the gradient of the direction.
    pub(crate) fn step(
        &self,
        w: Tensor<3>,
        grad: Tensor<3>,
        rate: f64,
        state: &mut ParamState,
    ) -> (Tensor<3>, Frame) {
        let [n, input, output] = w.dims();
        let (raw_in, raw_out) = (
            stored(&w, INPUTS, [n, input, 1], state),
            stored(&w, OUTPUTS, [n, 1, output], state),
        );
        let (a, b) = (softplus(raw_in.clone()), softplus(raw_out.clone()));
        let before = a.clone().mul(b.clone());
        // V dW, summed over either side with the other's magnitude.
        let product = w.div(before.clone()).mul(grad.clone());
        let of_in = product.clone().mul(b).sum_dim(OUT);
        let of_out = product.mul(a).sum_dim(IN);
        let after_in = self.side(raw_in, of_in, rate, state, INPUTS);
        let after_out = self.side(raw_out, of_out, rate, state, OUTPUTS);
        let frame = Frame {
            before: before.clone(),
            after: after_in.mul(after_out),
        };
        (grad.mul(before), frame)
    }

    /// One side's new magnitudes.
    fn side(
        &self,
        raw: Tensor<3>,
        grad: Tensor<3>,
        rate: f64,
        state: &mut ParamState,
        [name, mean, square]: Side,
    ) -> Tensor<3> {
        let grad = grad.mul(sigmoid(raw.clone()));
        let u = self.adam.step(grad, 1.0, state, [mean, square]);
        let raw = raw.sub(u.tensor.mul_scalar(rate * self.lr_factor * u.scale));
        state.put(name, raw.clone());
        softplus(raw)
    }
}

fn stored(w: &Tensor<3>, [name, ..]: Side, shape: [usize; 3], state: &mut ParamState) -> Tensor<3> {
    state
        .take(name)
        .unwrap_or_else(|| Tensor::full(shape, RAW_ONE, (&w.device(), w.dtype())))
}

/// `ln(1 + e^x)`, without overflow.
fn softplus(x: Tensor<3>) -> Tensor<3> {
    x.clone().abs().neg().exp().log1p().add(x.clamp_min(0.0))
}
