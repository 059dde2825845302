//! Eigenvectors of a symmetric matrix.
//!
//! Householder's reduction to tridiagonal form and implicit QL steps: EISPACK's `tred2` and `tql2` (Bowdler, Martin, Reinsch and
//! Wilkinson, *Numerische Mathematik* 11, 1968) in the form of JAMA, which is in the public domain.

use super::Columns;

/// The eigenvectors of a symmetric matrix, those of the largest eigenvalues first. Each one's sign is free, and so is the basis
/// of a space of equal eigenvalues.
pub(crate) fn eigenvectors(a: Columns) -> Columns {
    let (mut v, mut d, mut e) = tridiagonal(a);
    diagonalize(&mut v, &mut d, &mut e);
    let mut order: Vec<usize> = (0..d.len()).collect();
    order.sort_by(|i, j| d[*j].total_cmp(&d[*i]));
    order.into_iter().map(|i| v[i].clone()).collect()
}

/// `V`, the diagonal and what stands beside it (from entry 1 on) of a tridiagonal `V^T A V`. `v[j][k]` is row k of column j.
fn tridiagonal(mut v: Columns) -> (Columns, Vec<f64>, Vec<f64>) {
    let n = v.len();
    let (mut d, mut e) = (vec![0.0; n], vec![0.0; n]);
    for j in 0..n {
        d[j] = v[j][n - 1];
    }
    for i in (1..n).rev() {
        let scale: f64 = d[..i].iter().map(|x| x.abs()).sum();
        if scale == 0.0 {
            e[i] = d[i - 1];
            for j in 0..i {
                d[j] = v[j][i - 1];
                v[j][i] = 0.0;
                v[i][j] = 0.0;
            }
            d[i] = 0.0;
            continue;
        }
        d[..i].iter_mut().for_each(|x| *x /= scale);
        let mut h: f64 = d[..i].iter().map(|x| x * x).sum();
        let f = d[i - 1];
        let g = -h.sqrt().copysign(f);
        e[i] = scale * g;
        h -= f * g;
        d[i - 1] = f - g;
        e[..i].fill(0.0);
        for j in 0..i {
            let f = d[j];
            v[i][j] = f;
            let mut g = e[j] + v[j][j] * f;
            for k in j + 1..i {
                g += v[j][k] * d[k];
                e[k] += v[j][k] * f;
            }
            e[j] = g;
        }
        e[..i].iter_mut().for_each(|x| *x /= h);
        let along: f64 = e[..i].iter().zip(&d).map(|(e, d)| e * d).sum();
        let half = along / (h + h);
        for j in 0..i {
            e[j] -= half * d[j];
        }
        for j in 0..i {
            let (f, g) = (d[j], e[j]);
            for k in j..i {
                v[j][k] -= f * e[k] + g * d[k];
            }
            d[j] = v[j][i - 1];
            v[j][i] = 0.0;
        }
        d[i] = h;
    }
    for i in 0..n.saturating_sub(1) {
        v[i][n - 1] = v[i][i];
        v[i][i] = 1.0;
        let h = d[i + 1];
        let (before, rest) = v.split_at_mut(i + 1);
        let next = &mut rest[0][..=i];
        if h != 0.0 {
            for (d, x) in d.iter_mut().zip(next.iter()) {
                *d = x / h;
            }
            for column in before {
                let g = super::dot(next, &column[..=i]);
                for (x, d) in column[..=i].iter_mut().zip(&d) {
                    *x -= g * d;
                }
            }
        }
        next.fill(0.0);
    }
    for j in 0..n {
        d[j] = v[j][n - 1];
        v[j][n - 1] = 0.0;
    }
    if let Some(last) = v.last_mut() {
        last[n - 1] = 1.0;
    }
    (v, d, e)
}

/// Turns the columns of `v` into the eigenvectors, and `d` into the eigenvalues, of the tridiagonal matrix of `d` and `e`.
fn diagonalize(v: &mut Columns, d: &mut [f64], e: &mut [f64]) {
    let n = d.len();
    if n == 0 {
        return;
    }
    e.rotate_left(1);
    e[n - 1] = 0.0;
    let (mut shift, mut size) = (0.0, 0f64);
    for l in 0..n {
        size = size.max(d[l].abs() + e[l].abs());
        let small = |x: f64| x.abs() <= f64::EPSILON * size;
        let m = (l..n).find(|m| small(e[*m])).unwrap_or(n - 1);
        if m > l {
            loop {
                let g = d[l];
                let p = (d[l + 1] - g) / (2.0 * e[l]);
                let r = p.hypot(1.0).copysign(p);
                d[l] = e[l] / (p + r);
                d[l + 1] = e[l] * (p + r);
                let (next, h) = (d[l + 1], g - d[l]);
                d[l + 2..].iter_mut().for_each(|x| *x -= h);
                shift += h;
                let mut p = d[m];
                let (mut c, mut c2, mut c3) = (1.0, 1.0, 1.0);
                let (mut s, mut s2) = (0.0, 0.0);
                let beside = e[l + 1];
                for i in (l..m).rev() {
                    (c3, c2, s2) = (c2, c, s);
                    let (g, h) = (c * e[i], c * p);
                    let r = p.hypot(e[i]);
                    e[i + 1] = s * r;
                    s = e[i] / r;
                    c = p / r;
                    p = c * d[i] - s * g;
                    d[i + 1] = h + s * (c * g + s * d[i]);
                    let (left, right) = v.split_at_mut(i + 1);
                    for (x, y) in left[i].iter_mut().zip(right[0].iter_mut()) {
                        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                    }
                }
                let p = -s * s2 * c3 * beside * e[l] / next;
                e[l] = s * p;
                d[l] = c * p;
                if small(e[l]) || e[l].is_nan() {
                    break;
                }
            }
        }
        d[l] += shift;
        e[l] = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::dot;
    use super::super::tests::{columns, numbers, off_orthonormal};
    use super::*;

    /// `sum over rows of x x^T`, of so many random rows.
    fn gram(d: usize, rows: usize) -> Columns {
        let rows = columns(&numbers(7 + rows as u64, d * rows), d);
        let column = |j: usize| {
            let entry = |i: usize| rows.iter().map(|x| x[i] * x[j]).sum();
            (0..d).map(entry).collect()
        };
        (0..d).map(column).collect()
    }

    fn times(a: &Columns, x: &[f64]) -> Vec<f64> {
        a.iter().map(|row| dot(row, x)).collect()
    }

    /// Also where the matrix has no full rank, and where all eigenvalues are one.
    #[test]
    fn they_are_a_basis_that_the_matrix_only_stretches_most_first() {
        let mut unit = vec![vec![0.0; 6]; 6];
        (0..6).for_each(|i| unit[i][i] = 1.0);
        let zero = vec![vec![0.0; 5]; 5];
        let grams = [(1, 1), (2, 5), (3, 1), (12, 40), (24, 8), (31, 31)];
        let all = grams.map(|(d, rows)| gram(d, rows));
        for a in all.into_iter().chain([unit, zero]) {
            let d = a.len();
            let q = eigenvectors(a.clone());
            assert!(off_orthonormal(&q) < 1e-12, "{d}");
            let mut last = f64::INFINITY;
            for v in &q {
                let stretched = times(&a, v);
                let by = dot(&stretched, v);
                let off = stretched.iter().zip(v).map(|(x, v)| (x - by * v).abs());
                assert!(off.fold(0.0, f64::max) < 1e-12, "{d}");
                assert!(by <= last + 1e-12, "{d}: {by} after {last}");
                last = by;
            }
        }
    }
}
