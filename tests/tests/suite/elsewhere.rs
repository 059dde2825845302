//! Training, tokenizers and models from where they lie: the stand-in for the hub, and S3 where there is one.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hub::{Hub, exchange, folder};

/// A model that is trained in no time, on whatever a preset names.
const TINY: [&str; 22] = [
    "--model.vocab_size",
    "512",
    "--model.dim",
    "16",
    "--model.layers",
    "1",
    "--model.heads",
    "2",
    "--model.hidden",
    "32",
    "--model.context",
    "32",
    "--train.steps",
    "2",
    "--train.batch_size",
    "2",
    "--train.accumulate",
    "1",
    "--train.eval_tokens",
    "128",
    "--train.sample_tokens",
    "0",
];

fn preset(name: &str) -> String {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    configs.join(format!("{name}.toml")).display().to_string()
}

fn repository(path: &str) -> String {
    folder().join("repos").join(path).display().to_string()
}

/// Trains, and returns the run.
fn train(hub: &Hub, run: &str, arguments: &[&str]) -> PathBuf {
    let run = hub.home.path().join(run);
    let place = ["--run-dir", run.to_str().unwrap(), "--no-baselines"];
    hub.told(&[&["train"], arguments, &TINY, &place].concat());
    run
}

/// Losses of training by step, and the last one of validation.
fn losses(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        format!("{} {}", record["train/loss"], record["val/loss"])
    };
    text.lines().map(line).collect()
}

fn recorded(run: &Path) -> String {
    fs::read_to_string(run.join("config.toml")).unwrap()
}

/// From nothing, and with the same losses as from a copy of the same files.
#[test]
fn presets_train_from_the_hub() {
    let Some(hub) = Hub::start(&json!([])) else {
        return;
    };
    let slim = preset("slimpajama-simple_norm");
    let place = "hf://datasets/DKYoon/SlimPajama-6B";
    let neox = "hf://EleutherAI/gpt-neox-20b";
    let there = train(
        &hub,
        "slim",
        &[
            "--config",
            &slim,
            "--data.path",
            place,
            "--data.tokenizer",
            neox,
        ],
    );
    let commit = "b5f90f419b7489cdba26fdbc8c022fcb5562f968";
    let config = recorded(&there);
    assert!(config.contains(&format!("{place}@{commit}\"")), "{config}");
    assert!(config.contains(&format!("{neox}@")), "{config}");
    let copy = repository("datasets/evenburn/slim6b-mini");
    let tokenizer = repository("models/EleutherAI/gpt-neox-20b/tokenizer.json");
    let here = train(
        &hub,
        "slim-here",
        &[
            "--config",
            &slim,
            "--data.path",
            &copy,
            "--data.tokenizer",
            &tokenizer,
        ],
    );
    assert_eq!(losses(&there), losses(&here));
    assert_eq!(losses(&there).len(), 2);

    let copy = repository("datasets/evenburn/owt-mini/plain_text/*.parquet");
    let tokenizer = repository("models/openai-community/gpt2/tokenizer.json");
    for name in ["openwebtext-simple_norm", "openwebtext-angpt"] {
        let config = preset(name);
        let there = train(&hub, name, &["--config", &config]);
        let here = format!("{name}-here");
        let here = train(
            &hub,
            &here,
            &[
                "--config",
                &config,
                "--data.path",
                &copy,
                "--data.tokenizer",
                &tokenizer,
            ],
        );
        assert_eq!(losses(&there), losses(&here), "{name}");
    }
    // Nothing that proves who asks went to the other server, or into a run.
    assert_eq!(hub.control("/_stats", None)["auth_on_cdn"], 0);
    assert!(!config.contains("hf_good"));
}

/// A run goes on with the files that it began with, wherever its branch has moved.
#[test]
fn a_run_keeps_its_commit() {
    let Some(hub) = Hub::start(&json!([])) else {
        return;
    };
    let place = "hf://datasets/evenburn/slim-mini";
    let neox = "hf://EleutherAI/gpt-neox-20b";
    let config = preset("slimpajama-simple_norm");
    let from = [
        "--config",
        &config,
        "--data.path",
        place,
        "--data.tokenizer",
        neox,
    ];
    let whole = train(&hub, "whole", &from);
    let run = train(
        &hub,
        "run",
        &[&from[..], &["--train.stop_after", "1"]].concat(),
    );
    let moved = json!({"repo": "datasets/evenburn/slim-mini", "ref": "main", "to": "v2"});
    hub.control("/_refs", Some(&moved));
    let run_name = run.to_str().unwrap();
    let other = hub.refused(&["train", "--resume", run_name, "--data.path", place]);
    let (before, now) = (format!("has read {place}@"), format!("this is {place}@"));
    assert!(other.contains(&before) && other.contains(&now), "{other}");
    hub.told(&["train", "--resume", run_name, "--no-baselines"]);
    assert_eq!(losses(&run), losses(&whole));
    // What is there is used, where the hub is away.
    let mut offline = hub.command(&["eval", run_name]);
    let ran = offline.env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn a_look_at_a_repository_fetches_little() {
    let Some(hub) = Hub::start(&json!([])) else {
        return;
    };
    let wide = "hf://datasets/evenburn/slim-wide/train/chunk1";
    let neox = ["--data.tokenizer", "hf://EleutherAI/gpt-neox-20b"];
    let inspect = |place: &str, more: &[&str]| {
        hub.told(&[&["data", "inspect", "--data.path", place], more].concat())
    };
    let told = inspect(wide, &neox);
    for part in [
        "5,917 files (",
        "tokens per byte",
        "about ",
        "--- document 3 (",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let sent = hub.files_sent();
    assert!(sent.len() <= 3, "{sent:?}");
    let cards = "hf://datasets/evenburn/configs-mini";
    let told = inspect(
        cards,
        &["--data.config", "en", "--data.tokenizer_vocab", "257"],
    );
    for part in [
        "training: 2 files (en/part-0.jsonl, en/part-1.jsonl)",
        "validation: 1 file (en/held.jsonl)",
        "learned from what was read here",
        "one lantern",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let error = hub.refused(&["data", "inspect", "--data.path", cards]);
    assert!(
        error.contains("data.config") && error.ends_with("en, de"),
        "{error}"
    );
}

#[test]
fn tokenizers_from_the_hub() {
    let Some(hub) = Hub::start(&json!([])) else {
        return;
    };
    let file = repository("models/openai-community/gpt2/tokenizer.json");
    let text = repository("datasets/evenburn/configs-mini/en/held.jsonl");
    let ids =
        |tokenizer: &str, text: &str| hub.told(&["data", "ids", "--tokenizer", tokenizer, text]);
    let here = ids(&file, &text);
    let place = "hf://datasets/evenburn/configs-mini/en/held.jsonl";
    for tokenizer in [
        "hf://openai-community/gpt2",
        "hf://openai-community/gpt2@main/tokenizer.json",
    ] {
        assert_eq!(ids(tokenizer, place), here, "{tokenizer}");
    }
    let trained = |from: &str, to: &str| {
        let out = hub.home.path().join(to);
        let named = out.to_str().unwrap();
        hub.told(&["tokenizer", "train", from, "--vocab", "280", "--out", named]);
        fs::read(out).unwrap()
    };
    let folder = repository("datasets/evenburn/configs-mini/en");
    let there = trained("hf://datasets/evenburn/configs-mini/en", "there.json");
    assert!(there == trained(&folder, "here.json"));
    let error = hub.refused(&["data", "ids", "--tokenizer", "hf://a/missing", &text]);
    assert!(error.contains("hf://a/missing"), "{error}");
}

/// A model of the hub is imported as a folder is.
#[test]
fn models_from_the_hub() {
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peers/llama");
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("models/org/llama-mini");
    fs::create_dir_all(&model).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(peer.join(name), model.join(name)).unwrap();
    }
    fs::write(model.join("pytorch_model.bin"), "of another format").unwrap();
    let Some(hub) = Hub::start_with(root.path(), &json!([])) else {
        return;
    };
    let imported = |from: &str, to: &str| {
        let out = hub.home.path().join(to);
        hub.told(&["import", from, "--out", out.to_str().unwrap()]);
        let checkpoints = fs::read_dir(out.join("checkpoints")).unwrap();
        let mut folders = checkpoints.map(|entry| entry.unwrap().path());
        let checkpoint = folders.find(|path| path.is_dir()).unwrap();
        let weights = fs::read(checkpoint.join("model.safetensors")).unwrap();
        (out, weights)
    };
    let (there, weights) = imported("hf://org/llama-mini", "there");
    let (_, same) = imported(peer.to_str().unwrap(), "here");
    assert!(weights == same);
    let origin = fs::read_to_string(there.join("frozen.json")).unwrap();
    assert!(origin.contains("hf://org/llama-mini@"), "{origin}");
    assert!(recorded(&there).contains("name = \"llama-mini\""));
    assert!(!hub.files_sent().iter().any(|path| path.contains(".bin")));
    for place in ["hf://org/llama-mini/config.json", "hf://org/missing"] {
        let error = hub.refused(&["import", place]);
        assert!(error.contains(place), "{error}");
    }
}

struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A store that speaks S3's protocol, with the files of the web server in it; `EVENBURN_MOTO` names its program.
fn moto() -> Option<(Moto, String)> {
    let program = std::env::var("EVENBURN_MOTO").unwrap_or_else(|_| "moto_server".to_owned());
    let bound = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = bound.local_addr().unwrap().to_string();
    drop(bound);
    let (address, port) = host.split_once(':').unwrap();
    let started = Command::new(&program)
        .args(["-H", address, "-p", port])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(server) = started else {
        eprintln!(
            "SKIPPED: no {program} plays S3 (pip install \"moto[server,s3]\"; EVENBURN_MOTO names it)"
        );
        return None;
    };
    let server = Moto(server);
    for _ in 0..200 {
        thread::sleep(Duration::from_millis(100));
        if std::net::TcpStream::connect(&host).is_ok() {
            break;
        }
    }
    exchange(&host, "/bucket", Some(("PUT", Vec::new())));
    for path in [
        "train/part-00.jsonl.zst",
        "train/part-01.jsonl",
        "validation/part-00.jsonl.zst",
    ] {
        let bytes = fs::read(repository(&format!("files/corpus/{path}"))).unwrap();
        exchange(
            &host,
            &format!("/bucket/corpus/{path}"),
            Some(("PUT", bytes)),
        );
    }
    Some((server, host))
}

/// Object stores and web servers, by globs, as a folder.
#[test]
fn training_from_object_stores_and_servers() {
    let Some(hub) = Hub::start(&json!([])) else {
        return;
    };
    let tokenizer = repository("models/openai-community/gpt2/tokenizer.json");
    let with = ["--data.tokenizer", tokenizer.as_str()];
    let local = repository("files/corpus/**/*.jsonl.zst");
    let here = train(
        &hub,
        "here",
        &[&["--data.path", &local][..], &with].concat(),
    );
    let web = format!("{}/files/corpus/**/*.jsonl.zst", hub.api);
    let there = train(&hub, "web", &[&["--data.path", &web][..], &with].concat());
    assert_eq!(losses(&there), losses(&here));
    let Some((_moto, host)) = moto() else { return };
    for (scheme, keys) in [
        ("s3", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]),
        ("gs", ["GS_ACCESS_KEY_ID", "GS_SECRET_ACCESS_KEY"]),
    ] {
        let place = format!("{scheme}://bucket/corpus/**/*.jsonl.zst");
        let run = hub.home.path().join(scheme);
        let arguments = ["--data.path", &place, "--run-dir", run.to_str().unwrap()];
        let mut command =
            hub.command(&[&["train", "--no-baselines"], &arguments[..], &with, &TINY].concat());
        for variable in ["AWS_ENDPOINT_URL_S3", "STORAGE_EMULATOR_HOST"] {
            command.env(variable, format!("http://{host}"));
        }
        let ran = command
            .envs(keys.map(|key| (key, "test")))
            .output()
            .unwrap();
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        assert_eq!(losses(&run), losses(&here), "{scheme}");
    }
}
