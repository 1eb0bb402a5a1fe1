//! Text files: reading them with bounds, and which part is for training.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

mod text;

pub use text::Text;

/// The largest text that is read, in bytes.
pub const MAX_BYTES: u64 = 256 << 20;

/// From so many bytes on a text stays in its file. Smaller ones are read, so that nobody can change them any more.
const MAPPED_BYTES: u64 = 16 << 20;

/// A text, and what says that it is the same one.
#[derive(Debug)]
pub struct Corpus {
    /// The file's name, without its folder.
    pub name: String,
    /// The text, without a byte order mark.
    pub text: Text,
    /// SHA-256 of the text, in hexadecimal.
    pub sha256: String,
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
    #[error("{} has more than {MAX_BYTES} bytes (256 MB), the most that is read: train on a part of it", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error(
        "{} is not UTF-8: byte {byte:#04x} at offset {offset} (line {line}); convert it first, such as by `iconv -f latin1 -t utf-8`",
        path.display()
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Where the first bad byte is, from 0.
        offset: usize,
        /// Its line, from 1.
        line: usize,
        /// The bad byte.
        byte: u8,
    },
    /// No character at all.
    #[error("{} is empty: expected a text", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Corpus {
    /// Reads a text file, UTF-8, at most [`MAX_BYTES`]. A large file is not copied: it must not be changed while the corpus
    /// is in use.
    ///
    /// # Errors
    /// If the file is missing, a folder, empty, too large or not UTF-8.
    pub fn read(path: &Path) -> Result<Self, CorpusError> {
        Self::read_or_map(path, MAPPED_BYTES)
    }

    /// Reads a file; one of at least `mapped` bytes is mapped.
    fn read_or_map(path: &Path, mapped: u64) -> Result<Self, CorpusError> {
        let io = |cause| CorpusError::Io {
            path: path.into(),
            cause,
        };
        if path.is_dir() {
            return Err(CorpusError::Folder { path: path.into() });
        }
        let file = File::open(path).map_err(io)?;
        // Of what is no plain file, the length says nothing.
        let length = file.metadata().map_err(io)?.len();
        if length > MAX_BYTES {
            return Err(CorpusError::TooLarge { path: path.into() });
        }
        let text = if length >= mapped {
            Text::map(&file)
                .map_err(io)?
                .map_err(|(bytes, error)| not_utf8(path, &bytes, error))?
        } else {
            let mut bytes = Vec::new();
            // A device or a pipe may have no end: never more than one byte too many.
            file.take(MAX_BYTES + 1)
                .read_to_end(&mut bytes)
                .map_err(io)?;
            if bytes.len() as u64 > MAX_BYTES {
                return Err(CorpusError::TooLarge { path: path.into() });
            }
            let text = String::from_utf8(bytes)
                .map_err(|error| not_utf8(path, error.as_bytes(), error.utf8_error()))?;
            Text::new(text)
        };
        if text.is_empty() {
            return Err(CorpusError::Empty { path: path.into() });
        }
        let sha256 = sha256(text.as_bytes());
        text.release();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Self { name, text, sha256 })
    }

    /// [`split`](Self::split), and where lines are texts of their own, the line that it falls into is all for training.
    pub fn parts(&self, validation: f64, by_line: bool) -> (&str, &str) {
        let (first, last) = self.split(validation);
        let whole = !by_line || first.is_empty() || first.ends_with('\n');
        let more = last.find('\n').map_or(last.len(), |at| at + 1);
        self.text
            .split_at(first.len() + if whole { 0 } else { more })
    }

    /// The part for training, and the last `validation` of the characters.
    pub fn split(&self, validation: f64) -> (&str, &str) {
        let first = training_part(self.text.chars().count(), validation);
        let end = self
            .text
            .char_indices()
            .nth(first)
            .map_or(self.text.len(), |(at, _)| at);
        self.text.split_at(end)
    }
}

/// Where bytes are no UTF-8.
fn not_utf8(path: &Path, bytes: &[u8], error: std::str::Utf8Error) -> CorpusError {
    let offset = error.valid_up_to();
    let ends = bytes[..offset].iter().filter(|byte| **byte == b'\n');
    CorpusError::NotUtf8 {
        path: path.into(),
        offset,
        line: 1 + ends.count(),
        byte: bytes[offset],
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many of `characters` are for training, where the last `validation` of them (0 to below 1) are not.
///
/// ```
/// assert_eq!(trainer::data::corpus::training_part(1_115_394, 0.1), 1_003_854);
/// ```
pub fn training_part(characters: usize, validation: f64) -> usize {
    (characters as f64 * (1.0 - validation)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Corpus, CorpusError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a text.txt");
        std::fs::write(&path, bytes).unwrap();
        Corpus::read(&path)
    }

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn reads_text_without_its_byte_order_mark() {
        let corpus = read("\u{feff}שלום 🦀\r\n".as_bytes()).unwrap();
        assert_eq!(
            (corpus.name.as_str(), &*corpus.text),
            ("a text.txt", "שלום 🦀\r\n")
        );
        assert_eq!(
            corpus.sha256,
            read("שלום 🦀\r\n".as_bytes()).unwrap().sha256
        );
        // From `printf abc | sha256sum`.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(read(b"abc").unwrap().sha256, abc);
    }

    #[test]
    fn a_text_in_its_file_is_the_text_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.txt");
        let both = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            [1, u64::MAX].map(|mapped| Corpus::read_or_map(&path, mapped))
        };
        for text in ["a", "\u{feff}שלום 🦀\r\n", &"line\n".repeat(10_000)] {
            let [mapped, read] = both(text.as_bytes()).map(Result::unwrap);
            mapped.text.release();
            assert_eq!(*mapped.text, *read.text);
            assert_eq!(mapped.sha256, read.sha256);
            assert_eq!(mapped.parts(0.3, true), read.parts(0.3, true));
        }
        for bad in [&b"good\nba\xffd"[..], "\u{feff}".as_bytes(), b""] {
            let [mapped, read] = both(bad).map(|result| result.unwrap_err().to_string());
            assert_eq!(mapped, read);
        }
    }

    #[test]
    fn refusals_say_what_and_where() {
        let error = refusal(b"good\nba\xffd");
        assert!(
            error.contains("byte 0xff at offset 7 (line 2)") && error.contains("a text.txt"),
            "{error}"
        );
        assert!(refusal("é".as_bytes().split_last().unwrap().1).contains("byte 0xc3 at offset 0"));
        assert!(refusal(b"").contains("is empty"));
        assert!(refusal("\u{feff}".as_bytes()).contains("is empty"));
        let folder = tempfile::tempdir().unwrap();
        let error = |path: &Path| Corpus::read(path).unwrap_err().to_string();
        assert!(error(folder.path()).contains("is a folder"));
        let missing = error(&folder.path().join("none.txt"));
        assert!(
            missing.contains("none.txt") && missing.contains("No such file"),
            "{missing}"
        );
    }

    #[test]
    fn a_text_too_large_is_refused_before_it_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.txt");
        // Takes no room on the disk.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(
            Corpus::read(&path)
                .unwrap_err()
                .to_string()
                .contains("more than 268435456 bytes")
        );
    }

    #[test]
    fn parts() {
        assert_eq!(training_part(1_115_394, 0.1), 1_003_854);
        assert_eq!(
            (
                training_part(10, 0.0),
                training_part(1, 0.5),
                training_part(0, 0.5)
            ),
            (10, 0, 0)
        );
    }
}
