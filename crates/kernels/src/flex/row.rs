//! The product of a single row with a matrix, which is what decoding consists of.
//!
//! It reads the matrix once and multiplies each number once, so memory sets its pace: what counts is to read in as many
//! streams as the processor follows, and to keep sums where they don't get in the way.

use super::matrix::{Into, Matrix, store};
use super::simd::{dot, simd};

/// Sums that are in the works at once: 4 KiB, a small part of the first cache.
const SUMS: usize = 1024;

simd! {
    /// `c = factor * x b` or `c += factor * x b`.
    fn product(c: &mut [f32], into: Into, factor: f32, x: &[f32], b: Matrix<'_>) {
        if b.is_turned() {
            for (j, c) in c.iter_mut().enumerate() {
                let sum = dot(x, b.line(j));
                store(&[sum], std::slice::from_mut(c), into, factor);
            }
            return;
        }
        let mut sums = [0.0f32; SUMS];
        for (chunk, c) in c.chunks_mut(SUMS).enumerate() {
            let sums = &mut sums[..c.len()];
            sums.fill(0.0);
            let part = |row: usize| &b.line(row)[chunk * SUMS..][..c.len()];
            // Four rows at a time: a sum is read and written once for all of them.
            let (fours, rest) = x.as_chunks::<4>();
            for (four, x) in fours.iter().enumerate() {
                let [w0, w1, w2, w3] = [0, 1, 2, 3].map(|row| part(4 * four + row));
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = x[0].mul_add(w0[j], *sum);
                    *sum = x[1].mul_add(w1[j], *sum);
                    *sum = x[2].mul_add(w2[j], *sum);
                    *sum = x[3].mul_add(w3[j], *sum);
                }
            }
            for (row, &x) in (4 * fours.len()..).zip(rest) {
                for (sum, &w) in sums.iter_mut().zip(part(row)) {
                    *sum = x.mul_add(w, *sum);
                }
            }
            store(sums, c, into, factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::singles;

    #[test]
    fn agrees_with_single_sums() {
        // Below, at and above the numbers of rows and sums that are taken together.
        for (depth, columns) in [(1, 1), (3, 1024), (4, 1025), (7, 2100), (65, 63)] {
            let (x, w) = (singles(depth, 1), singles(depth * columns, 2));
            let rows = Matrix::new(&w, columns);
            let turned = Matrix::new(&w, depth).transposed();
            let at = |j: usize, p: usize| w[p * columns + j];
            let at_turned = |j: usize, p: usize| w[j * depth + p];
            let entries: [&dyn Fn(usize, usize) -> f32; 2] = [&at, &at_turned];
            for (b, entry) in [rows, turned].into_iter().zip(entries) {
                let mut c = vec![f32::NAN; columns];
                product(&mut c, Into::Replace, 0.5, &x, b);
                product(&mut c, Into::Add, -2.0, &x, b);
                for (j, &found) in c.iter().enumerate() {
                    let terms = x.iter().enumerate();
                    let sum: f64 = terms
                        .map(|(p, &x)| f64::from(x) * f64::from(entry(j, p)))
                        .sum();
                    let error = (f64::from(found) + 1.5 * sum).abs();
                    assert!(
                        error < 2e-6 * (depth as f64).sqrt() + 1e-6 * sum.abs(),
                        "{depth} x {columns}: {found} in {j}, not {}",
                        -1.5 * sum
                    );
                }
            }
        }
    }
}
