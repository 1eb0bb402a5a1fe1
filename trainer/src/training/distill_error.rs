//! Why there are no soft targets.

use std::path::PathBuf;

use crate::fs::OutputError;

/// The most that soft targets may take, in GB.
pub const MAX_GB: u64 = 8;

/// Why there are no soft targets.
#[derive(Debug, thiserror::Error)]
pub enum DistillError {
    /// A model cannot be a teacher of this data.
    #[error("{teacher} cannot be a teacher of this data: {found}")]
    Teacher {
        /// The file.
        teacher: String,
        /// What stands in the way.
        found: String,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The file is not what was written.
    #[error("{} holds no soft targets of this version, or is damaged: make it again with `trainer distill`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// They are of other data, or of another vocabulary or split.
    #[error(
        "the soft targets are of other data: {}; make them again with `trainer distill`, with the data, --split and tokenizer of this training",
        differences.join(", ")
    )]
    OtherData {
        /// Each as `what: found, expected`.
        differences: Vec<String>,
    },
    /// The settings have teachers.
    #[error("the settings have teachers: their soft targets are missing")]
    Missing,
    /// They would be too large.
    #[error(
        "the soft targets would take {needed} GB, expected at most {MAX_GB}: take less data or --synthetic-tokens, or train without teachers"
    )]
    TooLarge {
        /// What they would take.
        needed: u64,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}
