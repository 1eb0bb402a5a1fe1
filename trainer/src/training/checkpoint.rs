//! `checkpoint.bin`: all that a resumed training needs to end as if it had never stopped.
//!
//! Eight bytes of magic and version, the SHA-256 of the rest, then the fields of [`Checkpoint`] in postcard.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Row;
use super::settings::TrainSettings;
use super::update::Progress;
use crate::fs::{self, OutputError};

/// Settings that a checkpoint keeps.
pub trait Kept: Clone + PartialEq + serde::Serialize + serde::de::DeserializeOwned {
    /// What their checkpoints begin with. The last byte is the version: it rises when the fields change.
    const MAGIC: [u8; 8];

    /// Every setting by its name in `train.toml`.
    fn table(&self) -> toml::Table;

    /// The settings that differ, as `name = this, not other`.
    fn differences(&self, other: &Self) -> Vec<String> {
        let other = other.table();
        let differs = |(name, value): &(String, toml::Value)| other.get(name) != Some(value);
        let show = |(name, value)| {
            let other = &other[&name];
            format!("{name} = {value}, not {other}")
        };
        self.table().into_iter().filter(differs).map(show).collect()
    }
}

impl Kept for TrainSettings {
    const MAGIC: [u8; 8] = *b"PIPCKPT\x05";

    fn table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("settings are a table")
    }
}

const HASH: usize = 32;

/// A training that stopped between two steps.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint<S = TrainSettings> {
    /// The settings.
    pub settings: S,
    /// SHA-256 of the text, in hexadecimal.
    pub corpus: String,
    /// Weights, moments, states.
    pub progress: Progress,
    /// The log so far.
    pub rows: Vec<Row>,
    /// Seconds of training so far.
    pub seconds: f64,
}

/// Why a checkpoint was refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}; without --resume a new training starts", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// Another file, or another version.
    #[error("{} is not a checkpoint of this version: expected it to begin with {expected:02x?}, found {found:02x?}", path.display())]
    Magic {
        /// The file.
        path: PathBuf,
        /// What it should begin with.
        expected: [u8; 8],
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// Not the bytes that were written.
    #[error("{} is damaged: its contents do not fit their checksum; start the training anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl<S: Kept> Checkpoint<S> {
    /// Writes the file, in full or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    ///
    /// # Panics
    /// Never: every field can be encoded.
    pub fn write(&self, path: &Path) -> Result<(), OutputError> {
        let fields = postcard::to_stdvec(self).expect("postcard encodes every field");
        fs::write_atomically(
            path,
            &[&S::MAGIC[..], &Sha256::digest(&fields)[..], &fields].concat(),
        )
    }

    /// Whether the file can be read and begins as a checkpoint with these settings.
    pub fn is_one(path: &Path) -> bool {
        let mut start = [0; 8];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
        read.is_ok() && start == S::MAGIC
    }

    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, is of another version, or is damaged.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let path = || PathBuf::from(path);
        let bytes = std::fs::read(path()).map_err(|cause| CheckpointError::Io {
            path: path(),
            cause,
        })?;
        let Some(rest) = bytes.strip_prefix(&S::MAGIC) else {
            let found = bytes[..bytes.len().min(S::MAGIC.len())].to_vec();
            return Err(CheckpointError::Magic {
                path: path(),
                expected: S::MAGIC,
                found,
            });
        };
        let fields = rest
            .split_at_checked(HASH)
            .filter(|(hash, fields)| *hash == &Sha256::digest(fields)[..]);
        fields
            .and_then(|(_, fields)| postcard::from_bytes(fields).ok())
            .ok_or_else(|| CheckpointError::Damaged { path: path() })
    }
}
