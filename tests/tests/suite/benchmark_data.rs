//! Models, documents and a hub that benchmarks are read from.

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Documents with the fields of the data sets.
pub(crate) fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/eval/tests/fixtures/cases")
}

/// Writes a model of `transformers` with the tokenizer of the documents.
pub(crate) fn write_model(folder: &Path, about_tokenizer: &Value) {
    const VOCABULARY: usize = 2048;
    const WIDTH: usize = 16;
    const HIDDEN: usize = 32;
    fs::create_dir_all(folder).unwrap();
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    let mut shapes = vec![
        (
            "model.embed_tokens.weight".to_owned(),
            vec![VOCABULARY, WIDTH],
        ),
        ("model.norm.weight".to_owned(), vec![WIDTH]),
        ("lm_head.weight".to_owned(), vec![VOCABULARY, WIDTH]),
    ];
    for name in ["input_layernorm", "post_attention_layernorm"] {
        shapes.push((layer(name), vec![WIDTH]));
    }
    for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
        shapes.push((layer(&format!("self_attn.{name}")), vec![WIDTH, WIDTH]));
    }
    for name in ["gate_proj", "up_proj"] {
        shapes.push((layer(&format!("mlp.{name}")), vec![HIDDEN, WIDTH]));
    }
    shapes.push((layer("mlp.down_proj"), vec![WIDTH, HIDDEN]));
    // Numbers that look like chance.
    let mut state = 1_u32;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let bytes: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, shape)| {
            let count: usize = shape.iter().product();
            (0..count).flat_map(|_| number().to_le_bytes()).collect()
        })
        .collect();
    let tensors: BTreeMap<&str, TensorView<'_>> = shapes
        .iter()
        .zip(&bytes)
        .map(|((name, shape), bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
            (name.as_str(), view)
        })
        .collect();
    let file = safetensors::serialize(tensors, None).unwrap();
    fs::write(folder.join("model.safetensors"), file).unwrap();
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
        "vocab_size": VOCABULARY, "bos_token_id": null, "eos_token_id": null,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(
        folder.join("tokenizer_config.json"),
        about_tokenizer.to_string(),
    )
    .unwrap();
    fs::copy(
        documents().join("model/tokenizer.json"),
        folder.join("tokenizer.json"),
    )
    .unwrap();
}

pub(crate) fn about_tokenizer() -> Value {
    json!({"eos_token": "<|endoftext|>"})
}

/// Files of the hub by the names and layouts that data sets have there, below `root`.
pub(crate) fn fill_hub(root: &Path) {
    let put = |to: &str, task: &str| {
        let to = root.join("datasets").join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let ending = to.extension().unwrap().to_str().unwrap();
        fs::copy(documents().join(format!("tasks/{task}.{ending}")), to).unwrap();
    };
    let write = |to: &str, text: &str| {
        let to = root.join("datasets").join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, text).unwrap();
    };
    let other = "{\"wrong\": \"another split or configuration\"}\n";
    put(
        "Rowan/hellaswag/data/validation-00000-of-00001.jsonl",
        "hellaswag",
    );
    write("Rowan/hellaswag/data/train-00000-of-00001.jsonl", other);
    write("Rowan/hellaswag/dataset_infos.json", "{\"default\": {}}");
    // A card with configurations, whose names of files say nothing.
    write(
        "allenai/ai2_arc/README.md",
        "---\nconfigs:\n- config_name: ARC-Challenge\n  data_files:\n  - split: test\n    path: c/*\n\
         - config_name: ARC-Easy\n  data_files:\n  - split: train\n    path: e/one.jsonl\n  - split: test\n    path: e/two-*\n---\n# ARC\n",
    );
    put("allenai/ai2_arc/e/two-0.jsonl", "arc_easy");
    put("allenai/ai2_arc/e/one.jsonl", "arc_challenge");
    put("allenai/ai2_arc/c/0.jsonl", "arc_challenge");
    // A folder a configuration.
    put(
        "allenai/winogrande/winogrande_xl/validation-00000-of-00001.jsonl",
        "winogrande",
    );
    write(
        "allenai/winogrande/winogrande_s/validation-00000-of-00001.jsonl",
        other,
    );
    put(
        "EleutherAI/lambada_openai/default/test-00000-of-00001.jsonl",
        "lambada_openai",
    );
    write(
        "EleutherAI/lambada_openai/de/test-00000-of-00001.jsonl",
        other,
    );
    put(
        "nyu-mll/blimp/anaphor_number_agreement/train-00000-of-00001.parquet",
        "blimp_anaphor_number_agreement",
    );
    put(
        "EleutherAI/wikitext_document_level/wikitext-2-raw-v1/test/0000.parquet",
        "wikitext",
    );
    // A program, which the hub has converted.
    write("baber/piqa/piqa.py", "import datasets\n");
    put(
        "baber/piqa@refs%2Fconvert%2Fparquet/default/validation/0000.jsonl",
        "piqa",
    );
    let model = root.join("models/org/tiny");
    write_model(&model, &about_tokenizer());
}
