//! What `describe` promises, against what is counted on a model that was built.

use burn::tensor::Device;
use evenburn_model::{
    Decoder, ExpertsConfig, HeadWeights, MlpKind, ModelConfig, Registry, weights,
};

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
    for scheme in Registry::default().schemes() {
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
            let plan = scheme.plan(&config).unwrap();
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
