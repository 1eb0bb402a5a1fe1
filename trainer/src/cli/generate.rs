//! `trainer generate`

use super::args::{self, OutputArgs, TemperatureArg, or_skip};
use super::print::{RecordType, print_bytes, print_json, print_out};
use super::vocab::VocabArgs;
use crate::data::tokenizer::Vocabulary;
use crate::inference::generate::{FloatGenerator, Repetition, repetition, tokens};
use crate::inference::model::Model;
use crate::inference::tasks;
use crate::network::Inputs;
use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::{Generator, SamplingParams, Temperature};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

const EXAMPLES: &str = "\
Examples:
  trainer generate models/shakespeare/model.pip --prompt \"ROMEO:\"
  trainer generate models/shakespeare/model.pip --temperature 0.3,0.8,1.3 --length 200
  trainer generate models/names/model.pip --features length=0.5,a --seed 7";

/// Generate text
///
/// Prints the prompt and its continuation as the model generates it. The same model, prompt, temperature, top-k and seed give the
/// same text on every machine and board.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GenerateArgs {
    /// Model: .pip runs in integers as on a board, .onnx in float
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The vocabulary.
    #[command(flatten)]
    pub vocab: VocabArgs,
    /// Text to continue [default: none, the text starts as after the end of a line]
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        help_heading = "Input"
    )]
    pub prompt: String,
    /// Features to condition a conditional generator on, such as length=0.5,a; a name alone is 1, other features are 0
    /// [default: none]
    #[arg(long, value_name = "NAME=VALUE,...", help_heading = "Input")]
    pub features: Option<String>,
    /// Skip characters of the prompt that are not in the model's vocabulary instead of refusing it
    #[arg(long, help_heading = "Input")]
    pub skip_unknown: bool,
    /// Sampling temperature, 0.01 to 100: below 1 the text is more predictable, above more varied; 0 is greedy. A list generates a
    /// text for each
    #[arg(long, value_name = "T,...", default_value = "0.8", value_delimiter = ',', value_parser = args::temperature, allow_negative_numbers = true, help_heading = "Sampling")]
    pub temperature: Vec<TemperatureArg>,
    /// Sample only from this many of the most likely tokens; 0 is all of them
    #[arg(
        long,
        value_name = "TOKENS",
        default_value_t = 0, value_parser = args::whole::<u16>(0..=65_535),
        allow_negative_numbers = true,
        help_heading = "Sampling"
    )]
    pub top_k: u16,
    /// Seed of the random number generator
    #[arg(long, value_name = "SEED", default_value_t = 42, value_parser = args::whole::<u64>(0..=u64::MAX), allow_negative_numbers = true, help_heading = "Sampling")]
    pub seed: u64,
    /// Characters to generate after the prompt
    #[arg(long, value_name = "CHARACTERS", default_value_t = 400, value_parser = args::whole::<usize>(0..=u64::MAX), allow_negative_numbers = true, help_heading = "Sampling")]
    pub length: usize,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A text as JSON.
#[derive(Serialize)]
struct GenerationRecord<'a> {
    prompt: &'a str,
    /// The prompt and its continuation.
    text: &'a str,
    temperature: &'a str,
    top_k: u16,
    seed: u64,
    /// Characters after the prompt.
    characters: usize,
    /// Tokens after the prompt.
    tokens: usize,
    seconds: f64,
    tokens_per_second: f64,
    /// Characters of the part that a greedy text repeats to its end, if it does.
    repeated_characters: Option<usize>,
}

/// Runs the command: prints the text on standard output while it is generated, and the speed on standard error.
///
/// # Errors
/// Returns an error if the model cannot be opened or does not generate text, the prompt has characters outside of its vocabulary,
/// or features are missing, unknown or not taken.
pub fn run(args: GenerateArgs) -> anyhow::Result<()> {
    let model = args.vocab.open(&args.model)?;
    let place = || args.model.display().to_string();
    let vocabulary = model.vocabulary().with_context(place)?;
    let prompt = vocabulary
        .encode(&args.prompt, args.skip_unknown)
        .map_err(or_skip)
        .context("--prompt")?;
    // As given, unless characters were skipped.
    let prompt_text = match prompt.skipped.count {
        0 => args.prompt.clone(),
        _ => vocabulary.decode(&prompt.tokens),
    };
    let text = TextRequest {
        model: &model,
        vocabulary: &vocabulary,
        prompt: &prompt.tokens,
        prompt_text: &prompt_text,
        features: args.features.as_deref(),
        length: args.length,
    };
    check_features(&model, args.features.as_deref()).with_context(place)?;
    for (index, temperature) in args.temperature.iter().enumerate() {
        if args.temperature.len() > 1 && !args.output.json {
            let between = if index > 0 { "\n" } else { "" };
            print_out(&format!("{between}--- temperature {}\n", temperature.text))?;
        }
        let params = SamplingParams {
            temperature: temperature.value,
            top_k: args.top_k,
            seed: args.seed,
        };
        text.print(params, &temperature.text, &args.output)?;
    }
    Ok(())
}

/// Checks that features are given if and only if the model takes them.
///
/// # Errors
/// Returns an error if they are missing or superfluous.
pub(super) fn check_features(model: &Model, features: Option<&str>) -> anyhow::Result<()> {
    match (features, model.takes_features()) {
        (Some(_), false) => bail!("the model takes no features: remove --features"),
        (None, true) => bail!(
            "the model generates text for features: give them with --features, such as --features length=0.5,a"
        ),
        _ => Ok(()),
    }
}

/// What to generate, except for the sampling parameters.
pub(super) struct TextRequest<'a> {
    pub model: &'a Model,
    pub vocabulary: &'a Vocabulary,
    /// The tokens of the prompt.
    pub prompt: &'a [u16],
    /// The text of these tokens.
    pub prompt_text: &'a str,
    pub features: Option<&'a str>,
    /// Characters after the prompt.
    pub length: usize,
}

/// Takes a text in pieces, which may end within a UTF-8 character.
type Sink<'s> = &'s mut dyn FnMut(&[u8]) -> anyhow::Result<()>;

/// What was generated after a prompt.
struct Generated {
    characters: usize,
    tokens: Vec<u16>,
}

impl TextRequest<'_> {
    /// Generates and prints one text.
    fn print(
        &self,
        params: SamplingParams,
        temperature: &str,
        output: &OutputArgs,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut text = Vec::new();
        let generated = match output.json {
            true => self.generate(params, &mut |piece| {
                text.extend_from_slice(piece);
                Ok(())
            })?,
            false => self.generate(params, &mut print_bytes)?,
        };
        let seconds = start.elapsed().as_secs_f64();
        let Generated { characters, tokens } = &generated;
        let tokens_per_second = tokens.len() as f64 / seconds.max(1e-9);
        let greedy = params.temperature == Temperature::GREEDY;
        let count = |tokens| self.vocabulary.decode(tokens).chars().count();
        let repeated = repetition(tokens).filter(|_| greedy);
        let repeated = repeated.map(|Repetition { begin, length }| {
            (
                count(&tokens[..begin]),
                count(&tokens[begin..begin + length]),
            )
        });
        if output.json {
            let record = GenerationRecord {
                prompt: self.prompt_text,
                text: &String::from_utf8_lossy(&text),
                temperature,
                top_k: params.top_k,
                seed: params.seed,
                characters: *characters,
                tokens: tokens.len(),
                seconds,
                tokens_per_second,
                repeated_characters: repeated.map(|(_, length)| length),
            };
            return print_json(RecordType::Generation, &record);
        }
        print_out("\n")?;
        output.message(&format!(
            "{characters} characters in {seconds:.2} s: {tokens_per_second:.0} tokens/s"
        ));
        if let Some((begin, length)) = repeated {
            output.message(&format!(
                "the text repeats the same {length} characters after the first {begin}: greedy decoding often does that; \
                 use a temperature above 0"
            ));
        }
        Ok(())
    }

    /// Generates a text, which includes the prompt.
    ///
    /// # Errors
    /// Returns an error if the model rejects the prompt or the features.
    pub fn text(&self, params: SamplingParams) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        self.generate(params, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn generate(&self, params: SamplingParams, sink: Sink) -> anyhow::Result<Generated> {
        match self.model {
            Model::Float(network) => {
                let mut state = network.state();
                if let Some(features) = self.features {
                    let features = tasks::feature_vector(&network.feature_names, features)
                        .with_context(|| format!("--features {features:?}"))?;
                    let inputs = Inputs {
                        features,
                        ..Inputs::default()
                    };
                    state = network.initial_state(&inputs);
                }
                self.stream(
                    FloatGenerator::new(network, state, self.prompt, params),
                    sink,
                )
            }
            Model::Integer(bytes) => {
                let model = bytes.model();
                let mut workspace = vec![0; model.workspace_len()];
                let mut generator = Generator::new(&model, &mut workspace, params)?;
                if let Some(features) = self.features {
                    generator
                        .set_conditioning_text(features)
                        .with_context(|| format!("--features {features:?}"))?;
                }
                generator.prompt(self.prompt_text)?;
                let limit = match model.max_tokens() {
                    0 => usize::MAX,
                    limit => limit.into(),
                };
                self.stream(tokens(&mut generator).take(limit), sink)
            }
        }
    }

    /// Passes the prompt to `sink`, then tokens as they are sampled, until there are `length` characters.
    fn stream(&self, tokens: impl Iterator<Item = u16>, sink: Sink) -> anyhow::Result<Generated> {
        let mut printed = self.prompt_text.as_bytes().to_vec();
        sink(&printed)?;
        let mut after_text = !printed.is_empty();
        let (mut written, mut generated) = (0, Vec::new());
        for token in tokens {
            generated.push(token);
            printed.clear();
            self.vocabulary.write_token(token, after_text, &mut printed);
            after_text |= !printed.is_empty();
            sink(&printed)?;
            written += characters(&printed);
            if written >= self.length {
                break;
            }
        }
        Ok(Generated {
            characters: written,
            tokens: generated,
        })
    }
}

/// The number of characters that start in these bytes of UTF-8.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}
