//! What a plan confines stays confined after every optimizer step, with the rules that training takes from the plan.

use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use evenburn_geometry::{Axis, Constraint};
use evenburn_model::strategy::{AnGpt, Ngpt, ResidualFactor, RowNorm, UnitNorm};
use evenburn_model::{
    Decoder, ExpertsConfig, ForwardContext, ModelConfig, ParamSpec, Registry, Scheme, weights,
};
use evenburn_optim::{AdamW, Muon, OptimConfig, Recipe};
use evenburn_train::groups;
use std::collections::BTreeMap;

const STEPS: u64 = 20;
const VOCAB: usize = 37;
/// Lengths are rounded to 1e-7 in f32.
const TOLERANCE: f64 = 1e-6;

fn config(experts: ExpertsConfig) -> ModelConfig {
    ModelConfig {
        vocab_size: VOCAB,
        dim: 24,
        layers: 2,
        heads: 4,
        kv_heads: Some(2),
        head_dim: Some(10),
        hidden: Some(40),
        context: 16,
        experts,
        ..ModelConfig::default()
    }
}

/// Every scheme, and of those that have a bound the other one and the other way around a branch.
fn schemes() -> Vec<Scheme> {
    let mut all: Vec<Scheme> = Registry::default().schemes().collect();
    all.push(Scheme::from(Ngpt {
        rows: RowNorm::AtMostOne,
        ..Ngpt::default()
    }));
    all.push(Scheme::from(AnGpt {
        rows: RowNorm::One,
        ..AnGpt::default()
    }));
    all.push(Scheme::from(AnGpt {
        branch_norm: UnitNorm::None,
        ..AnGpt::default()
    }));
    all.push(Scheme::from(Ngpt {
        residual_factor: ResidualFactor::SecondMoment,
        ..Ngpt::default()
    }));
    all
}

fn tokens(seed: u64, device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = (0..24u64)
        .map(|i| ((i * i * 5 + i * seed + seed * seed) % VOCAB as u64) as i32)
        .collect();
    Tensor::from_data(TensorData::new(values, [2, 12]), device)
}

fn values(model: &Decoder) -> BTreeMap<String, Vec<f64>> {
    weights::collect(model)
        .into_iter()
        .map(|(path, data)| (path, data.convert::<f64>().try_to_vec().unwrap()))
        .collect()
}

/// Lengths of a matrix's slices along an axis, summed entry by entry.
fn lengths(values: &[f64], shape: &[usize], along: Axis) -> Vec<f64> {
    let (rows, columns) = (shape[0], shape[1]);
    let mut squares = vec![0.0; if along == Axis::In { columns } else { rows }];
    for row in 0..rows {
        for column in 0..columns {
            let slice = if along == Axis::In { column } else { row };
            squares[slice] += values[row * columns + column].powi(2);
        }
    }
    squares.into_iter().map(f64::sqrt).collect()
}

/// How many slices are confined and how many of them are at their bound.
#[derive(Default)]
struct Seen {
    confined: usize,
    at_bound: usize,
}

impl Seen {
    fn check(&mut self, spec: &ParamSpec, values: &[f64], at: &str) {
        let (along, radius, exact) = match spec.constraint {
            Constraint::Free => return,
            Constraint::Unit { along } => (along, 1.0, true),
            Constraint::AtMost { along, radius } => (along, radius, false),
            Constraint::Frobenius { .. } => panic!("{at}: no scheme asks for this one"),
        };
        for length in lengths(values, &spec.shape, along) {
            let over = length / radius - 1.0;
            assert!(over < TOLERANCE, "{at}: {length}");
            assert!(!exact || over > -TOLERANCE, "{at}: {length}");
            self.confined += 1;
            self.at_bound += usize::from(over > -TOLERANCE);
        }
    }
}

/// Trains for some steps and checks each of them.
fn train(scheme: &Scheme, experts: ExpertsConfig, optim: &OptimConfig) -> Seen {
    let device = Device::flex().autodiff();
    let plan = scheme.plan(&config(experts)).unwrap();
    let specs = plan.params();
    let mut model = Decoder::new(&plan, 3, &device);
    let mut engine = groups::engine(&plan, optim, STEPS, &model).unwrap();
    let start = values(&model);
    let mut seen = Seen::default();
    for step in 0..STEPS {
        let objective = model.objective(
            tokens(step, &device),
            tokens(step + 7, &device),
            &ForwardContext::default(),
        );
        let mut loss = objective.loss_sum.div_scalar(24.0);
        if let Some(penalty) = objective.penalty {
            loss = loss + penalty;
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = engine.step(model, gradients, 1.0).unwrap().0;
        let now = values(&model);
        for spec in &specs {
            let at = format!("{}, step {step}, {}", scheme.name(), spec.path);
            assert!(now[&spec.path].iter().all(|v| v.is_finite()), "{at}");
            seen.check(spec, &now[&spec.path], &at);
        }
    }
    let end = values(&model);
    for spec in specs.iter().filter(|spec| spec.shape.len() == 2) {
        assert_ne!(
            start[&spec.path], end[&spec.path],
            "{} stands still",
            spec.path
        );
    }
    seen
}

#[test]
fn they_hold_after_every_step() {
    let muon = Muon {
        matrix_lr: Some(0.1),
        ..Muon::default()
    };
    for recipe in [Recipe::from(AdamW::default()), muon.into()] {
        // Steps so large that a projection left out would show at once.
        let optim = OptimConfig {
            recipe,
            lr: 0.03,
            ..OptimConfig::default()
        };
        for scheme in schemes() {
            let mixture = ExpertsConfig {
                count: 4,
                shared: 1,
                ..ExpertsConfig::default()
            };
            for experts in [ExpertsConfig::default(), mixture] {
                let seen = train(&scheme, experts, &optim);
                let sphere = matches!(scheme.name(), "ngpt" | "angpt");
                assert_eq!(seen.confined > 0, sphere, "{}", scheme.name());
                let part = seen.at_bound as f64 / seen.confined.max(1) as f64;
                let bounded = scheme.options().get("rows").and_then(|rows| rows.as_str());
                if bounded == Some("at_most_one") {
                    // Some slices reach it and some don't.
                    let some = part > 0.05 && part < 0.999;
                    assert!(some, "{}: {part}", scheme.name());
                }
            }
        }
    }
}
