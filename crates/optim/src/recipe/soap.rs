//! SOAP (Vyas et al., 2409.11321): Adam in the eigenbasis of Shampoo's preconditioner.
//!
//! ```text
//! L <- s L + (1 - s) G G^T,   R <- s R + (1 - s) G^T G        (of inputs and of outputs)
//! G' = Q_L^T G Q_R,   M <- beta1 M + (1 - beta1) G,   V <- beta2 V + (1 - beta2) G'^2
//! W <- W - lr Q_L (Q_L^T M Q_R sqrt(1 - beta2^t) / (1 - beta1^t) / (sqrt(V) + eps)) Q_R^T,   W <- (1 - lr weight_decay) W
//! ```
//!
//! `Q_L` and `Q_R` are the eigenvectors of `L` and `R`: computed at the first step, which moves no weight, and every
//! `precondition_frequency` steps replaced by the orthonormal factor of `L Q_L` and `R Q_R`, one step of a power iteration.
//! The code of the authors (github.com/nikhilvyas/SOAP) is followed to the order of its operations, but for the decomposition,
//! which is in double precision here.

use burn::tensor::{Int, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::{check_decay, check_rate};
use crate::linalg::{Columns, eigenvectors, orthonormal};
use crate::matrices::{IN, OUT};
use crate::{
    Adam, OptimError, ParamRole, ParamState, StateTensor, StepInfo, Update, UpdateError, UpdateRule,
};

/// SOAP for the matrices inside the blocks with `beta1`, `beta2` and `eps` as Adam's (its authors train with 0.95 and 0.95),
/// `AdamW` for the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Soap {
    /// Peak learning rate of the matrices inside the blocks; `lr` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
    /// Decay of the means that the eigenbases are of; `beta2` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shampoo_beta: Option<f64>,
    /// Steps between two corrections of the eigenbases.
    #[schemars(range(min = 1))]
    pub precondition_frequency: u64,
    /// Widest side of a matrix that has an eigenbasis; wider ones are left as they are. An eigenbasis takes a number of
    /// operations that grows with the cube of the width, on the CPU.
    #[schemars(range(min = 1))]
    pub max_precondition_dim: usize,
}

impl Default for Soap {
    /// The authors'.
    fn default() -> Self {
        Self {
            matrix_lr: None,
            shampoo_beta: None,
            precondition_frequency: 10,
            max_precondition_dim: 10_000,
        }
    }
}

impl RecipeOptions for Soap {
    const NAME: &'static str = "soap";
    const ABOUT: &'static str = "Adam in the eigenbasis of Shampoo's preconditioner (2409.11321).";
}

impl OptimizerStrategy for Soap {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        if param.role() != ParamRole::Matrix {
            return param.adamw();
        }
        let adam = param.adam();
        let update = SoapUpdate {
            adam,
            shampoo_beta: self.shampoo_beta.unwrap_or(adam.beta2),
            precondition_frequency: self.precondition_frequency,
            max_precondition_dim: self.max_precondition_dim,
        };
        param.decayed(Update::own(update), self.matrix_lr.unwrap_or(param.lr()))
    }

    fn check(&self) -> Result<(), OptimError> {
        check_rate("matrix_lr", self.matrix_lr)?;
        if let Some(beta) = self.shampoo_beta {
            check_decay("shampoo_beta", beta)?;
        }
        for (key, value) in [
            ("precondition_frequency", self.precondition_frequency),
            ("max_precondition_dim", self.max_precondition_dim as u64),
        ] {
            if value == 0 {
                return Err(OptimError::config(key, "must be at least 1"));
            }
        }
        Ok(())
    }
}

/// SOAP's step of one matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoapUpdate {
    /// Decays and epsilon of Adam in the eigenbasis.
    pub adam: Adam,
    /// Decay of the means that the eigenbases are of.
    pub shampoo_beta: f64,
    /// Steps between two corrections of the eigenbases.
    pub precondition_frequency: u64,
    /// Widest side that has an eigenbasis.
    pub max_precondition_dim: usize,
}

/// A side of a matrix: its axis in a batch `[N, In, Out]`, and the names of its mean and its eigenbasis.
struct Side {
    axis: usize,
    mean: &'static str,
    basis: &'static str,
}

const SIDES: [Side; 2] = [
    Side {
        axis: IN,
        mean: "gg_in",
        basis: "q_in",
    },
    Side {
        axis: OUT,
        mean: "gg_out",
        basis: "q_out",
    },
];

impl Side {
    /// `G G^T` of inputs, `G^T G` of outputs.
    fn gram(&self, g: &Tensor<3>) -> Tensor<3> {
        let transposed = g.clone().swap_dims(IN, OUT);
        match self.axis {
            IN => g.clone().matmul(transposed),
            _ => transposed.matmul(g.clone()),
        }
    }

    /// Into the eigenbasis: `Q^T x` or `x Q`.
    fn project(&self, x: Tensor<3>, q: Tensor<3>) -> Tensor<3> {
        match self.axis {
            IN => q.swap_dims(IN, OUT).matmul(x),
            _ => x.matmul(q),
        }
    }

    /// Out of it: `Q x` or `x Q^T`.
    fn project_back(&self, x: Tensor<3>, q: Tensor<3>) -> Tensor<3> {
        match self.axis {
            IN => q.matmul(x),
            _ => x.matmul(q.swap_dims(IN, OUT)),
        }
    }

    /// One step of the power iteration, eigenvalues in falling order; the mean squares follow their columns.
    fn correct_basis(&self, state: &mut ParamState) -> Result<(), UpdateError> {
        let q = state.get(self.basis);
        let product = state.get(self.mean).matmul(q.clone());
        let eigenvalues = q.mul(product.clone()).sum_dim(IN);
        let [n, _, d] = product.dims();
        let eigenvalues: Vec<f64> = eigenvalues.try_into_data()?.iter().collect();
        let orders: Vec<Vec<usize>> = eigenvalues.chunks(d).map(falling).collect();
        let ordered = |(matrix, order): (Columns, &Vec<usize>)| {
            orthonormal(order.iter().map(|i| matrix[*i].clone()).collect())
        };
        let like = product.clone();
        let products = columns(product)?.into_iter().zip(&orders);
        state.set(self.basis, tensor(products.map(ordered), &like));
        state.update("v", |v| {
            let device = v.device();
            let each = orders.iter().enumerate().map(|(at, order)| {
                let order: Vec<i64> = order.iter().map(|i| *i as i64).collect();
                let order = Tensor::<1, Int>::from_data(TensorData::from(&order[..]), &device);
                v.clone().slice(at..at + 1).select(self.axis, order)
            });
            let each: Vec<Tensor<3>> = each.collect();
            debug_assert_eq!(each.len(), n);
            Tensor::cat(each, 0)
        });
        Ok(())
    }
}

/// Places of the values, the largest first.
fn falling(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|i, j| values[*j].total_cmp(&values[*i]));
    order
}

/// The matrices of a batch `[N, D, D]` by columns.
fn columns(batch: Tensor<3>) -> Result<Vec<Columns>, UpdateError> {
    let [_, d, _] = batch.dims();
    let values: Vec<f64> = batch.swap_dims(IN, OUT).try_into_data()?.iter().collect();
    let matrices = values.chunks(d * d);
    Ok(matrices
        .map(|matrix| matrix.chunks(d).map(<[f64]>::to_vec).collect())
        .collect())
}

/// The inverse of [`columns`], in the number format and on the device of a tensor of the same shape.
fn tensor(matrices: impl Iterator<Item = Columns>, like: &Tensor<3>) -> Tensor<3> {
    let values: Vec<f64> = matrices.flat_map(|matrix| matrix.concat()).collect();
    let data = TensorData::new(values, like.dims()).convert_dtype(like.dtype());
    Tensor::<3>::from_data(data, (&like.device(), like.dtype())).swap_dims(IN, OUT)
}

/// `keep * mean + (1 - keep) * new`, as `torch.lerp` has it.
fn lerp(mean: Tensor<3>, new: Tensor<3>, keep: f64) -> Tensor<3> {
    let towards = new.sub(mean.clone()).mul_scalar(1.0 - keep);
    mean.add(towards)
}

impl SoapUpdate {
    fn sides(&self, shape: [usize; 3]) -> impl Iterator<Item = &'static Side> {
        let widest = self.max_precondition_dim;
        SIDES.iter().filter(move |side| shape[side.axis] <= widest)
    }

    fn project(&self, x: Tensor<3>, state: &ParamState) -> Tensor<3> {
        let sides = self.sides(x.dims());
        sides.fold(x, |x, side| side.project(x, state.get(side.basis)))
    }

    fn project_back(&self, x: Tensor<3>, state: &ParamState) -> Tensor<3> {
        let sides = self.sides(x.dims());
        sides.fold(x, |x, side| side.project_back(x, state.get(side.basis)))
    }
}

impl UpdateRule for SoapUpdate {
    fn describe(&self) -> String {
        let Adam { beta1, beta2, .. } = self.adam;
        format!("soap({beta1}, {beta2}, {})", self.shampoo_beta)
    }

    fn check(&self, shape: &[usize]) -> Result<(), String> {
        if shape.len() < 2 {
            return Err(format!("soap trains matrices, and its shape is {shape:?}"));
        }
        Ok(())
    }

    fn init(&self, shape: [usize; 3]) -> Vec<StateTensor> {
        let [n, ..] = shape;
        let of_sides = self.sides(shape).flat_map(|side| {
            let d = shape[side.axis];
            [(side.mean, [n, d, d]), (side.basis, [n, d, d])]
        });
        [("m", shape), ("v", shape)]
            .into_iter()
            .chain(of_sides)
            .collect()
    }

    fn step(
        &self,
        weights: Tensor<3>,
        gradient: Tensor<3>,
        state: &mut ParamState,
        info: &StepInfo,
    ) -> Result<Tensor<3>, UpdateError> {
        let shape = weights.dims();
        let grams = |state: &mut ParamState| {
            for side in self.sides(shape) {
                let gram = side.gram(&gradient);
                state.update(side.mean, |mean| lerp(mean, gram, self.shampoo_beta));
            }
        };
        if info.step == 1 {
            // The first gradient makes the bases, and is in no step: it would be measured by itself.
            grams(state);
            for side in self.sides(shape) {
                let mean = state.get(side.mean);
                let bases = columns(mean.clone())?.into_iter().map(eigenvectors);
                state.set(side.basis, tensor(bases, &mean));
            }
            return Ok(weights);
        }
        let Adam { beta1, beta2, eps } = self.adam;
        let steps = info.step - 1;
        let projected = self.project(gradient.clone(), state);
        let m = state.update("m", |m| lerp(m, gradient.clone(), beta1));
        let v = state.update("v", |v| lerp(v, projected.square(), beta2));
        let direction = self.project(m, state).div(v.sqrt().add_scalar(eps));
        let direction = self.project_back(direction, state);
        let remembered = |beta: f64| 1.0 - beta.powi(i32::try_from(steps).unwrap_or(i32::MAX));
        let rate = info.rate * remembered(beta2).sqrt() / remembered(beta1);
        let weights = info.decayed(weights.sub(direction.mul_scalar(rate)));

        grams(state);
        if steps.is_multiple_of(self.precondition_frequency) {
            self.sides(shape)
                .try_for_each(|side| side.correct_basis(state))?;
        }
        Ok(weights)
    }
}
