//! `trainer export`

use super::args::TextArgs;
use super::print::{print_json, print_out};
use super::run::read;
use super::vocab::VocabArgs;
use crate::cli::progress;
use crate::eval::perplexity;
use crate::fs::write_atomically;
use crate::inference::model::{ImageBytes, Model};
use crate::network::{Network, sequences};
use crate::quantize::formats::{INT4, INT8, INT8_INT4, WeightFormats};
use crate::quantize::{Options, quantize_with};
use crate::report::text::{ExportReport, ImageReport, Losses};
use anyhow::{Context, bail};
use clap::Args;
use pipsqueak::WeightFormat;
use std::path::PathBuf;

/// Quantizes a network to weights of 8 or 4 bits and writes the image that boards run.
///
/// An encoder and a decoder in two graphs make one image: `trainer export encoder.onnx decoder.onnx --vocab vocabulary.json
/// --out translator.pip`. The encoder's last states become the decoder's initial ones, in the order of the graphs.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The network, an ONNX file; or an encoder and its decoder
    #[arg(required = true, num_args = 1..=2, value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    /// Where to write the image [default: the last model's name with .pip]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Typical inputs, arrays by the names of the graph's inputs as for `trainer run`: numbers twice as large as any there will fit
    #[arg(long, value_name = "FILE.npz")]
    pub calibrate: Option<PathBuf>,
    /// Bits of a weight of the recurrent layers, 8, 4, or 8/4: 8 over the layer's input and 4 over its state; several stand for a layer each, such as 4,8, the last one for all after it
    /// [default: 4 where the model was trained so, else 8]
    #[arg(long, value_name = "BITS", value_parser = layer_bits, value_delimiter = ',')]
    pub bits: Vec<WeightFormats>,
    /// Bits of a weight of the head, 8 or 4 [default: 4 where the model was trained so, else 8]
    #[arg(long, value_name = "BITS", value_parser = bits)]
    pub head_bits: Option<WeightFormat>,
    /// The tokens' texts.
    #[command(flatten)]
    pub vocab: VocabArgs,
    /// What to compare float and integer loss on.
    #[command(flatten)]
    pub text: Option<TextArgs>,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// If the model cannot be read or quantized, or a file not written.
pub fn run(args: ExportArgs) -> anyhow::Result<()> {
    let network = open(&args.models)?;
    let file = args.vocab.read()?;
    let (network, limit) = match file {
        None => (network, 0),
        Some(file) => {
            let mut network = network;
            file.put_into(&mut network)?;
            // A larger one is as good as none.
            (
                network,
                file.limit
                    .and_then(|limit| u16::try_from(limit).ok())
                    .unwrap_or(0),
            )
        }
    };
    let last = args.models.last().expect("one is required");
    let out = args.out.unwrap_or_else(|| last.with_extension("pip"));
    if args.models.contains(&out) {
        bail!("the image would replace the model: name another file with --out");
    }
    let samples = match &args.calibrate {
        None => None,
        Some(path) => {
            let samples = sequences(&network, &read(path)?);
            Some(samples.with_context(|| path.display().to_string())?)
        }
    };
    let options = Options {
        samples: samples.as_deref(),
        layers: args.bits,
        head: args.head_bits,
    };
    let mut quantized = quantize_with(&network, &options)?;
    quantized.params.max_tokens = limit;
    let image = ImageBytes::new(pipsqueak::encode::encode(&quantized.params)?)?;
    let losses = match &args.text {
        None => None,
        Some(text) => {
            let vocabulary = network.as_language_model()?.vocabulary;
            let text = text.encode(vocabulary)?;
            let measure = vocabulary.measure(&text, 1..text.tokens.len());
            let progress =
                progress::bar(2 * text.tokens.len() as u64, "comparing float and integers");
            let float = perplexity::float(&network, &text.tokens, || progress.inc(1));
            let integer = perplexity::integer(&image.image(), &text.tokens, || progress.inc(1))?;
            let [mut float, mut integer] =
                [float, integer].map(|evaluation| evaluation.by_character(measure));
            progress.finish_and_clear();
            (float.skipped, integer.skipped) = (text.skipped, text.skipped);
            Some(Losses {
                float,
                integer,
                difference: integer.nats_per_char - float.nats_per_char,
            })
        }
    };
    write_atomically(&out, image.bytes())?;
    let report = ExportReport {
        image: ImageReport::new(&image),
        tensors: quantized.tensors,
        forms: quantized.encodings,
        assumed: quantized.assumptions,
        losses,
    };
    if args.json {
        return print_json(&report);
    }
    print_out(&format!("{report}\nwrote {}\n", out.display()))
}

/// Formats of a recurrent layer's weights.
fn layer_bits(text: &str) -> Result<WeightFormats, String> {
    match text {
        "8/4" => Ok(INT8_INT4),
        "8" => Ok(INT8),
        "4" => Ok(INT4),
        _ => Err("expected 8, 4 or 8/4".into()),
    }
}

/// The format of a dense layer's weights.
fn bits(text: &str) -> Result<WeightFormat, String> {
    match text {
        "8" => Ok(WeightFormat::Int8),
        "4" => Ok(WeightFormat::Int4),
        _ => Err("expected 8 or 4".into()),
    }
}

/// The network, or that of an encoder and its decoder.
fn open(models: &[PathBuf]) -> anyhow::Result<Network> {
    let mut networks = Vec::new();
    for path in models {
        match Model::open(path)? {
            Model::Float(network) => networks.push(*network),
            Model::Integer(_) => bail!(
                "{} is an image already: export takes the ONNX file that it came from",
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
