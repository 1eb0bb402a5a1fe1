//! Output of the commands on standard output: text, or JSON lines.

use serde::Serialize;

/// The `"type"` of a JSON line. `trainer/JSON.md` describes the fields of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordType {
    /// `classify`: an input and its class.
    Classification,
    /// `distill`: soft targets that were written.
    Distillation,
    /// `classify`, `translate`: an input that failed.
    Error,
    /// `eval`: a model's loss on data.
    Evaluation,
    /// `export`: a model file that was written.
    Export,
    /// `flash`: a board or a firmware file that was written.
    Flash,
    /// `inspect`: a network in an ONNX file.
    FloatModel,
    /// `generate`: a text.
    Generation,
    /// `inspect`: a model file.
    Model,
    /// `ngram`: the n-gram models of a text.
    Ngram,
    /// `report`: an HTML file that was written.
    Report,
    /// `run`: arrays that were computed.
    Run,
    /// `train`, `finetune`: an evaluation on dev.
    TrainingProgress,
    /// `train`, `finetune`: what came out, as in `metrics.json`.
    TrainingResult,
    /// `translate`: an input and its translation.
    Translation,
}

impl RecordType {
    /// Every type, by name.
    pub const ALL: [Self; 15] = [
        Self::Classification,
        Self::Distillation,
        Self::Error,
        Self::Evaluation,
        Self::Export,
        Self::Flash,
        Self::FloatModel,
        Self::Generation,
        Self::Model,
        Self::Ngram,
        Self::Report,
        Self::Run,
        Self::TrainingProgress,
        Self::TrainingResult,
        Self::Translation,
    ];
}

#[derive(Serialize)]
struct Record<'a, T> {
    r#type: RecordType,
    #[serde(flatten)]
    value: &'a T,
}

/// Prints a struct as one line of JSON whose first field is its type.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub(super) fn print_json(r#type: RecordType, value: &impl Serialize) -> anyhow::Result<()> {
    let record = Record { r#type, value };
    print_out(&format!("{}\n", serde_json::to_string(&record)?))
}

/// Prints to standard output.
///
/// # Errors
/// Returns an error if standard output cannot be written. `main` ends quietly if its reader closed it.
pub(super) fn print_out(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

/// Prints bytes, which may end within a UTF-8 character.
///
/// # Errors
/// As [`print_out`].
pub(super) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}
