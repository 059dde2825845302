//! Factors on a step by the shape of its matrix.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The factor that makes one rate fit matrices of every shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// None.
    #[default]
    One,
    /// `sqrt(max(1, out / in))`, Keller Jordan's `muon.py`.
    Original,
    /// `0.2 sqrt(max(out, in))`: updates with the root mean square of `AdamW`'s (Moonlight,
    /// arXiv 2502.16982, section 2.2), so that its rate and decay can be used.
    MatchRmsAdamw,
    /// `sqrt(out / in)`: a step of spectral norm 1 between root mean squares (Scion,
    /// arXiv 2502.07529, table 2).
    Spectral,
    /// `sqrt(max(out / in, in / out))` (magnitude-direction decoupling, arXiv 2606.25971).
    Symmetric,
    /// `1 / in`: a step of signs that moves no output by more than 1 (Scion, the output layer).
    PerInput,
    /// `1 / out`: the same step in an embedding table, whose outputs such an output layer reads.
    PerOutput,
}

impl Scaling {
    /// The factor for a matrix from `input` to `output` features.
    ///
    /// The papers' `[out, in]` matrices have `rows / columns = out / in`; here matrices are
    /// `[in, out]`, so the arguments are named, not ordered by dimension.
    ///
    /// ```
    /// use evenburn_optim::Scaling;
    ///
    /// let (dim, hidden) = (256, 1024);
    /// assert_eq!(Scaling::Original.factor(dim, hidden), 2.0); // up-projection
    /// assert_eq!(Scaling::Original.factor(hidden, dim), 1.0); // down-projection
    /// assert_eq!(Scaling::Spectral.factor(hidden, dim), 0.5);
    /// ```
    pub fn factor(self, input: usize, output: usize) -> f64 {
        let (input, output) = (input as f64, output as f64);
        match self {
            Self::One => 1.0,
            Self::Original => (output / input).max(1.0).sqrt(),
            Self::MatchRmsAdamw => 0.2 * input.max(output).sqrt(),
            Self::Spectral => (output / input).sqrt(),
            Self::Symmetric => (output / input).max(input / output).sqrt(),
            Self::PerInput => input.recip(),
            Self::PerOutput => output.recip(),
        }
    }
}
