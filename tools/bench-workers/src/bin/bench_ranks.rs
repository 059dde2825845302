//! What it costs to add up numbers over ranks: MPI's own all-reduce, whose order of additions is its own choice, beside the exchange
//! whose order is fixed.
//!
//! `cargo xtask bench ranks` starts it under `mpirun`; rank 0 prints one object.

use anyhow::Result;
use clap::Parser;

evenburn_allocator::training_allocator!();

/// Times sums over the ranks that a launcher has started.
#[derive(Debug, Parser)]
struct Arguments {
    /// Numbers of each rank
    #[arg(long, default_value_t = 10_000_000)]
    numbers: usize,
    /// Sums of each kind, in turns
    #[arg(long, default_value_t = 15)]
    turns: usize,
}

fn main() -> Result<()> {
    measure(&Arguments::parse())
}

#[cfg(not(feature = "mpi"))]
fn measure(_: &Arguments) -> Result<()> {
    anyhow::bail!("this was built without the feature `mpi`")
}

#[cfg(feature = "mpi")]
fn measure(arguments: &Arguments) -> Result<()> {
    use std::ops::Range;
    use std::time::Instant;

    use evenburn::ranks::{Communicator, Mpi, reduce_scatter, share};
    use mpi::collective::SystemOperation;
    use mpi::topology::SimpleCommunicator;
    use mpi::traits::CommunicatorCollectives as _;

    let ranks = Mpi::join()?;
    let (rank, world, numbers) = (ranks.rank(), ranks.world(), arguments.numbers);
    let parts: Vec<Range<usize>> = (0..world)
        .map(|rank| rank * numbers / world..(rank + 1) * numbers / world)
        .collect();
    // Halves of whole numbers, whose sums are exact in any order.
    let filled = || -> Vec<f32> {
        (0..numbers)
            .map(|i| ((i * 7919 + rank * 104_729) % 10_007) as f32 / 2.0)
            .collect()
    };
    let (x, mut sum) = (filled(), vec![0.0; numbers]);
    let mut times: [Vec<f64>; 3] = Default::default();
    let mut agreed = true;
    for turn in 0..=arguments.turns {
        let mut timed = |kind: usize, call: &mut dyn FnMut() -> Result<()>| -> Result<()> {
            // All begin at once.
            ranks.all_gather(&[])?;
            let start = Instant::now();
            call()?;
            if turn > 0 {
                times[kind].push(start.elapsed().as_secs_f64() * 1e3);
            }
            Ok(())
        };
        timed(0, &mut || {
            let world = SimpleCommunicator::world();
            world.all_reduce_into(&x[..], &mut sum[..], SystemOperation::sum());
            Ok(())
        })?;
        let mut ours = x.clone();
        timed(1, &mut || {
            reduce_scatter(&ranks, &mut ours, &parts)?;
            Ok(share(&ranks, &mut ours, &parts)?)
        })?;
        agreed &= ours == sum;
        let mut part = x.clone();
        timed(2, &mut || Ok(reduce_scatter(&ranks, &mut part, &parts)?))?;
        agreed &= part[parts[rank].clone()] == sum[parts[rank].clone()];
    }
    anyhow::ensure!(agreed, "the sums differ");
    if rank == 0 {
        let [theirs, ours, part] = times;
        println!(
            "{}",
            serde_json::json!({ "all_reduce": theirs, "tree": ours, "reduce_scatter": part })
        );
    }
    Ok(())
}
