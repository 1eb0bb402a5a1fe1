//! Why a training was refused, or ended early.

use std::path::PathBuf;

use super::config_check::ConfigError;
use super::distill_error::DistillError;
use super::state::Diverged;
use crate::data::corpus::CorpusError;
use crate::data::examples::DataError;
use crate::data::split::Split;
use crate::data::tokenizer::EncodeError;
use crate::fs;

/// Why a training did not run to an end or a stop.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Bad settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The text cannot be read again.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The text or its vocabulary was refused.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Too few characters.
    #[error(
        "{name} has {characters} characters, {train} of them for training (split {split}): expected at least 2"
    )]
    TooShort {
        /// The text.
        name: String,
        /// Its characters.
        characters: usize,
        /// Those for training.
        train: usize,
        /// The setting.
        split: Split,
    },
    /// The activations would take too much memory.
    #[error(
        "these settings need about {needed} GB of memory, expected at most {MAX_MEMORY_GB}: lower --hidden-size, --layers, --batch-size or --seq-len"
    )]
    Memory {
        /// Memory that the settings need.
        needed: u64,
    },
    /// More weights than an ONNX file may have.
    #[error(
        "these settings make {parameters} weights, expected at most {MAX_PARAMETERS}: lower --hidden-size or --layers"
    )]
    TooLarge {
        /// The weights.
        parameters: usize,
    },
    /// The initial model does not fit the data or the settings.
    #[error(
        "the initial model does not fit the data: {0}; train a new model, or give the data that it was made for"
    )]
    InitialModel(String),
    /// A resumed training must be the same one.
    #[error("{} belongs to another training: {differences}; give the same data and settings, or start a new training with --overwrite", path.display())]
    OtherTraining {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        differences: String,
    },
    /// The folder cannot be made.
    #[error("cannot make the folder {}: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// Another training writes into the folder.
    #[error("another training writes into {}: wait for its end, or give another folder with --out", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The loss is not a number any more.
    #[error(transparent)]
    Diverged(#[from] Diverged),
    /// Soft targets were refused.
    #[error(transparent)]
    Distill(#[from] DistillError),
    /// Lines were refused.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A result cannot be written.
    #[error(transparent)]
    Output(#[from] fs::OutputError),
}

pub(super) const MAX_MEMORY_GB: u64 = 16;

/// What `model.onnx` may hold to be read again, with room for its vocabulary.
pub(super) const MAX_PARAMETERS: usize = (crate::onnx::MAX_FILE_BYTES - (2 << 20)) / 4;
