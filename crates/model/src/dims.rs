//! The sizes of a decoder and the names of the places in it.
//!
//! `D` model, `L` layers, `H` heads, `G` key/value heads, `K` head width, `F` hidden width of the MLP, `V` vocabulary.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Every size a decision may depend on, resolved and checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dims {
    /// `V`: entries of the vocabulary.
    pub vocab: usize,
    /// `D`: width of the residual stream.
    pub model: usize,
    /// `L`: number of blocks.
    pub layers: usize,
    /// `H`: query heads.
    pub heads: usize,
    /// `G`: key and value heads; each serves `H / G` neighbouring query heads.
    pub kv_heads: usize,
    /// `K`: width of one head.
    pub head: usize,
    /// `F`: width inside the MLP.
    pub hidden: usize,
    /// Longest sequence the model is trained on.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
}

/// The places that hold a weight matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// Token embedding, `[V, D]`.
    Embedding,
    /// Query projection, `[D, H K]`.
    Q,
    /// Key projection, `[D, G K]`.
    K,
    /// Value projection, `[D, G K]`.
    V,
    /// Output projection of attention, `[H K, D]`.
    O,
    /// Branch of the MLP inside the activation, `[D, F]`.
    Gate,
    /// Linear branch of the MLP, `[D, F]`.
    Up,
    /// Output projection of the MLP, `[F, D]`.
    Down,
    /// Output layer, `[D, V]`.
    Head,
}

impl Site {
    /// The seven linear maps of a block, in the order they are applied.
    pub const BLOCK: [Self; 7] = [
        Self::Q,
        Self::K,
        Self::V,
        Self::O,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    /// `[in, out]` of the matrix stored here; the embedding maps the vocabulary to the model.
    pub fn shape(self, d: &Dims) -> [usize; 2] {
        match self {
            Self::Embedding => [d.vocab, d.model],
            Self::Q => [d.model, d.heads * d.head],
            Self::K | Self::V => [d.model, d.kv_heads * d.head],
            Self::O => [d.heads * d.head, d.model],
            Self::Gate | Self::Up => [d.model, d.hidden],
            Self::Down => [d.hidden, d.model],
            Self::Head => [d.model, d.vocab],
        }
    }

    /// Whether this matrix writes into the residual stream from inside a block.
    pub fn writes_stream(self) -> bool {
        matches!(self, Self::O | Self::Down)
    }

    /// Name inside a parameter path: `attn.q`, `mlp.down`, `embed`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Embedding => "embed",
            Self::Q => "attn.q",
            Self::K => "attn.k",
            Self::V => "attn.v",
            Self::O => "attn.o",
            Self::Gate => "mlp.gate",
            Self::Up => "mlp.up",
            Self::Down => "mlp.down",
            Self::Head => "head",
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// The two branches of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branch {
    /// Self-attention.
    Attention,
    /// The feed-forward network.
    Mlp,
}

impl Branch {
    /// Name inside a parameter path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Attention => "attn_residual",
            Self::Mlp => "mlp_residual",
        }
    }
}
