//! Models of `transformers` are read as what they are, and what is written reads back the same.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use evenburn::interchange::{
    Ends, ExportModel, Imported, InterchangeError, Target, export, import,
};
use evenburn_model::function::{Around, NormFunction};
use evenburn_model::strategy::PreNorm;
use evenburn_model::{Decoder, ForwardContext, ModelConfig, Plan, Recorded, weights};
use evenburn_parity::exports;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peers")
}

/// Largest difference over the largest value.
fn error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |m: f64, d| if d.is_nan() { d } else { m.max(d) }) / largest
}

fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// A model in f64 that was read.
fn decoder(read: &Imported, device: &Device) -> Decoder {
    let values = read.weights.iter().map(|(path, data)| {
        let data = data.clone().convert_dtype(DType::F64);
        (path.clone(), data)
    });
    weights::replace(Decoder::new(&read.plan, 0, device), values).unwrap()
}

/// The numbers that `transformers` computed.
struct Reference(Vec<u8>);

impl Reference {
    fn of(peer: &str) -> Self {
        Self(std::fs::read(peers().join(peer).join("reference.safetensors")).unwrap())
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }

    fn floats(&self, name: &str) -> Vec<f64> {
        let view = self.file().tensor(name).unwrap().data().to_vec();
        let eight = view.chunks_exact(8);
        eight
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    fn ids(&self, name: &str, device: &Device) -> Tensor<2, Int> {
        let file = self.file();
        let view = file.tensor(name).unwrap();
        let four = view.data().chunks_exact(4);
        let ids: Vec<i32> = four
            .map(|b| i32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        Tensor::from_data(TensorData::new(ids, view.shape().to_vec()), device)
    }

    /// Gradients by our paths: a folder with gradients for weights is read as any other. What `prefix` lacks is zero.
    fn gradients(&self, peer: &str, prefix: &str) -> BTreeMap<String, Vec<f64>> {
        let folder = tempfile::tempdir().unwrap();
        let config = peers().join(peer).join("config.json");
        std::fs::copy(config, folder.path().join("config.json")).unwrap();
        let file = self.file();
        let stored: Vec<(String, Vec<usize>, Vec<u8>)> = file
            .names()
            .into_iter()
            .filter_map(|name| name.strip_prefix("grad."))
            .map(|name| {
                let shape = file
                    .tensor(&format!("grad.{name}"))
                    .unwrap()
                    .shape()
                    .to_vec();
                let data = match file.tensor(&format!("{prefix}.{name}")) {
                    Ok(view) => view.data().to_vec(),
                    Err(_) => vec![0; 8 * shape.iter().product::<usize>()],
                };
                (name.to_owned(), shape, data)
            })
            .collect();
        let views = stored.iter().map(|(name, shape, data)| {
            (
                name,
                TensorView::new(Dtype::F64, shape.clone(), data).unwrap(),
            )
        });
        let place = folder.path().join("model.safetensors");
        safetensors::serialize_to_file(views, None, &place).unwrap();
        let read = import(folder.path()).unwrap();
        let floats = |data: TensorData| data.iter::<f64>().collect();
        let named = read.weights.into_iter();
        named.map(|(path, data)| (path, floats(data))).collect()
    }
}

/// Every gradient against the reference's, each to `tolerance` of the largest of all.
fn compare_gradients(
    peer: &str,
    decoder: &Decoder,
    loss: &Tensor<1>,
    expected: &BTreeMap<String, Vec<f64>>,
) {
    let gradients = loss.backward();
    let largest = expected
        .values()
        .flatten()
        .fold(0.0, |m: f64, g| m.max(g.abs()));
    let found = weights::gradients(decoder, &gradients);
    for (path, expected) in expected {
        let found: Vec<f64> = match found.get(path) {
            Some(data) => data.iter::<f64>().collect(),
            None => vec![0.0; expected.len()],
        };
        let pairs = found.iter().zip(expected);
        let difference = pairs.fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        assert!(
            difference / largest < 1e-9,
            "{peer} {path}: {difference} of {largest}"
        );
    }
}

#[test]
fn peers_have_the_logits_losses_and_gradients_of_transformers() {
    let device = Device::flex().autodiff();
    let mut compared = 0;
    for entry in std::fs::read_dir(peers()).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("reference.safetensors").is_file() {
            continue;
        }
        let peer = folder.file_name().unwrap().to_str().unwrap();
        let (read, reference) = (import(&folder).unwrap(), Reference::of(peer));
        let model = decoder(&read, &device);
        let ids = |name: &str| reference.ids(name, &device);
        let logits = numbers(model.logits(model.hidden(ids("tokens"))));
        let found = error(&logits, &reference.floats("logits"));
        assert!(found < 1e-9, "{peer}: logits {found}");

        let objective = model.objective(ids("tokens"), ids("targets"), &ForwardContext::default());
        let count = ids("targets").shape().num_elements() as f64;
        let loss = objective.loss_sum.mul_scalar(count.recip());
        let found = error(&numbers(loss.clone()), &reference.floats("loss"));
        assert!(found < 1e-9, "{peer}: loss {found}");
        compare_gradients(peer, &model, &loss, &reference.gradients(peer, "grad"));

        let experts = &read.plan.dims().experts;
        if !experts.is_dense() {
            // A backward pass uses its graph up.
            let objective =
                model.objective(ids("tokens"), ids("targets"), &ForwardContext::default());
            let aux = objective
                .penalty
                .unwrap()
                .mul_scalar(experts.balance_coef.recip());
            let found = error(&numbers(aux.clone()), &reference.floats("aux_loss"));
            assert!(found < 1e-9, "{peer}: auxiliary loss {found}");
            compare_gradients(peer, &model, &aux, &reference.gradients(peer, "aux_grad"));
        }
        compared += 1;
    }
    assert_eq!(compared, 11);
}

#[test]
fn shards_are_one_checkpoint() {
    let (one, many) = (
        import(&peers().join("llama")).unwrap(),
        import(&peers().join("llama_sharded")).unwrap(),
    );
    assert_eq!(one.plan, many.plan);
    assert_eq!(one.weights, many.weights);
}

#[test]
fn what_is_written_for_a_class_reads_back_as_the_same_function() {
    let device = Device::flex();
    let mut classes = 0;
    for case in exports::cases() {
        let original = case.decoder(DType::F64).unwrap();
        let model = ExportModel {
            plan: case.plan().unwrap(),
            weights: weights::collect(&original),
            tokenizer: None,
            ends: Ends::Unknown,
        };
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("exported");
        let exported = export(&model, &Target::Auto, &place).unwrap();
        assert_eq!(exported.class, case.class, "{}", case.name);
        let config: Value =
            serde_json::from_slice(&std::fs::read(place.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["architectures"], json!([case.class]));
        if case.class == "EvenburnForCausalLM" {
            let plan: Plan = serde_json::from_value(config["plan"].clone()).unwrap();
            assert_eq!(plan, case.plan().unwrap(), "{}", case.name);
            assert!(place.join("modeling_evenburn.py").is_file());
            let stored = std::fs::read(place.join("model.safetensors")).unwrap();
            let stored = SafeTensors::deserialize(&stored).unwrap();
            for spec in plan.params() {
                let shape = stored.tensor(&spec.path).unwrap().shape().to_vec();
                let mut expected = spec.shape.clone();
                if expected.len() == 2 && !spec.path.starts_with("embed") {
                    expected.reverse();
                }
                assert_eq!(shape, expected, "{} {}", case.name, spec.path);
            }
            continue;
        }
        classes += 1;
        let read = import(&place).unwrap();
        let again = decoder(&read, &device);
        let logits = |model: &Decoder| numbers(model.logits(model.hidden(exports::tokens())));
        let found = error(&logits(&again), &logits(&original));
        assert!(found < 1e-12, "{}: {found}", case.name);
    }
    assert!(classes >= 19);
}

/// A copy of a peer's folder with its configuration changed.
fn changed(peer: &str, key: &str, value: Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = peers().join(peer);
    let text = std::fs::read(from.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&text).unwrap();
    config[key] = value;
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let weights = "model.safetensors";
    std::fs::copy(from.join(weights), folder.path().join(weights)).unwrap();
    folder
}

#[test]
fn what_no_plan_says_is_refused_by_its_key() {
    let scaled = json!({ "rope_type": "llama3", "factor": 8.0, "rope_theta": 500_000.0 });
    for (peer, key, value) in [
        ("llama", "rope_scaling", scaled.clone()),
        ("llama", "rope_parameters", scaled),
        ("llama", "hidden_act", json!("relu")),
        ("llama", "quantization_config", json!({ "bits": 4 })),
        ("llama", "model_type", json!("mamba")),
        ("llama", "mlp_bias", json!(true)),
        ("mixtral", "sliding_window", json!(8)),
        ("gemma2", "attn_logit_softcapping", json!(50.0)),
        ("gemma2", "query_pre_attn_scalar", json!(144)),
        (
            "qwen3",
            "layer_types",
            json!(["linear_attention", "full_attention"]),
        ),
        ("qwen3_moe", "mlp_only_layers", json!([0])),
        ("gpt2", "scale_attn_by_inverse_layer_idx", json!(true)),
        ("llama", "partial_rotary_factor", json!(0.5)),
        ("gpt_neox", "use_parallel_residual", json!(true)),
        ("gpt_neox", "attention_bias", json!(false)),
        ("gpt_neox", "hidden_act", json!("relu")),
        ("gpt_neox", "head_dim", json!(12)),
        ("stablelm", "use_parallel_residual", json!(true)),
        ("stablelm", "qk_layernorm", json!(true)),
        // Three of eight channels.
        (
            "stablelm",
            "rope_parameters",
            json!({ "partial_rotary_factor": 0.4 }),
        ),
        ("phi3", "sliding_window", json!(8)),
        (
            "phi3",
            "rope_scaling",
            json!({ "type": "longrope", "short_factor": [1.0] }),
        ),
    ] {
        let refused = import(changed(peer, key, value).path()).unwrap_err();
        assert!(
            matches!(refused, InterchangeError::Inexpressible { .. }),
            "{peer} {key}: {refused}"
        );
        let message = refused.to_string();
        assert!(
            message.contains(key) && message.contains("config.json"),
            "{message}"
        );
    }
    // A class that no plan computes is refused by what it does.
    for (peer, value) in [("gpt_neox", None), ("llama", Some("phi"))] {
        let folder = match value {
            Some(class) => changed(peer, "model_type", json!(class)),
            None => changed(peer, "use_parallel_residual", Value::Null),
        };
        let message = import(folder.path()).unwrap_err().to_string();
        assert!(message.contains("attention and MLP"), "{message}");
    }
    // A window as wide as the context hides nothing.
    import(changed("mixtral", "sliding_window", json!(4096)).path()).unwrap();
}

#[test]
fn every_tensor_that_does_not_fit_is_listed() {
    let from = peers().join("llama");
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut views: BTreeMap<String, TensorView<'_>> =
        file.iter().map(|(n, v)| (n.to_owned(), v)).collect();
    let up = views.remove("model.layers.0.mlp.up_proj.weight").unwrap();
    views
        .remove("model.layers.1.self_attn.q_proj.weight")
        .unwrap();
    views.insert("model.layers.0.mlp.extra.weight".into(), up.clone());
    let wide = TensorView::new(up.dtype(), vec![32, 56], up.data()).unwrap();
    views.insert("model.layers.1.mlp.up_proj.weight".into(), wide);
    let folder = tempfile::tempdir().unwrap();
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    std::fs::copy(from.join("config.json"), folder.path().join("config.json")).unwrap();
    let message = import(folder.path()).unwrap_err().to_string();
    for part in [
        "missing: model.layers.1.self_attn.q_proj.weight, model.layers.0.mlp.up_proj.weight",
        "unexpected: model.layers.0.mlp.extra.weight",
        "model.layers.1.mlp.up_proj.weight has [32, 56] and needs [56, 32]",
    ] {
        assert!(message.contains(part), "no `{part}` in {message}");
    }
}

#[test]
fn a_class_that_turns_whole_heads_is_refused_by_the_part() {
    let case = exports::cases()
        .into_iter()
        .find(|c| c.name == "phi3")
        .unwrap();
    let model = ExportModel {
        plan: case.plan().unwrap(),
        weights: weights::collect(&case.decoder(DType::F32).unwrap()),
        tokenizer: None,
        ends: Ends::Unknown,
    };
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("exported");
    let refused = export(&model, &Target::Peer("llama".to_owned()), &place).unwrap_err();
    let message = refused.to_string();
    assert!(
        message.contains("dims.rope_fraction: 0.4 here, none there"),
        "{message}"
    );
}

#[test]
fn a_class_that_computes_something_else_is_refused_with_the_difference() {
    let case = exports::cases()
        .into_iter()
        .find(|c| c.name == "default_angpt")
        .unwrap();
    let model = || ExportModel {
        plan: case.plan().unwrap(),
        weights: weights::collect(&case.decoder(DType::F32).unwrap()),
        tokenizer: None,
        ends: Ends::Unknown,
    };
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("exported");
    let target = |name: &str| Target::Peer(name.to_owned());
    let message = export(&model(), &target("llama"), &place)
        .unwrap_err()
        .to_string();
    for part in ["LlamaForCausalLM", "mix", "lerp", "logit_gain", "qk_norm"] {
        assert!(message.contains(part), "no `{part}` in {message}");
    }
    assert!(!place.exists());
    assert!(export(&model(), &target("mamba"), &place).is_err());
    let message = export(&model(), &target("phi"), &place)
        .unwrap_err()
        .to_string();
    assert!(message.contains("attention and MLP"), "{message}");

    export(&model(), &Target::Own, &place).unwrap();
    let again = export(&model(), &Target::Own, &place)
        .unwrap_err()
        .to_string();
    assert!(again.contains("already exists"), "{again}");
}

/// Divides by the largest magnitude: a function that this project doesn't have.
#[derive(Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Largest {}

impl Recorded for Largest {
    const NAME: &'static str = "largest";
    const ABOUT: &'static str = "Divides by the largest magnitude.";
}

impl NormFunction for Largest {
    fn describe(&self) -> String {
        "largest magnitude".to_owned()
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        around.gained(x.clone() / x.abs().max_dim(1))
    }
}

#[test]
fn a_function_of_another_program_is_refused_by_its_name() {
    let config = ModelConfig {
        function: Some(Largest {}.into()),
        ..ModelConfig::default()
    };
    let plan = Plan::new(&config, &PreNorm::default()).unwrap();
    let decoder = Decoder::new(&plan, 1, &Device::flex());
    let model = ExportModel {
        plan,
        weights: weights::collect(&decoder),
        tokenizer: None,
        ends: Ends::Unknown,
    };
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("exported");
    for target in [Target::Auto, Target::Own] {
        let message = export(&model, &target, &place).unwrap_err().to_string();
        for part in ["blocks.0.attn_residual.input", "`largest`"] {
            assert!(message.contains(part), "no `{part}` in {message}");
        }
        assert!(!place.exists());
    }
}
