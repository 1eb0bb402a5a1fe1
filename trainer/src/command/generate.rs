//! `trainer generate`

use super::{print_bytes, print_out};
use crate::generate::FloatGenerator;
use crate::model::Model;
use clap::Args;
use pipsqueak::{Generator, Settings, Temperature, TemperatureError};
use std::path::PathBuf;
use std::time::Instant;

/// Writes text as a board would: the same model, prompt, temperature, seed and top-k give the same text.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The model: .pip runs in integers as on a board, .onnx in float
    pub model: PathBuf,
    /// Text to continue; without it the text begins as after a line's end
    #[arg(long, default_value = "")]
    pub prompt: String,
    /// How freely to draw: 0 always takes the likeliest, 1 follows the model, above that gets wilder
    #[arg(long, default_value = "0.8", value_parser = |text: &str| -> Result<Temperature, TemperatureError> { Temperature::parse(text) })]
    pub temperature: Temperature,
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
    let model = Model::open(&args.model)?;
    let vocabulary = model.vocabulary()?;
    let prompt = vocabulary.encode(&args.prompt, args.skip_unknown)?;
    let settings = Settings {
        temperature: args.temperature,
        top_k: args.top_k,
        seed: args.seed,
    };
    let text: String = prompt
        .tokens
        .iter()
        .map(|&token| vocabulary.text(token))
        .collect();
    print_out(&text)?;
    match &model {
        Model::Float(network) => stream(
            FloatGenerator::new(network, &prompt.tokens, settings).map(str::as_bytes),
            args.length,
        ),
        Model::Integer(bytes) => {
            let image = bytes.image();
            let mut workspace = vec![0; image.workspace_len()];
            let mut generator = Generator::new(&image, &mut workspace, settings)?;
            generator.prompt(&text)?;
            stream(generator, args.length)
        }
    }
}

/// Prints `length` characters as they come.
fn stream<'t>(pieces: impl Iterator<Item = &'t [u8]>, length: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut written = 0;
    for piece in pieces {
        if written >= length {
            break;
        }
        // Each character has one byte that does not go on with another.
        written += piece.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        print_bytes(piece)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    print_out("\n")?;
    eprintln!(
        "{written} characters in {seconds:.2} s: {:.0} tokens/s",
        written as f64 / seconds.max(1e-9)
    );
    Ok(())
}
