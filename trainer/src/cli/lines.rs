//! Texts from the command line, or the lines of standard input.

use super::print::print_out;
use super::vocab::VocabArgs;
use anyhow::{Context, bail};
use clap::Args;
use std::io::BufRead;
use std::path::PathBuf;

/// A model, and texts that it answers one by one.
#[derive(Debug, Args)]
pub struct LinesArgs {
    /// The model: .pip runs in integers as on a board, .onnx in float
    pub model: PathBuf,
    /// The texts [default: the lines of standard input]
    #[arg(value_name = "TEXT")]
    pub texts: Vec<String>,
    /// The tokens' texts.
    #[command(flatten)]
    pub vocab: VocabArgs,
    /// Print a JSON object a line, with the probability of every class, or a translation's tokens
    #[arg(long)]
    pub json: bool,
}

/// Calls `each` for every text of `arguments`, or for every line of standard input if there are none; an error names the line.
/// An empty line is answered by one.
///
/// # Errors
/// The first that `each` gives, or of reading.
pub fn each_line(
    arguments: &[String],
    mut each: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut each = |text: &str| match text {
        "" => bail!("the text is empty"),
        text => each(text),
    };
    for (index, text) in arguments.iter().enumerate() {
        each(text).with_context(|| format!("text {}", index + 1))?;
    }
    if arguments.is_empty() {
        for (index, line) in std::io::stdin().lock().lines().enumerate() {
            let place = || format!("line {} of standard input", index + 1);
            match line.with_context(place)?.as_str() {
                "" => print_out("\n")?,
                line => each(line).with_context(place)?,
            }
        }
    }
    Ok(())
}
