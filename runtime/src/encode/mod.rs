//! Writes model files; for the host, with the feature `encode`.
//!
//! [`ModelParams`] holds a network's quantized parameters as plain matrices; [`encode`] packs them.

mod config;
mod matrix;
mod params;
mod programs;
mod random;
mod samples;
mod writer;

pub use config::ModelConfig;
pub use matrix::QuantizedMatrix;
pub use params::{
    DenseParams, LayerParams, ModelParams, OpParams, RecurrentParams, TokenRows, VocabularyParams,
};
pub use programs::random_config;
pub use samples::{language_model, sample_configs};
pub use writer::{encode, with_config};

use crate::format::{ModelError, checksum};

/// Why parameters cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// More layers, inputs or outputs than a model may have, larger ones, or more than 65,535 bytes of metadata.
    TooLarge,
    /// The model would be refused.
    Refused(ModelError),
}

impl core::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        use crate::format::{MAX_INPUTS, MAX_LAYERS, MAX_OUTPUTS};
        match self {
            Self::TooLarge => write!(
                f,
                "a model has at most {MAX_LAYERS} layers of {MAX_INPUTS} inputs, {MAX_OUTPUTS} outputs and 1,024 bytes of metadata"
            ),
            Self::Refused(error) => write!(f, "the model would be refused: {error}"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// Writes the checksum that fits the rest of `model`, which has at least 8 bytes.
pub fn update_checksum(model: &mut [u8]) {
    let crc = checksum(model);
    if let Some(field) = model.get_mut(4..8) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
}

/// A copy of `bytes` that is aligned to words; zeros fill the last one.
pub fn to_words(bytes: &[u8]) -> alloc::vec::Vec<u32> {
    let mut words = alloc::vec![0u32; bytes.len().div_ceil(4)];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

/// The bytes of words.
pub fn as_bytes(words: &[u32]) -> &[u8] {
    bytemuck::cast_slice(words)
}
