//! The bytes of a model file: header, metadata, sections. `FORMAT.md` beside this crate describes them.

mod crc;
mod error;
mod field;
mod header;
mod metadata;
mod reader;
mod varint;

pub use error::{Feature, Inconsistency, ModelError};
pub use field::Field;
pub use header::{HEADER_LEN, MAGIC, VERSION};
pub use metadata::{
    ConstantKind, Inputs, LayerConfig, MAX_DIM, MAX_INPUTS, MAX_LAYERS, MAX_OUTPUTS,
    MAX_STEPS_PER_TOKEN, Metadata, Normalization, OpConfig, OutputConfig, Phase,
    RecurrentLayerConfig, Role, SpecialTokens, StateInit, TokenRowsConfig, TrainingInfo, VectorId,
    VocabularyConfig,
};

pub(crate) use crc::crc32;
#[cfg(any(test, feature = "encode"))]
pub(crate) use header::checksum;
pub(crate) use header::{metadata_bytes, split_header};
pub(crate) use metadata::MAX_VECTOR;
pub(crate) use reader::SectionReader;
pub(crate) use varint::VarintReader;
