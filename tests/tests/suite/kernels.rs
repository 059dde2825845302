//! Training by fused operations against training by their references, and in bf16 against single precision.

use crate::program::{sandbox, text};
use evenburn_tests::cli::Sandbox;
use evenburn_train::Registry;

const STEPS: u64 = 20;

/// The loss of every step of a run by `kernels` with products in `precision`.
fn losses(sandbox: &Sandbox, scheme: &str, kernels: &str, precision: &str) -> Vec<f64> {
    let steps = STEPS.to_string();
    let run = format!("{scheme}-{kernels}-{precision}");
    let more = [
        &[
            "--kernels",
            kernels,
            "--no-baselines",
            "--train.steps",
            &steps,
            "--train.precision",
            precision,
        ][..],
        // Wide enough for whole vectors, and for several pieces of a row-wise operation.
        &[
            "--model.dim",
            "96",
            "--model.context",
            "128",
            "--model.heads",
            "3",
        ],
        &[
            "--optim.lr",
            "0.003",
            "--train.batch_size",
            "4",
            "--train.eval_every",
            "0",
            "--train.checkpoint_every",
            "0",
        ],
    ];
    text(sandbox, &Sandbox::train(scheme, &run, &more.concat()));
    let log = std::fs::read_to_string(sandbox.path(&run).join("metrics.jsonl")).unwrap();
    log.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["train/loss"].as_f64().unwrap()
        })
        .collect()
}

#[test]
fn losses_stay_within_1e_5_of_the_references() {
    let (_folder, sandbox) = sandbox();
    let mut off = Vec::new();
    for scheme in Registry::default().model.names() {
        let [fused, reference] =
            ["fused", "reference"].map(|way| losses(&sandbox, scheme, way, "f32"));
        assert_eq!(
            (fused.len(), reference.len()),
            (STEPS as usize, STEPS as usize)
        );
        assert!(
            fused.iter().chain(&reference).all(|loss| loss.is_finite()),
            "{scheme}"
        );
        assert_ne!(fused, reference, "{scheme}: both took the same way");
        let pairs = fused.iter().zip(&reference);
        let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!(
            "{scheme}: {largest:.1e}, from {:.3} to {:.3}",
            fused[0],
            fused[fused.len() - 1]
        );
        if largest >= 1e-5 {
            off.push(format!("{scheme}: {largest:.1e}"));
        }
    }
    assert!(off.is_empty(), "{off:?}");
}

#[test]
fn bf16_moves_losses_by_less_than_half_a_percent() {
    let (_folder, sandbox) = sandbox();
    for scheme in ["pre_norm", "simple_norm", "angpt", "ngpt"] {
        let exact = losses(&sandbox, scheme, "fused", "f32");
        for kernels in ["fused", "reference"] {
            let rounded = losses(&sandbox, scheme, kernels, "bf16");
            assert_eq!(rounded.len(), exact.len());
            let off = exact.iter().zip(&rounded).map(|(a, b)| (b / a - 1.0).abs());
            let largest = off.fold(0.0, f64::max);
            println!("{scheme}, {kernels}: {largest:.1e}");
            assert!(largest < 5e-3, "{scheme}, {kernels}: {largest:.1e}");
            assert!(largest > 1e-7, "{scheme}, {kernels}: nothing was rounded");
        }
    }
}
