//! A matrix of parameters in the products of both passes.

use super::matrix::{Into, Matrix, MatrixMut, product_parallel, transpose};
use super::{contiguous, tensor, values};
use crate::Precision;
use burn_flex::FlexTensor;

/// Below this many rows a product is done before the matrix would be turned.
const FEW_ROWS: usize = 64;

/// A matrix `W [in, out]` and, once it is needed, its transpose in memory.
///
/// It may be a transposed view of an `[out, in]` table, as with tied embeddings: then the table is read where it lies,
/// and the gradient is laid out like it.
pub(crate) struct Weight {
    /// `[in, out]`, or `[out, in]` for a transposed view.
    stored: FlexTensor,
    turned: Option<Vec<f32>>,
    is_transposed: bool,
    shape: [usize; 2],
}

impl Weight {
    pub(crate) fn new(weight: FlexTensor) -> Self {
        let shape = weight.layout().shape().dims::<2>();
        let view = weight.transpose(0, 1);
        let is_transposed = weight.as_slice::<f32>().is_none() && view.as_slice::<f32>().is_some();
        Self {
            stored: if is_transposed {
                view
            } else {
                contiguous(weight)
            },
            turned: None,
            is_transposed,
            shape,
        }
    }

    /// `[in, out]`
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Makes [`forward`](Self::forward) quick to read for a product with `rows` rows.
    pub(crate) fn prepare_forward(&mut self, rows: usize) {
        if self.is_transposed && rows >= FEW_ROWS {
            self.turn();
        }
    }

    /// Makes [`backward`](Self::backward) quick to read for a product with `rows` rows.
    pub(crate) fn prepare_backward(&mut self, rows: usize) {
        if !self.is_transposed && rows >= FEW_ROWS {
            self.turn();
        }
    }

    fn turn(&mut self) {
        if self.turned.is_none() {
            self.turned = Some(transpose(values(&self.stored), self.stored_columns()));
        }
    }

    fn stored_columns(&self) -> usize {
        self.shape[usize::from(!self.is_transposed)]
    }

    fn stored(&self) -> Matrix<'_> {
        Matrix::new(values(&self.stored), self.stored_columns())
    }

    /// What [`Self::turn`] wrote, or a view across the memory.
    fn turned(&self) -> Matrix<'_> {
        match &self.turned {
            Some(turned) => Matrix::new(turned, self.shape[usize::from(self.is_transposed)]),
            None => self.stored().transposed(),
        }
    }

    /// `W`, `[in, out]`
    pub(crate) fn forward(&self) -> Matrix<'_> {
        if self.is_transposed {
            self.turned()
        } else {
            self.stored()
        }
    }

    /// `W^T`, `[out, in]`
    pub(crate) fn backward(&self) -> Matrix<'_> {
        if self.is_transposed {
            self.stored()
        } else {
            self.turned()
        }
    }

    /// Writes `factor x^T dy` to `gradient`, or adds it, in the order of [`Self::gradient`].
    pub(crate) fn accumulate(
        &self,
        gradient: &mut [f32],
        into: Into,
        factor: f32,
        [x, dy]: [Matrix; 2],
        precision: Precision,
    ) {
        let gradient = MatrixMut::new(gradient, self.stored_columns());
        if self.is_transposed {
            product_parallel(gradient, into, factor, [dy.transposed(), x], precision);
        } else {
            product_parallel(gradient, into, factor, [x.transposed(), dy], precision);
        }
    }

    /// What [`Self::accumulate`] wrote as a tensor of the weight's shape, lying in memory as the weight does.
    pub(crate) fn gradient(&self, values: Vec<f32>) -> FlexTensor {
        let [input, output] = self.shape;
        if self.is_transposed {
            tensor(values, [output, input]).transpose(0, 1)
        } else {
            tensor(values, [input, output])
        }
    }
}
