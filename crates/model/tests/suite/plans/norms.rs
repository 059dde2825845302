//! Schemes that differ in where a normalization stands and what it computes.

use super::{
    D, decayed, deviations, dims, ends, gpt2, input, learned, linear_norms, normed, per_head,
    plain_branches, qk, simple_gpt, streams,
};
use evenburn_model::function::{Erf, Layer, Rms, Tanh};
use evenburn_model::plan::{
    BiasPlan, EmbeddingPlan, Form, GainPlan, GainRole, GainShape, HeadPlan, NormPlan, ResidualPlan,
};
use evenburn_model::strategy::{
    Bias, Decay, Derf, DyT, EmbedNorm, EmbedScalar, EmbedScale, FirstLayer, GainForm, HybridNorm,
    LnScaling, NormStrategy, Olmo2, PeriNorm, PostNorm, PreNorm, QkNorm, RouterNorm, SimpleNorm,
    Statistics, WeightInit,
};
use evenburn_model::{Branch, MlpKind, Site};

#[test]
fn a_strategy_that_decides_nothing_is_pre_norm() {
    #[derive(Debug)]
    struct Nothing;
    impl NormStrategy for Nothing {
        fn name(&self) -> &'static str {
            "nothing"
        }
    }
    let norm = normed(Rms {}, 1e-5, GainRole::Input);
    streams(&Nothing, |_, _| input(norm.clone()));
    linear_norms(&Nothing, |_| None);
    ends(&Nothing, Some(norm));
    plain_branches(&Nothing);
    deviations(&Nothing, |_, _| (0.02, None));
}

#[test]
fn pre_norm_reads_a_normalized_stream() {
    let rms = |role| normed(Rms {}, 1e-5, role);
    let gpt_plus = PreNorm::default();
    streams(&gpt_plus, |_, _| input(rms(GainRole::Input)));
    linear_norms(&gpt_plus, qk(&per_head(rms(GainRole::Output))));
    ends(&gpt_plus, Some(rms(GainRole::Input)));
    plain_branches(&gpt_plus);
    deviations(&gpt_plus, simple_gpt);

    let gpt2_plan = PreNorm {
        qk: QkNorm::None,
        norm: Statistics::Layer,
        bias: Bias::Learned,
        start: WeightInit::Gpt2,
        decay: Decay::All,
        ..PreNorm::default()
    };
    let layer_norm = NormPlan {
        bias: Some(BiasPlan { decay: true }),
        ..decayed(normed(Layer {}, 1e-5, GainRole::Input))
    };
    streams(&gpt2_plan, |_, _| input(layer_norm.clone()));
    linear_norms(&gpt2_plan, |_| None);
    ends(&gpt2_plan, Some(layer_norm));
    deviations(&gpt2_plan, gpt2);

    let full = PreNorm {
        qk: QkNorm::Full,
        ..PreNorm::default()
    };
    linear_norms(&full, qk(&rms(GainRole::Output)));
}

#[test]
fn post_norm_normalizes_the_sum() {
    let layer = normed(Layer {}, 1e-5, GainRole::Output);
    let scheme = PostNorm::default();
    streams(&scheme, |_, _| ResidualPlan {
        after: Some(layer.clone()),
        ..ResidualPlan::plain()
    });
    ends(&scheme, None);
    plain_branches(&scheme);
    deviations(&scheme, gpt2);
    let full = PostNorm {
        qk: QkNorm::Full,
        ..PostNorm::default()
    };
    linear_norms(&scheme, |_| None);
    linear_norms(&full, qk(&layer));
}

#[test]
fn peri_norm_stands_on_both_sides_of_a_branch() {
    let rms = |role| normed(Rms {}, 1e-5, role);
    let scheme = PeriNorm::default();
    streams(&scheme, |_, _| ResidualPlan {
        input: Some(rms(GainRole::Input)),
        output: Some(rms(GainRole::Output)),
        ..ResidualPlan::plain()
    });
    let expected = EmbeddingPlan {
        norm: Some(rms(GainRole::Output)),
        ..EmbeddingPlan::plain()
    };
    assert_eq!(scheme.embedding(&dims()), expected);
    let expected = HeadPlan {
        final_norm: Some(rms(GainRole::Input)),
        ..HeadPlan::plain()
    };
    assert_eq!(scheme.head(&dims()), expected);
    plain_branches(&scheme);
    deviations(&scheme, simple_gpt);

    let gemma = PeriNorm {
        qk: QkNorm::Head,
        embed_norm: EmbedNorm::None,
        embed_scale: EmbedScale::SqrtDim,
        gain: GainForm::OnePlus,
        ..PeriNorm::default()
    };
    let one_plus = |role| NormPlan {
        gain: rms(role).gain.map(|gain| GainPlan {
            form: Form::OnePlus,
            ..gain
        }),
        ..rms(role)
    };
    linear_norms(&scheme, |_| None);
    linear_norms(&gemma, qk(&per_head(one_plus(GainRole::Output))));
    let expected = EmbeddingPlan {
        factor: D.sqrt(),
        ..EmbeddingPlan::plain()
    };
    assert_eq!(gemma.embedding(&dims()), expected);
    let expected = HeadPlan {
        final_norm: Some(one_plus(GainRole::Input)),
        ..HeadPlan::plain()
    };
    assert_eq!(gemma.head(&dims()), expected);
}

#[test]
fn olmo2_normalizes_what_a_branch_writes() {
    let rms = |role| normed(Rms {}, 1e-6, role);
    let scheme = Olmo2::default();
    streams(&scheme, |_, _| ResidualPlan {
        output: Some(rms(GainRole::Output)),
        ..ResidualPlan::plain()
    });
    linear_norms(&scheme, qk(&rms(GainRole::Output)));
    ends(&scheme, Some(rms(GainRole::Input)));
    plain_branches(&scheme);
    deviations(&scheme, simple_gpt);
}

#[test]
fn hybrid_norm_normalizes_q_k_v_and_the_stream_before_the_mlp() {
    let rms = |role| decayed(normed(Rms {}, 1e-5, role));
    let rest = |branch| match branch {
        Branch::Attention => ResidualPlan::plain(),
        Branch::Mlp => ResidualPlan {
            stream: Some(rms(GainRole::Output)),
            ..ResidualPlan::plain()
        },
    };
    let scheme = HybridNorm::default();
    streams(&scheme, |_, branch| rest(branch));
    linear_norms(&scheme, |site| match site {
        Site::Q | Site::K => Some(per_head(rms(GainRole::Output))),
        Site::V => Some(per_head(rms(GainRole::Input))),
        _ => None,
    });
    ends(&scheme, Some(rms(GainRole::Input)));
    plain_branches(&scheme);
    deviations(&scheme, simple_gpt);
    let star = HybridNorm {
        first: FirstLayer::PreNorm,
        ..HybridNorm::default()
    };
    streams(&star, |layer, branch| match layer {
        0 => input(rms(GainRole::Input)),
        _ => rest(branch),
    });
}

#[test]
fn ln_scaling_divides_by_the_root_of_the_layers_number() {
    let rms = |role| normed(Rms {}, 1e-5, role);
    let scheme = LnScaling::default();
    streams(&scheme, |layer, _| {
        input(NormPlan {
            factor: 1.0 / [1.0, 2.0_f64.sqrt(), 3.0_f64.sqrt()][layer],
            ..rms(GainRole::Input)
        })
    });
    linear_norms(&scheme, |_| None);
    let full = LnScaling {
        qk: QkNorm::Full,
        ..LnScaling::default()
    };
    linear_norms(&full, qk(&rms(GainRole::Output)));
    ends(&scheme, Some(rms(GainRole::Input)));
    plain_branches(&scheme);
    deviations(&scheme, |layer, site| match site {
        Site::Embedding | Site::Head => simple_gpt(layer, site),
        _ => (0.02, None),
    });
}

#[test]
fn dyt_and_derf_have_their_slopes_and_vectors() {
    let tanh = |slope| normed(Tanh { slope }, 0.0, GainRole::Input);
    let scheme = DyT::default();
    streams(&scheme, |_, branch| {
        input(tanh(match branch {
            Branch::Attention => 0.8,
            Branch::Mlp => 0.2,
        }))
    });
    let expected = EmbeddingPlan {
        gain: Some(GainPlan {
            shape: GainShape::Scalar,
            ..learned(D.sqrt(), D.sqrt(), Form::Direct)
        }),
        ..EmbeddingPlan::plain()
    };
    assert_eq!(scheme.embedding(&dims()), expected);
    let expected = HeadPlan {
        final_norm: Some(tanh(0.2)),
        ..HeadPlan::plain()
    };
    assert_eq!(scheme.head(&dims()), expected);
    plain_branches(&scheme);
    deviations(&scheme, gpt2);
    let plain = DyT {
        embed_scalar: EmbedScalar::None,
        bias: Bias::Learned,
        decay: Decay::All,
        ..DyT::default()
    };
    let biased = NormPlan {
        bias: Some(BiasPlan { decay: true }),
        ..decayed(tanh(0.2))
    };
    ends(&plain, Some(biased));

    let erf = NormPlan {
        bias: Some(BiasPlan { decay: false }),
        ..normed(Erf { slope: 0.5 }, 0.0, GainRole::Input)
    };
    let scheme = Derf::default();
    streams(&scheme, |_, _| input(erf.clone()));
    ends(&scheme, Some(erf));
    plain_branches(&scheme);
    deviations(&scheme, simple_gpt);
}

#[test]
fn simple_norm_normalizes_every_product_of_a_block() {
    let rms = |role| decayed(normed(Rms {}, 1e-5, role));
    let scheme = SimpleNorm::default();
    streams(&scheme, |_, _| ResidualPlan::plain());
    let block = |site| match site {
        Site::V | Site::Up => Some(rms(GainRole::Input)),
        _ => Some(rms(GainRole::Output)),
    };
    for router in [RouterNorm::None, RouterNorm::Normalized] {
        let scheme = SimpleNorm {
            router,
            ..scheme.clone()
        };
        linear_norms(&scheme, |site| match (site, router) {
            (Site::Router, RouterNorm::None) => None,
            _ => block(site),
        });
    }
    // The activation of a plain MLP stands between `up` and the next matrix.
    let mut plain = dims();
    plain.mlp = MlpKind::Relu2;
    let up = scheme.linear(1, Site::Up, &plain);
    assert_eq!(up.norm, Some(rms(GainRole::Output)));
    ends(&scheme, Some(rms(GainRole::Input)));
    plain_branches(&scheme);
    deviations(&scheme, simple_gpt);
}
