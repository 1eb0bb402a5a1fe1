//! One pass over a text: chunks of whole characters, without a byte order mark, with LF line ends.

use std::io::{self, Read};

/// Why a pass ended early.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    NotUtf8 {
        /// Offset of the first invalid byte in the file.
        offset: u64,
        /// Its line, from 1.
        line: u64,
        byte: u8,
        /// Bytes around it.
        stretch: Vec<u8>,
        /// Whether the text ends inside a character.
        is_cut: bool,
    },
}

/// Reads a text in chunks.
pub(super) struct Reader<R> {
    input: R,
    /// Bytes to read at a time, at least 1.
    chunk_bytes: usize,
    /// Whether the bytes are taken as they are.
    is_binary: bool,
    keep_cr: bool,
    /// The first bytes of a character whose other bytes were not read yet.
    tail: Vec<u8>,
    /// Bytes before `tail`.
    offset: u64,
    /// Line ends so far.
    lines: u64,
    /// Whether the last byte was a carriage return, so that a line feed after it belongs to the same line end.
    after_cr: bool,
    /// Whether there was a byte order mark.
    pub has_mark: bool,
    /// Carriage returns that were read as line feeds.
    pub carriage_returns: u64,
}

impl<R: Read> Reader<R> {
    pub fn new(input: R, chunk_bytes: usize, is_binary: bool, keep_cr: bool) -> Self {
        Self {
            input,
            chunk_bytes: chunk_bytes.max(1),
            is_binary,
            keep_cr,
            tail: Vec::new(),
            offset: 0,
            lines: 0,
            after_cr: false,
            has_mark: false,
            carriage_returns: 0,
        }
    }

    /// Returns the next chunk, which is never empty, or `None` at the end.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        loop {
            let mut chunk = std::mem::take(&mut self.tail);
            let before = chunk.len();
            (&mut self.input)
                .take(self.chunk_bytes as u64)
                .read_to_end(&mut chunk)
                .map_err(ReadError::Io)?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let at_end = chunk.len() == before;
            if !self.is_binary {
                self.keep_tail(&mut chunk, at_end)?;
                let start = self.offset;
                self.offset += chunk.len() as u64;
                if start == 0 && chunk.starts_with("\u{feff}".as_bytes()) {
                    self.has_mark = true;
                    chunk.drain(..3);
                }
                if !self.keep_cr {
                    self.convert_line_ends(&mut chunk);
                }
                self.lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    /// Checks that `chunk` is UTF-8; keeps an unfinished character at its end for the next chunk.
    fn keep_tail(&mut self, chunk: &mut Vec<u8>, at_end: bool) -> Result<(), ReadError> {
        let Err(error) = std::str::from_utf8(chunk) else {
            return Ok(());
        };
        let valid = error.valid_up_to();
        if error.error_len().is_none() && !at_end {
            self.tail = chunk.split_off(valid);
            return Ok(());
        }
        let lines = chunk[..valid].iter().filter(|byte| **byte == b'\n').count();
        Err(ReadError::NotUtf8 {
            offset: self.offset + valid as u64,
            line: 1 + self.lines + lines as u64,
            byte: chunk[valid],
            stretch: std::mem::take(chunk),
            is_cut: error.error_len().is_none(),
        })
    }

    /// Replaces CR LF and CR by LF.
    fn convert_line_ends(&mut self, chunk: &mut Vec<u8>) {
        if !self.after_cr && !chunk.contains(&b'\r') {
            return;
        }
        chunk.retain_mut(|byte| {
            let ends_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            if *byte == b'\r' {
                self.carriage_returns += 1;
                *byte = b'\n';
                return true;
            }
            !(ends_cr && *byte == b'\n')
        });
    }
}
