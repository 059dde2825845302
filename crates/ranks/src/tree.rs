//! Sums along a fixed binary tree.
//!
//! Sums of floating-point numbers depend on their order. Here leaf 0 is added to leaf 1, 2 to 3, then those sums in pairs, and so on;
//! of a number of leaves that is no power of two the left part is the largest power of two below it:
//!
//! ```text
//! sum(leaves a..b) = sum(a..a + p) + sum(a + p..b),   p the largest power of two below b - a
//! ```
//!
//! Whoever holds a block of 2^k leaves, the first one a multiple of 2^k, can sum it alone: the blocks' sums are the leaves of the
//! same tree, k levels lower. That's why the number of ranks changes no bit.

use rayon::prelude::*;

/// A sum along the tree, a leaf at a time: at most `log2(leaves) + 1` sums are alive.
///
/// ```
/// use evenburn_ranks::tree::TreeSum;
/// let mut sum = TreeSum::default();
/// for leaf in ["a", "b", "c", "d", "e"] {
///     sum.push(leaf.to_owned(), |a, b| format!("({a}+{b})"));
/// }
/// let all = sum.finish(|a, b| format!("({a}+{b})"));
/// assert_eq!(all.as_deref(), Some("(((a+b)+(c+d))+e)"));
/// ```
#[derive(Debug)]
pub struct TreeSum<T> {
    /// Sums of `2^level` leaves, the largest first.
    open: Vec<(u32, T)>,
}

impl<T> Default for TreeSum<T> {
    fn default() -> Self {
        Self { open: Vec::new() }
    }
}

impl<T> TreeSum<T> {
    /// Adds the next leaf; `add` is given the left and the right part.
    pub fn push(&mut self, leaf: T, add: impl Fn(T, T) -> T) {
        let (mut level, mut sum) = (0, leaf);
        while let Some((_, left)) = self.open.pop_if(|(open, _)| *open == level) {
            sum = add(left, sum);
            level += 1;
        }
        self.open.push((level, sum));
    }

    /// The sum of all leaves; none where there were none.
    pub fn finish(mut self, add: impl Fn(T, T) -> T) -> Option<T> {
        let (_, mut sum) = self.open.pop()?;
        while let Some((_, left)) = self.open.pop() {
            sum = add(left, sum);
        }
        Some(sum)
    }
}

/// Elements that stay in a core's cache while the leaves are added, those of two leaves: 32 KiB.
const BLOCK: usize = 4096;

/// The sum of `leaves` pieces of equal length that lie one after the other.
///
/// # Panics
/// If they don't have equal lengths.
///
/// ```
/// use evenburn_ranks::tree::sum_pieces;
/// assert_eq!(sum_pieces(vec![1.0, 2.0, 10.0, 20.0, 100.0, 200.0], 3), [111.0, 222.0]);
/// ```
pub fn sum_pieces(mut pieces: Vec<f32>, leaves: usize) -> Vec<f32> {
    assert_eq!(pieces.len() % leaves.max(1), 0, "pieces of equal length");
    let length = pieces.len() / leaves.max(1);
    if length == 0 {
        return Vec::new();
    }
    // Block by block of all pieces, each by one thread.
    let mut blocks: Vec<Vec<&mut [f32]>> = Vec::new();
    for piece in pieces.chunks_mut(length) {
        for (number, block) in piece.chunks_mut(BLOCK).enumerate() {
            if number == blocks.len() {
                blocks.push(Vec::with_capacity(leaves));
            }
            blocks[number].push(block);
        }
    }
    blocks.into_par_iter().for_each(|mut leaves| {
        let mut gap = 1;
        while gap < leaves.len() {
            for pair in leaves.chunks_mut(2 * gap) {
                if let Some((left, right)) = pair.split_at_mut_checked(gap)
                    && let (Some(left), Some(right)) = (left.first_mut(), right.first())
                {
                    for (a, b) in left.iter_mut().zip(right.iter()) {
                        *a += b;
                    }
                }
            }
            gap *= 2;
        }
    });
    pieces.truncate(length);
    pieces
}
