//! `trainer translate`

use super::inputs::{Answer, TextInputs};
use super::print::RecordType;
use crate::data::tokenizer::Vocabulary;
use crate::inference::generate::{GREEDY, tokens};
use crate::inference::model::Model;
use crate::inference::tasks;
use crate::network::Network;
use crate::quantize::vocabulary_of;
use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::{Generator, ModelView};
use serde::Serialize;

/// The most tokens of an output, if the model has no limit.
const MAX_TOKENS: usize = 256;

const EXAMPLES: &str = "\
Examples:
  trainer translate models/g2p/model.pip mouse trap
  trainer translate models/g2p/model.pip < words.txt
  trainer translate models/g2p/model.onnx --data words.txt --json";

/// Translate texts with a sequence-to-sequence model
///
/// Decodes greedily and prints the output of each text on a line of its own. A text that fails is reported with its number, the
/// others are still translated, and the exit code is 1.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TranslateArgs {
    /// The model and the texts.
    #[command(flatten)]
    pub inputs: TextInputs,
}

/// The output for a text.
#[derive(Serialize)]
struct Translation {
    target: String,
    tokens: Vec<String>,
}

impl Answer for Translation {
    const TYPE: RecordType = RecordType::Translation;

    fn line(&self) -> &str {
        &self.target
    }
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the model is not a sequence-to-sequence model of texts, or a text has characters outside of its vocabulary.
pub fn run(TranslateArgs { inputs }: TranslateArgs) -> anyhow::Result<()> {
    let place = || inputs.model.display().to_string();
    let limit = inputs.vocab.read()?.and_then(|file| file.max_len);
    match inputs.vocab.open(&inputs.model)? {
        Model::Integer(bytes) => {
            let model = bytes.model();
            let target = integer_target(&model).with_context(place)?;
            let mut workspace = vec![0; model.workspace_len()];
            let mut generator = Generator::new(&model, &mut workspace, GREEDY)?;
            let limit = match model.max_tokens() {
                0 => MAX_TOKENS,
                limit => limit.into(),
            };
            inputs.answer_each(|source| {
                generator.reset(GREEDY);
                generator.encode_source(source)?;
                let tokens: Vec<u16> = tokens(&mut generator).take(limit).collect();
                Ok(translation(&target, &tokens))
            })
        }
        Model::Float(network) => {
            let (source_vocabulary, target) = float_vocabularies(&network).with_context(place)?;
            inputs.answer_each(|source| {
                let mut tokens = source_vocabulary.encode(source, false)?.tokens;
                tokens.extend(source_vocabulary.specials().eos);
                if tokens.is_empty() {
                    bail!("the text has no tokens");
                }
                let tokens = tasks::translate(&network, &tokens, limit.unwrap_or(MAX_TOKENS));
                Ok(translation(target, &tokens))
            })
        }
    }
}

const NOT_AN_ENCODER_DECODER: &str =
    "the model is not a sequence-to-sequence model: expected an encoder and a decoder";

fn integer_target(model: &ModelView) -> anyhow::Result<Vocabulary> {
    if !model.has_source() {
        bail!(NOT_AN_ENCODER_DECODER);
    }
    if model.source_vocabulary().is_empty() || model.vocabulary().is_empty() {
        bail!("the model has no vocabularies: give them with --vocab to `trainer export`");
    }
    if !model.is_autoregressive() {
        bail!("the decoder does not read its own output tokens: use `trainer run`");
    }
    Ok(vocabulary_of(model.vocabulary())?)
}

fn float_vocabularies(network: &Network) -> anyhow::Result<(&Vocabulary, &Vocabulary)> {
    if !network.has_source() {
        bail!(NOT_AN_ENCODER_DECODER);
    }
    match (&network.source_vocabulary, &network.vocabulary) {
        (Some(source), Some(target)) => Ok((source, target)),
        _ => bail!("the model has no vocabularies: give them with --vocab"),
    }
}

fn translation(vocabulary: &Vocabulary, tokens: &[u16]) -> Translation {
    let text = |token: &u16| vocabulary.token(*token).to_owned();
    Translation {
        target: vocabulary.decode(tokens),
        tokens: tokens.iter().map(text).collect(),
    }
}
