//! The residual connection around a branch.
//!
//! `B` batch, `T` time, `D` model.

use super::projection::scaled;
use super::{Arrays, Gain, Norm, Stream, Watch};
use crate::dims::Dims;
use crate::init::Initializer;
use crate::plan::{CompanionPlan, LerpFactor, MixPlan, NormPlan, ResidualPlan};
use crate::rule::Rule;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use evenburn_kernels::interpolate;

/// How a branch's output joins the stream. Its parameters are `alpha.value` or the arrays of its rule, as `rule.scale`.
#[derive(Module, Debug)]
pub struct Mix {
    /// Step size of an interpolation; a plain sum has none.
    pub alpha: Option<Gain>,
    /// Learned arrays of a rule of its own.
    pub rule: Arrays,
    #[module(skip)]
    how: How,
}

/// What joins both.
#[derive(Debug, Clone)]
enum How {
    Sum { skip: f64 },
    Lerp(LerpFactor),
    Rule(Rule),
}

impl Mix {
    /// A mix of two streams of `width` channels; matrices of a rule depend on the initializer and on `path`, its name.
    pub fn new(
        plan: &MixPlan,
        path: &str,
        width: usize,
        init: Initializer,
        device: &Device,
    ) -> Self {
        let sum = |skip| Self {
            alpha: None,
            rule: Arrays::default(),
            how: How::Sum { skip },
        };
        match plan {
            MixPlan::Add => sum(1.0),
            MixPlan::Scaled { skip } => sum(*skip),
            MixPlan::Lerp { alpha, factor } => Self {
                alpha: Some(Gain::new(alpha, width, device)),
                how: How::Lerp(*factor),
                ..sum(1.0)
            },
            MixPlan::Rule { rule } => Self {
                rule: Arrays::new(&rule.arrays(width), &format!("{path}.rule"), init, device),
                how: How::Rule(rule.clone()),
                ..sum(1.0)
            },
        }
    }

    /// The stream behind the branch: `skip h + x`, `nu (h + alpha (x - h))`, or what a rule of its own makes of them.
    ///
    /// # Shapes
    /// - `h`, the stream before the branch: `[B, T, D]`
    /// - `x`, the branch's output: `[B, T, D]`
    /// - output: `[B, T, D]`
    ///
    /// The interpolation is computed as `nu (1 - alpha) h + nu alpha x`: the coefficients have `D` entries, so
    /// they cost nothing.
    pub fn forward(&self, h: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
        let (alpha, factor) = match (&self.how, &self.alpha) {
            (How::Sum { skip }, _) => return scaled(h, *skip) + x,
            (How::Rule(rule), _) => return rule.forward(h, x, &self.rule),
            (How::Lerp(factor), Some(alpha)) => (alpha.used(), factor),
            // An interpolation is built with its step size.
            (How::Lerp(_), None) => return h + x,
        };
        let keep = alpha.clone().neg().add_scalar(1.0);
        let (keep, alpha) = match factor {
            LerpFactor::One => (keep, alpha),
            LerpFactor::SecondMoment => {
                let size = (alpha.clone().square() + keep.clone().square()).sqrt();
                (keep / size.clone(), alpha / size)
            }
        };
        interpolate(h, x, keep, alpha)
    }
}

/// The second component of the stream at a branch, which reads `scale * h + norm(y)`.
#[derive(Module, Debug)]
pub struct Companion {
    /// Learned scale of the first component where both are read.
    pub scale: Option<Gain>,
    /// Normalization of the second component where both are read.
    pub norm: Option<Norm>,
    /// Constant on what the first component takes of the branch.
    #[module(skip)]
    factor: f64,
}

impl Companion {
    fn new(plan: &CompanionPlan, path: &str, d: &Dims, init: Initializer, device: &Device) -> Self {
        let path = format!("{path}.companion.norm");
        let (scale, norm) = (plan.scale.as_ref(), plan.norm.as_ref());
        Self {
            scale: scale.map(|scale| Gain::new(scale, d.model, device)),
            norm: norm.map(|norm| Norm::new(norm, [d.model, d.head], &path, init, device)),
            factor: plan.factor,
        }
    }

    /// What the branch reads, from both components, all `[B, T, D]`.
    fn read(&self, h: Tensor<3>, y: Tensor<3>) -> Tensor<3> {
        let h = match &self.scale {
            Some(scale) => scale.forward(h),
            None => h,
        };
        h + apply(self.norm.as_ref(), y)
    }
}

/// The residual connection around one branch: `after( mix( skip(h), output( branch( input(h) ) ) ) )`, `h = stream(h)` first.
///
/// It needs a [`ResidualPlan`] and the sizes of a model. Its parameters are those of its normalizations, as `input.gain.value`,
/// and of its [`Mix`], as `mix.alpha.value`.
#[derive(Module, Debug)]
pub struct Residual {
    /// Normalization of the stream before it splits into skip and branch.
    pub stream: Option<Norm>,
    /// The stream's second component, where there is one.
    pub companion: Option<Companion>,
    /// Normalization of what the branch reads.
    pub input: Option<Norm>,
    /// Normalization of what the branch writes.
    pub output: Option<Norm>,
    /// Normalization of the skip connection.
    pub skip: Option<Norm>,
    /// How skip and branch join.
    pub mix: Mix,
    /// Normalization of the result.
    pub after: Option<Norm>,
}

/// Applies a normalization where there is one.
pub(super) fn apply(norm: Option<&Norm>, x: Tensor<3>) -> Tensor<3> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

impl Residual {
    /// Carries out a residual plan on a stream of `d.model` channels; matrices of its normalizations depend on the
    /// initializer and on `path`, its name.
    pub fn new(
        plan: &ResidualPlan,
        path: &str,
        d: &Dims,
        init: Initializer,
        device: &Device,
    ) -> Self {
        let norm = |name: &str, plan: &Option<NormPlan>| {
            let path = format!("{path}.{name}");
            let plan = plan.as_ref();
            plan.map(|plan| Norm::new(plan, [d.model, d.head], &path, init, device))
        };
        let companion = plan.companion.as_ref();
        Self {
            stream: norm("stream", &plan.stream),
            companion: companion.map(|plan| Companion::new(plan, path, d, init, device)),
            input: norm("input", &plan.input),
            output: norm("output", &plan.output),
            skip: norm("skip", &plan.skip),
            mix: Mix::new(&plan.mix, &format!("{path}.mix"), d.model, init, device),
            after: norm("after", &plan.after),
        }
    }

    /// The stream behind `branch`, for a stream of one component.
    ///
    /// # Shapes
    /// - `h`: `[B, T, D]`
    /// - `branch`: `[B, T, D] -> [B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, h: Tensor<3>, branch: impl FnOnce(Tensor<3>) -> Tensor<3>) -> Tensor<3> {
        self.carry(h.into(), branch).h
    }

    /// The stream behind `branch`: both components, where it has two.
    pub fn carry(&self, stream: Stream, branch: impl FnOnce(Tensor<3>) -> Tensor<3>) -> Stream {
        self.watched(stream, None, branch)
    }

    /// The same; the normalization of the branch's input notes in `watch` what its schedule measures.
    pub(crate) fn watched(
        &self,
        stream: Stream,
        watch: Option<&Watch>,
        branch: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Stream {
        let h = apply(self.stream.as_ref(), stream.h);
        let beside = self.companion.as_ref().zip(stream.companion);
        let read = match &beside {
            Some((plan, y)) => plan.read(h.clone(), y.clone()),
            None => h.clone(),
        };
        if let (Some(norm), Some(watch)) = (&self.input, watch) {
            norm.watched(&read, watch);
        }
        let x = branch(apply(self.input.as_ref(), read));
        let x = apply(self.output.as_ref(), x);
        let (x, companion) = match beside {
            Some((plan, y)) => (scaled(x.clone(), plan.factor), Some(y + x)),
            None => (x, None),
        };
        let h = apply(self.skip.as_ref(), h);
        let h = apply(self.after.as_ref(), self.mix.forward(h, x));
        Stream { h, companion }
    }
}
