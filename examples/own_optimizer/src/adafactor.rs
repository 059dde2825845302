//! Adafactor without momentum (Shazeer and Stern, 1804.04235, algorithm 4): the mean square of a matrix of gradients by one
//! number for each input and one for each output.
//!
//! ```text
//! r_i <- beta_t r_i + (1 - beta_t) mean over outputs of G_ij^2,   c_j the same over inputs,   beta_t = 1 - t^-decay_exponent
//! U_ij = G_ij / sqrt(r_i c_j / mean(r)),   W <- (1 - lr weight_decay) W - lr U / max(1, rms(U) / largest_rms)
//! ```

use evenburn::burn::tensor::Tensor;
use evenburn::optim::{
    OptimizerStrategy, ParamContext, ParamState, RecipeOptions, StateTensor, StepInfo, Treatment,
    Update, UpdateError, UpdateRule,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adafactor for matrices, embedding and output layer, `AdamW` for vectors, as a configuration chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Adafactor {
    /// How soon the mean squares come to rest: step t keeps `1 - t^-decay_exponent` of them.
    decay_exponent: f64,
    /// Largest root mean square of a step at a rate of 1; longer ones are scaled down to it.
    largest_rms: f64,
}

impl Default for Adafactor {
    /// The paper's.
    fn default() -> Self {
        Self {
            decay_exponent: 0.8,
            largest_rms: 1.0,
        }
    }
}

impl RecipeOptions for Adafactor {
    const NAME: &'static str = "adafactor";
    const ABOUT: &'static str = "Mean squares of a matrix by its rows and columns (1804.04235).";
}

impl OptimizerStrategy for Adafactor {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        if param.role().is_vector() {
            return param.adamw();
        }
        param.decayed(Update::own(*self), param.lr())
    }
}

/// Added to squared gradients, the paper's `epsilon_1`.
const EPS: f64 = 1e-30;

// A batch of matrices is [N, In, Out].
const IN: usize = 1;
const OUT: usize = 2;

impl UpdateRule for Adafactor {
    fn describe(&self) -> String {
        format!("adafactor({}, {})", self.decay_exponent, self.largest_rms)
    }

    fn init(&self, [n, input, output]: [usize; 3]) -> Vec<StateTensor> {
        vec![("r", [n, input, 1]), ("c", [n, 1, output])]
    }

    fn step(
        &self,
        weights: Tensor<3>,
        gradient: Tensor<3>,
        state: &mut ParamState,
        info: &StepInfo,
    ) -> Result<Tensor<3>, UpdateError> {
        let fresh = (info.step as f64).powf(-self.decay_exponent);
        let squares = gradient.clone().square().add_scalar(EPS);
        let mean =
            |old: Tensor<3>, new: Tensor<3>| old.mul_scalar(1.0 - fresh).add(new.mul_scalar(fresh));
        let r = state.update("r", |r| mean(r, squares.clone().mean_dim(OUT)));
        let c = state.update("c", |c| mean(c, squares.mean_dim(IN)));
        let share = r.clone().div(r.mean_dim(IN));
        let u = gradient.div(share.mul(c).sqrt());
        let rms = u.clone().square().mean_dim(OUT).mean_dim(IN).sqrt();
        let u = u.div(rms.div_scalar(self.largest_rms).clamp_min(1.0));
        Ok(info.decayed(weights).sub(u.mul_scalar(info.rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenburn::burn;
    use evenburn::burn::module::{Module, Param};
    use evenburn::burn::optim::GradientsParams;
    use evenburn::burn::tensor::Device;
    use evenburn::geometry::Constraint;
    use evenburn::optim::{Clip, Engine, Rule};

    #[derive(Module, Debug)]
    struct Matrix {
        weight: Param<Tensor<2>>,
    }

    /// Where the squares have rank 1, as the paper's section 3 says, nothing is lost by the factors: every entry is divided by
    /// its own size.
    #[test]
    fn the_first_step_of_a_gradient_of_rank_one_is_its_sign() {
        let device = Device::flex().autodiff();
        let weight = Tensor::<2>::zeros([2, 3], &device).require_grad();
        let matrix = Matrix {
            weight: Param::from_tensor(weight),
        };
        let rule = Rule {
            group: "matrices".to_owned(),
            update: Update::own(Adafactor::default()),
            lr: 0.5,
            weight_decay: 0.0,
            constraint: Constraint::Free,
        };
        let mut engine = Engine::new([("weight".to_owned(), rule)].into(), Clip::None);
        let mut grads = GradientsParams::new();
        let g = [[1.0, -2.0, 3.0], [-10.0, 20.0, -30.0]];
        grads.register(matrix.weight.id, Tensor::<2>::from_data(g, &Device::flex()));
        let (matrix, _) = engine.step(matrix, grads, 1.0).unwrap();
        let w: Vec<f32> = matrix.weight.val().into_data().iter().collect();
        let expected = [-0.5, 0.5, -0.5, 0.5, -0.5, 0.5];
        for (w, expected) in w.iter().zip(expected) {
            assert!((w - expected).abs() < 1e-6, "{w} {expected}");
        }
    }
}
