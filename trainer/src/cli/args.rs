//! Options that several commands share, and the values that they take.

use super::progress;
use crate::data::corpus::{Corpus, CorpusError, CorpusOptions};
use crate::data::notice::Notice;
use crate::data::split::{Part, Split};
use crate::data::tokenizer::{EncodeError, Encoding, Tokenizer, Vocabulary, VocabularyError};
use crate::network::formats::{INT4, INT8, INT8_INT4, WeightFormats};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use indicatif::ProgressBar;
use pipsqueak::{Temperature, WeightFormat};
use pipsqueak_boards::BoardSpec;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// A text to measure on.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Text to measure the loss on, UTF-8
    // Commands that need it require it by `mut_arg`; the others have these options as a whole or not at all.
    #[arg(long, value_name = "FILE", required = false, help_heading = "Data")]
    pub data: PathBuf,
    /// Part of the data to measure on: all, or train, dev or test as the model's training has split it [default: all; dev of lines]
    #[arg(
        long,
        value_name = "PART",
        requires = "data",
        hide_possible_values = true,
        help_heading = "Data"
    )]
    pub split: Option<PartChoice>,
    /// Skip characters that are not in the model's vocabulary, and count them, instead of refusing the text
    #[arg(long, requires = "data", help_heading = "Data")]
    pub skip_unknown: bool,
}

impl DataArgs {
    /// Reads the selected part of the text and encodes it as training does. `split` is that of the model's training.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, has characters outside of the vocabulary, or has fewer than 2 tokens, or if a part
    /// is selected and the split is not known.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        split: Option<Split>,
    ) -> anyhow::Result<Encoding> {
        let corpus = open_corpus(&self.data, false, Some(vocabulary.tokenizer()))?;
        let part = match self.split.and_then(PartChoice::part) {
            None => corpus.all(),
            Some(part) => {
                let split = split.context(
                    "--split: the model does not say how its training has split the text: give the config.toml of that training with --config, or --split all",
                )?;
                let [train, dev, test] = split.parts(&corpus, vocabulary.line_documents())?;
                match part {
                    Part::Train => train,
                    Part::Dev => dev,
                    Part::Test => test,
                }
            }
        };
        let encoded = vocabulary
            .encode_part(&corpus, part, self.skip_unknown)
            .map_err(|error| match error {
                EncodeError::Vocabulary(error) => or_skip(error),
                EncodeError::Corpus(error) => error.into(),
            })?;
        let (found, skipped) = (encoded.tokens.len(), encoded.skipped.characters);
        // The first token is not predicted: one token has no loss.
        if found < 2 {
            bail!(
                "{}: expected at least 2 tokens of the model's vocabulary, found {found} ({skipped} skipped)",
                self.data.display()
            );
        }
        Ok(encoded)
    }
}

/// Opens a text or a file of lines, for a tokenizer if it is known, and prints what its user should know.
pub(super) fn open_corpus(
    path: &Path,
    keep_cr: bool,
    tokenizer: Option<Tokenizer>,
) -> Result<Corpus, CorpusError> {
    let options = CorpusOptions {
        keep_cr,
        bytes: tokenizer == Some(Tokenizer::BYTE),
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

/// A part of the data, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PartChoice {
    /// All of it.
    All,
    /// What the model was trained on.
    Train,
    /// What was chosen on.
    Dev,
    /// What nothing has looked at.
    Test,
}

impl PartChoice {
    /// The part; `None` for all.
    pub(super) fn part(self) -> Option<Part> {
        match self {
            Self::All => None,
            Self::Train => Some(Part::Train),
            Self::Dev => Some(Part::Dev),
            Self::Test => Some(Part::Test),
        }
    }
}

/// How a command prints its result.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Print the result as one JSON object per line (trainer/JSON.md)
    #[arg(long, help_heading = "Output", conflicts_with = "quiet")]
    pub json: bool,
    /// Print only results and errors: no progress, no messages
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

impl OutputArgs {
    /// Prints a message for people on standard error, unless `--quiet` or `--json` is given.
    pub(super) fn message(&self, text: &str) {
        if !self.quiet && !self.json {
            eprintln!("{text}");
        }
    }

    /// A progress bar over `length` steps, labelled `what`; hidden with `--quiet`.
    pub(super) fn progress(&self, length: usize, what: &'static str) -> ProgressBar {
        match self.quiet {
            true => ProgressBar::hidden(),
            false => progress::bar(length as u64, what),
        }
    }
}

/// A sampling temperature, and its text on the command line.
#[derive(Clone, Debug)]
pub struct TemperatureArg {
    /// As given.
    pub text: String,
    /// What it means.
    pub value: Temperature,
}

/// Parses a sampling temperature.
pub(super) fn temperature(text: &str) -> Result<TemperatureArg, String> {
    let value = Temperature::parse(text).map_err(|error| error.to_string())?;
    let text = text.into();
    Ok(TemperatureArg { text, value })
}

/// Parses a fraction above 0, at most 1.
pub(super) fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("expected a number above 0 and at most 1".into()),
    }
}

/// Parses a whole number in `range`.
pub(super) fn whole<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let value = text.parse().ok().filter(|value| range.contains(value));
        let value = value.and_then(|value| T::try_from(value).ok());
        value.ok_or_else(|| {
            let (first, last) = (range.start(), range.end());
            format!("expected a whole number from {first} to {last}")
        })
    }
}

/// Parses the name of a board.
pub(super) fn board(name: &str) -> Result<&'static BoardSpec, String> {
    BoardSpec::find(name).ok_or_else(|| format!("expected one of {}", BoardSpec::names()))
}

/// Parses the bits of a weight.
pub(super) fn weight_bits(text: &str) -> Result<WeightFormat, String> {
    match text {
        "8" => Ok(WeightFormat::Int8),
        "4" => Ok(WeightFormat::Int4),
        _ => Err("expected 8 or 4".into()),
    }
}

/// The weight formats of `layers` recurrent layers. `bits` has a value for each layer, the last one for all further layers; `input`
/// has those of the input weights of the first layers, if they differ. Empty if `bits` is empty.
///
/// # Errors
/// Returns an error if there are more values than layers, or a layer would have 4-bit input weights and 8-bit recurrent weights.
pub(super) fn layer_formats(
    bits: &[WeightFormat],
    input: &[WeightFormat],
    layers: usize,
) -> anyhow::Result<Vec<WeightFormats>> {
    let Some(&last) = bits.last() else {
        return Ok(Vec::new());
    };
    for (option, values) in [("--weight-bits", bits), ("--input-weight-bits", input)] {
        if values.len() > layers {
            bail!(
                "{option} has {} values, the network {layers} recurrent layer(s)",
                values.len()
            );
        }
    }
    let formats = (0..layers).map(|layer| {
        let recurrent = bits.get(layer).copied().unwrap_or(last);
        match (input.get(layer).copied().unwrap_or(recurrent), recurrent) {
            (WeightFormat::Int8, WeightFormat::Int8) => Ok(INT8),
            (WeightFormat::Int4, WeightFormat::Int4) => Ok(INT4),
            (WeightFormat::Int8, WeightFormat::Int4) => Ok(INT8_INT4),
            _ => bail!(
                "layer {layer}: --input-weight-bits 4 needs --weight-bits 4: a layer cannot have 4-bit input weights and 8-bit recurrent weights"
            ),
        }
    });
    formats.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_get_their_formats() {
        const FOUR: WeightFormat = WeightFormat::Int4;
        const EIGHT: WeightFormat = WeightFormat::Int8;
        let formats = |bits: &[_], input: &[_]| layer_formats(bits, input, 3).unwrap();
        assert!(formats(&[], &[]).is_empty());
        assert_eq!(formats(&[FOUR], &[]), [INT4; 3]);
        assert_eq!(formats(&[FOUR, EIGHT], &[]), [INT4, INT8, INT8]);
        // As in training, other bits of the input weights are those of the first layer.
        assert_eq!(formats(&[FOUR], &[EIGHT]), [INT8_INT4, INT4, INT4]);
        let two = formats(&[FOUR, FOUR, EIGHT], &[EIGHT, EIGHT]);
        assert_eq!(two, [INT8_INT4, INT8_INT4, INT8]);
        let error = |bits: &[_], input: &[_], layers| {
            let result = layer_formats(bits, input, layers);
            result.unwrap_err().to_string()
        };
        let mixed = error(&[EIGHT], &[FOUR], 1);
        assert!(mixed.contains("--input-weight-bits 4 needs"), "{mixed}");
        let many = error(&[EIGHT, EIGHT], &[], 1);
        assert_eq!(
            many,
            "--weight-bits has 2 values, the network 1 recurrent layer(s)"
        );
    }
}
