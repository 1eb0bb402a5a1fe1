//! Text files: read in chunks as often as it takes, so that memory does not grow with the text.
//!
//! [`Corpus::open`] makes the first pass: it checks that the file is UTF-8 text, and computes its SHA-256 and the number of
//! characters. Later passes read a [`Part`] of it again, for the counts of a vocabulary or for the token ids.

mod reader;
mod source;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::encoding;
use super::hash::hex;
use super::notice::Notice;
use reader::{ReadError, Reader};
use source::{Source, SourceReader};

/// The largest text that is read, in bytes.
pub const MAX_BYTES: u64 = 256 << 20;

/// Bytes of a chunk. A text of fewer bytes is kept in memory.
const CHUNK_BYTES: usize = 1 << 20;

/// The path that stands for standard input.
pub const STDIN: &str = "-";

/// How a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorpusOptions {
    /// Whether carriage returns are characters of the text. Otherwise CR LF and CR are read as LF.
    pub keep_cr: bool,
    /// Whether any bytes are taken as they are, UTF-8 or not: for the byte tokenizer.
    pub bytes: bool,
    /// Bytes of a chunk, at least 1. It has no influence on the result.
    pub chunk_bytes: usize,
}

impl Default for CorpusOptions {
    fn default() -> Self {
        Self {
            keep_cr: false,
            bytes: false,
            chunk_bytes: CHUNK_BYTES,
        }
    }
}

/// A stretch of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Bytes before it.
    start: u64,
    /// Bytes up to its end.
    end: u64,
    /// Its number of characters.
    pub characters: usize,
}

impl Part {
    /// Returns the number of bytes.
    pub fn bytes(&self) -> u64 {
        self.end - self.start
    }
}

/// A text that was checked, and can be read as often as necessary.
///
/// Its bytes and characters are those after the conversion of line ends and without a byte order mark.
#[derive(Debug)]
pub struct Corpus {
    /// The file's name, without its folder.
    pub name: String,
    /// SHA-256 of the text, in hexadecimal.
    pub sha256: String,
    /// What its user should know.
    pub notices: Vec<Notice>,
    /// For errors.
    path: PathBuf,
    options: CorpusOptions,
    source: Source,
    all: Part,
}

/// Why a text was refused.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// A folder.
    #[error("{} is a folder: expected a text file", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// Too many bytes.
    #[error("{} has more than {MAX_BYTES} bytes (256 MB), the maximum: train on a part of it", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Another kind of file.
    #[error("expected a text in UTF-8, but {} is {found}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        found: String,
    },
    /// Not UTF-8.
    #[error("{} is not UTF-8: byte {byte:#04x} at offset {offset} (line {line}); {advice}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Offset of the first invalid byte.
        offset: u64,
        /// Its line, from 1.
        line: u64,
        /// The invalid byte.
        byte: u8,
        /// What to do.
        advice: String,
    },
    /// No character at all.
    #[error("{} is empty: expected a text", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is not the same as in the first pass.
    #[error("{} was changed while it was read: start again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Bytes for a tokenizer of text.
    #[error("{} was opened as bytes: expected a byte tokenizer", path.display())]
    Bytes {
        /// The file.
        path: PathBuf,
    },
}

impl Corpus {
    /// Opens a text file of at most [`MAX_BYTES`], or standard input for [`STDIN`], and checks all of it.
    ///
    /// # Errors
    /// If the file is missing, a folder, empty, too large, or not a text in UTF-8.
    pub fn open(path: &Path, options: CorpusOptions) -> Result<Self, CorpusError> {
        let io = |cause| CorpusError::Io {
            path: path.into(),
            cause,
        };
        if path == Path::new(STDIN) {
            let input = io::stdin().lock();
            return Self::new(path, "standard input".into(), input, None, options);
        }
        if path.is_dir() {
            return Err(CorpusError::Folder { path: path.into() });
        }
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.len() > MAX_BYTES {
            return Err(CorpusError::TooLarge { path: path.into() });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Devices and pipes can be read only once.
        let again = metadata.is_file().then(|| file.try_clone());
        let again = again.transpose().map_err(io)?;
        Self::new(path, name.into_owned(), file, again, options)
    }

    /// A text in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(
        name: &str,
        bytes: Vec<u8>,
        options: CorpusOptions,
    ) -> Result<Self, CorpusError> {
        Self::checked(Path::new(name), name.into(), Source::Memory(bytes), options)
    }

    /// Reads `input`. What does not fit into memory is read from `again`, the same file, or from a temporary copy.
    fn new(
        path: &Path,
        name: String,
        mut input: impl Read,
        again: Option<File>,
        options: CorpusOptions,
    ) -> Result<Self, CorpusError> {
        let io = |cause| CorpusError::Io {
            path: path.into(),
            cause,
        };
        let mut start = Vec::new();
        (&mut input)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut start)
            .map_err(io)?;
        let source = if start.len() < CHUNK_BYTES {
            Source::Memory(start)
        } else {
            let file = match again {
                Some(file) => file,
                None => {
                    let mut copy = tempfile::tempfile().map_err(io)?;
                    // A device or a pipe may have no end.
                    let mut all = start.as_slice().chain(input.take(MAX_BYTES));
                    io::copy(&mut all, &mut copy).map_err(io)?;
                    copy
                }
            };
            let metadata = file.metadata().map_err(io)?;
            if metadata.len() > MAX_BYTES {
                return Err(CorpusError::TooLarge { path: path.into() });
            }
            Source::File {
                modified: metadata.modified().ok(),
                length: metadata.len(),
                file,
            }
        };
        Self::checked(path, name, source, options)
    }

    /// Makes the first pass.
    fn checked(
        path: &Path,
        name: String,
        source: Source,
        options: CorpusOptions,
    ) -> Result<Self, CorpusError> {
        let mut corpus = Self {
            name,
            sha256: String::new(),
            notices: Vec::new(),
            path: path.into(),
            options,
            source,
            all: Part::default(),
        };
        if !options.bytes {
            let found = encoding::not_text(&corpus.start()?);
            if let Some(found) = found {
                let path = path.into();
                return Err(CorpusError::NotText { path, found });
            }
        }
        let mut hash = Sha256::new();
        let mut all = Part::default();
        let mut chunks = corpus.chunks(Part {
            end: u64::MAX,
            ..Part::default()
        });
        for chunk in &mut chunks {
            let chunk = chunk?;
            hash.update(&chunk);
            all.end += chunk.len() as u64;
            all.characters += chunk.iter().filter(|byte| begins_character(**byte)).count();
        }
        let (has_mark, count) = (chunks.reader.has_mark, chunks.reader.carriage_returns);
        if all.end == 0 {
            return Err(CorpusError::Empty { path: path.into() });
        }
        if has_mark {
            corpus.notices.push(Notice::ByteOrderMark);
        }
        if count > 0 {
            corpus.notices.push(Notice::CarriageReturns { count });
        }
        corpus.sha256 = hex(&hash.finalize());
        corpus.all = all;
        Ok(corpus)
    }

    /// Returns the whole text.
    pub fn all(&self) -> Part {
        self.all
    }

    /// Returns the number of characters. Of bytes that are not UTF-8, each one counts that does not continue a character.
    pub fn characters(&self) -> usize {
        self.all.characters
    }

    /// Returns whether the text was opened as [bytes](CorpusOptions::bytes).
    pub fn is_bytes(&self) -> bool {
        self.options.bytes
    }

    /// Checks that a text that was opened as bytes is split into bytes.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_bytes(&self, tokens_are_bytes: bool) -> Result<(), CorpusError> {
        match self.is_bytes() && !tokens_are_bytes {
            true => Err(CorpusError::Bytes {
                path: self.path.clone(),
            }),
            false => Ok(()),
        }
    }

    /// Divides the text after its first `ends[0]` characters, after its first `ends[1]`, and so on, into one part more than
    /// there are ends. If every line is a document, the line that an end falls into belongs to the part before the end.
    ///
    /// # Errors
    /// If the file cannot be read again, or was changed.
    pub fn split(&self, ends: &[usize], line_documents: bool) -> Result<Vec<Part>, CorpusError> {
        let mut parts = Vec::with_capacity(ends.len() + 1);
        let (mut at, mut characters, mut last) = (0, 0, b'\n');
        let mut part = Part::default();
        for chunk in self.chunks(self.all) {
            for byte in chunk? {
                // An end lies before a character, and several ends may lie there.
                while begins_character(byte)
                    && ends.get(parts.len()).is_some_and(|end| characters >= *end)
                    && (!line_documents || last == b'\n')
                {
                    part.end = at;
                    parts.push(part);
                    part = Part {
                        start: at,
                        ..Part::default()
                    };
                }
                let one = usize::from(begins_character(byte));
                (at, last) = (at + 1, byte);
                characters += one;
                part.characters += one;
            }
        }
        part.end = at;
        while parts.len() < ends.len() {
            parts.push(part);
            part = Part {
                start: at,
                end: at,
                characters: 0,
            };
        }
        parts.push(part);
        Ok(parts)
    }

    /// Divides the text into the part for training and the last `validation` (0 to below 1) of its characters, as
    /// [`split`](Self::split) does.
    ///
    /// # Errors
    /// As [`split`](Self::split).
    pub fn parts(&self, validation: f64, line_documents: bool) -> Result<[Part; 2], CorpusError> {
        let end = training_part(self.characters(), validation);
        let parts = self.split(&[end], line_documents)?;
        Ok([parts[0], parts[1]])
    }

    /// Reads a part into memory.
    ///
    /// # Errors
    /// If the file cannot be read again, was changed, or was opened as bytes and the part is not UTF-8.
    pub fn text(&self, part: Part) -> Result<String, CorpusError> {
        let mut bytes = Vec::new();
        for chunk in self.chunks(part) {
            bytes.extend(chunk?);
        }
        String::from_utf8(bytes).map_err(|_| CorpusError::Bytes {
            path: self.path.clone(),
        })
    }

    /// Reads a part in chunks of whole characters, unless the text was opened as bytes. No chunk is empty.
    pub fn chunks(&self, part: Part) -> Chunks<'_> {
        let CorpusOptions {
            keep_cr,
            bytes,
            chunk_bytes,
        } = self.options;
        Chunks {
            corpus: self,
            reader: Reader::new(self.source.reader(), chunk_bytes, bytes, keep_cr),
            part,
            at: 0,
            is_done: false,
        }
    }

    /// Returns the first bytes of the file.
    fn start(&self) -> Result<Vec<u8>, CorpusError> {
        let mut start = Vec::new();
        let reader = self.source.reader();
        reader
            .take(encoding::SAMPLE as u64)
            .read_to_end(&mut start)
            .map_err(|cause| self.error(ReadError::Io(cause)))?;
        Ok(start)
    }

    fn error(&self, error: ReadError) -> CorpusError {
        let path = self.path.clone();
        match error {
            ReadError::Io(cause) => CorpusError::Io { path, cause },
            // All of it was UTF-8 in the first pass.
            ReadError::NotUtf8 { .. } if !self.sha256.is_empty() => CorpusError::Changed { path },
            ReadError::NotUtf8 {
                offset,
                line,
                byte,
                stretch,
                is_cut,
            } => {
                let advice = encoding::advice(&stretch);
                let advice = match is_cut {
                    true => format!("it ends inside a character; if it is complete, {advice}"),
                    false => advice,
                };
                CorpusError::NotUtf8 {
                    path,
                    offset,
                    line,
                    byte,
                    advice,
                }
            }
        }
    }
}

/// The chunks of a part of a text.
pub struct Chunks<'c> {
    corpus: &'c Corpus,
    reader: Reader<SourceReader<'c>>,
    part: Part,
    /// Bytes of the text before the next chunk.
    at: u64,
    is_done: bool,
}

impl Iterator for Chunks<'_> {
    type Item = Result<Vec<u8>, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done {
            let chunk = match self.reader.next_chunk() {
                Ok(chunk) => chunk.filter(|_| self.at < self.part.end),
                Err(error) => {
                    self.is_done = true;
                    return Some(Err(self.corpus.error(error)));
                }
            };
            let Some(mut chunk) = chunk else {
                self.is_done = true;
                let is_short = self.part.end != u64::MAX && self.at < self.part.end;
                let path = self.corpus.path.clone();
                return (is_short || self.corpus.source.was_changed())
                    .then_some(Err(CorpusError::Changed { path }));
            };
            let before = self.part.start.saturating_sub(self.at);
            let after = self.part.end.saturating_sub(self.at);
            self.at += chunk.len() as u64;
            if after < chunk.len() as u64 {
                chunk.truncate(after as usize);
            }
            chunk.drain(..chunk.len().min(before as usize));
            if !chunk.is_empty() {
                return Some(Ok(chunk));
            }
        }
        None
    }
}

/// Whether a character of UTF-8 begins with this byte, or it is no UTF-8.
fn begins_character(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// Returns how many of `characters` are for training if the last `validation` of them (0 to below 1) are not.
///
/// ```
/// assert_eq!(trainer::data::corpus::training_part(1_115_394, 0.1), 1_003_854);
/// ```
pub fn training_part(characters: usize, validation: f64) -> usize {
    (characters as f64 * (1.0 - validation)) as usize
}

#[cfg(test)]
#[path = "corpus/tests.rs"]
mod tests;
