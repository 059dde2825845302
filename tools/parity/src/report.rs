//! Errors of every case, their tolerances, and how both are shown.

use super::error::Worst;
use serde_json::{Map, Value, json};
use std::fmt;

/// Largest errors of one case in one number format.
#[derive(Debug, Clone)]
pub struct Precision {
    /// Logits of the first batch.
    pub logits: Worst,
    /// Its loss.
    pub loss: Worst,
    /// Its gradients.
    pub gradients: Worst,
    /// Losses before each training step.
    pub losses: Worst,
    /// Gradient norms before clipping.
    pub grad_norms: Worst,
    /// Weights after the last step; in f64 only.
    pub finals: Option<Worst>,
}

/// Tolerances of one number format, `tests/fixtures/README.md`.
struct Tolerance {
    values: f64,
    gradients: f64,
    finals: f64,
}

const F64: Tolerance = Tolerance {
    values: 1e-9,
    gradients: 1e-9,
    finals: 1e-7,
};

const F32: Tolerance = Tolerance {
    values: 1e-5,
    gradients: 1e-4,
    finals: f64::INFINITY,
};

impl Precision {
    /// Each error with its tolerance.
    fn checks(&self, tolerance: &Tolerance) -> Vec<(&'static str, &Worst, f64)> {
        let mut checks = vec![
            ("logits", &self.logits, tolerance.values),
            ("loss", &self.loss, tolerance.values),
            ("gradients", &self.gradients, tolerance.gradients),
            ("losses", &self.losses, tolerance.values),
            ("grad norms", &self.grad_norms, tolerance.values),
        ];
        checks.extend(
            self.finals
                .as_ref()
                .map(|f| ("final weights", f, tolerance.finals)),
        );
        checks
    }
}

impl Precision {
    /// The largest error of each kind, and under `at` the tensors that have them.
    fn json(&self, tolerance: &Tolerance) -> Value {
        let mut errors = Map::new();
        let mut at = Map::new();
        for (what, worst, _) in self.checks(tolerance) {
            let key = what.replace(' ', "_");
            // JSON has no infinity; a null is an error that is no number.
            errors.insert(key.clone(), json!(worst.error));
            at.insert(key, json!(worst.tensor));
        }
        errors.insert("at".to_owned(), Value::Object(at));
        Value::Object(errors)
    }
}

/// What became of one case.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// Why it could not be run, where it could not.
    pub unknown: Option<String>,
    /// Errors in f64.
    pub f64: Option<Precision>,
    /// Errors in f32.
    pub f32: Option<Precision>,
}

impl Outcome {
    pub(super) fn unknown(name: String, why: String) -> Self {
        Self {
            name,
            unknown: Some(why),
            f64: None,
            f32: None,
        }
    }

    /// What is over its tolerance, or why the case is unknown; empty when it passes.
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> = self
            .unknown
            .iter()
            .map(|why| format!("unknown: {why}"))
            .collect();
        for (format, precision, tolerance) in [("f64", &self.f64, &F64), ("f32", &self.f32, &F32)] {
            let Some(precision) = precision else { continue };
            for (what, worst, limit) in precision.checks(tolerance) {
                // Not `error > limit`: an error that is no number must fail too.
                let within = worst.error <= limit;
                if !within {
                    failures.push(format!(
                        "{format} {what}: {:.2e} over {limit:.0e} at {}",
                        worst.error, worst.tensor
                    ));
                }
            }
        }
        failures
    }
}

impl Outcome {
    /// The case with its verdict and errors.
    fn json(&self) -> Value {
        json!({
            "case": self.name,
            "passes": self.failures().is_empty(),
            "failures": self.failures(),
            "unknown": self.unknown,
            "f64": self.f64.as_ref().map(|p| p.json(&F64)),
            "f32": self.f32.as_ref().map(|p| p.json(&F32)),
        })
    }
}

/// All cases of a folder.
#[derive(Debug, Clone)]
pub struct Report {
    /// One per case.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Whether every case is known and within its tolerances.
    pub fn passes(&self) -> bool {
        self.outcomes.iter().all(|o| o.failures().is_empty())
    }

    /// A list with one object per case: `case`, `passes`, `failures`, `unknown`, and under `f64` and `f32` the largest
    /// error of `logits`, `loss`, `gradients`, `losses`, `grad_norms` and (in f64) `final_weights`.
    pub fn json(&self) -> Value {
        self.outcomes.iter().map(Outcome::json).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "case", "format", "logits", "loss", "gradients", "losses", "norms", "finals"
        )?;
        for outcome in &self.outcomes {
            for (format, precision) in [("f64", &outcome.f64), ("f32", &outcome.f32)] {
                let Some(p) = precision else { continue };
                let finals = p
                    .finals
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |w| format!("{:.1e}", w.error));
                writeln!(
                    f,
                    "{:<28} {format:>8} {:>9.1e} {:>9.1e} {:>9.1e} {:>9.1e} {:>9.1e} {finals:>9}",
                    outcome.name,
                    p.logits.error,
                    p.loss.error,
                    p.gradients.error,
                    p.losses.error,
                    p.grad_norms.error
                )?;
            }
            for failure in outcome.failures() {
                writeln!(f, "{:<28} FAILED   {failure}", outcome.name)?;
            }
        }
        let failed = self
            .outcomes
            .iter()
            .filter(|o| !o.failures().is_empty())
            .count();
        write!(
            f,
            "{} of {} cases pass",
            self.outcomes.len() - failed,
            self.outcomes.len()
        )
    }
}
