//! The two walks of a step over the module: one gathers the matrices that are orthogonalized
//! together, one applies every parameter's direction.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};

use crate::Rule;
use crate::matrices::batched;
use crate::parts::{Orthogonal, Scaled, orthogonalize};
use crate::slot::{Slot, update};
use crate::step::{Prepared, alone, finish, from_matrices, matrices, prepare};

/// Most entries that one batched product works on. The products hold about four times as much at
/// once: half a gigabyte in `f32`, which bounds the memory of a step whatever the model's size.
const MAX_BATCH: usize = 1 << 25;

/// What both walks share.
pub(crate) struct Walk<'a> {
    pub(crate) rules: &'a BTreeMap<String, Rule>,
    pub(crate) slots: &'a mut BTreeMap<String, Slot>,
    pub(crate) grads: &'a mut GradientsParams,
    /// Clip factors by group.
    pub(crate) clip: &'a BTreeMap<String, f64>,
    /// The schedule's factor.
    pub(crate) factor: f64,
}

impl Walk<'_> {
    fn clip_of(&self, rule: &Rule) -> f64 {
        self.clip.get(&rule.group).copied().unwrap_or(1.0)
    }

    /// What a parameter's step is made from, `None` for a frozen one.
    fn take<const D: usize>(
        &mut self,
        path: &str,
        param: &Param<Tensor<D>>,
    ) -> Option<(Tensor<3>, Slot)> {
        let grad = self.grads.remove::<D>(param.id)?.inner();
        let grad = grad.reshape(batched(&param.dims()));
        let slot = self.slots.remove(path);
        Some((grad, slot.unwrap_or_else(|| Slot::new(&param.dims(), 0))))
    }
}

/// Directions of matrices that went through the first walk, by path.
pub(crate) type Directions = BTreeMap<String, Prepared>;

/// A parameter's path, its direction as matrices, and how many heads they are.
struct Member {
    path: String,
    prepared: Prepared,
    heads: usize,
}

/// Matrices of one shape, orthogonalized together.
struct Group {
    /// Its heads are the members' own affair.
    how: Orthogonal,
    matrix: [usize; 2],
    dtype: DType,
    device: Device,
    members: Vec<Member>,
}

/// Prepares every matrix that is orthogonalized, and sorts them by shape.
pub(crate) struct Gather<'a, 'b> {
    path: Vec<String>,
    walk: &'a mut Walk<'b>,
    groups: Vec<Group>,
}

impl<'a, 'b> Gather<'a, 'b> {
    /// The orthogonalized direction of every matrix that has one.
    pub(crate) fn directions<M: Module>(module: &M, walk: &'a mut Walk<'b>) -> Directions {
        let mut gather = Self {
            path: Vec::new(),
            walk,
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

impl ModuleVisitor for Gather<'_, '_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let Some(rule) = self.walk.rules.get(&path) else {
            return;
        };
        let Some(how) = rule.recipe.orthogonal() else {
            return;
        };
        let Some((grad, mut slot)) = self.walk.take(&path, param) else {
            return;
        };
        let (rate, clip) = (rule.lr * self.walk.factor, self.walk.clip_of(rule));
        let mut prepared = prepare(rule, || value(param), grad, clip, rate, &mut slot);
        self.walk.slots.insert(path.clone(), slot);

        let heads = how.heads;
        let how = Orthogonal { heads: 1, ..*how };
        let direction = matrices(prepared.direction.tensor, heads);
        let [_, rows, columns] = direction.dims();
        let (matrix, dtype, device) = ([rows, columns], direction.dtype(), direction.device());
        prepared.direction.tensor = direction;
        let member = Member {
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
            None => self.groups.push(Group {
                how,
                matrix,
                dtype,
                device,
                members: vec![member],
            }),
        }
    }
}

impl Group {
    /// As many matrices at once as [`MAX_BATCH`] allows, at least one parameter's.
    fn orthogonalize(self, directions: &mut Directions) {
        let Self {
            how,
            matrix: [rows, columns],
            members,
            ..
        } = self;
        let room = (MAX_BATCH / (rows * columns).max(1)).max(1);
        let mut batch: Vec<Member> = Vec::new();
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

fn together(how: &Orthogonal, batch: Vec<Member>, directions: &mut Directions) {
    let tensors: Vec<Tensor<3>> = batch
        .iter()
        .map(|member| member.prepared.direction.tensor.clone())
        .collect();
    let whole = orthogonalize(Tensor::cat(tensors, 0), how);
    let mut start = 0;
    for member in batch {
        let Member {
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

/// Applies every parameter's direction.
pub(crate) struct Stepper<'a, 'b> {
    path: Vec<String>,
    walk: &'a mut Walk<'b>,
    directions: Directions,
}

impl<'a, 'b> Stepper<'a, 'b> {
    pub(crate) fn new(walk: &'a mut Walk<'b>, directions: Directions) -> Self {
        Self {
            path: Vec::new(),
            walk,
            directions,
        }
    }
}

impl ModuleMapper for Stepper<'_, '_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let Some(rule) = self.walk.rules.get(&path) else {
            return param;
        };
        let (rate, clip) = (rule.lr * self.walk.factor, self.walk.clip_of(rule));
        // Frozen parameters have no gradient, and stay as they are.
        let (param, slot) = if let Some(prepared) = self.directions.remove(&path) {
            let Some(mut slot) = self.walk.slots.remove(&path) else {
                return param;
            };
            let stepped = stepped(param, |w| finish(rule, w, prepared, rate, &mut slot));
            (stepped, slot)
        } else {
            let Some((grad, mut slot)) = self.walk.take(&path, &param) else {
                return param;
            };
            let stepped = stepped(param, |w| alone(rule, w, grad, clip, rate, &mut slot));
            (stepped, slot)
        };
        self.walk.slots.insert(path, slot);
        param
    }
}

/// A parameter whose value, as a batch of matrices, was replaced.
fn stepped<const D: usize>(
    param: Param<Tensor<D>>,
    step: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Param<Tensor<D>> {
    update(param, |w| {
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
