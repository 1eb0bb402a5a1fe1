//! Texts from the command line, a file or standard input, each of which a model answers.

use super::print::{RecordType, print_json, print_out};
use super::vocab::VocabArgs;
use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// A model, and texts that it answers one by one.
#[derive(Debug, Args)]
pub struct TextInputs {
    /// Model: .pip runs in integers as on a board, .onnx in float
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Texts
    #[arg(value_name = "TEXT", conflicts_with = "data")]
    pub texts: Vec<String>,
    /// File of texts, one per line; - is standard input
    #[arg(long, value_name = "FILE", default_value = "-", help_heading = "Data")]
    pub data: PathBuf,
    /// The vocabulary.
    #[command(flatten)]
    pub vocab: VocabArgs,
    /// Print one JSON object per text (trainer/JSON.md)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// What a model answers to a text.
pub(super) trait Answer: Serialize {
    /// Its JSON type.
    const TYPE: RecordType;

    /// The line that is printed without `--json`.
    fn line(&self) -> &str;
}

/// An answer as JSON.
#[derive(Serialize)]
struct AnswerRecord<'a, A> {
    /// The number of the text, from 1.
    line: usize,
    text: &'a str,
    #[serde(flatten)]
    answer: &'a A,
}

/// A failure as JSON.
#[derive(Serialize)]
struct ErrorRecord {
    line: usize,
    message: String,
}

impl TextInputs {
    /// Prints what `answer` returns for every text, one line each, in order.
    ///
    /// A text that fails is reported on standard error with its number, and the next one follows; standard output gets an empty
    /// line for it, or with `--json` an object of type `error`. An empty line of a file gets an empty line, with `--json` nothing.
    ///
    /// # Errors
    /// Returns an error if the texts cannot be read, the answers cannot be printed, or, after the last text, if one failed.
    pub(super) fn answer_each<A: Answer>(
        &self,
        mut answer: impl FnMut(&str) -> anyhow::Result<A>,
    ) -> anyhow::Result<()> {
        let (mut total, mut failed) = (0, 0);
        let mut each = |number: usize, source: &str, text: anyhow::Result<&str>| {
            total += 1;
            let answered = text.and_then(|text| Ok((text, answer(text)?)));
            match answered {
                Ok((text, answer)) if self.json => {
                    let record = AnswerRecord {
                        line: number,
                        text,
                        answer: &answer,
                    };
                    print_json(A::TYPE, &record)
                }
                Ok((_, answer)) => print_out(&format!("{}\n", answer.line())),
                Err(error) => {
                    failed += 1;
                    eprintln!("error: {source}: {error:#}");
                    match self.json {
                        true => print_json(
                            RecordType::Error,
                            &ErrorRecord {
                                line: number,
                                message: format!("{error:#}"),
                            },
                        ),
                        false => print_out("\n"),
                    }
                }
            }
        };
        for (number, text) in (1..).zip(&self.texts) {
            let text = match text.is_empty() {
                true => Err(anyhow::anyhow!("the text is empty")),
                false => Ok(text.as_str()),
            };
            each(number, &format!("text {number}"), text)?;
        }
        if self.texts.is_empty() {
            let name = name(&self.data);
            let mut reader = open(&self.data)?;
            let mut bytes = Vec::new();
            for number in 1.. {
                bytes.clear();
                let read = reader.read_until(b'\n', &mut bytes);
                if read.with_context(|| format!("cannot read {name}"))? == 0 {
                    break;
                }
                let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.is_empty() {
                    if !self.json {
                        print_out("\n")?;
                    }
                    continue;
                }
                let text = std::str::from_utf8(line).context("expected UTF-8");
                each(number, &format!("line {number} of {name}"), text)?;
            }
        }
        if failed > 0 {
            bail!("{failed} of {total} texts failed");
        }
        Ok(())
    }
}

fn name(path: &Path) -> String {
    match path == Path::new("-") {
        true => "standard input".into(),
        false => path.display().to_string(),
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}
