//! The progress line: one that is rewritten on a terminal, one every few steps elsewhere.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How a run shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Display {
    /// A dashboard, which takes the whole terminal.
    Dashboard,
    /// A progress line on standard error.
    Lines,
    /// Nothing.
    #[default]
    Silent,
}

impl Display {
    /// Says something before there is any progress to show.
    pub(crate) fn say(self, text: &str) {
        match self {
            Self::Dashboard | Self::Lines => say(text),
            Self::Silent => {}
        }
    }

    /// The dashboard where standard input and output are a terminal, progress lines elsewhere.
    pub fn detect() -> Self {
        if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
            Self::Dashboard
        } else {
            Self::Lines
        }
    }
}

/// What a progress line says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub(crate) step: u64,
    pub(crate) total: u64,
    pub(crate) loss: f64,
    pub(crate) val_loss: Option<f64>,
    pub(crate) tokens_per_sec: f64,
    pub(crate) left: Duration,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.total.to_string().len();
        write!(
            f,
            "step {:>width$}/{}  loss {:.4}",
            self.step, self.total, self.loss
        )?;
        if let Some(val) = self.val_loss {
            write!(f, "  val {val:.4}")?;
        }
        write!(
            f,
            "  {:.0} tok/s  {} left",
            self.tokens_per_sec,
            clock(self.left)
        )
    }
}

/// `1:05:09`, `5:09`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Where progress lines go.
pub(crate) enum Progress {
    /// One line that is rewritten.
    Rewritten(ProgressBar),
    /// A line every `every` steps.
    Appended { every: u64 },
    /// Nowhere.
    Hidden,
}

impl Progress {
    pub(crate) fn new(display: Display, every: u64) -> Self {
        match display {
            Display::Dashboard | Display::Silent => Self::Hidden,
            Display::Lines if std::io::stderr().is_terminal() => {
                let bar =
                    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
                let style = ProgressStyle::with_template("{wide_msg}");
                Self::Rewritten(
                    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style)),
                )
            }
            Display::Lines => Self::Appended {
                every: every.max(1),
            },
        }
    }

    /// Shows a step. Evaluations and the last step always make a line.
    pub(crate) fn show(&self, line: &Line) {
        match self {
            Self::Rewritten(bar) => bar.set_message(line.to_string()),
            Self::Appended { every } => {
                if line.val_loss.is_some()
                    || line.step.is_multiple_of(*every)
                    || line.step == line.total
                {
                    say(&line.to_string());
                }
            }
            Self::Hidden => {}
        }
    }

    /// Says something that is not a step.
    pub(crate) fn note(&self, text: &str) {
        match self {
            Self::Rewritten(bar) => bar.suspend(|| say(text)),
            Self::Appended { .. } => say(text),
            Self::Hidden => {}
        }
    }

    /// Leaves the last line on the screen.
    pub(crate) fn finish(&self) {
        if let Self::Rewritten(bar) = self {
            bar.abandon();
        }
    }
}

/// Progress that nobody can read is no reason to end a run.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Speed of a run, smoothed, and the time left.
#[derive(Debug)]
pub(crate) struct Pace {
    started: Instant,
    seconds_per_step: Option<f64>,
    watched: Duration,
}

/// Share of the newest step in the average.
const NEWEST: f64 = 0.1;

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            seconds_per_step: None,
            watched: Duration::ZERO,
        }
    }

    pub(crate) fn step(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.seconds_per_step = Some(match self.seconds_per_step {
            Some(average) => average + NEWEST * (took - average),
            None => took,
        });
    }

    pub(crate) fn left(&self, steps: u64) -> Duration {
        Duration::try_from_secs_f64(self.seconds_per_step.unwrap_or(0.0) * steps as f64)
            .unwrap_or_default()
    }

    /// Takes note of what writing and showing a step took.
    pub(crate) fn watch(&mut self, took: Duration) {
        self.watched = took;
    }

    /// What writing and showing the step before took.
    pub(crate) fn watched(&self) -> Duration {
        self.watched
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_well() {
        let line = Line {
            step: 7,
            total: 1200,
            loss: 4.25,
            val_loss: Some(4.5),
            tokens_per_sec: 2345.6,
            left: Duration::from_secs(3909),
        };
        assert_eq!(
            line.to_string(),
            "step    7/1200  loss 4.2500  val 4.5000  2346 tok/s  1:05:09 left"
        );
    }
}
