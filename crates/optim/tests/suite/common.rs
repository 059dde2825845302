//! What the tests share: numbers, tensors, and a module of every rank.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};
use evenburn_geometry::Constraint;
use evenburn_optim::{Adam, Clip, Composition, Engine, Rule, Update};

/// Deterministic numbers in (-1, 1).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub(crate) fn take(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.next()).collect()
    }
}

pub(crate) fn tensor<const D: usize>(values: &[f64], shape: [usize; D], dtype: DType) -> Tensor<D> {
    let data = TensorData::new(values.to_vec(), shape).convert_dtype(dtype);
    Tensor::from_data(data, (&Device::flex(), dtype))
}

pub(crate) fn values<const D: usize>(t: Tensor<D>) -> Vec<f64> {
    t.into_data()
        .convert::<f64>()
        .try_to_vec()
        .expect("the data was just made f64")
}

pub(crate) fn largest_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let errors = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    errors.fold(
        0.0,
        |worst, e| {
            if e.is_nan() { f64::NAN } else { worst.max(e) }
        },
    )
}

#[derive(Module, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
pub(crate) struct Block {
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) gain: Param<Tensor<1>>,
}

/// Paths: `embed.weight`, `blocks.{0,1}.{up.weight,down.weight,gain}`, `experts`, `head.weight`.
#[derive(Module, Debug)]
pub(crate) struct Net {
    pub(crate) embed: Linear,
    pub(crate) blocks: Vec<Block>,
    pub(crate) experts: Param<Tensor<3>>,
    pub(crate) head: Option<Linear>,
}

pub(crate) const PATHS: [&str; 9] = [
    "embed.weight",
    "blocks.0.up.weight",
    "blocks.0.down.weight",
    "blocks.0.gain",
    "blocks.1.up.weight",
    "blocks.1.down.weight",
    "blocks.1.gain",
    "experts",
    "head.weight",
];

pub(crate) fn param<const D: usize>(
    numbers: &mut Numbers,
    shape: [usize; D],
    dtype: DType,
) -> Param<Tensor<D>> {
    let values = numbers.take(shape.iter().product());
    let tensor = tensor(&values, shape, dtype);
    Param::from_tensor(Tensor::from_inner(tensor).require_grad())
}

pub(crate) fn net(seed: u64, dtype: DType) -> Net {
    let numbers = &mut Numbers::new(seed);
    let linear = |numbers: &mut Numbers, shape| Linear {
        weight: param(numbers, shape, dtype),
    };
    Net {
        embed: linear(numbers, [7, 4]),
        blocks: (0..2)
            .map(|_| Block {
                up: linear(numbers, [4, 6]),
                down: linear(numbers, [6, 4]),
                gain: param(numbers, [4], dtype),
            })
            .collect(),
        experts: param(numbers, [3, 4, 6], dtype),
        head: Some(linear(numbers, [4, 7])),
    }
}

struct Read {
    path: Vec<String>,
    found: BTreeMap<String, Vec<f64>>,
}

impl ModuleVisitor for Read {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let all = values(param.val());
        self.found.insert(self.path.join("."), all);
    }
}

/// Every parameter's values, by path.
pub(crate) fn weights<M: Module>(module: &M) -> BTreeMap<String, Vec<f64>> {
    let mut read = Read {
        path: Vec::new(),
        found: BTreeMap::new(),
    };
    module.visit(&mut read);
    read.found
}

struct Fill<'a> {
    path: Vec<String>,
    seed: u64,
    scale: f64,
    values: BTreeMap<String, Vec<f64>>,
    grads: &'a mut GradientsParams,
}

impl ModuleVisitor for Fill<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let name = path
            .bytes()
            .fold(17u64, |h, b| h * 31 % 9973 + u64::from(b));
        let value = param.val();
        let n = value.dims().iter().product();
        let mut all = Numbers::new(self.seed * 10_007 + name).take(n);
        for g in &mut all {
            *g *= self.scale;
        }
        let grad = tensor(&all, value.dims(), value.dtype());
        self.values.insert(path, values(grad.clone()));
        self.grads.register(param.id, grad);
    }
}

/// Fresh gradients that depend on the seed and each parameter's path alone.
pub(crate) fn gradients<M: Module>(
    module: &M,
    seed: u64,
    scale: f64,
) -> (GradientsParams, BTreeMap<String, Vec<f64>>) {
    let mut grads = GradientsParams::new();
    let mut fill = Fill {
        path: Vec::new(),
        seed,
        scale,
        values: BTreeMap::new(),
        grads: &mut grads,
    };
    module.visit(&mut fill);
    let values = fill.values;
    (grads, values)
}

struct Register<'a> {
    path: Vec<String>,
    values: &'a BTreeMap<String, Vec<f64>>,
    grads: &'a mut GradientsParams,
}

impl ModuleVisitor for Register<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(all) = self.values.get(&self.path.join(".")) {
            let value = param.val();
            let grad = tensor(all, value.dims(), value.dtype());
            self.grads.register(param.id, grad);
        }
    }
}

/// Given gradients, by path; parameters without one have none.
pub(crate) fn registered<M: Module>(
    module: &M,
    values: &BTreeMap<String, Vec<f64>>,
) -> GradientsParams {
    let mut grads = GradientsParams::new();
    module.visit(&mut Register {
        path: Vec::new(),
        values,
        grads: &mut grads,
    });
    grads
}

pub(crate) fn norm(gradients: &BTreeMap<String, Vec<f64>>) -> f64 {
    let squares = gradients.values().flatten().map(|g| g * g);
    squares.sum::<f64>().sqrt()
}

pub(crate) fn rule(recipe: impl Into<Update>, lr: f64, weight_decay: f64) -> Rule {
    Rule {
        group: "test".to_owned(),
        update: recipe.into(),
        lr,
        weight_decay,
        constraint: Constraint::Free,
    }
}

/// `AdamW` everywhere.
pub(crate) fn adamw_rules(lr: f64, weight_decay: f64) -> BTreeMap<String, Rule> {
    let recipe = Composition::adam(Adam::default());
    let rule = |path: &&str| (path.to_string(), rule(recipe, lr, weight_decay));
    PATHS.iter().map(rule).collect()
}

/// Muon for what sits between embedding and head, `AdamW` for the rest.
pub(crate) fn mixed_rules(muon: Composition) -> BTreeMap<String, Rule> {
    let mut rules = adamw_rules(1e-2, 0.1);
    for (path, slot) in &mut rules {
        if path.contains("up") || path.contains("down") || path == "experts" {
            *slot = rule(muon, 0.02, 0.1);
        }
    }
    rules
}

pub(crate) fn engine(rules: BTreeMap<String, Rule>) -> Engine {
    Engine::new(rules, Clip::All { max: 1.0 })
}
