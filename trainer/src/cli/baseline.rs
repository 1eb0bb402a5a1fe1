//! `trainer baseline`

use super::args::{fraction, open_text};
use super::print::{print_json, print_out};
use crate::data::corpus::{Corpus, CorpusError, Part};
use crate::data::tokenizer::{CharStats, EncodeError, Tokenizer, Vocabulary};
use crate::eval::ngram::{Ids, Markov};
use crate::eval::perplexity;
use crate::inference::model::Model;
use anyhow::bail;
use clap::Args;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

/// CharStatss Markov chains on a text: what a table that needs no training predicts, and how many bytes it takes.
///
/// The chains count the first part of the text and predict its last one, smoothed by interpolated Kneser-Ney. As in training,
/// the tokens of both parts are known. A chain of order k sees the k tokens before; its bytes are those of a compact tree
/// of all n-grams up to k+1 tokens, and the tokens' texts.
#[derive(Debug, Args)]
pub struct BaselineArgs {
    /// The text, UTF-8
    pub text: PathBuf,
    /// The last part of the text, which is predicted and not counted
    #[arg(long, value_name = "FRACTION", default_value_t = crate::training::settings::VALIDATION, value_parser = fraction)]
    pub last: f64,
    /// What a token is; losses are by the character either way
    #[arg(long, value_name = "TOKENIZER", default_value_t, value_parser = tokenizer)]
    pub level: Tokenizer,
    /// The highest order
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub order: u8,
    /// Count the tokens of --model instead, the same as it sees: what is unknown to it is unknown to the chains, and spelled out at the same cost
    #[arg(long, requires = "model", conflicts_with = "level")]
    pub model_tokens: bool,
    /// Name the best chain of at most so many bytes [default: those of --model]
    #[arg(long, value_name = "BYTES")]
    pub bytes: Option<usize>,
    /// Show this model beside them: a .pip by its bytes, an .onnx by 4 bytes a weight
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A tokenizer that needs no vocabulary.
fn tokenizer(name: &str) -> Result<Tokenizer, String> {
    let known = [Tokenizer::CHAR, Tokenizer::WORD];
    let named = name.parse().ok().filter(|found| known.contains(found));
    named.ok_or_else(|| "expected char or word".into())
}

/// What was measured.
#[derive(Debug, serde::Serialize)]
struct Baseline {
    text: String,
    /// None: the tokens of the model.
    level: Option<Tokenizer>,
    /// Different tokens of the whole text, or of the model.
    tokens: usize,
    counted_characters: usize,
    /// Those of the last part, without its first token.
    predicted_characters: usize,
    chains: Vec<Chain>,
    model: Option<Line>,
    /// The most bytes of the best chain.
    most_bytes: Option<usize>,
    /// The chain of the fewest bits that has no more bytes.
    best: Option<Line>,
}

#[derive(Debug, serde::Serialize)]
struct Chain {
    order: usize,
    grams: usize,
    #[serde(flatten)]
    line: Line,
}

#[derive(Clone, Debug, serde::Serialize)]
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
    let model = args.model.as_deref().map(Model::open).transpose()?;
    let vocabulary = model.as_ref().map(Model::vocabulary).transpose()?;
    let tokenizer = vocabulary
        .as_ref()
        .map_or(args.level, Vocabulary::tokenizer);
    let corpus = open_text(&args.text, tokenizer)?;
    let by_line = vocabulary.as_ref().is_some_and(Vocabulary::line_documents);
    let [first, last] = corpus.parts(args.last, by_line)?;
    let counts = match vocabulary.as_ref().filter(|_| args.model_tokens) {
        Some(vocabulary) => Counts::of_vocabulary(vocabulary, &corpus, [first, last])?,
        None => Counts::of_tokenizer(args.level, &corpus, [first, last])?,
    };
    if counts.counted.is_empty() || counts.predicted.len() < 2 {
        bail!(
            "{}: expected at least 1 token to count and 2 to predict, found {} and {}; give a longer text or another --last",
            args.text.display(),
            counts.counted.len(),
            counts.predicted.len()
        );
    }
    let markov = Markov::new(&counts.counted, counts.tokens, args.order.into());
    let spelling = counts.stats.spelling / std::f64::consts::LN_2;
    let predicted_characters = counts.stats.characters;
    let chain = |(order, bits): (usize, f64)| Chain {
        order,
        grams: markov.grams(order),
        line: Line::new(
            format!("order {order}"),
            markov.bytes(order) + counts.text_bytes,
            (bits + spelling) / predicted_characters as f64,
        ),
    };
    let chains: Vec<Chain> = markov
        .bits(&counts.predicted)
        .into_iter()
        .enumerate()
        .skip(1)
        .map(chain)
        .collect();
    let model = match (&args.model, &model) {
        (Some(path), Some(model)) => Some(model_line(path, model, &corpus, last)?),
        _ => None,
    };
    let most_bytes = args.bytes.or(model.as_ref().map(|line| line.bytes));
    let fit = chains.iter().map(|chain| &chain.line);
    let fit = fit.filter(|line| most_bytes.is_some_and(|most| line.bytes <= most));
    let best = fit.min_by(|a, b| a.bits_per_char.total_cmp(&b.bits_per_char));
    let baseline = Baseline {
        text: corpus.name.clone(),
        level: (!args.model_tokens).then_some(args.level),
        tokens: counts.tokens,
        counted_characters: first.characters,
        predicted_characters,
        best: best.cloned(),
        chains,
        model,
        most_bytes,
    };
    if args.json {
        print_json(&baseline)
    } else {
        print_out(&baseline.to_string())
    }
}

/// What the chains count and predict.
struct Counts {
    counted: Vec<u32>,
    predicted: Vec<u32>,
    /// Different tokens.
    tokens: usize,
    /// Bytes of their texts, each with a byte for its length.
    text_bytes: usize,
    /// What is predicted, without its first token.
    stats: CharStats,
}

impl Counts {
    /// The tokens of both parts are known.
    fn of_tokenizer(
        tokenizer: Tokenizer,
        corpus: &Corpus,
        parts: [Part; 2],
    ) -> Result<Self, CorpusError> {
        let mut ids = Ids::default();
        let [first, last] = parts.map(|part| corpus.text(part));
        let (counted, predicted) = (tokenizer.segment(&first?), tokenizer.segment(&last?));
        let characters = predicted.iter().skip(1).map(|text| text.chars().count());
        let stats = CharStats {
            characters: characters.sum(),
            ..CharStats::default()
        };
        Ok(Self {
            counted: ids.of(&counted),
            predicted: ids.of(&predicted),
            tokens: ids.count(),
            text_bytes: ids.bytes(),
            stats,
        })
    }

    fn of_vocabulary(
        vocabulary: &Vocabulary,
        corpus: &Corpus,
        parts: [Part; 2],
    ) -> Result<Self, EncodeError> {
        let [first, last] = parts.map(|part| vocabulary.encode_part(corpus, part, false));
        let (first, last) = (first?, last?);
        let ids = |tokens: &[u16]| tokens.iter().copied().map(u32::from).collect();
        let texts = vocabulary.tokens().iter();
        Ok(Self {
            counted: ids(&first.tokens),
            predicted: ids(&last.tokens),
            tokens: vocabulary.len(),
            text_bytes: texts.map(|text| text.len() + 1).sum(),
            stats: vocabulary.char_stats(&last, 1..last.tokens.len().max(1)),
        })
    }
}

/// The model's loss on the same characters.
fn model_line(path: &Path, model: &Model, corpus: &Corpus, part: Part) -> anyhow::Result<Line> {
    let vocabulary = model.vocabulary()?;
    let encoded = vocabulary.encode_part(corpus, part, false)?;
    let stats = vocabulary.char_stats(&encoded, 1..encoded.tokens.len().max(1));
    let evaluation = perplexity::model(model, &encoded.tokens, || ())?.per_character(stats);
    let bytes = match model {
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
        if let Some(most) = self.most_bytes {
            match &self.best {
                Some(best) => writeln!(
                    f,
                    "the best chain of at most {most} bytes: {}, {:.4} bits/char",
                    best.name, best.bits_per_char
                )?,
                None => writeln!(f, "no chain has at most {most} bytes")?,
            }
        }
        Ok(())
    }
}
