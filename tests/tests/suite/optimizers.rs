//! A hundred steps of the optimizers that others maintain (`tests/fixtures/optimizers`) beside ours.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};
use evenburn_docs::CASES;
use evenburn_geometry::Constraint;
use evenburn_optim::{
    Adam, AdamMini, Blocks, Clip, Composition, Engine, Lion, Lookahead, NormFloor, Rule, Scaling,
    Schedule, Shape, SoapUpdate, Update, Warmup,
};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const STEPS: u64 = 100;
/// Names, and shapes with outputs before inputs, in the order of the cases.
const SHAPES: [(&str, &[usize]); 7] = [
    ("tall", &[24, 8]),
    ("wide", &[8, 24]),
    ("square", &[16, 16]),
    ("row", &[1, 12]),
    ("odd", &[7, 13]),
    ("experts", &[3, 10, 6]),
    ("vector", &[9]),
];

#[derive(Module, Debug)]
struct Net {
    tall: Param<Tensor<2>>,
    wide: Param<Tensor<2>>,
    square: Param<Tensor<2>>,
    row: Param<Tensor<2>>,
    odd: Param<Tensor<2>>,
    experts: Param<Tensor<3>>,
    vector: Option<Param<Tensor<1>>>,
}

/// The number in (-0.5, 0.5) that the cases are made from.
fn noise(parameter: usize, entry: usize, step: u64) -> f64 {
    let at = entry as u64 + 1009 * parameter as u64 + 65_537 * step;
    let mut z = (at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64 - 0.5
}

/// From outputs before inputs to ours, or back: the two last axes change places.
fn transposed(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let [.., rows, columns] = *shape else {
        return values.to_vec();
    };
    values
        .chunks(rows * columns)
        .flat_map(|matrix| {
            (0..columns).flat_map(move |c| (0..rows).map(move |r| matrix[r * columns + c]))
        })
        .collect()
}

fn ours(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [ref before @ .., rows, columns] => [before, &[columns, rows]].concat(),
        _ => shape.to_vec(),
    }
}

fn tensor<const D: usize>(values: Vec<f64>, shape: &[usize], dtype: DType) -> Tensor<D> {
    let data = TensorData::new(values, shape.to_vec()).convert_dtype(dtype);
    Tensor::from_data(data, (&Device::flex(), dtype))
}

fn start<const D: usize>(parameter: usize, dtype: DType) -> Param<Tensor<D>> {
    let (_, shape) = SHAPES[parameter];
    let entries = shape.iter().product();
    let values: Vec<f64> = (0..entries).map(|i| 0.4 * noise(parameter, i, 0)).collect();
    let value = tensor(transposed(&values, shape), &ours(shape), dtype);
    Param::from_tensor(Tensor::from_inner(value).require_grad())
}

fn net(vector: bool, dtype: DType) -> Net {
    Net {
        tall: start(0, dtype),
        wide: start(1, dtype),
        square: start(2, dtype),
        row: start(3, dtype),
        odd: start(4, dtype),
        experts: start(5, dtype),
        vector: vector.then(|| start(6, dtype)),
    }
}

/// Values with outputs before inputs.
fn values<const D: usize>(parameter: usize, param: &Param<Tensor<D>>) -> Vec<f64> {
    let data = param.val().into_data().convert::<f64>();
    transposed(&data.try_to_vec().unwrap(), &ours(SHAPES[parameter].1))
}

fn all(net: &Net) -> Vec<Vec<f64>> {
    let mut all = vec![
        values(0, &net.tall),
        values(1, &net.wide),
        values(2, &net.square),
        values(3, &net.row),
        values(4, &net.odd),
        values(5, &net.experts),
    ];
    all.extend(net.vector.as_ref().map(|vector| values(6, vector)));
    all
}

fn register<const D: usize>(
    grads: &mut GradientsParams,
    parameter: usize,
    param: &Param<Tensor<D>>,
    step: u64,
) {
    let now = values(parameter, param).into_iter().enumerate();
    let g: Vec<f64> = now
        .map(|(i, w)| 0.5 * w + noise(parameter, i, step))
        .collect();
    let shape = SHAPES[parameter].1;
    let dtype = param.val().dtype();
    grads.register(
        param.id,
        tensor::<D>(transposed(&g, shape), &ours(shape), dtype),
    );
}

fn gradients(net: &Net, step: u64) -> GradientsParams {
    let mut grads = GradientsParams::new();
    register(&mut grads, 0, &net.tall, step);
    register(&mut grads, 1, &net.wide, step);
    register(&mut grads, 2, &net.square, step);
    register(&mut grads, 3, &net.row, step);
    register(&mut grads, 4, &net.odd, step);
    register(&mut grads, 5, &net.experts, step);
    if let Some(vector) = &net.vector {
        register(&mut grads, 6, vector, step);
    }
    grads
}

/// A case of the folder.
struct Case {
    name: String,
    described: Value,
    bytes: Vec<u8>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/optimizers")
}

impl Case {
    fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
        Self {
            name: name.to_owned(),
            described: serde_json::from_str(&text).unwrap(),
            bytes: std::fs::read(folder().join(format!("{name}.safetensors"))).unwrap(),
        }
    }

    fn number(&self, key: &str) -> f64 {
        self.described["optimizer"][key].as_f64().unwrap()
    }

    fn list(&self, key: &str) -> Vec<f64> {
        let list = self.described[key].as_array().unwrap();
        list.iter().map(|v| v.as_f64().unwrap()).collect()
    }

    fn stored(&self, step: u64, parameter: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(&format!("step_{step}.{parameter}")).unwrap();
        let (chunks, rest) = view.data().as_chunks::<8>();
        assert!(rest.is_empty());
        chunks.iter().map(|c| f64::from_le_bytes(*c)).collect()
    }

    /// One recipe, rate and decay for all parameters.
    fn rules(&self, update: impl Into<Update>, weight_decay: f64) -> BTreeMap<String, Rule> {
        let rule = Rule {
            group: "all".to_owned(),
            update: update.into(),
            lr: self.number("lr"),
            weight_decay,
            constraint: Constraint::Free,
        };
        let names = SHAPES.iter().map(|(name, _)| (*name).to_owned());
        names.map(|name| (name, rule.clone())).collect()
    }

    /// Steps our engine along, in f64 to 1e-10 and in f32 to 1e-4.
    fn compare(&self, rules: &BTreeMap<String, Rule>, clip: Clip, schedule: &Schedule) {
        let has_vector = SafeTensors::deserialize(&self.bytes)
            .unwrap()
            .tensor("step_1.vector")
            .is_ok();
        let mut rules = rules.clone();
        if !has_vector {
            rules.remove("vector");
        }
        for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-4)] {
            let mut engine = Engine::new(rules.clone(), clip);
            let mut net = net(has_vector, dtype);
            for step in 1..=STEPS {
                let grads = gradients(&net, step);
                let factor = schedule.factor(step - 1, STEPS);
                let report;
                (net, report) = engine.step(net, grads, factor).unwrap();
                if step == 1 {
                    self.take_bases(&mut engine, &net);
                }
                if self.described.get("grad_norms").is_some() {
                    let at = step as usize - 1;
                    let norm = self.list("grad_norms")[at];
                    let error = (report.grad_norm / norm - 1.0).abs();
                    assert!(
                        error < tolerance,
                        "{}, norm at {step}: {error:e}",
                        self.name
                    );
                    let error = (factor - self.list("factors")[at]).abs();
                    assert!(error < 1e-12, "{}, rate at {step}: {error:e}", self.name);
                }
                if ![1, 10, 100].contains(&step) {
                    continue;
                }
                for ((name, _), found) in SHAPES.iter().zip(all(&net)) {
                    let stored = self.stored(step, name);
                    let largest = stored.iter().fold(0f64, |a, b| a.max(b.abs()));
                    let errors = found.iter().zip(&stored).map(|(a, b)| (a - b).abs());
                    let error = errors.fold(0f64, f64::max) / largest;
                    assert!(
                        error < tolerance,
                        "{}, {name} after {step} steps in {dtype:?}: {error:e}",
                        self.name
                    );
                }
            }
        }
    }

    /// Puts the bases of the case in the place of those that the engine found: a space of equal eigenvalues has any. `square`
    /// has no such space, and keeps its own.
    fn take_bases(&self, engine: &mut Engine, net: &Net) {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let mut state = engine.state();
        for (name, data) in &mut state {
            let (parameter, part) = name.split_once('/').unwrap();
            let Ok(view) = file.tensor(&format!("first.{part}.{parameter}")) else {
                continue;
            };
            if parameter != "square" {
                let (chunks, _) = view.data().as_chunks::<8>();
                let values: Vec<f64> = chunks.iter().map(|c| f64::from_le_bytes(*c)).collect();
                *data = TensorData::new(values, data.shape().to_vec()).convert_dtype(data.dtype());
            }
        }
        let counts = engine.counts();
        engine.load_state(net, state, &counts).unwrap();
    }

    fn adam(&self) -> Adam {
        let betas = &self.described["optimizer"]["betas"];
        Adam {
            beta1: betas[0].as_f64().unwrap(),
            beta2: betas[1].as_f64().unwrap(),
            eps: self.number("eps"),
        }
    }
}

fn constant() -> Schedule {
    Schedule {
        shape: Shape::Constant,
        warmup: Warmup::Steps(0),
        final_fraction: 0.0,
    }
}

fn compare(name: &str, recipe: impl Fn(&Case) -> Composition, decay: f64) {
    let case = Case::read(name);
    case.compare(&case.rules(recipe(&case), decay), Clip::None, &constant());
}

#[test]
fn adam_of_torch() {
    compare("adamw", |case| Composition::adam(case.adam()), 0.1);
    compare("adam", |case| Composition::adam(case.adam()), 0.0);
    let case = Case::read("adamw_clipped_cosine");
    let cosine = Schedule {
        shape: Shape::Cosine,
        final_fraction: 0.1,
        ..constant()
    };
    let rules = case.rules(Composition::adam(case.adam()), 0.1);
    case.compare(&rules, Clip::All { max: 1.0 }, &cosine);
}

#[test]
fn muon_of_torch_and_of_its_author() {
    compare("muon_original", |_| Composition::muon(), 0.1);
    let match_rms = |_: &Case| Composition {
        scaling: Scaling::MatchRmsAdamw,
        ..Composition::muon()
    };
    compare("muon_match_rms_adamw", match_rms, 0.1);
    let plain = |case: &Case| {
        Composition::muon().with_momentum(|m| {
            (m.beta, m.lookahead) = (case.number("momentum"), Lookahead::None);
        })
    };
    compare("muon_plain", plain, 0.1);
    let added = |_: &Case| Composition::muon().with_orthogonal(|o| o.floor = NormFloor::Add);
    compare("muon_jordan", added, 0.1);
}

#[test]
fn lion_adam_mini_nor_muon_and_scion() {
    compare("lion", |_| Composition::lion(Lion::default()), 0.1);
    let clamped = |recipe: Composition| recipe.with_orthogonal(|o| o.floor = NormFloor::Clamp);
    compare("nor_muon", |_| clamped(Composition::nor_muon()), 0.1);
    let spectral = |_: &Case| clamped(Composition::scion_spectral());
    compare("scion_spectral", spectral, 0.0);
    // `(1 - rate) w`.
    compare("scion_spectral_constrained", spectral, 1.0);
    compare("scion_sign", |_| Composition::scion_sign(Scaling::One), 0.0);
    let per_input = |_: &Case| Composition::scion_sign(Scaling::PerInput);
    compare("scion_sign_normalized", per_input, 0.0);

    let case = Case::read("adam_mini");
    let mut rules = case.rules(Composition::adam(case.adam()), 0.0);
    for (name, rule) in &mut rules {
        let blocks = match case.described["partitions"][name].as_str().unwrap() {
            "row" => Blocks::Output,
            "heads 4" => Blocks::Heads(4),
            "tensor" => Blocks::Tensor,
            other => panic!("{other}"),
        };
        let adam = case.adam();
        rule.update = Composition::adam_mini(AdamMini { adam, blocks }).into();
        rule.weight_decay = case.described["weight_decays"][name].as_f64().unwrap();
    }
    case.compare(&rules, Clip::None, &constant());
}

/// Through the trait that everybody's update rules have.
#[test]
fn soap_of_a_library() {
    let case = Case::read("soap");
    let soap = SoapUpdate {
        adam: case.adam(),
        shampoo_beta: case.number("shampoo_beta"),
        precondition_frequency: case.number("precondition_frequency") as u64,
        max_precondition_dim: case.number("max_precondition_dim") as usize,
    };
    let rules = case.rules(Update::own(soap), case.number("weight_decay"));
    case.compare(&rules, Clip::None, &constant());
}

/// A case that no test reads would prove nothing, and one that the documentation leaves out tells nobody.
#[test]
fn every_case_is_compared_and_listed() {
    let text = include_str!("optimizers.rs");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(text.contains(&format!("\"{name}\"")), "{name}");
        found.push(name);
    }
    for (name, _) in CASES {
        assert!(found.iter().any(|found| found == name), "{name}");
    }
    assert_eq!(found.len(), 2 * CASES.len());
}
