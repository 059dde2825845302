//! Views of matrices in memory, and products of them.

use super::bf16::product_bf16;
use super::row;
use super::simd::simd;
use crate::Precision;
use rayon::prelude::*;
use std::marker::PhantomData;

/// A matrix whose entry `(i, j)` is `data[i * row_step + j * column_step]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// The rows of `data`, `columns` entries each.
    pub(crate) fn new(data: &'a [f32], columns: usize) -> Self {
        Self {
            data,
            rows: data.len() / columns,
            columns,
            row_step: columns,
            column_step: 1,
        }
    }

    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    pub(crate) fn columns(self) -> usize {
        self.columns
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    /// The `rows x columns` entries from `(row, column)` on.
    pub(crate) fn block(self, [row, column]: [usize; 2], [rows, columns]: [usize; 2]) -> Self {
        assert!(
            row + rows <= self.rows && column + columns <= self.columns,
            "the block lies inside the matrix"
        );
        Self {
            data: &self.data[row * self.row_step + column * self.column_step..],
            rows,
            columns,
            ..self
        }
    }

    /// Whether the entries of a column are adjacent in memory, and those of a row are not.
    pub(super) fn is_turned(self) -> bool {
        self.column_step != 1
    }

    /// A row, or, of a matrix that [is turned](Self::is_turned), a column.
    #[inline]
    pub(super) fn line(self, index: usize) -> &'a [f32] {
        let (length, step, adjacent) = if self.is_turned() {
            (self.rows, self.column_step, self.row_step)
        } else {
            (self.columns, self.row_step, self.column_step)
        };
        debug_assert!(adjacent == 1, "either rows or columns are adjacent");
        &self.data[index * step..][..length]
    }

    /// All of them.
    pub(super) fn lines(self) -> impl Iterator<Item = &'a [f32]> {
        let count = if self.is_turned() {
            self.columns
        } else {
            self.rows
        };
        (0..count).map(move |index| self.line(index))
    }

    /// Whether every entry lies inside `data`, which [`product`] relies on.
    fn is_inside(self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step
                < self.data.len()
    }
}

/// A matrix to write, with adjacent entries in a row.
///
/// It stands for the entries of the matrix only, not for what lies between its rows: several of them can cover one
/// buffer column by column.
pub(crate) struct MatrixMut<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    row_step: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// Safety: it owns access to its entries alone, as a `&mut [f32]` does, which is `Send`.
#[expect(
    unsafe_code,
    reason = "disjoint parts of one buffer go to different threads"
)]
unsafe impl Send for MatrixMut<'_> {}

impl<'a> MatrixMut<'a> {
    /// The rows of `data`, `columns` entries each.
    pub(crate) fn new(data: &'a mut [f32], columns: usize) -> Self {
        Self {
            start: data.as_mut_ptr(),
            rows: data.len() / columns,
            columns,
            row_step: columns,
            buffer: PhantomData,
        }
    }

    /// Disjoint blocks that cover the matrix, row of blocks by row of blocks; the last ones may be smaller.
    pub(crate) fn tiles(self, [rows, columns]: [usize; 2]) -> Vec<Self> {
        let mut tiles = Vec::new();
        for row in (0..self.rows).step_by(rows) {
            for column in (0..self.columns).step_by(columns) {
                tiles.push(Self {
                    // Only an address: `wrapping_add` needs no promise.
                    start: self.start.wrapping_add(row * self.row_step + column),
                    rows: rows.min(self.rows - row),
                    columns: columns.min(self.columns - column),
                    ..self
                });
            }
        }
        tiles
    }

    /// `count` rows from `first` on.
    pub(crate) fn rows(&mut self, first: usize, count: usize) -> MatrixMut<'_> {
        self.block([first, 0], [count, self.columns])
    }

    /// The `rows x columns` entries from `(row, column)` on.
    pub(super) fn block(
        &mut self,
        [row, column]: [usize; 2],
        [rows, columns]: [usize; 2],
    ) -> MatrixMut<'_> {
        assert!(
            row + rows <= self.rows && column + columns <= self.columns,
            "the block lies inside the matrix"
        );
        MatrixMut {
            start: self.start.wrapping_add(row * self.row_step + column),
            rows,
            columns,
            row_step: self.row_step,
            buffer: PhantomData,
        }
    }

    /// Sets every entry.
    pub(crate) fn fill(&mut self, value: f32) {
        for row in 0..self.rows {
            self.row(row).fill(value);
        }
    }

    /// The entries of one row.
    pub(crate) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "the row lies inside the matrix");
        // Safety: the constructor took the whole buffer, blocks and rows were checked against its bounds, no two
        // views share an entry, and `&mut self` lends this one out once.
        #[expect(
            unsafe_code,
            reason = "a row of a view that shares its buffer with others"
        )]
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.row_step), self.columns)
        }
    }
}

/// Whether a product replaces what is there or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    Replace,
    Add,
}

/// `to = factor * sums` or `to += factor * sums`.
#[inline]
pub(super) fn store(sums: &[f32], to: &mut [f32], into: Into, factor: f32) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = match into {
            Into::Replace => factor * sum,
            Into::Add => *to + factor * sum,
        };
    }
}

/// `c = factor * a b` or `c += factor * a b`, on this thread.
pub(crate) fn product(c: &mut MatrixMut<'_>, into: Into, factor: f32, a: Matrix, b: Matrix) {
    assert!(
        a.rows == c.rows && b.columns == c.columns && a.columns == b.rows,
        "the product's shapes fit"
    );
    if a.rows == 1 && !a.is_turned() {
        return row::product(c.row(0), into, factor, a.line(0), b);
    }
    assert!(a.is_inside() && b.is_inside(), "the factors lie in memory");
    // Safety: all entries of `a` and `b` lie inside their slices (checked above) and all entries of `c` inside the
    // buffer it borrows alone (see `MatrixMut`), with the steps given here; with `read_dst` false nothing of `c` is
    // read before it is written.
    #[expect(unsafe_code, reason = "the gemm crate takes pointers")]
    unsafe {
        gemm::gemm(
            c.rows,
            c.columns,
            a.columns,
            c.start,
            1,
            c.row_step as isize,
            into == Into::Add,
            a.data.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.data.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            1.0,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Multiplications a block should have at least: fewer than this cost less than handing them to a thread.
const BLOCK_WORK: usize = 1 << 22;
/// Multiplications in the time that copying one entry of a factor into place takes, roughly.
const COPYING: usize = 40;
/// Rows of the register tiles of the gemm crate's f32 kernels, seen with `c` in rows, and columns of a register, of which
/// narrow tiles have fewer.
pub(super) const TILE: [usize; 2] = [6, 16];

/// The length of the blocks that `length` is cut into, about `count`: whole tiles, and no last piece below a tile.
pub(super) fn cut(length: usize, count: usize, tile: usize) -> usize {
    let mut block = length.div_ceil(count).next_multiple_of(tile);
    while (1..tile).contains(&(length % block)) && block < length {
        block += tile;
    }
    block.min(length)
}

/// The shape of the blocks, one for each thread, that `c` is cut into: rows or columns, whichever keeps the slowest
/// thread busy for less.
fn blocks(rows: usize, columns: usize, depth: usize, threads: usize) -> [usize; 2] {
    // A few rows cost what reading the other factor does, which is as much as 32 of them: single rows with 256 x 688 entries
    // are faster on one thread, with 512 x 512 on two (docs/log.md, "What bounds decoding").
    let count = (rows.max(32) * columns * depth / BLOCK_WORK).clamp(1, threads);
    let time = |[r, c]: [usize; 2]| depth * (r * c + COPYING * (r + c));
    let by_rows = [cut(rows, count, TILE[0]), columns];
    let by_columns = [rows, cut(columns, count, TILE[1])];
    if time(by_rows) <= time(by_columns) {
        by_rows
    } else {
        by_columns
    }
}

/// [`product`] on all threads: every block of `c` is a product of its own.
///
/// The gemm crate's own parallel mode splits finer and packs both factors for all threads first, which is slower
/// for the flat matrices of a transformer. An entry's sum runs over the depth in the same order in whatever block it
/// lies, as long as that is no single row or column, so the result doesn't depend on the number of threads.
///
/// The factors are rounded to `precision`.
pub(crate) fn product_parallel(
    c: MatrixMut<'_>,
    into: Into,
    factor: f32,
    [a, b]: [Matrix; 2],
    precision: Precision,
) {
    let depth = a.columns;
    let [rows, columns] = blocks(c.rows, c.columns, depth, rayon::current_num_threads());
    let across = c.columns.div_ceil(columns);
    let tiles = c.tiles([rows, columns]);
    let one = |index: usize, mut tile: MatrixMut<'_>| {
        let (row, column) = (index / across * rows, index % across * columns);
        let a = a.block([row, 0], [tile.rows, depth]);
        let b = b.block([0, column], [depth, tile.columns]);
        match precision {
            Precision::F32 => product(&mut tile, into, factor, a, b),
            Precision::Bf16 => product_bf16(&mut tile, into, factor, a, b),
        }
    };
    if tiles.len() == 1 {
        tiles
            .into_iter()
            .enumerate()
            .for_each(|(i, tile)| one(i, tile));
    } else {
        tiles
            .into_par_iter()
            .with_max_len(1)
            .enumerate()
            .for_each(|(i, tile)| one(i, tile));
    }
}

/// The side of the tiles that are turned at once: a line of the cache.
const SIDE: usize = 16;

simd! {
    /// Writes the transpose of `x [rows, columns]`, whose rows are adjacent in memory, to `to [columns, rows]`.
    ///
    /// A product with a factor whose depth is adjacent in memory is slow to pack, entry by entry and for each block of the
    /// result anew (three times slower at depth 8192), so such factors are turned first.
    fn turn(x: Matrix, to: &mut [f32]) {
        let rows = x.rows();
        for (strip, to) in to.chunks_mut(SIDE * rows).enumerate() {
            let (first, width) = (strip * SIDE, to.len() / rows);
            for row in (0..rows).step_by(SIDE) {
                let height = SIDE.min(rows - row);
                if width == SIDE && height == SIDE {
                    let mut tile = [[0.0f32; SIDE]; SIDE];
                    for (i, line) in tile.iter_mut().enumerate() {
                        line.copy_from_slice(&x.line(row + i)[first..][..SIDE]);
                    }
                    for (j, line) in to.chunks_exact_mut(rows).enumerate() {
                        for (to, line) in line[row..row + SIDE].iter_mut().zip(&tile) {
                            *to = line[j];
                        }
                    }
                } else {
                    for (j, line) in to.chunks_exact_mut(rows).enumerate() {
                        for (i, to) in line[row..row + height].iter_mut().enumerate() {
                            *to = x.line(row + i)[first + j];
                        }
                    }
                }
            }
        }
    }
}

/// The transpose of `data [rows, columns]` as `[columns, rows]`, on all threads.
pub(crate) fn transpose(data: &[f32], columns: usize) -> Vec<f32> {
    let x = Matrix::new(data, columns);
    let rows = x.rows();
    let mut out = super::buffer(data.len());
    out.par_chunks_mut(SIDE * rows)
        .enumerate()
        .for_each(|(strip, out)| {
            turn(x.block([0, strip * SIDE], [rows, out.len() / rows]), out);
        });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::singles;

    #[test]
    fn transposes_any_shape() {
        for (rows, columns) in [
            (1, 1),
            (1, 40),
            (40, 1),
            (16, 16),
            (33, 50),
            (64, 48),
            (17, 15),
        ] {
            let x = singles(rows * columns, 1);
            let y = transpose(&x, columns);
            for i in 0..rows {
                for j in 0..columns {
                    assert!(y[j * rows + i].to_bits() == x[i * columns + j].to_bits());
                }
            }
        }
    }

    #[test]
    fn blocks_are_whole_tiles_and_never_slivers() {
        for length in 1..2000 {
            for count in 1..9 {
                for tile in TILE {
                    let block = cut(length, count, tile);
                    let last = length % block;
                    assert!(block <= length && length.div_ceil(block) <= count);
                    assert!(last == 0 || last >= tile, "{length} by {block}");
                }
            }
        }
        // The columns come out even, the rows don't.
        assert_eq!(blocks(7, 4096, 4096, 2), [7, 2048]);
        assert_eq!(blocks(2048, 688, 256, 2), [1026, 688]);
        assert_eq!(blocks(2, 3, 4, 2), [2, 3]);
    }

    #[test]
    fn the_number_of_threads_leaves_no_trace() {
        for (m, k, n) in [
            (601, 1100, 70),
            (65, 700, 1500),
            (256, 2048, 688),
            (7, 900, 4097),
            (1, 4096, 4097),
            (4097, 2048, 1),
        ] {
            let (a, b) = (singles(m * k, 4), singles(k * n, 5));
            let run = |threads: usize, precision: Precision| {
                let mut c = vec![0.0; m * n];
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                pool.build().unwrap().install(|| {
                    let (a, b) = (Matrix::new(&a, k), Matrix::new(&b, n));
                    let c = MatrixMut::new(&mut c, n);
                    product_parallel(c, Into::Replace, 1.0, [a, b], precision);
                });
                c
            };
            for precision in [Precision::F32, Precision::Bf16] {
                let one = run(1, precision);
                for threads in [2, 3, 7] {
                    let several = run(threads, precision);
                    let same = one
                        .iter()
                        .zip(&several)
                        .all(|(x, y)| x.to_bits() == y.to_bits());
                    assert!(same, "{m} x {k} x {n} in {precision:?} on {threads}");
                }
            }
        }
    }

    #[test]
    fn blocks_cover_the_product() {
        // Large enough to be cut along both axes.
        for (m, k, n) in [(700, 130, 900), (130, 300, 2100), (2100, 300, 130)] {
            let (a, b) = (singles(m * k, 2), singles(k * n, 3));
            let mut c = vec![f32::NAN; m * n];
            product_parallel(
                MatrixMut::new(&mut c, n),
                Into::Replace,
                0.5,
                [Matrix::new(&a, k), Matrix::new(&b, n)],
                Precision::F32,
            );
            let turned = transpose(&a, k);
            let mut whole = vec![1.0; m * n];
            let left = Matrix::new(&turned, m).transposed();
            product(
                &mut MatrixMut::new(&mut whole, n),
                Into::Add,
                2.0,
                left,
                Matrix::new(&b, n),
            );
            for (c, whole) in c.iter().zip(&whole) {
                assert!((4.0 * c + 1.0 - whole).abs() < 1e-3, "{c} {whole}");
            }
        }
    }
}
