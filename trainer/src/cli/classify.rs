//! `trainer classify`

use super::inputs::{Answer, TextInputs};
use super::print::RecordType;
use crate::data::tokenizer::Vocabulary;
use crate::inference::model::Model;
use crate::inference::tasks;
use crate::network::{Normalization, normalize};
use crate::quantize::vocabulary_of;
use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::format::Phase;
use pipsqueak::{Generator, ModelView, SamplingParams};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  trainer classify models/news/model.pip \"Team wins the cup final\"
  trainer classify models/news/model.pip --data titles.txt --json";

/// Predict the class of texts
///
/// Prints the most likely class of each text on a line of its own. A text that fails is reported with its number, the others are
/// still classified, and the exit code is 1.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ClassifyArgs {
    /// The model and the texts.
    #[command(flatten)]
    pub inputs: TextInputs,
}

/// The class of a text.
#[derive(Serialize)]
struct Classification {
    /// Index of the most likely class, from 0.
    class: usize,
    /// Its name, or its index if the model has no class names.
    label: String,
    /// The probability of every class, by index.
    probabilities: Vec<f32>,
}

impl Answer for Classification {
    const TYPE: RecordType = RecordType::Classification;

    fn line(&self) -> &str {
        &self.label
    }
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the model is not a text classifier, or a text has characters outside of its vocabulary.
pub fn run(ClassifyArgs { inputs }: ClassifyArgs) -> anyhow::Result<()> {
    let place = || inputs.model.display().to_string();
    match inputs.vocab.open(&inputs.model)? {
        Model::Integer(bytes) => {
            let model = bytes.model();
            let labels = integer_labels(&model).with_context(place)?;
            let bits = model.output().map_or(0, |output| output.frac_bits());
            let one = f32::from(1u16 << bits);
            let mut workspace = vec![0; model.workspace_len()];
            let mut generator = Generator::new(&model, &mut workspace, SamplingParams::default())?;
            inputs.answer_each(|text| {
                let scores = generator.classify(text)?;
                let scores = scores.iter().map(|&score| f32::from(score) / one).collect();
                Ok(classification(labels.as_ref(), scores))
            })
        }
        Model::Float(network) => {
            if network.output().every_step || network.has_source() {
                bail!("{}: {NOT_A_CLASSIFIER}", place());
            }
            let Some(vocabulary) = network.vocabulary.clone() else {
                bail!(
                    "{}: the model has no vocabulary: give it with --vocab",
                    place()
                );
            };
            let network = network.without_normalization();
            inputs.answer_each(|text| {
                let tokens = vocabulary.encode(text, false)?.tokens;
                if tokens.is_empty() {
                    bail!("the text has no tokens");
                }
                let scores = tasks::classify(&network, &tokens);
                Ok(classification(network.labels.as_ref(), scores))
            })
        }
    }
}

const NOT_A_CLASSIFIER: &str =
    "the model is not a classifier: it has an output at every step, expected one for a text";

/// The class names, if the model has them.
fn integer_labels(model: &ModelView) -> anyhow::Result<Option<Vocabulary>> {
    if model.has_source() || model.output().is_none_or(|output| output.every_step()) {
        bail!(NOT_A_CLASSIFIER);
    }
    let input = model.input_of(Phase::Step);
    if input.is_none_or(|input| input.vocab_size().is_none()) {
        bail!("the model reads vectors, not text: use `trainer run`");
    }
    match (
        model.source_vocabulary().is_empty(),
        model.vocabulary().is_empty(),
    ) {
        (true, true) => {
            bail!("the model has no vocabulary: give it with --vocab to `trainer export`")
        }
        (false, false) => Ok(Some(vocabulary_of(model.vocabulary())?)),
        _ => Ok(None),
    }
}

fn classification(labels: Option<&Vocabulary>, mut scores: Vec<f32>) -> Classification {
    normalize(Normalization::Softmax, &mut scores);
    let class = tasks::argmax(&scores);
    Classification {
        class: class.into(),
        label: labels.map_or(class.to_string(), |labels| labels.token(class).into()),
        probabilities: scores,
    }
}
