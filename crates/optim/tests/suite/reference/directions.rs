//! Directions, and what Muon's family makes of momentum.

use super::matrix::{Quintics, frobenius, map, orthogonal, zip};
use super::{Direction, Rows};

/// Adam with one mean square for each block: an entry of its own for each is Adam.
pub(crate) struct Adam {
    pub(crate) betas: (f64, f64),
    pub(crate) eps: f64,
    /// The block of an entry, of `[out, in]`.
    pub(crate) block: fn(usize, usize) -> usize,
    pub(crate) m: Vec<Vec<f64>>,
    pub(crate) v: Vec<f64>,
    pub(crate) t: i32,
}

impl Adam {
    pub(crate) fn new(block: fn(usize, usize) -> usize) -> Self {
        Self {
            betas: (0.9, 0.95),
            eps: 1e-8,
            block,
            m: Vec::new(),
            v: Vec::new(),
            t: 0,
        }
    }
}

impl Direction for Adam {
    fn direction(&mut self, g: &Rows) -> Rows {
        let (beta1, beta2) = self.betas;
        let blocks = 1
            + (0..g.len())
                .flat_map(|i| (0..g[0].len()).map(move |j| (i, j)))
                .map(|(i, j)| (self.block)(i, j))
                .max()
                .unwrap();
        self.m.resize(g.len(), vec![0.0; g[0].len()]);
        self.v.resize(blocks, 0.0);
        self.t += 1;
        let (mut sums, mut counts) = (vec![0.0; blocks], vec![0.0; blocks]);
        for (i, row) in g.iter().enumerate() {
            for (j, g) in row.iter().enumerate() {
                let block = (self.block)(i, j);
                sums[block] += g * g;
                counts[block] += 1.0;
            }
        }
        for block in 0..blocks {
            if counts[block] > 0.0 {
                let mean = sums[block] / counts[block];
                self.v[block] = beta2 * self.v[block] + (1.0 - beta2) * mean;
            }
        }
        let mut u = g.clone();
        for i in 0..g.len() {
            for j in 0..g[0].len() {
                self.m[i][j] = beta1 * self.m[i][j] + (1.0 - beta1) * g[i][j];
                let m_hat = self.m[i][j] / (1.0 - beta1.powi(self.t));
                let v_hat = self.v[(self.block)(i, j)] / (1.0 - beta2.powi(self.t));
                u[i][j] = m_hat / (v_hat.sqrt() + self.eps);
            }
        }
        u
    }
}

/// Program 1 of the Lion paper.
pub(crate) struct Lion {
    pub(crate) m: Option<Rows>,
}

impl Direction for Lion {
    fn direction(&mut self, g: &Rows) -> Rows {
        let m = self.m.take().unwrap_or_else(|| super::matrix::zeros(g));
        let c = zip(&m, g, |m, g| 0.9 * m + 0.1 * g);
        self.m = Some(zip(&m, g, |m, g| 0.99 * m + 0.01 * g));
        map(&c, sign)
    }
}

pub(crate) fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// How momentum is kept and looked at.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Keller Jordan's: a mean, with Nesterov's step ahead.
    Jordan,
    /// The mean by itself.
    Mean,
    /// Moonlight's: a sum, with Nesterov's step ahead.
    Moonlight,
}

/// Momentum, then a function of the whole matrix.
pub(crate) struct Momentum<F> {
    pub(crate) kind: Kind,
    pub(crate) beta: f64,
    pub(crate) m: Option<Rows>,
    pub(crate) then: F,
}

impl<F: FnMut(&Rows) -> Rows> Direction for Momentum<F> {
    fn direction(&mut self, g: &Rows) -> Rows {
        let beta = self.beta;
        let m = self.m.take().unwrap_or_else(|| super::matrix::zeros(g));
        let (m, u) = match self.kind {
            Kind::Jordan => {
                let m = zip(&m, g, |m, g| m + (1.0 - beta) * (g - m));
                let u = zip(&m, g, |m, g| g + beta * (m - g));
                (m, u)
            }
            Kind::Mean => {
                let m = zip(&m, g, |m, g| m + (1.0 - beta) * (g - m));
                (m.clone(), m)
            }
            Kind::Moonlight => {
                let m = zip(&m, g, |m, g| beta * m + g);
                let u = zip(&m, g, |m, g| g + beta * m);
                (m, u)
            }
        };
        self.m = Some(m);
        (self.then)(&u)
    }
}

/// `[out, in]`, as floats.
fn sizes(u: &Rows) -> (f64, f64) {
    (u.len() as f64, u[0].len() as f64)
}

/// Muon of `torch.optim`: the norm is clamped.
pub(crate) fn muon(quintics: Quintics, scale: fn(f64, f64) -> f64) -> impl FnMut(&Rows) -> Rows {
    move |u| {
        let (output, input) = sizes(u);
        let o = orthogonal(u, |norm| norm.max(1e-7), &quintics);
        map(&o, |x| scale(output, input) * x)
    }
}

/// Muon of the codes that add epsilon to the norm.
pub(crate) fn muon_added(
    quintics: Quintics,
    margin: f64,
    scale: fn(f64, f64) -> f64,
) -> impl FnMut(&Rows) -> Rows {
    move |u| {
        let (output, input) = sizes(u);
        let o = orthogonal(u, |norm| margin * norm + 1e-7, &quintics);
        map(&o, |x| scale(output, input) * x)
    }
}

/// `NorMuon` after the orthogonalization.
pub(crate) fn nor_muon(quintics: Quintics) -> impl FnMut(&Rows) -> Rows {
    let mut seen: Vec<f64> = Vec::new();
    move |u| {
        let (output, input) = sizes(u);
        let o = orthogonal(u, |norm| norm + 1e-7, &quintics);
        seen.resize(u.len(), 0.0);
        let before = frobenius(&o);
        let mut even = o.clone();
        for (row, seen) in even.iter_mut().zip(&mut seen) {
            let mean = row.iter().map(|x| x * x).sum::<f64>() / input;
            *seen += 0.05 * (mean - *seen);
            for x in row {
                *x /= seen.sqrt() + 1e-10;
            }
        }
        let after = frobenius(&even);
        map(&even, |x| {
            x * before / after * (output / input).max(1.0).sqrt()
        })
    }
}

/// Muon on each of so many groups of neighbouring outputs.
pub(crate) fn by_head(heads: usize, quintics: Quintics) -> impl FnMut(&Rows) -> Rows {
    move |u| {
        let width = u.len() / heads;
        let head = |head: &[Vec<f64>]| {
            let head = head.to_vec();
            let (output, input) = sizes(&head);
            let o = orthogonal(&head, |norm| norm.max(1e-7), &quintics);
            map(&o, |x| (output / input).max(1.0).sqrt() * x)
        };
        u.chunks(width).flat_map(head).collect()
    }
}
