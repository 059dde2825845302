//! Which sequences are computed together.

/// Sequences that are computed in one pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BatchOf<'s> {
    /// Numbers of sequences, and the tokens of each.
    pub(super) sequences: Vec<(usize, &'s [i64])>,
}

/// Sequences that begin alike, and how much of a pass they take.
struct Cluster<'s> {
    sequences: Vec<(usize, &'s [i64])>,
    /// Positions, shared ones once.
    tokens: usize,
    longest: usize,
}

/// Rows of attention that a pass may take, in tokens, for each token that it computes: attention sees every sequence whole, padded
/// to the longest.
const ROWS: usize = 4;

/// Batches of at most about `tokens` positions, or one sequence more than that long: sequences that begin alike stay together, and
/// the longest come first, so that a pass has sequences of like lengths, and one that takes too much memory is met at once.
pub(super) fn batches<'s>(sequences: &'s [Vec<i64>], tokens: usize) -> Vec<BatchOf<'s>> {
    let mut sorted: Vec<(usize, &[i64])> =
        sequences.iter().map(Vec::as_slice).enumerate().collect();
    sorted.sort_by_key(|(_, sequence)| *sequence);
    let mut clusters = clusters(&sorted, tokens);
    clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.longest));
    let mut batches: Vec<BatchOf<'s>> = Vec::new();
    let (mut filled, mut rows, mut longest) = (0, 0, 0);
    for cluster in clusters {
        let count = cluster.sequences.len();
        let fits = filled + cluster.tokens <= tokens && (rows + count) * longest <= ROWS * tokens;
        if let Some(batch) = batches.last_mut().filter(|_| fits) {
            batch.sequences.extend(cluster.sequences);
        } else {
            (filled, rows, longest) = (0, 0, cluster.longest);
            batches.push(BatchOf {
                sequences: cluster.sequences,
            });
        }
        filled += cluster.tokens;
        rows += count;
    }
    batches
}

/// Runs of sorted sequences each of which shares half of its tokens or more with the one before it, cut where they are more than a
/// pass takes.
fn clusters<'s>(sorted: &[(usize, &'s [i64])], tokens: usize) -> Vec<Cluster<'s>> {
    let mut clusters: Vec<Cluster<'s>> = Vec::new();
    let mut before: &[i64] = &[];
    for (number, sequence) in sorted {
        let common = before
            .iter()
            .zip(*sequence)
            .take_while(|(a, b)| a == b)
            .count();
        let own = sequence.len() - common;
        let last = clusters.last_mut().filter(|cluster| {
            let longest = cluster.longest.max(sequence.len());
            let rows = (cluster.sequences.len() + 1) * longest;
            2 * common >= sequence.len().min(before.len())
                && cluster.tokens + own <= tokens
                && rows <= ROWS * tokens
        });
        match last {
            Some(cluster) => {
                cluster.sequences.push((*number, sequence));
                cluster.tokens += own;
                cluster.longest = cluster.longest.max(sequence.len());
            }
            None => clusters.push(Cluster {
                sequences: vec![(*number, sequence)],
                tokens: sequence.len(),
                longest: sequence.len(),
            }),
        }
        before = sequence;
    }
    clusters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(batches: &[BatchOf<'_>]) -> Vec<Vec<usize>> {
        let numbers = |batch: &BatchOf<'_>| batch.sequences.iter().map(|(n, _)| *n).collect();
        batches.iter().map(numbers).collect()
    }

    #[test]
    fn what_begins_alike_stays_together_and_the_longest_come_first() {
        let sequences = [
            vec![1, 2, 3],
            vec![7, 7],
            vec![1, 2, 4, 5],
            vec![9],
            vec![7, 7, 8],
        ];
        let found = batches(&sequences, 5);
        assert_eq!(numbers(&found), [vec![0, 2], vec![1, 4, 3]]);
        let alone = batches(&sequences, 1);
        assert_eq!(alone.len(), 5);
        assert_eq!(numbers(&batches(&sequences, 1000)).concat().len(), 5);
        assert!(batches(&[], 7).is_empty());
    }
}
