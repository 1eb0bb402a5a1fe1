//! `trainer classify`

use super::lines::{LinesArgs, each_line};
use super::print::print_out;
use crate::data::vocab::Vocabulary;
use crate::inference::model::Model;
use crate::inference::tasks;
use crate::network::{Normalization, normalize};
use crate::quantize::vocabulary_of;
use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::format::Phase;
use pipsqueak::{Generator, ModelView, SamplingParams};
use serde::Serialize;

/// Tells the class of texts by a network that reads a text and gives one output: the likeliest class of each, a line.
#[derive(Debug, Args)]
pub struct ClassifyArgs {
    /// The model and the texts.
    #[command(flatten)]
    pub lines: LinesArgs,
}

/// A text and its class.
#[derive(Serialize)]
struct Classification<'a> {
    text: &'a str,
    /// The class, from 0.
    class: usize,
    /// Its name, or its number.
    label: String,
    /// Of every class, by number.
    probabilities: Vec<f32>,
}

/// Runs the command.
///
/// # Errors
/// If the model does not give one output for a text, or a text has characters that it does not know.
pub fn run(ClassifyArgs { lines: args }: ClassifyArgs) -> anyhow::Result<()> {
    let place = || args.model.display().to_string();
    match args.vocab.open(&args.model)? {
        Model::Integer(bytes) => {
            let image = bytes.image();
            let labels = integer_labels(&image).with_context(place)?;
            let bits = image.output().map_or(0, |output| output.frac_bits());
            let one = f32::from(1u16 << bits);
            let mut workspace = vec![0; image.workspace_len()];
            let mut generator = Generator::new(&image, &mut workspace, SamplingParams::default())?;
            each_line(&args.texts, |text| {
                let scores = generator.classify(text)?;
                let scores = scores.iter().map(|&score| f32::from(score) / one).collect();
                print(labels.as_ref(), text, scores, args.json)
            })
        }
        Model::Float(network) => {
            if network.output().every_step || network.has_source() {
                bail!(
                    "{}: the model gives an output at every step: expected one for a text",
                    place()
                );
            }
            let Some(vocabulary) = network.vocabulary.clone() else {
                bail!(
                    "{}: the model has no texts of its tokens: give them with --vocab",
                    place()
                );
            };
            let network = network.without_normalization();
            each_line(&args.texts, |text| {
                let tokens = vocabulary.encode(text, false)?.tokens;
                if tokens.is_empty() {
                    bail!("the text has no tokens");
                }
                let scores = tasks::classify(&network, &tokens);
                print(network.labels.as_ref(), text, scores, args.json)
            })
        }
    }
}

/// The names of the classes, where they are known.
fn integer_labels(model: &ModelView) -> anyhow::Result<Option<Vocabulary>> {
    if model.has_source() || model.output().is_none_or(|output| output.every_step()) {
        bail!("the model gives an output at every step: expected one for a text");
    }
    let input = model.input_of(Phase::Step);
    if input.is_none_or(|input| input.vocab_size().is_none()) {
        bail!("the model reads numbers, not texts: use trainer run");
    }
    match (
        model.source_vocabulary().is_empty(),
        model.vocabulary().is_empty(),
    ) {
        (true, true) => bail!("the image has no texts of its tokens: export it with --vocab"),
        (false, false) => Ok(Some(vocabulary_of(model.vocabulary())?)),
        _ => Ok(None),
    }
}

fn print(
    labels: Option<&Vocabulary>,
    text: &str,
    mut scores: Vec<f32>,
    json: bool,
) -> anyhow::Result<()> {
    normalize(Normalization::Softmax, &mut scores);
    let class = usize::from(tasks::best(&scores));
    let label = labels.map_or(class.to_string(), |labels| labels.text(class as u16).into());
    if !json {
        return print_out(&format!("{label}\n"));
    }
    let made = Classification {
        text,
        class,
        label,
        probabilities: scores,
    };
    print_out(&format!("{}\n", serde_json::to_string(&made)?))
}
