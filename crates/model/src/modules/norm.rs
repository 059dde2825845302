//! Normalization of the last dimension.

use super::projection::scaled;
use super::{Arrays, Gain, Watch};
use crate::function::{Around, Function, Moment};
use crate::init::Initializer;
use crate::plan::{NormPlan, Over};
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param,
};
use burn::tensor::{Device, Tensor};
use evenburn_kernels::{Normalization, normalize};
use std::fmt;

/// A normalization layer, `factor * f(x; gain) + bias`, over all channels or head by head.
///
/// It needs no plan of a model: [`NormPlan::init`] makes one for any Burn module. Its parameters are `gain.value` (and
/// `gain.magnitude`, where the gain's form has one), the arrays of its function by their own names, and `bias`.
#[derive(Debug, Clone)]
pub struct Norm {
    /// Learned scale.
    pub gain: Option<Gain>,
    /// Learned arrays of its function.
    pub arrays: Arrays,
    /// Learned vector that is added last.
    pub bias: Option<Param<Tensor<1>>>,
    factor: f64,
    eps: f64,
    /// Channels that are normalized together.
    group: usize,
    over: Over,
    function: Function,
}

impl NormPlan {
    /// A layer at its initial values for vectors of `width` channels, split into heads of `head` channels where the plan is
    /// [per head](Over::PerHead).
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use evenburn_model::plan::NormPlan;
    /// let device = Device::flex();
    /// let norm = NormPlan::unit().per_head().init(4, 2, &device);
    /// let y = norm.forward(Tensor::<2>::from_floats([[3.0, 4.0, 0.0, -2.0]], &device));
    /// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
    /// for (y, expected) in y.into_iter().zip([0.6, 0.8, 0.0, -1.0]) {
    ///     assert!((y - expected).abs() < 1e-6);
    /// }
    /// # Ok::<(), String>(())
    /// ```
    pub fn init(&self, width: usize, head: usize, device: &Device) -> Norm {
        Norm::new(self, [width, head], "norm", Initializer::new(0), device)
    }

    /// A layer at its initial values for vectors of `width` channels that are not split into heads.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use evenburn_model::plan::{GainRole, NormPlan};
    /// let device = Device::flex();
    /// let norm = NormPlan::rms(1e-5, GainRole::Input).init_full(8, &device);
    /// assert_eq!(norm.forward(Tensor::<3>::ones([2, 3, 8], &device)).dims(), [2, 3, 8]);
    /// ```
    pub fn init_full(&self, width: usize, device: &Device) -> Norm {
        self.init(width, width, device)
    }
}

impl Norm {
    /// A layer as a part of a model, for vectors of `width` channels and heads of `head`; matrices of its function depend on
    /// the initializer and on `path`, its name.
    pub fn new(
        plan: &NormPlan,
        [width, head]: [usize; 2],
        path: &str,
        init: Initializer,
        device: &Device,
    ) -> Self {
        let group = match plan.over {
            Over::Full => width,
            Over::PerHead => head,
        };
        let decay = plan.gain.as_ref().is_some_and(|gain| gain.decay);
        Self {
            gain: plan.gain.as_ref().map(|g| Gain::new(g, group, device)),
            arrays: Arrays::new(&plan.function.arrays(group, decay), path, init, device),
            bias: plan
                .bias
                .map(|_| Param::from_tensor(Tensor::zeros([group], device))),
            factor: plan.factor,
            eps: plan.eps,
            group,
            over: plan.over,
            function: plan.function.clone(),
        }
    }

    /// What fused operations call this normalization, if it is one that they know and nothing comes after it.
    #[allow(clippy::float_cmp)]
    pub(super) fn fused(&self) -> Option<Normalization> {
        let size = self.function.fused()?;
        let (gain, rest) = self.scale();
        (rest == 1.0 && self.bias.is_none()).then_some(Normalization {
            gain,
            size,
            eps: self.eps,
            group: self.group,
        })
    }

    /// The gain, with the factor in it where the gain comes last, and what is left of the factor.
    fn scale(&self) -> (Option<Tensor<1>>, f64) {
        match &self.gain {
            Some(gain) if self.function.gain_is_last() => {
                (Some(scaled(gain.used(), self.factor)), 1.0)
            }
            gain => (gain.as_ref().map(Gain::used), self.factor),
        }
    }

    /// Normalizes the last dimension of `x`.
    ///
    /// # Shapes
    /// - `x`: `[.., width]`; a layer per head takes any number of heads, `[.., heads head]`
    /// - output: that of `x`
    ///
    /// # Panics
    /// If `x` has another width than the layer was made for.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (gain, rest) = self.scale();
        let shape = x.shape();
        self.check_width(shape[D - 1]);
        let groups = [shape.num_elements() / self.group, self.group];
        let y = if let Some(size) = self.function.fused() {
            normalize(x, gain, size, self.eps, self.group)
        } else {
            let around = Around {
                gain,
                eps: self.eps,
                arrays: &self.arrays,
            };
            let y = self.function.forward(x.reshape(groups), &around);
            y.reshape(shape.clone())
        };
        let y = scaled(y, rest);
        match &self.bias {
            Some(bias) => {
                let y: Tensor<2> = y.reshape(groups);
                (y + bias.val().unsqueeze()).reshape(shape)
            }
            None => y,
        }
    }

    fn check_width(&self, width: usize) {
        let group = self.group;
        match self.over {
            Over::Full => assert!(
                width == group,
                "a normalization of {group} channels was given vectors of {width}"
            ),
            Over::PerHead => assert!(
                width.is_multiple_of(group),
                "a normalization of heads of {group} channels was given vectors of {width}"
            ),
        }
    }

    /// Notes what the function measures of `x`, shape `[.., width]`, and what it adds to the loss.
    pub(crate) fn watched<const D: usize>(&self, x: &Tensor<D>, watch: &Watch) {
        let Some(scheduled) = self.function.scheduled() else {
            return;
        };
        let groups = [x.shape().num_elements() / self.group, self.group];
        let x: Tensor<2> = x.clone().reshape(groups);
        let around = Around {
            gain: self.gain.as_ref().map(Gain::used),
            eps: self.eps,
            arrays: &self.arrays,
        };
        if scheduled.measures(watch.at()) {
            watch.measure(scheduled.measured(x.clone().detach(), &around).detach());
        }
        if let Some(penalty) = scheduled.penalty(watch.at(), x, &around) {
            watch.add(penalty);
        }
    }

    /// The same layer after the step that ends at `at`, with what that measured where it did; and its metric.
    pub(crate) fn after_step<'m>(
        mut self,
        at: Moment,
        measured: &mut impl Iterator<Item = &'m Vec<f64>>,
        metric: &mut Option<(&'static str, f64)>,
    ) -> Self {
        let function = self.function.clone();
        let Some(scheduled) = function.scheduled() else {
            return self;
        };
        let before = Moment {
            step: at.step.saturating_sub(1),
            ..at
        };
        let measured = if scheduled.measures(before) {
            measured.next().map_or(&[][..], Vec::as_slice)
        } else {
            &[]
        };
        let new = {
            let gain = || self.gain.as_ref().map_or_else(Vec::new, |g| host(g.used()));
            let arrays = |name: &str| match name {
                "gain" => gain(),
                name => host(self.arrays.vector(name)),
            };
            scheduled.after_step(at, &arrays, measured)
        };
        for (name, values) in new {
            self.arrays = self.arrays.with(name, &values);
        }
        if metric.is_none() {
            *metric = scheduled.metric(at);
        }
        self
    }

    /// The same layer with each of its modules changed by a function of its own type.
    fn each(
        self,
        gain: impl FnOnce(Option<Gain>) -> Option<Gain>,
        arrays: impl FnOnce(Arrays) -> Arrays,
        bias: impl FnOnce(Option<Param<Tensor<1>>>) -> Option<Param<Tensor<1>>>,
    ) -> Self {
        Self {
            gain: gain(self.gain),
            arrays: arrays(self.arrays),
            bias: bias(self.bias),
            ..self
        }
    }
}

/// The entries of a vector; none where a device can't hand them over, and then the next read fails too.
fn host(values: Tensor<1>) -> Vec<f64> {
    let values = values.into_data().convert::<f64>();
    values.try_to_vec().unwrap_or_default()
}

/// What visitors are told of the container.
const CONTAINER: &str = "Struct:Norm";

// By hand, so that the arrays of a function stand beside the gain under their own names.
impl Module for Norm {
    fn collect_devices(&self, devices: Devices) -> Devices {
        let devices = self.gain.collect_devices(devices);
        let devices = self.arrays.collect_devices(devices);
        self.bias.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.each(|m| m.fork(device), |m| m.fork(device), |m| m.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.each(
            |m| m.to_device(device),
            |m| m.to_device(device),
            |m| m.to_device(device),
        )
    }

    fn train(self) -> Self {
        self.each(Module::train, Module::train, Module::train)
    }

    fn valid(&self) -> Self {
        self.clone()
            .each(|m| m.valid(), |m| m.valid(), |m| m.valid())
    }

    fn materialize(self) -> Self {
        self.each(
            Module::materialize,
            Module::materialize,
            Module::materialize,
        )
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.enter_module("gain", CONTAINER);
        self.gain.visit(visitor);
        visitor.exit_module("gain", CONTAINER);
        self.arrays.visit(visitor);
        visitor.enter_module("bias", CONTAINER);
        self.bias.visit(visitor);
        visitor.exit_module("bias", CONTAINER);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        mapper.enter_module("gain", CONTAINER);
        let gain = Module::map(self.gain, mapper);
        mapper.exit_module("gain", CONTAINER);
        let arrays = self.arrays.map(mapper);
        mapper.enter_module("bias", CONTAINER);
        let bias = Module::map(self.bias, mapper);
        mapper.exit_module("bias", CONTAINER);
        Self {
            gain,
            arrays,
            bias,
            ..self
        }
    }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(burn::module::DisplaySettings::default()))
    }
}

impl ModuleDisplayDefault for Norm {
    fn content(&self, content: Content) -> Option<Content> {
        content
            .add("gain", &self.gain)
            .add("arrays", &self.arrays)
            .add("bias", &self.bias)
            .optional()
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl ModuleDisplay for Norm {}
