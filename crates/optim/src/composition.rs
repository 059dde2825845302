//! A step that is put together from parts.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::parts::{
    Accumulation, Adam, AdamMini, Direction, GradientSpace, Lion, Lookahead, Magnitudes, Momentum,
    NeuronNorm, NormFloor, Orthogonal, Polynomial, Scaling, Shaping, Space,
};
use crate::state::StateTensor;

/// How a gradient becomes a step, from one of each kind of part:
///
/// ```text
/// gradient -> direction -> shaping -> equal outputs -> factor by shape -> step in a space
/// ```
///
/// The named constructors are what recipes of the field do with a matrix; any other composition works too.
///
/// ```
/// use evenburn_optim::{Adam, Composition, Space};
///
/// assert_eq!(Composition::adam(Adam::default()).to_string(), "adam(0.9, 0.95)");
/// let parts = Composition { space: Space::Sphere, ..Composition::muon() };
/// assert_eq!(parts, Composition::muon_h());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Composition {
    /// Which part of the gradient is seen.
    #[serde(default)]
    pub gradient: GradientSpace,
    /// The direction, entry by entry.
    pub direction: Direction,
    /// What is done with the direction as a whole.
    #[serde(default)]
    pub shaping: Shaping,
    /// Equal steps for every output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neurons: Option<NeuronNorm>,
    /// The factor by the shape of the matrix.
    #[serde(default)]
    pub scaling: Scaling,
    /// Where the weight moves.
    #[serde(default)]
    pub space: Space,
}

impl Composition {
    /// A direction that is stepped along as it is.
    const fn plain(direction: Direction) -> Self {
        Self {
            gradient: GradientSpace::Ambient,
            direction,
            shaping: Shaping::None,
            neurons: None,
            scaling: Scaling::One,
            space: Space::Flat,
        }
    }

    /// Adam (arXiv 1412.6980); with a weight decay in its rule `AdamW` (arXiv 1711.05101).
    pub fn adam(adam: Adam) -> Self {
        Self::plain(Direction::Adam(adam))
    }

    /// Adam-mini (arXiv 2406.16793).
    pub fn adam_mini(mini: AdamMini) -> Self {
        Self::plain(Direction::AdamMini(mini))
    }

    /// `AdamH`: Adam's direction on the sphere of the initial norm (Hyperball).
    pub fn adam_h(adam: Adam) -> Self {
        Self {
            space: Space::Sphere,
            ..Self::adam(adam)
        }
    }

    /// Lion (arXiv 2302.06675).
    pub fn lion(lion: Lion) -> Self {
        Self {
            shaping: Shaping::Sign,
            ..Self::plain(Direction::Lion(lion))
        }
    }

    /// Muon, as `torch.optim.Muon` (Keller Jordan's, whose epsilon is added to the norm).
    pub fn muon() -> Self {
        Self {
            shaping: Shaping::Orthogonal(Orthogonal::default()),
            scaling: Scaling::Original,
            ..Self::plain(Direction::Momentum(Momentum::default()))
        }
    }

    /// Muon of Moonlight (arXiv 2502.16982): a sum of gradients, and steps of `AdamW`'s size.
    pub fn moonlight() -> Self {
        Self {
            direction: Direction::Momentum(Momentum {
                accumulation: Accumulation::Sum,
                ..Momentum::default()
            }),
            scaling: Scaling::MatchRmsAdamw,
            ..Self::muon()
        }
        .with_orthogonal(|o| o.floor = NormFloor::Add)
    }

    /// `NorMuon` (arXiv 2510.05491).
    pub fn nor_muon() -> Self {
        Self {
            neurons: Some(NeuronNorm::default()),
            ..Self::muon()
        }
        .with_orthogonal(|o| o.floor = NormFloor::Add)
    }

    /// Muon with the polynomials of the Polar Express (arXiv 2505.16932).
    pub fn polar_express() -> Self {
        Self::muon().with_orthogonal(|o| {
            o.polynomial = Polynomial::PolarExpress;
            o.floor = NormFloor::Add;
        })
    }

    /// `MuonH`: Muon's direction on the sphere of the initial norm (Hyperball).
    pub fn muon_h() -> Self {
        Self {
            space: Space::Sphere,
            ..Self::muon()
        }
    }

    /// Scion's step for the matrices inside the blocks (arXiv 2502.07529, table 2).
    pub fn scion_spectral() -> Self {
        Self {
            scaling: Scaling::Spectral,
            ..Self::scion(Shaping::Orthogonal(Orthogonal {
                floor: NormFloor::Add,
                ..Orthogonal::default()
            }))
        }
    }

    /// Scion's step where single entries matter: the embedding and, divided by its inputs, the output layer.
    pub fn scion_sign(scaling: Scaling) -> Self {
        Self {
            scaling,
            ..Self::scion(Shaping::Sign)
        }
    }

    /// The momentum of the official example, `alpha = 0.1`.
    fn scion(shaping: Shaping) -> Self {
        Self {
            shaping,
            ..Self::plain(Direction::Momentum(Momentum {
                beta: 0.9,
                accumulation: Accumulation::Mean,
                lookahead: Lookahead::None,
            }))
        }
    }

    /// Muon as magnitude-direction decoupling scales it, before [`decoupled`](Self::decoupled).
    pub fn decoupled_muon() -> Self {
        Self {
            scaling: Scaling::Symmetric,
            ..Self::muon()
        }
    }

    /// The same direction beside learned magnitudes (arXiv 2606.25971).
    pub fn decoupled(self, magnitudes: Magnitudes) -> Self {
        Self {
            space: Space::MagnitudeDirection(magnitudes),
            ..self
        }
    }

    /// Changes how the direction is orthogonalized, where it is.
    pub fn with_orthogonal(mut self, change: impl FnOnce(&mut Orthogonal)) -> Self {
        if let Shaping::Orthogonal(orthogonal) = &mut self.shaping {
            change(orthogonal);
        }
        self
    }

    /// Changes the momentum, where the direction is one.
    pub fn with_momentum(mut self, change: impl FnOnce(&mut Momentum)) -> Self {
        if let Direction::Momentum(momentum) = &mut self.direction {
            change(momentum);
        }
        self
    }

    /// How the direction is orthogonalized, where it is.
    pub fn orthogonal(&self) -> Option<&Orthogonal> {
        match &self.shaping {
            Shaping::Orthogonal(orthogonal) => Some(orthogonal),
            Shaping::None | Shaping::Sign => None,
        }
    }

    /// What is kept between steps of a parameter of this shape.
    pub(crate) fn kept(&self, shape: [usize; 3]) -> Vec<StateTensor> {
        let mut kept = self.direction.kept(shape);
        kept.extend(self.neurons.map(|_| NeuronNorm::kept(shape)));
        kept.extend(self.space.kept(shape));
        kept
    }

    /// The factor on the step of a matrix of this shape; heads are matrices of their own.
    pub(crate) fn factor(&self, [_, input, output]: [usize; 3]) -> f64 {
        let heads = self.orthogonal().map_or(1, |o| o.heads);
        self.scaling.factor(input, output / heads)
    }

    /// Whether its parts can be used on a parameter of this shape.
    pub(crate) fn check(&self, shape: &[usize]) -> Result<(), String> {
        let matrices = crate::matrices::as_matrices(shape);
        let whole = self.shaping != Shaping::None && self.shaping != Shaping::Sign;
        if matrices.is_none() && (whole || self.neurons.is_some() || self.scaling != Scaling::One) {
            return Err(format!(
                "{self} trains matrices, and its shape is {shape:?}"
            ));
        }
        if matrices.is_none() && self.space != Space::Flat {
            return Err(format!("{self} needs a matrix, and its shape is {shape:?}"));
        }
        let shape = crate::matrices::batched(shape);
        self.direction.check(shape)?;
        self.shaping.check(shape)?;
        self.space.check()?;
        self.neurons.map_or(Ok(()), |neurons| neurons.check())
    }
}

impl fmt::Display for Composition {
    /// The parts in order: `momentum(0.95) > orthogonal(quintic x 5) > sqrt(max(1, out/in))`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.gradient == GradientSpace::Tangent {
            parts.push("tangent".to_owned());
        }
        parts.push(match &self.direction {
            Direction::Adam(Adam { beta1, beta2, .. }) => format!("adam({beta1}, {beta2})"),
            Direction::AdamMini(AdamMini { adam, .. }) => {
                format!("adam_mini({}, {})", adam.beta1, adam.beta2)
            }
            Direction::Lion(Lion { beta1, beta2 }) => format!("lion({beta1}, {beta2})"),
            Direction::Momentum(Momentum { beta, .. }) => format!("momentum({beta})"),
        });
        match &self.shaping {
            Shaping::None => {}
            Shaping::Sign => parts.push("sign".to_owned()),
            Shaping::Orthogonal(Orthogonal {
                polynomial,
                steps,
                heads,
                ..
            }) => {
                let polynomial = match polynomial {
                    Polynomial::Quintic => "quintic",
                    Polynomial::PolarExpress => "polar_express",
                };
                let heads = match heads {
                    1 => String::new(),
                    heads => format!(", {heads} heads"),
                };
                parts.push(format!("orthogonal({polynomial} x {steps}{heads})"));
            }
        }
        parts.extend(self.neurons.map(|n| format!("neurons({})", n.beta2)));
        let factor = match self.scaling {
            Scaling::One => None,
            Scaling::Original => Some("sqrt(max(1, out/in))"),
            Scaling::MatchRmsAdamw => Some("0.2 sqrt(max(out, in))"),
            Scaling::Spectral => Some("sqrt(out/in)"),
            Scaling::Symmetric => Some("sqrt(max(out/in, in/out))"),
            Scaling::PerInput => Some("1/in"),
            Scaling::PerOutput => Some("1/out"),
        };
        parts.extend(factor.map(str::to_owned));
        match &self.space {
            Space::Flat => {}
            Space::Sphere => parts.push("sphere".to_owned()),
            Space::MagnitudeDirection(_) => parts.push("magnitude and direction".to_owned()),
        }
        f.write_str(&parts.join(" > "))
    }
}
