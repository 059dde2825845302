//! A step of a whole module, in two passes: one gathers the matrices of a shape and orthogonalizes them in one batch, one
//! steps every parameter.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};

use crate::matrices::batched;
use crate::param_step::{
    Prepared, finish, from_matrices, matrices, prepare, step_by_own_rule, step_by_parts,
};
use crate::parts::{Orthogonal, Scaled, orthogonalize};
use crate::state::ParamState;
use crate::value::replace;
use crate::{Rule, Update};

/// Most entries that one batched product works on. The products hold about four times as much at
/// once: half a gigabyte in `f32`, which bounds the memory of a step whatever the model's size.
const MAX_BATCH: usize = 1 << 25;

/// What both passes read and change.
pub(crate) struct StepContext<'a> {
    pub(crate) rules: &'a BTreeMap<String, Rule>,
    pub(crate) states: &'a mut BTreeMap<String, ParamState>,
    pub(crate) grads: &'a mut GradientsParams,
    /// Clip factors by group.
    pub(crate) clip: &'a BTreeMap<String, f64>,
    /// The schedule's factor.
    pub(crate) factor: f64,
}

impl StepContext<'_> {
    fn clip_of(&self, rule: &Rule) -> f64 {
        self.clip.get(&rule.group).copied().unwrap_or(1.0)
    }

    /// What a parameter's step is made from, `None` for a frozen one.
    fn take<const D: usize>(
        &mut self,
        path: &str,
        param: &Param<Tensor<D>>,
    ) -> Option<(Tensor<3>, ParamState)> {
        let grad = self.grads.remove::<D>(param.id)?.inner();
        let grad = grad.reshape(batched(&param.dims()));
        let state = self.states.remove(path);
        Some((
            grad,
            state.unwrap_or_else(|| ParamState::new(&param.dims(), 0)),
        ))
    }
}

/// Directions of matrices from the first pass, by path.
pub(crate) type Directions = BTreeMap<String, Prepared>;

/// A parameter's path, its direction as matrices, and how many heads they are.
struct Gathered {
    path: String,
    prepared: Prepared,
    heads: usize,
}

/// Matrices of one shape, orthogonalized together.
struct SameShape {
    /// With one head: each parameter's are matrices of their own by now.
    how: Orthogonal,
    matrix: [usize; 2],
    dtype: DType,
    device: Device,
    members: Vec<Gathered>,
}

/// Prepares every matrix that is orthogonalized, and sorts them by shape.
pub(crate) struct GatherMatrices<'a, 'b> {
    path: Vec<String>,
    context: &'a mut StepContext<'b>,
    groups: Vec<SameShape>,
}

impl<'a, 'b> GatherMatrices<'a, 'b> {
    /// The orthogonalized direction of every matrix that has one.
    pub(crate) fn directions<M: Module>(
        module: &M,
        context: &'a mut StepContext<'b>,
    ) -> Directions {
        let mut gather = Self {
            path: Vec::new(),
            context,
            groups: Vec::new(),
        };
        module.visit(&mut gather);
        let mut directions = Directions::new();
        for group in gather.groups {
            group.orthogonalize(&mut directions);
        }
        directions
    }
}

impl ModuleVisitor for GatherMatrices<'_, '_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let Some(rule) = self.context.rules.get(&path) else {
            return;
        };
        let Some(parts) = rule.update.composition() else {
            return;
        };
        let Some(how) = parts.orthogonal() else {
            return;
        };
        let Some((grad, mut state)) = self.context.take(&path, param) else {
            return;
        };
        let (rate, clip) = (rule.lr * self.context.factor, self.context.clip_of(rule));
        let value = || value(param);
        let mut prepared = prepare(rule, parts, value, grad, clip, rate, &mut state);
        self.context.states.insert(path.clone(), state);

        let heads = how.heads;
        let how = Orthogonal { heads: 1, ..*how };
        let direction = matrices(prepared.direction.tensor, heads);
        let [_, rows, columns] = direction.dims();
        let (matrix, dtype, device) = ([rows, columns], direction.dtype(), direction.device());
        prepared.direction.tensor = direction;
        let member = Gathered {
            path,
            prepared,
            heads,
        };
        let group = self
            .groups
            .iter_mut()
            .find(|g| g.how == how && g.matrix == matrix && g.dtype == dtype && g.device == device);
        match group {
            Some(group) => group.members.push(member),
            None => self.groups.push(SameShape {
                how,
                matrix,
                dtype,
                device,
                members: vec![member],
            }),
        }
    }
}

impl SameShape {
    /// As many matrices at once as [`MAX_BATCH`] allows, at least one parameter's.
    fn orthogonalize(self, directions: &mut Directions) {
        let Self {
            how,
            matrix: [rows, columns],
            members,
            ..
        } = self;
        let room = (MAX_BATCH / (rows * columns).max(1)).max(1);
        let mut batch: Vec<Gathered> = Vec::new();
        let mut filled = 0;
        for member in members {
            let [n, _, _] = member.prepared.direction.tensor.dims();
            if !batch.is_empty() && filled + n > room {
                together(&how, std::mem::take(&mut batch), directions);
                filled = 0;
            }
            filled += n;
            batch.push(member);
        }
        together(&how, batch, directions);
    }
}

fn together(how: &Orthogonal, batch: Vec<Gathered>, directions: &mut Directions) {
    let tensors: Vec<Tensor<3>> = batch
        .iter()
        .map(|member| member.prepared.direction.tensor.clone())
        .collect();
    let whole = orthogonalize(Tensor::cat(tensors, 0), how);
    let mut start = 0;
    for member in batch {
        let Gathered {
            path,
            mut prepared,
            heads,
        } = member;
        let [n, _, _] = prepared.direction.tensor.dims();
        let tensor = whole.clone().slice(start..start + n);
        prepared.direction = Scaled {
            tensor: from_matrices(tensor, heads),
            scale: 1.0,
        };
        start += n;
        directions.insert(path, prepared);
    }
}

/// Steps every parameter, those of the first pass by the direction they have.
pub(crate) struct ApplySteps<'a, 'b> {
    path: Vec<String>,
    context: &'a mut StepContext<'b>,
    directions: Directions,
    /// The first parameter whose step failed, and why; those behind it stay as they are.
    pub(crate) failed: Option<(String, String)>,
}

impl<'a, 'b> ApplySteps<'a, 'b> {
    pub(crate) fn new(context: &'a mut StepContext<'b>, directions: Directions) -> Self {
        Self {
            path: Vec::new(),
            context,
            directions,
            failed: None,
        }
    }
}

impl ModuleMapper for ApplySteps<'_, '_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let rule = self.context.rules.get(&path);
        let Some(rule) = rule.filter(|_| self.failed.is_none()) else {
            return param;
        };
        let (rate, clip) = (rule.lr * self.context.factor, self.context.clip_of(rule));
        // Frozen parameters have no gradient, and stay as they are.
        let gathered = self.directions.remove(&path);
        let (param, state) =
            if let Some((prepared, parts)) = gathered.zip(rule.update.composition()) {
                let Some(mut state) = self.context.states.remove(&path) else {
                    return param;
                };
                let stepped = stepped(param, |w| {
                    finish(rule, parts, w, prepared, rate, &mut state)
                });
                (stepped, state)
            } else {
                let Some((grad, mut state)) = self.context.take(&path, &param) else {
                    return param;
                };
                let stepped = match &rule.update {
                    Update::Parts(parts) => stepped(param, |w| {
                        step_by_parts(rule, parts, w, grad, clip, rate, &mut state)
                    }),
                    Update::Own(own) => stepped(param, |w| {
                        let before = w.clone();
                        step_by_own_rule(rule, own, w, grad, clip, rate, &mut state).unwrap_or_else(
                            |reason| {
                                self.failed = Some((path.clone(), reason));
                                before
                            },
                        )
                    }),
                };
                (stepped, state)
            };
        self.context.states.insert(path, state);
        param
    }
}

/// A parameter whose value, as a batch of matrices, was replaced.
fn stepped<const D: usize>(
    param: Param<Tensor<D>>,
    step: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Param<Tensor<D>> {
    replace(param, |w| {
        let shape = w.dims();
        step(w.reshape(batched(&shape))).reshape(shape)
    })
}

/// A parameter's value outside of the autodiff graph, as a batch of matrices.
fn value<const D: usize>(param: &Param<Tensor<D>>) -> Tensor<3> {
    let value = param.val();
    let shape = batched(&value.dims());
    let value = if value.is_autodiff() {
        value.inner()
    } else {
        value
    };
    value.reshape(shape)
}
