//! `metrics.jsonl`: one line a step.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::TrainError;

/// What is known about one step, in the order it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    step: u64,
    values: Vec<(String, f64)>,
}

impl Record {
    /// A record of a step, counted from 1, that has no values yet.
    pub fn new(step: u64) -> Self {
        Self {
            step,
            values: Vec::new(),
        }
    }

    /// Adds a value.
    pub fn push(&mut self, name: impl Into<String>, value: f64) {
        self.values.push((name.into(), value));
    }

    /// The step.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Names and values.
    pub fn values(&self) -> &[(String, f64)] {
        &self.values
    }

    /// The line of `metrics.jsonl`, with its line break. Numbers keep every bit; what is no number becomes `null`.
    ///
    /// ```
    /// let mut record = evenburn_train::metrics::Record::new(3);
    /// record.push("train/loss", 0.1 + 0.2);
    /// assert_eq!(record.to_line(), "{\"step\":3,\"train/loss\":0.30000000000000004}\n");
    /// ```
    pub fn to_line(&self) -> String {
        let mut line = format!("{{\"step\":{}", self.step);
        for (name, value) in &self.values {
            line.push(',');
            line.push_str(&serde_json::Value::from(name.as_str()).to_string());
            line.push(':');
            // Counts read better without a fraction.
            if value.fract() == 0.0 && value.abs() < 1e15 && !name.contains("loss") {
                let _ = write!(line, "{value:.0}");
            } else {
                line.push_str(&serde_json::Value::from(*value).to_string());
            }
        }
        line.push_str("}\n");
        line
    }
}

/// The open `metrics.jsonl` of a run.
#[derive(Debug)]
pub struct MetricsFile {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl MetricsFile {
    /// Opens the file and drops every line after the first `bytes` bytes: those of steps a resumed run does again.
    ///
    /// # Errors
    /// [`TrainError::Damaged`] if the file is shorter than that, [`TrainError::Io`] if it can't be opened.
    pub fn open(path: impl Into<PathBuf>, bytes: u64) -> Result<Self, TrainError> {
        let path = path.into();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| TrainError::io("open", &path, e))?;
        let found = file
            .metadata()
            .map_err(|e| TrainError::io("read", &path, e))?
            .len();
        if found < bytes {
            return Err(TrainError::Damaged {
                file: path,
                why: format!(
                    "it has {found} bytes, and the checkpoint was made when it had {bytes}"
                ),
                intact: None,
            });
        }
        file.set_len(bytes)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|e| TrainError::io("truncate", &path, e))?;
        Ok(Self { file, path, bytes })
    }

    /// Adds a line. The line is handed to the operating system whole: a killed process leaves no half of it.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn append(&mut self, record: &Record) -> Result<(), TrainError> {
        let line = record.to_line();
        self.file
            .write_all(line.as_bytes())
            .map_err(|e| TrainError::io("write", &self.path, e))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Length of the file once everything in it is on disk.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn sync(&self) -> Result<u64, TrainError> {
        self.file
            .sync_all()
            .map_err(|e| TrainError::io("sync", &self.path, e))?;
        Ok(self.bytes)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_drops_later_lines_and_continues() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path, 0).unwrap();
        let mut lengths = Vec::new();
        for step in 1..=4 {
            let mut record = Record::new(step);
            record.push("train/loss", 1.0 / step as f64);
            file.append(&record).unwrap();
            lengths.push(file.sync().unwrap());
        }
        let whole = std::fs::read_to_string(&path).unwrap();
        drop(file);
        let mut file = MetricsFile::open(&path, lengths[1]).unwrap();
        for step in 3..=4 {
            let mut record = Record::new(step);
            record.push("train/loss", 1.0 / step as f64);
            file.append(&record).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    }

    #[test]
    fn a_history_that_lost_lines_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = MetricsFile::open(dir.path().join("metrics.jsonl"), 10).unwrap_err();
        assert!(matches!(error, TrainError::Damaged { .. }), "{error}");
    }
}
