//! `trainer classify`

use super::lines::{LinesArgs, each_line};
use super::print_out;
use crate::model::Model;
use crate::network::{Normalization, Reads, normalize};
use crate::quantize::vocabulary_of;
use crate::sequence;
use crate::vocab::Vocabulary;
use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::{Generator, Image, Settings, image};
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
            let one = f32::from(1u16 << image.logit_bits());
            let mut workspace = vec![0; image.workspace_len()];
            let mut generator = Generator::new(&image, &mut workspace, Settings::default())?;
            each_line(&args.texts, |text| {
                let scores = generator.classify(text)?;
                let scores = scores.iter().map(|&score| f32::from(score) / one).collect();
                print(labels.as_ref(), text, scores, args.json)
            })
        }
        Model::Float(mut network) => {
            if network.head.reads == Reads::EveryStep || network.encoder.is_some() {
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
            network.head.normalization = Normalization::None;
            each_line(&args.texts, |text| {
                let tokens = vocabulary.encode(text, false)?.tokens;
                if tokens.is_empty() {
                    bail!("the text has no tokens");
                }
                let scores = sequence::classify(&network, &tokens);
                print(network.labels.as_ref(), text, scores, args.json)
            })
        }
    }
}

/// The names of the classes, where they are known.
fn integer_labels(image: &Image) -> anyhow::Result<Option<Vocabulary>> {
    let network = image.network(image.main());
    if image.networks() > 1 || network.is_none_or(|n| n.reads == image::Reads::EveryStep) {
        bail!("the model gives an output at every step: expected one for a text");
    }
    if network.is_some_and(|network| !network.reads_tokens()) {
        bail!("the model reads numbers, not texts: use trainer run");
    }
    match (image.source().is_empty(), image.vocabulary().is_empty()) {
        (true, true) => bail!("the image has no texts of its tokens: export it with --vocab"),
        (false, false) => Ok(Some(vocabulary_of(image.vocabulary())?)),
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
    let class = usize::from(sequence::best(&scores));
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
