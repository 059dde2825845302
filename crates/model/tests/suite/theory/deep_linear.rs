//! A gain before a linear map under gradient flow (2605.26895, theorem 2.2).
//!
//! With `a_j = gain_j w_j`, the product's row of input channel `j`, and `g_j = dL/da_j`:
//!
//! ```text
//! gain' = -<w, g>,   w' = -gain g   ->   a' = -(gain^2 I + w w^T) g,   gain^2 - |w|^2 is conserved
//! ```
//!
//! `n` input width, `c` output width.

use super::{Normal, dot, length};
use crate::common::numbers;
use crate::gradients::{by_path, values, with};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use evenburn_model::modules::{Gain, Initializer, Projection};
use evenburn_model::plan::{Form, GainPlan, GainRole, LinearPlan};
use evenburn_model::strategy::PreNorm;
use evenburn_model::{ModelConfig, Plan, Site};
use std::collections::BTreeMap;

const N: usize = 6;
const C: usize = 5;
const ROWS: usize = 20;
/// How long the flow is followed.
const TIME: f64 = 1.0;

/// Where the gain stands: as a module of its own on the activations, or inside the linear map.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stands {
    Apart,
    Before,
}

/// A gain and a linear map, nothing else.
#[derive(Module, Debug)]
struct Toy {
    gain: Option<Gain>,
    map: Projection,
}

impl Toy {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = match &self.gain {
            Some(gain) => gain.forward(x),
            None => x,
        };
        self.map.forward(x)
    }
}

/// The toy, its regression problem and its parameters at one time.
struct Flow {
    toy: Toy,
    gain: &'static str,
    x: Tensor<3>,
    target: Tensor<3>,
}

type Values = BTreeMap<String, Vec<f64>>;

/// The gain as the optimizer moves it.
fn stored(g: f64) -> f64 {
    g
}

const WEIGHT: &str = "map.weight";

impl Flow {
    fn new(stands: Stands, form: Form, seed: u64) -> Self {
        let config = ModelConfig {
            vocab_size: 2,
            dim: N,
            layers: 1,
            heads: 1,
            hidden: Some(C),
            ..ModelConfig::default()
        };
        let plan = Plan::new(&config, &PreNorm::default()).unwrap();
        let gain = GainPlan {
            form,
            ..GainPlan::ones(GainRole::Input)
        };
        let mut site = plan.layers[0].up.clone();
        site.linear = LinearPlan {
            before: (stands == Stands::Before).then(|| gain.clone()),
            ..LinearPlan::default()
        };
        let device = Device::flex().autodiff();
        let init = Initializer::new(seed);
        let toy = Toy {
            gain: (stands == Stands::Apart).then(|| Gain::new(&gain, N, &device)),
            map: Projection::new(&site, Site::Up, "map", plan.dims(), init, &device),
        };
        let mut draw = Normal::new(seed);
        let mut all = values(&toy);
        let gain = match stands {
            Stands::Apart => "gain.value",
            Stands::Before => "map.before.value",
        };
        for v in all.get_mut(gain).unwrap() {
            *v = (0.3 * draw.next()).exp();
        }
        for v in all.get_mut(WEIGHT).unwrap() {
            *v = 0.4 * draw.next();
        }
        Self {
            toy: with(toy, &all),
            gain,
            x: draw.tensor([1, ROWS, N], 1.0, &device),
            target: draw.tensor([1, ROWS, C], 1.0, &device),
        }
    }

    fn loss(&self, toy: &Toy) -> Tensor<1> {
        let error = toy.forward(self.x.clone()) - self.target.clone();
        error.square().sum().div_scalar(2.0 * ROWS as f64)
    }

    /// Every parameter moved by `-step` times its gradient.
    fn step(&self, at: &Values, step: f64) -> Values {
        let toy = with(self.toy.clone(), at);
        let gradients = by_path(&toy, &self.loss(&toy).backward());
        at.iter()
            .map(|(path, v)| {
                let moved = v.iter().zip(&gradients[path]).map(|(v, g)| v - step * g);
                (path.clone(), moved.collect())
            })
            .collect()
    }

    /// `gain^2 - |w|^2` of each input channel, with `gain` from what is stored.
    fn conserved(&self, at: &Values, gain: fn(f64) -> f64) -> Vec<f64> {
        let rows = at[WEIGHT].chunks(C);
        let gains = at[self.gain].iter().map(|g| gain(*g).powi(2));
        gains.zip(rows).map(|(g, w)| g - dot(w, w)).collect()
    }

    /// Largest change of what is conserved, in steps of one length, and the loss at the end.
    fn drift(&self, step: f64, gain: fn(f64) -> f64) -> (f64, f64) {
        let start = values(&self.toy);
        let mut now = start.clone();
        for _ in 0..(TIME / step).round() as usize {
            now = self.step(&now, step);
        }
        let after = self.conserved(&now, gain);
        let pairs = self.conserved(&start, gain).into_iter().zip(after);
        let drift = pairs.fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        let end = numbers(self.loss(&with(self.toy.clone(), &now)))[0];
        (drift, end)
    }

    /// `a_j = gain_j w_j`.
    fn product(&self, at: &Values) -> Vec<f64> {
        let rows = at[WEIGHT].chunks(C);
        let gains = at[self.gain].iter();
        gains
            .zip(rows)
            .flat_map(|(g, w)| w.iter().map(move |w| g * w))
            .collect()
    }
}

#[test]
fn the_difference_of_squares_is_conserved() {
    for stands in [Stands::Apart, Stands::Before] {
        for seed in 0..3 {
            let flow = Flow::new(stands, Form::Direct, seed);
            let start = numbers(flow.loss(&flow.toy))[0];
            let coarse = flow.drift(0.02, stored);
            let fine = flow.drift(0.01, stored);
            let finest = flow.drift(0.005, stored);
            // It trains: what is conserved is no accident of standing still.
            assert!(finest.1 < 0.9 * start, "{} of {start}", finest.1);
            assert!(finest.0 < 0.02, "{stands:?} {seed}: {}", finest.0);
            // Explicit Euler leaves an error of first order in the step.
            for (large, small) in [(coarse.0, fine.0), (fine.0, finest.0)] {
                let order = (large / small).log2();
                assert!((order - 1.0).abs() < 0.1, "{stands:?} {seed}: {order}");
            }
        }
    }
}

/// A gain stored as `1 + g` obeys the law in its used value, not in what is stored.
#[test]
fn what_is_conserved_is_the_used_value() {
    for seed in 0..3 {
        let flow = Flow::new(Stands::Apart, Form::OnePlus, seed);
        let drift = |step, gain| flow.drift(step, gain).0;
        let used = |g: f64| 1.0 + g;
        let order = (drift(0.01, used) / drift(0.005, used)).log2();
        assert!((order - 1.0).abs() < 0.1, "{seed}: {order}");
        let kept = drift(0.01, stored) / drift(0.005, stored);
        assert!((kept - 1.0).abs() < 0.1, "{seed}: {kept}");
    }
}

#[test]
fn the_product_moves_by_its_preconditioned_gradient() {
    for stands in [Stands::Apart, Stands::Before] {
        for seed in 0..3 {
            let flow = Flow::new(stands, Form::Direct, seed);
            let now = values(&flow.toy);
            // Central differences in time: the term of second order of the product cancels.
            let step = 1e-4;
            let (ahead, back) = (flow.step(&now, step), flow.step(&now, -step));
            let pairs = flow.product(&ahead).into_iter().zip(flow.product(&back));
            let velocity: Vec<f64> = pairs.map(|(a, b)| (a - b) / (2.0 * step)).collect();

            // The gradient of the product itself: the same map with gains of one and `a` as its matrix.
            let mut alone = now.clone();
            alone.insert(WEIGHT.into(), flow.product(&now));
            alone.insert(flow.gain.into(), vec![1.0; N]);
            let toy = with(flow.toy.clone(), &alone);
            let gradient = by_path(&toy, &flow.loss(&toy).backward())[WEIGHT].clone();

            for (j, gain) in now[flow.gain].iter().enumerate() {
                let of = |v: &[f64]| v[j * C..(j + 1) * C].to_vec();
                let (w, g, moved) = (of(&now[WEIGHT]), of(&gradient), of(&velocity));
                let along = dot(&w, &g);
                let expected: Vec<f64> = w
                    .iter()
                    .zip(&g)
                    .map(|(w, g)| -(gain * gain * g + w * along))
                    .collect();
                let error: Vec<f64> = moved.iter().zip(&expected).map(|(a, b)| a - b).collect();
                assert!(
                    length(&error) < 1e-9 * length(&expected),
                    "{stands:?} {seed} {j}"
                );
                // Its smallest eigenvalue is gain^2: the product never moves against its gradient by less.
                let rate = -dot(&expected, &g) / dot(&g, &g);
                assert!(rate >= gain * gain - 1e-12, "{rate} {gain}");
            }
        }
    }
}
