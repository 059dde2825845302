//! The points of a curve, as many as can be told apart.

use std::collections::VecDeque;

/// Points of a whole curve at most: some for each column of a wide terminal. Beyond that, neighbours are joined.
const ALL: usize = 2048;
/// Newest points that are kept as they are.
const RECENT: usize = 200;

/// Step and value of each point.
#[derive(Debug, Clone, Default)]
pub(super) struct Points {
    all: Vec<(f64, f64)>,
    /// So many values make one point of `all`; 0 before the first.
    joined: usize,
    /// Those that will make the next one.
    waiting: Vec<(f64, f64)>,
    recent: VecDeque<(f64, f64)>,
}

impl Points {
    /// Adds a value; one that is no number can't be drawn.
    pub(super) fn push(&mut self, step: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let point = (step as f64, value);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(point);
        self.joined = self.joined.max(1);
        self.waiting.push(point);
        if self.waiting.len() == self.joined {
            self.all.extend(mean(&self.waiting));
            self.waiting.clear();
        }
        if self.all.len() == ALL {
            self.all = self.all.chunks(2).filter_map(mean).collect();
            self.joined *= 2;
        }
    }

    /// All of it, or its newest part.
    pub(super) fn get(&self, recent: bool) -> Vec<(f64, f64)> {
        if recent {
            self.recent.iter().copied().collect()
        } else {
            self.all.iter().chain(&self.waiting).copied().collect()
        }
    }
}

fn mean(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = points.len() as f64;
    let sum = points.iter().copied().reduce(|a, b| (a.0 + b.0, a.1 + b.1));
    sum.map(|(step, value)| (step / count, value / count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_shape_in_few_points() {
        let mut points = Points::default();
        for step in 1..=100_000 {
            points.push(step, step as f64);
        }
        points.push(100_001, f64::NAN);
        let all = points.get(false);
        assert!(all.len() < ALL + 64, "{}", all.len());
        assert!(all.is_sorted_by(|a, b| a.0 < b.0));
        assert!(all.iter().all(|(step, value)| (step - value).abs() < 1e-9));
        assert!(all[0].0 < 65.0 && all[all.len() - 1].0 > 99_900.0);
        let recent = points.get(true);
        assert_eq!(
            (recent.len(), recent[RECENT - 1]),
            (RECENT, (100_000.0, 100_000.0))
        );
    }
}
