//! The float network in integers: int8 weights with a scale per row, int4 weights with a scale per group, or both in a row, within
//! the accumulator bounds.
//!
//! | file | what |
//! |---|---|
//! | `check` | the limits of a model file |
//! | `calibrate` | the ranges of numbers that no bound limits |
//! | `layers` | each layer of the list in integers |
//! | `operand` | vectors in integers |
//! | `tokens`, `token_input` | tokens as gate rows, as an embedding or by the output layer |
//! | `initial` | initial states |
//! | `outputs` | what the outputs mean |
//! | `recurrent`, `dense` | layers with weights |
//! | `row`, `grid` | rows of weights and their scales |
//! | `gptq` | which way each weight is rounded |
//! | `vocabulary` | vocabularies of inputs and outputs |
//! | `project` | the float network with the weights that its integers stand for |

use crate::network::formats::WeightFormats;
use crate::network::{GroupScales, TensorScales};
use crate::network::{Inputs, Layer, Network, Phase};
use pipsqueak::encode::ModelParams;
use pipsqueak::{TrainingInfo, WeightFormat};

mod calibrate;
mod check;
mod dense;
mod gptq;
mod grid;
mod initial;
mod layers;
mod operand;
mod outputs;
mod project;
mod recurrent;
mod row;
mod token_input;
mod tokens;
mod vocabulary;

pub use calibrate::SAMPLES;
pub use grid::{GroupedRow, best_scale, representable_scale};
pub use project::project_to_grid;
pub use token_input::{TokenBytes, TokenEncoding};
pub use vocabulary::vocabulary_of;

use project::InputScales;

/// A network in integers, and what became of each tensor.
#[derive(Debug)]
pub struct Quantized<'a> {
    /// What [`pipsqueak::encode::encode`] takes.
    pub params: ModelParams<'a>,
    /// One entry per tensor, by layer.
    pub tensors: Vec<TensorReport>,
    /// The encodings that tokens could have, the smallest first; of the source's tokens and of the step's.
    pub encodings: Vec<Vec<TokenBytes>>,
    /// The group scales of 4-bit weights, of the source's layers: [`Network::source_group_scales`] of a network that is projected to them.
    pub source_group_scales: GroupScales,
    /// The same of all other layers.
    pub group_scales: GroupScales,
    /// What the weights of each layer read.
    input_scales: Vec<InputScales>,
    /// What was assumed about numbers whose ranges the network does not bound.
    pub assumptions: Vec<String>,
}

/// How a network is quantized.
#[derive(Clone, Debug, Default)]
pub struct Options<'s> {
    /// Calibration sequences: all ranges are twice the largest number that is seen on them. Without them what nothing bounds is
    /// measured on [`SAMPLES`] random ones.
    pub samples: Option<&'s [Inputs]>,
    /// The formats of the weights of each recurrent layer, an encoder's first; the last one is that of all after it. By default
    /// a layer has the formats that the network has [group scales](Network::group_scales) for, and else int8. Over gate rows of tokens
    /// [`INT8_INT4`](crate::network::formats::INT8_INT4) is [`INT4`](crate::network::formats::INT4).
    pub layers: Vec<WeightFormats>,
    /// The same of the dense layers of outputs, int8 or int4. Those of inputs and of initial states are always int8.
    pub head: Option<WeightFormat>,
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TensorReport {
    /// RecurrentCell and gate.
    pub name: String,
    /// Rows and columns, not padded.
    pub shape: [usize; 2],
    /// Bytes in the model file, padding, biases and scales included.
    pub bytes: usize,
    /// Smallest and largest scale of a weight.
    pub scale: [f64; 2],
    /// Root of the mean squared rounding error over that of the values.
    pub relative_error: f64,
    /// Of weights of another format than int8.
    #[serde(skip)]
    pub group_scales: Option<TensorScales>,
}

/// A network that integers cannot hold.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum QuantizeError {
    /// A shape that the integer runtime does not run.
    #[error(
        "the integer runtime cannot run {found}: expected {expected}; `trainer run` runs it in float"
    )]
    Shape {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A cell, or an activation in it, that the integer runtime lacks.
    #[error(
        "layer {layer} is {found}: the integer runtime has no such cell, only GRU and LSTM with sigmoid and tanh, and RNN with tanh; `trainer run` runs it in float"
    )]
    Cell {
        /// The layer.
        layer: usize,
        /// What it is.
        found: String,
    },
    /// An activation of a dense layer that the integer runtime lacks.
    #[error(
        "the dense layer {dense:?} has the activation {found}: the integer runtime has none, relu, tanh and sigmoid; `trainer run` runs it in float"
    )]
    Activation {
        /// The dense layer.
        dense: String,
        /// What it has.
        found: String,
    },
    /// More than a model file can hold.
    #[error("the network has {found} {what}, but a model file holds at most {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        limit: usize,
    },
    /// A weight or bias that no scale of a row reaches.
    #[error(
        "row {row} of {tensor} has values as large as {value}: expected weights below 256 and biases below 65,536; larger ones come from a training that diverged"
    )]
    Value {
        /// The tensor.
        tensor: String,
        /// The row.
        row: usize,
        /// The largest value.
        value: f64,
    },
    /// Group scales that the network brings and that do not fit its weights.
    #[error(
        "row {row} of {tensor} does not fit the model's group scales: {what}; train its 4-bit weights again, or export it with --weight-bits 8 --output-weight-bits 8"
    )]
    Grid {
        /// The tensor.
        tensor: String,
        /// The row.
        row: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The float network computes no numbers.
    #[error(
        "the float network computes numbers that are not finite on the samples that it was calibrated with: give typical inputs with --calibration"
    )]
    NotFinite,
}

/// Quantizes `network`: weights have 4 bits, or 8 over the input and 4 over the hidden state, where it brings
/// [group scales](Network::group_scales) for them, and else 8.
///
/// Frames, and states that are given in another framework's file, are taken to be standard normal numbers. What nothing
/// bounds is measured on [`SAMPLES`] random sequences: twice the largest number that is seen.
///
/// # Errors
/// If the integer runtime lacks a layer of the network, or it is larger than a model file can be, or its values are.
pub fn quantize(network: &Network) -> Result<Quantized<'_>, QuantizeError> {
    quantize_with(network, &Options::default())
}

/// The same as `options` say.
///
/// # Errors
/// As [`quantize`].
///
/// # Panics
/// If a sample does not fit the network.
pub fn quantize_with<'n>(
    network: &'n Network,
    options: &Options,
) -> Result<Quantized<'n>, QuantizeError> {
    check::check(network)?;
    layers::Quantizer::new(network, options)?.quantize()
}

/// An error for a network that a model file cannot hold.
fn unsupported<T>(found: &'static str, expected: &'static str) -> Result<T, QuantizeError> {
    Err(QuantizeError::Shape { found, expected })
}

/// The name of a layer as the group scales of its phase have it.
fn name_in_group_scales(layer: &Layer) -> &str {
    let prefix = prefix(layer.phase);
    layer.name.strip_prefix(prefix).unwrap_or(&layer.name)
}

/// What the names of the source's layers begin with that its group scales leave out.
fn prefix(phase: Phase) -> &'static str {
    match phase {
        Phase::Source => "encoder ",
        _ => "",
    }
}

/// A model file keeps names of at most 64 bytes.
fn training_info(network: &Network) -> TrainingInfo<'_> {
    let cut = |text: &'_ str| text.floor_char_boundary(64);
    let from = &network.provenance;
    let thousandths =
        |loss: Option<f32>| loss.map(|nats| (nats * 1000.0).round().clamp(0.0, 65535.0) as u16);
    TrainingInfo {
        corpus: &from.corpus[..cut(&from.corpus)],
        split: &from.split[..cut(&from.split)],
        steps: from.steps.min(u32::MAX.into()) as u32,
        seed: from.seed,
        train_loss: thousandths(from.train_loss),
        validation_loss: thousandths(from.validation_loss),
    }
}

/// `n` rounded up to a multiple of 4.
fn padded(n: usize) -> usize {
    n.next_multiple_of(4)
}
