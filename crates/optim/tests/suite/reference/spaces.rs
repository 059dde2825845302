//! Steps in the spaces that weights move in.

use super::directions::Adam;
use super::matrix::{frobenius, map, zip};
use super::{Direction, Reference, Rows};

/// `(1 - lr decay) w - lr u`, then a function of the weight.
pub(crate) struct Flat<D> {
    pub(crate) inner: D,
    pub(crate) then: fn(&mut Rows),
}

impl<D> Flat<D> {
    pub(crate) fn new(inner: D) -> Self {
        Self {
            inner,
            then: |_| {},
        }
    }
}

impl<D: Direction> Reference for Flat<D> {
    fn step(&mut self, w: &mut Rows, g: &Rows, lr: f64, decay: f64) {
        let u = self.inner.direction(g);
        *w = zip(w, &u, |w, u| (1.0 - lr * decay) * w - lr * u);
        (self.then)(w);
    }
}

/// Hyperball.
pub(crate) struct Sphere<D> {
    pub(crate) inner: D,
    pub(crate) radius: Option<f64>,
}

impl<D: Direction> Reference for Sphere<D> {
    fn step(&mut self, w: &mut Rows, g: &Rows, lr: f64, _: f64) {
        let radius = *self.radius.get_or_insert_with(|| frobenius(w));
        let u = self.inner.direction(g);
        let length = frobenius(&u);
        let moved = zip(w, &u, |w, u| w - lr * radius * u / length);
        let length = frobenius(&moved);
        *w = map(&moved, |w| radius * w / length);
    }
}

/// Algorithm 2 of magnitude-direction decoupling, with the first norm as the radius.
pub(crate) struct Decoupled<D> {
    pub(crate) inner: D,
    pub(crate) radius: Option<f64>,
    /// Stored magnitudes of rows and columns, and what steps them.
    pub(crate) stored: Option<[Vec<f64>; 2]>,
    pub(crate) adams: [Adam; 2],
}

fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl<D: Direction> Reference for Decoupled<D> {
    fn step(&mut self, w: &mut Rows, g: &Rows, lr: f64, _: f64) {
        let (rows, columns) = (w.len(), w[0].len());
        let one = (1f64.exp() - 1.0).ln();
        let [mut raw_r, mut raw_c] = self
            .stored
            .take()
            .unwrap_or_else(|| [vec![one; rows], vec![one; columns]]);
        let g_r: Vec<f64> = raw_r.iter().map(|x| softplus(*x)).collect();
        let g_c: Vec<f64> = raw_c.iter().map(|x| softplus(*x)).collect();
        let mut v = w.clone();
        let mut g_v = g.clone();
        let (mut d_r, mut d_c) = (vec![0.0; rows], vec![0.0; columns]);
        for i in 0..rows {
            for j in 0..columns {
                v[i][j] = w[i][j] / (g_r[i] * g_c[j]);
                g_v[i][j] = g_r[i] * g[i][j] * g_c[j];
                d_r[i] += v[i][j] * g[i][j] * g_c[j] * sigmoid(raw_r[i]);
                d_c[j] += v[i][j] * g[i][j] * g_r[i] * sigmoid(raw_c[j]);
            }
        }
        let radius = *self.radius.get_or_insert_with(|| frobenius(&v));
        let u = self.inner.direction(&g_v);
        let moved = zip(&v, &u, |v, u| v - lr * u);
        let length = frobenius(&moved);
        for ((raw, d), adam) in [(&mut raw_r, d_r), (&mut raw_c, d_c)]
            .into_iter()
            .zip(&mut self.adams)
        {
            let step = adam.direction(&vec![d]);
            for (raw, step) in raw.iter_mut().zip(&step[0]) {
                *raw -= lr * step;
            }
        }
        for i in 0..rows {
            for j in 0..columns {
                let scale = softplus(raw_r[i]) * softplus(raw_c[j]);
                w[i][j] = moved[i][j] * radius / length * scale;
            }
        }
        self.stored = Some([raw_r, raw_c]);
    }
}

/// Rows of length at most 1.
pub(crate) fn rows_at_most_one(w: &mut Rows) {
    for row in w {
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        for x in row {
            *x /= length.max(1.0);
        }
    }
}

/// Rows of length 1.
pub(crate) fn rows_one(w: &mut Rows) {
    for row in w {
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        for x in row {
            *x /= length;
        }
    }
}

/// A step that doesn't see the part of the gradient along unit rows.
pub(crate) struct Tangent<R>(pub(crate) R);

impl<R: Reference> Reference for Tangent<R> {
    fn step(&mut self, w: &mut Rows, g: &Rows, lr: f64, decay: f64) {
        let mut along = g.clone();
        for (g, w) in along.iter_mut().zip(w.iter()) {
            let inner: f64 = g.iter().zip(w).map(|(g, w)| g * w).sum();
            let square: f64 = w.iter().map(|w| w * w).sum();
            for (g, w) in g.iter_mut().zip(w) {
                *g -= w * inner / square;
            }
        }
        self.0.step(w, &along, lr, decay);
    }
}
