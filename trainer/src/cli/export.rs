//! `trainer export`

use super::args::{self, DataArgs, OutputArgs};
use super::print::{RecordType, print_json, print_out};
use super::run::read;
use super::vocab::VocabArgs;
use crate::data::split::Split;
use crate::eval::perplexity;
use crate::fs::write_atomically;
use crate::inference::model::{Model, ModelBytes};
use crate::network::{Network, sequences};
use crate::quantize::{Options, quantize_with};
use crate::report::text::{ExportReport, LossComparison, ModelReport};
use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::WeightFormat;
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  trainer export models/mine/model.onnx --data book.txt --last 0.1
  trainer export model.onnx --weight-bits 4 --output-weight-bits 4 --out small.pip
  trainer export encoder.onnx decoder.onnx --vocab vocabulary.json --out translator.pip";

const DATA_HELP: &str =
    "Text to compare the loss of the network and of the model file on, UTF-8 [default: none]";

/// Quantize a network and write the model file that boards run
///
/// Reads an ONNX file. Two files are an encoder and its decoder: the encoder's last states become the decoder's initial states, in
/// the order of the graphs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("data", |data| data.help(DATA_HELP)))]
pub struct ExportArgs {
    /// ONNX file of the network; or of an encoder, then of its decoder
    #[arg(required = true, num_args = 1..=2, value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    /// Model file to write [default: the name of the last MODEL with .pip]
    #[arg(long, value_name = "FILE.pip", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Calibration inputs: arrays by the names of the graph's inputs, as for `trainer run`. Values up to twice the observed maximum
    /// will not overflow [default: standard normal numbers]
    #[arg(long, value_name = "FILE.npz", help_heading = "Quantization")]
    pub calibration: Option<PathBuf>,
    /// Bits of the recurrent layers' weights, 8 or 4; a list has one value for each layer, an encoder's first, the last one for all further layers
    /// [default: as trained]
    #[arg(long, value_name = "BITS,...", value_parser = args::weight_bits, value_delimiter = ',', allow_negative_numbers = true, help_heading = "Quantization")]
    pub weight_bits: Vec<WeightFormat>,
    /// Bits of the first recurrent layer's input weights, 8 or 4, if they differ; a list has one value for each of the first layers
    /// [default: as --weight-bits]
    #[arg(long, value_name = "BITS,...", requires = "weight_bits", value_parser = args::weight_bits, value_delimiter = ',', allow_negative_numbers = true, help_heading = "Quantization")]
    pub input_weight_bits: Vec<WeightFormat>,
    /// Bits of the output layer's weights, 8 or 4 [default: as trained]
    #[arg(long, value_name = "BITS", value_parser = args::weight_bits, allow_negative_numbers = true, help_heading = "Quantization")]
    pub output_weight_bits: Option<WeightFormat>,
    /// The vocabulary.
    #[command(flatten)]
    pub vocab: VocabArgs,
    /// What to compare float and integer loss on.
    #[command(flatten)]
    pub data: Option<DataArgs>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The result as JSON.
#[derive(Serialize)]
struct ExportRecord<'a> {
    out: &'a Path,
    #[serde(flatten)]
    report: &'a ExportReport,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the network cannot be read or quantized, the data cannot be read, or the file cannot be written.
pub fn run(args: ExportArgs) -> anyhow::Result<()> {
    let mut network = open(&args.models)?;
    let last = args.models.last().expect("clap requires one");
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| last.with_extension("pip"));
    if args.models.contains(&out) {
        bail!("the model file would replace the network: give another name with --out");
    }
    let recurrent = network
        .step_phases()
        .map(|phase| network.recurrent(phase).count());
    let layers = recurrent.sum();
    let layers = args::layer_formats(&args.weight_bits, &args.input_weight_bits, layers)?;
    let mut max_tokens = 0;
    if let Some(file) = args.vocab.read()? {
        network.set_vocabularies(&file)?;
        // 0 is no limit, which a limit of more than 16 bits amounts to.
        max_tokens = file
            .max_len
            .and_then(|limit| u16::try_from(limit).ok())
            .unwrap_or(0);
    }
    let samples = match &args.calibration {
        None => None,
        Some(path) => {
            let samples = sequences(&network, &read(path)?);
            Some(samples.with_context(|| path.display().to_string())?)
        }
    };
    let options = Options {
        samples: samples.as_deref(),
        layers,
        head: args.output_weight_bits,
    };
    let mut quantized = quantize_with(&network, &options)?;
    quantized.params.max_tokens = max_tokens;
    let model = ModelBytes::new(pipsqueak::encode::encode(&quantized.params)?)?;
    let losses = match &args.data {
        None => None,
        Some(data) => Some(compare_losses(&network, &model, data, &args.output)?),
    };
    write_atomically(&out, model.bytes())?;
    let report = ExportReport {
        model: ModelReport::new(&model),
        tensors: quantized.tensors,
        token_encodings: quantized.encodings,
        assumptions: quantized.assumptions,
        losses,
    };
    if args.output.json {
        let record = ExportRecord {
            out: &out,
            report: &report,
        };
        return print_json(RecordType::Export, &record);
    }
    if args.output.quiet {
        return Ok(());
    }
    print_out(&format!("{report}\nwrote {}\n", out.display()))
}

/// The losses of the float network and of its model file on a text.
fn compare_losses(
    network: &Network,
    model: &ModelBytes,
    data: &DataArgs,
    output: &OutputArgs,
) -> anyhow::Result<LossComparison> {
    let vocabulary = network.as_language_model()?.vocabulary;
    let split = Split::of_provenance(&network.provenance.split);
    let text = data.encode(vocabulary, split)?;
    let measure = vocabulary.char_stats(&text, 1..text.tokens.len());
    let progress = output.progress(2 * text.tokens.len(), "comparing float and integers");
    let float = perplexity::float(network, &text.tokens, || progress.inc(1));
    let integer = perplexity::integer(&model.model(), &text.tokens, || progress.inc(1))?;
    progress.finish_and_clear();
    let [mut float, mut integer] =
        [float, integer].map(|evaluation| evaluation.per_character(measure));
    (float.skipped, integer.skipped) = (text.skipped.characters, text.skipped.characters);
    Ok(LossComparison {
        float,
        integer,
        difference: integer.nats_per_char - float.nats_per_char,
    })
}

/// Opens the network, or an encoder and its decoder as one network.
fn open(models: &[PathBuf]) -> anyhow::Result<Network> {
    let mut networks = Vec::new();
    for path in models {
        match Model::open(path)? {
            Model::Float(network) => networks.push(*network),
            Model::Integer(_) => bail!(
                "{} is a model file already: expected the ONNX file that it was exported from",
                path.display()
            ),
        }
    }
    let main = networks.pop().context("no model")?;
    match (networks.pop(), models) {
        (Some(encoder), [first, second]) => {
            let place = || format!("{} and {}", first.display(), second.display());
            main.with_encoder(encoder).with_context(place)
        }
        _ => Ok(main),
    }
}
