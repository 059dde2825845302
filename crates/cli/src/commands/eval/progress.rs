//! How far an evaluation is, on standard error.

use indicatif::{ProgressBar, ProgressStyle};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// A bar over the questions of a task, which goes when it is finished.
pub(super) struct Progress<'s> {
    bar: ProgressBar,
    stop: &'s AtomicBool,
}

impl<'s> Progress<'s> {
    pub(super) fn new(name: &str, questions: usize, stop: &'s AtomicBool) -> Self {
        let bar = ProgressBar::new(questions as u64);
        let style =
            "{elapsed:>4} {prefix:<20} {human_pos}/{human_len} questions {per_sec} {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Self { bar, stop }
    }

    /// So many questions are answered; whether to go on.
    pub(super) fn at(&self, done: usize) -> ControlFlow<()> {
        self.bar.set_position(done as u64);
        if self.stop.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
