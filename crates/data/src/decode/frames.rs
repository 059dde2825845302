//! Decompression that knows which frame it is in.
//!
//! A `.zst` file may hold several frames and a `.gz` file several members, one after the other. The
//! decoder is run for one at a time, so that an error can say which one is broken.

use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Plain,
    Zstd,
    Gzip,
}

/// The error inside the `io::Error` of a damaged frame.
#[derive(Debug)]
pub(crate) struct FrameError {
    pub(crate) codec: &'static str,
    /// From 1.
    pub(crate) frame: u64,
    pub(crate) message: String,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frame {}: {}", self.codec, self.frame, self.message)
    }
}

impl std::error::Error for FrameError {}

/// Decoded bytes up to which nothing is suspected, 256 MiB.
const UNSUSPECTED: u64 = 256 << 20;

/// How many times its size a file may hold. Text has 3 to 10, a repetitive log 100; gzip reaches 1,000 and zstd 20,000 on
/// nothing but zeros.
const RATIO: u64 = 500;

/// What no file holds, 4 TiB.
const MOST: u64 = 4 << 40;

/// Counts what is taken from a reader, and notes where it fails: that is no damage of what it holds.
struct Metered<R> {
    reader: R,
    taken: u64,
    failed: bool,
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buf);
        let read = read.inspect_err(|error| self.failed |= is_fault(error))?;
        self.taken += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Self { reader, failed, .. } = self;
        reader
            .fill_buf()
            .inspect_err(|error| *failed |= is_fault(error))
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount as u64;
        self.reader.consume(amount);
    }
}

/// Whether reading is over.
fn is_fault(error: &io::Error) -> bool {
    error.kind() != ErrorKind::Interrupted
}

enum State<R: BufRead> {
    Plain(R),
    /// Between frames.
    Between(R, Codec),
    Zstd(ZstdDecoder<'static, R>),
    Gzip(GzDecoder<R>),
    Ended,
}

/// Reads the concatenated contents of all frames.
pub(crate) struct Frames<R: BufRead> {
    state: State<Metered<R>>,
    frame: u64,
    decoded: u64,
}

impl<R: BufRead> Frames<R> {
    pub(crate) fn new(reader: R, codec: Codec) -> Self {
        let reader = Metered {
            reader,
            taken: 0,
            failed: false,
        };
        let state = match codec {
            Codec::Plain => State::Plain(reader),
            Codec::Zstd | Codec::Gzip => State::Between(reader, codec),
        };
        Self {
            state,
            frame: 0,
            decoded: 0,
        }
    }

    /// Counts decoded bytes, and refuses those of a file that was made to hold more than anybody reads.
    fn weigh(&mut self, codec: &'static str, read: usize, taken: u64) -> io::Result<usize> {
        self.decoded += read as u64;
        let most = UNSUSPECTED.max(taken.saturating_mul(RATIO)).min(MOST);
        if self.decoded <= most {
            return Ok(read);
        }
        let why = format!("it holds more than {RATIO} times its size; was it made to fill a disk?");
        Err(self.damage(codec, &io::Error::other(why)))
    }

    fn begin(&mut self, mut reader: Metered<R>, codec: Codec) -> io::Result<State<Metered<R>>> {
        if codec == Codec::Gzip && self.frame > 0 {
            skip_zeros(&mut reader)?;
        }
        if reader.fill_buf()?.is_empty() {
            return Ok(State::Ended);
        }
        self.frame += 1;
        Ok(match codec {
            Codec::Gzip => State::Gzip(GzDecoder::new(reader)),
            Codec::Zstd | Codec::Plain => {
                let mut decoder = ZstdDecoder::with_buffer(reader)?.single_frame();
                // Files made with `--long=31` need more than the default window.
                decoder.window_log_max(31)?;
                State::Zstd(decoder)
            }
        })
    }

    /// What a decoder says: the error of its reader, or damage.
    fn broken(&self, codec: &'static str, failed: bool, error: io::Error) -> io::Error {
        if failed {
            return error;
        }
        self.damage(codec, &error)
    }

    fn damage(&self, codec: &'static str, error: &io::Error) -> io::Error {
        let message = match error.kind() {
            ErrorKind::UnexpectedEof => "the file ends inside it".to_owned(),
            _ => error.to_string(),
        };
        let frame = self.frame;
        io::Error::new(
            ErrorKind::InvalidData,
            FrameError {
                codec,
                frame,
                message,
            },
        )
    }
}

/// Tapes and some programs fill the last block of a gzip file with zeros, which `gzip` ignores too.
fn skip_zeros(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(());
        }
        reader.consume(zeros);
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            // A read that fails leaves the stream ended: what follows a broken frame is not text.
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Plain(mut reader) => {
                    let read = reader.read(buf);
                    self.state = State::Plain(reader);
                    return read;
                }
                State::Between(reader, codec) => self.state = self.begin(reader, codec)?,
                State::Zstd(mut decoder) => match decoder.read(buf) {
                    Ok(0) => {
                        let end = decoder.finish_frame();
                        end.map_err(|e| self.broken("zstd", decoder.get_ref().failed, e))?;
                        self.state = State::Between(decoder.into_inner(), Codec::Zstd);
                    }
                    Ok(n) => {
                        let taken = decoder.get_ref().taken;
                        let n = self.weigh("zstd", n, taken)?;
                        self.state = State::Zstd(decoder);
                        return Ok(n);
                    }
                    Err(e) if e.kind() == ErrorKind::Interrupted => {
                        self.state = State::Zstd(decoder);
                        return Err(e);
                    }
                    Err(e) => {
                        return Err(self.broken("zstd", decoder.get_ref().failed, e));
                    }
                },
                State::Gzip(mut decoder) => match decoder.read(buf) {
                    Ok(0) => self.state = State::Between(decoder.into_inner(), Codec::Gzip),
                    Ok(n) => {
                        let taken = decoder.get_ref().taken;
                        let n = self.weigh("gzip", n, taken)?;
                        self.state = State::Gzip(decoder);
                        return Ok(n);
                    }
                    Err(e) if e.kind() == ErrorKind::Interrupted => {
                        self.state = State::Gzip(decoder);
                        return Err(e);
                    }
                    Err(e) => {
                        return Err(self.broken("gzip", decoder.get_ref().failed, e));
                    }
                },
                State::Ended => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Zeros that nobody would write: refused after a bounded part of them.
    #[test]
    fn bombs_are_refused() {
        let zeros = || io::repeat(0).take(2 * UNSUSPECTED);
        let mut gzip = flate2::read::GzEncoder::new(zeros(), flate2::Compression::fast());
        let mut packed = Vec::new();
        gzip.read_to_end(&mut packed).unwrap();
        let zstd = zstd::encode_all(zeros(), 1).unwrap();
        for (codec, packed) in [(Codec::Zstd, zstd), (Codec::Gzip, packed)] {
            let size = packed.len() as u64;
            let mut frames = Frames::new(io::Cursor::new(packed), codec);
            let mut taken = 0;
            let mut buffer = vec![0; 1 << 16];
            let error = loop {
                match frames.read(&mut buffer) {
                    Ok(0) => break None,
                    Ok(read) => taken += read as u64,
                    Err(error) => break Some(error),
                }
            };
            // The slowest setting of gzip packs zeros less than the limit allows.
            if 2 * UNSUSPECTED > RATIO * size {
                assert!(error.unwrap().to_string().contains("times its size"));
                assert!(taken <= UNSUSPECTED.max(RATIO * size));
            }
            assert_eq!(frames.read(&mut buffer).unwrap(), 0, "nothing follows");
        }
    }
}
