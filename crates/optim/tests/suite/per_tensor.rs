//! The recipes as Burn optimizers: the same numbers as the engine's, and records that go on.

use crate::common::{gradients, net, rule, weights};
use burn::optim::ModuleOptimizer;
use burn::tensor::DType;
use evenburn_geometry::{Axis, Constraint};
use evenburn_optim::{
    Adam, AdamMini, Clip, Composition, Engine, Lion, Magnitudes, PerTensor, Scaling, Space,
};

fn constraint(path: &str) -> Constraint {
    match path {
        // `PerTensor` leaves vectors alone under a constraint along `In`.
        "blocks.0.gain" | "blocks.1.gain" => Constraint::Free,
        _ => Constraint::AtMost {
            along: Axis::In,
            radius: 1.0,
        },
    }
}

#[test]
fn steps_equal_the_engines() {
    let adam = Composition::adam(Adam::default());
    for recipe in [
        adam,
        Composition::adam_mini(AdamMini::default()),
        Composition::lion(Lion::default()),
        Composition::muon(),
        Composition::nor_muon(),
        Composition::muon_h(),
        Composition::scion_sign(Scaling::PerInput),
        Composition::decoupled_muon().decoupled(Magnitudes::default()),
    ] {
        // What keeps a norm has neither.
        let flat = recipe.space == Space::Flat;
        let decay = if flat { 0.1 } else { 0.0 };
        let constraint = |path: &str| {
            if flat {
                constraint(path)
            } else {
                Constraint::Free
            }
        };
        let rules = crate::common::PATHS.iter().map(|path| {
            let vector = path.ends_with("gain");
            let everywhere = [
                adam,
                Composition::adam_mini(AdamMini::default()),
                Composition::lion(Lion::default()),
            ];
            let recipe = if vector && !everywhere.contains(&recipe) {
                adam
            } else {
                recipe
            };
            let mut rule = rule(recipe, 0.02, if vector && !flat { 0.0 } else { decay });
            rule.constraint = constraint(path);
            ((*path).to_owned(), rule)
        });
        let mut engine = Engine::new(rules.collect(), Clip::None);
        let per_tensor = PerTensor::new(recipe)
            .with_weight_decay(decay)
            .with_constraint(constraint("head.weight"));
        let mut burn = ModuleOptimizer::from(per_tensor.clone());

        let (mut ours, mut burns) = (net(4, DType::F64), net(4, DType::F64));
        for step in 0..4 {
            let (grads, _) = gradients(&ours, step, 1.0);
            ours = engine.step(ours, grads, 1.0).unwrap().0;
            let (grads, _) = gradients(&burns, step, 1.0);
            burns = burn.step(0.02, burns, grads);
            // Through a record at every step.
            let bytes = burn.into_bytes().unwrap();
            burn = ModuleOptimizer::from(per_tensor.clone())
                .from_bytes(bytes)
                .unwrap();
        }
        let burns = weights(&burns);
        for (path, w) in weights(&ours) {
            assert!(
                crate::common::largest_error(&w, &burns[&path]) < 1e-13,
                "{path}"
            );
        }
    }
}
