//! Times every operation against its reference, forward and backward, on the CPU:
//! `cargo run --release -p evenburn-kernels --features flex --example speed -- [model width] [vocabulary] [rounds]`.
//!
//! Both alternate within a round; the table has the medians.

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use evenburn_kernels as fast;
use evenburn_kernels::Precision;
use evenburn_kernels::reference as plain;
use std::time::Instant;

evenburn_allocator::training_allocator!();

/// Leaves with gradients to the result of one operation.
type Op<'a> = Box<dyn Fn(&[Tensor<1>]) -> Tensor<1> + 'a>;

type Products = [fn(Tensor<2>, Tensor<2>, f64, Precision) -> Tensor<2>; 2];
type Losses = [fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, Precision) -> Tensor<1>; 2];
type Tables = [fn(Tensor<2>, Tensor<2, Int>) -> Tensor<3>; 2];
type Starts = Option<Tensor<2, Int>>;
type Attentions = [fn(Tensor<3>, Tensor<3>, Tensor<3>, Starts, usize, usize, f64) -> Tensor<3>; 2];
type Rotations = [fn(Tensor<3>, Tensor<2>, Tensor<2>, usize) -> Tensor<3>; 2];
type Gates = [fn(Tensor<1>, Tensor<1>, f64, f64) -> Tensor<1>; 2];
type Norms = [fn(Tensor<2>, Option<Tensor<1>>, fast::Size, f64, usize) -> Tensor<2>; 2];
type Steps = [fn(Tensor<2>, Tensor<2>, Tensor<1>, Tensor<1>) -> Tensor<2>; 2];

/// Milliseconds of a forward and of a backward pass.
fn time(op: &Op, leaves: &[usize], device: &Device) -> [f64; 2] {
    let leaves: Vec<Tensor<1>> = leaves
        .iter()
        .map(|&n| Tensor::random([n], Distribution::Normal(0.0, 0.3), device).require_grad())
        .collect();
    let start = Instant::now();
    let y = op(&leaves);
    let forward = start.elapsed();
    let dy = Tensor::random(y.dims(), Distribution::Normal(0.0, 1.0), device);
    let total = (y * dy).sum();
    let start = Instant::now();
    let grads = total.backward();
    let backward = start.elapsed();
    drop(grads);
    [forward, backward].map(|d| d.as_secs_f64() * 1e3)
}

fn median(mut x: Vec<f64>) -> f64 {
    x.sort_by(f64::total_cmp);
    x[x.len() / 2]
}

/// What is measured: `B` batch, `T` time, `N = B T`, `D` model, `F` hidden, `V` vocabulary, `H` heads of width `K`.
struct Setup {
    b: usize,
    t: usize,
    n: usize,
    d: usize,
    f: usize,
    v: usize,
    h: usize,
    k: usize,
    rounds: usize,
    device: Device,
}

impl Setup {
    fn compare(&self, name: &str, leaves: &[usize], [fast, plain]: [Op; 2]) {
        let mut times = [const { Vec::new() }; 2];
        // The first round only warms up.
        for round in 0..=self.rounds {
            for (times, op) in times.iter_mut().zip([&fast, &plain]) {
                let time = time(op, leaves, &self.device);
                if round > 0 {
                    times.push(time);
                }
            }
        }
        let of = |which: usize, pass: usize| median(times[which].iter().map(|t| t[pass]).collect());
        let (fast, plain) = ([of(0, 0), of(0, 1)], [of(1, 0), of(1, 1)]);
        let gain = (plain[0] + plain[1]) / (fast[0] + fast[1]);
        println!(
            "{name:28} {:8.2} {:8.2} {:8.2} {:8.2} {gain:6.1}x",
            fast[0], fast[1], plain[0], plain[1],
        );
    }

    fn products(&self) {
        let &Self { n, d, f, .. } = self;
        let ways: Products = [fast::linear, plain::linear];
        for (input, output) in [(d, d), (d, f), (f, d)] {
            let op = both(ways, move |linear, x| {
                let w = x[1].clone().reshape([input, output]);
                flat(linear(
                    x[0].clone().reshape([n, input]),
                    w,
                    1.0,
                    Precision::F32,
                ))
            });
            let name = format!("linear {input} x {output}");
            self.compare(&name, &[n * input, input * output], op);
        }
    }

    fn ends(&self) {
        let &Self { b, t, n, d, v, .. } = self;
        let range = Distribution::Uniform(0.0, v as f64 - 1.0);
        let tokens = &Tensor::<1, Int>::random([n], range, &self.device);
        let ways: Losses = [fast::linear_cross_entropy, plain::linear_cross_entropy];
        let op = both(ways, |loss, x| {
            let w = x[1].clone().reshape([d, v]);
            let h = x[0].clone().reshape([n, d]);
            loss(h, w, tokens.clone(), Precision::F32)
        });
        self.compare("linear_cross_entropy", &[n * d, d * v], op);
        let op = both(ways, |loss, x| {
            let w = x[1].clone().reshape([v, d]).transpose();
            let h = x[0].clone().reshape([n, d]);
            loss(h, w, tokens.clone(), Precision::F32)
        });
        self.compare("linear_cross_entropy, tied", &[n * d, d * v], op);
        let ways: Tables = [fast::embedding, plain::embedding];
        let op = both(ways, |embedding, x| {
            let w = x[0].clone().reshape([v, d]);
            flat(embedding(w, tokens.clone().reshape([b, t])))
        });
        self.compare("embedding", &[v * d], op);
    }

    fn attention(&self) {
        let &Self {
            b, t, n, d, h, k, ..
        } = self;
        let ways: Attentions = [fast::causal_attention, plain::causal_attention];
        // Whole sequences, and documents of a sequence's quarter.
        let quarter: Vec<i64> = (0..n).map(|i| (i % t / (t / 4) * (t / 4)) as i64).collect();
        let quarters = Tensor::from_data(TensorData::new(quarter, [b, t]), &self.device);
        for (groups, starts) in [(h, None), (h / 2, None), (h, Some(quarters))] {
            let name = match &starts {
                None => format!("causal_attention {h} on {groups}"),
                Some(_) => "the same in four documents".to_string(),
            };
            let op = both(ways, |attention, x| {
                let [q, k, v] = [(0, h), (1, groups), (2, groups)]
                    .map(|(i, heads)| x[i].clone().reshape([b, t, heads * k]));
                flat(attention(q, k, v, starts.clone(), h, groups, 0.125))
            });
            let sizes = [n * h * k, n * groups * k, n * groups * k];
            self.compare(&name, &sizes, op);
        }
        let ways: Rotations = [fast::rotary, plain::rotary];
        let range = Distribution::Uniform(-1.0, 1.0);
        let table = &Tensor::<2>::random([t, k / 2], range, &self.device);
        let op = both(ways, |rotary, x| {
            let x = x[0].clone().reshape([b, t, d]);
            flat(rotary(x, table.clone(), table.clone(), h))
        });
        self.compare("rotary", &[n * d], op);
    }

    fn rows(&self) {
        let &Self { n, d, f, k, .. } = self;
        let ways: Gates = [fast::swiglu, plain::swiglu];
        let op = both(ways, |swiglu, x| {
            swiglu(x[0].clone(), x[1].clone(), 1.0, 1.0)
        });
        self.compare("swiglu", &[n * f, n * f], op);
        let ways: Norms = [fast::normalize, plain::normalize];
        for group in [d, k] {
            let op = both(ways, move |normalize, x| {
                let (x, gain) = (x[0].clone().reshape([n, d]), Some(x[1].clone()));
                flat(normalize(x, gain, fast::Size::Rms, 1e-5, group))
            });
            self.compare(&format!("normalize by {group}"), &[n * d, group], op);
        }
        let ways: Steps = [fast::interpolate, plain::interpolate];
        let op = both(ways, |interpolate, x| {
            let [h, y] = [&x[0], &x[1]].map(|x| x.clone().reshape([n, d]));
            flat(interpolate(h, y, x[2].clone(), x[3].clone()))
        });
        self.compare("interpolate", &[n * d, n * d, d, d], op);
    }
}

fn flat<const D: usize>(y: Tensor<D>) -> Tensor<1> {
    y.flatten(0, D as i32 - 1)
}

/// The same composition around a function and around its reference.
fn both<'a, F: Copy + 'a, O: Fn(F, &[Tensor<1>]) -> Tensor<1> + Copy + 'a>(
    ways: [F; 2],
    op: O,
) -> [Op<'a>; 2] {
    ways.map(|way| Box::new(move |x: &[Tensor<1>]| op(way, x)) as Op)
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|x| x.parse::<usize>());
    let mut next = |default: usize| {
        let given = arguments.next().and_then(Result::ok);
        given.unwrap_or(default)
    };
    let (d, v, rounds) = (next(256), next(8192), next(15));
    let (b, t, k) = (8, 256, 64);
    let setup = Setup {
        b,
        t,
        n: b * t,
        d,
        f: (d * 8 / 3).next_multiple_of(16),
        v,
        h: d / k,
        k,
        rounds,
        device: Device::flex().autodiff(),
    };
    println!(
        "B={b} T={t} D={d} F={} V={v} H={} K={k}; milliseconds",
        setup.f, setup.h
    );
    println!(
        "{:28} {:>8} {:>8} {:>8} {:>8}",
        "", "forward", "back", "plain", "back"
    );
    setup.products();
    setup.ends();
    setup.attention();
    setup.rows();
}
