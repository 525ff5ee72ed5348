//! The other way to mark messages: a fixed header that says how long the message is.
//!
//! A frame here is four bytes of length, the most significant first, and then that many bytes of payload.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

/// Why a frame could not be read.
#[derive(Debug)]
pub enum FrameError {
    /// The stream ended inside a frame: the message is not whole and must not be used.
    CutShort,
    /// The header announces more bytes than the reader is willing to hold.
    TooLong {
        /// The announced length in bytes.
        announced: usize,
        /// The longest payload that is accepted, in bytes.
        limit: usize,
    },
    /// The stream failed.
    Io(io::Error),
}

// ANCHOR: read_frame
/// Reads one frame of at most `limit` bytes. `None` is a clean end: the stream ended between two frames.
pub fn read_frame(mut reader: impl Read, limit: usize) -> Result<Option<Vec<u8>>, FrameError> {
    let mut header = [0; 4];
    // `read_exact` reports a clean end and a cut frame alike, as UnexpectedEof. Reading the first byte alone tells which.
    if !read_first_byte(&mut reader, &mut header[..1])? {
        return Ok(None);
    }
    reader.read_exact(&mut header[1..])?;
    let announced = u32::from_be_bytes(header) as usize;
    // Before the buffer is made: these four bytes may come from anybody, and can ask for 4 GiB.
    if announced > limit {
        return Err(FrameError::TooLong { announced, limit });
    }
    let mut payload = vec![0; announced];
    reader.read_exact(&mut payload)?;
    Ok(Some(payload))
}
// ANCHOR_END: read_frame

/// Writes one frame with a single write.
///
/// # Errors
/// `InvalidInput` for a payload of 4 GiB or more, which the header can't express, or the writer's own error.
pub fn write_frame(mut writer: impl Write, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(|_| {
        io::Error::new(ErrorKind::InvalidInput, format!("a frame holds less than 4 GiB, not {} bytes", payload.len()))
    })?;
    writer.write_all(&[&length.to_be_bytes(), payload].concat())
}

/// Answers every frame with one that holds `echo: ` and the payload, until the stream ends between two frames.
pub fn echo_frames(mut reader: impl Read, mut writer: impl Write, limit: usize) -> Result<(), FrameError> {
    loop {
        match read_frame(&mut reader, limit) {
            Ok(Some(payload)) => write_frame(&mut writer, &[b"echo: ", &payload[..]].concat())?,
            Ok(None) => return Ok(()),
            Err(error @ FrameError::TooLong { .. }) => {
                write_frame(&mut writer, format!("error: {error}").as_bytes())?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
    }
}

fn read_first_byte(reader: &mut impl Read, byte: &mut [u8]) -> io::Result<bool> {
    loop {
        match reader.read(byte) {
            Ok(count) => return Ok(count > 0),
            // `read_exact` does this by itself, `read` does not.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => FrameError::CutShort,
            _ => FrameError::Io(error),
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::CutShort => write!(f, "the stream ended in the middle of a frame"),
            FrameError::TooLong { announced, limit } => {
                write!(f, "frame too long ({announced} bytes announced, limit {limit} bytes)")
            }
            FrameError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FrameError {}
