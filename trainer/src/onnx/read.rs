//! ONNX bytes -> canonical network, strictly.

use super::array::Array;
use super::assemble::{Output, assemble};
use super::fault::{AGAIN, show};
use super::graph::{Ids, Scopes, Value, Walk, define, lookup};
use super::interface::{Declared, Size, declared_shape, readings};
use super::limits::{MAX_FILE_BYTES, check_fields};
use super::symbol::{Node as Formula, Symbols};
use super::tensor::Source;
use super::{PROVENANCE_KEY, VOCABULARY_KEY};
use crate::network::{Dim, ElementType, Input, Network, Provenance};
use crate::vocab::Vocabulary;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use tract_onnx::pb::{GraphProto, ModelProto};

/// The operator sets in which every operator that is read is known to mean what is read.
const OPSETS: std::ops::RangeInclusive<i64> = 9..=25;

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

/// Reads the network in `bytes`, an ONNX file whose weights are inside.
///
/// Total: any bytes give a network or an error, with bounded memory.
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
    read_beside(bytes, None)
}

/// Reads the network in `bytes`, an ONNX file whose weights may lie in files of `folder`.
///
/// # Errors
/// As [`read`]; or if such a file is not there, or lies elsewhere.
pub fn read_beside(bytes: &[u8], folder: Option<&Path>) -> Result<Network, ReadError> {
    let model = decode(bytes)?;
    let opset = check_head(&model)?;
    let vocabulary = vocabulary(&model)?;
    let provenance = provenance(&model)?;
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| ReadError::NotOnnx("it has no graph".into()))?;
    let source = Source { folder };
    let mut first_error = None;
    let mut network = None;
    for reading in readings(graph)? {
        match understand(graph, opset, &source, &reading) {
            Ok(found) => {
                network = Some(found);
                break;
            }
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    let Some(mut network) = network else {
        return Err(first_error.expect("there is a way to read every graph"));
    };
    if let Some(vocabulary) = vocabulary {
        let tokens = match &network.input {
            Input::Tokens { count, .. } => *count,
            _ => 0,
        };
        if vocabulary.len() != tokens {
            return Err(ReadError::refused(
                format!("metadata {VOCABULARY_KEY}"),
                format!("{} tokens", vocabulary.len()),
                format!("{tokens}, as many as the input has"),
                "give the vocabulary that the model was trained with",
            ));
        }
        network.vocabulary = Some(vocabulary);
    }
    network.provenance = provenance;
    Ok(network)
}

/// The network of a graph whose dimensions are read in one way: the same for two lengths of every open dimension.
fn understand(
    graph: &GraphProto,
    opset: i64,
    source: &Source,
    reading: &[Declared],
) -> Result<Network, ReadError> {
    let mut network = walk(graph, opset, source, reading, 0)?;
    let again = if reading
        .iter()
        .flat_map(|input| &input.sizes)
        .any(|size| matches!(size, Size::Time(_)))
    {
        Some(walk(graph, opset, source, reading, 1)?)
    } else {
        None
    };
    name_shapes(&mut network, again.as_ref(), graph, reading);
    if let Some(mut again) = again {
        again.interface = network.interface.clone();
        if let (Some(a), Some(b)) = (&mut again.encoder, &network.encoder) {
            a.interface = b.interface.clone();
        }
        if again != network {
            return Err(ReadError::refused(
                "graph",
                "another network at another length",
                "one network for sequences of any length",
                "export the model with the length that it is used with, as a fixed size",
            ));
        }
    }
    Ok(network)
}

/// Executes a graph with the lengths of one pass.
fn walk(
    graph: &GraphProto,
    opset: i64,
    source: &Source,
    reading: &[Declared],
    pass: usize,
) -> Result<Network, ReadError> {
    let mut walk = Walk::new(source, opset);
    let mut scopes: Scopes = vec![HashMap::new()];
    let shapes: Vec<Vec<usize>> = reading.iter().map(|input| input.shape(pass)).collect();
    for (port, (input, shape)) in reading.iter().zip(&shapes).enumerate() {
        let place = || format!("input {}", show(&input.name));
        let value =
            incoming(&mut walk.symbols, port, input, shape).map_err(|fault| fault.at(place()))?;
        let name = graph
            .input
            .iter()
            .find(|declared| declared.name == input.name)
            .map_or("", |declared| &declared.name);
        define(&mut scopes, name, value)?;
    }
    walk.graph(graph, &mut scopes)?;
    let mut outputs = Vec::new();
    for output in &graph.output {
        let refused = |found: &str| {
            ReadError::refused(
                format!("output {}", show(&output.name)),
                found,
                "a value computed from what comes in",
                AGAIN,
            )
        };
        match lookup(&scopes, &output.name) {
            Some(Value::Data(elements)) => outputs.push(Output {
                name: output.name.clone(),
                elements,
            }),
            Some(Value::Known(_)) => return Err(refused("a constant")),
            Some(Value::Ids(_)) => return Err(refused("token ids")),
            None => return Err(refused("nothing of that name")),
        }
    }
    assemble(&mut walk.symbols, &walk.places, reading, &shapes, &outputs)
}

/// What comes in through an input.
fn incoming(
    symbols: &mut Symbols,
    port: usize,
    input: &Declared,
    shape: &[usize],
) -> Result<Value, super::fault::Fault> {
    let count = super::array::count(shape)?;
    if count == 0 || count > 1 << 20 {
        return Err(super::fault::Fault::new(
            format!("{count} values"),
            "1 to 1048576",
            "feed shorter sequences",
        ));
    }
    let shape = shape.to_vec();
    if input.element == ElementType::Float {
        let id = symbols.intern(Formula::Input {
            port,
            len: count as u32,
        })?;
        let data = symbols.whole(id).elements().collect();
        return Ok(Value::Data(Rc::new(Array { shape, data })));
    }
    let mut data = Vec::with_capacity(count);
    for position in 0..count as u32 {
        let id = symbols.intern(Formula::Token { port, position })?;
        data.extend(symbols.whole(id).elements());
    }
    Ok(Value::Ids(Rc::new(Ids::new(Array { shape, data }))))
}

/// Writes batch and length into the ports' shapes: a size that changes from pass to pass is a length; the batch of an output
/// is the first size of 1 that is declared otherwise.
fn name_shapes(
    network: &mut Network,
    again: Option<&Network>,
    graph: &GraphProto,
    reading: &[Declared],
) {
    let other: HashMap<&str, &[Dim]> = again
        .iter()
        .flat_map(|network| network.outputs())
        .map(|port| (&*port.name, &*port.shape))
        .collect();
    let batched = reading
        .iter()
        .any(|input| input.sizes.contains(&Size::Batch));
    let mut interfaces = vec![&mut network.interface];
    interfaces.extend(
        network
            .encoder
            .as_mut()
            .map(|encoder| &mut encoder.interface),
    );
    for interface in interfaces {
        for port in &mut interface.inputs {
            let Some(input) = reading.iter().find(|input| input.name == port.name) else {
                continue;
            };
            for (dim, size) in port.shape.iter_mut().zip(&input.sizes) {
                *dim = match size {
                    Size::Fixed(size) => Dim::Fixed(*size),
                    Size::Batch => Dim::Batch,
                    Size::Time(_) => Dim::Steps,
                };
            }
        }
        for port in &mut interface.outputs {
            if let Some(other) = other.get(&*port.name) {
                for (dim, other) in port.shape.iter_mut().zip(*other) {
                    if dim != other {
                        *dim = Dim::Steps;
                    }
                }
            }
            let declared = graph
                .output
                .iter()
                .find(|output| output.name == port.name)
                .and_then(declared_shape);
            if let (true, Some(declared)) = (batched, declared)
                && declared.len() == port.shape.len()
            {
                let batch = port
                    .shape
                    .iter()
                    .zip(&declared)
                    .position(|(dim, size)| *dim == Dim::Fixed(1) && *size != Some(1));
                if let Some(batch) = batch {
                    port.shape[batch] = Dim::Batch;
                }
            }
        }
    }
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

/// Versions, and parts of a model that would change its meaning. Gives the version of the operator set.
fn check_head(model: &ModelProto) -> Result<i64, ReadError> {
    if model.graph.is_none() {
        return Err(ReadError::NotOnnx("it has no graph".into()));
    }
    let mut version = None;
    // Other domains are refused where a node is of one.
    for import in model
        .opset_import
        .iter()
        .filter(|import| matches!(&*import.domain, "" | "ai.onnx"))
    {
        if !OPSETS.contains(&import.version) || version.is_some() {
            return Err(ReadError::refused(
                "operator set",
                format!("version {}", import.version),
                format!("one, of versions {} to {}", OPSETS.start(), OPSETS.end()),
                "export the model again for opset 17",
            ));
        }
        version = Some(import.version);
    }
    if !model.training_info.is_empty() {
        return Err(ReadError::refused(
            "model",
            "training parts",
            "none",
            "export the model for inference",
        ));
    }
    version
        .ok_or_else(|| ReadError::refused("list of operator sets", "no standard one", "one", AGAIN))
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

/// The vocabulary, where the file has one: others come without.
fn vocabulary(model: &ModelProto) -> Result<Option<Vocabulary>, ReadError> {
    let place = || format!("metadata {VOCABULARY_KEY}");
    let expected = "a JSON list of the tokens' texts, by id";
    let advice = "correct it with onnx.helper.set_model_props, or export the model again";
    let Some(json) = metadata(model, VOCABULARY_KEY)? else {
        return Ok(None);
    };
    let texts: Vec<String> = serde_json::from_str(json).map_err(|error| {
        ReadError::refused(place(), format!("other text ({error})"), expected, advice)
    })?;
    Vocabulary::new(texts)
        .map(Some)
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
