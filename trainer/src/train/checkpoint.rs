//! `checkpoint.bin`: all that a resumed training needs to end as if it had never stopped.
//!
//! Eight bytes of magic and version, the SHA-256 of the rest, then the fields of [`Checkpoint`] in postcard.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Row;
use super::settings::TrainSettings;
use super::update::Progress;
use crate::output::{self, OutputError};

/// The last byte is the version. It rises when the fields change.
const MAGIC: [u8; 8] = *b"PIPCKPT\x03";
const HASH: usize = 32;

/// A training that stopped between two steps.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    /// The settings.
    pub settings: TrainSettings,
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
    #[error("{} is not a checkpoint of this version: expected it to begin with {MAGIC:02x?}, found {found:02x?}", path.display())]
    Magic {
        /// The file.
        path: PathBuf,
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

impl Checkpoint {
    /// Writes the file, in full or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    ///
    /// # Panics
    /// Never: every field can be encoded.
    pub fn write(&self, path: &Path) -> Result<(), OutputError> {
        let fields = postcard::to_stdvec(self).expect("postcard encodes every field");
        output::write_atomically(
            path,
            &[&MAGIC[..], &Sha256::digest(&fields)[..], &fields].concat(),
        )
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
        let Some(rest) = bytes.strip_prefix(&MAGIC) else {
            let found = bytes[..bytes.len().min(MAGIC.len())].to_vec();
            return Err(CheckpointError::Magic {
                path: path(),
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
