//! Moving the numbers of a tensor without looking at them.

use burn::tensor::TensorData;

/// Bytes of one number.
fn width(data: &TensorData) -> usize {
    data.dtype().size()
}

fn rebuilt(data: &TensorData, bytes: Vec<u8>, shape: Vec<usize>) -> TensorData {
    TensorData::from_bytes_vec(bytes, shape, data.dtype())
}

/// A matrix with rows and columns exchanged; anything else as it is.
pub(crate) fn transposed(data: TensorData) -> TensorData {
    let shape = data.shape().to_vec();
    let &[rows, columns] = shape.as_slice() else {
        return data;
    };
    let (size, from) = (width(&data), data.as_bytes());
    let mut to = Vec::with_capacity(from.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            to.extend_from_slice(&from[at..at + size]);
        }
    }
    rebuilt(&data, to, vec![columns, rows])
}

/// The same tensor with its entries along the last axis in another order: entry `i` is what was at `order[i]`.
pub(crate) fn ordered(data: &TensorData, order: &[usize]) -> TensorData {
    let (size, from) = (width(data), data.as_bytes());
    let mut to = Vec::with_capacity(from.len());
    for row in from.chunks(order.len() * size) {
        for at in order {
            to.extend_from_slice(&row[at * size..(at + 1) * size]);
        }
    }
    rebuilt(data, to, data.shape().to_vec())
}

/// Tensors side by side along the last axis; all have the same other axes.
pub(crate) fn joined(parts: &[TensorData]) -> Option<TensorData> {
    let first = parts.first()?;
    let size = width(first);
    let widths: Vec<usize> = parts.iter().map(last).collect();
    let rows = first.num_elements() / last(first).max(1);
    let mut to = Vec::new();
    for row in 0..rows {
        for (part, width) in parts.iter().zip(&widths) {
            let at = row * width * size;
            to.extend_from_slice(&part.as_bytes()[at..at + width * size]);
        }
    }
    let mut shape = first.shape().to_vec();
    if let Some(end) = shape.last_mut() {
        *end = widths.iter().sum();
    }
    Some(rebuilt(first, to, shape))
}

/// The reverse of [`joined`].
pub(crate) fn split(data: &TensorData, widths: &[usize]) -> Vec<TensorData> {
    let (size, whole) = (width(data), last(data));
    let mut start = 0;
    widths
        .iter()
        .map(|width| {
            let mut to = Vec::new();
            for row in data.as_bytes().chunks(whole * size) {
                to.extend_from_slice(&row[start * size..(start + width) * size]);
            }
            start += width;
            let mut shape = data.shape().to_vec();
            if let Some(end) = shape.last_mut() {
                *end = *width;
            }
            rebuilt(data, to, shape)
        })
        .collect()
}

fn last(data: &TensorData) -> usize {
    data.shape().last().copied().unwrap_or(1)
}

/// Where each channel of heads of width `head` comes from when the pairs `(2 i, 2 i + 1)` of its first `turned` channels
/// become `(i, i + turned/2)`.
pub(crate) fn halves(channels: usize, head: usize, turned: usize) -> Vec<usize> {
    (0..channels)
        .map(|to| {
            let (start, within) = (to / head * head, to % head);
            if within < turned {
                start + 2 * (within % (turned / 2)) + within / (turned / 2)
            } else {
                to
            }
        })
        .collect()
}

/// Where each of `channels` comes from when what lies in groups of `parts` heads of width `head`, one head of each part, is
/// laid out part by part.
pub(crate) fn part_by_part(channels: usize, parts: usize, head: usize) -> Vec<usize> {
    let groups = channels / head / parts;
    (0..channels)
        .map(|to| {
            let (part, group, within) = (to / head / groups, to / head % groups, to % head);
            (group * parts + part) * head + within
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, columns: usize) -> TensorData {
        let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        TensorData::new(values, [rows, columns])
    }

    fn values(data: &TensorData) -> Vec<f32> {
        data.try_to_vec().unwrap()
    }

    #[test]
    fn transposing_exchanges_the_axes() {
        let turned = transposed(matrix(2, 3));
        assert_eq!(turned.shape().to_vec(), [3, 2]);
        assert_eq!(values(&turned), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(values(&transposed(turned)), values(&matrix(2, 3)));
    }

    #[test]
    fn what_is_split_joins_again() {
        let whole = matrix(3, 7);
        let parts = split(&whole, &[2, 4, 1]);
        assert_eq!(values(&parts[1])[..4], [2.0, 3.0, 4.0, 5.0]);
        let again = joined(&parts).unwrap();
        assert_eq!(
            (again.shape(), values(&again)),
            (whole.shape(), values(&whole))
        );
    }

    #[test]
    fn heads_are_laid_out_part_by_part_and_back() {
        // Two heads of width 2, each with its q, k and v: q0 k0 v0 q1 k1 v1.
        let order = part_by_part(12, 3, 2);
        assert_eq!(order, [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
        let row = matrix(1, 12);
        let back = ordered(&ordered(&row, &order), &part_by_part(12, 2, 2));
        assert_eq!(values(&back), values(&row));
    }

    #[test]
    fn neighbours_become_halves_in_each_head() {
        // Two heads of width 4: pairs (0, 1), (2, 3) become (0, 2), (1, 3).
        assert_eq!(halves(8, 4, 4), [0, 2, 1, 3, 4, 6, 5, 7]);
        // The last two of six stay.
        assert_eq!(halves(6, 6, 4), [0, 2, 1, 3, 4, 5]);
        let row = TensorData::new(vec![0.0_f32, 1.0, 2.0, 3.0], [1, 4]);
        assert_eq!(
            values(&ordered(&row, &halves(4, 4, 4))),
            [0.0, 2.0, 1.0, 3.0]
        );
    }
}
