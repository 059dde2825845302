//! The program with two schemes more: `cargo run -p own-scheme -- train --norm.scheme mix_norm --data.path FILE ...`.
//!
//! `mix_norm` puts together what the library has; `scaled_norm` brings its normalization function and its residual rule
//! along.

mod layer_scale;
mod mean_abs;
mod mix_norm;
mod scaled_norm;

use evenburn::{Registry, RegistryError};
use layer_scale::LayerScale;
use mean_abs::MeanAbs;
use mix_norm::MixNorm;
use scaled_norm::ScaledNorm;
use std::process::ExitCode;

evenburn_cli::training_allocator!();

/// Everything that is built in, and what plans of this example name.
fn parts() -> Result<Registry, RegistryError> {
    Registry::default()
        .with_function::<MeanAbs>()?
        .with_rule::<LayerScale>()
}

/// The same with the schemes.
fn registry() -> Result<Registry, RegistryError> {
    parts()?
        .with_scheme::<MixNorm>()?
        .with_scheme::<ScaledNorm>()
}

fn main() -> Result<ExitCode, RegistryError> {
    Ok(evenburn_cli::run(&registry()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenburn::train::config::keys;
    use evenburn::train::load_run;
    use std::path::{Path, PathBuf};

    #[test]
    fn they_hold_to_what_every_scheme_does() {
        evenburn_conformance::check(MixNorm::default());
        evenburn_conformance::check(ScaledNorm::default());
    }

    #[test]
    fn its_options_are_keys() {
        let all = keys(&registry().unwrap());
        let post = all.iter().find(|key| key.path == "norm.post").unwrap();
        assert_eq!(post.default.as_deref(), Some("0.25"));
        assert_eq!(post.only_with[0].values, ["mix_norm"]);
        assert!(post.meaning.starts_with("Part of the blocks"));
    }

    /// A run of 20 steps of a scheme, given as on the command line.
    fn trained(folder: &Path, scheme: &str) -> PathBuf {
        let text = folder.join("text.txt");
        let sentence = |n| format!("The number {n} comes before {}.\n", n + 1);
        let documents: Vec<String> = (0..400).map(sentence).collect();
        std::fs::write(&text, documents.join("<|endoftext|>\n")).unwrap();
        let run = folder.join("run");
        let line = format!(
            "own-scheme train --no-dashboard --no-baselines --run-dir {} --norm.scheme {scheme} \
             --model.vocab_size 300 --model.dim 32 --model.layers 2 --model.heads 2 --model.context 32 \
             --data.path {} --data.cache {} --data.tokenizer_vocab 300 --data.validation_fraction 0.2 \
             --train.steps 20 --train.batch_size 4 --train.eval_tokens 512 --train.sample_tokens 0 --optim.lr 0.01 \
             --optim.schedule constant",
            run.display(),
            text.display(),
            folder.join("cache").display()
        );
        evenburn_cli::run_line(
            &registry().unwrap(),
            line.split_whitespace().map(Into::into),
        );
        run
    }

    #[test]
    fn a_run_of_a_scheme_is_read_by_a_program_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = trained(folder.path(), "mix_norm --norm.post 0.5");

        let trained = load_run(&Registry::default(), &run).unwrap();
        assert_eq!(trained.state.step, 20);
        assert_eq!(trained.plan.scheme, "mix_norm");
        assert_eq!(trained.plan.options["post"].as_float(), Some(0.5));
        assert!(trained.plan.layers[0].attn_residual.after.is_some());
        assert!(trained.plan.layers[1].attn_residual.after.is_none());
        assert!(!trained.config.norm.is_known());

        // Every command takes the run of a scheme that it has never heard of.
        let (run, out) = (run.display(), folder.path().display());
        for line in [
            format!("evenburn describe {run}"),
            format!("evenburn eval {run} --tokens 256"),
            format!("evenburn sample {run} --tokens 4"),
            format!("evenburn fold {run} --out {out}/folded"),
            format!("evenburn sample {out}/folded --tokens 4"),
            format!("evenburn export {run} {out}/exported"),
            format!("evenburn cooldown {run} --steps 2"),
        ] {
            let words = line.split_whitespace().map(Into::into);
            let code = evenburn_cli::run_line(&Registry::default(), words);
            assert_eq!(
                format!("{code:?}"),
                format!("{:?}", ExitCode::SUCCESS),
                "{line}"
            );
        }
        let run = folder.path().join("run");
        assert!(
            load_run(&registry().unwrap(), &run)
                .unwrap()
                .config
                .norm
                .is_known()
        );
    }

    #[test]
    fn a_run_of_own_parts_is_read_by_who_has_the_parts() {
        let folder = tempfile::tempdir().unwrap();
        let run = trained(folder.path(), "scaled_norm --norm.strength 0.5");
        let read = load_run(&parts().unwrap(), &run).unwrap();
        assert_eq!(read.plan.options["strength"].as_float(), Some(0.5));
        assert!(!read.config.norm.is_known());
        // Who lacks one is told which, and where the run has it.
        let error = load_run(&Registry::default(), &run).unwrap_err();
        let error = error.to_string();
        for part in ["mean_abs", "blocks.0.attn_residual.input", "registered"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
