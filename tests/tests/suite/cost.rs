//! What `describe` promises, against what is counted on a model that was built.

use burn::tensor::Device;
use evenburn_model::{
    Decoder, ExpertsConfig, HeadWeights, MlpKind, ModelConfig, Plan, Scheme, weights,
};
use evenburn_tests::cli::Sandbox;

/// Multiplications and additions of every matrix product of one forward pass, counted on the tensors of the model
/// and, for attention, query by query.
fn counted_flops(model: &Decoder, tied: bool) -> f64 {
    let d = model.dims();
    let mut flops = 0usize;
    for (path, data) in weights::collect(model) {
        let shape = data.shape().to_vec();
        // A token goes through `top_k` of the experts, whichever they are.
        let skipped = path.split_once(".moe.experts.").is_some_and(|(_, rest)| {
            let index: usize = rest.split('.').next().unwrap().parse().unwrap();
            index >= d.experts.top_k
        });
        if skipped {
            continue;
        }
        // A row of the embedding table is looked up, not multiplied, unless it is the output layer too.
        if shape.len() == 2 && (path != "embed.weight" || tied) {
            flops += d.context * 2 * shape[0] * shape[1];
        }
    }
    for _head in 0..d.layers * d.heads {
        for query in 0..d.context {
            for _key in 0..=query {
                // One product of q with k, one of the weight with v.
                flops += 2 * d.head + 2 * d.head;
            }
        }
    }
    flops as f64 / d.context as f64
}

#[test]
fn operations_and_parameters_are_those_of_the_model() {
    for scheme in Scheme::all() {
        let mixture = ExpertsConfig {
            count: 5,
            shared: 1,
            ..ExpertsConfig::default()
        };
        for (head, kv_heads, mlp, experts) in [
            (
                HeadWeights::Untied,
                None,
                MlpKind::Swiglu,
                ExpertsConfig::default(),
            ),
            (HeadWeights::Tied, Some(2), MlpKind::Gelu, mixture),
        ] {
            let config = ModelConfig {
                vocab_size: 211,
                dim: 48,
                layers: 3,
                heads: 4,
                kv_heads,
                context: 40,
                head,
                mlp,
                experts,
                ..ModelConfig::default()
            };
            let plan = Plan::new(&config, scheme.strategy()).unwrap();
            let model = Decoder::new(&plan, 0, &Device::flex());
            let counted = counted_flops(&model, head == HeadWeights::Tied);
            let error = plan.cost().forward_flops_per_token / counted - 1.0;
            assert!(error.abs() < 0.01, "{}: {error}", scheme.name());
            let numbers: usize = weights::collect(&model)
                .iter()
                .map(|(_, data)| data.num_elements())
                .sum();
            assert_eq!(plan.cost().params, numbers);
        }
    }
}

/// Bytes that `describe` estimates and bytes that a run of the same configuration takes at most.
fn memory(sandbox: &Sandbox, scheme: &str, label: &str, sizes: &[&str]) -> (f64, f64) {
    let text = |arguments: &[&str]| {
        let output = sandbox.run(arguments).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let described = text(&[&["describe", "tiny.toml", "--norm.scheme", scheme], sizes].concat());
    let (_, estimate) = described.split_once("(estimate): ").unwrap();
    let estimate: f64 = estimate.split(' ').next().unwrap().parse().unwrap();

    // The first run tokenizes, which takes memory of its own; the second finds the tokens in the cache.
    for run in ["first", "second"] {
        let run = format!("{run}-{label}");
        text(&Sandbox::train(
            scheme,
            &run,
            &[&["--train.steps", "6", "--no-baselines"], sizes].concat(),
        ));
    }
    let log =
        std::fs::read_to_string(sandbox.path(&format!("second-{label}/metrics.jsonl"))).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    (
        estimate * f64::from(1 << 20),
        last["mem/peak_rss"].as_f64().unwrap(),
    )
}

#[test]
#[cfg(target_os = "linux")]
fn memory_is_estimated_within_a_fifth() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_evenburn-under-test"), folder.path()).unwrap();
    let sizes = [
        "--model.dim",
        "128",
        "--model.layers",
        "4",
        "--model.vocab_size",
        "4096",
    ];
    let batch = [
        "--model.context",
        "256",
        "--train.batch_size",
        "8",
        "--train.accumulate",
        "1",
    ];
    let sizes = [&sizes[..], &batch[..]].concat();
    let experts = [
        "--model.experts.count",
        "8",
        "--model.experts.top_k",
        "2",
        "--model.hidden",
        "176",
    ];
    let mixture = [&sizes[..], &experts].concat();
    let dense = Scheme::NAMES
        .iter()
        .map(|scheme| (*scheme, *scheme, &sizes));
    let mut off = Vec::new();
    for (label, scheme, sizes) in dense.chain([("experts", "pre_norm", &mixture)]) {
        let (estimate, measured) = memory(&sandbox, scheme, label, sizes);
        let ratio = estimate / measured;
        println!(
            "{label}: {ratio:.3} of {:.1} MiB",
            measured / f64::from(1 << 20)
        );
        if !(0.8..1.2).contains(&ratio) {
            off.push(format!("{label}: {ratio:.3} of {measured} bytes"));
        }
    }
    assert!(off.is_empty(), "{off:?}");
}
