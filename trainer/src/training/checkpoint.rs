//! `checkpoint.bin`: everything that a resumed training needs to end as if it had never stopped.
//!
//! Eight bytes of magic and version, the SHA-256 of the rest, then the fields in postcard; the settings among them as in
//! `config.toml`.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Row;
use super::config::Config;
use super::selection::Selection;
use super::state::TrainState;
use crate::fs::{self, OutputError};

/// The file's name in the folder of a training.
pub const FILE: &str = "checkpoint.bin";

/// What a checkpoint begins with. The last byte is the version: it rises when the fields change.
const MAGIC: [u8; 8] = *b"PIPCKPT\x05";

const HASH: usize = 32;

/// The largest checkpoint that is read: weights, moments, averages of the largest network, and logs.
const MAX_BYTES: u64 = 4 << 30;

/// A training that stopped between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The settings.
    pub config: Config,
    /// SHA-256 of the data, in hexadecimal.
    pub data: String,
    /// Weights, moments, states.
    pub state: TrainState,
    /// The log so far.
    pub rows: Vec<Row>,
    /// The best step so far.
    pub selection: Selection,
    /// Seconds of training so far.
    pub seconds: f64,
}

type Fields = (String, String, TrainState, Vec<Row>, Selection, f64);

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
    #[error("{} is not a checkpoint of this version: expected it to begin with {expected:02x?}, found {found:02x?}; --overwrite starts a new training", path.display())]
    Magic {
        /// The file.
        path: PathBuf,
        /// What it should begin with.
        expected: [u8; 8],
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// Not the bytes that were written.
    #[error("{} is damaged: its contents do not fit their checksum; --overwrite starts a new training", path.display())]
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
        let config = toml::to_string(&self.config).expect("settings can be written as TOML");
        let fields = (
            config,
            &self.data,
            &self.state,
            &self.rows,
            &self.selection,
            self.seconds,
        );
        let fields = postcard::to_stdvec(&fields).expect("postcard encodes every field");
        fs::write_atomically(
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
        let mut bytes = Vec::new();
        std::fs::File::open(path())
            .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
            .map_err(|cause| CheckpointError::Io {
                path: path(),
                cause,
            })?;
        let Some(rest) = bytes.strip_prefix(&MAGIC) else {
            let found = bytes[..bytes.len().min(MAGIC.len())].to_vec();
            return Err(CheckpointError::Magic {
                path: path(),
                expected: MAGIC,
                found,
            });
        };
        let fields = rest
            .split_at_checked(HASH)
            .filter(|(hash, fields)| *hash == &Sha256::digest(fields)[..]);
        fields
            .and_then(|(_, fields)| Self::decode(fields))
            .ok_or_else(|| CheckpointError::Damaged { path: path() })
    }

    fn decode(fields: &[u8]) -> Option<Self> {
        let (config, data, state, rows, selection, seconds): Fields =
            postcard::from_bytes(fields).ok()?;
        let config: Config = toml::from_str(&config).ok()?;
        config.check().ok()?;
        Some(Self {
            config,
            data,
            state,
            rows,
            selection,
            seconds,
        })
    }
}
