//! The engine: every parameter of a module, stepped together.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::TensorData;

use crate::module_step::{ApplySteps, GatherMatrices, StepContext};
use crate::parameters::{self, Parameter};
use crate::state::ParamState;
use crate::{Clip, Counts, OptimError, Rule};

/// Steps every parameter of a module by the rule of its path.
///
/// Parameters are known by their exact path (the names on the way to them joined by dots, such as
/// `blocks.0.attn.q.weight`), never by id or position, so neither a reload nor a reordering of
/// the module changes what happens to them. The engine owns the whole optimizer state, which has
/// each parameter's dtype and device.
///
/// ```
/// use std::collections::BTreeMap;
/// use burn::nn::LinearConfig;
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Tensor};
/// use evenburn_geometry::{Axis, Constraint};
/// use evenburn_optim::{Adam, Clip, Engine, Composition, Rule};
///
/// let device = Device::flex().autodiff();
/// let linear = LinearConfig::new(4, 3).with_bias(false).init(&device);
/// let rule = Rule {
///     group: "matrices".into(),
///     update: Composition::adam(Adam::default()).into(),
///     lr: 1e-2,
///     weight_decay: 0.0,
///     constraint: Constraint::AtMost { along: Axis::In, radius: 1.0 },
/// };
/// let rules = BTreeMap::from([("weight".to_owned(), rule)]);
/// let mut engine = Engine::new(rules, Clip::All { max: 1.0 });
///
/// let loss = linear.forward(Tensor::<2>::ones([1, 4], &device)).square().sum();
/// let grads = GradientsParams::from_grads(loss.backward(), &linear);
/// let (linear, report) = engine.step(linear, grads, 1.0)?;
/// assert!(report.grad_norm > 0.0 && report.clip_factor() <= 1.0);
/// # let _ = linear;
/// # Ok::<(), evenburn_optim::OptimError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) rules: BTreeMap<String, Rule>,
    clip: Clip,
    pub(crate) states: BTreeMap<String, ParamState>,
    pub(crate) step: u64,
    /// The parameters it steps, where it leaves others to other engines.
    pub(crate) owned: Option<BTreeSet<String>>,
}

/// What one step found.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// The norm over all gradients together, before clipping.
    pub grad_norm: f64,
    /// The groups by name.
    pub groups: BTreeMap<String, GroupReport>,
}

/// What one step found in a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupReport {
    /// The norm over the group's gradients together, before clipping.
    pub grad_norm: f64,
    /// What they were multiplied by, `min(1, max / (norm + 1e-6))`.
    pub clip_factor: f64,
}

impl StepReport {
    /// The smallest factor that gradients were multiplied by.
    pub fn clip_factor(&self) -> f64 {
        let factors = self.groups.values().map(|group| group.clip_factor);
        factors.fold(1.0, f64::min)
    }
}

impl Engine {
    /// An engine without state, from one rule per exact parameter path.
    pub fn new(rules: BTreeMap<String, Rule>, clip: Clip) -> Self {
        Self {
            rules,
            clip,
            states: BTreeMap::new(),
            step: 0,
            owned: None,
        }
    }

    /// Leaves every parameter but these to engines elsewhere, which step the same module: the state of the others is dropped here, and
    /// not missed where state is loaded. A step then is [`squares`](Self::squares) here, [`report`](Self::report) with those
    /// of all engines, and [`apply`](Self::apply).
    ///
    /// ```
    /// use std::collections::{BTreeMap, BTreeSet};
    /// use burn::nn::LinearConfig;
    /// use burn::optim::GradientsParams;
    /// use burn::tensor::{Device, Tensor};
    /// use evenburn_geometry::Constraint;
    /// use evenburn_optim::{Adam, Clip, Composition, Engine, Rule};
    ///
    /// let device = Device::flex().autodiff();
    /// let linear = LinearConfig::new(4, 3).init(&device);
    /// let rule = Rule {
    ///     group: "all".into(),
    ///     update: Composition::adam(Adam::default()).into(),
    ///     lr: 1e-2,
    ///     weight_decay: 0.0,
    ///     constraint: Constraint::Free,
    /// };
    /// let rules = BTreeMap::from(["weight", "bias"].map(|path| (path.to_owned(), rule.clone())));
    /// let whole = Engine::new(rules, Clip::All { max: 1.0 });
    ///
    /// // Two engines have a parameter each, and clip by the norm over both.
    /// let mut parts = ["weight", "bias"].map(|path| {
    ///     let mut engine = whole.clone();
    ///     engine.restrict_to(BTreeSet::from([path.to_owned()]));
    ///     engine
    /// });
    /// let loss = linear.forward(Tensor::<2>::ones([1, 4], &device)).square().sum();
    /// let mut gradients = loss.backward();
    /// let parameters = [linear.weight.id, linear.bias.as_ref().expect("a linear map has one").id];
    /// let own = parameters.map(|id| GradientsParams::from_params(&mut gradients, &linear, &[id]));
    /// let mut squares = BTreeMap::new();
    /// for (engine, gradients) in parts.iter().zip(&own) {
    ///     squares.extend(engine.squares(&linear, gradients)?);
    /// }
    /// assert_eq!(squares.len(), 2);
    /// let mut linear = linear;
    /// for (engine, gradients) in parts.iter_mut().zip(own) {
    ///     let report = engine.report(&linear, &squares)?;
    ///     linear = engine.apply(linear, gradients, &report, 1.0)?;
    /// }
    /// # Ok::<(), evenburn_optim::OptimError>(())
    /// ```
    pub fn restrict_to(&mut self, paths: BTreeSet<String>) {
        self.states.retain(|path, _| paths.contains(path));
        self.owned = Some(paths);
    }

    /// Whether this engine steps a parameter.
    pub(crate) fn owns(&self, path: &str) -> bool {
        self.owned.as_ref().is_none_or(|owned| owned.contains(path))
    }

    /// The rules by path.
    pub fn rules(&self) -> &BTreeMap<String, Rule> {
        &self.rules
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Whether every float parameter of `module` has exactly one rule, every rule a parameter,
    /// and every rule can train its parameter.
    ///
    /// # Errors
    /// [`OptimError::RuleMismatch`] listing what is left over on either side,
    /// [`OptimError::SharedParameter`], [`OptimError::Rule`] or [`OptimError::Constraint`].
    pub fn check<M: Module>(&self, module: &M) -> Result<(), OptimError> {
        parameters::check(&parameters::of(module, None), &self.rules)
    }

    /// Everything that can fail in [`step`](Self::step), and its report, without a change to
    /// anything.
    ///
    /// `step` consumes the module, and loses it on an error; a caller who wants to keep a module
    /// whose gradients are bad asks here first, or steps a clone.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), [`OptimError::MissingGradient`] for parameters that
    /// require a gradient (frozen ones are left alone), [`OptimError::GradientMismatch`],
    /// [`OptimError::NonFiniteGradient`].
    pub fn measure<M: Module>(
        &self,
        module: &M,
        grads: &GradientsParams,
    ) -> Result<StepReport, OptimError> {
        let parameters = parameters::of(module, Some(grads));
        parameters::check(&parameters, &self.rules)?;
        let squares = parameters::squared_norms(&parameters, self.step)?;
        self.report_of(&parameters, &squares)
    }

    /// The squared norm of each gradient there is, by path: what the norms of a step are made of. They may be of a part of the
    /// module; [`report`](Self::report) takes those of all parts, as in the example of [`restrict_to`](Self::restrict_to).
    ///
    /// # Errors
    /// Those of [`check`](Self::check) and [`OptimError::GradientMismatch`].
    pub fn squares<M: Module>(
        &self,
        module: &M,
        grads: &GradientsParams,
    ) -> Result<BTreeMap<String, f64>, OptimError> {
        let parameters = parameters::of(module, Some(grads));
        parameters::check(&parameters, &self.rules)?;
        parameters::squared_norms(&parameters, self.step)
    }

    /// What a step finds whose gradients have these squared norms, wherever they are: the same, to the last bit, as
    /// [`measure`](Self::measure) with all gradients. [`restrict_to`](Self::restrict_to) has an example.
    ///
    /// # Errors
    /// [`OptimError::MissingGradient`], [`OptimError::NonFiniteGradient`].
    pub fn report<M: Module>(
        &self,
        module: &M,
        squares: &BTreeMap<String, f64>,
    ) -> Result<StepReport, OptimError> {
        self.report_of(&parameters::of(module, None), squares)
    }

    fn report_of(
        &self,
        parameters: &[Parameter],
        squares: &BTreeMap<String, f64>,
    ) -> Result<StepReport, OptimError> {
        // In visiting order, in which they are summed.
        let squares = parameters::complete(parameters, squares, self.step)?;
        let grad_norm = squares.iter().map(|(_, square)| square).sum::<f64>().sqrt();
        let mut groups = BTreeMap::<&str, f64>::new();
        for (path, square) in squares {
            *groups.entry(&self.rules[path].group).or_default() += square;
        }
        let groups = groups.into_iter().map(|(name, square)| {
            let norm = square.sqrt();
            let report = GroupReport {
                grad_norm: norm,
                clip_factor: self.clip.factor(grad_norm, norm),
            };
            (name.to_owned(), report)
        });
        Ok(StepReport {
            grad_norm,
            groups: groups.collect(),
        })
    }

    /// One optimizer step: the norms, clipping, each parameter's update at the rate
    /// `rule.lr * factor`, weight decay, projection.
    ///
    /// `grads` holds the sum over the micro-batches of this step, already divided as the loss
    /// asks for. Ids, `require_grad` and checkpointing strategies of the parameters are kept.
    ///
    /// # Errors
    /// Those of [`measure`](Self::measure), and [`OptimError::Factor`]. The engine is then as it
    /// was, and so are the tensors of any clone of the module. [`OptimError::Update`] where the step
    /// of a rule of one's own fails; the engine can't go on then.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        grads: GradientsParams,
        factor: f64,
    ) -> Result<(M, StepReport), OptimError> {
        let report = self.measure(&module, &grads)?;
        let module = self.apply(module, grads, &report, factor)?;
        Ok((module, report))
    }

    /// The part of a step that changes something: each parameter that has a gradient is stepped, clipped as `report` says, as in
    /// the example of [`restrict_to`](Self::restrict_to).
    ///
    /// # Errors
    /// [`OptimError::Factor`], upon which the engine is as it was, and [`OptimError::Update`], after which it can't go on.
    pub fn apply<M: Module>(
        &mut self,
        module: M,
        mut grads: GradientsParams,
        report: &StepReport,
        factor: f64,
    ) -> Result<M, OptimError> {
        if !(factor.is_finite() && factor >= 0.0) {
            let step = self.step;
            return Err(OptimError::Factor { step, factor });
        }
        let clip = report
            .groups
            .iter()
            .map(|(name, group)| (name.clone(), group.clip_factor))
            .collect();
        let mut context = StepContext {
            rules: &self.rules,
            states: &mut self.states,
            grads: &mut grads,
            clip: &clip,
            factor,
        };
        let directions = GatherMatrices::directions(&module, &mut context);
        let mut steps = ApplySteps::new(&mut context, directions);
        let module = module.map(&mut steps);
        if let Some((parameter, reason)) = steps.failed {
            let step = self.step;
            return Err(OptimError::Update {
                step,
                parameter,
                reason,
            });
        }
        self.step += 1;
        Ok(module)
    }

    /// Every state tensor, named `<path>/<name>` (`blocks.0.attn.q.weight/m`), in order of the
    /// paths. [`counts`](Self::counts) is the rest of the state.
    pub fn state(&self) -> Vec<(String, TensorData)> {
        self.states
            .iter()
            .flat_map(|(path, state)| {
                let named = move |(name, data)| (format!("{path}/{name}"), data);
                state.export().into_iter().map(named)
            })
            .collect()
    }

    /// How often the engine and each of its parameters have been stepped.
    pub fn counts(&self) -> Counts {
        let parameters = self
            .states
            .iter()
            .map(|(path, state)| (path.clone(), state.t));
        Counts {
            step: self.step,
            parameters: parameters.collect(),
        }
    }
}
