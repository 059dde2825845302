//! Sequences whose common beginnings are there once.

use std::collections::HashMap;

/// A tree of token sequences: sequences that begin alike share nodes as far as they do, so that a model computes each shared
/// position once ([`Decoder::hidden_of`](crate::Decoder::hidden_of)).
///
/// ```
/// use evenburn_model::PrefixTree;
/// let tree = PrefixTree::new(&[&[5_i64, 1, 2][..], &[5, 1, 3, 4], &[5, 1]]);
/// assert_eq!((tree.tokens(), tree.rows()), (&[5, 1, 2, 3, 4][..], 2));
/// assert_eq!(tree.nodes(1), [0, 1, 3, 4]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixTree {
    tokens: Vec<i64>,
    /// Distance from the root.
    depths: Vec<usize>,
    /// The nodes of each sequence.
    paths: Vec<Vec<usize>>,
    /// One sequence through each leaf.
    leaves: Vec<usize>,
}

impl PrefixTree {
    /// The tree of some sequences.
    pub fn new(sequences: &[&[i64]]) -> Self {
        let mut children = HashMap::new();
        let (mut tokens, mut depths) = (Vec::new(), Vec::new());
        let mut paths = Vec::with_capacity(sequences.len());
        // The sequence that reached a node last, and whether another node hangs on it.
        let mut through = Vec::new();
        let mut is_inner = Vec::new();
        for (number, sequence) in sequences.iter().enumerate() {
            let mut path = Vec::with_capacity(sequence.len());
            for (depth, token) in sequence.iter().enumerate() {
                let parent = path.last().copied();
                let node = *children.entry((parent, *token)).or_insert_with(|| {
                    tokens.push(*token);
                    depths.push(depth);
                    through.push(number);
                    is_inner.push(false);
                    tokens.len() - 1
                });
                if let Some(parent) = parent {
                    is_inner[parent] = true;
                }
                path.push(node);
            }
            paths.push(path);
        }
        let leaves = through.iter().zip(is_inner).filter(|(_, inner)| !inner);
        Self {
            leaves: leaves.map(|(number, _)| *number).collect(),
            tokens,
            depths,
            paths,
        }
    }

    /// The token of each node.
    pub fn tokens(&self) -> &[i64] {
        &self.tokens
    }

    /// The nodes of a sequence, from its first token on.
    pub fn nodes(&self, sequence: usize) -> &[usize] {
        &self.paths[sequence]
    }

    /// Sequences that are no beginning of another one: rows of attention.
    pub fn rows(&self) -> usize {
        self.leaves.len()
    }

    /// Positions of the longest sequence.
    pub fn longest(&self) -> usize {
        self.depths.iter().max().map_or(0, |depth| depth + 1)
    }

    /// The place of each node in its sequences, from 0.
    pub(crate) fn depths(&self) -> &[usize] {
        &self.depths
    }

    /// The sequences that are no beginning of another one, as nodes.
    pub(crate) fn leaf_paths(&self) -> impl Iterator<Item = &[usize]> {
        self.leaves.iter().map(|leaf| self.nodes(*leaf))
    }
}
