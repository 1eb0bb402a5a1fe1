//! ONNX bytes -> network, strictly.

use super::array::{Array, View};
use super::fault::{AGAIN, Fault, show};
use super::graph::{Scopes, Value, Walk, define, known, lookup};
use super::interface::{Declared, Size, declared_shape, readings};
use super::limits::{MAX_FILE_BYTES, check_fields};
use super::lower::{Output, lower};
use super::symbol::{Element, Node as Formula, Symbols};
use super::tensor::{Source, Tensor};
use super::tokens::Ids;
use super::{
    CHANNELS_KEY, ENCODER_GRIDS_KEY, ENCODER_LEVEL_KEY, ENCODER_VOCABULARY_KEY, GRIDS_KEY,
    LABELS_KEY, LEVEL_KEY, PROVENANCE_KEY, VOCABULARY_KEY,
};
use crate::data::tokenizer::{TokenizerMetadata, Vocabulary};
use crate::network::{Dim, ElementType, GroupScales, Network, Phase, Provenance, Values};
use std::collections::{BTreeMap, HashMap};
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
    let own = vocabulary(&model, VOCABULARY_KEY, Some(LEVEL_KEY))?;
    let labels = vocabulary(&model, LABELS_KEY, None)?;
    let encoders = vocabulary(&model, ENCODER_VOCABULARY_KEY, Some(ENCODER_LEVEL_KEY))?;
    let channels = channels(&model)?;
    let provenance = provenance(&model)?;
    let [grids, encoder_grids] = [grids(&model, GRIDS_KEY)?, grids(&model, ENCODER_GRIDS_KEY)?];
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| ReadError::NotOnnx("it has no graph".into()))?;
    let source = Source { folder };
    let readings = readings(graph)?;
    let mut first_error = None;
    let mut network = None;
    // A batch is one where its sequences are proved not to know of each other. Only where no reading has that, a dimension
    // that looks like a batch is taken for one sequence and no more.
    for batched in [true, false] {
        for reading in &readings {
            if network.is_some() {
                break;
            }
            match understand(graph, opset, &source, reading, batched) {
                Ok(found) => network = found,
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    let Some(mut network) = network else {
        return Err(first_error.expect("there is a way to read every graph"));
    };
    let known = |key, texts: Option<Vocabulary>, count: usize, of: &str| match texts {
        Some(texts) if texts.len() != count => Err(ReadError::refused(
            format!("metadata {key}"),
            format!("{} tokens", texts.len()),
            format!("{count}, as many as {of} has"),
            "give the vocabulary that the model was trained with",
        )),
        texts => Ok(texts),
    };
    network.vocabulary = known(VOCABULARY_KEY, own, network.tokens(), "the input")?;
    network.labels = known(LABELS_KEY, labels, network.output_width(), "the output")?;
    network.source_vocabulary = known(
        ENCODER_VOCABULARY_KEY,
        encoders,
        network.vocab_size(Phase::Source),
        "the encoder's input",
    )?;
    if !channels.is_empty() && channels.len() != network.features() {
        return Err(ReadError::refused(
            format!("metadata {CHANNELS_KEY}"),
            format!("{} names", channels.len()),
            format!("{}, as many as there are features", network.features()),
            "give the names that the model was trained with",
        ));
    }
    network.feature_names = channels;
    network.group_scales = grids;
    network.source_group_scales = encoder_grids;
    network.provenance = provenance;
    Ok(network)
}

/// The network of a graph whose dimensions are read in one way: the same for two lengths of every open dimension.
///
/// None where an open batch is asked for (`batched`) and its sequences depend on each other.
fn understand(
    graph: &GraphProto,
    opset: i64,
    source: &Source,
    reading: &[Declared],
    batched: bool,
) -> Result<Option<Network>, ReadError> {
    let (network, mut axes) = walk(graph, opset, source, reading, 0)?;
    let has = |wanted: fn(&Size) -> bool| reading.iter().flat_map(|input| &input.sizes).any(wanted);
    let mut reading = reading.to_vec();
    if has(|size| *size == Size::Batch(1)) {
        let batch = if batched {
            Size::Batch(2)
        } else {
            Size::Fixed(1)
        };
        let sizes = reading.iter_mut().flat_map(|input| &mut input.sizes);
        sizes
            .filter(|size| **size == Size::Batch(1))
            .for_each(|size| *size = batch);
        if batched {
            axes = match walk(graph, opset, source, &reading, 0) {
                Ok((two, axes)) if same_network(&two, &network) => axes,
                _ => return Ok(None),
            };
        }
    }
    let again = if has(|size| matches!(size, Size::Time(_))) {
        Some(walk(graph, opset, source, &reading, 1)?.0)
    } else {
        None
    };
    if !network.is_finite() {
        return Err(ReadError::refused(
            "graph",
            "weights that are no finite numbers once they are put together",
            "finite numbers",
            "the training has diverged: train again with a lower learning rate",
        ));
    }
    let network = name_shapes(network, again.as_ref(), &reading, &axes);
    declared_as_found(&network, graph)?;
    if let Some(again) = again
        && !same_network(&again, &network)
    {
        return Err(ReadError::refused(
            "graph",
            "another network at another length",
            "one network for sequences of any length",
            "export the model with the length that it is used with, as a fixed size",
        ));
    }
    judge(&network, graph, opset, source, &reading)?;
    Ok(Some(network))
}

/// Whether two networks are the same but for the shapes of their arrays.
fn same_network(a: &Network, b: &Network) -> bool {
    a.has_same_layers(b)
}

/// Evaluates the graph itself, number by number and without any formula, and compares what comes out with the network. The
/// network is proved already; this would find a mistake in the proof.
fn judge(
    network: &Network,
    graph: &GraphProto,
    opset: i64,
    source: &Source,
    reading: &[Declared],
) -> Result<(), ReadError> {
    let mut walk = Walk::new(source, opset);
    walk.concrete = true;
    let mut scopes: Scopes = vec![HashMap::new()];
    let mut arrays = BTreeMap::new();
    for (port, input) in reading.iter().enumerate() {
        let array = network.random_array(&input.name, &input.shape(0), port as u64);
        let shape = array.shape.clone();
        let tensor = match &array.values {
            Values::Float(values) => Tensor::Float(Array {
                shape,
                data: values.clone(),
            }),
            Values::Int32(values) => {
                let data = values.iter().map(|&x| x.into()).collect();
                Tensor::Int(Array { shape, data })
            }
            Values::Int64(values) => Tensor::Int(Array {
                shape,
                data: values.clone(),
            }),
        };
        let declared = graph
            .input
            .iter()
            .find(|declared| declared.name == input.name);
        define(
            &mut scopes,
            declared.map_or("", |declared| &declared.name),
            known(tensor),
        )?;
        arrays.insert(input.name.clone(), array);
    }
    walk.graph(graph, &mut scopes)?;
    let refused = |name: &str, found: String, expected: String| {
        let advice = "report it with the file: what was read is not what the file computes";
        ReadError::refused(format!("output {}", show(name)), found, expected, advice)
    };
    let results = network
        .run_arrays(&arrays)
        .map_err(|error| refused("", error.to_string(), "a network that runs".into()))?;
    for (name, found) in &results {
        let (Some(Value::Known(tensor)), Values::Float(found)) =
            (lookup(&scopes, name), &found.values)
        else {
            return Err(refused(name, "nothing".into(), "known numbers".into()));
        };
        let expected = &tensor
            .floats()
            .map_err(|fault| fault.at(format!("output {}", show(name))))?
            .data;
        let far = |(a, b): (&f32, &f32)| {
            let close = (a - b).abs() <= TOLERANCE * b.abs().max(1.0) || a == b;
            !close
        };
        if found.len() != expected.len() {
            return Err(refused(
                name,
                format!("{} values", found.len()),
                expected.len().to_string(),
            ));
        }
        if let Some(at) = found.iter().zip(expected).position(far) {
            return Err(refused(
                name,
                format!("{} at position {at}", found[at]),
                expected[at].to_string(),
            ));
        }
    }
    Ok(())
}

/// Of the larger of 1 and a value: what rounding may change in a few steps.
const TOLERANCE: f32 = 1e-4;

/// Executes a graph with the lengths of one pass. Gives the network, and which dimension of each output is the batch, where
/// there is more than one sequence.
fn walk(
    graph: &GraphProto,
    opset: i64,
    source: &Source,
    reading: &[Declared],
    pass: usize,
) -> Result<(Network, Vec<(String, usize)>), ReadError> {
    let mut walk = Walk::new(source, opset);
    let mut scopes: Scopes = vec![HashMap::new()];
    for (port, input) in reading.iter().enumerate() {
        let place = || format!("input {}", show(&input.name));
        let value =
            incoming(&mut walk.symbols, port, input, pass).map_err(|fault| fault.at(place()))?;
        let declared = graph
            .input
            .iter()
            .find(|declared| declared.name == input.name);
        define(
            &mut scopes,
            declared.map_or("", |declared| &declared.name),
            value,
        )?;
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
    let mut shapes: Vec<Vec<usize>> = reading.iter().map(|input| input.shape(pass)).collect();
    for (shape, input) in shapes.iter_mut().zip(reading) {
        if let Some(axis) = input.batch_axis() {
            shape[axis] = 1;
        }
    }
    let batch = reading.iter().map(Declared::batch).max().unwrap_or(1);
    if batch == 1 {
        let network = lower(&mut walk.symbols, &walk.places, reading, &shapes, &outputs)?;
        return Ok((network, vec![]));
    }
    // Each sequence is a network of its own, and all of them are the same.
    let axes = batch_axes(&walk.symbols, reading, &outputs, batch)?;
    let mut first: Option<Network> = None;
    for sequence in 0..batch {
        let mut own = Vec::new();
        for (output, (name, axis)) in outputs.iter().zip(&axes) {
            let cut = View::slice(&output.elements.shape, *axis, sequence, 1, 1)
                .map_err(|fault| fault.at(format!("output {}", show(name))))?;
            own.push(Output {
                name: name.clone(),
                elements: Rc::new(cut.of(&output.elements.data)),
            });
        }
        let network = lower(&mut walk.symbols, &walk.places, reading, &shapes, &own)?;
        match &first {
            None => first = Some(network),
            Some(first) if same_network(&network, first) => {}
            Some(_) => {
                return Err(ReadError::refused(
                    "graph",
                    format!("sequence {sequence} of the batch with another network"),
                    "the same for all",
                    "export the model with a batch of 1",
                ));
            }
        }
    }
    Ok((first.expect("a batch has a sequence"), axes))
}

/// The dimension of each output along which each sequence of the batch has its own part.
fn batch_axes(
    symbols: &Symbols,
    reading: &[Declared],
    outputs: &[Output],
    batch: usize,
) -> Result<Vec<(String, usize)>, ReadError> {
    let shared: Vec<bool> = reading
        .iter()
        .map(|input| input.batch_axis().is_none())
        .collect();
    let sequences = symbols.sequences(&shared);
    let axis = |output: &Output| {
        let shape = &output.elements.shape;
        (0..shape.len())
            .filter(|&axis| shape[axis] == batch)
            .find(|&axis| {
                let inner: usize = shape[axis + 1..].iter().product();
                output
                    .elements
                    .data
                    .iter()
                    .enumerate()
                    .all(|(at, element)| {
                        sequences[element.node as usize] & !(1 << (at / inner % batch)) == 0
                    })
            })
    };
    let found = outputs.iter().map(|output| match axis(output) {
        Some(axis) => Ok((output.name.clone(), axis)),
        None => Err(ReadError::refused(
            format!("output {}", show(&output.name)),
            format!(
                "shape {:?} in which {batch} sequences are mixed",
                output.elements.shape
            ),
            "a part for each sequence",
            "export the model with a batch of 1",
        )),
    });
    found.collect()
}

/// What comes in through an input.
fn incoming(
    symbols: &mut Symbols,
    port: usize,
    input: &Declared,
    pass: usize,
) -> Result<Value, Fault> {
    let shape = input.shape(pass);
    let count = super::array::count(&shape)?;
    if count == 0 || count > 1 << 20 {
        let expected = "1 to 1048576 values";
        return Err(Fault::new(
            format!("{count} values"),
            expected,
            "feed shorter sequences",
        ));
    }
    // Each sequence of the batch is a node of its own.
    let batch = input.batch();
    let inner: usize = input
        .batch_axis()
        .map_or(1, |axis| shape[axis + 1..].iter().product());
    let len = (count / batch) as u32;
    let float = input.element == ElementType::Float;
    let mut next = vec![0; batch];
    let mut data = Vec::with_capacity(count);
    for at in 0..count {
        let sequence = at / inner % batch;
        let (batch, position) = (sequence as u32, next[sequence]);
        next[sequence] += 1;
        data.push(if float {
            let node = symbols.intern(Formula::Input { port, batch, len })?;
            Element {
                node,
                index: position,
            }
        } else {
            let node = symbols.intern(Formula::Token {
                port,
                batch,
                position,
            })?;
            Element { node, index: 0 }
        });
    }
    let elements = Array { shape, data };
    Ok(if float {
        Value::Data(Rc::new(elements))
    } else {
        Value::Ids(Rc::new(Ids::new(elements)))
    })
}

/// Writes batch and length into the ports' shapes: a size that changes from pass to pass is a length, and `axes` are the
/// batches of the outputs.
fn name_shapes(
    network: Network,
    again: Option<&Network>,
    reading: &[Declared],
    axes: &[(String, usize)],
) -> Network {
    let other: HashMap<&str, &[Dim]> = again
        .iter()
        .flat_map(|network| network.output_specs())
        .map(|port| (&*port.name, &*port.shape))
        .collect();
    let mut signatures = [Phase::Source, Phase::Step].map(|phase| network.signature(phase).clone());
    for signature in &mut signatures {
        for port in &mut signature.inputs {
            let sizes = reading
                .iter()
                .find(|input| input.name == port.name)
                .map(|input| &input.sizes);
            for (dim, size) in port.shape.iter_mut().zip(sizes.into_iter().flatten()) {
                *dim = match size {
                    Size::Fixed(size) => Dim::Fixed(*size),
                    Size::Batch(_) => Dim::Batch,
                    Size::Time(_) => Dim::Steps,
                };
            }
        }
        for port in &mut signature.outputs {
            let other = other.get(&*port.name).copied().unwrap_or_default();
            for (dim, other) in port.shape.iter_mut().zip(other) {
                if dim != other {
                    *dim = Dim::Steps;
                }
            }
            if let Some((_, axis)) = axes.iter().find(|(name, _)| *name == port.name) {
                port.shape[*axis] = Dim::Batch;
            }
        }
    }
    network
        .with_signatures(signatures)
        .expect("the states are the same")
}

/// That fixed sizes of the outputs are what is declared.
fn declared_as_found(network: &Network, graph: &GraphProto) -> Result<(), ReadError> {
    for port in network.output_specs() {
        let declared = graph
            .output
            .iter()
            .find(|output| output.name == port.name)
            .and_then(declared_shape);
        let Some(declared) = declared.filter(|declared| !declared.is_empty()) else {
            continue;
        };
        let differs = |(found, declared): (&Dim, &Option<usize>)| match (found, declared) {
            (Dim::Fixed(found), Some(declared)) => found != declared,
            _ => false,
        };
        if declared.len() != port.shape.len() || port.shape.iter().zip(&declared).any(differs) {
            let found: Vec<String> = port
                .shape
                .iter()
                .map(|dim| match dim {
                    Dim::Fixed(size) => size.to_string(),
                    Dim::Batch => "batch".into(),
                    Dim::Steps => "T".into(),
                })
                .collect();
            let sizes: Vec<String> = declared
                .iter()
                .map(|size| size.map_or("T".into(), |size| size.to_string()))
                .collect();
            return Err(ReadError::refused(
                format!("output {}", show(&port.name)),
                format!("shape [{}]", found.join(", ")),
                format!("[{}], as it is declared", sizes.join(", ")),
                AGAIN,
            ));
        }
    }
    Ok(())
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
fn vocabulary(
    model: &ModelProto,
    key: &str,
    level_key: Option<&str>,
) -> Result<Option<Vocabulary>, ReadError> {
    let place = || format!("metadata {key}");
    let expected = "a JSON list of the tokens' texts, by id";
    let advice = "correct it with onnx.helper.set_model_props, or export the model again";
    let Some(json) = metadata(model, key)? else {
        return Ok(None);
    };
    let texts: Vec<String> = serde_json::from_str(json).map_err(|error| {
        ReadError::refused(place(), format!("other text ({error})"), expected, advice)
    })?;
    let level = level_key.map(|key| Ok((key, metadata(model, key)?)));
    let kind = match level.transpose()? {
        None | Some((_, None)) => TokenizerMetadata::default(),
        Some((key, Some(json))) => serde_json::from_str(json).map_err(|error| {
            ReadError::refused(
                format!("metadata {key}"),
                format!("other text ({error})"),
                format!(
                    "a JSON object with level ({}) and the ids start, eos, pad, unk, as far as there are any",
                    TokenizerMetadata::NAMES.join(", ")
                ),
                "correct or remove the key, or export the model again",
            )
        })?,
    };
    kind.vocabulary(texts)
        .map(Some)
        .map_err(|error| ReadError::refused(place(), error.to_string(), expected, advice))
}

/// The names of the features, where the file has them.
fn channels(model: &ModelProto) -> Result<Vec<String>, ReadError> {
    let Some(json) = metadata(model, CHANNELS_KEY)? else {
        return Ok(Vec::new());
    };
    serde_json::from_str(json).map_err(|error| {
        ReadError::refused(
            format!("metadata {CHANNELS_KEY}"),
            format!("other text ({error})"),
            "a JSON list of the features' names",
            "remove the key, or export the model again",
        )
    })
}

/// The group scales of 4-bit weights, where the file has them. Whether they fit is seen when they are used.
fn grids(model: &ModelProto, key: &str) -> Result<GroupScales, ReadError> {
    let Some(json) = metadata(model, key)? else {
        return Ok(GroupScales::new());
    };
    serde_json::from_str(json).map_err(|error| {
        ReadError::refused(
            format!("metadata {key}"),
            format!("other text ({error})"),
            "a JSON object of units and scales by the tensors' names",
            "remove the key, or train the 4-bit weights again",
        )
    })
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
