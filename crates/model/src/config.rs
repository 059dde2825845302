//! The `[model]` section: sizes, before any scheme is chosen.

use crate::dims::{Dims, MlpKind, Positions, Site};
use crate::error::PlanError;
use crate::experts::ExpertsConfig;
use crate::function::Placed;
use crate::scale_vectors::{ScaleSwitches, ScaleVectors};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether the output layer has a matrix of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadWeights {
    /// A matrix of its own, as in Llama and in all three papers.
    #[default]
    Untied,
    /// The transposed embedding table.
    Tied,
}

/// Which linear maps of a block add a learned vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Biases {
    /// None: Llama.
    #[default]
    None,
    /// q, k and v: `Qwen2`.
    Qkv,
    /// q, k, v and o.
    Attention,
    /// All of them: GPT-2.
    All,
}

impl Biases {
    /// Whether the map at a site has one.
    pub fn at(self, site: Site) -> bool {
        match self {
            Self::None => false,
            Self::Qkv => matches!(site, Site::Q | Site::K | Site::V),
            Self::Attention => matches!(site, Site::Q | Site::K | Site::V | Site::O),
            Self::All => Site::BLOCK.contains(&site),
        }
    }
}

/// Sizes of the decoder.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, strategy::PreNorm};
/// let config = ModelConfig { vocab_size: 64, dim: 32, layers: 2, heads: 4, ..Default::default() };
/// let plan = Plan::new(&config, &PreNorm::default())?;
/// assert_eq!(plan.dims().head, 8);
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Entries of the vocabulary; at least the tokenizer's.
    #[schemars(range(min = 1))]
    pub vocab_size: usize,
    /// Width of the residual stream.
    #[schemars(range(min = 1))]
    pub dim: usize,
    /// Number of blocks.
    #[schemars(range(min = 1))]
    pub layers: usize,
    /// Query heads.
    #[schemars(range(min = 1))]
    pub heads: usize,
    /// Key and value heads, a divisor of `heads`; as many as `heads` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub kv_heads: Option<usize>,
    /// Width of one head, even; `dim / heads` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub head_dim: Option<usize>,
    /// Width inside the MLP; when not given 8/3 of `dim` for a gated one and 4 `dim` for a plain one, rounded up to a
    /// multiple of 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub hidden: Option<usize>,
    /// Longest sequence, in tokens.
    #[schemars(range(min = 1))]
    pub context: usize,
    /// Base of the rotary frequencies: 10,000 in Llama 2, 500,000 in Llama 3.
    pub rope_theta: f64,
    /// Part of each head that a rotary embedding turns, above 0 and at most 1: the first `rope_fraction * head_dim` channels,
    /// an even number, with the frequencies of a head of that width; 0.25 in GPT-NeoX, 0.5 in anGPT.
    pub rope_fraction: f64,
    /// Whether the output layer shares the embedding table: `untied` or `tied`.
    pub head: HeadWeights,
    /// How tokens know their order: `rope`, `rope_halves`, `learned` or `none`.
    pub positions: Positions,
    /// Feed-forward network: `swiglu`, `geglu`, `geglu_tanh`, `gelu`, `gelu_tanh` or `relu2`.
    pub mlp: MlpKind,
    /// Which linear maps add a learned vector: `none`, `qkv`, `attention` or `all`.
    pub biases: Biases,
    /// Part of the activations that training sets to 0 behind the embedding, in the attention weights and behind both
    /// branches, as GPT-2 does.
    pub dropout: f64,
    /// A mixture of experts in place of each MLP.
    #[serde(skip_serializing_if = "ExpertsConfig::is_dense")]
    pub experts: ExpertsConfig,
    /// A normalization function in place of the scheme's RMSNorm.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Placed")]
    pub function: Option<Placed>,
    /// Learned scales: `standard` (as the scheme has them), `none` or `unified` (2605.26895).
    pub scale_vectors: ScaleVectors,
    /// Switches that replace what `scale_vectors` decides.
    #[serde(skip_serializing_if = "ScaleSwitches::is_empty")]
    pub scale: ScaleSwitches,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            vocab_size: 4096,
            dim: 128,
            layers: 4,
            heads: 4,
            kv_heads: None,
            head_dim: None,
            hidden: None,
            context: 256,
            rope_theta: 10_000.0,
            rope_fraction: 1.0,
            head: HeadWeights::Untied,
            positions: Positions::default(),
            mlp: MlpKind::default(),
            biases: Biases::default(),
            dropout: 0.0,
            experts: ExpertsConfig::default(),
            function: None,
            scale_vectors: ScaleVectors::Standard,
            scale: ScaleSwitches::default(),
        }
    }
}

/// Multiple to which the default hidden width is rounded up: one cache line of f32.
const HIDDEN_MULTIPLE: usize = 16;

impl ModelConfig {
    /// Resolves the sizes that may be left out and checks that they fit together.
    ///
    /// # Errors
    /// [`PlanError::Size`] names the key that is zero, odd or does not divide.
    pub fn dims(&self) -> Result<Dims, PlanError> {
        let head = match self.head_dim {
            Some(width) => width,
            // No heads have no width; the check names the heads.
            None if self.heads == 0 => 0,
            None if self.dim.is_multiple_of(self.heads) => self.dim / self.heads,
            None => {
                let why = format!(
                    "{} is not divisible by model.heads = {}; choose another, or give model.head_dim",
                    self.dim, self.heads
                );
                return Err(PlanError::size("dim", why));
            }
        };
        let mut dims = Dims {
            vocab: self.vocab_size,
            model: self.dim,
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.kv_heads.unwrap_or(self.heads),
            head,
            hidden: self.hidden.unwrap_or_else(|| {
                // Both have 8 D^2 numbers.
                let width = match self.mlp.inside() {
                    Site::Gate => (8 * self.dim).div_ceil(3),
                    _ => 4 * self.dim,
                };
                width.next_multiple_of(HIDDEN_MULTIPLE)
            }),
            positions: self.positions,
            mlp: self.mlp,
            experts: self.experts.clone(),
            dropout: self.dropout,
            context: self.context,
            rope_theta: self.rope_theta,
            rope_fraction: self.rope_fraction,
        };
        dims.check()?;
        // However many digits were given, a third of a head is one number.
        dims.rope_fraction = dims.rope_channels() as f64 / dims.head as f64;
        Ok(dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_resolve() {
        let dims = ModelConfig {
            dim: 256,
            heads: 4,
            ..Default::default()
        }
        .dims()
        .unwrap();
        assert_eq!((dims.head, dims.kv_heads, dims.hidden), (64, 4, 688));
    }

    #[test]
    fn the_part_of_a_head_that_turns_is_an_even_number_of_channels() {
        let config = |rope_fraction, head_dim, positions| ModelConfig {
            rope_fraction,
            head_dim: Some(head_dim),
            positions,
            ..ModelConfig::default()
        };
        let (rope, learned) = (Positions::Rope, Positions::Learned);
        for (fraction, head, channels) in [
            (1.0, 64, 64),
            (0.5, 64, 32),
            (0.25, 80, 20),
            (0.4, 10, 4),
            (0.666_666_67, 96, 64),
            (4.0 / 7.0, 7, 4),
        ] {
            let dims = config(fraction, head, rope).dims().unwrap();
            assert_eq!(dims.rope_channels(), channels);
            assert!((dims.rope_fraction - channels as f64 / head as f64).abs() < f64::EPSILON);
        }
        // A third needs no digits beyond those that tell it from others.
        let digits = |fraction| config(fraction, 96, rope).dims().unwrap();
        assert_eq!(digits(0.333_333_333), digits(1.0 / 3.0));
        // What turns nothing needs no even width.
        config(1.0, 7, learned).dims().unwrap();
        for (fraction, head, positions, named) in [
            (0.0, 64, rope, ["model.rope_fraction", "model.head_dim"]),
            (-0.5, 64, rope, ["model.rope_fraction", "model.head_dim"]),
            (1.5, 64, rope, ["model.rope_fraction", "model.head_dim"]),
            (
                f64::NAN,
                64,
                rope,
                ["model.rope_fraction", "model.head_dim"],
            ),
            (
                0.01,
                64,
                rope,
                ["model.rope_fraction", "model.head_dim = 64"],
            ),
            (0.3, 8, rope, ["0.3 of model.head_dim = 8", "2.4"]),
            (
                0.3,
                10,
                rope,
                ["model.rope_fraction", "model.head_dim = 10"],
            ),
            (0.5, 64, learned, ["model.rope_fraction", "model.positions"]),
            (
                0.5,
                64,
                Positions::None,
                ["model.rope_fraction", "model.positions"],
            ),
        ] {
            let refused = config(fraction, head, positions).dims().unwrap_err();
            assert!(matches!(refused, PlanError::Size { .. }));
            let message = refused.to_string();
            for part in named {
                assert!(message.contains(part), "{fraction} of {head}: {message}");
            }
        }
    }

    #[test]
    fn each_misfit_names_its_key() {
        let base = ModelConfig::default();
        let cases = [
            (
                ModelConfig {
                    layers: 0,
                    ..base.clone()
                },
                "model.layers",
            ),
            (
                ModelConfig {
                    dim: 130,
                    ..base.clone()
                },
                "model.dim",
            ),
            (
                ModelConfig {
                    head_dim: Some(7),
                    ..base.clone()
                },
                "model.head_dim",
            ),
            (
                ModelConfig {
                    kv_heads: Some(3),
                    ..base.clone()
                },
                "model.kv_heads",
            ),
            (
                ModelConfig {
                    rope_theta: f64::NAN,
                    ..base
                },
                "model.rope_theta",
            ),
        ];
        for (config, key) in cases {
            let message = config.dims().unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }
}
