//! Signals that end a training run or an evaluation.

use crate::output::tell;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that is set when somebody asks the process to stop: with Ctrl-C, with SIGTERM, by closing the terminal (SIGHUP), or with
/// SIGUSR1, which launchers of ranks pass on (`mpirun` ends all ranks a second after a SIGTERM of its own).
///
/// What then happens is said: `stopping: {saying}`. A second Ctrl-C or SIGTERM ends the process at once. SIGHUP never does, nor does it count as the first: when a terminal
/// closes, the shell and the kernel send one each, and the end of a session may add a SIGTERM. Neither does SIGUSR1, which comes once from
/// each launcher on the way.
pub(crate) fn stop_flag(saying: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    listen(Arc::clone(&stop), saying).context("listening to signals failed")?;
    Ok(stop)
}

fn ask(stop: &AtomicBool, saying: &str) {
    if !stop.swap(true, Ordering::Relaxed) {
        tell!("stopping: {saying} (again to quit at once)");
    }
}

#[cfg(unix)]
fn listen(stop: Arc<AtomicBool>, saying: &'static str) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    let wait = move || {
        let mut asked = false;
        for signal in signals.forever() {
            ask(&stop, saying);
            if signal == SIGHUP || signal == SIGUSR1 {
                continue;
            }
            if asked {
                // What a shell says of a program that a signal ended.
                std::process::exit(128 + signal);
            }
            asked = true;
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    Ok(())
}

/// Whether the process was started with a signal turned off: `nohup` does it, and its programs outlive their terminal.
/// Only Linux says so to safe code.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(not(unix))]
fn listen(stop: Arc<AtomicBool>, saying: &'static str) -> Result<(), ctrlc::Error> {
    let mut asked = false;
    ctrlc::set_handler(move || {
        ask(&stop, saying);
        if asked {
            std::process::exit(130);
        }
        asked = true;
    })
}
