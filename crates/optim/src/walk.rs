//! The two walks of a step over the module: one gathers the matrices that are orthogonalized
//! together, one applies every parameter's direction.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};

use crate::slot::{Slot, update};
use crate::update::{Direction, apply};
use crate::{Muon, Recipe, Rule, muon};

/// Most entries that one batched Newton–Schulz product works on. The products hold about four
/// times as much at once: half a gigabyte in `f32`, which bounds the memory of a step whatever
/// the model's size.
const MAX_BATCH: usize = 1 << 25;

/// What both walks share.
pub(crate) struct Walk<'a> {
    pub(crate) rules: &'a BTreeMap<String, Rule>,
    pub(crate) slots: &'a mut BTreeMap<String, Slot>,
    pub(crate) grads: &'a mut GradientsParams,
    /// The clip factor.
    pub(crate) grad_scale: f64,
    /// The schedule's factor.
    pub(crate) factor: f64,
}

/// Directions of matrices, by path.
type Directions = BTreeMap<String, Direction<3>>;

/// Matrices of one shape, orthogonalized together.
struct Group {
    muon: Muon,
    matrix: [usize; 2],
    dtype: DType,
    device: Device,
    /// Path and velocity `[N, In, Out]` of each parameter.
    members: Vec<(String, Tensor<3>)>,
}

/// Steps the momentum of every matrix that Muon trains, and sorts them by shape.
pub(crate) struct Gather<'a, 'b> {
    path: Vec<String>,
    walk: &'a mut Walk<'b>,
    groups: Vec<Group>,
}

impl<'a, 'b> Gather<'a, 'b> {
    /// The orthogonalized direction of every matrix that Muon trains.
    pub(crate) fn directions<M: Module>(module: &M, walk: &'a mut Walk<'b>) -> Directions {
        let mut gather = Self {
            path: Vec::new(),
            walk,
            groups: Vec::new(),
        };
        module.visit(&mut gather);
        orthogonalized(gather.groups)
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
        let Some(Recipe::Muon(muon)) = self.walk.rules.get(&path).map(|r| r.recipe) else {
            return;
        };
        let Some(matrices) = muon::as_matrices(&param.shape()) else {
            return;
        };
        let Some(grad) = self.walk.grads.remove::<D>(param.id).map(Tensor::inner) else {
            return;
        };
        let slot = self.walk.slots.remove(&path);
        let t = slot.as_ref().map_or(0, |slot| slot.t);
        let momentum = slot.map(|slot| slot.into_momentum(grad.dims()));
        let (u, momentum) = muon.velocity(grad, self.walk.grad_scale, momentum);
        let slot = Slot::of_momentum(momentum, t.saturating_add(1));
        self.walk.slots.insert(path.clone(), slot);

        let [_, input, output] = matrices;
        let (matrix, dtype, device) = ([input, output], u.dtype(), u.device());
        let member = (path, u.reshape(matrices));
        let group = self.groups.iter_mut().find(|g| {
            g.muon == muon && g.matrix == matrix && g.dtype == dtype && g.device == device
        });
        match group {
            Some(group) => group.members.push(member),
            None => self.groups.push(Group {
                muon,
                matrix,
                dtype,
                device,
                members: vec![member],
            }),
        }
    }
}

fn orthogonalized(groups: Vec<Group>) -> Directions {
    let mut directions = Directions::new();
    for group in groups {
        let [input, output] = group.matrix;
        let room = (MAX_BATCH / (input * output).max(1)).max(1);
        let mut batch: Vec<(String, Tensor<3>)> = Vec::new();
        let mut filled = 0;
        for member in group.members {
            let [n, _, _] = member.1.dims();
            if !batch.is_empty() && filled + n > room {
                orthogonalize_batch(&group.muon, std::mem::take(&mut batch), &mut directions);
                filled = 0;
            }
            filled += n;
            batch.push(member);
        }
        orthogonalize_batch(&group.muon, batch, &mut directions);
    }
    directions
}

fn orthogonalize_batch(muon: &Muon, batch: Vec<(String, Tensor<3>)>, directions: &mut Directions) {
    let (paths, velocities): (Vec<String>, Vec<Tensor<3>>) = batch.into_iter().unzip();
    let counts: Vec<usize> = velocities.iter().map(|u| u.dims()[0]).collect();
    let Direction { tensor, scale } = muon.direction(Tensor::cat(velocities, 0));
    let mut start = 0;
    for (path, n) in paths.into_iter().zip(counts) {
        let tensor = tensor.clone().slice(start..start + n);
        directions.insert(path, Direction { tensor, scale });
        start += n;
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

    fn direction<const D: usize>(
        &mut self,
        path: &str,
        recipe: Recipe,
        param: &Param<Tensor<D>>,
    ) -> Option<Direction<D>> {
        match recipe {
            Recipe::AdamW(adam) | Recipe::Adam(adam) => {
                let grad = self.walk.grads.remove::<D>(param.id)?.inner();
                let slot = self.walk.slots.remove(path);
                let moments = slot.and_then(|slot| slot.into_moments(grad.dims()));
                let (direction, moments) = adam.direction(grad, self.walk.grad_scale, moments);
                let slot = Slot::of_moments(moments);
                self.walk.slots.insert(path.to_owned(), slot);
                Some(direction)
            }
            Recipe::Muon(_) => {
                let Direction { tensor, scale } = self.directions.remove(path)?;
                let tensor = tensor.reshape(param.shape());
                Some(Direction { tensor, scale })
            }
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
        // Frozen parameters have no gradient, and stay as they are.
        let Some(direction) = self.direction(&path, rule.recipe, &param) else {
            return param;
        };
        let lr = rule.lr * self.walk.factor;
        update(param, |w| {
            apply(w, direction, lr, rule.weight_decay, rule.constraint)
        })
    }
}
