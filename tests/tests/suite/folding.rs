//! Folded, imported and exported models through the program itself.

use crate::program::{sandbox, text};
use evenburn_tests::cli::Sandbox;
use std::process::Output;

fn refused(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = sandbox.run(arguments).unwrap();
    assert_eq!(status.code(), Some(2), "{arguments:?}");
    String::from_utf8(stderr).unwrap()
}

fn loss(sandbox: &Sandbox, run: &str, more: &[&str]) -> f64 {
    let arguments = [&["eval", run, "--json"], more].concat();
    let scores: serde_json::Value = serde_json::from_str(&text(sandbox, &arguments)).unwrap();
    scores["models"]["model"]["loss"].as_f64().unwrap()
}

#[test]
fn a_folded_run_is_evaluated_sampled_and_exported_but_not_trained() {
    let (_folder, sandbox) = sandbox();
    text(
        &sandbox,
        &Sandbox::train("angpt", "run", &["--no-baselines"]),
    );
    let folded = text(&sandbox, &["fold", "run"]);
    assert!(folded.contains("attn_residual.output.gain"), "{folded}");
    let place = "run/folded/step-00000040";
    assert!(folded.contains(place), "{folded}");
    assert!((loss(&sandbox, "run", &[]) - loss(&sandbox, place, &[])).abs() < 1e-5);
    let sample = |run: &str| {
        text(
            &sandbox,
            &["sample", run, "--prompt", "Item", "--temperature", "0"],
        )
    };
    assert_eq!(sample("run"), sample(place));

    let message = refused(&sandbox, &["fold", "run"]);
    assert!(message.contains("already exists"), "{message}");
    let message = refused(&sandbox, &["train", "--resume", place]);
    assert!(
        message.contains("folded from run/checkpoints/step-00000040"),
        "{message}"
    );
    // Nothing is half of a model whose plan was changed.
    let plan = sandbox.path(place).join("plan.toml");
    let changed = std::fs::read_to_string(&plan)
        .unwrap()
        .replace("softmax_scale", "softmax_scales");
    std::fs::write(&plan, changed).unwrap();
    let message = refused(&sandbox, &["eval", place]);
    assert!(message.contains("plan"), "{message}");
}

#[test]
fn an_exported_run_is_imported_again_with_its_tokenizer() {
    let (_folder, sandbox) = sandbox();
    text(
        &sandbox,
        &Sandbox::train("pre_norm", "run", &["--no-baselines"]),
    );
    let written = text(&sandbox, &["export", "run", "exported"]);
    assert!(written.contains("Qwen3ForCausalLM"), "{written}");
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        assert!(sandbox.path("exported").join(file).is_file(), "{file}");
    }
    let read = text(&sandbox, &["import", "exported", "--out", "again"]);
    assert!(read.contains("pre_norm"), "{read}");
    let other = loss(&sandbox, "again", &["--data.path", "text"]);
    assert!((loss(&sandbox, "run", &[]) - other).abs() < 1e-6);
    let sample = |run: &str| {
        text(
            &sandbox,
            &["sample", run, "--prompt", "Item", "--temperature", "0"],
        )
    };
    assert_eq!(sample("run"), sample("again"));

    let message = refused(&sandbox, &["export", "run", "other", "--for", "llama"]);
    assert!(
        message.contains("LlamaForCausalLM can't compute")
            && message.contains("layers.0.q.linear.norm"),
        "{message}"
    );
    assert!(!sandbox.path("other").exists());
    let message = refused(&sandbox, &["import", "text"]);
    assert!(message.contains("config.json"), "{message}");
}
