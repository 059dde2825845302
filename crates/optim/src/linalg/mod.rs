//! Decompositions of square matrices on the host, in double precision, for updates that need one now and then.
//!
//! A matrix is a list of its columns, `D` of `D` numbers.

mod eigen;
mod qr;

pub(crate) use eigen::eigenvectors;
pub(crate) use qr::orthonormal;

/// A square matrix by columns.
pub(crate) type Columns = Vec<Vec<f64>>;

/// `sum a_i b_i`.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in (-1, 1).
    pub(super) fn numbers(seed: u64, n: usize) -> Vec<f64> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        (0..n).map(next).collect()
    }

    pub(super) fn columns(values: &[f64], d: usize) -> Columns {
        values.chunks(d).map(<[f64]>::to_vec).collect()
    }

    /// The largest entry of `Q^T Q - 1`.
    pub(super) fn off_orthonormal(q: &Columns) -> f64 {
        let mut worst = 0f64;
        for (i, a) in q.iter().enumerate() {
            for (j, b) in q.iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                worst = worst.max((dot(a, b) - expected).abs());
            }
        }
        worst
    }
}
