//! `trainer export`

use super::vocab::VocabArgs;
use super::{TextArgs, print_json, print_out};
use crate::evaluate;
use crate::model::{ImageBytes, Model};
use crate::output::write_atomically;
use crate::progress;
use crate::quantize::quantize;
use crate::report::{ExportReport, ImageReport, Losses};
use anyhow::bail;
use clap::Args;
use std::path::PathBuf;

/// Quantizes a network to int8 weights and writes the image that boards run.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The network: an ONNX file that `trainer train` wrote
    pub model: PathBuf,
    /// Where to write the image [default: the model's name with .pip]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
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
    let Model::Float(network) = args.vocab.open(&args.model)? else {
        bail!(
            "{} is an image already: export takes the ONNX file that it came from",
            args.model.display()
        );
    };
    let out = args.out.unwrap_or_else(|| args.model.with_extension("pip"));
    if out == args.model {
        bail!("the image would replace the model: name another file with --out");
    }
    let quantized = quantize(&network)?;
    let image = ImageBytes::new(pipsqueak::encode::encode(&quantized.parts)?)?;
    let losses = match &args.text {
        None => None,
        Some(text) => {
            let vocabulary = network.vocabulary();
            let text = text.encode(vocabulary)?;
            let measure = vocabulary.measure(&text, 1..text.tokens.len());
            let progress =
                progress::bar(2 * text.tokens.len() as u64, "comparing float and integers");
            let float = evaluate::float(&network, &text.tokens, || progress.inc(1));
            let integer = evaluate::integer(&image.image(), &text.tokens, || progress.inc(1))?;
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
        image: ImageReport::new(&image.image()),
        tensors: quantized.tensors,
        losses,
    };
    if args.json {
        return print_json(&report);
    }
    print_out(&format!("{report}\nwrote {}\n", out.display()))
}
