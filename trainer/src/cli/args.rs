//! Arguments that several commands have.

use crate::data::corpus::Corpus;
use crate::data::vocab::{Encoded, Vocabulary};
use anyhow::bail;
use clap::Args;
use std::path::PathBuf;

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
    pub(super) fn encode(&self, vocabulary: &Vocabulary) -> anyhow::Result<Encoded> {
        let corpus = Corpus::read(&self.text)?;
        let last = |last| corpus.parts(last, vocabulary.is_by_line()).1;
        let text = self.last.map_or(&*corpus.text, last);
        let encoded = vocabulary.encode_stream(text, self.skip_unknown)?;
        let (found, skipped) = (encoded.tokens.len(), encoded.skipped);
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

pub(super) fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("expected a number above 0 and at most 1".into()),
    }
}
