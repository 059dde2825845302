//! The progress line: one that is rewritten on a terminal, one every few steps elsewhere.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Sink;
use crate::error::TrainError;
use crate::metrics::Record;

/// How a run shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Display {
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
            Self::Lines => say(text),
            Self::Silent => {}
        }
    }
}

/// What a progress line says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    step: u64,
    end: u64,
    loss: Option<f64>,
    val_loss: Option<f64>,
    tokens_per_sec: Option<f64>,
    left: Duration,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.end.to_string().len();
        write!(f, "step {:>width$}/{}", self.step, self.end)?;
        if let Some(loss) = self.loss {
            write!(f, "  loss {loss:.4}")?;
        }
        if let Some(val) = self.val_loss {
            write!(f, "  val {val:.4}")?;
        }
        if let Some(speed) = self.tokens_per_sec {
            write!(f, "  {speed:.0} tok/s")?;
        }
        write!(f, "  {} left", clock(self.left))
    }
}

/// A time as hours, minutes and seconds, `1:05:09`, or without the hours where there are none, `5:09`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Where progress lines go.
enum Lines {
    /// One line that is rewritten.
    Rewritten(ProgressBar),
    /// A line every `every` steps.
    Appended { every: u64 },
    /// Nowhere.
    Hidden,
}

/// Progress lines, and evaluations in the log of the program.
pub(crate) struct ProgressLines {
    lines: Lines,
    /// Smoothed.
    seconds_per_step: Option<f64>,
}

/// Share of the newest step in the average.
const NEWEST: f64 = 0.1;

impl ProgressLines {
    pub(crate) fn new(display: Display, every: u64) -> Self {
        let lines = match display {
            Display::Silent => Lines::Hidden,
            Display::Lines if std::io::stderr().is_terminal() => {
                let bar =
                    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
                let style = ProgressStyle::with_template("{wide_msg}");
                Lines::Rewritten(
                    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style)),
                )
            }
            Display::Lines => Lines::Appended {
                every: every.max(1),
            },
        };
        Self {
            lines,
            seconds_per_step: None,
        }
    }

    /// The line of a record.
    fn line(&mut self, record: &Record, end: u64) -> Line {
        if let Some(took) = record.get("perf/step_ms").map(|ms| ms / 1e3) {
            self.seconds_per_step = Some(match self.seconds_per_step {
                Some(average) => average + NEWEST * (took - average),
                None => took,
            });
        }
        let left = end.saturating_sub(record.step()) as f64;
        let left = self.seconds_per_step.unwrap_or(0.0) * left;
        Line {
            step: record.step(),
            end,
            loss: record.get("train/loss"),
            val_loss: record.get("val/loss"),
            tokens_per_sec: record.get("perf/tokens_per_sec"),
            left: Duration::try_from_secs_f64(left).unwrap_or_default(),
        }
    }
}

impl Sink for ProgressLines {
    /// Shows a step. Evaluations and the last step always make a line.
    fn record(&mut self, record: &Record, end: u64) -> Result<(), TrainError> {
        let line = self.line(record, end);
        let evaluated = line.val_loss.is_some();
        if evaluated {
            log::info!("{line}");
        }
        match &self.lines {
            Lines::Rewritten(bar) => bar.set_message(line.to_string()),
            Lines::Appended { every } => {
                if evaluated || line.step.is_multiple_of(*every) || line.step == end {
                    say(&line.to_string());
                }
            }
            Lines::Hidden => {}
        }
        Ok(())
    }

    fn note(&mut self, text: &str) {
        match &self.lines {
            Lines::Rewritten(bar) => bar.suspend(|| say(text)),
            Lines::Appended { .. } => say(text),
            Lines::Hidden => {}
        }
    }
}

impl Drop for ProgressLines {
    /// Leaves the last line on the screen, however the run ended.
    fn drop(&mut self) {
        if let Lines::Rewritten(bar) = &self.lines {
            bar.abandon();
        }
    }
}

/// Progress that nobody can read is no reason to end a run.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_lacks_a_line_lacks_too() {
        let mut lines = ProgressLines::new(Display::Silent, 1);
        let mut record = Record::new(2);
        assert_eq!(lines.line(&record, 4).to_string(), "step 2/4  0:00 left");
        record.push("perf/step_ms", 1500.0);
        record.push("train/loss", 4.0);
        let line = lines.line(&record, 4).to_string();
        assert_eq!(line, "step 2/4  loss 4.0000  0:03 left");
    }

    #[test]
    fn a_line_reads_well() {
        let line = Line {
            step: 7,
            end: 1200,
            loss: Some(4.25),
            val_loss: Some(4.5),
            tokens_per_sec: Some(2345.6),
            left: Duration::from_secs(3909),
        };
        assert_eq!(
            line.to_string(),
            "step    7/1200  loss 4.2500  val 4.5000  2346 tok/s  1:05:09 left"
        );
    }
}
