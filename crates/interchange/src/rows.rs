//! Names and layouts of a class's tensors: one table, for import and export.

use crate::error::InterchangeError;
use crate::layout::{joined, ordered, part_by_part, split, transposed};
use burn::tensor::TensorData;
use evenburn_model::Plan;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How a peer stores a tensor of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As we do: vectors, embedding tables, and the matrices of GPT-2, which are `[in, out]` too.
    Same,
    /// Transposed: `[out, in]`, as PyTorch's linear layers.
    OutIn,
    /// The same with the output head by head, each head's part of every one of ours: GPT-NeoX.
    HeadByHead,
    /// A gain as what is added to 1.
    LessOne,
}

/// A tensor of theirs and what it is to us: one tensor, or several side by side along the output.
///
/// `{}` stands for the block and `{e}` for the expert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) theirs: &'static str,
    pub(crate) ours: &'static [&'static str],
    pub(crate) layout: Layout,
}

/// A tensor as we have it.
pub(crate) const fn same(theirs: &'static str, ours: &'static [&'static str]) -> Row {
    Row {
        theirs,
        ours,
        layout: Layout::Same,
    }
}

/// A transposed matrix.
pub(crate) const fn out_in(theirs: &'static str, ours: &'static [&'static str]) -> Row {
    Row {
        theirs,
        ours,
        layout: Layout::OutIn,
    }
}

/// Transposed matrices or vectors, the heads of all of them in turn.
pub(crate) const fn head_by_head(theirs: &'static str, ours: &'static [&'static str]) -> Row {
    Row {
        theirs,
        ours,
        layout: Layout::HeadByHead,
    }
}

/// A gain stored less 1.
pub(crate) const fn less_one(theirs: &'static str, ours: &'static [&'static str]) -> Row {
    Row {
        theirs,
        ours,
        layout: Layout::LessOne,
    }
}

/// A row at one block and expert, with the shapes of ours.
struct Cell {
    theirs: String,
    ours: Vec<(String, Vec<usize>)>,
    layout: Layout,
}

impl Cell {
    /// The shape their tensor must have.
    fn shape(&self) -> Vec<usize> {
        let mut shape = self.ours[0].1.clone();
        if let Some(last) = shape.last_mut() {
            *last = self.widths().iter().sum();
        }
        if matches!(self.layout, Layout::OutIn | Layout::HeadByHead) {
            shape.reverse();
        }
        shape
    }

    /// Widths of ours along the output.
    fn widths(&self) -> Vec<usize> {
        let last = |shape: &[usize]| shape.last().copied().unwrap_or(1);
        self.ours.iter().map(|(_, shape)| last(shape)).collect()
    }
}

/// The rows of a table that a plan has parameters for.
fn cells(rows: &[Row], plan: &Plan) -> Vec<Cell> {
    let shapes: BTreeMap<String, Vec<usize>> = plan
        .params()
        .into_iter()
        .map(|spec| (spec.path, spec.shape))
        .collect();
    let dims = plan.dims();
    let mut cells = Vec::new();
    for row in rows {
        let blocks = if row.theirs.contains("{}") {
            dims.layers
        } else {
            1
        };
        let experts = if row.theirs.contains("{e}") {
            dims.experts.count
        } else {
            1
        };
        for block in 0..blocks {
            for expert in 0..experts {
                let name = |template: &str| {
                    template
                        .replace("{}", &block.to_string())
                        .replace("{e}", &expert.to_string())
                };
                let ours: Vec<_> = row
                    .ours
                    .iter()
                    .filter_map(|ours| shapes.get_key_value(&name(ours)))
                    .map(|(path, shape)| (path.clone(), shape.clone()))
                    .collect();
                if !ours.is_empty() {
                    cells.push(Cell {
                        theirs: name(row.theirs),
                        ours,
                        layout: row.layout,
                    });
                }
            }
        }
    }
    cells
}

/// The names of their tensors for a plan.
pub(crate) fn names(rows: &[Row], plan: &Plan) -> BTreeSet<String> {
    let cells = cells(rows, plan).into_iter();
    cells.map(|cell| cell.theirs).collect()
}

/// What the tensors of a folder are to a plan, by our paths; `others` are the types of those that hold no floating-point
/// numbers.
///
/// # Errors
/// [`InterchangeError::Tensors`] lists every tensor that is missing, unexpected, or of another shape or type.
pub(crate) fn read(
    rows: &[Row],
    plan: &Plan,
    mut theirs: BTreeMap<String, TensorData>,
    others: &BTreeMap<String, String>,
    folder: &Path,
    class: &'static str,
) -> Result<BTreeMap<String, TensorData>, InterchangeError> {
    let mut found = BTreeMap::new();
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    for cell in cells(rows, plan) {
        let Some(data) = theirs.remove(&cell.theirs) else {
            match others.get(&cell.theirs) {
                Some(kind) => misshapen.push(format!(
                    "{} has type {kind} and needs floating-point numbers",
                    cell.theirs
                )),
                None => missing.push(cell.theirs),
            }
            continue;
        };
        let (is, must) = (data.shape().to_vec(), cell.shape());
        if is != must {
            misshapen.push(format!("{} has {is:?} and needs {must:?}", cell.theirs));
            continue;
        }
        let data = match cell.layout {
            Layout::Same | Layout::LessOne => data,
            Layout::OutIn => transposed(data),
            Layout::HeadByHead => {
                let data = transposed(data);
                let channels = cell.widths().iter().sum();
                let order = part_by_part(channels, cell.ours.len(), plan.dims().head);
                ordered(&data, &order)
            }
        };
        let parts = split(&data, &cell.widths());
        found.extend(cell.ours.into_iter().map(|(path, _)| path).zip(parts));
    }
    let extra: Vec<String> = theirs.into_keys().collect();
    if missing.is_empty() && misshapen.is_empty() && extra.is_empty() {
        return Ok(found);
    }
    Err(InterchangeError::Tensors {
        folder: folder.to_owned(),
        class,
        missing,
        extra,
        misshapen,
    })
}

/// Our tensors under their names; `ours` holds every parameter of the plan, gains as they multiply.
pub(crate) fn write(
    rows: &[Row],
    plan: &Plan,
    mut ours: BTreeMap<String, TensorData>,
) -> BTreeMap<String, TensorData> {
    cells(rows, plan)
        .into_iter()
        .filter_map(|cell| {
            let parts: Vec<TensorData> = cell
                .ours
                .iter()
                .filter_map(|(path, _)| ours.remove(path))
                .collect();
            let data = joined(&parts)?;
            let data = match cell.layout {
                Layout::Same => data,
                Layout::OutIn => transposed(data),
                Layout::HeadByHead => {
                    let channels = cell.widths().iter().sum();
                    let order = part_by_part(channels, plan.dims().heads, plan.dims().head);
                    transposed(ordered(&data, &order))
                }
                Layout::LessOne => less(data, 1.0),
            };
            Some((cell.theirs, data))
        })
        .collect()
}

/// Every entry less a constant.
fn less(data: TensorData, by: f64) -> TensorData {
    let (dtype, shape) = (data.dtype(), data.shape().to_vec());
    let values: Vec<f64> = data
        .convert::<f64>()
        .iter::<f64>()
        .map(|v| v - by)
        .collect();
    TensorData::new(values, shape).convert_dtype(dtype)
}
