//! `trainer baseline`

use super::{fraction, print_json, print_out};
use crate::corpus::Corpus;
use crate::evaluate;
use crate::markov::{Ids, Level, Markov};
use crate::model::Model;
use anyhow::bail;
use clap::Args;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

/// Measures Markov chains on a text: what a table that needs no training predicts, and how many bytes it takes.
///
/// The chains count the first part of the text and predict its last one, smoothed by interpolated Kneser-Ney. As in training,
/// the tokens of both parts are known. A chain of order k sees the k tokens before; its bytes are those of a compact tree
/// of all n-grams up to k+1 tokens, and the tokens' texts.
#[derive(Debug, Args)]
pub struct BaselineArgs {
    /// The text, UTF-8
    pub text: PathBuf,
    /// The last part of the text, which is predicted and not counted
    #[arg(long, value_name = "FRACTION", default_value_t = crate::train::settings::VALIDATION, value_parser = fraction)]
    pub last: f64,
    /// What a token is; losses are by the character either way
    #[arg(long, value_enum, default_value_t)]
    pub level: Level,
    /// The highest order
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub order: u8,
    /// Show this model beside them: a .pip by its bytes, an .onnx by 4 bytes a weight
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What was measured.
#[derive(Debug, serde::Serialize)]
struct Baseline {
    text: String,
    level: Level,
    /// Different tokens of the whole text.
    tokens: usize,
    counted_characters: usize,
    /// Those of the last part, without its first token.
    predicted_characters: usize,
    chains: Vec<Chain>,
    model: Option<Line>,
}

#[derive(Debug, serde::Serialize)]
struct Chain {
    order: usize,
    grams: usize,
    #[serde(flatten)]
    line: Line,
}

#[derive(Debug, serde::Serialize)]
struct Line {
    name: String,
    bytes: usize,
    bits_per_char: f64,
    nats_per_char: f64,
}

impl Line {
    fn new(name: String, bytes: usize, bits_per_char: f64) -> Self {
        let nats_per_char = bits_per_char * std::f64::consts::LN_2;
        Self {
            name,
            bytes,
            bits_per_char,
            nats_per_char,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// If the text or the model cannot be read, a part of the text is too short, or the model does not know all of its characters.
pub fn run(args: BaselineArgs) -> anyhow::Result<()> {
    let corpus = Corpus::read(&args.text)?;
    let (first, last) = corpus.split(args.last);
    let mut ids = Ids::default();
    let (counted, predicted) = (args.level.tokens(first), args.level.tokens(last));
    if counted.is_empty() || predicted.len() < 2 {
        bail!(
            "{}: expected at least 1 token to count and 2 to predict, found {} and {}; give a longer text or another --last",
            args.text.display(),
            counted.len(),
            predicted.len()
        );
    }
    let predicted_characters = predicted[1..]
        .iter()
        .map(|token| token.chars().count())
        .sum();
    let (counted, predicted) = (ids.of(&counted), ids.of(&predicted));
    let markov = Markov::new(&counted, ids.count(), args.order.into());
    let chain = |(order, bits): (usize, f64)| Chain {
        order,
        grams: markov.grams(order),
        line: Line::new(
            format!("order {order}"),
            markov.bytes(order) + ids.bytes(),
            bits / predicted_characters as f64,
        ),
    };
    let chains = markov
        .bits(&predicted)
        .into_iter()
        .enumerate()
        .skip(1)
        .map(chain)
        .collect();
    let model = args.model.map(|path| model_line(&path, last)).transpose()?;
    let baseline = Baseline {
        text: corpus.name.clone(),
        level: args.level,
        tokens: ids.count(),
        counted_characters: first.chars().count(),
        predicted_characters,
        chains,
        model,
    };
    if args.json {
        print_json(&baseline)
    } else {
        print_out(&baseline.to_string())
    }
}

/// The model's loss on the same characters.
fn model_line(path: &Path, text: &str) -> anyhow::Result<Line> {
    let model = Model::open(path)?;
    let vocabulary = model.vocabulary()?;
    let encoded = vocabulary.encode_stream(text, false)?;
    let measure = vocabulary.measure(&encoded, 1..encoded.tokens.len());
    let evaluation = evaluate::model(&model, &encoded.tokens, || ())?.by_character(measure);
    let bytes = match &model {
        Model::Float(network) => 4 * network.parameters(),
        Model::Integer(image) => image.bytes().len(),
    };
    Ok(Line::new(
        path.display().to_string(),
        bytes,
        evaluation.bits_per_char,
    ))
}

impl Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self {
            text,
            tokens,
            counted_characters,
            predicted_characters,
            ..
        } = self;
        writeln!(
            f,
            "{text}: {tokens} different tokens, {counted_characters} characters counted, {predicted_characters} predicted"
        )?;
        writeln!(
            f,
            "{:<9} {:>11} {:>11} {:>10} {:>10}",
            "chain", "n-grams", "bytes", "bits/char", "nats/char"
        )?;
        for Chain { grams, line, .. } in &self.chains {
            let Line {
                name,
                bytes,
                bits_per_char,
                nats_per_char,
            } = line;
            writeln!(
                f,
                "{name:<9} {grams:>11} {bytes:>11} {bits_per_char:>10.4} {nats_per_char:>10.4}"
            )?;
        }
        if let Some(Line {
            name,
            bytes,
            bits_per_char,
            nats_per_char,
        }) = &self.model
        {
            writeln!(
                f,
                "{:<9} {:>11} {bytes:>11} {bits_per_char:>10.4} {nats_per_char:>10.4}  {name}",
                "model", ""
            )?;
        }
        Ok(())
    }
}
