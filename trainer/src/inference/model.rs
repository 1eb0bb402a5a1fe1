//! Opens models: ONNX files (float) and model files (integers).

use crate::data::split::Split;
use crate::data::tokenizer::{Vocabulary, VocabularyError};
use crate::fs;
use crate::network::{Network, NotLanguageModel};
use crate::onnx;
use crate::quantize::{Options, QuantizeError, quantize_with, vocabulary_of};
use pipsqueak::format::MAGIC;
use pipsqueak::{ModelError, Task, encode};
use std::path::{Path, PathBuf};

/// A float network, or a quantized model.
#[derive(Debug)]
pub enum Model {
    /// From an ONNX file.
    Float(Box<Network>),
    /// From a model file (`.pip`).
    Integer(ModelBytes),
}

/// The bytes of a model file, aligned to words, which [`pipsqueak::Model::parse`] accepts.
#[derive(Debug)]
pub struct ModelBytes(Vec<u32>);

/// Why a model could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// It starts as a model file and is malformed.
    #[error("{}: {cause}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: ModelError,
    },
    /// The imported network, written as ONNX and run by tract, gives other results than our own float network.
    #[error("{}: {cause}", path.display())]
    Check {
        /// The file.
        path: PathBuf,
        /// What differs.
        cause: onnx::CheckError,
    },
    /// It is neither a model file nor an ONNX file that can be imported.
    #[error("{}: {cause}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: onnx::ReadError,
    },
}

/// Why a model has no vocabulary to generate text with.
#[derive(Debug, thiserror::Error)]
pub enum ModelVocabularyError {
    /// The network is not a language model.
    #[error(transparent)]
    Kind(#[from] NotLanguageModel),
    /// The model has another task.
    #[error("the model does not continue text: {0}")]
    Task(&'static str),
    /// Its vocabulary is malformed.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

impl ModelBytes {
    /// Checks the words of a model file, such as those that [`encode::encode`] returns.
    ///
    /// # Errors
    /// Returns an error if they are not a model file.
    pub fn new(words: Vec<u32>) -> Result<Self, ModelError> {
        pipsqueak::Model::parse(encode::as_bytes(&words))?;
        Ok(Self(words))
    }

    /// Quantizes a network.
    ///
    /// # Errors
    /// Returns an error if the network cannot be quantized or the format cannot hold it.
    pub fn of(network: &Network, options: &Options) -> Result<Self, BuildError> {
        let quantized = quantize_with(network, options)?;
        Ok(Self::new(encode::encode(&quantized.params)?)?)
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        encode::as_bytes(&self.0)
    }

    /// The parsed model.
    ///
    /// # Panics
    /// Never: the constructors parse the bytes.
    pub fn model(&self) -> pipsqueak::Model<'_> {
        pipsqueak::Model::parse(self.bytes()).expect("the constructors parse it")
    }
}

/// Why a network has no model file.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// The format cannot hold it.
    #[error(transparent)]
    Encode(#[from] encode::EncodeError),
    /// The encoded bytes are malformed.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl Model {
    /// Opens a model file (recognized by its first bytes or the extension `.pip`) or an ONNX file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is neither.
    pub fn open(path: &Path) -> Result<Self, ModelFileError> {
        // One byte more, so that the reader of ONNX refuses what is too large.
        let bytes = fs::read_at_most(path, onnx::MAX_FILE_BYTES as u64 + 1).map_err(|cause| {
            ModelFileError::Io {
                path: path.into(),
                cause,
            }
        })?;
        Self::from_bytes(path, &bytes)
    }

    /// The model in `bytes`, which were read from `path`.
    ///
    /// # Errors
    /// Returns an error if they are neither a model file nor an ONNX file.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, ModelFileError> {
        if bytes.starts_with(&MAGIC) || path.extension().is_some_and(|e| e == "pip") {
            let malformed = |cause| ModelFileError::Model {
                path: path.into(),
                cause,
            };
            let words = encode::to_words(bytes);
            let parsed = pipsqueak::Model::parse(&encode::as_bytes(&words)[..bytes.len()])
                .map(|model| model.len())
                .map_err(malformed)?;
            if parsed != bytes.len() {
                let (expected, found) = (parsed as u32, bytes.len() as u32);
                return Err(malformed(ModelError::SizeMismatch { expected, found }));
            }
            return Ok(Self::Integer(ModelBytes(words)));
        }
        let network =
            onnx::read_beside(bytes, path.parent()).map_err(|cause| ModelFileError::Onnx {
                path: path.into(),
                cause,
            })?;
        onnx::check(&network, &onnx::write(&network)).map_err(|cause| ModelFileError::Check {
            path: path.into(),
            cause,
        })?;
        Ok(Self::Float(Box::new(network)))
    }

    /// The split of the data that it was trained on, if the file says it.
    pub fn split(&self) -> Option<Split> {
        match self {
            Self::Float(network) => Split::of_provenance(&network.provenance.split),
            Self::Integer(bytes) => Split::of_provenance(bytes.model().training_info()?.split),
        }
    }

    /// Whether it generates text conditioned on a feature vector.
    pub fn takes_features(&self) -> bool {
        match self {
            Self::Float(network) => network.features() > 0,
            Self::Integer(bytes) => bytes.model().task() == Task::ConditionalGenerator,
        }
    }

    /// The vocabulary of a language model or a conditional generator.
    ///
    /// # Errors
    /// Returns an error if the model has another task, or a model file of another program holds a token twice.
    pub fn vocabulary(&self) -> Result<Vocabulary, ModelVocabularyError> {
        match self {
            Self::Float(network) => match &network.vocabulary {
                Some(vocabulary) if network.features() > 0 => Ok(vocabulary.clone()),
                _ => Ok(network.as_language_model()?.vocabulary.clone()),
            },
            Self::Integer(bytes) => {
                let model = bytes.model();
                let instead = match model.task() {
                    Task::LanguageModel | Task::ConditionalGenerator => {
                        return Ok(vocabulary_of(model.vocabulary())?);
                    }
                    Task::SequenceToSequence => {
                        "it is a sequence-to-sequence model; use `trainer translate`"
                    }
                    Task::Classifier => "it is a classifier; use `trainer classify`",
                    _ => "it has no vocabulary; use `trainer run`, or export it with --vocab",
                };
                Err(ModelVocabularyError::Task(instead))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let said = || Model::open(&path).unwrap_err().to_string();
        assert!(said().starts_with("cannot read ") && said().contains("model.onnx"));
        std::fs::write(&path, b"").unwrap();
        assert!(said().contains("model.onnx: this is not an ONNX file"));
        assert!(said().contains("it is empty"));
        // A sparse file: nothing of it is on the disk.
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(onnx::MAX_FILE_BYTES as u64 + 1).unwrap();
        assert!(said().contains("model.onnx: the file has more than 134217728 bytes"));
        Model::open(folder.path()).unwrap_err();
    }
}
