//! Numbers of ranks with which a run's sums stay what they are.

use crate::error::TrainError;

/// Whether so many ranks can share out the micro-batches of a step: each takes a block of equal length that is a power of two, a
/// subtree of the sum. One rank can always.
///
/// # Errors
/// [`TrainError::Invalid`] with the numbers that can.
///
/// ```
/// use evenburn_train::data_parallel::check_world;
/// assert!(check_world(8, 4).is_ok());
/// // 6 micro-batches: blocks of 2 or of 1.
/// assert!(check_world(6, 3).is_ok() && check_world(6, 6).is_ok());
/// let error = check_world(6, 2).unwrap_err().to_string();
/// assert!(error.contains("1, 3 or 6"), "{error}");
/// ```
pub fn check(accumulate: usize, world: usize) -> Result<(), TrainError> {
    if possible(accumulate, world) {
        return Ok(());
    }
    let all: Vec<usize> = (1..=accumulate)
        .filter(|world| possible(accumulate, *world))
        .collect();
    let why = format!(
        "{accumulate} micro-batches of a step can be shared out over {} ranks, not over {world}: each rank takes as many, a power of \
         two; to train the same batches on {world} ranks, set train.accumulate to {world} times a power of two and \
         train.batch_size to match",
        listed(&all)
    );
    Err(TrainError::invalid("train.accumulate", why))
}

fn possible(accumulate: usize, world: usize) -> bool {
    world == 1
        || (world > 0 && accumulate.is_multiple_of(world) && (accumulate / world).is_power_of_two())
}

/// `1, 2 or 4`.
fn listed(numbers: &[usize]) -> String {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "no".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_powers_of_two() {
        let worlds = |accumulate| {
            let all = 1..=accumulate + 1;
            all.filter(|world| check(accumulate, *world).is_ok())
                .collect::<Vec<_>>()
        };
        assert_eq!(worlds(1), [1]);
        assert_eq!(worlds(8), [1, 2, 4, 8]);
        assert_eq!(worlds(12), [1, 3, 6, 12]);
        assert_eq!(worlds(7), [1, 7]);
    }
}
