//! How likely a model finds tokens.
//!
//! `B` batch, `T` time, `N` positions, `D` model.

use crate::decoder::Decoder;
use crate::error::TokenError;
use crate::forward::ForwardContext;
use crate::modules::{AttentionMask, SharedPositions};
use crate::prefix_tree::PrefixTree;
use burn::tensor::{Bool, Int, Tensor, TensorData};

/// What a model says of targets, `[B, T]` each.
#[derive(Debug, Clone)]
pub struct TargetScores {
    /// `log p(target)` in nats, over all rows of the output layer.
    pub log_likelihood: Tensor<2>,
    /// Whether the target is the most likely token, of equal ones the first.
    pub greedy: Tensor<2, Bool>,
}

impl Decoder {
    /// The log-likelihood of each target and whether it is the most likely token, without ever holding all logits:
    /// `z_target - log(sum_v exp(z_v))`, in single precision at least.
    ///
    /// # Shapes
    /// - `hidden`: `[B, T, D]`, vectors before the output layer
    /// - `targets`: `[B, T]`
    /// - output: `[B, T]` each
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::PreNorm};
    /// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 1, heads: 2, ..Default::default() };
    /// let model = Decoder::new(&Plan::new(&config, &PreNorm::default())?, 0, &Device::flex());
    /// let (inputs, targets) = (model.tokens(&[1, 2, 3], 3)?, model.tokens(&[2, 3, 4], 3)?);
    /// let scores = model.target_scores(model.hidden(inputs.clone()), targets.clone());
    /// let sum = -scores.log_likelihood.sum().into_scalar::<f32>();
    /// assert!((sum - model.loss_sum(inputs, targets).into_scalar::<f32>()).abs() < 1e-4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn target_scores(&self, hidden: Tensor<3>, targets: Tensor<2, Int>) -> TargetScores {
        let [b, t, width] = hidden.dims();
        let (hidden, targets) = (hidden.reshape([b * t, width]), targets.reshape([b * t]));
        let (log_likelihood, greedy) = self.head.target_scores(hidden, targets, &self.embed);
        TargetScores {
            log_likelihood: log_likelihood.reshape([b, t]),
            greedy: greedy.reshape([b, t]),
        }
    }

    /// The vectors before the output layer at every node of a tree of sequences, each row computed once, without dropout: what
    /// [`hidden`](Self::hidden) gives for the sequences one by one, but for rounding.
    ///
    /// # Shapes
    /// - output: `[N, D]`, `N` the nodes of the tree
    ///
    /// # Errors
    /// [`TokenError`] for a token outside the vocabulary, or a tree without tokens.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use evenburn_model::{Decoder, ModelConfig, Plan, PrefixTree, strategy::PreNorm};
    /// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 1, heads: 2, ..Default::default() };
    /// let model = Decoder::new(&Plan::new(&config, &PreNorm::default())?, 0, &Device::flex());
    /// let tree = PrefixTree::new(&[&[1, 2, 3][..], &[1, 2, 4]]);
    /// assert_eq!(model.hidden_of(&tree)?.dims(), [4, 16]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hidden_of(&self, tree: &PrefixTree) -> Result<Tensor<2>, TokenError> {
        let count = tree.tokens().len();
        let tokens = self.tokens(tree.tokens(), count)?;
        let shared = SharedPositions::new(tree, &tokens.device());
        let mask = AttentionMask::Shared(shared);
        let output = self.pass(tokens, &mask, &ForwardContext::default(), None);
        let width = output.hidden.dims()[2];
        Ok(output.hidden.reshape([count, width]))
    }

    /// The scores of some of a tree's edges: how likely `targets` are behind `nodes`, in their order, `[1, P]` each.
    ///
    /// # Errors
    /// As [`hidden_of`](Self::hidden_of).
    pub fn tree_scores(
        &self,
        tree: &PrefixTree,
        nodes: &[usize],
        targets: &[i64],
    ) -> Result<TargetScores, TokenError> {
        let targets = self.tokens(targets, targets.len())?;
        let hidden = self.hidden_of(tree)?;
        let nodes: Vec<i64> = nodes.iter().map(|node| *node as i64).collect();
        let count = nodes.len();
        let nodes = Tensor::from_data(TensorData::new(nodes, [count]), &hidden.device());
        Ok(self.target_scores(hidden.select(0, nodes).unsqueeze(), targets))
    }
}
