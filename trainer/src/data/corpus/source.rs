//! Where the bytes of a text are.

use std::fs::File;
use std::io::{self, Read};
use std::time::SystemTime;

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Source {
    /// A small text.
    Memory(Vec<u8>),
    /// A large one is read again from its file, or from a temporary copy.
    File {
        file: File,
        /// The time of its last change.
        modified: Option<SystemTime>,
        /// Its bytes.
        length: u64,
    },
}

impl Source {
    pub fn reader(&self) -> SourceReader<'_> {
        match self {
            Self::Memory(bytes) => SourceReader::Memory(bytes),
            Self::File { file, .. } => SourceReader::File { file, offset: 0 },
        }
    }

    /// Whether a file has another length, or was written to.
    pub fn was_changed(&self) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::File {
                file,
                modified,
                length,
            } => file.metadata().map_or(true, |metadata| {
                metadata.len() != *length || metadata.modified().ok() != *modified
            }),
        }
    }
}

/// Reads the bytes from the beginning, whatever other readers do.
pub(super) enum SourceReader<'c> {
    Memory(&'c [u8]),
    File { file: &'c File, offset: u64 },
}

impl Read for SourceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => bytes.read(buffer),
            Self::File { file, offset } => {
                #[cfg(unix)]
                let count = std::os::unix::fs::FileExt::read_at(*file, buffer, *offset)?;
                #[cfg(windows)]
                let count = std::os::windows::fs::FileExt::seek_read(*file, buffer, *offset)?;
                *offset += count as u64;
                Ok(count)
            }
        }
    }
}
