//! Functions and rules that the library doesn't know.

use crate::common::{config, distance, numbers};
use burn::tensor::{Device, Distribution, Tensor};
use evenburn_model::function::{Around, Function, NormFunction, Rms, Unit};
use evenburn_model::modules::Arrays;
use evenburn_model::plan::{ArrayPlan, GainRole, Init, MixPlan, NormPlan, ParamRole, ResidualPlan};
use evenburn_model::rule::MixRule;
use evenburn_model::strategy::NormStrategy;
use evenburn_model::{Branch, Decoder, Dims, Kinds, Plan, PlanError, Recorded, weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `x / |x|_p` with a learned scalar on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct PNorm {
    p: f64,
}

impl Recorded for PNorm {
    const NAME: &'static str = "p_norm";
    const ABOUT: &'static str = "Divides by the p-norm.";
}

impl NormFunction for PNorm {
    fn describe(&self) -> String {
        format!("{}-norm", self.p)
    }

    fn arrays(&self, _: usize, decay: bool) -> Vec<ArrayPlan> {
        vec![ArrayPlan::filled("strength", vec![1], 1.0, ParamRole::Gain).decayed(decay)]
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let size = x.clone().abs().powf_scalar(self.p).sum_dim(1);
        let size = size.powf_scalar(self.p.recip());
        around.gained(x / size * around.arrays.vector("strength").unsqueeze())
    }

    fn check(&self, _: usize, _: f64) -> Result<(), String> {
        match self.p {
            p if p >= 1.0 => Ok(()),
            p => Err(format!("p = {p}, which is below 1")),
        }
    }
}

/// `h + strength * x` with a learned vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Weighted {
    strength: f64,
}

impl Recorded for Weighted {
    const NAME: &'static str = "weighted";
    const ABOUT: &'static str = "A sum with a learned vector on the branch.";
}

impl MixRule for Weighted {
    fn describe(&self) -> String {
        "h + strength x".to_owned()
    }

    fn arrays(&self, width: usize) -> Vec<ArrayPlan> {
        let role = ParamRole::Gain;
        vec![ArrayPlan::filled(
            "strength",
            vec![width],
            self.strength,
            role,
        )]
    }

    fn forward(&self, h: Tensor<3>, x: Tensor<3>, arrays: &Arrays) -> Tensor<3> {
        h + x * arrays.vector("strength").unsqueeze()
    }
}

#[derive(Debug)]
struct Own {
    p: f64,
}

impl NormStrategy for Own {
    fn name(&self) -> &'static str {
        "own"
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        let rule = Weighted { strength: 0.5 }.into();
        ResidualPlan {
            input: Some(NormPlan {
                function: PNorm { p: self.p }.into(),
                ..NormPlan::rms(1e-5, GainRole::Input)
            }),
            mix: MixPlan::Rule { rule },
            ..ResidualPlan::plain()
        }
    }
}

#[test]
fn fused_functions_are_their_slow_forms() {
    let device = Device::flex();
    for function in [Function::from(Rms {}), Unit {}.into()] {
        let plan = NormPlan {
            function: function.clone(),
            ..NormPlan::rms(1e-5, GainRole::Output)
        };
        let norm = plan.init_full(24, &device);
        let x = Tensor::<2>::random([7, 24], Distribution::Normal(0.5, 2.0), &device);
        let gain = Tensor::<1>::random([24], Distribution::Normal(1.0, 0.3), &device);
        let values = weights::collect(&norm).into_iter();
        let values = values.map(|(path, _)| (path, gain.clone().into_data()));
        let norm = weights::replace(norm, values).unwrap();
        let around = Around {
            gain: Some(gain),
            eps: 1e-5,
            arrays: &Arrays::default(),
        };
        let slow = numbers(function.forward(x.clone(), &around));
        assert!(distance(&numbers(norm.forward(x)), &slow) < 1e-5);
    }
}

#[test]
fn a_plan_of_own_functions_is_built_and_read_back_by_who_knows_them() {
    let plan = Plan::new(&config(), &Own { p: 3.0 }).unwrap();
    let device = Device::flex();
    let named = weights::collect(&Decoder::new(&plan, 0, &device));
    let paths: Vec<String> = named.into_iter().map(|(path, _)| path).collect();
    let specs: Vec<String> = plan.params().into_iter().map(|spec| spec.path).collect();
    assert_eq!(paths, specs);
    for part in ["input.strength", "mix.rule.strength"] {
        let path = format!("blocks.0.attn_residual.{part}");
        assert!(specs.contains(&path), "{path}: {specs:?}");
    }

    let text = serde_json::to_string(&plan).unwrap();
    let mut read: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(read, plan);
    // Nobody has said what they are.
    let error = read.validate().unwrap_err().to_string();
    assert!(error.contains("registered"), "{error}");
    let error = Kinds::default().resolve(&mut read).unwrap_err();
    assert!(matches!(&error, PlanError::Unknown { place, name, .. }
        if place == "blocks.0.attn_residual.input" && name == "p_norm"));

    let kinds = Kinds::default().with_function::<PNorm>().unwrap();
    let error = kinds.resolve(&mut read).unwrap_err().to_string();
    assert!(error.contains("weighted"), "{error}");
    let kinds = kinds.with_rule::<Weighted>().unwrap();
    kinds.resolve(&mut read).unwrap();
    read.validate().unwrap();
    assert_eq!(read.to_string(), plan.to_string());
    let twice = kinds.with_rule::<Weighted>().unwrap_err().to_string();
    assert_eq!(twice, "the residual rule `weighted` is registered twice");
}

#[test]
fn options_of_own_functions_are_checked() {
    let error = Plan::new(&config(), &Own { p: 0.5 })
        .unwrap_err()
        .to_string();
    assert!(error.contains("0.5-norm clashes with p = 0.5"), "{error}");
    let text = serde_json::to_string(&Plan::new(&config(), &Own { p: 3.0 }).unwrap()).unwrap();
    let mut read: Plan = serde_json::from_str(&text.replace("{\"p\":3.0}", "{\"q\":3.0}")).unwrap();
    let kinds = Kinds::default().with_function::<PNorm>().unwrap();
    let error = kinds.with_rule::<Weighted>().unwrap().resolve(&mut read);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("missing field `p`"), "{error}");
}

/// Options without names.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Nameless(f64);

/// An option whose name a configuration has for something else.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Somewhere {
    at: f64,
}

macro_rules! identity {
    ($type:ident, $name:literal) => {
        impl Recorded for $type {
            const NAME: &'static str = $name;
            const ABOUT: &'static str = "A test.";
        }

        impl NormFunction for $type {
            fn describe(&self) -> String {
                $name.to_owned()
            }

            fn forward(&self, x: Tensor<2>, _: &Around<'_>) -> Tensor<2> {
                x
            }
        }
    };
}

identity!(Nameless, "nameless");
identity!(Somewhere, "somewhere");

#[test]
fn options_that_nothing_could_hold_are_refused() {
    let known = Kinds::default;
    let error = known().with_function::<Nameless>().unwrap_err().to_string();
    assert!(
        error.contains("`nameless`") && error.contains("named fields"),
        "{error}"
    );
    let error = known()
        .with_function::<Somewhere>()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`somewhere`") && error.contains("`at`"),
        "{error}"
    );
}

/// A sum with a drawn matrix on the branch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Mixed {
    name: String,
    shape: Vec<usize>,
}

impl Mixed {
    /// For the streams of [`config`].
    fn new(name: &str, shape: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
        }
    }
}

impl Recorded for Mixed {
    const NAME: &'static str = "mixed";
    const ABOUT: &'static str = "A sum with a learned matrix on the branch.";
}

impl MixRule for Mixed {
    fn describe(&self) -> String {
        "h + x W".to_owned()
    }

    fn arrays(&self, width: usize) -> Vec<ArrayPlan> {
        let start = Init::Normal { std: 0.02 };
        vec![ArrayPlan {
            shape: self.shape.clone(),
            ..ArrayPlan::matrix(&self.name, [width, width], start)
        }]
    }

    fn forward(&self, h: Tensor<3>, x: Tensor<3>, arrays: &Arrays) -> Tensor<3> {
        h + x.matmul(arrays.matrix(&self.name).unsqueeze())
    }
}

#[derive(Debug)]
struct MixedOwn(Mixed);

impl NormStrategy for MixedOwn {
    fn name(&self) -> &'static str {
        "mixed_own"
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        let rule = self.0.clone().into();
        ResidualPlan {
            mix: MixPlan::Rule { rule },
            ..ResidualPlan::plain()
        }
    }
}

#[test]
fn each_matrix_of_a_rule_is_drawn_by_its_path_and_the_seed() {
    let mixed = MixedOwn(Mixed::new("weight", &[24, 24]));
    let plan = Plan::new(&config(), &mixed).unwrap();
    let drawn = |seed| -> Vec<Vec<u8>> {
        weights::collect(&Decoder::new(&plan, seed, &Device::flex()))
            .into_iter()
            .filter(|(path, _)| path.ends_with("mix.rule.weight"))
            .map(|(_, data)| data.as_bytes().to_vec())
            .collect()
    };
    let mut all = [drawn(1), drawn(2)].concat();
    // Two branches of three blocks, with two seeds.
    assert_eq!(all.len(), 12);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 12);
}

#[test]
fn an_array_that_no_module_could_hold_is_refused_by_its_path() {
    for (name, shape, why) in [
        ("weight", &[24][..], "only matrices"),
        ("weight", &[2, 12, 24], "vectors or matrices"),
        ("weight", &[24, 0], "vectors or matrices"),
        ("a.b", &[24, 24], "the last part"),
    ] {
        let mixed = MixedOwn(Mixed::new(name, shape));
        let error = Plan::new(&config(), &mixed).unwrap_err().to_string();
        let path = format!("blocks.0.attn_residual.mix.rule.{name}");
        assert!(error.contains(&path) && error.contains(why), "{error}");
    }
}
