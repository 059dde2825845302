//! How long the first build makes one wait.

use std::path::Path;

use anyhow::Result;
use evenburn_workspace::{Backend, cargo, host, is_there, run};

use crate::cost::recorded;

/// Says what comes before the first step, and about how long that takes, where nothing has been built yet; and downloads the
/// crates, so that build and corpus don't wait for each other.
///
/// # Errors
/// A crate can't be had.
pub(crate) fn announce(root: &Path, backend: Backend, debug: bool, corpus: bool) -> Result<()> {
    if is_there(root, debug) {
        return Ok(());
    }
    let mut parts = vec![match waiting(root, backend, debug) {
        Some((fast, slow)) => format!(
            "the program is built, which takes {fast} to {slow} minutes from nothing on {} cores",
            cores()
        ),
        None => "the program is built, which takes some minutes from nothing".into(),
    }];
    if corpus {
        parts.push("the default corpus is written meanwhile".into());
    }
    parts.push("then training starts".into());
    eprintln!(
        "{}; a build that is interrupted goes on where it was",
        parts.join(", ")
    );
    run(cargo()
        .current_dir(root)
        .args(["fetch", "--locked", "--target", &host()?]))
}

/// Minutes of a build from nothing for the CPU: processor time on the machine that recorded it, the faster of two that it was
/// tried on, over the cores of this one; and as many times that as the slower one took. Builds for GPUs were never timed.
fn waiting(root: &Path, backend: Backend, debug: bool) -> Option<(u64, u64)> {
    if debug || backend != Backend::Flex {
        return None;
    }
    let seconds = recorded(root).ok()?.processor_seconds?;
    Some(span(seconds, cores()))
}

/// What the slower machine took of the faster one's time (docs/log.md, *What building costs*).
const SLOWER: f64 = 2.5;

/// A build was never timed on more; some crates wait for all others.
const USEFUL_CORES: u64 = 6;

fn span(seconds: u64, cores: u64) -> (u64, u64) {
    let minutes = seconds as f64 / cores.clamp(1, USEFUL_CORES) as f64 / 60.0;
    (minutes.ceil() as u64, (minutes * SLOWER).ceil() as u64)
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

#[cfg(test)]
mod tests {
    use evenburn_workspace::root;

    use super::*;

    #[test]
    fn the_wait_is_estimated_for_the_cpu_alone() {
        assert_eq!(span(600, 2), (5, 13));
        assert_eq!(span(600, 6), (2, 5));
        assert_eq!(span(600, 64), span(600, 6));
        let root = root().unwrap();
        assert!(waiting(&root, Backend::Flex, false).is_some());
        assert_eq!(waiting(&root, Backend::Cuda, false), None);
        assert_eq!(waiting(&root, Backend::Flex, true), None);
    }
}
