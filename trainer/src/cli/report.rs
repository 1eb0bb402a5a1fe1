//! `trainer report`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::{SamplingParams, Task, Temperature};
use serde::Serialize;

use super::args::{self, OutputArgs};
use super::generate::{TextRequest, check_features};
use super::print::{RecordType, print_json, print_out};
use crate::fs::write_atomically;
use crate::inference::model::{Model, ModelBytes};
use crate::network::Network;
use crate::quantize::{TensorReport, quantize};
use crate::report::html::files::{self, Record};
use crate::report::html::{HtmlReport, ModelSection, TemperatureSample};
use crate::report::text::ModelReport;
use crate::training::samples;

/// Temperatures of the samples.
const TEMPERATURES: [&str; 5] = ["0.3", "0.8", "1.0", "1.3", "1.8"];

const EXAMPLES: &str = "\
Examples:
  trainer report models/mine
  trainer report models/mine --prompt Once --length 500 --out mine.html
  trainer report models/mine --compare others.csv";

/// Write an HTML report of a training
///
/// One file that needs no network connection: losses and learning rate, samples over time and at five temperatures, quantization
/// error of each tensor, loss against size, and memory and predicted speed on each board.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// Folder of a training (`trainer train --out FOLDER`); if it has a model.pip, the report is about that
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// HTML file to write [default: FOLDER/report.html]
    #[arg(long, value_name = "FILE.html", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Other models to compare with: a CSV file with the columns name, bytes, nats [default: none]
    #[arg(long, value_name = "FILE.csv", help_heading = "Comparison")]
    pub compare: Option<PathBuf>,
    /// Text that the samples continue [default: none]
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        help_heading = "Samples"
    )]
    pub prompt: String,
    /// Features to condition a conditional generator on, such as length=0.5,a [default: none]
    #[arg(long, value_name = "NAME=VALUE,...", help_heading = "Samples")]
    pub features: Option<String>,
    /// Seed of the random number generator
    #[arg(long, value_name = "SEED", default_value_t = 42, value_parser = args::whole::<u64>(0..=u64::MAX), allow_negative_numbers = true, help_heading = "Samples")]
    pub seed: u64,
    /// Characters of each sample, at most 100000
    #[arg(long, value_name = "CHARACTERS", default_value_t = 300, value_parser = args::whole::<usize>(0..=100_000), allow_negative_numbers = true, help_heading = "Samples")]
    pub length: usize,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The result as JSON.
#[derive(Serialize)]
struct ReportRecord<'a> {
    folder: &'a Path,
    out: &'a Path,
    /// Bytes of the file.
    bytes: usize,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the folder is not that of a training, or the report cannot be written.
pub fn run(args: ReportArgs) -> anyhow::Result<()> {
    let inside = |name| args.folder.join(name);
    let (onnx, pip) = (inside("model.onnx"), inside("model.pip"));
    let sources = [
        "config.toml",
        "metrics.json",
        "loss.csv",
        samples::FILE,
        "checkpoint.bin",
    ]
    .map(inside);
    let out = args.out.clone().unwrap_or_else(|| inside("report.html"));
    let read = sources.iter().chain([&onnx, &pip]).chain(&args.compare);
    if read.into_iter().any(|path| *path == out) {
        bail!(
            "the report would replace {}: give another name with --out",
            out.display()
        );
    }
    let record = Record::read(&args.folder)?;
    let losses = files::losses(&sources[2])?;
    let samples = samples::read(&args.folder)?;
    let candidates = match &args.compare {
        Some(path) => files::candidates(path)?,
        None => Vec::new(),
    };
    let Model::Float(network) = Model::open(&onnx)? else {
        bail!("{} is a model file, expected an ONNX file", onnx.display());
    };
    let (quantized, model) = match quantize_network(&network) {
        Ok((bytes, tensors)) => {
            let (from, bytes) = match pip.exists() {
                true => ("model.pip", open_exported(&pip, &bytes)?),
                false => ("model.onnx", bytes),
            };
            let section = ModelSection {
                from,
                model: ModelReport::new(&bytes),
                tensors,
            };
            (Ok(section), Model::Integer(bytes))
        }
        Err(why) => (Err(format!("{why:#}")), Model::Float(network)),
    };
    let report = HtmlReport {
        name: name(&args.folder),
        record,
        losses,
        samples,
        quantized,
        temperatures: sample(&args, &model)?,
        candidates,
    };
    let html = report.html();
    write_atomically(&out, html.as_bytes())?;
    if args.output.json {
        let (folder, bytes) = (&args.folder, html.len());
        let record = ReportRecord {
            folder,
            out: &out,
            bytes,
        };
        return print_json(RecordType::Report, &record);
    }
    if args.output.quiet {
        return Ok(());
    }
    print_out(&format!("wrote {}\n", out.display()))
}

/// The last component of the folder's absolute path.
fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.into());
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}

fn quantize_network(network: &Network) -> anyhow::Result<(ModelBytes, Vec<TensorReport>)> {
    let quantized = quantize(network)?;
    let model = ModelBytes::new(pipsqueak::encode::encode(&quantized.params)?)?;
    Ok((model, quantized.tensors))
}

/// Opens the exported model, which must be of the same training as `expected`.
fn open_exported(path: &Path, expected: &ModelBytes) -> anyhow::Result<ModelBytes> {
    let Model::Integer(model) = Model::open(path)? else {
        bail!("{} is an ONNX file, expected a model file", path.display());
    };
    let (found, expected) = (
        model.model().training_info(),
        expected.model().training_info(),
    );
    if found != expected {
        bail!(
            "{} was not exported from the model.onnx in its folder: expected {expected:?}, found {found:?}; export it again",
            path.display()
        );
    }
    Ok(model)
}

/// A sample at each temperature, or why there is none.
fn sample(
    args: &ReportArgs,
    model: &Model,
) -> anyhow::Result<Result<Vec<TemperatureSample>, String>> {
    let task = match model {
        Model::Integer(bytes) => bytes.model().task(),
        Model::Float(network) if network.as_language_model().is_ok() => Task::LanguageModel,
        Model::Float(_) => Task::Tensors,
    };
    match task {
        Task::SequenceToSequence => {
            return Ok(Err("A sequence-to-sequence model is not sampled.".into()));
        }
        Task::Classifier => return Ok(Err("A classifier is not sampled.".into())),
        Task::ConditionalGenerator if args.features.is_none() => {
            return Ok(Err(
                "The model generates text for features: give them with --features, such as --features length=0.5,a."
                    .into(),
            ));
        }
        Task::ConditionalGenerator | Task::LanguageModel => {}
        _ => return Ok(Err("The model has no vocabulary.".into())),
    }
    check_features(model, args.features.as_deref())?;
    let vocabulary = model.vocabulary()?;
    let prompt = vocabulary.encode(&args.prompt, false).context("--prompt")?;
    let text = TextRequest {
        model,
        vocabulary: &vocabulary,
        prompt: &prompt.tokens,
        prompt_text: &args.prompt,
        features: args.features.as_deref(),
        length: args.length,
    };
    let sample = |temperature| -> anyhow::Result<TemperatureSample> {
        let params = SamplingParams {
            temperature: Temperature::parse(temperature)?,
            top_k: 0,
            seed: args.seed,
        };
        let text = text.text(params)?;
        Ok(TemperatureSample { temperature, text })
    };
    let samples: anyhow::Result<_> = TEMPERATURES.into_iter().map(sample).collect();
    samples.map(Ok)
}
