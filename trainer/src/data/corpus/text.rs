//! A text in memory, or in its file. The one file of the trainer with unsafe code.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::str::Utf8Error;

use memmap2::Mmap;

/// A text without a byte order mark, as a `&str`.
///
/// A large one stays in its file, which is mapped, and takes memory only where it is being read.
#[derive(Debug)]
pub struct Text {
    bytes: Bytes,
    /// Bytes of the byte order mark.
    mark: usize,
}

#[derive(Debug)]
enum Bytes {
    Memory(String),
    File(Mmap),
}

/// Bytes of the mark that some editors begin a file with, where `text` begins with it.
fn mark(text: &str) -> usize {
    let mark = text.chars().next().filter(|c| *c == '\u{feff}');
    mark.map_or(0, char::len_utf8)
}

impl Text {
    /// A text in memory.
    pub(super) fn new(text: String) -> Self {
        Self {
            mark: mark(&text),
            bytes: Bytes::Memory(text),
        }
    }

    /// A text in its file, of at least one byte. Gives the file's bytes back where they are not UTF-8.
    pub(super) fn map(file: &File) -> io::Result<Result<Self, (Mmap, Utf8Error)>> {
        // SAFETY: the map is only read, but whoever writes to the file meanwhile breaks this, and no system can forbid it.
        // So only large texts are mapped; training reads them before its first step and never again; and each `&str` of
        // one is checked anew. A file that another one replaces, as most editors do, stays as it is in the map.
        let map = unsafe { Mmap::map(file)? };
        Ok(match std::str::from_utf8(&map) {
            Ok(text) => Ok(Self {
                mark: mark(text),
                bytes: Bytes::File(map),
            }),
            Err(error) => Err((map, error)),
        })
    }

    /// Gives back the memory of what was read of a file. It is fetched again where it is read again.
    pub fn release(&self) {
        #[cfg(unix)]
        if let Bytes::File(map) = &self.bytes {
            // SAFETY: pages of a shared map that is never written to come back with the file's bytes.
            // A system that does not take the advice keeps the memory, and nothing else changes.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

impl Deref for Text {
    type Target = str;

    /// # Panics
    /// If the text is in a file that was changed, and is not UTF-8 any more.
    fn deref(&self) -> &str {
        let text = match &self.bytes {
            Bytes::Memory(text) => text,
            Bytes::File(map) => std::str::from_utf8(map)
                .expect("the text's file must not be changed while it is read"),
        };
        &text[self.mark..]
    }
}
