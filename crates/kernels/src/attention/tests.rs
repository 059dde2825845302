use crate::check::assert_agree;
use crate::{causal_attention, reference};
use burn::tensor::Tensor;

#[test]
fn agrees_with_the_reference() {
    let cases = [
        // B, T, H, G, K
        (1, 1, 1, 1, 1),
        (2, 1, 2, 1, 16),
        (1, 5, 3, 3, 20),
        (2, 70, 4, 2, 32),
        (1, 129, 6, 2, 20),
        (1, 300, 2, 1, 64),
        (1, 530, 2, 2, 16),
        (1, 140, 1, 1, 128),
    ];
    for (b, t, h, g, k) in cases {
        let scale = 1.0 / (k as f64).sqrt();
        let split = move |x: &[Tensor<1>]| {
            (
                x[0].clone().reshape([b, t, h * k]),
                x[1].clone().reshape([b, t, g * k]),
                x[2].clone().reshape([b, t, g * k]),
            )
        };
        assert_agree::<3>(
            &format!("attention {b} x {t}, {h} heads on {g}, width {k}"),
            &[b * t * h * k, b * t * g * k, b * t * g * k],
            5e-6,
            &move |x| {
                let (q, k, v) = split(x);
                causal_attention(q, k, v, h, g, scale)
            },
            &move |x| {
                let (q, k, v) = split(x);
                reference::causal_attention(q, k, v, h, g, scale)
            },
        );
    }
}

#[test]
fn takes_strided_inputs_and_any_scale() {
    let (b, t, h, k) = (2, 33, 2, 24);
    let split = move |x: &[Tensor<1>]| {
        let packed: Tensor<3> = x[0].clone().reshape([b, t, 3 * h * k]);
        let part = |i: usize| packed.clone().narrow(2, i * h * k, h * k);
        (part(0), part(1), part(2))
    };
    assert_agree::<3>(
        "attention on parts of one tensor",
        &[b * t * 3 * h * k],
        5e-6,
        &move |x| {
            let (q, k, v) = split(x);
            causal_attention(q, k, v, h, h, -0.3)
        },
        &move |x| {
            let (q, k, v) = split(x);
            reference::causal_attention(q, k, v, h, h, -0.3)
        },
    );
}

#[test]
#[should_panic(expected = "no multiple")]
fn heads_that_cannot_be_shared_are_refused() {
    let x = Tensor::<3>::zeros([1, 2, 6], &burn::tensor::Device::flex());
    let _ = causal_attention(x.clone(), x.clone(), x, 3, 2, 1.0);
}
