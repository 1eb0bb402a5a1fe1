//! A model file, whichever of the two kinds it is.

use crate::data::tokenizer::{Vocabulary, VocabularyError};
use crate::network::{Network, NotLanguageModel};
use crate::onnx;
use crate::quantize::{Options, QuantizeError, quantize_with, vocabulary_of};
use pipsqueak::format::MAGIC;
use pipsqueak::{ModelError, Task, encode};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A network in float, or an image's bytes, which have passed [`pipsqueak::Model::parse`].
#[derive(Debug)]
pub enum Model {
    /// From an ONNX file.
    Float(Box<Network>),
    /// From an image.
    Integer(ImageBytes),
}

/// The bytes of an image, aligned and checked.
#[derive(Debug)]
pub struct ImageBytes(Vec<u32>);

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
    /// It begins as an image and is not one.
    #[error("{}: {cause}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: ModelError,
    },
    /// It was read, but another program computes something else from what was understood.
    #[error("{}: {cause}", path.display())]
    Check {
        /// The file.
        path: PathBuf,
        /// What differs.
        cause: onnx::CheckError,
    },
    /// It is neither an image nor an ONNX file that can be read.
    #[error("{}: {cause}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: onnx::ReadError,
    },
}

/// Why a model gives no tokens for text.
#[derive(Debug, thiserror::Error)]
pub enum ModelVocabularyError {
    /// It is no language model.
    #[error(transparent)]
    Kind(#[from] NotLanguageModel),
    /// It is an image that does something else.
    #[error("the image does not go on with a text: {0}")]
    Task(&'static str),
    /// Its tokens are not those of a text.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

impl ImageBytes {
    /// The words of an image, such as [`encode::encode`] gives.
    ///
    /// # Errors
    /// If they are not an image.
    pub fn new(words: Vec<u32>) -> Result<Self, ModelError> {
        pipsqueak::Model::parse(encode::as_bytes(&words))?;
        Ok(Self(words))
    }

    /// The image of a network, as `options` say.
    ///
    /// # Errors
    /// If integers or an image cannot hold it.
    pub fn of(network: &Network, options: &Options) -> Result<Self, BuildError> {
        let quantized = quantize_with(network, options)?;
        Ok(Self::new(encode::encode(&quantized.params)?)?)
    }

    /// The bytes to write to a file.
    pub fn bytes(&self) -> &[u8] {
        encode::as_bytes(&self.0)
    }

    /// The image.
    pub fn image(&self) -> pipsqueak::Model<'_> {
        pipsqueak::Model::parse(self.bytes()).expect("it was parsed when it was made")
    }
}

/// Why an image cannot be made of a network.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Integers cannot hold it.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// It fits into no image.
    #[error(transparent)]
    Encode(#[from] encode::EncodeError),
    /// What was made is no image.
    #[error(transparent)]
    Image(#[from] ModelError),
}

impl Model {
    /// Opens an image (known by its first bytes) or an ONNX file.
    ///
    /// # Errors
    /// If the file cannot be read or is neither.
    pub fn open(path: &Path) -> Result<Self, ModelFileError> {
        let io = |cause| ModelFileError::Io {
            path: path.into(),
            cause,
        };
        let mut bytes = Vec::new();
        let limit = onnx::MAX_FILE_BYTES as u64 + 1;
        File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(io)?;
        if bytes.starts_with(&MAGIC) || path.extension().is_some_and(|e| e == "pip") {
            let image = |cause| ModelFileError::Image {
                path: path.into(),
                cause,
            };
            let words = encode::to_words(&bytes);
            let parsed = pipsqueak::Model::parse(&encode::as_bytes(&words)[..bytes.len()])
                .map(|model| model.len())
                .map_err(image)?;
            if parsed != bytes.len() {
                let (expected, found) = (parsed as u32, bytes.len() as u32);
                return Err(image(ModelError::SizeMismatch { expected, found }));
            }
            return Ok(Self::Integer(ImageBytes(words)));
        }
        let network =
            onnx::read_beside(&bytes, path.parent()).map_err(|cause| ModelFileError::Onnx {
                path: path.into(),
                cause,
            })?;
        onnx::check(&network, &onnx::write(&network)).map_err(|cause| ModelFileError::Check {
            path: path.into(),
            cause,
        })?;
        Ok(Self::Float(Box::new(network)))
    }

    /// Whether it makes texts of a feature vector.
    pub fn takes_features(&self) -> bool {
        match self {
            Self::Float(network) => network.features() > 0,
            Self::Integer(bytes) => bytes.image().task() == Task::ConditionalGenerator,
        }
    }

    /// The tokens of a language model, or of what makes texts of features.
    ///
    /// # Errors
    /// If it is another kind of network. An image made elsewhere may also hold a text twice.
    pub fn vocabulary(&self) -> Result<Vocabulary, ModelVocabularyError> {
        match self {
            Self::Float(network) => match &network.vocabulary {
                Some(vocabulary) if network.features() > 0 => Ok(vocabulary.clone()),
                _ => Ok(network.as_language_model()?.vocabulary.clone()),
            },
            Self::Integer(bytes) => {
                let image = bytes.image();
                let instead = match image.task() {
                    Task::LanguageModel | Task::ConditionalGenerator => {
                        return Ok(vocabulary_of(image.vocabulary())?);
                    }
                    Task::SequenceToSequence => "it makes a text of a text: use trainer translate",
                    Task::Classifier => "it names the class of a text: use trainer classify",
                    _ => "it has no texts: use trainer run, or export the model with --vocab",
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
        let file = File::create(&path).unwrap();
        file.set_len(onnx::MAX_FILE_BYTES as u64 + 1).unwrap();
        assert!(said().contains("model.onnx: the file has more than 134217728 bytes"));
        Model::open(folder.path()).unwrap_err();
    }
}
