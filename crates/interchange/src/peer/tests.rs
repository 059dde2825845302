//! Keys that a `config.json` leaves out have the values that the classes of `transformers` give them.

use super::of;
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::texts::Texts;
use evenburn_model::Plan;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What a configuration is read as: a plan, and the special ids.
fn read(name: &str, map: &Map<String, Value>) -> Result<(Plan, Texts), InterchangeError> {
    let peer = of(name).unwrap();
    let mut fields = Fields::new(Path::new("config.json"), map.clone());
    fields.rename(peer.second_names());
    let (sizes, scheme) = peer.read(&fields)?;
    let texts = Texts::read(Path::new("nowhere"), &fields, peer.ends())?;
    Ok((scheme.plan(&sizes)?, texts))
}

/// Every key of a class with its default (`tools/reference/peers.py`), and what makes it a plan of ours.
fn complete(name: &str) -> Map<String, Value> {
    let file = "../../tests/fixtures/peers/defaults.json";
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let stored: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(stored["transformers"], "5.24.0");
    let mut map = stored["classes"][name].as_object().unwrap().clone();
    if name == "gpt_neox" {
        map.insert("use_parallel_residual".into(), json!(false));
    }
    if name == "gemma2" {
        map.insert("attn_logit_softcapping".into(), Value::Null);
        map.insert("final_logit_softcapping".into(), Value::Null);
        map.insert("max_position_embeddings".into(), json!(4096));
    }
    map
}

fn with(mut map: Map<String, Value>, changes: &Value) -> Map<String, Value> {
    map.extend(changes.as_object().unwrap().clone());
    map
}

#[test]
fn each_key_that_is_left_out_has_the_default_of_its_class() {
    // What these have by default can't be expressed, so that the key has to be there.
    let needed = [
        ("gemma2", "attn_logit_softcapping"),
        ("gemma2", "final_logit_softcapping"),
        // Longer than the window.
        ("gemma2", "max_position_embeddings"),
        ("gpt_neox", "use_parallel_residual"),
    ];
    let mut left_out = 0;
    for peer in super::ALL {
        let name = peer.name();
        let whole = complete(name);
        let expected = read(name, &whole).unwrap();
        for key in whole.keys() {
            let mut rest = whole.clone();
            rest.remove(key);
            if needed.contains(&(name, key.as_str())) {
                let refused = read(name, &rest).unwrap_err();
                assert!(
                    matches!(refused, InterchangeError::Inexpressible { .. }),
                    "{name} {key}: {refused}"
                );
                continue;
            }
            assert!(
                read(name, &rest).unwrap() == expected,
                "{name} without {key}"
            );
            left_out += 1;
        }
        // And with nothing but what is needed.
        let kept = |(key, _): &(String, Value)| needed.contains(&(name, key.as_str()));
        let rest = whole.into_iter().filter(kept).collect();
        assert!(
            read(name, &rest).unwrap() == expected,
            "{name} with nothing"
        );
    }
    assert!(left_out > 130, "{left_out}");
}

/// That `transformers` reads two configurations as the same, by keys that differ from the defaults.
fn assert_same(name: &str, given: &Value, same: &Value) {
    let read = |changes: &Value| read(name, &with(complete(name), changes)).unwrap();
    assert!(read(given) == read(same), "{name} {given}");
}

#[test]
fn null_and_second_names_are_read_as_transformers_reads_them() {
    for (name, given, same) in [
        // Null where the class lacks something, absent where it has its default.
        (
            "qwen3",
            json!({ "num_attention_heads": 16, "num_key_value_heads": null }),
            json!({ "num_attention_heads": 16, "num_key_value_heads": 16 }),
        ),
        (
            "llama",
            json!({ "num_key_value_heads": null }),
            json!({ "num_key_value_heads": 32 }),
        ),
        (
            "llama",
            json!({ "head_dim": null }),
            json!({ "head_dim": 128 }),
        ),
        (
            "gpt2",
            json!({ "n_inner": null }),
            json!({ "n_inner": 3072 }),
        ),
        (
            "gemma2",
            json!({ "sliding_window": null, "max_position_embeddings": 8192 }),
            json!({ "sliding_window": 8192, "max_position_embeddings": 8192 }),
        ),
        (
            "llama",
            json!({ "bos_token_id": null, "eos_token_id": null }),
            json!({ "bos_token_id": null, "eos_token_id": null, "pad_token_id": null }),
        ),
        // Second names, which count where both are there.
        (
            "gpt2",
            json!({ "hidden_size": 240 }),
            json!({ "n_embd": 240 }),
        ),
        (
            "gpt2",
            json!({ "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 64 }),
            json!({ "n_layer": 3, "n_head": 4, "n_positions": 64 }),
        ),
        (
            "mixtral",
            json!({ "num_experts": 3 }),
            json!({ "num_local_experts": 3 }),
        ),
        (
            "qwen3_moe",
            json!({ "num_local_experts": 9, "num_experts": 11 }),
            json!({ "num_local_experts": 9 }),
        ),
    ] {
        assert_same(name, &given, &same);
    }
    // The file has the other name of this key, by which it is written.
    let mut map = with(complete("qwen3_moe"), &json!({ "num_experts": 9 }));
    map.remove("num_local_experts");
    assert_eq!(read("qwen3_moe", &map).unwrap().0.dims().experts.count, 9);
}

#[test]
fn keys_of_every_version_are_read_as_transformers_reads_them() {
    let rope = |theta: f64| json!({ "rope_type": "default", "rope_theta": theta });
    let part = |theta: f64, part: f64| {
        let mut rope = rope(theta);
        rope["partial_rotary_factor"] = json!(part);
        rope
    };
    for (name, given, same) in [
        // The base of the rotation, by the keys of every version.
        (
            "llama",
            json!({ "rope_parameters": null, "rope_theta": 5e5 }),
            json!({ "rope_parameters": rope(5e5) }),
        ),
        ("llama", json!({ "rope_theta": 5e5 }), json!({})),
        (
            "llama",
            json!({ "rope_parameters": { "rope_type": "default" }, "rope_theta": 5e5 }),
            json!({ "rope_parameters": rope(5e5) }),
        ),
        (
            "llama",
            json!({ "rope_scaling": rope(7e5) }),
            json!({ "rope_parameters": rope(7e5) }),
        ),
        (
            "mixtral",
            json!({ "rope_parameters": {}, "rope_scaling": null }),
            json!({}),
        ),
        (
            "qwen3",
            json!({ "rope_parameters": null, "rope_scaling": { "type": "default" } }),
            json!({}),
        ),
        // The part of each head that turns, rounded down to whole channels.
        (
            "gpt_neox",
            json!({ "rope_parameters": null, "rotary_pct": 0.5, "rotary_emb_base": 5e5 }),
            json!({ "rope_parameters": part(5e5, 0.5) }),
        ),
        (
            "gpt_neox",
            json!({ "rope_parameters": rope(5e5) }),
            json!({ "rope_parameters": part(5e5, 0.25) }),
        ),
        (
            "stablelm",
            json!({ "rope_parameters": null, "rope_theta": 5e5, "partial_rotary_factor": 0.5 }),
            json!({ "rope_parameters": part(5e5, 0.5) }),
        ),
        (
            "stablelm",
            json!({ "rope_scaling": part(5e5, 0.5), "partial_rotary_factor": 0.75 }),
            json!({ "rope_parameters": part(5e5, 0.5) }),
        ),
        (
            "phi3",
            json!({ "rope_parameters": null, "partial_rotary_factor": 0.67 }),
            json!({ "rope_parameters": part(1e4, 64.0 / 96.0 + 1e-9) }),
        ),
        // One function under several names.
        (
            "llama",
            json!({ "hidden_act": "swish" }),
            json!({ "hidden_act": "silu" }),
        ),
        (
            "gemma2",
            json!({ "hidden_activation": "gelu_fast" }),
            json!({ "hidden_activation": "gelu_pytorch_tanh" }),
        ),
        (
            "gpt2",
            json!({ "activation_function": "gelu_python" }),
            json!({ "activation_function": "gelu" }),
        ),
        // Keys that the class doesn't read.
        (
            "llama",
            json!({ "sliding_window": 8, "layer_types": ["sliding_attention"] }),
            json!({}),
        ),
        ("olmo2", json!({ "sliding_window": 8 }), json!({})),
        ("qwen3_moe", json!({ "sliding_window": 8 }), json!({})),
        (
            "gpt_neox",
            json!({ "rope_theta": 5e5, "partial_rotary_factor": 0.5, "num_key_value_heads": 8 }),
            json!({}),
        ),
        ("gemma2", json!({ "hidden_act": "silu" }), json!({})),
    ] {
        assert_same(name, &given, &same);
    }
}

#[test]
fn a_part_that_is_written_is_read_as_the_same_channels() {
    let mut short = 0;
    for head in 1..=512_usize {
        for channels in 1..=head {
            let exact = channels as f64 / head as f64;
            short += usize::from(((head as f64 * exact) as usize) < channels);
            let part = super::sizes::part(head, channels);
            assert_eq!((head as f64 * part) as usize, channels, "{head}");
            assert!(part <= 1.0 && (part - exact).abs() < 1e-15);
        }
    }
    // 98 channels of which 2 turn, among others.
    assert!(short > 0);
}

#[test]
fn attention_that_does_not_see_the_whole_context_is_refused() {
    let layers = |kind: &str, count: usize| Value::from(vec![kind; count]);
    for (name, changes, key) in [
        // As long as it wants, where every layer sees everything.
        (
            "gemma2",
            json!({ "max_position_embeddings": 8192, "layer_types": layers("full_attention", 26) }),
            None,
        ),
        (
            "gemma2",
            json!({ "sliding_window": 4095 }),
            Some("sliding_window"),
        ),
        (
            "gemma2",
            json!({ "max_position_embeddings": 8192 }),
            Some("sliding_window"),
        ),
        (
            "gemma2",
            json!({ "use_bidirectional_attention": true }),
            Some("use_bidirectional_attention"),
        ),
        (
            "mixtral",
            json!({ "sliding_window": 4096 }),
            Some("sliding_window"),
        ),
        ("mixtral", json!({ "sliding_window": 131_072 }), None),
        // The window begins with layer 28, and is 4096 wide.
        (
            "qwen3",
            json!({ "use_sliding_window": true, "layer_types": null, "sliding_window": 8 }),
            Some("sliding_window"),
        ),
        (
            "qwen3",
            json!({ "use_sliding_window": true, "layer_types": null, "sliding_window": 8, "num_hidden_layers": 28 }),
            None,
        ),
        (
            "qwen3",
            json!({ "use_sliding_window": true, "layer_types": null, "sliding_window": 8, "max_window_layers": 32 }),
            None,
        ),
        (
            "qwen3",
            json!({ "use_sliding_window": true, "layer_types": null, "sliding_window": null }),
            None,
        ),
        (
            "qwen3",
            json!({ "layer_types": layers("chunked_attention", 32) }),
            Some("layer_types"),
        ),
        (
            "qwen3_moe",
            json!({ "use_sliding_window": true, "sliding_window": 8 }),
            Some("sliding_window"),
        ),
        (
            "llama",
            json!({ "rope_parameters": { "full_attention": { "rope_theta": 1e4 } } }),
            Some("rope_parameters"),
        ),
        (
            "llama",
            json!({ "rope_scaling": { "type": "linear", "factor": 2.0 } }),
            Some("rope_scaling"),
        ),
    ] {
        let found = read(name, &with(complete(name), &changes));
        match (key, found) {
            (None, found) => drop(found.unwrap()),
            (Some(key), found) => {
                let message = found.unwrap_err().to_string();
                assert!(message.contains(key), "{name} {changes}: {message}");
            }
        }
    }
    // Where the key is left out, the message says that it has a default.
    let mut map = with(
        complete("gemma2"),
        &json!({ "max_position_embeddings": 8192 }),
    );
    map.remove("sliding_window");
    let message = read("gemma2", &map).unwrap_err().to_string();
    assert!(
        message.contains("left out") && message.contains("sliding_window"),
        "{message}"
    );
}
