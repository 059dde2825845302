//! An engine's state, read back and checked before it replaces anything.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::TensorData;

use crate::matrices::batched;
use crate::parameters::{self, Parameter};
use crate::state::{ParamState, restore, saved_shape};
use crate::{Counts, Engine, OptimError};

impl Engine {
    /// Continues from a saved [`state`](Self::state) and its [`counts`](Self::counts): the next
    /// step is bit for bit what it would have been.
    ///
    /// `module` gives the shapes, dtypes and devices.
    ///
    /// # Errors
    /// Those of [`check`](Self::check); [`OptimError::StateMismatch`] listing tensors that are
    /// missing or unexpected, [`OptimError::DuplicateParameter`], [`OptimError::StateShape`].
    pub fn load_state<M: Module>(
        &mut self,
        module: &M,
        tensors: Vec<(String, TensorData)>,
        counts: &Counts,
    ) -> Result<(), OptimError> {
        let parameters = parameters::of(module, None);
        parameters::check(&parameters, &self.rules)?;

        let mut given = BTreeMap::new();
        for (name, data) in tensors {
            if given.contains_key(&name) {
                return Err(OptimError::DuplicateParameter { path: name });
            }
            given.insert(name, data);
        }
        self.check_names(&parameters, &given, counts)?;

        let mut states = BTreeMap::new();
        for parameter in &parameters {
            let Some(&t) = counts.parameters.get(&parameter.path) else {
                continue;
            };
            let state = self.load_state_of(parameter, t, &mut given)?;
            states.insert(parameter.path.clone(), state);
        }
        self.states = states;
        self.step = counts.step;
        Ok(())
    }

    fn check_names(
        &self,
        parameters: &[Parameter],
        given: &BTreeMap<String, TensorData>,
        counts: &Counts,
    ) -> Result<(), OptimError> {
        let names = |path: &str, shape: &[usize]| {
            let kept = self.rules[path].update.kept(batched(shape));
            kept.iter()
                .map(|(name, _)| format!("{path}/{name}"))
                .collect::<Vec<_>>()
        };
        let mut missing = Vec::new();
        let mut known = BTreeSet::new();
        for Parameter {
            path,
            shape,
            requires_grad,
            ..
        } in parameters
        {
            let counted = counts.parameters.contains_key(path);
            // A frozen parameter may never have been stepped, and one of another engine has its state there.
            if counted || (counts.step > 0 && *requires_grad && self.owns(path)) {
                let names = names(path, shape).into_iter();
                missing.extend(names.filter(|n| !given.contains_key(n)));
                if !counted {
                    missing.push(format!("the step count of {path}"));
                }
            }
            if counted {
                known.extend(names(path, shape));
            }
        }
        let mut unexpected: Vec<String> = given
            .keys()
            .filter(|name| !known.contains(*name))
            .cloned()
            .collect();
        unexpected.extend(
            counts
                .parameters
                .keys()
                .filter(|path| !self.rules.contains_key(*path))
                .map(|path| format!("the step count of {path}")),
        );
        if missing.is_empty() && unexpected.is_empty() {
            return Ok(());
        }
        Err(OptimError::StateMismatch {
            missing,
            unexpected,
        })
    }

    fn load_state_of(
        &self,
        parameter: &Parameter,
        t: u64,
        given: &mut BTreeMap<String, TensorData>,
    ) -> Result<ParamState, OptimError> {
        let Parameter {
            path,
            shape,
            dtype,
            device,
            ..
        } = parameter;
        let mut state = ParamState::new(shape, t);
        for (kept, batch) in self.rules[path].update.kept(batched(shape)) {
            let name = format!("{path}/{kept}");
            let data = given
                .remove(&name)
                .ok_or_else(|| OptimError::StateMismatch {
                    missing: vec![name.clone()],
                    unexpected: Vec::new(),
                })?;
            let expected = saved_shape(batch, shape);
            if data.shape().to_vec() != expected || data.dtype() != *dtype {
                return Err(OptimError::StateShape {
                    name,
                    expected: parameters::describe(&expected, *dtype),
                    found: parameters::describe(data.shape(), data.dtype()),
                });
            }
            state.put(kept, restore(data, batch, device));
        }
        Ok(state)
    }
}
