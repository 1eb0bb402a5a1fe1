//! `trainer report`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::{SamplingParams, Task, Temperature};

use super::generate::{Text, check_features};
use super::print::print_out;
use crate::fs::write_atomically;
use crate::inference::model::{ImageBytes, Model};
use crate::network::Network;
use crate::quantize::{TensorReport, quantize};
use crate::report::html::files::{self, Record};
use crate::report::html::{Drawn, Integers, Page};
use crate::report::text::ImageReport;
use crate::training::samples;

/// Temperatures of the samples.
const TEMPERATURES: [&str; 5] = ["0.3", "0.8", "1.0", "1.3", "1.8"];

/// Writes a page about a training, for a browser: one HTML file that needs no network.
///
/// Losses and learning rate, samples over time and at five temperatures, what rounding to integers cost each tensor, nats against
/// bytes, and what the boards need and how fast they will be.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The folder that `trainer train --out FOLDER` has made; a model.pip in it is taken as its image
    pub folder: PathBuf,
    /// Where to write the page [default: FOLDER/report.html]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Other models to compare with: a CSV file with the columns name, bytes, nats
    #[arg(long, value_name = "FILE.csv")]
    pub candidates: Option<PathBuf>,
    /// Text that the samples at five temperatures go on with
    #[arg(long, default_value = "")]
    pub prompt: String,
    /// What they describe, for a model that makes texts of features: such as length=0.5,a
    #[arg(long, value_name = "NAME=VALUE,...")]
    pub features: Option<String>,
    /// Seed of their random numbers
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Characters of each
    #[arg(long, default_value_t = 300)]
    pub length: usize,
}

/// Runs the command.
///
/// # Errors
/// If the folder is not one of a training, or the page cannot be written.
pub fn run(args: ReportArgs) -> anyhow::Result<()> {
    let inside = |name| args.folder.join(name);
    let (onnx, pip) = (inside("model.onnx"), inside("model.pip"));
    let sources = ["train.toml", "loss.csv", samples::FILE, "checkpoint.bin"].map(inside);
    let out = args.out.clone().unwrap_or_else(|| inside("report.html"));
    let read = sources.iter().chain([&onnx, &pip]).chain(&args.candidates);
    if read.into_iter().any(|path| *path == out) {
        bail!(
            "the page would replace {}: name another file with --out",
            out.display()
        );
    }
    let record = Record::read(&sources[0])?;
    let losses = files::losses(&sources[1])?;
    let samples = samples::read(&args.folder)?;
    let candidates = match &args.candidates {
        Some(path) => files::candidates(path)?,
        None => Vec::new(),
    };
    let Model::Float(network) = Model::open(&onnx)? else {
        bail!("{} is an image, expected an ONNX file", onnx.display());
    };
    let (integers, model) = match in_integers(&network) {
        Ok((image, tensors)) => {
            let (from, image) = match pip.exists() {
                true => ("model.pip", image_of(&pip, &image)?),
                false => ("model.onnx", image),
            };
            let report = ImageReport::new(&image);
            let integers = Integers {
                from,
                image: report,
                tensors,
            };
            (Ok(integers), Model::Integer(image))
        }
        Err(why) => (Err(format!("{why:#}")), Model::Float(network)),
    };
    let page = Page {
        name: name(&args.folder),
        record,
        losses,
        samples,
        integers,
        drawn: draw(&args, &model)?,
        candidates,
    };
    write_atomically(&out, page.html().as_bytes())?;
    print_out(&format!("wrote {}\n", out.display()))
}

/// The folder's own name, wherever it is.
fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.into());
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}

fn in_integers(network: &Network) -> anyhow::Result<(ImageBytes, Vec<TensorReport>)> {
    let quantized = quantize(network)?;
    let image = ImageBytes::new(pipsqueak::encode::encode(&quantized.params)?)?;
    Ok((image, quantized.tensors))
}

/// The image that was exported, which must be of the same training as `made`, which the network gives.
fn image_of(path: &Path, made: &ImageBytes) -> anyhow::Result<ImageBytes> {
    let Model::Integer(image) = Model::open(path)? else {
        bail!("{} is an ONNX file, expected an image", path.display());
    };
    let (found, expected) = (image.image().training_info(), made.image().training_info());
    if found != expected {
        bail!(
            "{}: it is not of the model.onnx beside it: expected {expected:?}, found {found:?}; export it anew",
            path.display()
        );
    }
    Ok(image)
}

/// What the model writes at each temperature, or why it writes nothing.
fn draw(args: &ReportArgs, model: &Model) -> anyhow::Result<Result<Vec<Drawn>, String>> {
    let task = match model {
        Model::Integer(image) => image.image().task(),
        Model::Float(network) if network.as_language_model().is_ok() => Task::LanguageModel,
        Model::Float(_) => Task::Tensors,
    };
    match task {
        Task::SequenceToSequence => {
            return Ok(Err("It makes a text of a text: nothing is drawn.".into()));
        }
        Task::Classifier => return Ok(Err("It names classes: nothing is drawn.".into())),
        Task::ConditionalGenerator if args.features.is_none() => {
            return Ok(Err(
                "It makes texts of features: give them with --features, such as length=0.5,a."
                    .into(),
            ));
        }
        Task::ConditionalGenerator | Task::LanguageModel => {}
        _ => return Ok(Err("It has no texts to draw.".into())),
    }
    check_features(model, args.features.as_deref())?;
    let vocabulary = model.vocabulary()?;
    let prompt = vocabulary.encode(&args.prompt, false).context("--prompt")?;
    let text = Text {
        model,
        vocabulary: &vocabulary,
        prompt: &prompt.tokens,
        read: &args.prompt,
        features: args.features.as_deref(),
        length: args.length,
    };
    let draw = |temperature| -> anyhow::Result<Drawn> {
        let settings = SamplingParams {
            temperature: Temperature::parse(temperature)?,
            top_k: 0,
            seed: args.seed,
        };
        let text = text.text(settings)?;
        Ok(Drawn { temperature, text })
    };
    let drawn: anyhow::Result<_> = TEMPERATURES.into_iter().map(draw).collect();
    drawn.map(Ok)
}
