//! Runs a case in both number formats and measures the errors.

use super::case::{Array, Case};
use super::error::{Worst, largest, worst};
use super::names::{Mapped, to_ours, to_source};
use super::report::{Outcome, Precision};
use super::scheme::Model;
use anyhow::{Result, anyhow, ensure};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use evenburn_model::{Decoder, ParamSpec, Plan, weights};
use std::collections::BTreeMap;

/// Part of the largest gradient below which a parameter's final value is Adam's rounding noise.
const CANCELLED: f64 = 1e-9;

/// Runs a case in f64 and in f32.
pub(super) fn compare(case: &Case, model: &Model) -> Result<Outcome> {
    let mapped = model.source.map(case)?;
    Ok(Outcome {
        name: case.name.clone(),
        unknown: None,
        f64: Some(run(case, model, &mapped, DType::F64)?),
        f32: Some(run(case, model, &mapped, DType::F32)?),
    })
}

fn run(case: &Case, model: &Model, mapped: &[Mapped], dtype: DType) -> Result<Precision> {
    let device = Device::flex().autodiff();
    let plan = model.scheme.plan(&model.config)?;
    let specs = plan.params();
    let decoder = load(case, (&plan, &model.state), &specs, mapped, dtype, &device)?;

    let (tokens, targets) = (case.tensor("input.tokens")?, case.tensor("input.targets")?);
    let count = targets.values.len() as f64;
    let logits = decoder.logits(decoder.hidden(ints(tokens, &device)));
    let logits = numbers(logits.into_data())?;
    let loss = mean_loss(&decoder, tokens, targets, &device);
    let value = numbers(loss.clone().into_data())?;
    let gradients = weights::gradients(&decoder, &loss.backward());
    let gradients = in_source_names(mapped, &gradients)?;
    let reference = reference(case, mapped, "grad.")?;

    let output = case.tensor("output.logits")?;
    ensure!(
        count > 0.0 && output.values.len() == logits.len(),
        "logits of another shape"
    );
    let trained = train(case, decoder, &specs, &device)?;
    let finals = match dtype {
        DType::F64 => {
            let gradient_scale = reference
                .iter()
                .fold(0.0, |m: f64, (_, g)| m.max(largest(g)));
            let kept: Vec<Mapped> = mapped
                .iter()
                .zip(&reference)
                .filter(|(_, (_, g))| largest(g) >= CANCELLED * gradient_scale)
                .map(|(m, _)| m.clone())
                .collect();
            let ours: BTreeMap<_, _> = weights::collect(&trained.decoder).into_iter().collect();
            let ours = in_source_names(&kept, &ours)?;
            Some(compare_named(
                &ours,
                &self::reference(case, &kept, "final.")?,
            ))
        }
        _ => None,
    };
    let single = |name: &str, a: &[f64], b: &[f64]| worst([(name, a, b)]);
    Ok(Precision {
        logits: single("output.logits", &logits, &output.values),
        loss: single("output.loss", &value, &case.tensor("output.loss")?.values),
        gradients: compare_named(&gradients, &reference),
        losses: single("train_losses", &trained.losses, &case.list("train_losses")?),
        grad_norms: single("grad_norms", &trained.grad_norms, &case.list("grad_norms")?),
        finals,
    })
}

type Named = Vec<(String, Vec<f64>)>;

fn compare_named(ours: &Named, reference: &Named) -> Worst {
    let pairs: Vec<_> = ours
        .iter()
        .zip(reference)
        .map(|((name, a), (_, b))| (name.as_str(), a.as_slice(), b.as_slice()))
        .collect();
    worst(pairs)
}

fn reference(case: &Case, mapped: &[Mapped], prefix: &str) -> Result<Named> {
    mapped
        .iter()
        .map(|m| {
            Ok((
                m.source.clone(),
                case.tensor(&format!("{prefix}{}", m.source))?
                    .values
                    .clone(),
            ))
        })
        .collect()
}

fn in_source_names(mapped: &[Mapped], ours: &BTreeMap<String, TensorData>) -> Result<Named> {
    mapped
        .iter()
        .map(|m| Ok((m.source.clone(), to_source(m, ours)?)))
        .collect()
}

/// The decoder with the case's weights and state, in the number format `dtype`.
fn load(
    case: &Case,
    (plan, state): (&Plan, &[(String, f64)]),
    specs: &[ParamSpec],
    mapped: &[Mapped],
    dtype: DType,
    device: &Device,
) -> Result<Decoder> {
    let mut values = BTreeMap::new();
    for m in mapped {
        for (path, array) in to_ours(m, case.tensor(&format!("param.{}", m.source))?)? {
            let data = TensorData::new(array.values, array.shape).convert_dtype(dtype);
            ensure!(
                values.insert(path.clone(), data).is_none(),
                "`{path}` has two sources"
            );
        }
    }
    for (path, value) in state {
        let data = TensorData::new(vec![*value], [1]).convert_dtype(dtype);
        values.insert(path.clone(), data);
    }
    // A scale that the source keeps out of its parameters would go unnoticed otherwise.
    ensure!(
        values.len() == specs.len(),
        "{} of {} parameters have a source",
        values.len(),
        specs.len()
    );
    Ok(weights::replace(Decoder::new(plan, 0, device), values)?)
}

struct Trained {
    decoder: Decoder,
    losses: Vec<f64>,
    grad_norms: Vec<f64>,
}

/// One optimizer step for each batch of `train.*`.
fn train(
    case: &Case,
    mut decoder: Decoder,
    specs: &[ParamSpec],
    device: &Device,
) -> Result<Trained> {
    let mut engine = super::optimizer::engine(case, specs)?;
    let (tokens, targets) = (case.tensor("train.tokens")?, case.tensor("train.targets")?);
    let (mut losses, mut grad_norms) = (Vec::new(), Vec::new());
    for step in 0..tokens.shape[0] {
        let loss = mean_loss(
            &decoder,
            &entry(tokens, step),
            &entry(targets, step),
            device,
        );
        losses.extend(numbers(loss.clone().into_data())?);
        let gradients = GradientsParams::from_grads(loss.backward(), &decoder);
        let (stepped, report) = engine.step(decoder, gradients, 1.0)?;
        decoder = stepped;
        grad_norms.push(report.grad_norm);
    }
    Ok(Trained {
        decoder,
        losses,
        grad_norms,
    })
}

/// One entry along the first dimension.
fn entry(array: &Array, index: usize) -> Array {
    let size: usize = array.shape[1..].iter().product();
    Array {
        shape: array.shape[1..].to_vec(),
        values: array.values[index * size..(index + 1) * size].to_vec(),
    }
}

fn mean_loss(decoder: &Decoder, tokens: &Array, targets: &Array, device: &Device) -> Tensor<1> {
    let count = targets.values.len() as f64;
    decoder
        .loss_sum(ints(tokens, device), ints(targets, device))
        // Burn divides gradients by a constant in f32 (docs/log.md).
        .mul_scalar(count.recip())
}

fn ints(array: &Array, device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = array.values.iter().map(|v| *v as i32).collect();
    Tensor::from_data(TensorData::new(values, array.shape.clone()), device)
}

fn numbers(data: TensorData) -> Result<Vec<f64>> {
    data.convert::<f64>()
        .try_to_vec()
        .map_err(|e| anyhow!("{e:?}"))
}
