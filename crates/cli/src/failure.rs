//! From an error to what the user sees and the process returns.

use crate::commands::places::Unreadable;
use crate::output::{Unwritten, tell};
use evenburn_data::DataError;
use evenburn_eval::EvalError;
use evenburn_interchange::InterchangeError;
use evenburn_model::{FoldError, PlanError, SampleError};
use evenburn_optim::OptimError;
use evenburn_train::TrainError;
use std::process::ExitCode;

/// 128 and SIGPIPE.
const CLOSED_PIPE: u8 = 128 + 13;

/// Wrong input of the command line itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongInput(pub(crate) String);

/// An error that another rank says.
#[derive(Debug, thiserror::Error)]
#[error("rank 0 says what is wrong")]
pub(crate) struct SaidElsewhere;

/// An error that ends the process.
pub(crate) struct Failure(anyhow::Error);

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl Failure {
    /// 2 for what the user gave, 1 for everything else.
    fn code(&self) -> u8 {
        let wrong = self.0.chain().any(|cause| {
            cause.is::<WrongInput>()
                || cause.is::<PlanError>()
                || cause.is::<SampleError>()
                || cause.is::<FoldError>()
                || cause
                    .downcast_ref()
                    .is_some_and(InterchangeError::is_wrong_input)
                || cause.is::<OptimError>()
                || cause.downcast_ref().is_some_and(TrainError::is_wrong_input)
                || cause.downcast_ref().is_some_and(EvalError::is_wrong_input)
                || cause.downcast_ref().is_some_and(DataError::is_wrong_input)
        });
        if wrong { 2 } else { 1 }
    }

    /// Prints one clear error and gives the exit code. A reader that has enough is no error: the process ends in silence,
    /// with the code that a shell gives to programs which a closed pipe ended.
    pub(crate) fn report(&self) -> ExitCode {
        if self.0.downcast_ref().is_some_and(Unwritten::is_closed) {
            return ExitCode::from(CLOSED_PIPE);
        }
        if self.0.is::<SaidElsewhere>() {
            return ExitCode::FAILURE;
        }
        // Many errors already print their source; a chain would say it twice.
        let mut text = self.0.to_string();
        for cause in self.0.chain().skip(1).map(ToString::to_string) {
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        match self.0.downcast_ref::<Unreadable>() {
            Some(unreadable) => tell!("error[{}]: {text}", unreadable.class),
            None => tell!("error: {text}"),
        }
        ExitCode::from(self.code())
    }
}
