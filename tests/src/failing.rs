//! The program with an optimizer that fails on one rank, as the environment says: `EVENBURN_FAIL` is `HOW RANK STEP`, where HOW is
//! `panic`, `stop` (as SIGSTOP does) or `nan`.

use std::process::ExitCode;

use evenburn::burn::tensor::Tensor;
use evenburn::optim::{
    OptimizerStrategy, ParamContext, ParamState, RecipeOptions, StateTensor, StepInfo, Treatment,
    Update, UpdateError, UpdateRule,
};
use evenburn::{Registry, optim::OptimError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

evenburn_cli::training_allocator!();

/// Gradient descent that fails on one rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Failing {}

impl RecipeOptions for Failing {
    const NAME: &'static str = "failing";
    const ABOUT: &'static str = "Gradient descent that fails on one rank.";
}

impl OptimizerStrategy for Failing {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        param.decayed(Update::own(*self), param.lr())
    }
}

impl UpdateRule for Failing {
    fn describe(&self) -> String {
        "failing".to_owned()
    }

    fn init(&self, _: [usize; 3]) -> Vec<StateTensor> {
        Vec::new()
    }

    fn step(
        &self,
        weights: Tensor<3>,
        gradient: Tensor<3>,
        _: &mut ParamState,
        info: &StepInfo,
    ) -> Result<Tensor<3>, UpdateError> {
        let rank = std::env::var("OMPI_COMM_WORLD_RANK").unwrap_or_else(|_| "0".to_owned());
        let told = std::env::var("EVENBURN_FAIL").unwrap_or_default();
        let words: Vec<&str> = told.split(' ').collect();
        let mut rate = info.rate;
        if let [how, on, step] = words[..]
            && on == rank
            && step == info.step.to_string()
        {
            match how {
                "panic" => panic!("a panic that was asked for"),
                "stop" => stop()?,
                "nan" => rate = f64::NAN,
                "error" => return Err("an error that was asked for".into()),
                other => return Err(format!("EVENBURN_FAIL says {other}").into()),
            }
        }
        Ok(weights.sub(gradient.mul_scalar(rate)))
    }
}

#[cfg(unix)]
fn stop() -> Result<(), UpdateError> {
    let own = std::process::id().to_string();
    std::process::Command::new("kill")
        .args(["-STOP", &own])
        .status()?;
    Ok(())
}

#[cfg(not(unix))]
fn stop() -> Result<(), UpdateError> {
    Err("no process can be stopped here".into())
}

fn main() -> Result<ExitCode, OptimError> {
    let registry = Registry::default().with_recipe::<Failing>()?;
    Ok(evenburn_cli::run(&registry))
}
