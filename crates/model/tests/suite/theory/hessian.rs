//! Curvature of the loss as a function of what a normalized linear map reads (2602.01212, section on smoothness).
//!
//! ```text
//! y = gain * sqrt(d) z / |z|,  z = W x,  u = z / |z|,  P = 1 - u u^T,  D = diag(gain),  g = dl/dy,  H = d2l/dy2
//! H_xx = L + C,   L = (d / |z|^2) W^T P D H D P W
//!                 C = -(sqrt(d) / |z|^2) W^T [ (P D g) u^T + u (P D g)^T + (u^T D g) P ] W
//! ```
//!
//! `L` and `C` are measured one at a time by finite differences of gradients through the module: `C` vanishes where the
//! loss is at its minimum, `L` where the loss is linear. `n` input width, `d` output width; `W` is stored `[n, d]`.

use super::{Normal, dot, double, length};
use crate::common::{distance, numbers};
use crate::gradients::{values, with};
use burn::tensor::{Device, Tensor};
use evenburn_model::modules::{Initializer, Projection};
use evenburn_model::plan::{GainPlan, GainRole, LinearPlan, NormPlan};
use evenburn_model::strategy::PreNorm;
use evenburn_model::{ModelConfig, Plan, Site};

const N: usize = 10;
const D: usize = 14;
/// Step of the central differences: their error is its square, rounding its inverse times 1e-16.
const STEP: f64 = 1e-5;

/// A matrix as its rows.
type Matrix = Vec<Vec<f64>>;

fn rows(flat: &[f64], width: usize) -> Matrix {
    flat.chunks(width).map(<[f64]>::to_vec).collect()
}

fn times(a: &Matrix, b: &Matrix) -> Matrix {
    let columns = transposed(b);
    let row = |r: &Vec<f64>| columns.iter().map(|c| dot(r, c)).collect();
    a.iter().map(row).collect()
}

fn transposed(a: &Matrix) -> Matrix {
    (0..a[0].len())
        .map(|c| a.iter().map(|row| row[c]).collect())
        .collect()
}

fn flat(a: &Matrix) -> Vec<f64> {
    a.concat()
}

fn square(n: usize, entry: impl Fn(usize, usize) -> f64) -> Matrix {
    (0..n)
        .map(|i| (0..n).map(|j| entry(i, j)).collect())
        .collect()
}

/// Largest singular value: the root of the largest eigenvalue of `a^T a`, by power iteration from below.
fn spectral(a: &Matrix) -> f64 {
    let gram = times(&transposed(a), a);
    let mut v = vec![1.0; gram.len()];
    for _ in 0..500 {
        let next: Vec<f64> = gram.iter().map(|row| dot(row, &v)).collect();
        let size = length(&next);
        v = next.iter().map(|x| x / size).collect();
    }
    let image: Vec<f64> = a.iter().map(|row| dot(row, &v)).collect();
    length(&image)
}

/// A linear map, its loss and the point where it is looked at.
struct Case {
    map: Projection,
    /// `[n, d]`.
    weight: Matrix,
    gain: Vec<f64>,
    x: Vec<f64>,
    /// Second derivative of the loss.
    bend: Matrix,
    /// First derivative of the loss at `x`.
    slope: Vec<f64>,
}

impl Case {
    fn new(seed: u64, norm: bool) -> Self {
        let config = ModelConfig {
            vocab_size: 2,
            dim: N,
            layers: 1,
            heads: 1,
            hidden: Some(D),
            ..ModelConfig::default()
        };
        let plan = Plan::new(&config, &PreNorm::default()).unwrap();
        let mut site = plan.layers[0].up.clone();
        site.linear = LinearPlan {
            norm: norm.then(|| NormPlan {
                gain: Some(GainPlan::ones(GainRole::Output)),
                ..NormPlan::rms(0.0, GainRole::Output)
            }),
            ..LinearPlan::default()
        };
        let device = Device::flex().autodiff();
        let init = Initializer::new(seed);
        let map = Projection::new(&site, Site::Up, "map", plan.dims(), init, &device);
        let mut draw = Normal::new(seed);
        let mut all = values(&map);
        let gain: Vec<f64> = (0..D).map(|_| (0.3 * draw.next()).exp()).collect();
        if norm {
            all.insert("norm.gain.value".into(), gain.clone());
        }
        let weight = draw.take(N * D);
        all.insert("weight".into(), weight.clone());
        let root = rows(&draw.take(D * D), D);
        Self {
            map: with(map, &all),
            weight: rows(&weight, D),
            gain,
            x: draw.take(N),
            bend: times(&transposed(&root), &root),
            slope: draw.take(D),
        }
    }

    /// The same with `W -> c W`.
    fn scaled(&self, c: f64) -> Self {
        let mut all = values(&self.map);
        for v in all.get_mut("weight").unwrap() {
            *v *= c;
        }
        Self {
            map: with(self.map.clone(), &all),
            weight: self
                .weight
                .iter()
                .map(|row| row.iter().map(|v| v * c).collect())
                .collect(),
            gain: self.gain.clone(),
            x: self.x.clone(),
            bend: self.bend.clone(),
            slope: self.slope.clone(),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        self.map.forward(x).reshape([1, D])
    }

    /// Gradient at `at` of the loss whose derivatives at `x` are `slope` and `bend`.
    fn gradient(&self, at: &[f64], slope: &[f64], bend: &Matrix) -> Vec<f64> {
        let device = Device::flex().autodiff();
        let here = double(self.x.clone(), [1, 1, N], &device);
        let start = self.forward(here).detach();
        let x = double(at.to_vec(), [1, 1, N], &device).require_grad();
        let change = self.forward(x.clone()) - start;
        let bend = double(flat(bend), [D, D], &device);
        let linear = change.clone() * double(slope.to_vec(), [1, D], &device);
        let loss = linear.sum() + (change.clone().matmul(bend) * change).sum().mul_scalar(0.5);
        numbers(x.grad(&loss.backward()).unwrap())
    }

    /// `H_xx` by central differences of the gradient.
    fn measured(&self, slope: &[f64], bend: &Matrix) -> Matrix {
        (0..N)
            .map(|i| {
                let at = |by: f64| {
                    let mut x = self.x.clone();
                    x[i] += by;
                    self.gradient(&x, slope, bend)
                };
                let (up, down) = (at(STEP), at(-STEP));
                let pairs = up.iter().zip(&down);
                pairs.map(|(u, d)| (u - d) / (2.0 * STEP)).collect()
            })
            .collect()
    }

    fn curvature_of_the_loss(&self) -> Matrix {
        self.measured(&[0.0; D], &self.bend)
    }

    fn curvature_of_the_map(&self) -> Matrix {
        self.measured(&self.slope, &square(D, |_, _| 0.0))
    }

    /// `z = W x`.
    fn product(&self) -> Vec<f64> {
        transposed(&self.weight)
            .iter()
            .map(|column| dot(column, &self.x))
            .collect()
    }

    /// `L` and `C` by the closed form.
    fn closed(&self) -> (Matrix, Matrix) {
        let z = self.product();
        let size = length(&z);
        let u: Vec<f64> = z.iter().map(|v| v / size).collect();
        let projector = square(D, |i, j| f64::from(u8::from(i == j)) - u[i] * u[j]);
        let gained: Vec<f64> = self
            .slope
            .iter()
            .zip(&self.gain)
            .map(|(g, d)| g * d)
            .collect();
        let along = dot(&u, &gained);
        let across: Vec<f64> = projector.iter().map(|row| dot(row, &gained)).collect();
        let width = D as f64;

        let bend = square(D, |i, j| self.gain[i] * self.bend[i][j] * self.gain[j]);
        let inner = times(&times(&projector, &bend), &projector);
        let gauss_newton = self.around(&inner, width / (size * size));
        let inner = square(D, |i, j| {
            across[i] * u[j] + u[i] * across[j] + along * projector[i][j]
        });
        let rest = self.around(&inner, -width.sqrt() / (size * size));
        (gauss_newton, rest)
    }

    /// `factor W^T inner W`; stored `[n, d]`, the paper's `W` is the transpose.
    fn around(&self, inner: &Matrix, factor: f64) -> Matrix {
        let w = &self.weight;
        times(&times(w, inner), &transposed(w))
            .iter()
            .map(|row| row.iter().map(|v| v * factor).collect())
            .collect()
    }
}

/// Largest difference over the largest entry.
fn gap(a: &Matrix, b: &Matrix) -> f64 {
    let (a, b) = (flat(a), flat(b));
    distance(&a, &b) / b.iter().fold(0.0, |m: f64, v| m.max(v.abs()))
}

#[test]
fn it_is_the_closed_form() {
    for seed in 0..4 {
        let case = Case::new(seed, true);
        let (gauss_newton, rest) = case.closed();
        for (name, measured, closed) in [
            ("L", case.curvature_of_the_loss(), &gauss_newton),
            ("C", case.curvature_of_the_map(), &rest),
        ] {
            let found = gap(&measured, closed);
            assert!(found < 1e-7, "{name}, seed {seed}: {found}");
        }
        // Both parts count: neither would pass for the sum.
        let both = case.measured(&case.slope, &case.bend);
        let sum: Matrix = (0..N)
            .map(|i| {
                let parts = gauss_newton[i].iter().zip(&rest[i]);
                parts.map(|(l, c)| l + c).collect()
            })
            .collect();
        assert!(gap(&both, &sum) < 1e-7);
        assert!(gap(&both, &gauss_newton) > 1e-3 && gap(&both, &rest) > 1e-3);
    }
}

#[test]
fn it_does_not_see_the_size_of_the_matrix() {
    for seed in 0..3 {
        let (normalized, plain) = (Case::new(seed, true), Case::new(seed, false));
        let base = [
            normalized.curvature_of_the_loss(),
            normalized.curvature_of_the_map(),
        ];
        let linear = plain.curvature_of_the_loss();
        for c in [0.5, 2.0, 4.0] {
            let scaled = normalized.scaled(c);
            for (name, now, before) in [
                ("L", scaled.curvature_of_the_loss(), &base[0]),
                ("C", scaled.curvature_of_the_map(), &base[1]),
            ] {
                let found = gap(&now, before);
                assert!(found < 1e-7, "{name} at {c}: {found}");
            }
            // Without the normalization it grows with the square.
            let expected: Matrix = linear
                .iter()
                .map(|row| row.iter().map(|v| v * c * c).collect())
                .collect();
            let found = gap(&plain.scaled(c).curvature_of_the_loss(), &expected);
            assert!(found < 1e-7, "plain at {c}: {found}");
        }
    }
}

/// `|L| <= d (|W|^2 / |Wx|^2) max(gain)^2 |H|` and `|C| <= 3 sqrt(d) (|W|^2 / |Wx|^2) |D g|`; of a plain map
/// `|H_xx| <= |W|^2 |H|`.
#[test]
fn it_is_bounded_as_the_paper_says() {
    for seed in 0..4 {
        let case = Case::new(seed, true);
        let largest = case.gain.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        let gained: Vec<f64> = case
            .slope
            .iter()
            .zip(&case.gain)
            .map(|(g, d)| g * d)
            .collect();
        let (width, bend) = (D as f64, spectral(&case.bend));
        let stretch = (spectral(&case.weight) / length(&case.product())).powi(2);
        let loss = spectral(&case.curvature_of_the_loss());
        assert!(loss <= width * stretch * largest * largest * bend);
        let map = spectral(&case.curvature_of_the_map());
        assert!(map <= 3.0 * width.sqrt() * stretch * length(&gained));
        let plain = Case::new(seed, false);
        let linear = spectral(&plain.curvature_of_the_loss());
        let bound = spectral(&plain.weight).powi(2) * spectral(&plain.bend);
        // The plain bound is of the right size: random matrices come within a factor of 20.
        assert!(linear <= bound && linear > bound / 20.0, "{linear} {bound}");
        // The output's length lies between those of the smallest and the largest gain.
        let device = Device::flex().autodiff();
        let y = case.forward(double(case.x.clone(), [1, 1, N], &device));
        let y = length(&numbers(y)) / width.sqrt();
        let smallest = case.gain.iter().fold(f64::INFINITY, |m, g| m.min(g.abs()));
        assert!(smallest <= y && y <= largest, "{smallest} {y} {largest}");
    }
}
