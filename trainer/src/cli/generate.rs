//! `trainer generate`

use super::print::{print_bytes, print_out};
use super::vocab::VocabArgs;
use crate::data::vocab::Vocabulary;
use crate::inference::generate::{Cycle, FloatGenerator, cycle, tokens};
use crate::inference::model::Model;
use crate::inference::tasks;
use crate::network::Inputs;
use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::{Generator, SamplingParams, Temperature, TemperatureError};
use std::path::PathBuf;
use std::time::Instant;

/// Writes text as a board would: the same model, prompt, temperature, seed and top-k give the same text.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The model: .pip runs in integers as on a board, .onnx in float
    pub model: PathBuf,
    /// The tokens' texts.
    #[command(flatten)]
    pub vocab: VocabArgs,
    /// Text to continue; without it the text begins as after a line's end
    #[arg(long, default_value = "")]
    pub prompt: String,
    /// What to describe, for a model that makes texts of features: such as length=0.5,a; what is left out is 0
    #[arg(long, value_name = "NAME=VALUE,...")]
    pub features: Option<String>,
    /// How freely to draw: 0 always takes the likeliest, 1 follows the model, above that gets wilder
    #[arg(long, default_value = "0.8", value_parser = |text: &str| -> Result<Temperature, TemperatureError> { Temperature::parse(text) })]
    pub temperature: Temperature,
    /// Write a text at each of these temperatures, such as 0.3,0.8,1.0,1.3,1.8, headed by it
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "temperature", value_parser = temperature)]
    pub temperatures: Option<Vec<String>>,
    /// Seed of the random numbers
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// How many characters to write after the prompt
    #[arg(long, default_value_t = 400)]
    pub length: usize,
    /// Draw only from this many of the likeliest characters; 0 leaves all in
    #[arg(long, default_value_t = 0)]
    pub top_k: u16,
    /// Leave out characters of the prompt that the model does not know instead of refusing it
    #[arg(long)]
    pub skip_unknown: bool,
}

/// Runs the command: the text goes to standard output as it is made, the speed to standard error.
///
/// # Errors
/// If the model cannot be read or the prompt has characters that it does not know.
pub fn run(args: GenerateArgs) -> anyhow::Result<()> {
    let model = args.vocab.open(&args.model)?;
    let vocabulary = model.vocabulary()?;
    let prompt = vocabulary.encode(&args.prompt, args.skip_unknown)?;
    // As it was typed, unless characters of it were left out.
    let read = match prompt.skipped {
        0 => args.prompt.clone(),
        _ => vocabulary.decode(&prompt.tokens),
    };
    let text = Text {
        model: &model,
        vocabulary: &vocabulary,
        prompt: &prompt.tokens,
        read: &read,
        features: args.features.as_deref(),
        length: args.length,
    };
    check_features(&model, args.features.as_deref())
        .with_context(|| args.model.display().to_string())?;
    let settings = |temperature| SamplingParams {
        temperature,
        top_k: args.top_k,
        seed: args.seed,
    };
    let Some(temperatures) = &args.temperatures else {
        return text.write(settings(args.temperature));
    };
    for (index, temperature) in temperatures.iter().enumerate() {
        let between = if index > 0 { "\n" } else { "" };
        print_out(&format!("{between}--- temperature {temperature}\n"))?;
        text.write(settings(Temperature::parse(temperature)?))?;
    }
    Ok(())
}

/// Refuses features for a model that takes none, and none for one that does.
pub(super) fn check_features(model: &Model, features: Option<&str>) -> anyhow::Result<()> {
    match (features, model.takes_features()) {
        (Some(_), false) => bail!("the model takes no features: leave out --features"),
        (None, true) => bail!(
            "the model makes texts of features: give them with --features, such as length=0.5,a"
        ),
        _ => Ok(()),
    }
}

/// What is written, but for how it is drawn.
pub(super) struct Text<'a> {
    pub model: &'a Model,
    pub vocabulary: &'a Vocabulary,
    pub prompt: &'a [u16],
    /// The text that they are of.
    pub read: &'a str,
    pub features: Option<&'a str>,
    /// Characters after the prompt.
    pub length: usize,
}

/// Takes a text as it is made, in bytes that may be a part of a character.
type Sink<'s> = &'s mut dyn FnMut(&[u8]) -> anyhow::Result<()>;

/// What was drawn after a prompt.
struct Drawn {
    characters: usize,
    tokens: Vec<u16>,
}

impl Text<'_> {
    /// Writes one text.
    fn write(&self, settings: SamplingParams) -> anyhow::Result<()> {
        let begun = Instant::now();
        let drawn = self.draw(settings, &mut print_bytes)?;
        let seconds = begun.elapsed().as_secs_f64();
        print_out("\n")?;
        eprintln!(
            "{} characters in {seconds:.2} s: {:.0} tokens/s",
            drawn.characters,
            drawn.tokens.len() as f64 / seconds.max(1e-9)
        );
        let greedy = settings.temperature == Temperature::GREEDY;
        if let Some(Cycle { begin, length }) = cycle(&drawn.tokens).filter(|_| greedy) {
            let count = |tokens| self.vocabulary.decode(tokens).chars().count();
            eprintln!(
                "the text has fallen into a cycle of {} characters after {}: always taking the likeliest does that; \
                 a temperature above 0 gets out of it",
                count(&drawn.tokens[begin..begin + length]),
                count(&drawn.tokens[..begin]),
            );
        }
        Ok(())
    }

    /// The text, prompt included.
    pub fn text(&self, settings: SamplingParams) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        self.draw(settings, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn draw(&self, settings: SamplingParams, sink: Sink) -> anyhow::Result<Drawn> {
        match self.model {
            Model::Float(network) => {
                let mut state = network.state();
                if let Some(features) = self.features {
                    let features = tasks::features(&network.feature_names, features)
                        .with_context(|| format!("--features {features:?}"))?;
                    let inputs = Inputs {
                        features,
                        ..Inputs::default()
                    };
                    state = network.initial_state(&inputs);
                }
                self.stream(
                    FloatGenerator::new(network, state, self.prompt, settings),
                    sink,
                )
            }
            Model::Integer(bytes) => {
                let image = bytes.image();
                let mut workspace = vec![0; image.workspace_len()];
                let mut generator = Generator::new(&image, &mut workspace, settings)?;
                if let Some(features) = self.features {
                    generator
                        .set_conditioning_text(features)
                        .with_context(|| format!("--features {features:?}"))?;
                }
                generator.prompt(self.read)?;
                let limit = match image.max_tokens() {
                    0 => usize::MAX,
                    limit => limit.into(),
                };
                self.stream(tokens(&mut generator).take(limit), sink)
            }
        }
    }

    /// Gives the prompt, then tokens as they come, until there are characters enough.
    fn stream(&self, tokens: impl Iterator<Item = u16>, sink: Sink) -> anyhow::Result<Drawn> {
        let mut printed = self.read.as_bytes().to_vec();
        sink(&printed)?;
        let mut after_text = !printed.is_empty();
        let (mut written, mut drawn) = (0, Vec::new());
        for token in tokens {
            drawn.push(token);
            printed.clear();
            self.vocabulary.print(token, after_text, &mut printed);
            after_text |= !printed.is_empty();
            sink(&printed)?;
            written += characters(&printed);
            if written >= self.length {
                break;
            }
        }
        Ok(Drawn {
            characters: written,
            tokens: drawn,
        })
    }
}

/// Characters that begin in these bytes of UTF-8.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

fn temperature(text: &str) -> Result<String, TemperatureError> {
    Temperature::parse(text).map(|_| text.into())
}
