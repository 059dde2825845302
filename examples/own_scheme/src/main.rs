//! The program with one scheme more, and with the normalization function and the residual rule that it is made of:
//! `cargo run -p own-scheme -- train --norm.scheme scaled_norm --data.path FILE ...`.

mod layer_scale;
mod mean_abs;
mod scheme;

use evenburn::model::{Registry, RegistryError};
use layer_scale::LayerScale;
use mean_abs::MeanAbs;
use scheme::ScaledNorm;
use std::process::ExitCode;

evenburn::kernels::training_allocator!();

/// Everything that is built in, and what a plan of this example's scheme names.
fn parts() -> Result<Registry, RegistryError> {
    Registry::default()
        .with_function::<MeanAbs>()?
        .with_rule::<LayerScale>()
}

/// The same with the scheme.
fn registry() -> Result<Registry, RegistryError> {
    parts()?.with_scheme::<ScaledNorm>()
}

fn main() -> Result<ExitCode, RegistryError> {
    Ok(evenburn::run(&registry()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenburn::train::config::keys;
    use evenburn::train::load_run;

    #[test]
    fn it_holds_to_what_every_scheme_does() {
        evenburn_conformance::check(ScaledNorm::default());
    }

    #[test]
    fn its_options_are_keys() {
        let all = keys(&registry().unwrap());
        let post = all.iter().find(|key| key.path == "norm.strength").unwrap();
        assert_eq!(post.default.as_deref(), Some("0.1"));
        assert_eq!(post.only_with[0].values, ["scaled_norm"]);
        assert!(post.meaning.starts_with("Initial strength"));
    }

    #[test]
    fn a_run_of_it_is_read_by_a_program_without_the_scheme() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.txt");
        let sentence = |n| format!("The number {n} comes before {}.\n", n + 1);
        let documents: Vec<String> = (0..400).map(sentence).collect();
        std::fs::write(&text, documents.join("<|endoftext|>\n")).unwrap();
        let run = folder.path().join("run");
        let line = format!(
            "own-scheme train --no-dashboard --no-baselines --run-dir {} --norm.scheme scaled_norm --norm.strength 0.5 \
             --model.vocab_size 300 --model.dim 32 --model.layers 2 --model.heads 2 --model.context 32 \
             --data.path {} --data.cache {} --data.tokenizer_vocab 300 --data.validation_fraction 0.2 \
             --train.steps 20 --train.batch_size 4 --train.eval_tokens 512 --train.sample_tokens 0 --optim.lr 0.01",
            run.display(),
            text.display(),
            folder.path().join("cache").display()
        );
        evenburn::run_line(
            &registry().unwrap(),
            line.split_whitespace().map(Into::into),
        );

        // Who knows the parts reads the run by its plan, without the scheme.
        let trained = load_run(&parts().unwrap(), &run).unwrap();
        assert_eq!(trained.state.step, 20);
        assert_eq!(trained.plan.scheme, "scaled_norm");
        assert_eq!(trained.plan.options["strength"].as_float(), Some(0.5));
        assert!(!trained.config.norm.is_known());
        let known = load_run(&registry().unwrap(), &run).unwrap();
        assert!(known.config.norm.is_known());
        // Who lacks one is told which, and where the run has it.
        let error = load_run(&Registry::default(), &run)
            .unwrap_err()
            .to_string();
        for part in ["mean_abs", "blocks.0.attn_residual.input", "registered"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
