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
    state: State<R>,
    frame: u64,
}

impl<R: BufRead> Frames<R> {
    pub(crate) fn new(reader: R, codec: Codec) -> Self {
        let state = match codec {
            Codec::Plain => State::Plain(reader),
            Codec::Zstd | Codec::Gzip => State::Between(reader, codec),
        };
        Self { state, frame: 0 }
    }

    fn begin(&mut self, mut reader: R, codec: Codec) -> io::Result<State<R>> {
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

    fn broken(&self, codec: &'static str, error: &io::Error) -> io::Error {
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
                        end.map_err(|e| self.broken("zstd", &e))?;
                        self.state = State::Between(decoder.into_inner(), Codec::Zstd);
                    }
                    Ok(n) => {
                        self.state = State::Zstd(decoder);
                        return Ok(n);
                    }
                    Err(e) if e.kind() == ErrorKind::Interrupted => {
                        self.state = State::Zstd(decoder);
                        return Err(e);
                    }
                    Err(e) => return Err(self.broken("zstd", &e)),
                },
                State::Gzip(mut decoder) => match decoder.read(buf) {
                    Ok(0) => self.state = State::Between(decoder.into_inner(), Codec::Gzip),
                    Ok(n) => {
                        self.state = State::Gzip(decoder);
                        return Ok(n);
                    }
                    Err(e) if e.kind() == ErrorKind::Interrupted => {
                        self.state = State::Gzip(decoder);
                        return Err(e);
                    }
                    Err(e) => return Err(self.broken("gzip", &e)),
                },
                State::Ended => return Ok(0),
            }
        }
    }
}
