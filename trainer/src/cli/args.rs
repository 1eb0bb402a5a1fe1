//! Arguments that several commands have.

use crate::data::corpus::{Corpus, CorpusError, CorpusOptions};
use crate::data::notice::Notice;
use crate::data::tokenizer::{EncodeError, Encoding, Tokenizer, Vocabulary, VocabularyError};
use anyhow::{anyhow, bail};
use clap::Args;
use std::path::{Path, PathBuf};

/// A text file, and what to do with characters that a model does not know.
#[derive(Debug, Args)]
pub struct TextArgs {
    /// Text to measure on, UTF-8
    // Not required of itself: where these arguments are optional as a whole, none of them may be.
    #[arg(long, value_name = "FILE", required = false)]
    pub text: PathBuf,
    /// Use only this last part of the text, such as 0.1 for the validation part of a training with --validation 0.1
    #[arg(long, value_name = "FRACTION", requires = "text", value_parser = fraction)]
    pub last: Option<f64>,
    /// Leave out characters that the model does not know, and count them, instead of refusing the text
    #[arg(long, requires = "text")]
    pub skip_unknown: bool,
}

impl TextArgs {
    /// The tokens of the text, or of its last part, cut as training cuts it.
    pub(super) fn encode(&self, vocabulary: &Vocabulary) -> anyhow::Result<Encoding> {
        let corpus = open_text(&self.text, vocabulary.tokenizer())?;
        let part = match self.last {
            Some(last) => corpus.parts(last, vocabulary.line_documents())?[1],
            None => corpus.all(),
        };
        let encoded = vocabulary
            .encode_part(&corpus, part, self.skip_unknown)
            .map_err(|error| match error {
                EncodeError::Vocabulary(error) => or_skip(error),
                EncodeError::Corpus(error) => error.into(),
            })?;
        let (found, skipped) = (encoded.tokens.len(), encoded.skipped.characters);
        // The first token is not predicted: without a second one there is no loss to tell.
        if found < 2 {
            bail!(
                "{}: expected at least 2 tokens that the model knows, found {found} ({skipped} skipped)",
                self.text.display()
            );
        }
        Ok(encoded)
    }
}

/// Opens a text for a tokenizer, and prints what its user should know.
pub(super) fn open_text(path: &Path, tokenizer: Tokenizer) -> Result<Corpus, CorpusError> {
    let options = CorpusOptions {
        bytes: tokenizer == Tokenizer::BYTE,
        ..CorpusOptions::default()
    };
    let corpus = Corpus::open(path, options)?;
    print_notices(&corpus.name, &corpus.notices);
    Ok(corpus)
}

/// Prints notices about a text to standard error.
pub(super) fn print_notices(name: &str, notices: &[Notice]) {
    for notice in notices {
        eprintln!("{name}: {notice}");
    }
}

/// The error of a text with unknown tokens, for a command that has `--skip-unknown`.
pub(super) fn or_skip(error: VocabularyError) -> anyhow::Error {
    match error {
        VocabularyError::Unknown(_) => anyhow!("{error} or pass --skip-unknown"),
        _ => error.into(),
    }
}

pub(super) fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("expected a number above 0 and at most 1".into()),
    }
}
