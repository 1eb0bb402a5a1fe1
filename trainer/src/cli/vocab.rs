//! `--vocab` and `--tokenizer`, for imported models, whose ONNX files have no vocabulary.

use crate::data::vocab::file::VocabularyFile;
use crate::data::vocab::{LEVELS, Tokenization, level_named};
use crate::inference::model::Model;
use anyhow::bail;
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::{Path, PathBuf};

/// The vocabulary of a model whose file has none.
#[derive(Debug, Args)]
pub struct VocabArgs {
    /// Vocabulary of an imported model: a JSON list of tokens, torchtext's itos (also as a file of one token per line), a Keras
    /// word_index, or a JSON object with the source and target vocabularies of an encoder-decoder [default: the model's own]
    #[arg(long, value_name = "FILE", help_heading = "Vocabulary")]
    pub vocab: Option<PathBuf>,
    /// How --vocab's tokens split a text: by the longest match (pieces), into bytes, words with their preceding space (words), or
    /// words separated by spaces, as they are (spaced) or lower-cased (spaced-lower) [default: guessed from the tokens]
    #[arg(long, value_name = "TOKENIZER", requires = "vocab", value_parser = PossibleValuesParser::new(LEVELS), help_heading = "Vocabulary")]
    pub tokenizer: Option<String>,
}

impl VocabArgs {
    /// Reads the vocabulary file, if one is given.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not a vocabulary.
    pub fn read(&self) -> anyhow::Result<Option<VocabularyFile>> {
        let level: Option<Tokenization> = self.tokenizer.as_deref().and_then(level_named);
        let file = self.vocab.as_deref();
        Ok(file
            .map(|path| VocabularyFile::read(path, level))
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
            (Some(file), Model::Float(network)) => file.put_into(network)?,
            (Some(_), Model::Integer(_)) => bail!(
                "{} is a model file, which has its own vocabulary: remove --vocab, or pass it to `trainer export`",
                path.display()
            ),
        }
        Ok(model)
    }
}
