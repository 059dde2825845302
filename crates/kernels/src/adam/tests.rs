use crate::check::{Gradients, Spread, Trial, assert_safe, both};
use crate::reference::adam as reference;
use crate::{AdamStep, Bound, Slices, adam};
use burn::tensor::{DType, Device, Distribution, Tensor};

fn numbers(x: &Tensor<3>) -> Vec<f64> {
    x.to_data().iter::<f64>().collect()
}

fn random(shape: [usize; 3], scale: f64) -> Tensor<3> {
    let normal = Distribution::Normal(0.0, scale);
    Tensor::random(shape, normal, (&Device::flex(), DType::F32))
}

fn bounds() -> Vec<Bound> {
    let slices = [Slices::Rows, Slices::Columns];
    let of = |slices| [Bound::Ball(slices, 0.7), Bound::Sphere(slices)];
    std::iter::once(Bound::Free)
        .chain(slices.into_iter().flat_map(of))
        .collect()
}

/// Three steps in single precision beside the reference in double precision.
fn compare(shape: [usize; 3], bound: Bound, view: fn(Tensor<3>) -> Tensor<3>) {
    let mut fast = [
        random(shape, 0.1),
        Tensor::zeros(shape, &Device::flex()),
        Tensor::zeros(shape, &Device::flex()),
    ]
    .map(view);
    let double = |x: &Tensor<3>| x.clone().cast(DType::F64);
    let mut slow = [double(&fast[0]), double(&fast[1]), double(&fast[2])];
    let largest = |x: &[f64]| x.iter().fold(0f64, |a, b| a.max(b.abs()));
    // The size of what is added up: a mean, or a weight after its steps, may be nearly 0 where there is only one.
    let mut terms = [largest(&numbers(&fast[0])), 0.0, 0.0];
    for t in 1..=3 {
        let step = AdamStep {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-3,
            t,
            grad_scale: 0.5,
            rate: 0.1,
            keep: 0.99,
            bound,
        };
        let grad = view(random(shape, 1.0));
        terms[0] = terms[0].max(step.rate);
        terms[1] = terms[1].max((1.0 - step.beta1) * step.grad_scale * largest(&numbers(&grad)));
        let [w, m, v] = slow;
        slow = reference(w, double(&grad), m, v, &step);
        let [w, m, v] = fast;
        // Whoever holds the old weight keeps it.
        let before = (w.clone(), numbers(&w));
        fast = adam(w, grad, m, v, &step);
        assert_eq!(numbers(&before.0), before.1);
    }
    let results = fast.iter().zip(&slow).zip(terms);
    for (name, ((fast, slow), terms)) in ["w", "m", "v"].iter().zip(results) {
        let (fast, slow) = (numbers(fast), numbers(slow));
        let scale = largest(&slow).max(terms);
        for (f, s) in fast.iter().zip(&slow) {
            let error = (f - s).abs() / scale;
            assert!(error < 3e-6, "{name} {shape:?} {bound:?}: {f} {s}");
        }
    }
}

#[test]
fn agrees_with_the_reference() {
    for shape in [
        [1, 1, 1],
        [1, 1, 70],
        [1, 70, 1],
        [3, 33, 17],
        [2, 300, 256],
        [1, 5, 20_000],
        [1, 3000, 40],
    ] {
        for bound in bounds() {
            compare(shape, bound, |x| x);
        }
    }
}

#[test]
fn takes_views() {
    for bound in bounds() {
        compare([3, 24, 24], bound, |x| x.swap_dims(1, 2));
        compare([3, 24, 20], bound, |x| x.narrow(0, 1, 2));
    }
}

#[test]
fn a_slice_of_zeros_stays() {
    let zeros = || Tensor::<3>::zeros([1, 4, 40], &Device::flex());
    for bound in bounds() {
        let step = AdamStep {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            t: 1,
            grad_scale: 1.0,
            rate: 0.1,
            keep: 1.0,
            bound,
        };
        for x in adam(zeros(), zeros(), zeros(), zeros(), &step) {
            assert!(numbers(&x).iter().all(|x| *x == 0.0), "{bound:?}");
        }
    }
}

#[test]
fn does_not_depend_on_the_threads() {
    let shape = [2, 600, 500];
    let (w, g) = (random(shape, 0.1), random(shape, 1.0));
    for bound in bounds() {
        let run = |threads: usize| {
            let step = AdamStep {
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-8,
                t: 1,
                grad_scale: 1.0,
                rate: 0.1,
                keep: 1.0,
                bound,
            };
            let zeros = || Tensor::zeros(shape, &Device::flex());
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let [w, ..] = pool.install(|| adam(w.clone(), g.clone(), zeros(), zeros(), &step));
            numbers(&w)
        };
        assert_eq!(run(1), run(5), "{bound:?}");
    }
}

#[test]
fn is_safe() {
    // The weight, and both means.
    for result in 0..3 {
        assert_safe(&format!("result {result} of adam"), |draw| {
            let shape = [draw.pick(&[1, 3]), draw.size(), draw.size()];
            let [w, grad, m, v] = [(); 4].map(|()| draw.input(shape));
            let step = AdamStep {
                beta1: 0.9,
                beta2: 0.95,
                eps: draw.pick(&[1e-3, 1.0]),
                t: draw.pick(&[1, 5, 1000]),
                grad_scale: draw.pick(&[1.0, 0.3]),
                rate: 0.1,
                keep: draw.pick(&[1.0, 0.99]),
                bound: draw.pick(&bounds()),
            };
            Trial {
                name: format!("of {w:?}, {grad:?}, {m:?} and {v:?}, {step:?}"),
                sizes: vec![w.size(), grad.size(), m.size(), v.size()],
                terms: 1,
                gradients: Gradients::None,
                spread: Spread::AsReference,
                ways: both([adam, reference], move |adam, x| {
                    // A mean of squares isn't negative.
                    let v = v.of(&x[3].clone().abs());
                    let [w, grad, m] = [(w, 0), (grad, 1), (m, 2)].map(|(x_of, i)| x_of.of(&x[i]));
                    let [w, m, v] = adam(w, grad, m, v, &step);
                    [w, m, v].into_iter().nth(result).unwrap()
                }),
            }
        });
    }
}
