//! The orthonormal factor of a matrix.

use super::{Columns, dot};

/// `Q` of `A = Q R`, by Householder's reflections (Golub and Van Loan, *Matrix Computations*, section 5.2). Each column's sign
/// is free.
///
/// Columns that depend on the ones before get what completes a basis.
pub(crate) fn orthonormal(mut a: Columns) -> Columns {
    let d = a.len();
    // Reflection k is 1 - 2 v v^T, v of length 1 with zeros before entry k; none where a column is zero from there on.
    let mut reflections = Vec::with_capacity(d);
    for k in 0..d {
        let reflection = reflection(&a[k][k..]);
        if let Some(v) = &reflection {
            for column in &mut a[k..] {
                reflect(&mut column[k..], v);
            }
        }
        reflections.push(reflection);
    }
    let mut q: Columns = (0..d)
        .map(|k| {
            let mut unit = vec![0.0; d];
            unit[k] = 1.0;
            unit
        })
        .collect();
    for (k, reflection) in reflections.iter().enumerate().rev() {
        let Some(v) = reflection else { continue };
        for column in &mut q[k..] {
            reflect(&mut column[k..], v);
        }
    }
    q
}

/// The vector whose reflection leaves nothing of `x` but its first entry.
fn reflection(x: &[f64]) -> Option<Vec<f64>> {
    let length = dot(x, x).sqrt();
    if length == 0.0 || !length.is_finite() {
        return None;
    }
    let mut v = x.to_vec();
    // The sign that doesn't cancel.
    v[0] += length.copysign(x[0]);
    let of_v = dot(&v, &v).sqrt();
    for x in &mut v {
        *x /= of_v;
    }
    Some(v)
}

fn reflect(x: &mut [f64], v: &[f64]) {
    let twice = 2.0 * dot(x, v);
    x.iter_mut().zip(v).for_each(|(x, v)| *x -= twice * v);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{columns, numbers, off_orthonormal};
    use super::*;

    #[test]
    fn the_factor_is_orthonormal_and_what_is_left_is_triangular() {
        for d in [1, 2, 3, 8, 21] {
            let a = columns(&numbers(d as u64, d * d), d);
            let q = orthonormal(a.clone());
            assert!(off_orthonormal(&q) < 1e-13, "{d}");
            for (j, column) in a.iter().enumerate() {
                for below in &q[j + 1..] {
                    assert!(dot(below, column).abs() < 1e-13, "{d}");
                }
            }
        }
    }

    #[test]
    fn what_has_no_full_rank_still_gives_a_basis() {
        let mut a = columns(&numbers(3, 25), 5);
        a[2] = a[0].clone();
        a[4] = vec![0.0; 5];
        assert!(off_orthonormal(&orthonormal(a)) < 1e-13);
        assert!(off_orthonormal(&orthonormal(vec![vec![0.0; 4]; 4])) < 1e-15);
    }
}
