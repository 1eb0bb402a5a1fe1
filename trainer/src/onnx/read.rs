//! ONNX bytes -> canonical network, strictly.

use super::graph;
use super::limits::{MAX_FILE_BYTES, check_fields};
use super::{PROVENANCE_KEY, VOCABULARY_KEY};
use crate::network::{Network, Provenance};
use crate::vocab::Vocabulary;
use tract_onnx::pb::ModelProto;

/// The operator sets in which every operator that is read means the same.
const OPSETS: std::ops::RangeInclusive<i64> = 14..=21;

/// What to do about most graphs that are refused.
pub(super) const AGAIN: &str =
    "export the model again: this version reads the graph that `trainer train` writes";

/// Why an ONNX file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// More than [`MAX_FILE_BYTES`].
    #[error(
        "the file has more than {MAX_FILE_BYTES} bytes, the most that is read: a network of this size fits no board"
    )]
    TooLarge,
    /// The bytes are not a model at all.
    #[error("this is not an ONNX file, or it is damaged: {0}")]
    NotOnnx(String),
    /// A model that is not of the kind that is read.
    #[error("{place}: found {found}, expected {expected}; {advice}")]
    Refused {
        /// The node, tensor, input, output or key.
        place: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
        /// What to do next.
        advice: String,
    },
}

impl ReadError {
    pub(super) fn refused(
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::Refused {
            place: place.into(),
            found: found.into(),
            expected: expected.into(),
            advice: advice.into(),
        }
    }
}

/// A name from the file, fit for one line of an error.
pub(super) fn show(name: &str) -> String {
    let shown: String = name.chars().take(40).collect();
    let more = if shown.len() < name.len() { "..." } else { "" };
    format!("{shown:?}{more}")
}

/// Reads the network in `bytes`, an ONNX file as [`write`](super::write()) makes it.
///
/// Total: any bytes give a network or an error, with memory in proportion to their number.
///
/// # Errors
/// If the bytes are no ONNX model, or hold anything that is not understood exactly: the error names the node,
/// what was found, what was expected and what to do.
///
/// ```
/// let error = trainer::onnx::read(b"ROMEO:").unwrap_err();
/// assert!(error.to_string().starts_with("this is not an ONNX file"));
/// ```
pub fn read(bytes: &[u8]) -> Result<Network, ReadError> {
    let model = decode(bytes)?;
    check_head(&model)?;
    let vocabulary = vocabulary(&model)?;
    let provenance = provenance(&model)?;
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| ReadError::NotOnnx("it has no graph".into()))?;
    let body = graph::walk(graph)?;
    if body.head.w.rows != vocabulary.len() {
        return Err(ReadError::refused(
            format!("metadata {VOCABULARY_KEY}"),
            format!("{} tokens", vocabulary.len()),
            format!("{}, as many as the logits", body.head.w.rows),
            "give the vocabulary that the model was trained with",
        ));
    }
    let graph::Body {
        embedding,
        layers,
        head,
    } = body;
    Ok(Network::language_model(
        vocabulary, embedding, layers, head, provenance,
    ))
}

fn decode(bytes: &[u8]) -> Result<ModelProto, ReadError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge);
    }
    if bytes.is_empty() {
        return Err(ReadError::NotOnnx("it is empty".into()));
    }
    check_fields(bytes).map_err(ReadError::NotOnnx)?;
    prost::Message::decode(bytes)
        .map_err(|error: prost::DecodeError| ReadError::NotOnnx(error.to_string()))
}

/// Versions, and parts of a model that would change its meaning.
fn check_head(model: &ModelProto) -> Result<(), ReadError> {
    if model.graph.is_none() {
        return Err(ReadError::NotOnnx("it has no graph".into()));
    }
    for import in &model.opset_import {
        let standard = matches!(&*import.domain, "" | "ai.onnx");
        if !standard || !OPSETS.contains(&import.version) {
            let found = format!(
                "version {} of domain {}",
                import.version,
                show(&import.domain)
            );
            let expected = format!(
                "versions {} to {} of domain \"\"",
                OPSETS.start(),
                OPSETS.end()
            );
            return Err(ReadError::refused(
                "operator set",
                found,
                expected,
                "export the model again for opset 17",
            ));
        }
    }
    if model.opset_import.len() != 1 {
        let found = model.opset_import.len().to_string();
        return Err(ReadError::refused(
            "list of operator sets",
            found,
            "1",
            AGAIN,
        ));
    }
    let extra = [
        ("local functions", model.functions.len()),
        ("training parts", model.training_info.len()),
    ];
    match extra.iter().find(|(_, count)| *count > 0) {
        Some((what, count)) => Err(ReadError::refused(
            "model",
            format!("{count} {what}"),
            "none",
            "export the model for inference",
        )),
        None => Ok(()),
    }
}

/// The value of a metadata key that stands at most once.
fn metadata<'m>(model: &'m ModelProto, key: &str) -> Result<Option<&'m str>, ReadError> {
    let mut values = model.metadata_props.iter().filter(|entry| entry.key == key);
    let first = values.next();
    match values.count() {
        0 => Ok(first.map(|entry| &*entry.value)),
        more => Err(ReadError::refused(
            format!("metadata {key}"),
            format!("{} values", more + 1),
            "one",
            AGAIN,
        )),
    }
}

fn vocabulary(model: &ModelProto) -> Result<Vocabulary, ReadError> {
    let place = || format!("metadata {VOCABULARY_KEY}");
    let expected = "a JSON list of the tokens' texts, by id";
    let advice = "add it with onnx.helper.set_model_props, or export the model again";
    let json = metadata(model, VOCABULARY_KEY)?
        .ok_or_else(|| ReadError::refused(place(), "nothing", expected, advice))?;
    let texts: Vec<String> = serde_json::from_str(json).map_err(|error| {
        ReadError::refused(place(), format!("other text ({error})"), expected, advice)
    })?;
    Vocabulary::new(texts)
        .map_err(|error| ReadError::refused(place(), error.to_string(), expected, advice))
}

/// A model without provenance is read: only the report is poorer.
fn provenance(model: &ModelProto) -> Result<Provenance, ReadError> {
    let Some(json) = metadata(model, PROVENANCE_KEY)? else {
        return Ok(Provenance::default());
    };
    serde_json::from_str(json).map_err(|error| {
        ReadError::refused(
            format!("metadata {PROVENANCE_KEY}"),
            format!("other text ({error})"),
            "a JSON object with corpus, split, steps, seed, train_loss, validation_loss",
            "remove the key, or export the model again",
        )
    })
}
