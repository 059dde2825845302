//! Plans whose parts are not those that their sizes ask for.

use super::{Custom, clash};
use crate::common::config;
use evenburn_model::{ExpertsConfig, MlpKind, ModelConfig, Plan, PlanError, Positions};

type Change = fn(&mut Plan);

/// Sizes whose products no number holds are refused by their keys, and so is what has no meaning.
#[test]
fn sizes_that_no_model_has_are_refused_by_their_keys() {
    let huge = usize::MAX / 2;
    let experts = |change: &dyn Fn(&mut ExpertsConfig)| {
        let mut experts = ExpertsConfig {
            count: 4,
            shared: 1,
            ..ExpertsConfig::default()
        };
        change(&mut experts);
        ModelConfig {
            experts,
            ..config()
        }
    };
    let with = |change: &dyn Fn(&mut ModelConfig)| {
        let mut changed = config();
        change(&mut changed);
        changed
    };
    let cases = [
        (with(&|c| c.hidden = Some(huge)), "model.hidden"),
        (with(&|c| c.layers = huge), "model.layers"),
        (with(&|c| c.vocab_size = huge), "model.vocab_size"),
        (with(&|c| c.context = huge), "model.context"),
        (
            with(&|c| (c.layers, c.hidden) = (1 << 20, Some(1 << 24))),
            "model.dim",
        ),
        (experts(&|e| e.count = huge), "model.experts.count"),
        (
            experts(&|e| e.shared_hidden = Some(huge)),
            "model.experts.shared_hidden",
        ),
        (
            with(&|c| c.experts.shared_hidden = Some(16)),
            "model.experts.shared_hidden",
        ),
    ];
    for (config, key) in cases {
        let error = Plan::new(&config, &Custom::default()).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with(&format!("{key}: ")), "{message}");
    }
}

/// A plan read back from a file can have anything in it.
#[test]
fn plans_whose_sizes_disagree_are_refused() {
    let refuse = |change: &dyn Fn(&mut Plan), config: &ModelConfig| {
        let mut plan = Plan::new(config, &Custom::default()).unwrap();
        change(&mut plan);
        plan.validate().map(|()| plan)
    };
    let dense = config();
    let refused = refuse(&|p| p.layers.truncate(2), &dense);
    clash(refused, "blocks", "plans of 2 blocks", "sizes of 3");
    let refused = refuse(&|p| p.layers[1].gate = None, &dense);
    clash(
        refused,
        "block 1, mlp.gate",
        "no planned matrix",
        "an MLP of kind Swiglu",
    );
    let refused = refuse(&|p| p.dims.mlp = MlpKind::Gelu, &dense);
    clash(
        refused,
        "block 0, mlp.gate",
        "a planned matrix",
        "an MLP of kind Gelu",
    );
    let router = |p: &mut Plan| p.layers[2].router = Some(p.layers[2].q.clone());
    let refused = refuse(&router, &dense);
    clash(
        refused,
        "block 2, moe.router",
        "a planned matrix",
        "0 experts",
    );
    let refused = refuse(&|p| p.dims.experts.count = 4, &dense);
    clash(
        refused,
        "block 0, moe.router",
        "no planned matrix",
        "4 experts",
    );
    let refused = refuse(&|p| p.positions = Some(p.embedding.clone()), &dense);
    clash(
        refused,
        "embed.positions",
        "a planned matrix",
        "positions of kind Rope",
    );
    let learned = |p: &mut Plan| p.dims.positions = Positions::Learned;
    let refused = refuse(&learned, &dense);
    clash(
        refused,
        "embed.positions",
        "no planned matrix",
        "positions of kind Learned",
    );

    let mixture = ModelConfig {
        experts: ExpertsConfig {
            count: 4,
            ..ExpertsConfig::default()
        },
        ..config()
    };
    let sizes: [(&str, Change); 16] = [
        ("vocab_size", |p| p.dims.vocab = 0),
        ("dim", |p| p.dims.model = 0),
        ("layers", |p| p.dims.layers = 0),
        ("heads", |p| p.dims.heads = 0),
        ("kv_heads", |p| p.dims.kv_heads = 0),
        ("kv_heads", |p| p.dims.kv_heads = 3),
        ("head_dim", |p| p.dims.head = 0),
        ("head_dim", |p| p.dims.head = 7),
        ("hidden", |p| p.dims.hidden = 0),
        ("context", |p| p.dims.context = 0),
        ("rope_theta", |p| p.dims.rope_theta = f64::NAN),
        ("rope_fraction", |p| p.dims.rope_fraction = f64::NAN),
        ("rope_fraction", |p| p.dims.rope_fraction = 0.3),
        ("dropout", |p| p.dims.dropout = 1.0),
        ("experts.top_k", |p| p.dims.experts.top_k = 5),
        ("experts.top_k", |p| p.dims.experts.top_k = 0),
    ];
    for (key, change) in sizes {
        let refused = refuse(&change, &mixture).unwrap_err();
        assert!(
            matches!(&refused, PlanError::Size { key: k, .. } if *k == key),
            "{refused}"
        );
    }
}
