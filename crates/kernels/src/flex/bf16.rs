//! Products whose factors are rounded to bf16.
//!
//! A product of two bf16 numbers has 16 significant bits and is exact in single precision, so rounding the factors and
//! multiplying as usual gives what instructions for bf16 do, up to the order of the sums. That is the way on processors
//! without them, and on those whose instructions are the slower way. Else the factors are packed in pairs along the depth,
//! and tiles of the result stay in registers.

use super::matrix::{Into, Matrix, MatrixMut, TILE, cut, product, store};
use super::simd::simd;
use super::with_scratch;
use std::cell::RefCell;

/// The upper half of the number's bits after rounding to nearest, ties to even; NaN stays.
#[inline]
fn upper(x: f32) -> u32 {
    const HALF: u32 = 0x7fff;
    /// Keeps a NaN one where its payload lies in the lower half.
    const QUIET: u32 = 0x40;
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(HALF + (bits >> 16 & 1)) >> 16;
    if x.is_nan() {
        bits >> 16 | QUIET
    } else {
        rounded
    }
}

simd! {
    fn round(from: &[f32], to: &mut [f32]) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(upper(from) << 16);
        }
    }
}

/// The matrix with its entries rounded, at the start of `to`, lying there as it did.
fn rounded<'a>(x: Matrix, to: &'a mut [f32]) -> Matrix<'a> {
    let length = if x.is_turned() { x.rows() } else { x.columns() };
    let to = &mut to[..x.rows() * x.columns()];
    for (to, from) in to.chunks_exact_mut(length).zip(x.lines()) {
        round(from, to);
    }
    let rounded = Matrix::new(to, length);
    if x.is_turned() {
        rounded.transposed()
    } else {
        rounded
    }
}

/// [`product`] of rounded factors.
pub(super) fn product_bf16(c: &mut MatrixMut<'_>, into: Into, factor: f32, a: Matrix, b: Matrix) {
    #[cfg(target_arch = "x86_64")]
    if instructions::are_faster() {
        return packed(c, into, factor, [a, b], instructions::tile);
    }
    // Blocks that stay in a cache until they are multiplied.
    let ([rows, depth], columns) = ([a.rows(), a.columns()], b.columns());
    let width = cut(columns, columns.div_ceil(ROUNDED[1]), TILE[1]);
    let deepest = ROUNDED[0].min(depth);
    with_scratch(deepest * (rows + width), |scratch| {
        let (for_a, for_b) = scratch.split_at_mut(deepest * rows);
        for start in (0..depth).step_by(ROUNDED[0]) {
            let deep = ROUNDED[0].min(depth - start);
            let into = if start == 0 { into } else { Into::Add };
            let a = rounded(a.block([0, start], [rows, deep]), for_a);
            for left in (0..columns).step_by(width) {
                let width = width.min(columns - left);
                let b = rounded(b.block([start, left], [deep, width]), for_b);
                let mut c = c.block([0, left], [rows, width]);
                product(&mut c, into, factor, a, b);
            }
        }
    });
}

/// Depth and columns of blocks that are rounded at once: the depth at which the gemm crate cuts, too.
const ROUNDED: [usize; 2] = [512, 1024];

/// Rows and columns of a tile: 24 registers of sums; two more hold a row of `b`, one an entry of `a`.
const ROWS: usize = 12;
const COLUMNS: usize = 32;
/// Depth of a block: 24 KiB of `b` for the columns of one tile, which stay in the first cache.
const DEPTH: usize = 384;
/// Rows of a block: 180 KiB of `a`, for the second cache.
const BLOCK_ROWS: usize = 20 * ROWS;
/// Columns of a block: 1.5 MiB of `b`, for the third.
const BLOCK_COLUMNS: usize = 64 * COLUMNS;

/// Sums of a tile.
type Sums = [[f32; COLUMNS]; ROWS];

/// `sums_ij = sum_p a_pi0 b_pj0 + a_pi1 b_pj1` over pairs of bf16 numbers, the first in the lower half: `a` has `ROWS` of
/// them for each `p`, `b` `COLUMNS`.
type Tile = fn(a: &[u32], b: &[u32], sums: &mut Sums);

thread_local! {
    static PACKED: RefCell<[Vec<u32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Lays `x [depth, width]` out in panels of `WIDTH` columns, one pair of rows after the other; what a last pair or panel
/// lacks is 0.
fn pack<const WIDTH: usize>(x: Matrix, to: &mut Vec<u32>) {
    let pairs = x.rows().div_ceil(2);
    to.clear();
    to.resize(pairs * x.columns().next_multiple_of(WIDTH), 0);
    for (panel, to) in to.chunks_exact_mut(pairs * WIDTH).enumerate() {
        let first = panel * WIDTH;
        let width = WIDTH.min(x.columns() - first);
        let panel = x.block([0, first], [x.rows(), width]);
        let mut lines = panel.lines();
        if panel.is_turned() {
            for (i, line) in lines.enumerate() {
                pack_line::<WIDTH>(line, i, to);
            }
        } else {
            for to in to.as_chunks_mut::<WIDTH>().0 {
                let zeros = [0.0; WIDTH];
                let first = lines.next().unwrap_or(&zeros[..width]);
                let second = lines.next().unwrap_or(&zeros[..width]);
                pack_pair(first, second, &mut to[..width]);
            }
        }
    }
}

simd! {
    /// Two rows, one pair per column.
    fn pack_pair(first: &[f32], second: &[f32], to: &mut [u32]) {
        for ((to, &first), &second) in to.iter_mut().zip(first).zip(second) {
            *to = upper(first) | upper(second) << 16;
        }
    }
}

/// The pairs of one column.
fn pack_line<const WIDTH: usize>(line: &[f32], column: usize, to: &mut [u32]) {
    for (to, pair) in to.as_chunks_mut::<WIDTH>().0.iter_mut().zip(line.chunks(2)) {
        let second = pair.get(1).map_or(0, |&x| upper(x));
        to[column] = upper(pair[0]) | second << 16;
    }
}

/// The product, block by block: an entry's sum runs over the depth in one order, in whatever block and tile it lies.
fn packed(c: &mut MatrixMut<'_>, into: Into, factor: f32, [a, b]: [Matrix; 2], tile: Tile) {
    let ([rows, depth], columns) = ([a.rows(), a.columns()], b.columns());
    let [mut for_a, mut for_b] = PACKED.take();
    let mut sums = [[0.0; COLUMNS]; ROWS];
    for left in (0..columns).step_by(BLOCK_COLUMNS) {
        let width = BLOCK_COLUMNS.min(columns - left);
        for start in (0..depth).step_by(DEPTH) {
            let deep = DEPTH.min(depth - start);
            let into = if start == 0 { into } else { Into::Add };
            pack::<COLUMNS>(b.block([start, left], [deep, width]), &mut for_b);
            for top in (0..rows).step_by(BLOCK_ROWS) {
                let height = BLOCK_ROWS.min(rows - top);
                let block = a.block([top, start], [height, deep]);
                pack::<ROWS>(block.transposed(), &mut for_a);
                let pairs = deep.div_ceil(2);
                for (j, b) in for_b.chunks_exact(pairs * COLUMNS).enumerate() {
                    let column = left + j * COLUMNS;
                    for (i, a) in for_a.chunks_exact(pairs * ROWS).enumerate() {
                        tile(a, b, &mut sums);
                        let row = top + i * ROWS;
                        let height = ROWS.min(top + height - row);
                        let width = COLUMNS.min(columns - column);
                        for (sums, row) in sums[..height].iter().zip(row..) {
                            store(sums, &mut c.row(row)[column..column + width], into, factor);
                        }
                    }
                }
            }
        }
    }
    PACKED.set([for_a, for_b]);
}

/// AVX512-BF16.
#[cfg(target_arch = "x86_64")]
pub(crate) mod instructions {
    use super::{COLUMNS, ROWS, Sums};
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_si512,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };
    use std::hint::black_box;
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    /// Numbers in a register.
    const LANES: usize = 16;

    /// Whether this processor multiplies pairs of bf16 numbers.
    pub(super) fn exist() -> bool {
        crate::flex::simd::avx512() && is_x86_feature_detected!("avx512bf16")
    }

    /// Whether it multiplies them faster than single numbers.
    ///
    /// An instruction for pairs does twice the work. A Xeon of the fifth generation starts a quarter as many of them as for
    /// single numbers, and bf16 would take twice the time (docs/log.md, "Products in bf16"); a processor that has none but these
    /// for bf16 should start as many. No flag tells, so it is measured, once. Between 1 and 4 the limit of 2 has room on both
    /// sides, so that a process decides as the one before.
    pub(crate) fn are_faster() -> bool {
        static FASTER: OnceLock<bool> = OnceLock::new();
        *FASTER.get_or_init(|| exist() && time(pairs_in_a_row) < 2 * time(single_in_a_row))
    }

    /// The shortest of some runs: what interrupts a run only makes it longer.
    fn time(run: unsafe fn() -> [f32; LANES]) -> Duration {
        const RUNS: usize = 20;
        assert!(exist(), "the caller has asked");
        let timed = (0..RUNS).map(|_| {
            let start = Instant::now();
            // Safety: the processor has every feature that the two below are compiled for, and they ask for nothing else.
            #[expect(unsafe_code, reason = "calls a function for checked instructions")]
            black_box(unsafe { run() });
            start.elapsed()
        });
        timed.min().unwrap_or_default()
    }

    /// Instructions that [`time`] counts, for each sum of a tile: 5 to 20 microseconds.
    const REPEATED: usize = 1000;

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pairs_in_a_row() -> [f32; LANES] {
        let mut sums = [_mm512_setzero_ps(); ROWS * COLUMNS / LANES];
        let factor = as_pairs(_mm512_set1_epi32(black_box(0)));
        for _ in 0..REPEATED {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, factor, factor);
            }
        }
        last_of(sums)
    }

    #[target_feature(enable = "avx512f")]
    fn single_in_a_row() -> [f32; LANES] {
        let mut sums = [_mm512_setzero_ps(); ROWS * COLUMNS / LANES];
        let factor = _mm512_set1_ps(black_box(0.0));
        for _ in 0..REPEATED {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(factor, factor, *sum);
            }
        }
        last_of(sums)
    }

    /// Something that needs all of them.
    #[target_feature(enable = "avx512f")]
    fn last_of<const N: usize>(sums: [__m512; N]) -> [f32; LANES] {
        let mut last = [0.0; LANES];
        for sum in sums {
            write(black_box(sum), &mut last);
        }
        last
    }

    pub(super) fn tile(a: &[u32], b: &[u32], sums: &mut Sums) {
        assert!(exist(), "the caller has asked");
        // Safety: the processor has every feature the function is compiled for.
        #[expect(unsafe_code, reason = "calls a function for checked instructions")]
        unsafe {
            multiply(a, b, sums);
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn multiply(a: &[u32], b: &[u32], sums: &mut Sums) {
        let mut registers = [[_mm512_setzero_ps(); COLUMNS / LANES]; ROWS];
        for (a, b) in a
            .as_chunks::<ROWS>()
            .0
            .iter()
            .zip(b.as_chunks::<COLUMNS>().0)
        {
            let b = [pairs(&b[..LANES]), pairs(&b[LANES..])];
            for (sums, a) in registers.iter_mut().zip(a) {
                let a = as_pairs(_mm512_set1_epi32(a.cast_signed()));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm512_dpbf16_ps(*sum, a, b);
                }
            }
        }
        for (row, registers) in sums.iter_mut().zip(registers) {
            for (to, from) in row.as_chunks_mut::<LANES>().0.iter_mut().zip(registers) {
                write(from, to);
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn pairs(from: &[u32]) -> __m512bh {
        let from = &from[..LANES];
        // Safety: sixteen numbers are there, and no alignment is asked for.
        #[expect(unsafe_code, reason = "loads a register")]
        as_pairs(unsafe { _mm512_loadu_si512(from.as_ptr().cast()) })
    }

    #[target_feature(enable = "avx512f")]
    fn write(from: __m512, to: &mut [f32; LANES]) {
        // Safety: sixteen numbers have room, and no alignment is asked for.
        #[expect(unsafe_code, reason = "stores a register")]
        unsafe {
            _mm512_storeu_ps(to.as_mut_ptr(), from);
        }
    }

    #[target_feature(enable = "avx512f")]
    fn as_pairs(bits: __m512i) -> __m512bh {
        // Safety: both types are 512 bits, of which any are valid.
        #[expect(unsafe_code, reason = "the same register under its other name")]
        unsafe {
            std::mem::transmute(bits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::singles;

    /// What a tile is, one pair after the other.
    fn scalar(a: &[u32], b: &[u32], sums: &mut Sums) {
        let halves = |pair: u32| [pair << 16, pair & 0xffff_0000].map(f32::from_bits);
        *sums = [[0.0; COLUMNS]; ROWS];
        for (a, b) in a.chunks(ROWS).zip(b.chunks(COLUMNS)) {
            for (sums, &a) in sums.iter_mut().zip(a) {
                for (sum, &b) in sums.iter_mut().zip(b) {
                    let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
                    *sum += a1 * b1;
                    *sum += a0 * b0;
                }
            }
        }
    }

    /// That of the processor, wherever it has one.
    fn tile() -> Tile {
        #[cfg(target_arch = "x86_64")]
        if instructions::exist() {
            return instructions::tile;
        }
        scalar
    }

    type Way = fn(&mut MatrixMut<'_>, Into, f32, [Matrix; 2]);

    /// What this processor does, and what one with fast instructions does.
    const WAYS: [(&str, Way); 2] = [
        ("by this processor", |c, into, factor, [a, b]| {
            product_bf16(c, into, factor, a, b);
        }),
        ("packed", |c, into, factor, factors| {
            packed(c, into, factor, factors, tile());
        }),
    ];

    fn nearest(x: f32) -> f32 {
        f32::from_bits(upper(x) << 16)
    }

    #[test]
    fn rounds_to_the_nearest_and_ties_to_even() {
        // Every upper half with lower halves around the middle.
        for high in 0..=u32::from(u16::MAX) {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(high << 16 | low);
                let y = nearest(x);
                if x.is_nan() {
                    assert!(y.is_nan(), "{x:?}");
                    continue;
                }
                let below = f32::from_bits(high << 16);
                let above = f32::from_bits((high + 1) << 16);
                let up = low > 0x8000 || (low == 0x8000 && high & 1 == 1);
                let expected = if up { above } else { below };
                assert!(y.to_bits() == expected.to_bits(), "{x:e} became {y:e}");
            }
        }
        let from = singles(100, 3);
        let mut to = vec![0.0; 100];
        round(&from, &mut to);
        assert!(
            from.iter()
                .zip(to)
                .all(|(&x, y)| nearest(x).to_bits() == y.to_bits())
        );
    }

    #[test]
    fn products_are_those_of_rounded_factors() {
        // Below, at and above the sizes of tiles and blocks.
        for (m, k, n) in [
            (1, 1, 1),
            (3, 2, 33),
            (12, 7, 32),
            (13, 385, 31),
            (65, 1, 63),
            (250, 17, 40),
            (5, 800, 2050),
            (17, 384, 257),
        ] {
            let (a, b) = (singles(m * k, 1), singles(k * n, 2));
            let turned = |x: &[f32], columns: usize| -> Vec<f32> {
                let rows = x.len() / columns;
                (0..x.len())
                    .map(|i| x[i % rows * columns + i / rows])
                    .collect()
            };
            let (a_turned, b_turned) = (turned(&a, k), turned(&b, n));
            let exact = |i: usize, j: usize| -> f64 {
                let terms = (0..k).map(|p| (nearest(a[i * k + p]), nearest(b[p * n + j])));
                terms.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
            };
            for (name, way) in WAYS {
                for (a, b) in [
                    (Matrix::new(&a, k), Matrix::new(&b, n)),
                    (Matrix::new(&a_turned, m).transposed(), Matrix::new(&b, n)),
                    (Matrix::new(&a, k), Matrix::new(&b_turned, k).transposed()),
                ] {
                    // Wider than the product: what lies between its rows stays.
                    let mut c = vec![f32::NAN; m * n];
                    way(&mut MatrixMut::new(&mut c, n), Into::Replace, 0.5, [a, b]);
                    way(&mut MatrixMut::new(&mut c, n), Into::Add, -2.0, [a, b]);
                    for (index, &found) in c.iter().enumerate() {
                        let expected = -1.5 * exact(index / n, index % n);
                        let error = (f64::from(found) - expected).abs();
                        assert!(
                            error < 2e-6 * (k as f64).sqrt() + 1e-6 * expected.abs(),
                            "{name}, {m} x {k} x {n}: {found} at {index}, not {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_tile_is_the_scalar_one() {
        #[cfg(target_arch = "x86_64")]
        if instructions::exist() {
            for pairs in [0, 1, 5, 192] {
                let bits = |n: usize, seed| -> Vec<u32> {
                    let pairs = singles(2 * n, seed);
                    pairs
                        .chunks(2)
                        .map(|x| upper(x[0]) | upper(x[1]) << 16)
                        .collect()
                };
                let (a, b) = (bits(pairs * ROWS, 1), bits(pairs * COLUMNS, 2));
                let mut found = [[f32::NAN; COLUMNS]; ROWS];
                let mut expected = found;
                instructions::tile(&a, &b, &mut found);
                scalar(&a, &b, &mut expected);
                for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                    assert!((found - expected).abs() < 1e-5 * (1.0 + pairs as f32).sqrt());
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_in_its_row() {
        for (name, way) in WAYS {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut a = singles(15 * 33, 4);
                a[7 * 33 + 32] = bad;
                let b = singles(33 * 40, 5);
                let mut c = vec![0.0; 15 * 40];
                let factors = [Matrix::new(&a, 33), Matrix::new(&b, 40)];
                way(&mut MatrixMut::new(&mut c, 40), Into::Replace, 1.0, factors);
                for (index, c) in c.iter().enumerate() {
                    assert_eq!(c.is_finite(), index / 40 != 7, "{name}: {c} at {index}");
                }
            }
        }
    }
}
