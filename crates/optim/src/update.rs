//! How a gradient becomes a step: put together from the parts of this crate, or by a rule of one's own.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use burn::tensor::Tensor;

use crate::matrices::batched;
use crate::state::{ParamState, StateTensor};
use crate::{Composition, GradientSpace, Orthogonal};

/// An update rule of one's own, for what no [`Composition`] of parts says.
///
/// Every parameter comes as a batch of matrices `[N, In, Out]`, each to be stepped by itself: a matrix is `[1, In, Out]`, `N`
/// experts are `[N, In, Out]`, a vector is `[1, 1, Out]`. The engine clips the gradient before the step, and projects the
/// weights onto the parameter's constraint after it; the rule's state is in every checkpoint, and a run goes on with it bit
/// for bit as long as the rule draws nothing at random and depends on nothing but its arguments.
///
/// ```
/// use burn::tensor::Tensor;
/// use evenburn_optim::{ParamState, StateTensor, StepInfo, Update, UpdateError, UpdateRule};
///
/// /// Momentum: `m <- beta m + g`, `w <- w - rate m`.
/// #[derive(Debug)]
/// struct HeavyBall {
///     beta: f64,
/// }
///
/// impl UpdateRule for HeavyBall {
///     fn describe(&self) -> String {
///         format!("heavy_ball({})", self.beta)
///     }
///     fn init(&self, shape: [usize; 3]) -> Vec<StateTensor> {
///         vec![("m", shape)]
///     }
///     fn step(
///         &self,
///         w: Tensor<3>,
///         g: Tensor<3>,
///         state: &mut ParamState,
///         info: &StepInfo,
///     ) -> Result<Tensor<3>, UpdateError> {
///         let m = state.update("m", |m| m.mul_scalar(self.beta).add(g));
///         Ok(info.decayed(w).sub(m.mul_scalar(info.rate)))
///     }
/// }
///
/// let update = Update::own(HeavyBall { beta: 0.9 });
/// assert_eq!(update.to_string(), "heavy_ball(0.9)");
/// assert_eq!(update.state_len(&[20, 30]), 600);
/// ```
pub trait UpdateRule: fmt::Debug + Send + Sync + 'static {
    /// What `evenburn describe` and tables call it, with its options: `heavy_ball(0.9)`.
    fn describe(&self) -> String;

    /// Whether it can train a parameter of this shape, as the module has it; in words, why it can't.
    ///
    /// # Errors
    /// The reason, which continues the parameter's name.
    fn check(&self, shape: &[usize]) -> Result<(), String> {
        let _ = shape;
        Ok(())
    }

    /// The tensors that are kept between the steps of a parameter `[N, In, Out]`, each with a name of its own and its shape.
    /// They are zero before the first step.
    fn init(&self, shape: [usize; 3]) -> Vec<StateTensor>;

    /// The weights after a step, from the weights and the clipped gradient, both `[N, In, Out]`.
    ///
    /// Rate and weight decay are in `info`, and the rule's to apply.
    ///
    /// # Errors
    /// Whatever goes wrong; the engine gives it the parameter's name. So it does where weights or state come back in another
    /// shape or number format.
    fn step(
        &self,
        weights: Tensor<3>,
        gradient: Tensor<3>,
        state: &mut ParamState,
        info: &StepInfo,
    ) -> Result<Tensor<3>, UpdateError>;
}

/// What goes wrong in a step of an [`UpdateRule`].
pub type UpdateError = Box<dyn Error + Send + Sync>;

/// What an update rule is told of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepInfo {
    /// The learning rate of this step: the parameter's peak rate times the schedule's factor.
    pub rate: f64,
    /// The weight decay of the parameter.
    pub weight_decay: f64,
    /// The steps of this parameter, this one included: 1 at the first.
    pub step: u64,
}

impl StepInfo {
    /// Decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101): `(1 - rate * weight_decay) w`.
    pub fn decayed(&self, w: Tensor<3>) -> Tensor<3> {
        match self.weight_decay {
            0.0 => w,
            decay => w.mul_scalar(1.0 - self.rate * decay),
        }
    }
}

/// How a gradient becomes a step.
#[derive(Debug, Clone)]
pub enum Update {
    /// Put together from parts.
    Parts(Composition),
    /// By a rule of one's own.
    Own(OwnUpdate),
}

/// A rule of one's own, and which part of the gradient it sees.
#[derive(Debug, Clone)]
pub struct OwnUpdate {
    pub(crate) rule: Arc<dyn UpdateRule>,
    pub(crate) gradient: GradientSpace,
}

impl Update {
    /// An update by a rule of one's own.
    pub fn own(rule: impl UpdateRule) -> Self {
        Self::Own(OwnUpdate {
            rule: Arc::new(rule),
            gradient: GradientSpace::Ambient,
        })
    }

    /// The parts, where it is put together from some.
    pub fn composition(&self) -> Option<&Composition> {
        match self {
            Self::Parts(parts) => Some(parts),
            Self::Own(_) => None,
        }
    }

    /// How the direction is orthogonalized by the engine, where it is.
    pub fn orthogonal(&self) -> Option<&Orthogonal> {
        self.composition()?.orthogonal()
    }

    /// Which part of the gradient is seen.
    pub fn gradient(&self) -> GradientSpace {
        match self {
            Self::Parts(parts) => parts.gradient,
            Self::Own(own) => own.gradient,
        }
    }

    /// The same with another part of the gradient.
    pub fn with_gradient(mut self, gradient: GradientSpace) -> Self {
        match &mut self {
            Self::Parts(parts) => parts.gradient = gradient,
            Self::Own(own) => own.gradient = gradient,
        }
        self
    }

    /// What is kept between steps of a parameter of this shape.
    pub(crate) fn kept(&self, shape: [usize; 3]) -> Vec<StateTensor> {
        match self {
            Self::Parts(parts) => parts.kept(shape),
            Self::Own(own) => own.rule.init(shape),
        }
    }

    /// How many numbers are kept between steps of a parameter of this shape.
    pub fn state_len(&self, shape: &[usize]) -> usize {
        let kept = self.kept(batched(shape));
        kept.iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }

    /// Whether it can be used on a parameter of this shape.
    pub(crate) fn check(&self, shape: &[usize]) -> Result<(), String> {
        match self {
            Self::Parts(parts) => parts.check(shape),
            Self::Own(own) => own.check(shape),
        }
    }
}

impl OwnUpdate {
    fn check(&self, shape: &[usize]) -> Result<(), String> {
        self.rule.check(shape)?;
        let mut names = BTreeSet::new();
        for (name, _) in self.rule.init(batched(shape)) {
            if !names.insert(name) {
                return Err(format!("it keeps two tensors called `{name}`"));
            }
        }
        Ok(())
    }
}

impl From<Composition> for Update {
    fn from(parts: Composition) -> Self {
        Self::Parts(parts)
    }
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parts(parts) => parts.fmt(f),
            Self::Own(own) => {
                if own.gradient == GradientSpace::Tangent {
                    f.write_str("tangent > ")?;
                }
                f.write_str(&own.rule.describe())
            }
        }
    }
}
