//! Which rank owns which parameter.

use std::cmp::Reverse;

/// The owner of each of some parameters, by their sizes: whole parameters, the largest first, each to the rank that has the least; of
/// equal ranks to the first.
pub(crate) fn owners(sizes: &[usize], world: usize) -> Vec<usize> {
    let mut by_size: Vec<usize> = (0..sizes.len()).collect();
    by_size.sort_by_key(|number| Reverse(sizes[*number]));
    let mut held = vec![0; world];
    let mut owners = vec![0; sizes.len()];
    for number in by_size {
        let least = (0..world).min_by_key(|rank| held[*rank]).unwrap_or(0);
        held[least] += sizes[number];
        owners[number] = least;
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_go_where_there_is_least() {
        assert_eq!(owners(&[1, 5, 3, 3, 1], 2), [0, 0, 1, 1, 0]);
        assert_eq!(owners(&[2, 2, 2], 1), [0, 0, 0]);
        assert_eq!(owners(&[7], 3), [0]);
    }
}
