//! Measurements of the normalizations with a schedule, in one forward pass.

use crate::function::Moment;
use burn::tensor::Tensor;
use std::cell::RefCell;

/// Collects what each normalization with a schedule measures and adds to the loss in one forward pass.
#[derive(Debug)]
pub struct Watch {
    at: Moment,
    measured: RefCell<Vec<Tensor<1>>>,
    penalty: RefCell<Option<Tensor<1>>>,
}

impl Watch {
    /// An empty collection for the step after `at`.
    pub fn new(at: Moment) -> Self {
        Self {
            at,
            measured: RefCell::default(),
            penalty: RefCell::default(),
        }
    }

    /// The moment before the step.
    pub fn at(&self) -> Moment {
        self.at
    }

    pub(super) fn measure(&self, means: Tensor<1>) {
        self.measured.borrow_mut().push(means);
    }

    pub(super) fn add(&self, penalty: Tensor<1>) {
        let mut sum = self.penalty.borrow_mut();
        let before = sum.take();
        *sum = Some(match before {
            Some(before) => before + penalty,
            None => penalty,
        });
    }

    /// What was measured, one normalization after the other, and the sum of what they add to the loss.
    pub fn into_inner(self) -> (Vec<Tensor<1>>, Option<Tensor<1>>) {
        (self.measured.into_inner(), self.penalty.into_inner())
    }
}
