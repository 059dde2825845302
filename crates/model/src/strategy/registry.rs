//! The list of schemes: one line each.

use super::{
    AnGpt, DeepNorm, Derf, DyT, HybridNorm, Keel, LnScaling, Ngpt, NormStrategy, Olmo2, PeriNorm,
    PostNorm, PreNorm, SimpleNorm,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes the enum of all schemes, its default aside, from lines `Type = "name"`.
macro_rules! registry {
    ($($(#[$doc:meta])* $scheme:ident = $name:literal,)+) => {
        /// The `[norm]` section: a scheme by name, with its options beside it.
        ///
        /// ```
        /// use evenburn_model::strategy::Scheme;
        /// let names: Vec<_> = Scheme::all().iter().map(|scheme| scheme.name()).collect();
        /// assert_eq!(names, Scheme::NAMES);
        /// ```
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "scheme")]
        #[non_exhaustive]
        pub enum Scheme {
            $($(#[$doc])* #[serde(rename = $name)] $scheme($scheme),)+
        }

        impl Scheme {
            /// Names of all schemes, as `scheme` takes them.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Every scheme with its default options.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$scheme($scheme::default())),+]
            }

            /// The decisions of this scheme.
            pub fn strategy(&self) -> &dyn NormStrategy {
                match self {
                    $(Self::$scheme(strategy) => strategy,)+
                }
            }

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$scheme(_) => $name,)+
                }
            }
        }
    };
}

registry! {
    /// RMSNorm before each branch, with or without q/k norm: GPT+, QUEST, Llama, GPT-2.
    PreNorm = "pre_norm",
    /// LayerNorm or RMSNorm of the sum: the original transformer.
    PostNorm = "post_norm",
    /// Norms before and after each branch (2502.02732; Gemma 2 and 3).
    PeriNorm = "peri_norm",
    /// OLMo 2: RMSNorm after each branch, q/k norm over the full width.
    Olmo2 = "olmo2",
    /// HybridNorm: q, k, v normalized per head, and a post-normed MLP (2503.04598).
    HybridNorm = "hybrid_norm",
    /// DeepNorm: post-norm with an up-weighted skip connection (2203.00555).
    DeepNorm = "deep_norm",
    /// Keel: post-norm with an up-weighted skip connection and a normalization before each branch (2601.19895).
    Keel = "keel",
    /// Pre-norm with the normalized input divided by the square root of the layer's number (2502.05795).
    LnScaling = "ln_scaling",
    /// DyT: tanh in place of normalization (2503.10622).
    DyT = "dyt",
    /// Derf: erf in place of normalization (2512.10938).
    Derf = "derf",
    /// SimpleGPT: RMSNorm right after every linear map of a block (2602.01212).
    SimpleNorm = "simple_norm",
    /// nGPT: everything on the unit sphere (2410.01131).
    Ngpt = "ngpt",
    /// anGPT: branch outputs of unit length, constants instead of other norms, rows of weights of length at most 1 (2505.22014).
    AnGpt = "angpt",
}

impl Default for Scheme {
    /// The scheme of the default preset; `docs/log.md` has the comparison it won.
    fn default() -> Self {
        Self::AnGpt(AnGpt::default())
    }
}
