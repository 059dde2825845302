//! `metrics.jsonl`: one line a step.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::Sink;
use crate::checkpoint::State;
use crate::error::TrainError;
use crate::metrics::Record;

/// The line of a record, with its line break. Numbers keep every bit; what is no number becomes `null`.
fn line(record: &Record) -> String {
    let mut line = format!("{{\"step\":{}", record.step());
    for (name, value) in record.values() {
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

/// The open `metrics.jsonl` of a run.
#[derive(Debug)]
pub(crate) struct JsonLines {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl JsonLines {
    /// Opens the file to go on after step `step`, which ended at byte `bytes`, and drops the lines behind that: those of
    /// steps a resumed run does again.
    ///
    /// A file that isn't the history of those steps is no reason not to train: it is kept as it is and added to, and the
    /// second value says so.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it can't be read or written.
    pub(crate) fn open(
        path: impl Into<PathBuf>,
        bytes: u64,
        step: u64,
    ) -> Result<(Self, Option<String>), TrainError> {
        let path = path.into();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| TrainError::io("open", &path, e))?;
        let read = |e| TrainError::io("read", &path, e);
        let found = file.metadata().map_err(read)?.len();
        let (end, note) = if is_history(&mut file, bytes, step).map_err(read)? {
            (bytes, None)
        } else {
            let note = format!(
                "{} is not the history up to step {step} ({found} bytes, and it had {bytes}): it stays, and the next steps are \
                added to it",
                path.display()
            );
            (found, Some(note))
        };
        let write = |e| TrainError::io("write", &path, e);
        file.set_len(end).map_err(write)?;
        file.seek(SeekFrom::End(0)).map_err(write)?;
        let mut history = Self {
            file,
            path,
            bytes: end,
        };
        if note.is_some() {
            history.begin_line()?;
        }
        Ok((history, note))
    }

    /// Ends what may be half a line, so that the next one is a line of its own.
    fn begin_line(&mut self) -> Result<(), TrainError> {
        let mut last = [b'\n'];
        if self.bytes > 0 {
            let read = |e| TrainError::io("read", &self.path, e);
            self.file.seek(SeekFrom::End(-1)).map_err(read)?;
            self.file.read_exact(&mut last).map_err(read)?;
        }
        if last != [b'\n'] {
            self.write("\n")?;
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), TrainError> {
        self.file
            .write_all(text.as_bytes())
            .map_err(|e| TrainError::io("write", &self.path, e))?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Length of the file once everything in it is on disk.
    fn on_disk(&self) -> Result<u64, TrainError> {
        self.file
            .sync_all()
            .map_err(|e| TrainError::io("sync", &self.path, e))?;
        Ok(self.bytes)
    }
}

impl Sink for JsonLines {
    /// Adds a line. It is handed to the operating system whole: a killed process leaves no half of it.
    fn record(&mut self, record: &Record, _: u64) -> Result<(), TrainError> {
        self.write(&line(record))
    }

    fn sync(&mut self, state: &mut State) -> Result<(), TrainError> {
        state.metrics_bytes = self.on_disk()?;
        Ok(())
    }
}

/// Whether a file has, at byte `bytes`, the end of the line of `step` (or its beginning, before the first step), and behind
/// it nothing or the line of the next step, whole or in part. So nothing is ever cut off that wasn't written here.
fn is_history(file: &mut File, bytes: u64, step: u64) -> std::io::Result<bool> {
    /// A line begins `{"step":N,`, with at most so many bytes.
    const BEGINNING: u64 = 32;
    if file.metadata()?.len() < bytes {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(bytes))?;
    let mut behind = Vec::new();
    (&*file).take(BEGINNING).read_to_end(&mut behind)?;
    let next = beginning(step + 1);
    if !behind.starts_with(&next) && !next.starts_with(&behind) {
        return Ok(false);
    }
    if bytes == 0 {
        return Ok(step == 0);
    }
    // The last line before: what follows the last line break but one.
    let mut start = bytes;
    let mut block = Vec::new();
    let mut line = Vec::new();
    while start > 0 && !line.iter().rev().skip(1).any(|byte| *byte == b'\n') {
        let from = start.saturating_sub(1 << 12);
        file.seek(SeekFrom::Start(from))?;
        block.clear();
        (&*file).take(start - from).read_to_end(&mut block)?;
        block.extend_from_slice(&line);
        std::mem::swap(&mut block, &mut line);
        start = from;
    }
    let Some(line) = line.strip_suffix(b"\n") else {
        return Ok(false);
    };
    let line = line.rsplit(|byte| *byte == b'\n').next().unwrap_or(line);
    Ok(line.starts_with(&beginning(step)))
}

/// How the line of a step begins.
fn beginning(step: u64) -> Vec<u8> {
    format!("{{\"step\":{step},").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn numbers_keep_every_bit_and_counts_have_no_fraction() {
        let mut record = Record::new(3);
        record.push("train/loss", 0.1 + 0.2);
        record.push("train/tokens", 64.0);
        record.push("val/loss", 2.0);
        record.push("val/bpb", f64::NAN);
        assert_eq!(
            line(&record),
            "{\"step\":3,\"train/loss\":0.30000000000000004,\"train/tokens\":64,\"val/loss\":2.0,\"val/bpb\":null}\n"
        );
    }

    fn append(file: &mut JsonLines, step: u64) {
        let mut record = Record::new(step);
        record.push("train/loss", 1.0 / step as f64);
        // Longer than a block that is read at once.
        record.push("x".repeat(3000), 1.0);
        file.record(&record, 4).unwrap();
    }

    /// A history of four steps, and where each ends.
    fn history(path: &Path) -> (Vec<u8>, Vec<u64>) {
        let (mut file, note) = JsonLines::open(path, 0, 0).unwrap();
        assert_eq!(note, None);
        let ends = (1..=4).map(|step| {
            append(&mut file, step);
            file.on_disk().unwrap()
        });
        let ends = ends.collect();
        (std::fs::read(path).unwrap(), ends)
    }

    #[test]
    fn a_resume_drops_later_lines_and_continues() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let (whole, ends) = history(&path);
        // From each step, with all that came later and with half a line of it.
        for (step, end) in (0..).zip([0].iter().chain(&ends)) {
            let cuts = [
                whole.len(),
                whole.len() - 7,
                *end as usize + 3,
                *end as usize,
            ];
            let possible = |cut: &usize| (*end as usize..=whole.len()).contains(cut);
            for cut in cuts.into_iter().filter(possible) {
                std::fs::write(&path, &whole[..cut]).unwrap();
                let (mut file, note) = JsonLines::open(&path, *end, step).unwrap();
                assert_eq!(note, None, "{step} {cut}");
                (step + 1..=4).for_each(|step| append(&mut file, step));
                assert_eq!(std::fs::read(&path).unwrap(), whole, "{step} {cut}");
            }
        }
    }

    #[test]
    fn a_history_that_is_lost_or_another_is_kept_and_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let (whole, ends) = history(&path);
        let end = ends[1] as usize;
        let foreign = [b"a line of something else\n".repeat(9000), b"more".to_vec()].concat();
        let mut shifted = whole.clone();
        shifted.splice(..0, b"# a comment\n".iter().copied());
        let cases: [&[u8]; 7] = [
            b"",
            &whole[..ends[0] as usize],
            &whole[..end - 1],
            &whole[..end - 9],
            &foreign,
            &shifted,
            // The lines of other steps.
            &whole[ends[0] as usize..],
        ];
        for before in cases {
            std::fs::write(&path, before).unwrap();
            let (mut file, note) = JsonLines::open(&path, ends[1], 2).unwrap();
            assert!(note.unwrap().contains("step 2"));
            append(&mut file, 3);
            let after = std::fs::read(&path).unwrap();
            let line = &whole[end..ends[2] as usize];
            let ended = before.is_empty() || before.ends_with(b"\n");
            let between: &[u8] = if ended { b"" } else { b"\n" };
            assert!(after == [before, between, line].concat());
            // From here on it is a history again.
            let bytes = file.on_disk().unwrap();
            assert_eq!(JsonLines::open(&path, bytes, 3).unwrap().1, None);
        }
        std::fs::remove_file(&path).unwrap();
        let (_, note) = JsonLines::open(&path, ends[1], 2).unwrap();
        assert!(note.is_some() && path.exists());
        // Before the first step, too.
        std::fs::write(&path, &foreign).unwrap();
        assert!(JsonLines::open(&path, 0, 0).unwrap().1.is_some());
        assert_eq!(std::fs::read(&path).unwrap().len(), foreign.len() + 1);
    }
}
