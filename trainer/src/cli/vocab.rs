//! `--vocab` and `--tokenizer`, for imported models, whose ONNX files have no vocabulary.

use crate::data::tokenizer::Tokenizer;
use crate::data::tokenizer::file::VocabularyFile;
use crate::inference::model::Model;
use anyhow::bail;
use clap::Args;
use std::path::{Path, PathBuf};

/// The vocabulary of a model whose file has none.
#[derive(Debug, Args)]
pub struct VocabArgs {
    /// Vocabulary of an imported model: a JSON list of tokens, torchtext's itos (also as a file of one token per line), a Keras
    /// word_index, or a JSON object with the source and target vocabularies of an encoder-decoder [default: the model's own]
    #[arg(long, value_name = "FILE", help_heading = "Vocabulary")]
    pub vocab: Option<PathBuf>,
    /// How --vocab's tokens split a text: subword (by the longest match), byte, word (with its preceding space), or words at white
    /// space, as they are (whitespace) or in lower case (whitespace-lowercase) [default: guessed from the tokens]
    #[arg(
        long,
        value_name = "TOKENIZER",
        requires = "vocab",
        help_heading = "Vocabulary"
    )]
    pub tokenizer: Option<Tokenizer>,
}

impl VocabArgs {
    /// Reads the vocabulary file, if one is given.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not a vocabulary.
    pub fn read(&self) -> anyhow::Result<Option<VocabularyFile>> {
        let file = self.vocab.as_deref();
        Ok(file
            .map(|path| VocabularyFile::read(path, self.tokenizer))
            .transpose()?)
    }

    /// Opens a model and attaches the vocabulary.
    ///
    /// # Errors
    /// Returns an error if the model or the vocabulary is rejected, they do not match, or the model is a model file, which has its
    /// vocabulary.
    pub fn open(&self, path: &Path) -> anyhow::Result<Model> {
        let mut model = Model::open(path)?;
        match (self.read()?, &mut model) {
            (None, _) => {}
            (Some(file), Model::Float(network)) => network.set_vocabularies(&file)?,
            (Some(_), Model::Integer(_)) => bail!(
                "{} is a model file, which has its own vocabulary: remove --vocab, or pass it to `trainer export`",
                path.display()
            ),
        }
        Ok(model)
    }
}
