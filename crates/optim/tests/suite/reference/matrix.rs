//! Matrices as rows.

pub(crate) type Rows = Vec<Vec<f64>>;

pub(crate) fn rows(values: &[f64], columns: usize) -> Rows {
    values.chunks(columns).map(<[f64]>::to_vec).collect()
}

pub(crate) fn product(a: &Rows, b: &Rows) -> Rows {
    let entry = |row: &Vec<f64>, j: usize| row.iter().zip(b).map(|(x, r)| x * r[j]).sum();
    let row = |row| (0..b[0].len()).map(|j| entry(row, j)).collect();
    a.iter().map(row).collect()
}

pub(crate) fn transposed(a: &Rows) -> Rows {
    (0..a[0].len())
        .map(|j| a.iter().map(|row| row[j]).collect())
        .collect()
}

pub(crate) fn frobenius(a: &Rows) -> f64 {
    a.iter().flatten().map(|x| x * x).sum::<f64>().sqrt()
}

pub(crate) fn zeros(like: &Rows) -> Rows {
    like.iter().map(|row| vec![0.0; row.len()]).collect()
}

/// `f` of the entries of two matrices at each place.
pub(crate) fn zip(a: &Rows, b: &Rows, f: impl Fn(f64, f64) -> f64) -> Rows {
    let row = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect();
    a.iter().zip(b).map(row).collect()
}

pub(crate) fn map(a: &Rows, f: impl Fn(f64) -> f64) -> Rows {
    a.iter()
        .map(|row| row.iter().map(|x| f(*x)).collect())
        .collect()
}

/// `a`, `b`, `c` of each quintic in turn.
pub(crate) type Quintics = Vec<(f64, f64, f64)>;

/// Keller Jordan's, five times.
pub(crate) fn muon_quintics() -> Quintics {
    vec![(3.4445, -4.7750, 2.0315); 5]
}

/// The first five of the Polar Express, each but the last of the paper's eight divided by 1.01, 1.01^3 and 1.01^5.
#[allow(clippy::unreadable_literal)] // as they are printed
pub(crate) fn polar_quintics() -> Quintics {
    let table = [
        (8.28721201814563, -23.595886519098837, 17.300387312530933),
        (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
        (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
        (3.3184196573706015, -2.488488024314874, 0.51004894012372),
        (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    ];
    let safe = |(a, b, c): (f64, f64, f64)| (a / 1.01, b / 1.01f64.powi(3), c / 1.01f64.powi(5));
    table.map(safe).to_vec()
}

/// Quintics of an `[out, in]` matrix divided by `norm`, with the smaller Gram matrix as the codes do.
pub(crate) fn orthogonal(g: &Rows, norm: impl Fn(f64) -> f64, quintics: &Quintics) -> Rows {
    let tall = g.len() > g[0].len();
    let x = if tall { transposed(g) } else { g.clone() };
    let norm = norm(frobenius(&x));
    let mut x = map(&x, |x| x / norm);
    for (a, b, c) in quintics {
        let gram = product(&x, &transposed(&x));
        let gram2 = product(&gram, &gram);
        let poly = zip(&gram, &gram2, |g, g2| b * g + c * g2);
        let odd = product(&poly, &x);
        x = zip(&x, &odd, |x, o| a * x + o);
    }
    if tall { transposed(&x) } else { x }
}
