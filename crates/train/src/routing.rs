//! What the routers of a mixture of experts did in a step.

/// Loads and losses of the routers, over all micro-batches of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Routing {
    /// What the routers add to the loss, in nats per token.
    pub(crate) penalty: f64,
    /// Experts of each kind that a token has on average, for each block.
    pub(crate) loads: Vec<Vec<f64>>,
}

impl Routing {
    /// Adds a micro-batch that has this part of the step's tokens.
    pub(crate) fn add(&mut self, loads: &[Vec<f64>], part: f64) {
        if self.loads.is_empty() {
            self.loads = loads.iter().map(|load| vec![0.0; load.len()]).collect();
        }
        for (sum, load) in self.loads.iter_mut().zip(loads) {
            for (sum, value) in sum.iter_mut().zip(load) {
                *sum += part * value;
            }
        }
    }

    /// Names and values: the routers' loss, and for each block its largest and smallest load as a multiple of an even
    /// one, and the experts that no token chose; nothing without routers.
    pub(crate) fn metrics(&self) -> Vec<(String, f64)> {
        if self.loads.is_empty() {
            return Vec::new();
        }
        let mut all = vec![("moe/penalty".to_owned(), self.penalty)];
        for (block, load) in self.loads.iter().enumerate() {
            let even = load.iter().sum::<f64>() / load.len().max(1) as f64;
            let ratio = |value: f64| if even > 0.0 { value / even } else { 0.0 };
            let largest = load.iter().copied().fold(0.0, f64::max);
            let smallest = load.iter().copied().fold(f64::INFINITY, f64::min);
            let idle = load.iter().filter(|l| **l == 0.0).count();
            all.push((format!("moe/load_max/blocks.{block}"), ratio(largest)));
            all.push((format!("moe/load_min/blocks.{block}"), ratio(smallest)));
            all.push((format!("moe/idle/blocks.{block}"), idle as f64));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_of_micro_batches_are_weighted_by_their_tokens() {
        let mut routing = Routing::default();
        routing.add(&[vec![2.0, 0.0, 0.0]], 0.25);
        routing.add(&[vec![0.0, 2.0, 0.0]], 0.75);
        assert_eq!(routing.loads, [vec![0.5, 1.5, 0.0]]);
        let metrics: std::collections::BTreeMap<_, _> = routing.metrics().into_iter().collect();
        assert!((metrics["moe/load_max/blocks.0"] - 2.25).abs() < 1e-12);
        assert!((metrics["moe/idle/blocks.0"] - 1.0).abs() < f64::EPSILON);
        assert!(Routing::default().metrics().is_empty());
    }
}
