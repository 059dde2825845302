//! Weights are read as `transformers` 5.24 reads them, in whatever files and under whatever names a folder has them.

use burn::tensor::{DType, TensorData};
use evenburn::interchange::{Imported, InterchangeError, import};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A tensor as it is stored.
#[derive(Debug, Clone)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(dtype: Dtype, shape: &[usize], bytes: usize) -> Self {
        Self {
            dtype,
            shape: shape.to_vec(),
            bytes: vec![1; bytes],
        }
    }

    fn floats(&self) -> TensorData {
        TensorData::from_bytes_vec(self.bytes.clone(), self.shape.clone(), DType::F32)
    }

    fn of(data: &TensorData) -> Self {
        let dtype = match data.dtype() {
            DType::F64 => Dtype::F64,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            _ => Dtype::F32,
        };
        Self {
            dtype,
            shape: data.shape().to_vec(),
            bytes: data.as_bytes().to_vec(),
        }
    }
}

type Tensors = BTreeMap<String, Stored>;

fn peer(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peers");
    fixtures.join(name)
}

fn tensors(name: &str) -> Tensors {
    let bytes = std::fs::read(peer(name).join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let stored = |view: TensorView<'_>| Stored {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    file.iter()
        .map(|(n, view)| (n.to_owned(), stored(view)))
        .collect()
}

/// A folder with a peer's configuration, to be filled.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(name: &str, changes: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read(peer(name).join("config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        let changes = changes.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(changes);
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, tensors: &Tensors) -> &Self {
        let views = tensors.iter().map(|(n, t)| {
            (
                n,
                TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap(),
            )
        });
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        safetensors::serialize_to_file(views, None, &path).unwrap();
        self
    }

    /// The tensors in two shards, with an index of them and of `more` that are nowhere.
    fn shards(&self, folder: &str, tensors: &Tensors, more: &[&str]) -> &Self {
        let half = tensors.len() / 2;
        let mut map = BTreeMap::new();
        for (number, skip) in [(1, 0), (2, half)] {
            let name = format!("{folder}model-0000{number}-of-00002.safetensors");
            let take = if skip == 0 { half } else { tensors.len() };
            let part: Tensors = tensors.clone().into_iter().skip(skip).take(take).collect();
            map.extend(part.keys().map(|n| (n.clone(), json!(name))));
            self.file(&name, &part);
        }
        let first = format!("{folder}model-00001-of-00002.safetensors");
        map.extend(more.iter().map(|n| ((*n).to_owned(), json!(first))));
        self.index(&json!(map))
    }

    fn index(&self, map: &Value) -> &Self {
        let index = json!({ "metadata": {}, "weight_map": map });
        let path = self.0.path().join("model.safetensors.index.json");
        std::fs::write(path, index.to_string()).unwrap();
        self
    }

    fn import(&self) -> Result<Imported, InterchangeError> {
        import(self.0.path())
    }
}

/// What older versions stored beside the parameters of GPT-2, and others beside those of Llama.
fn with_buffers(mut tensors: Tensors, name: &str, prefix: &str) -> Tensors {
    for block in 0..2 {
        let mut add = |end: &str, dtype, shape: &[usize], bytes| {
            let tensor = Stored::new(dtype, shape, bytes);
            tensors.insert(format!("{prefix}{block}.{end}"), tensor);
        };
        add("mask8", Dtype::U8, &[16, 16], 256);
        add("mask64", Dtype::I64, &[4], 32);
        add("position_ids", Dtype::I32, &[1, 16], 64);
        add("count", Dtype::I16, &[2], 4);
        // Of floating-point numbers only these are no parameters.
        if name == "gpt2" {
            add("attn.bias", Dtype::BOOL, &[1, 1, 16, 16], 256);
            add("attn.masked_bias", Dtype::F32, &[], 4);
        } else {
            add("self_attn.causal_mask", Dtype::BOOL, &[16, 16], 256);
            add("self_attn.rotary_emb.inv_freq", Dtype::F32, &[4], 16);
        }
    }
    tensors
}

fn renamed(tensors: Tensors, name: impl Fn(&str) -> String) -> Tensors {
    tensors.into_iter().map(|(n, t)| (name(&n), t)).collect()
}

#[test]
fn a_folder_is_read_by_the_file_that_transformers_takes() {
    let none = &json!({});
    for (name, prefix) in [("gpt2", "transformer.h."), ("llama", "model.layers.")] {
        let own = import(&peer(name)).unwrap();
        let all = tensors(name);
        let buffers = with_buffers(all.clone(), name, prefix);
        let stale = json!({ "a": "model-00001-of-00009.safetensors" });
        let named = |file: &str| Folder::new(name, &json!({ "transformers_weights": file }));
        let mut zeros = all.clone();
        for tensor in zeros.values_mut() {
            tensor.bytes.fill(0);
        }
        let (a, b) = (Folder::new(name, none), Folder::new(name, none));
        let (c, d) = (Folder::new(name, none), Folder::new(name, none));
        let (e, f) = (Folder::new(name, none), Folder::new(name, none));
        let (g, h) = (
            named("other.safetensors"),
            named("model.safetensors.index.json"),
        );
        for (what, folder) in [
            ("a file", a.file("model.safetensors", &all)),
            (
                "a file before an index of files that are gone",
                b.file("model.safetensors", &all).index(&stale),
            ),
            (
                "a file before shards",
                c.shards("", &zeros, &[]).file("model.safetensors", &all),
            ),
            ("masks in a file", d.file("model.safetensors", &buffers)),
            (
                "masks in shards and their index",
                e.shards("", &buffers, &[]),
            ),
            (
                "names that are in no file",
                f.shards("parts/", &all, &["h.0.attn.bias", "rotary_emb.inv_freq"]),
            ),
            (
                "the file that is named",
                g.file("model.safetensors", &zeros)
                    .file("other.safetensors", &all),
            ),
            (
                "the index that is named",
                h.file("model.safetensors", &zeros).shards("", &all, &[]),
            ),
        ] {
            let read = folder
                .import()
                .unwrap_or_else(|e| panic!("{name}, {what}: {e}"));
            assert_eq!(
                (read.plan, read.weights),
                (own.plan.clone(), own.weights.clone()),
                "{name}, {what}"
            );
        }
    }
}

#[test]
fn names_are_full_shortened_or_doubled() {
    for (name, prefix) in [
        ("llama", "model."),
        ("llama_tied", "model."),
        ("gpt2", "transformer."),
        ("gemma2", "model."),
        ("olmo2", "model."),
        ("qwen3", "model."),
        ("mixtral", "model."),
        ("qwen3_moe", "model."),
        ("gpt_neox", "gpt_neox."),
        ("stablelm", "model."),
        ("phi3", "model."),
    ] {
        let own = import(&peer(name)).unwrap();
        let short = |n: &str| n.strip_prefix(prefix).unwrap_or(n).to_owned();
        let long = |n: &str| format!("{prefix}{n}");
        for names in [&short as &dyn Fn(&str) -> String, &long] {
            let folder = Folder::new(name, &json!({}));
            folder.file("model.safetensors", &renamed(tensors(name), names));
            let read = folder.import().unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(read.weights, own.weights, "{name}");
        }
    }
}

/// In memory and in some checkpoints the output layer of GPT-NeoX is called as in the other classes.
#[test]
fn the_output_layer_of_gpt_neox_is_read_under_both_names() {
    let own = import(&peer("gpt_neox")).unwrap();
    let folder = Folder::new("gpt_neox", &json!({}));
    let other = renamed(tensors("gpt_neox"), |name| {
        name.replace("embed_out", "lm_head")
    });
    assert!(other.contains_key("lm_head.weight"));
    folder.file("model.safetensors", &other);
    assert_eq!(folder.import().unwrap().weights, own.weights);
}

#[test]
fn every_floating_point_format_is_read() {
    for name in ["llama", "gemma2", "gpt_neox", "qwen3_moe"] {
        let own = import(&peer(name)).unwrap();
        for dtype in [DType::BF16, DType::F16, DType::F64] {
            let stored = tensors(name).into_iter();
            let stored = stored.map(|(n, t)| (n, Stored::of(&t.floats().convert_dtype(dtype))));
            let folder = Folder::new(name, &json!({}));
            let read = folder.file("model.safetensors", &stored.collect()).import();
            for (path, data) in read.unwrap().weights {
                let rounded = own.weights[&path].clone().convert_dtype(dtype);
                let kept = if dtype == DType::F64 {
                    DType::F64
                } else {
                    DType::F32
                };
                assert_eq!(data, rounded.convert_dtype(kept), "{name} {path} {dtype:?}");
            }
        }
    }
}

#[test]
fn a_shared_table_is_found_under_either_name_and_two_tables_are_not_shared() {
    for (name, table) in [
        ("llama_tied", "model.embed_tokens.weight"),
        ("gpt2", "transformer.wte.weight"),
        ("gemma2", "model.embed_tokens.weight"),
        ("phi3", "model.embed_tokens.weight"),
    ] {
        let own = import(&peer(name)).unwrap();
        let read = |tensors: &Tensors| {
            let folder = Folder::new(name, &json!({}));
            folder.file("model.safetensors", tensors).import().unwrap()
        };
        let mut twice = tensors(name);
        twice.insert("lm_head.weight".to_owned(), twice[table].clone());
        assert_eq!(read(&twice).weights, own.weights, "{name} twice");
        let mut other = twice.clone();
        other.remove(table);
        assert_eq!(
            read(&other).weights,
            own.weights,
            "{name} under the other name"
        );

        let halved = |data: TensorData| {
            let values: Vec<f32> = data.iter::<f32>().map(|v| v / 2.0).collect();
            TensorData::new(values, data.shape().clone())
        };
        let half = halved(twice[table].floats());
        twice.insert("lm_head.weight".to_owned(), Stored::of(&half));
        let two = read(&twice);
        assert!(own.plan.head.is_none() && two.plan.head.is_some(), "{name}");
        let transposed: Vec<f32> = {
            let [vocabulary, dim] = [half.shape()[0], half.shape()[1]];
            let values: Vec<f32> = half.iter::<f32>().collect();
            let at = |i: usize| values[i % vocabulary * dim + i / vocabulary];
            (0..values.len()).map(at).collect()
        };
        let found: Vec<f32> = two.weights["head.weight"].iter::<f32>().collect();
        assert_eq!(found, transposed, "{name}");
    }
}

/// As version 5 of the library holds them: `experts.gate_up_proj` `[E, 2 F, D]` and `experts.down_proj` `[E, D, F]`.
#[test]
fn experts_are_read_fused_or_one_by_one() {
    for (name, module, [gate, up, down]) in [
        ("mixtral", "block_sparse_moe", ["w1", "w3", "w2"]),
        ("qwen3_moe", "mlp", ["gate_proj", "up_proj", "down_proj"]),
    ] {
        let own = import(&peer(name)).unwrap();
        let mut all = tensors(name);
        for block in 0..2 {
            let stem = format!("model.layers.{block}.");
            let router = all.remove(&format!("{stem}{module}.gate.weight")).unwrap();
            let count = router.shape[0];
            let mut joined = |matrices: &[&str]| {
                let mut fused = Stored::new(Dtype::F32, &[count, 0, 0], 0);
                for expert in 0..count {
                    for matrix in matrices {
                        let part = format!("{stem}{module}.experts.{expert}.{matrix}.weight");
                        let part = all.remove(&part).unwrap();
                        fused.bytes.extend(&part.bytes);
                        fused.shape[1] = part.shape[0] * matrices.len();
                        fused.shape[2] = part.shape[1];
                    }
                }
                fused
            };
            let (both, last) = (joined(&[gate, up]), joined(&[down]));
            all.insert(format!("{stem}mlp.experts.gate_up_proj"), both);
            all.insert(format!("{stem}mlp.experts.down_proj"), last);
            all.insert(format!("{stem}mlp.gate.weight"), router);
        }
        let folder = Folder::new(name, &json!({}));
        let read = folder.file("model.safetensors", &all).import().unwrap();
        assert_eq!(read.weights, own.weights, "{name}");
    }
}

#[test]
fn what_holds_no_weights_is_refused_in_words_that_help() {
    let message = |folder: &Folder| folder.import().unwrap_err().to_string();
    let all = tensors("llama");

    let empty = message(&Folder::new("llama", &json!({})));
    assert!(empty.contains("neither model.safetensors nor"), "{empty}");

    let mut counts = all.clone();
    let name = "model.layers.0.mlp.up_proj.weight";
    let shape = counts[name].shape.clone();
    let numbers = shape.iter().product();
    counts.insert(name.to_owned(), Stored::new(Dtype::I8, &shape, numbers));
    let folder = Folder::new("llama", &json!({}));
    let quantized = message(folder.file("model.safetensors", &counts));
    assert!(
        quantized.contains(&format!("{name} has type I8")),
        "{quantized}"
    );
    assert!(!quantized.contains("missing"), "{quantized}");

    for outside in ["../model.safetensors", "/etc/model.safetensors", ""] {
        let folder = Folder::new("llama", &json!({}));
        let refused = message(folder.index(&json!({ "a": outside })));
        assert!(refused.contains("names no file in the folder"), "{refused}");
        let folder = Folder::new("llama", &json!({ "transformers_weights": outside }));
        let refused = message(folder.file("model.safetensors", &all));
        assert!(refused.contains("transformers_weights"), "{refused}");
    }
    // A parameter that an index has and no file.
    let mut rest = all;
    rest.remove(name);
    let folder = Folder::new("llama", &json!({}));
    let lacking = message(folder.shards("", &rest, &[name]));
    assert!(lacking.contains(&format!("missing: {name}")), "{lacking}");
}
