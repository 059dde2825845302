//! The models that are written, each with the class that must be found for it.

use super::Case;
use evenburn_model::function::{GatedNorm, Placed, PlacedAt, PreAffine, SeedNorm, Taper};
use evenburn_model::plan::AttentionFactor;
use evenburn_model::strategy::{
    AnGpt, AngleDecay, Bias, EmbedNorm, EmbedScale, FinalNorm, FirstLayer, GainForm, GeoNorm,
    HybridNorm, Ngpt, PeriNorm, PostNorm, PreNorm, QkNorm, ResidualFactor, SiameseNorm, SimpleNorm,
    Statistics, Streams, UnitNorm, WeightInit,
};
use evenburn_model::{
    Balance, Biases, Double, DoubleAt, ExpertsConfig, Gates, HeadWeights, Joined, Kept, MlpKind,
    ModelConfig, NormalizedOver, OutputInit, Positions, Registry, ScaleSwitches, ScaleVectors,
    Scheme, Stored,
};

const OWN: &str = "EvenburnForCausalLM";

/// As many entries as the tokenizer that goes along: a byte-level one has 256 and the end of a text.
pub(super) const VOCABULARY: usize = 270;

/// Grouped heads whose width is not `dim / heads`.
fn sizes() -> ModelConfig {
    ModelConfig {
        vocab_size: VOCABULARY,
        dim: 24,
        layers: 3,
        heads: 4,
        kv_heads: Some(2),
        head_dim: Some(10),
        hidden: Some(40),
        context: 16,
        ..ModelConfig::default()
    }
}

fn pre(qk: QkNorm) -> Scheme {
    Scheme::from(PreNorm {
        qk,
        ..PreNorm::default()
    })
}

fn gpt2() -> Scheme {
    Scheme::from(PreNorm {
        qk: QkNorm::None,
        norm: Statistics::Layer,
        bias: Bias::Learned,
        ..PreNorm::default()
    })
}

fn gemma2() -> Scheme {
    Scheme::from(PeriNorm {
        gain: GainForm::OnePlus,
        embed_norm: EmbedNorm::None,
        embed_scale: EmbedScale::SqrtDim,
        ..PeriNorm::default()
    })
}

fn mixture(kept: Kept) -> ExpertsConfig {
    ExpertsConfig {
        count: 4,
        kept,
        ..ExpertsConfig::default()
    }
}

/// Models that a class of `transformers` computes, by every way to get there.
#[allow(clippy::too_many_lines)] // one entry per model
fn peers() -> Vec<(&'static str, ModelConfig, Scheme, &'static str)> {
    let llama = "LlamaForCausalLM";
    let plain = ModelConfig {
        positions: Positions::Learned,
        mlp: MlpKind::GeluTanh,
        biases: Biases::All,
        kv_heads: None,
        head_dim: None,
        head: HeadWeights::Tied,
        ..sizes()
    };
    vec![
        ("llama", sizes(), pre(QkNorm::None), llama),
        (
            "llama_halves_tied_biased",
            ModelConfig {
                positions: Positions::RopeHalves,
                head: HeadWeights::Tied,
                biases: Biases::All,
                rope_theta: 500_000.0,
                ..sizes()
            },
            pre(QkNorm::None),
            llama,
        ),
        (
            "llama_some_biases_geglu",
            ModelConfig {
                biases: Biases::Qkv,
                mlp: MlpKind::Geglu,
                ..sizes()
            },
            pre(QkNorm::None),
            llama,
        ),
        (
            "llama_without_gains",
            ModelConfig {
                scale_vectors: ScaleVectors::None,
                ..sizes()
            },
            pre(QkNorm::None),
            llama,
        ),
        (
            "llama_product_gains",
            ModelConfig {
                scale: ScaleSwitches {
                    stored: Some(Stored::Product),
                    ..ScaleSwitches::default()
                },
                ..sizes()
            },
            pre(QkNorm::None),
            llama,
        ),
        ("qwen3", sizes(), pre(QkNorm::Head), "Qwen3ForCausalLM"),
        (
            "qwen3_biased",
            ModelConfig {
                biases: Biases::Attention,
                ..sizes()
            },
            pre(QkNorm::Head),
            "Qwen3ForCausalLM",
        ),
        ("gpt2", plain.clone(), gpt2(), "GPT2LMHeadModel"),
        (
            "gpt2_bare",
            ModelConfig {
                biases: Biases::None,
                mlp: MlpKind::Relu2,
                head: HeadWeights::Untied,
                ..plain.clone()
            },
            Scheme::from(PreNorm {
                qk: QkNorm::None,
                norm: Statistics::Layer,
                ..PreNorm::default()
            }),
            "GPT2LMHeadModel",
        ),
        (
            "gpt_neox",
            ModelConfig {
                positions: Positions::Rope,
                rope_fraction: 2.0 / 3.0,
                rope_theta: 5000.0,
                mlp: MlpKind::Gelu,
                head: HeadWeights::Untied,
                ..plain.clone()
            },
            gpt2(),
            "GPTNeoXForCausalLM",
        ),
        (
            "gpt_neox_bare_tied",
            ModelConfig {
                positions: Positions::RopeHalves,
                biases: Biases::None,
                dropout: 0.1,
                ..plain.clone()
            },
            Scheme::from(PreNorm {
                qk: QkNorm::None,
                norm: Statistics::Layer,
                ..PreNorm::default()
            }),
            "GPTNeoXForCausalLM",
        ),
        (
            "stablelm",
            ModelConfig {
                rope_fraction: 2.0 / 3.0,
                head_dim: None,
                ..sizes()
            },
            gpt2(),
            "StableLmForCausalLM",
        ),
        (
            "stablelm_halves_biased",
            ModelConfig {
                positions: Positions::RopeHalves,
                rope_fraction: 1.0 / 3.0,
                biases: Biases::Qkv,
                head_dim: None,
                ..sizes()
            },
            gpt2(),
            "StableLmForCausalLM",
        ),
        (
            "phi3",
            ModelConfig {
                rope_fraction: 0.4,
                ..sizes()
            },
            pre(QkNorm::None),
            "Phi3ForCausalLM",
        ),
        (
            "gemma2",
            ModelConfig {
                mlp: MlpKind::GegluTanh,
                head: HeadWeights::Tied,
                ..sizes()
            },
            gemma2(),
            "Gemma2ForCausalLM",
        ),
        (
            "mixtral",
            ModelConfig {
                experts: mixture(Kept::Renormalized),
                ..sizes()
            },
            pre(QkNorm::None),
            "MixtralForCausalLM",
        ),
        (
            "qwen3_moe",
            ModelConfig {
                experts: mixture(Kept::AsIs),
                ..sizes()
            },
            pre(QkNorm::Head),
            "Qwen3MoeForCausalLM",
        ),
    ]
}

/// Models that no class of `transformers` computes.
#[allow(clippy::too_many_lines)] // one entry per case
fn others() -> Vec<(&'static str, ModelConfig, Scheme)> {
    let angpt = |attention_factor| {
        Scheme::from(AnGpt {
            branch_norm: UnitNorm::None,
            attention_factor,
            ..AnGpt::default()
        })
    };
    let arm = Ngpt {
        residual_factor: ResidualFactor::SecondMoment,
        ..Ngpt::default()
    };
    let body = ModelConfig {
        positions: Positions::Learned,
        mlp: MlpKind::Gelu,
        biases: Biases::All,
        head: HeadWeights::Tied,
        ..sizes()
    };
    let star = HybridNorm {
        first: FirstLayer::PreNorm,
        ..HybridNorm::default()
    };
    let hybrid = SiameseNorm {
        streams: Streams::HybridPre,
        ..SiameseNorm::default()
    };
    let geo = GeoNorm {
        decay: AngleDecay::Sqrt,
        clamp: 0.3,
        embed_norm: EmbedNorm::Normalized,
        final_norm: FinalNorm::Rms,
        ..GeoNorm::default()
    };
    let layer = SimpleNorm {
        norm: Statistics::Layer,
        ..SimpleNorm::default()
    };
    vec![
        ("pre_norm_full_width", sizes(), pre(QkNorm::Full)),
        ("pre_norm_unit", sizes(), pre(QkNorm::Unit)),
        ("pre_norm_keys", sizes(), pre(QkNorm::Keys)),
        ("ngpt_with_nu", sizes(), Scheme::from(arm)),
        (
            "angpt_part_of_rope",
            ModelConfig {
                rope_fraction: 0.4,
                ..sizes()
            },
            angpt(AttentionFactor::None),
        ),
        (
            "part_of_rope_halves",
            ModelConfig {
                positions: Positions::RopeHalves,
                rope_fraction: 0.4,
                ..sizes()
            },
            pre(QkNorm::Head),
        ),
        ("angpt_dense_factor", sizes(), angpt(AttentionFactor::Dense)),
        ("angpt_exact_factor", sizes(), angpt(AttentionFactor::Exact)),
        (
            "angpt_other_body",
            body.clone(),
            angpt(AttentionFactor::None),
        ),
        ("hybrid_star", sizes(), Scheme::from(star)),
        ("siamese_hybrid", sizes(), Scheme::from(hybrid)),
        ("geo_norm_sqrt", sizes(), Scheme::from(geo)),
        ("simple_norm_layer", body, Scheme::from(layer)),
        (
            "no_positions_relu2",
            ModelConfig {
                positions: Positions::None,
                mlp: MlpKind::Relu2,
                ..sizes()
            },
            pre(QkNorm::Head),
        ),
        (
            "unified",
            ModelConfig {
                scale_vectors: ScaleVectors::Unified,
                ..sizes()
            },
            pre(QkNorm::None),
        ),
        (
            "doubly_placed",
            ModelConfig {
                scale: ScaleSwitches {
                    double: Some(Double::Plain),
                    double_at: Some(DoubleAt::All),
                    stored: Some(Stored::UnitProduct),
                    ..ScaleSwitches::default()
                },
                ..sizes()
            },
            gemma2(),
        ),
        (
            "sdd",
            ModelConfig {
                scale: ScaleSwitches {
                    double: Some(Double::NormalizedAfter),
                    double_at: Some(DoubleAt::All),
                    normalized_over: Some(NormalizedOver::Full),
                    output_init: Some(OutputInit::PerLayer),
                    stored: Some(Stored::CenteredExp),
                    ..ScaleSwitches::default()
                },
                ..sizes()
            },
            Scheme::from(PostNorm {
                norm: Statistics::Rms,
                start: WeightInit::Sdd,
                ..PostNorm::default()
            }),
        ),
        (
            "wide_shared_experts",
            ModelConfig {
                scale_vectors: ScaleVectors::Unified,
                experts: ExpertsConfig {
                    shared: 1,
                    shared_hidden: Some(20),
                    combine: Joined::Sqrt,
                    ..mixture(Kept::Renormalized)
                },
                ..sizes()
            },
            pre(QkNorm::None),
        ),
        (
            "angpt_experts",
            ModelConfig {
                experts: ExpertsConfig {
                    shared: 1,
                    ..mixture(Kept::Renormalized)
                },
                ..sizes()
            },
            Scheme::from(AnGpt::default()),
        ),
        (
            "sigmoid_experts",
            ModelConfig {
                experts: ExpertsConfig {
                    gates: Gates::Sigmoid,
                    scale: 2.5,
                    balance: Balance::Bias,
                    ..mixture(Kept::AsIs)
                },
                ..sizes()
            },
            pre(QkNorm::Head),
        ),
    ]
}

/// Functions in place of RMSNorm, with a stream that they don't all treat alike.
fn functions() -> Vec<(&'static str, ModelConfig, Scheme)> {
    let anywhere = |placed: Placed| Placed {
        at: Some(PlacedAt::InputsAndFinal),
        ..placed
    };
    let taper = Taper::fixed(0.35, 0.8);
    let functions: [(&str, Placed); 5] = [
        ("seed_norm", SeedNorm { heads: 3 }.into()),
        ("gated_norm", GatedNorm { rank: 5 }.into()),
        ("pre_affine", PreAffine {}.into()),
        ("taper", anywhere(taper.into())),
        ("taper_cosine", Taper::default().into()),
    ];
    let functions = functions.into_iter();
    functions
        .map(|(name, function)| {
            let config = ModelConfig {
                function: Some(function),
                ..sizes()
            };
            (name, config, pre(QkNorm::Head))
        })
        .collect()
}

/// Every case: the classes of `transformers`, every scheme with its defaults, and what takes another way.
pub fn cases() -> Vec<Case> {
    let case = |name: &str, config, scheme, class| Case {
        name: name.to_owned(),
        config,
        scheme,
        class,
    };
    let peers = peers()
        .into_iter()
        .map(|(name, config, scheme, class)| case(name, config, scheme, class));
    let registry = Registry::default();
    let defaults = registry.schemes().map(|scheme| {
        let class = match scheme.name() {
            "pre_norm" => "Qwen3ForCausalLM",
            "olmo2" => "Olmo2ForCausalLM",
            _ => OWN,
        };
        case(
            &format!("default_{}", scheme.name()),
            sizes(),
            scheme,
            class,
        )
    });
    let others = others()
        .into_iter()
        .chain(functions())
        .map(|(name, config, scheme)| case(name, config, scheme, OWN));
    peers.chain(defaults).chain(others).collect()
}
