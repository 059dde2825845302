//! Rotary position embedding, one unit a pair of channels.

use crate::Buffer;
use cubecl::client::Client;
use cubecl::prelude::*;

/// `(a, b) -> (a cos - b sin, a sin + b cos)` for the first `pairs` pairs of each head, which has `pairs_a_head`; the others
/// stay. `direction` is 1, or -1 for the backward pass.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn turn_kernel<F: Float>(
    x: &[F],
    cos: &[F],
    sin: &[F],
    y: &mut [F],
    pairs_a_row: u32,
    pairs_a_head: u32,
    pairs: u32,
    positions: u32,
    direction: f32,
    #[define(F)] _dtype: ElemType,
) {
    let first = 2 * ABSOLUTE_POS;
    if first >= y.len() {
        terminate!();
    }
    let row = ABSOLUTE_POS / pairs_a_row as usize;
    let pair = ABSOLUTE_POS % pairs_a_head as usize;
    if pair < pairs as usize {
        let at = (row % positions as usize) * pairs as usize + pair;
        let c = f32::cast_from(cos[at]);
        let s = f32::cast_from(sin[at]) * direction;
        let a = f32::cast_from(x[first]);
        let b = f32::cast_from(x[first + 1]);
        y[first] = F::cast_from(a * c - b * s);
        y[first + 1] = F::cast_from(a * s + b * c);
    } else {
        y[first] = x[first];
        y[first + 1] = x[first + 1];
    }
}

/// The layout of a row: its heads, and the pairs of channels that turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// Channels of a row, all heads side by side.
    pub width: usize,
    /// Channels of a head, an even number.
    pub head: usize,
    /// Pairs of a head that turn: the width of the tables, at most `head / 2`.
    pub pairs: usize,
    /// Lines of the tables; row `r` is turned by line `r % positions`.
    pub positions: usize,
}

/// Writes the rows of `x`, the first pairs of each head turned by their angles, to `y`; `direction` -1 turns back, which is
/// the gradient.
///
/// `x` and `y` are `[N, width]`, the tables `[positions, pairs]`, all in the format `dtype`. Source: Su et al. (2021), arXiv
/// 2104.09864, eq. 15 and 34.
pub fn turn(
    client: &Client,
    [x, y]: [&Buffer; 2],
    [cos, sin]: [&Buffer; 2],
    rows: Rows,
    direction: f32,
    dtype: ElemType,
) {
    let units = x.len() / 2;
    let dim = CubeDim::new(client, units);
    turn_kernel::launch(
        client,
        cubecl::calculate_cube_count_elemwise(client, units, dim),
        dim,
        x.arg(),
        cos.arg(),
        sin.arg(),
        y.arg(),
        (rows.width / 2) as u32,
        (rows.head / 2) as u32,
        rows.pairs as u32,
        rows.positions as u32,
        direction,
        dtype,
    );
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use super::*;
    use crate::check::{Gpu, normal};

    #[test]
    fn agrees_with_its_formula() {
        let gpu = Gpu::new();
        // The last turn a part of each head.
        for (sequences, positions, heads, head, pairs) in [
            (1, 1, 1, 2, 1),
            (2, 5, 3, 20, 10),
            (3, 65, 2, 34, 17),
            (3, 65, 2, 34, 8),
            (2, 5, 3, 8, 1),
        ] {
            let width = heads * head;
            let rows = Rows {
                width,
                head,
                pairs,
                positions,
            };
            let n = sequences * positions * width;
            let (x, angles) = (normal(n, 1), normal(positions * pairs, 2));
            let cos: Vec<f32> = angles.iter().map(|a| a.cos()).collect();
            let sin: Vec<f32> = angles.iter().map(|a| a.sin()).collect();
            let (xs, tables) = (gpu.upload(&x), [&gpu.upload(&cos), &gpu.upload(&sin)]);
            for direction in [1.0, -1.0] {
                let mut expected = Vec::new();
                for row in 0..n / width {
                    for pair in 0..width / 2 {
                        let within = pair % (head / 2);
                        let pair = &x[row * width + 2 * pair..][..2];
                        let (a, b) = (f64::from(pair[0]), f64::from(pair[1]));
                        if within < pairs {
                            let at = row % positions * pairs + within;
                            let (cos, sin) = (f64::from(cos[at]), f64::from(direction * sin[at]));
                            expected.extend([a * cos - b * sin, a * sin + b * cos]);
                        } else {
                            expected.extend([a, b]);
                        }
                    }
                }
                let ys = gpu.empty(n);
                turn(&gpu.client, [&xs, &ys], tables, rows, direction, gpu.dtype);
                gpu.assert_close(&format!("{sequences} x {rows:?}"), &ys, &expected);
            }
        }
    }
}
