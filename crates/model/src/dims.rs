//! The sizes of a decoder and the names of the places in it.
//!
//! `D` model, `L` layers, `H` heads, `G` key/value heads, `K` head width, `F` hidden width of the MLP, `E` experts, `V`
//! vocabulary.

use crate::error::PlanError;
use crate::experts::ExpertsConfig;
use crate::plan::Expert;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The feed-forward network: its activation, and whether a second branch multiplies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MlpKind {
    /// `down(up(x) * silu(gate(x)))`: Llama, `Qwen`, OLMo and all three papers.
    #[default]
    Swiglu,
    /// `down(up(x) * gelu(gate(x)))`.
    Geglu,
    /// The same with the tanh form of GELU: Gemma.
    GegluTanh,
    /// `down(gelu(up(x)))`.
    Gelu,
    /// The same with the tanh form of GELU: GPT-2.
    GeluTanh,
    /// `down(relu(up(x))^2)` (2109.08668).
    Relu2,
}

impl MlpKind {
    /// The pointwise function.
    pub fn activation(self) -> Activation {
        match self {
            Self::Swiglu => Activation::Silu,
            Self::Geglu | Self::Gelu => Activation::Gelu,
            Self::GegluTanh | Self::GeluTanh => Activation::GeluTanh,
            Self::Relu2 => Activation::Relu2,
        }
    }

    /// The branch that the activation is applied to: its own where a second one multiplies it.
    pub fn inside(self) -> Site {
        match self {
            Self::Swiglu | Self::Geglu | Self::GegluTanh => Site::Gate,
            Self::Gelu | Self::GeluTanh | Self::Relu2 => Site::Up,
        }
    }

    /// The linear maps of the network, in the order they are applied.
    pub fn sites(self) -> &'static [Site] {
        match self.inside() {
            Site::Gate => &[Site::Gate, Site::Up, Site::Down],
            _ => &[Site::Up, Site::Down],
        }
    }
}

/// A pointwise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `z / (1 + e^-z)`.
    Silu,
    /// `z Phi(z)` with the normal distribution function `Phi`.
    Gelu,
    /// `z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3)))`.
    GeluTanh,
    /// `max(z, 0)^2`.
    Relu2,
}

impl Activation {
    /// Its value at one point.
    pub fn at(self, z: f64) -> f64 {
        use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};
        match self {
            Self::Silu => z / (1.0 + (-z).exp()),
            Self::Gelu => 0.5 * z * (1.0 + libm::erf(z * FRAC_1_SQRT_2)),
            Self::GeluTanh => {
                0.5 * z * (1.0 + (FRAC_2_PI.sqrt() * (z + 0.044_715 * z.powi(3))).tanh())
            }
            Self::Relu2 => z.max(0.0).powi(2),
        }
    }
}

/// How the decoder knows the order of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Rotary embedding of q and k on neighbouring channels `(2 i, 2 i + 1)`: Llama's own code, the three papers.
    #[default]
    Rope,
    /// Rotary embedding on channels half a head apart, `(i, i + K/2)`: checkpoints of `transformers`.
    RopeHalves,
    /// A learned vector per position, added to the token's: GPT-2.
    Learned,
    /// None: causal attention alone tells the order (2305.19466).
    None,
}

/// Every size a decision may depend on, resolved and checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Part of each head that turns, `r`: its first `r K` channels, with the frequencies of a head of that width. A plan has
    /// it where it isn't 1.
    #[serde(default = "full_head", skip_serializing_if = "is_full_head")]
    pub rope_fraction: f64,
    /// How tokens know their order.
    pub positions: Positions,
    /// The feed-forward network.
    pub mlp: MlpKind,
    /// The mixture of experts, `E` of them; none where a block has one MLP.
    pub experts: ExpertsConfig,
    /// Part of the activations that training sets to 0.
    pub dropout: f64,
}

/// The fraction of a head that is all of it.
fn full_head() -> f64 {
    1.0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_full_head(fraction: &f64) -> bool {
    (fraction - full_head()).abs() < f64::EPSILON
}

/// How far the channels that turn may be from a whole number: one third has no exact floating-point number.
const CHANNEL: f64 = 1e-6;

/// Largest size: 64 times the largest published vocabulary, Gemma's 262,144.
pub(crate) const LARGEST: usize = 1 << 24;

/// Most parameters: about a thousand times those of the largest published models, a trillion.
const MOST_NUMBERS: f64 = 1e15;

impl Dims {
    /// The same sizes as a shared expert sees them, which may be of another width than the rest.
    pub fn of_shared_experts(&self) -> Self {
        Self {
            hidden: self.experts.shared_hidden.unwrap_or(self.hidden),
            ..self.clone()
        }
    }

    /// The sizes of one network of a mixture of experts, or of the model.
    pub(crate) fn of(&self, expert: Option<Expert>) -> Self {
        match expert {
            Some(Expert::Shared(_)) => self.of_shared_experts(),
            Some(Expert::Routed(_)) | None => self.clone(),
        }
    }

    /// Channels of each head that turn under a rotary embedding: the whole head, or its first ones.
    ///
    /// ```
    /// use evenburn_model::ModelConfig;
    /// let config = ModelConfig { head_dim: Some(64), rope_fraction: 0.25, ..Default::default() };
    /// assert_eq!(config.dims()?.rope_channels(), 16);
    /// # Ok::<(), evenburn_model::PlanError>(())
    /// ```
    pub fn rope_channels(&self) -> usize {
        (self.rope_fraction * self.head as f64).round() as usize
    }

    /// Checks that an even number of the channels of a head turns, where any do.
    fn check_rotation(&self) -> Result<(), PlanError> {
        let turns = matches!(self.positions, Positions::Rope | Positions::RopeHalves);
        let (fraction, head) = (self.rope_fraction, self.head);
        if is_full_head(&fraction) {
            if turns && head % 2 == 1 {
                let why = format!("the rotary embedding turns pairs, but the head width is {head}");
                return Err(PlanError::size("head_dim", why));
            }
            return Ok(());
        }
        if !(fraction > 0.0 && fraction <= 1.0) {
            let why = "must be above 0 and at most 1: the part of model.head_dim that turns";
            return Err(PlanError::size("rope_fraction", why));
        }
        if !turns {
            let why = format!(
                "{fraction} of each head can't turn where model.positions is neither rope nor rope_halves"
            );
            return Err(PlanError::size("rope_fraction", why));
        }
        let channels = fraction * head as f64;
        let found = self.rope_channels();
        if (channels - found as f64).abs() > CHANNEL || found == 0 || found % 2 == 1 {
            let why = format!(
                "the rotary embedding turns pairs, but {fraction} of model.head_dim = {head} are {channels} channels"
            );
            return Err(PlanError::size("rope_fraction", why));
        }
        Ok(())
    }

    /// Refuses sizes that no memory holds, whose products no number does either.
    fn check_extent(&self, sizes: &[(&'static str, usize)]) -> Result<(), PlanError> {
        let experts = &self.experts;
        let shared = experts.shared_hidden.unwrap_or(0);
        let of_experts = [
            ("experts.count", experts.count),
            ("experts.shared", experts.shared),
            ("experts.shared_hidden", shared),
        ];
        let all = || sizes.iter().chain(&of_experts);
        if let Some((key, size)) = all().find(|(_, size)| *size > LARGEST) {
            let why = format!("{size} is more than {LARGEST}, which no model has");
            return Err(PlanError::size(key, why));
        }
        let [d, attention] = [self.model, self.heads * self.head].map(|size| size as f64);
        let routed = experts.count.max(1) as f64 * self.hidden as f64;
        let networks = routed + (experts.shared * shared.max(self.hidden)) as f64;
        let block = 4.0 * d * attention + 3.0 * d * networks;
        let numbers = self.layers as f64 * block + 2.0 * d * self.vocab as f64;
        if numbers > MOST_NUMBERS {
            let why = format!(
                "with model.layers, model.hidden and the other sizes it makes about {numbers:.0e} parameters, which no \
                 memory holds"
            );
            return Err(PlanError::size("dim", why));
        }
        Ok(())
    }

    /// Checks that no size is zero and that they fit together.
    ///
    /// # Errors
    /// [`PlanError::Size`] with the key of the configuration that decides the size.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let positive = [
            ("vocab_size", self.vocab),
            ("dim", self.model),
            ("layers", self.layers),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("head_dim", self.head),
            ("hidden", self.hidden),
            ("context", self.context),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, n)| *n == 0) {
            return Err(PlanError::size(key, "must be at least 1"));
        }
        self.check_extent(&positive)?;
        self.check_rotation()?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            let why = format!(
                "{} does not divide model.heads = {}",
                self.kv_heads, self.heads
            );
            return Err(PlanError::size("kv_heads", why));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Err(PlanError::size("rope_theta", "must be a positive number"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(PlanError::size("dropout", "must be at least 0 and below 1"));
        }
        if !self.experts.is_dense() {
            return self.experts.check();
        }
        if self.experts.shared_hidden.is_some() {
            let why = "there are no experts: model.experts.count is 0";
            return Err(PlanError::size("experts.shared_hidden", why));
        }
        Ok(())
    }
}

/// The places that hold a weight matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// Token embedding, `[V, D]`.
    Embedding,
    /// Position embedding, `[T, D]`.
    Positions,
    /// Query projection, `[D, H K]`.
    Q,
    /// Key projection, `[D, G K]`.
    K,
    /// Value projection, `[D, G K]`.
    V,
    /// Output projection of attention, `[H K, D]`.
    O,
    /// Branch of a gated MLP inside the activation, `[D, F]`.
    Gate,
    /// Linear branch of a gated MLP, the only one of a plain MLP, `[D, F]`.
    Up,
    /// Output projection of the MLP, `[F, D]`.
    Down,
    /// Router of a mixture of experts, `[D, E]`.
    Router,
    /// Output layer, `[D, V]`.
    Head,
}

impl Site {
    /// The linear maps of a block, in the order they are applied; a plain MLP has no gate.
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
            Self::Positions => [d.context, d.model],
            Self::Q => [d.model, d.heads * d.head],
            Self::K | Self::V => [d.model, d.kv_heads * d.head],
            Self::O => [d.heads * d.head, d.model],
            Self::Gate | Self::Up => [d.model, d.hidden],
            Self::Down => [d.hidden, d.model],
            Self::Router => [d.model, d.experts.count],
            Self::Head => [d.model, d.vocab],
        }
    }

    /// Whether this matrix writes into the residual stream from inside a block.
    pub fn writes_stream(self) -> bool {
        matches!(self, Self::O | Self::Down)
    }

    /// The last part of [`Site::path`]: `q`, `down`.
    pub fn name(self) -> &'static str {
        let path = self.path();
        path.rsplit_once('.').map_or(path, |(_, name)| name)
    }

    /// Whether it belongs to the feed-forward network, of which a mixture of experts has many.
    pub fn in_mlp(self) -> bool {
        matches!(self, Self::Gate | Self::Up | Self::Down)
    }

    /// Name inside a parameter path: `attn.q`, `mlp.down`, `embed`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Embedding => "embed",
            Self::Positions => "embed.positions",
            Self::Q => "attn.q",
            Self::K => "attn.k",
            Self::V => "attn.v",
            Self::O => "attn.o",
            Self::Gate => "mlp.gate",
            Self::Up => "mlp.up",
            Self::Down => "mlp.down",
            Self::Router => "moe.router",
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

    /// The linear maps that read the stream; a block has some of them.
    pub(crate) fn readers(self) -> [Site; 3] {
        match self {
            Self::Attention => [Site::Q, Site::K, Site::V],
            Self::Mlp => [Site::Gate, Site::Up, Site::Router],
        }
    }

    /// The linear map that writes the stream.
    pub(crate) fn writer(self) -> Site {
        match self {
            Self::Attention => Site::O,
            Self::Mlp => Site::Down,
        }
    }
}
