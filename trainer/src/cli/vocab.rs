//! `--vocab FILE`, for models of others, whose files have no texts.

use crate::data::vocab::file::VocabularyFile;
use crate::data::vocab::{LEVELS, Tokenization, level_named};
use crate::inference::model::Model;
use anyhow::bail;
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::{Path, PathBuf};

/// The texts of a model's tokens, where its own file does not have them.
#[derive(Debug, Args)]
pub struct VocabArgs {
    /// The tokens' texts: a JSON list, torchtext's itos (also a token a line), a Keras word_index, or those of an encoder and a decoder
    #[arg(long, value_name = "FILE")]
    pub vocab: Option<PathBuf>,
    /// How --vocab's tokens cut a text, instead of a guess: by the longest match, bytes, words with the space before them, or words with spaces printed between, as they are or in small letters
    #[arg(long = "vocab-level", value_name = "LEVEL", requires = "vocab", value_parser = PossibleValuesParser::new(LEVELS))]
    pub vocab_level: Option<String>,
}

impl VocabArgs {
    /// The file, where one is given.
    ///
    /// # Errors
    /// If it is refused.
    pub fn read(&self) -> anyhow::Result<Option<VocabularyFile>> {
        let level: Option<Tokenization> = self.vocab_level.as_deref().and_then(level_named);
        let file = self.vocab.as_deref();
        Ok(file
            .map(|path| VocabularyFile::read(path, level))
            .transpose()?)
    }

    /// Opens a model and gives it the texts.
    ///
    /// # Errors
    /// If the model or the file is refused, they do not fit each other, or the model is an image, which has its texts.
    pub fn open(&self, path: &Path) -> anyhow::Result<Model> {
        let mut model = Model::open(path)?;
        match (self.read()?, &mut model) {
            (None, _) => {}
            (Some(file), Model::Float(network)) => file.put_into(network)?,
            (Some(_), Model::Integer(_)) => bail!(
                "{} is an image, which has its vocabulary: leave out --vocab, or give it to the export",
                path.display()
            ),
        }
        Ok(model)
    }
}
