//! `SeeDNorm` (2510.22777): a gain that depends on the token.

use super::{Around, NormFunction};
use crate::named::Recorded;
use crate::plan::{ArrayPlan, ParamRole};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `(gain + dyn * tanh<x, seed>) * x / sqrt(mean(x^2) + eps)` with two learned vectors of `D` entries: `dyn` from 1,
/// `seed` from 0, where it is RMSNorm. `x` is not normalized inside the tanh.
///
/// With `n` heads, `x` and `seed` are cut into `n` consecutive parts, and the channels of a part have its own tanh. Whether
/// `dyn` and `seed` decay is open in the sources; here they follow the gain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SeedNorm {
    /// Consecutive parts of the channels with a tanh of their own.
    #[schemars(range(min = 1))]
    pub heads: usize,
}

impl Default for SeedNorm {
    fn default() -> Self {
        Self { heads: 1 }
    }
}

impl Recorded for SeedNorm {
    const NAME: &'static str = "seed_norm";
    const ABOUT: &'static str = "SeeDNorm: RMSNorm whose gain moves with the token (2510.22777).";
}

impl NormFunction for SeedNorm {
    fn describe(&self) -> String {
        match self.heads {
            1 => "SeeDNorm".to_owned(),
            heads => format!("SeeDNorm of {heads} parts"),
        }
    }

    fn arrays(&self, width: usize, decay: bool) -> Vec<ArrayPlan> {
        vec![
            ArrayPlan::filled("dyn", vec![width], 1.0, ParamRole::Gain).decayed(decay),
            ArrayPlan::filled("seed", vec![width], 0.0, ParamRole::Gain).decayed(decay),
        ]
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let [rows, width] = x.dims();
        let parts = [rows, self.heads, width / self.heads];
        let along = x.clone() * around.arrays.vector("seed").unsqueeze();
        let along: Tensor<3> = along.reshape(parts).sum_dim(2);
        let moved = around.arrays.vector("dyn");
        let moved: Tensor<3> = moved.reshape([1, self.heads, width / self.heads]);
        let moved: Tensor<2> = (along.tanh() * moved).reshape([rows, width]);
        let gain = match &around.gain {
            Some(gain) => moved + gain.clone().unsqueeze(),
            None => moved.add_scalar(1.0),
        };
        let size = x.clone().square().mean_dim(1).add_scalar(around.eps).sqrt();
        x / size * gain
    }

    fn gain_is_last(&self) -> bool {
        false
    }

    fn check(&self, width: usize, _: f64) -> Result<(), String> {
        let heads = self.heads;
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(format!(
                "{width} channels, which can't be cut into {heads} parts of one width"
            ));
        }
        Ok(())
    }
}
