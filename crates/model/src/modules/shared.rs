//! Attention of sequences that share positions.
//!
//! `N` positions, `R` sequences, `T` positions of the longest, `C` channels.

use crate::prefix_tree::PrefixTree;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Where the positions of a [`PrefixTree`] are in rows of whole sequences: linear maps see each position once, attention sees
/// every sequence from its beginning.
#[derive(Debug, Clone)]
pub struct SharedPositions {
    /// Of each position in its sequences, `[1, N]`.
    places: Tensor<2, Int>,
    rows: usize,
    longest: usize,
    /// The position at each place of the rows, `[R T]`; behind a row's end any.
    of_rows: Tensor<1, Int>,
    /// The place in the rows of each position, `[N]`.
    of_positions: Tensor<1, Int>,
}

impl SharedPositions {
    /// The positions of a tree.
    pub fn new(tree: &PrefixTree, device: &Device) -> Self {
        let (rows, longest) = (tree.rows(), tree.longest());
        let mut of_rows = vec![0_i64; rows * longest];
        let mut of_positions = vec![0_i64; tree.tokens().len()];
        for (row, path) in tree.leaf_paths().enumerate() {
            for (place, node) in path.iter().enumerate() {
                let place = row * longest + place;
                of_rows[place] = *node as i64;
                of_positions[*node] = place as i64;
            }
        }
        let places: Vec<i64> = tree.depths().iter().map(|depth| *depth as i64).collect();
        let count = places.len();
        let line = |numbers: Vec<i64>| {
            let count = numbers.len();
            Tensor::from_data(TensorData::new(numbers, [count]), device)
        };
        Self {
            places: line(places).reshape([1, count]),
            rows,
            longest,
            of_rows: line(of_rows),
            of_positions: line(of_positions),
        }
    }

    /// The place of each position in its sequences, `[1, N]`.
    pub fn places(&self) -> Tensor<2, Int> {
        self.places.clone()
    }

    /// Places that there are.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// `[1, N, C] -> [R, T, C]`.
    pub fn unpacked(&self, x: Tensor<3>) -> Tensor<3> {
        let channels = x.dims()[2];
        let rows = x.select(1, self.of_rows.clone());
        rows.reshape([self.rows, self.longest, channels])
    }

    /// `[R, T, C] -> [1, N, C]`.
    pub fn packed(&self, x: Tensor<3>) -> Tensor<3> {
        let [rows, longest, channels] = x.dims();
        let x = x.reshape([1, rows * longest, channels]);
        x.select(1, self.of_positions.clone())
    }
}
