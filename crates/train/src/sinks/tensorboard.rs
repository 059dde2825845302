//! TensorBoard event files.
//!
//! The one published writer (`tensorboard-rs`) was last released in 2022 and brings `image` and an old protobuf, so the
//! few lines the format takes are here: records framed with masked CRC-32C (TensorFlow's `record_writer.cc`), each a
//! protobuf `Event` (`event.proto`, `summary.proto`).

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Sink;
use crate::error::TrainError;
use crate::metrics::Record;

/// An open event file.
#[derive(Debug)]
pub(crate) struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Starts a new event file in `dir`. `next_step` is the first step that will be written: TensorBoard drops what
    /// earlier files have from there on, so that the steps a resumed run repeats appear once.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub(crate) fn create(dir: &Path, next_step: u64) -> Result<Self, TrainError> {
        std::fs::create_dir_all(dir).map_err(|e| TrainError::io("create", dir, e))?;
        // Files are read in the order of their names.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let path = dir.join(format!(
            "events.out.tfevents.{:010}.{:09}.evenburn",
            now.as_secs(),
            now.subsec_nanos()
        ));
        let file = File::create_new(&path).map_err(|e| TrainError::io("create", &path, e))?;
        let mut events = Self { file, path };
        let mut version = Message::default();
        version.bytes(3, b"brain.Event:2");
        events.event(0, &version)?;
        // SessionLog { status: START }.
        let mut start = Message::default();
        start.varint(1, 1);
        let mut session = Message::default();
        session.bytes(7, &start.0);
        events.event(next_step, &session)?;
        Ok(events)
    }

    fn event(&mut self, step: u64, what: &Message) -> Result<(), TrainError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut event = Message::default();
        event.double(1, now.as_secs_f64());
        event.varint(2, step);
        event.0.extend_from_slice(&what.0);
        self.file
            .write_all(&frame(&event.0))
            .map_err(|e| TrainError::io("write", &self.path, e))
    }
}

impl Sink for EventFile {
    /// Adds the values of one step as scalars.
    fn record(&mut self, record: &Record, _: u64) -> Result<(), TrainError> {
        let mut summary = Message::default();
        for (name, value) in record.values() {
            let mut scalar = Message::default();
            scalar.bytes(1, name.as_bytes());
            scalar.float(2, *value as f32);
            summary.bytes(1, &scalar.0);
        }
        let mut event = Message::default();
        event.bytes(5, &summary.0);
        self.event(record.step(), &event)
    }
}

/// One record: length, its checksum, the data, its checksum; all little-endian.
fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc(&length).to_le_bytes());
    record.extend_from_slice(data);
    record.extend_from_slice(&masked_crc(data).to_le_bytes());
    record
}

/// A checksum of data that may itself hold checksums (TensorFlow's `crc32c.h`, `Mask`).
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u64, wire: u64) {
        self.raw_varint(field << 3 | wire);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.raw_varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a file into the data of its records, checking both checksums of each.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let crc = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_eq!(crc(8), masked_crc(&bytes[..8]));
            let data = &bytes[12..12 + length];
            assert_eq!(crc(12 + length), masked_crc(data));
            found.push(data.to_vec());
            bytes = &bytes[16 + length..];
        }
        found
    }

    #[test]
    fn checksums_match_known_vectors() {
        // RFC 3720, B.4, and the first twelve bytes of every event file TensorFlow writes: the length of its version
        // record, 24, and the masked checksum of that length.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(
            masked_crc(&24_u64.to_le_bytes()).to_le_bytes(),
            [0xa3, 0x7f, 0x4b, 0x22]
        );
    }

    #[test]
    fn a_file_starts_with_its_version_and_holds_the_scalars() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(dir.path(), 300).unwrap();
        let mut record = Record::new(300);
        record.push("train/loss", 2.5);
        events.record(&record, 300).unwrap();
        let found = records(&std::fs::read(&events.path).unwrap());
        assert_eq!(found.len(), 3);
        assert_eq!(&found[0][11..], b"\x1a\x0dbrain.Event:2");
        assert_eq!(&found[1][9..], b"\x10\xac\x02\x3a\x02\x08\x01");
        assert_eq!(
            &found[2][9..],
            b"\x10\xac\x02\x2a\x13\x0a\x11\x0a\x0atrain/loss\x15\x00\x00\x20\x40"
        );
    }

    #[test]
    fn a_flipped_bit_changes_the_checksum() {
        let mut bytes = frame(b"some data");
        let before = masked_crc(&bytes[12..21]);
        bytes[15] ^= 1;
        assert_ne!(before, masked_crc(&bytes[12..21]));
    }
}
