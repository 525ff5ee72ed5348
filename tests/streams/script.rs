//! Scripted streams: what each read returns, and how much each write takes, is written down beforehand.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

/// What one `read` of a scripted stream returns.
#[derive(Clone, Debug)]
pub enum Step {
    Bytes(Vec<u8>),
    Fails(ErrorKind),
}

/// A reader that returns what its script says, and at the end of the script the end of the stream.
pub struct Script(VecDeque<Step>);

impl Script {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Script(steps.into_iter().collect())
    }

    /// These bytes, at most `size` a read.
    pub fn in_pieces(bytes: &[u8], size: usize) -> Self {
        Script::new(bytes.chunks(size).map(|piece| Step::Bytes(piece.to_vec())))
    }

    /// These bytes one by one, and before each read an interruption.
    pub fn interrupted(bytes: &[u8]) -> Self {
        let step = |&byte| [Step::Fails(ErrorKind::Interrupted), Step::Bytes(vec![byte])];
        Script::new(bytes.iter().flat_map(step))
    }

    /// These bytes in one read, then an error, then the end: as a connection that was reset.
    pub fn reset_after(bytes: &[u8]) -> Self {
        let bytes = (!bytes.is_empty()).then(|| Step::Bytes(bytes.to_vec()));
        Script::new(bytes.into_iter().chain([Step::Fails(ErrorKind::ConnectionReset)]))
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.pop_front() {
            None => Ok(0),
            Some(Step::Fails(kind)) => Err(kind.into()),
            Some(Step::Bytes(bytes)) => {
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                if count < bytes.len() {
                    self.0.push_front(Step::Bytes(bytes[count..].to_vec()));
                }
                Ok(count)
            }
        }
    }
}

/// A writer that takes at most `most` bytes a call, is interrupted before each, and keeps what it was given.
#[derive(Default)]
pub struct Sink {
    pub bytes: Vec<u8>,
    pub writes: Vec<usize>,
    pub most: Option<usize>,
    pub interrupts: bool,
    pub interrupted: bool,
}

impl Sink {
    pub fn short(most: usize) -> Self {
        Sink { most: Some(most), interrupts: true, ..Sink::default() }
    }
}

impl Write for &mut Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.interrupts && !self.interrupted {
            self.interrupted = true;
            return Err(ErrorKind::Interrupted.into());
        }
        self.interrupted = false;
        let count = bytes.len().min(self.most.unwrap_or(usize::MAX));
        self.bytes.extend_from_slice(&bytes[..count]);
        self.writes.push(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
