//! Adam and `AdamW`, compared with one-number-at-a-time arithmetic in `f64`.

use std::collections::BTreeMap;

use crate::common::{adamw_rules, gradients, largest_error, net, norm, weights};
use burn::tensor::DType;
use evenburn_optim::{Adam, Clip, Composition, Engine};

/// `torch.optim.AdamW`, written as its documentation has it.
#[derive(Default)]
struct Reference {
    m: Vec<f64>,
    v: Vec<f64>,
    t: i32,
}

impl Reference {
    fn step(&mut self, w: &mut [f64], g: &[f64], lr: f64, wd: f64, adam: Adam) {
        self.m.resize(w.len(), 0.0);
        self.v.resize(w.len(), 0.0);
        self.t += 1;
        for i in 0..w.len() {
            w[i] *= 1.0 - lr * wd;
            self.m[i] = adam.beta1 * self.m[i] + (1.0 - adam.beta1) * g[i];
            self.v[i] = adam.beta2 * self.v[i] + (1.0 - adam.beta2) * g[i] * g[i];
            let m_hat = self.m[i] / (1.0 - adam.beta1.powi(self.t));
            let v_hat = self.v[i] / (1.0 - adam.beta2.powi(self.t));
            w[i] -= lr * m_hat / (v_hat.sqrt() + adam.eps);
        }
    }
}

fn twenty_steps(dtype: DType, adam: Adam, weight_decay: f64) -> f64 {
    let mut rules = adamw_rules(1e-2, weight_decay);
    for rule in rules.values_mut() {
        rule.update = Composition::adam(adam).into();
    }
    let mut engine = Engine::new(rules, Clip::All { max: 1.0 });
    let mut model = net(3, dtype);
    let mut expected = weights(&model);
    let mut references: BTreeMap<String, Reference> = BTreeMap::new();
    let mut clipped = 0;
    for step in 0..20u32 {
        let factor = 1.0 - f64::from(step) / 25.0;
        // Some gradients are clipped, some are not, some are tiny against eps.
        let scale = [0.5, 0.01, 1e-8][step as usize % 3];
        let (grads, g) = gradients(&model, u64::from(step), scale);
        let clip = (1.0 / (norm(&g) + 1e-6)).min(1.0);
        clipped += usize::from(clip < 1.0);
        for (path, w) in &mut expected {
            let g: Vec<f64> = g[path].iter().map(|g| g * clip).collect();
            let reference = references.entry(path.clone()).or_default();
            reference.step(w, &g, 1e-2 * factor, weight_decay, adam);
        }
        let (stepped, report) = engine.step(model, grads, factor).unwrap();
        assert!((report.clip_factor() - clip).abs() < 1e-6);
        model = stepped;
    }
    assert!((1..20).contains(&clipped));
    let found = weights(&model);
    let errors = expected
        .iter()
        .map(|(path, w)| largest_error(&found[path], w));
    errors.fold(0.0, f64::max)
}

#[test]
fn adamw_equals_the_loops() {
    let default = Adam::default();
    let error = twenty_steps(DType::F64, default, 0.1);
    assert!(error < 1e-12, "{error:e}");
    let error = twenty_steps(DType::F32, default, 0.1);
    assert!(error < 1e-4, "{error:e}");
    // An epsilon that decides, and other betas.
    let other = Adam {
        beta1: 0.8,
        beta2: 0.999,
        eps: 1e-3,
    };
    let error = twenty_steps(DType::F64, other, 0.3);
    assert!(error < 1e-12, "{error:e}");
}

#[test]
fn adam_is_the_same_without_decay() {
    let adam = Adam::default();
    let error = twenty_steps(DType::F64, adam, 0.0);
    assert!(error < 1e-12, "{error:e}");
}
