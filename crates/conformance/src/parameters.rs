//! Parameters: planned, built, addressed, recorded.

use crate::{Subject, numbers, tokens};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Device;
use evenburn_model::{Decoder, HeadWeights, ModelConfig, ParamRef, weights};
use std::collections::BTreeMap;

/// Each parameter is planned once, is built as planned, and has an address; with an output layer of its own and with the
/// table of embeddings in its place.
pub fn each_parameter_is_planned_once(subject: &Subject) {
    for head in [HeadWeights::Untied, HeadWeights::Tied] {
        let config = ModelConfig {
            head,
            ..subject.config.clone()
        };
        let plan = subject.scheme.plan(&config).unwrap();
        let model = Decoder::new(&plan, 0, &Device::flex());
        let planned: Vec<_> = plan
            .params()
            .into_iter()
            .map(|s| (s.path, s.shape))
            .collect();
        let built: Vec<_> = weights::collect(&model)
            .into_iter()
            .map(|(path, data)| (path, data.shape().to_vec()))
            .collect();
        assert_eq!(planned, built, "{}", subject.name);
        assert_eq!(plan.cost().params, model.num_params());
        for (path, _) in built {
            ParamRef::from_path(&path).unwrap();
        }
    }
}

/// Weights by path and a record of Burn bring back every bit.
pub fn a_record_brings_back_every_bit(subject: &Subject) {
    let device = Device::flex();
    let bits = |model: &Decoder| -> Vec<u64> {
        let logits = numbers(model.logits(model.hidden(tokens(1, &device))));
        logits.into_iter().map(f64::to_bits).collect()
    };
    let plan = subject.plan();
    let double = subject.model(&device);
    for written in [Decoder::new(&plan, 7, &device), double] {
        let expected = bits(&written);
        let other = || Decoder::new(&plan, 8, &device);
        assert_ne!(bits(&other()), expected);
        let named: BTreeMap<_, _> = weights::collect(&written).into_iter().collect();
        let read = weights::replace(other(), named).unwrap();
        assert_eq!(bits(&read), expected, "{} by path", subject.name);

        let bytes = written.into_record().into_bytes().unwrap();
        let read = other().load_record(ModuleRecord::from_bytes(bytes).unwrap());
        assert_eq!(bits(&read), expected, "{} as a record", subject.name);
    }
}
