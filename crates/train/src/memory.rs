//! How much memory the process took.

/// Largest resident set of this process so far, in bytes; `None` where the system doesn't tell.
#[cfg(target_os = "linux")]
pub fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Largest resident set of this process among the calls so far, in bytes; `None` where the system doesn't tell.
#[cfg(not(target_os = "linux"))]
pub fn peak_rss() -> Option<u64> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PEAK: AtomicU64 = AtomicU64::new(0);
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = sysinfo::System::new();
    system.refresh_processes(sysinfo::ProcessesToUpdate::Some(&[pid]), true);
    let now = system.process(pid)?.memory();
    Some(PEAK.fetch_max(now, Ordering::Relaxed).max(now))
}

#[cfg(test)]
mod tests {
    #[test]
    fn grows_with_what_is_touched() {
        let before = super::peak_rss().unwrap();
        let block = vec![1_u8; 256 << 20];
        let after = super::peak_rss().unwrap();
        assert!(block.iter().step_by(4096).all(|b| *b == 1));
        // The block may fall into memory an earlier peak already covers, but never below it.
        assert!(after >= before.max(256 << 20), "{before} {after}");
    }
}
