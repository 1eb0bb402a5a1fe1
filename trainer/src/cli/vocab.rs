//! `--vocab FILE`, for models of others, whose files have no texts.

use crate::data::tokenizer::Tokenizer;
use crate::data::tokenizer::file::VocabularyFile;
use crate::inference::model::Model;
use anyhow::bail;
use clap::Args;
use std::path::{Path, PathBuf};

/// The texts of a model's tokens, where its own file does not have them.
#[derive(Debug, Args)]
pub struct VocabArgs {
    /// The tokens' texts: a JSON list, torchtext's itos (also a token a line), a Keras word_index, or those of an encoder and a decoder
    #[arg(long, value_name = "FILE")]
    pub vocab: Option<PathBuf>,
    /// The tokenizer of --vocab [default: guessed from the tokens]
    #[arg(
        long = "vocab-level",
        value_name = "TOKENIZER",
        requires = "vocab",
        value_enum
    )]
    pub vocab_level: Option<Tokenizer>,
}

impl VocabArgs {
    /// The file, where one is given.
    ///
    /// # Errors
    /// If it is refused.
    pub fn read(&self) -> anyhow::Result<Option<VocabularyFile>> {
        let file = self.vocab.as_deref();
        Ok(file
            .map(|path| VocabularyFile::read(path, self.vocab_level))
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
            (Some(file), Model::Float(network)) => file.attach_to(network)?,
            (Some(_), Model::Integer(_)) => bail!(
                "{} is an image, which has its vocabulary: leave out --vocab, or give it to the export",
                path.display()
            ),
        }
        Ok(model)
    }
}
