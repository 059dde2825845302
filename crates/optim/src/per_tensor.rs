//! Any recipe as a Burn optimizer.

use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor, TensorData};
use evenburn_geometry::Constraint;

use crate::adam::{Adam, Moments};
use crate::update::{Direction, apply};
use crate::{Recipe, muon};

/// A recipe as a Burn [`Optimizer`], which steps one tensor at a time, with decoupled weight
/// decay and a projection.
///
/// Tensors that Muon can't train because they are no matrices (biases, gains) are stepped by
/// [`rest`](Self::with_rest) at the same rate. Whoever wants another rate for them adds a group to
/// Burn's `ModuleOptimizer`. Matrices are `[In, Out]`, as in Burn's `Linear`.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::{GradientsParams, ModuleOptimizer};
/// use burn::tensor::{Device, Tensor};
/// use evenburn_optim::{Muon, PerTensor, Recipe};
///
/// let device = Device::flex().autodiff();
/// let mut linear = LinearConfig::new(3, 2).init(&device);
/// let mut optim = ModuleOptimizer::from(PerTensor::new(Recipe::Muon(Muon::default())));
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
#[derive(Debug, Clone, PartialEq)]
pub struct PerTensor {
    recipe: Recipe,
    weight_decay: f64,
    constraint: Constraint,
    rest: Adam,
}

impl PerTensor {
    /// A recipe without weight decay or constraint; the rest is stepped by [`Adam`]'s defaults.
    pub fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            weight_decay: 0.0,
            constraint: Constraint::Free,
            rest: Adam::default(),
        }
    }

    /// Multiplies each tensor by `1 - rate * weight_decay` before its step.
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Projects each tensor after its step. A constraint along [`Axis::In`] leaves vectors alone.
    ///
    /// [`Axis::In`]: evenburn_geometry::Axis::In
    pub fn with_constraint(mut self, constraint: Constraint) -> Self {
        self.constraint = constraint;
        self
    }

    /// What steps the tensors that Muon can't.
    pub fn with_rest(mut self, rest: Adam) -> Self {
        self.rest = rest;
        self
    }
}

/// The state of one tensor.
#[derive(Debug, Clone)]
pub struct TensorState<const D: usize> {
    /// Mean of gradients.
    pub m: Tensor<D>,
    /// Mean of squared gradients, where the recipe has one.
    pub v: Option<Tensor<D>>,
    /// Steps taken.
    pub t: u64,
}

// Burn's derive of this trait only works inside of Burn.
impl<const D: usize> RecordState for TensorState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, "m", self.m.to_data());
        if let Some(v) = &self.v {
            out.push_tensor(prefix, "v", v.to_data());
        }
        out.push_scalar(prefix, "t", self.t.into());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        // The data's own dtype, not the device's default: state in `f64` comes back as `f64`.
        let tensor = |data: TensorData| {
            let dtype = data.dtype();
            (data.rank() == D).then(|| Tensor::from_data(data, (device, dtype)))
        };
        let t = u64::try_from(src.take_scalar(prefix, "t")?).ok()?;
        let m = tensor(src.take_tensor(prefix, "m")?)?;
        let v = match src.take_tensor(prefix, "v") {
            Some(data) => Some(tensor(data)?),
            None => None,
        };
        Some(Self { m, v, t })
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
        let shape = grad.dims();
        let (direction, state) = match (self.recipe, muon::as_matrices(&shape)) {
            (Recipe::Muon(muon), Some(matrices)) => {
                let t = state.as_ref().map_or(0, |s| s.t).saturating_add(1);
                let (u, m) = muon.velocity(grad, 1.0, state.map(|s| s.m));
                let Direction { tensor, scale } = muon.direction(u.reshape(matrices));
                let tensor = tensor.reshape(shape);
                (Direction { tensor, scale }, TensorState { m, v: None, t })
            }
            (Recipe::AdamW(adam) | Recipe::Adam(adam), _) => adam_step(adam, grad, state),
            (Recipe::Muon(_), None) => adam_step(self.rest, grad, state),
        };
        let tensor = apply(tensor, direction, lr, self.weight_decay, self.constraint);
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        TensorState {
            m: state.m.to_device(device),
            v: state.v.map(|v| v.to_device(device)),
            t: state.t,
        }
    }
}

fn adam_step<const D: usize>(
    adam: Adam,
    grad: Tensor<D>,
    state: Option<TensorState<D>>,
) -> (Direction<D>, TensorState<D>) {
    let moments = state.and_then(|s| Some((s.m, s.v?, s.t)));
    let moments = moments.map(|(m, v, t)| Moments { m, v, t });
    let (direction, Moments { m, v, t }) = adam.direction(grad, 1.0, moments);
    (direction, TensorState { m, v: Some(v), t })
}
