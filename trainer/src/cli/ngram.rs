//! `trainer ngram`

use super::args::{fraction, open_corpus, whole};
use super::print::{RecordType, print_json, print_out};
use crate::data::corpus::{Corpus, CorpusError, Part};
use crate::data::ngram::{Interner, KneserNey};
use crate::data::tokenizer::{CharStats, EncodeError, Tokenizer, Vocabulary};
use crate::eval::perplexity;
use crate::inference::model::Model;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  trainer ngram --data book.txt
  trainer ngram models/mine/model.pip --data book.txt
  trainer ngram models/words/model.pip --data book.txt --tokenizer model --json";

/// Measure n-gram models of a text, as a baseline for a model
///
/// N-gram models with interpolated Kneser-Ney smoothing are counted on the first part of the text and measured on the last one.
/// A model of order k predicts a token from the k tokens before it; its size is that of a compact tree of all n-grams of up to k+1
/// tokens, and the tokens' strings. Tokens of both parts are in the vocabulary.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct NgramArgs {
    /// Model to compare with: a .pip by its size, an .onnx by 4 bytes per weight [default: none]
    #[arg(value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Text, UTF-8
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub data: PathBuf,
    /// Last part of the text, which is predicted and not counted: above 0, at most 1
    #[arg(long, value_name = "FRACTION", default_value_t = 0.1, value_parser = fraction, allow_negative_numbers = true, help_heading = "Data")]
    pub last: f64,
    /// What a token is; losses are per character in any case
    #[arg(
        long,
        value_name = "TOKENIZER",
        default_value = "char",
        help_heading = "N-grams"
    )]
    pub tokenizer: NgramTokenizer,
    /// Highest order, 1 to 16
    #[arg(long, value_name = "ORDER", default_value_t = 8, value_parser = whole::<usize>(1..=16), allow_negative_numbers = true, help_heading = "N-grams")]
    pub order: usize,
    /// Report the best n-gram model of at most this size [default: the size of MODEL]
    #[arg(long, value_name = "BYTES", value_parser = whole::<usize>(0..=u64::MAX), allow_negative_numbers = true, help_heading = "N-grams")]
    pub max_bytes: Option<usize>,
    /// Print one JSON object (trainer/JSON.md)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// How the text is split into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NgramTokenizer {
    /// Characters
    Char,
    /// Runs of letters and digits, and each other character
    Word,
    /// The tokens of MODEL; unknown words are spelled at the same cost
    Model,
}

/// The result.
#[derive(Debug, Serialize)]
struct NgramReport {
    data: String,
    tokenizer: NgramTokenizer,
    /// Different tokens: of the whole text, or of MODEL.
    tokens: usize,
    counted_characters: usize,
    /// Characters of the last part without its first token.
    predicted_characters: usize,
    ngrams: Vec<NgramRow>,
    model: Option<Row>,
    max_bytes: Option<usize>,
    /// The n-gram model with the lowest loss of at most `max_bytes`.
    best: Option<Row>,
}

/// An n-gram model.
#[derive(Debug, Serialize)]
struct NgramRow {
    order: usize,
    /// Stored n-grams.
    ngrams: usize,
    #[serde(flatten)]
    row: Row,
}

/// Size and loss of any model.
#[derive(Clone, Debug, Serialize)]
struct Row {
    name: String,
    bytes: usize,
    bits_per_char: f64,
    nats_per_char: f64,
}

impl Row {
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
/// Returns an error if the text or the model cannot be read, a part of the text is too short, or the text has characters outside of
/// the model's vocabulary.
pub fn run(args: NgramArgs) -> anyhow::Result<()> {
    let model = args.model.as_deref().map(open).transpose()?;
    let tokenizer = match (args.tokenizer, &model) {
        (_, Some(model)) => model.vocabulary.tokenizer(),
        (NgramTokenizer::Word, None) => Tokenizer::WORD,
        _ => Tokenizer::CHAR,
    };
    let corpus = open_corpus(&args.data, false, Some(tokenizer))?;
    let by_line = model
        .as_ref()
        .is_some_and(|model| model.vocabulary.line_documents());
    let parts = corpus.parts(args.last, by_line)?;
    let [counted, held_out] = parts;
    let split = match (args.tokenizer, &model) {
        (NgramTokenizer::Char, _) => TokenSplit::new(Tokenizer::CHAR, &corpus, parts)?,
        (NgramTokenizer::Word, _) => TokenSplit::new(Tokenizer::WORD, &corpus, parts)?,
        (NgramTokenizer::Model, Some(model)) => {
            TokenSplit::of_vocabulary(&model.vocabulary, &corpus, parts)?
        }
        (NgramTokenizer::Model, None) => {
            bail!("--tokenizer model: give the MODEL whose tokens are counted")
        }
    };
    if split.counted.is_empty() || split.predicted.len() < 2 {
        bail!(
            "{}: expected at least 1 token to count and 2 to predict, found {} and {}; give a longer text or another --last",
            args.data.display(),
            split.counted.len(),
            split.predicted.len()
        );
    }
    let ngrams = rows(&split, args.order);
    let row = model
        .map(|model| model.row(&corpus, held_out))
        .transpose()?;
    let max_bytes = args.max_bytes.or(row.as_ref().map(|row| row.bytes));
    let fits = ngrams.iter().map(|ngram| &ngram.row);
    let fits = fits.filter(|row| max_bytes.is_some_and(|max| row.bytes <= max));
    let best = fits.min_by(|a, b| a.bits_per_char.total_cmp(&b.bits_per_char));
    let report = NgramReport {
        data: corpus.name.clone(),
        tokenizer: args.tokenizer,
        tokens: split.tokens,
        counted_characters: counted.characters,
        predicted_characters: split.stats.characters,
        best: best.cloned(),
        ngrams,
        model: row,
        max_bytes,
    };
    match args.json {
        true => print_json(RecordType::Ngram, &report),
        false => print_out(&report.to_string()),
    }
}

/// The n-gram models of orders 1 to `order`.
fn rows(split: &TokenSplit, order: usize) -> Vec<NgramRow> {
    let models = KneserNey::new(&split.counted, split.tokens, order);
    let spelling = split.stats.spelling / std::f64::consts::LN_2;
    let row = |(order, bits): (usize, f64)| NgramRow {
        order,
        ngrams: models.ngrams(order),
        row: Row::new(
            format!("order {order}"),
            models.bytes(order) + split.token_bytes,
            (bits + spelling) / split.stats.characters as f64,
        ),
    };
    let bits = models.bits(&split.predicted);
    bits.into_iter().enumerate().skip(1).map(row).collect()
}

/// The tokens of the two parts of a text.
struct TokenSplit {
    counted: Vec<u32>,
    predicted: Vec<u32>,
    /// Different tokens.
    tokens: usize,
    /// Bytes of their strings, plus one length byte each.
    token_bytes: usize,
    /// The predicted part without its first token.
    stats: CharStats,
}

impl TokenSplit {
    /// Tokens of both parts are in the vocabulary.
    fn new(tokenizer: Tokenizer, corpus: &Corpus, parts: [Part; 2]) -> Result<Self, CorpusError> {
        let mut ids = Interner::default();
        let [counted, predicted] = parts.map(|part| corpus.text(part));
        let (counted, predicted) = (tokenizer.segment(&counted?), tokenizer.segment(&predicted?));
        let characters = predicted.iter().skip(1).map(|text| text.chars().count());
        let stats = CharStats {
            characters: characters.sum(),
            ..CharStats::default()
        };
        Ok(Self {
            counted: ids.intern(&counted),
            predicted: ids.intern(&predicted),
            tokens: ids.len(),
            token_bytes: ids.bytes(),
            stats,
        })
    }

    fn of_vocabulary(
        vocabulary: &Vocabulary,
        corpus: &Corpus,
        parts: [Part; 2],
    ) -> Result<Self, EncodeError> {
        let [counted, predicted] = parts.map(|part| vocabulary.encode_part(corpus, part, false));
        let (counted, predicted) = (counted?, predicted?);
        let ids = |tokens: &[u16]| tokens.iter().copied().map(u32::from).collect();
        let texts = vocabulary.tokens().iter();
        Ok(Self {
            counted: ids(&counted.tokens),
            predicted: ids(&predicted.tokens),
            tokens: vocabulary.len(),
            token_bytes: texts.map(|text| text.len() + 1).sum(),
            stats: vocabulary.char_stats(&predicted, 1..predicted.tokens.len().max(1)),
        })
    }
}

/// A model to compare with.
struct Compared {
    name: String,
    model: Model,
    vocabulary: Vocabulary,
}

fn open(path: &Path) -> anyhow::Result<Compared> {
    let name = path.display().to_string();
    let model = Model::open(path)?;
    if model.takes_features() {
        bail!("{name}: expected a language model, found a conditional generator");
    }
    let vocabulary = model.vocabulary().with_context(|| name.clone())?;
    Ok(Compared {
        name,
        model,
        vocabulary,
    })
}

impl Compared {
    /// Its size, and its loss on the same characters.
    fn row(self, corpus: &Corpus, part: Part) -> anyhow::Result<Row> {
        let encoded = self.vocabulary.encode_part(corpus, part, false)?;
        let last = encoded.tokens.len().max(1);
        let stats = self.vocabulary.char_stats(&encoded, 1..last);
        let evaluation = perplexity::model(&self.model, &encoded.tokens, || ())?;
        let bytes = match &self.model {
            Model::Float(network) => 4 * network.parameters(),
            Model::Integer(model) => model.bytes().len(),
        };
        let bits = evaluation.per_character(stats).bits_per_char;
        Ok(Row::new(self.name, bytes, bits))
    }
}

impl Display for NgramReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "{}: {} different tokens, {} characters counted, {} predicted",
            self.data, self.tokens, self.counted_characters, self.predicted_characters
        )?;
        writeln!(
            f,
            "{:<9} {:>11} {:>11} {:>10} {:>10}",
            "model", "n-grams", "bytes", "bits/char", "nats/char"
        )?;
        for NgramRow { ngrams, row, .. } in &self.ngrams {
            let Row {
                name,
                bytes,
                bits_per_char,
                nats_per_char,
            } = row;
            writeln!(
                f,
                "{name:<9} {ngrams:>11} {bytes:>11} {bits_per_char:>10.4} {nats_per_char:>10.4}"
            )?;
        }
        if let Some(Row {
            name,
            bytes,
            bits_per_char,
            nats_per_char,
        }) = &self.model
        {
            writeln!(
                f,
                "{:<9} {:>11} {bytes:>11} {bits_per_char:>10.4} {nats_per_char:>10.4}  {name}",
                "MODEL", ""
            )?;
        }
        match (self.max_bytes, &self.best) {
            (None, _) => Ok(()),
            (Some(max), Some(best)) => writeln!(
                f,
                "best n-gram model of at most {max} bytes: {}, {:.4} bits/char",
                best.name, best.bits_per_char
            ),
            (Some(max), None) => writeln!(f, "no n-gram model has at most {max} bytes"),
        }
    }
}
