//! `trainer translate`

use super::lines::{LinesArgs, each_line};
use super::print::print_out;
use crate::data::vocab::Vocabulary;
use crate::inference::generate::{GREEDY, tokens};
use crate::inference::model::Model;
use crate::inference::tasks;
use crate::network::Network;
use crate::quantize::vocabulary_of;
use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::{Generator, ModelView};
use serde::Serialize;

/// The most tokens of an output, where the model says none.
const LIMIT: usize = 256;

/// Turns texts into other ones by an encoder and its decoder, always taking the likeliest token: words into phonemes, sentences
/// into sentences.
///
/// Each text gives one line: `trainer translate g2p.pip mouse trap`, or `trainer translate g2p.pip < words.txt`.
#[derive(Debug, Args)]
pub struct TranslateArgs {
    /// The model and the texts.
    #[command(flatten)]
    pub lines: LinesArgs,
}

/// A text and what became of it.
#[derive(Serialize)]
struct Translation<'a> {
    source: &'a str,
    target: String,
    tokens: Vec<&'a str>,
}

/// Runs the command.
///
/// # Errors
/// If the model is no encoder and decoder of texts, or a text has characters that it does not know.
pub fn run(TranslateArgs { lines: args }: TranslateArgs) -> anyhow::Result<()> {
    let place = || args.model.display().to_string();
    let limit = args.vocab.read()?.and_then(|file| file.limit);
    match args.vocab.open(&args.model)? {
        Model::Integer(bytes) => {
            let image = bytes.image();
            let target = integer_target(&image).with_context(place)?;
            let mut workspace = vec![0; image.workspace_len()];
            let mut generator = Generator::new(&image, &mut workspace, GREEDY)?;
            let limit = match image.max_tokens() {
                0 => LIMIT,
                limit => limit.into(),
            };
            each_line(&args.texts, |source| {
                generator.reset(GREEDY);
                generator.encode_source(source)?;
                let tokens: Vec<u16> = tokens(&mut generator).take(limit).collect();
                print(&target, source, &tokens, args.json)
            })
        }
        Model::Float(network) => {
            let (source_vocabulary, target) = float_vocabularies(&network).with_context(place)?;
            each_line(&args.texts, |source| {
                let mut tokens = source_vocabulary.encode(source, false)?.tokens;
                tokens.extend(source_vocabulary.specials().eos);
                if tokens.is_empty() {
                    bail!("the text has no tokens");
                }
                let made = tasks::translate(&network, &tokens, limit.unwrap_or(LIMIT));
                print(target, source, &made, args.json)
            })
        }
    }
}

fn integer_target(model: &ModelView) -> anyhow::Result<Vocabulary> {
    if !model.has_source() {
        bail!("the model is one network: expected an encoder and a decoder");
    }
    if model.source_vocabulary().is_empty() || model.vocabulary().is_empty() {
        bail!("the image has no texts of its tokens: export it with --vocab");
    }
    if !model.is_autoregressive() {
        bail!("the decoder does not read the tokens that it gives: use trainer run");
    }
    Ok(vocabulary_of(model.vocabulary())?)
}

fn float_vocabularies(network: &Network) -> anyhow::Result<(&Vocabulary, &Vocabulary)> {
    if !network.has_source() {
        bail!("the model is one network: expected an encoder and a decoder");
    }
    match (&network.source_vocabulary, &network.vocabulary) {
        (Some(source), Some(target)) => Ok((source, target)),
        _ => bail!("the model has no texts of its tokens: give them with --vocab"),
    }
}

fn print(vocabulary: &Vocabulary, source: &str, tokens: &[u16], json: bool) -> anyhow::Result<()> {
    let target = vocabulary.decode(tokens);
    if !json {
        return print_out(&format!("{target}\n"));
    }
    let tokens = tokens.iter().map(|&token| vocabulary.text(token)).collect();
    let made = Translation {
        source,
        target,
        tokens,
    };
    print_out(&format!("{}\n", serde_json::to_string(&made)?))
}
