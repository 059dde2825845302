//! Any composition of parts as a Burn optimizer.

use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};
use evenburn_geometry::Constraint;

use crate::matrices::batched;
use crate::param_step::step_by_parts;
use crate::state::{ParamState, restore};
use crate::{Composition, Rule};

/// A composition of parts as a Burn [`Optimizer`], which steps one tensor at a time, with decoupled weight
/// decay and a projection.
///
/// Tensors that it can't train because they are no matrices (biases, gains) are stepped by
/// [`rest`](Self::with_rest) at the same rate. Whoever wants another rate for them adds a group to
/// Burn's `ModuleOptimizer`. Matrices are `[In, Out]`, as in Burn's `Linear`.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::{GradientsParams, ModuleOptimizer};
/// use burn::tensor::{Device, Tensor};
/// use evenburn_optim::{PerTensor, Composition};
///
/// let device = Device::flex().autodiff();
/// let mut linear = LinearConfig::new(3, 2).init(&device);
/// let mut optim = ModuleOptimizer::from(PerTensor::new(Composition::muon()));
///
/// // Learn to add up: y = (x1 + x2 + x3, 0).
/// let x = Tensor::<2>::from_data([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], &device);
/// let y = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], &device);
/// let mut losses = Vec::new();
/// for _ in 0..60 {
///     let loss = (linear.forward(x.clone()) - y.clone()).square().mean();
///     losses.push(loss.clone().into_scalar::<f32>());
///     let grads = GradientsParams::from_grads(loss.backward(), &linear);
///     linear = optim.step(0.02, linear, grads);
/// }
/// assert!(losses[59] < 0.05 * losses[0], "{losses:?}");
/// ```
#[derive(Debug, Clone)]
pub struct PerTensor {
    parts: Composition,
    /// Its rate is 1: Burn's is the one that counts.
    rule: Rule,
    rest: Composition,
}

impl PerTensor {
    /// A composition without weight decay or constraint; the rest is stepped by Adam's defaults.
    pub fn new(parts: Composition) -> Self {
        Self {
            parts,
            rule: Rule {
                group: String::new(),
                update: parts.into(),
                lr: 1.0,
                weight_decay: 0.0,
                constraint: Constraint::Free,
            },
            rest: Composition::adam(crate::Adam::default()),
        }
    }

    /// Multiplies each tensor by `1 - rate * weight_decay` before its step.
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.rule.weight_decay = weight_decay;
        self
    }

    /// Projects each tensor after its step. A constraint along [`Axis::In`] leaves vectors alone.
    ///
    /// [`Axis::In`]: evenburn_geometry::Axis::In
    pub fn with_constraint(mut self, constraint: Constraint) -> Self {
        self.rule.constraint = constraint;
        self
    }

    /// What steps the tensors that the composition can't.
    pub fn with_rest(mut self, rest: Composition) -> Self {
        self.rest = rest;
        self
    }

    /// The rule for a tensor of this shape, and its parts.
    fn rule(&self, shape: &[usize]) -> (Rule, Composition) {
        let (mut rule, mut parts) = (self.rule.clone(), self.parts);
        if parts.check(shape).is_err() {
            parts = self.rest;
            rule.update = parts.into();
        }
        if rule.constraint.check(shape.len()).is_err() {
            rule.constraint = Constraint::Free;
        }
        (rule, parts)
    }
}

/// The state of one tensor.
#[derive(Debug, Clone)]
pub struct TensorState<const D: usize> {
    state: ParamState,
}

/// Every name that a part keeps something under.
const NAMES: [&str; 10] = [
    "m", "v", "n", "radius", "in", "in_m", "in_v", "out", "out_m", "out_v",
];

// Burn's derive of this trait only works inside of Burn.
impl<const D: usize> RecordState for TensorState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        for (name, tensor) in self.state.tensors() {
            out.push_tensor(prefix, name, tensor.to_data());
        }
        out.push_scalar(prefix, "t", self.state.t.into());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let t = u64::try_from(src.take_scalar(prefix, "t")?).ok()?;
        let mut state = ParamState::new(&[], t);
        for name in NAMES {
            if let Some(data) = src.take_tensor(prefix, name) {
                let shape: [usize; 3] = data.shape().to_vec().try_into().ok()?;
                state.put(name, restore(data, shape, device));
            }
        }
        Some(Self { state })
    }
}

impl Optimizer for PerTensor {
    type State<const D: usize> = TensorState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let shape = tensor.dims();
        let (rule, parts) = self.rule(&shape);
        let mut state = state.map_or_else(|| ParamState::new(&shape, 0), |state| state.state);
        let (w, grad) = (
            tensor.reshape(batched(&shape)),
            grad.reshape(batched(&shape)),
        );
        let w = step_by_parts(&rule, &parts, w, grad, 1.0, lr, &mut state);
        (w.reshape(shape), Some(TensorState { state }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        TensorState {
            state: state.state.to_device(device),
        }
    }
}
