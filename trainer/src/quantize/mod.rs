//! The float network in integers: weights of 8 bits with a scale per row or of 4 bits with one per group, or both in a row,
//! and the range certificate.
//!
//! | file | what |
//! |---|---|
//! | `rows` | rows of weights |
//! | `grid` | what weights of 4 bits, and those of 8 beside them, are multiples of |
//! | `rounded` | the float network on its grids |
//! | `rounding` | which way each weight is rounded |
//! | `input` | tokens as a table, as an embedding or by the head |
//! | `layer` | recurrent cells |
//! | `start` | where states begin |
//! | `vocabulary` | texts of what goes in and what comes out |
//! | `parts` | a quantized network, part by part |
//! | `program` | the list of layers |
//! | `dense` | dense layers |
//! | `calibrate` | how large numbers get that no bound says |
//!
//! A vector's element is Q15 of a scale of its own ([`Vector`]); the rows that read it hold that scale in their weights.

use crate::network::{
    Feeds, Grids, Head, Input, Interface, Layer, Matrix, Network, Reads, Role, Start, TensorGrid,
};
use crate::quantize::formats::{INT8, WeightFormats};
use pipsqueak::encode::{DenseParams, ModelParams};
use pipsqueak::format::{MAX_DIM, MAX_STEPS_PER_TOKEN};
use pipsqueak::{TrainingInfo, WeightFormat};

mod calibrate;
mod dense;
pub mod formats;
mod grid;
mod input;
mod layer;
mod parts;
mod program;
mod rounded;
mod rounding;
mod rows;
mod start;
mod vocabulary;

pub use calibrate::SAMPLES;
pub use grid::{GridRow, best_step, exact_unit};
pub use input::{TokenBytes, TokenForm};
pub use rounded::rounded;
pub use vocabulary::vocabulary_of;

use calibrate::{NORMAL_END, Seen, is_fed_numbers};
use dense::NORM_COST;
use input::{Source, TokenTable};
use parts::{InputParts, NetworkParts, RecurrentParts, shape};
use rounding::Moments;
use rows::Width;

/// A network in integers, and what became of each tensor.
#[derive(Debug)]
pub struct Quantized<'a> {
    /// What [`pipsqueak::encode::encode`] takes.
    pub params: ModelParams<'a>,
    /// One entry per tensor, from the input on, an encoder's first.
    pub tensors: Vec<TensorReport>,
    /// The forms that tokens could have, the one that was taken first; of the encoder and then of the network itself.
    pub forms: Vec<Vec<TokenBytes>>,
    /// The grids of the weights of 4 bits, of the encoder and then of the network itself: what each one's
    /// [`Network::grids`] may be from now on.
    pub grids: Vec<Grids>,
    /// What the integers of each one's vectors are worth.
    scales: Vec<Scales>,
    /// What was assumed about numbers whose sizes the network does not tell.
    pub assumed: Vec<String>,
}

/// How a network is quantized.
#[derive(Clone, Debug, Default)]
pub struct Options<'s> {
    /// Sequences that all ranges are measured on: twice the largest number that is seen. Without them what nothing bounds is
    /// measured on [`SAMPLES`] random ones.
    pub samples: Option<&'s [Feeds]>,
    /// The formats of the weights of each recurrent layer, an encoder's first; the last one is that of all after it. By default
    /// a layer has the formats that the network has [grids](Network::grids) of, and else 8 bits. Over a table of tokens
    /// [`INT8_INT4`](crate::quantize::formats::INT8_INT4) is [`INT4`](crate::quantize::formats::INT4).
    pub layers: Vec<WeightFormats>,
    /// The same of the dense layers of heads, 8 or 4 bits. Those of inputs and of starts always have 8.
    pub head: Option<WeightFormat>,
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TensorReport {
    /// Layer and gate.
    pub name: String,
    /// Rows and columns, not padded.
    pub shape: [usize; 2],
    /// Bytes in the image, padding, biases and scales included.
    pub bytes: usize,
    /// Smallest and largest scale of a row: what one step of a weight is worth.
    pub scale: [f64; 2],
    /// Root of the mean squared rounding error over that of the values.
    pub relative_error: f64,
    /// Of weights of another width than 8 bits.
    #[serde(skip)]
    pub grid: Option<TensorGrid>,
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
    /// More than an image can hold.
    #[error("the network has {found} {what}, but an image holds at most {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        limit: usize,
    },
    /// A weight or bias that no unit of a row reaches.
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
    /// A grid that the network brings and that does not fit its weights.
    #[error(
        "the grid that the model has for row {row} of {tensor} does not fit it: {what}; train its weights of 4 bits anew, or export it with --weight-bits 8 --output-weight-bits 8"
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

/// A vector in integers: element c is Q15 of `scales[c]`.
#[derive(Clone, Debug, Default)]
struct Vector {
    scales: Vec<f64>,
    /// What no element's magnitude exceeds.
    bounds: Vec<f64>,
}

/// The scales of what weights read in a network: each weight is multiplied with that of its column before it is rounded.
#[derive(Clone, Debug, Default)]
struct Scales {
    /// Of each layer's input, `[inputs]`, which is empty over a table of tokens, and of its state.
    layers: Vec<(Vec<f64>, f64)>,
    /// Of what each of the head's dense layers reads, `[columns]`.
    head: Vec<Vec<f64>>,
}

impl Vector {
    /// Elements anywhere in their scales.
    fn scaled(scales: Vec<f64>) -> Self {
        let bounds = scales.clone();
        Self { scales, bounds }
    }

    /// `count` elements below 2^`shift`.
    fn uniform(count: usize, shift: u32) -> Self {
        Self::scaled(vec![f64::from(1u32 << shift); count])
    }

    /// Elements below 2 to the power of their channels.
    fn of_channels(channels: &[i8]) -> Self {
        let power = |channel: &i8| 2f64.powi((*channel).into());
        Self::scaled(channels.iter().map(power).collect())
    }

    /// A row of weights on the real vector, as weights on its Q15.
    fn fold(&self, row: &[f32]) -> Vec<f32> {
        let pairs = row.iter().zip(&self.scales);
        pairs
            .map(|(w, scale)| (f64::from(*w) * scale) as f32)
            .collect()
    }

    /// What no element exceeds.
    fn bound(&self) -> f64 {
        self.bounds.iter().fold(0.0, |a, &b| a.max(b))
    }
}

/// Quantizes `network`: weights have 4 bits, or 8 beside 4, where it brings [grids](Network::grids) for them, and else 8.
///
/// Float inputs, and states that are given in another framework's file, are taken to be standard normal numbers. What nothing
/// bounds is measured on [`SAMPLES`] random sequences: twice the largest number that is seen.
///
/// # Errors
/// If the integer runtime lacks a part of the network, or it is larger than an image can be, or its values are.
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
    check(network)?;
    let samples = options.samples;
    let mut quantizer = Quantizer {
        options,
        layers: 0,
        grids: Vec::new(),
        is_measured: samples.is_some() || is_fed_numbers(network),
        tensors: Vec::new(),
        forms: Vec::new(),
        scales: Vec::new(),
        assumed: Vec::new(),
    };
    let seen = if quantizer.is_measured || makes_states(network) {
        Some(calibrate::measure(network, samples)?)
    } else {
        None
    };
    // Our own networks are rounded to nearest, as they were when they were measured and shipped.
    let moments = match samples {
        Some(samples) => Some(Moments::of(network, samples)),
        None if calibrate::is_ours(network) => None,
        None => Some(Moments::of(network, &calibrate::random_samples(network))),
    };
    if quantizer.is_measured {
        quantizer.assumed.push(match samples {
            None => format!(
                "inputs are standard normal numbers within {NORMAL_END}, measured on {SAMPLES} random sequences: give typical ones with --calibration"
            ),
            Some(samples) => format!("ranges are twice the largest of {} sequences", samples.len()),
        });
    }
    let mut interfaces = Vec::new();
    let mut encoder_parts = None;
    if let Some(encoder) = &network.encoder {
        let seen = seen.as_ref().and_then(|seen| seen.encoder.as_deref());
        let moments = moments
            .as_ref()
            .and_then(|moments| moments.encoder.as_deref());
        let headless = headless(encoder);
        encoder_parts = Some(quantizer.network("encoder ", &headless, &[], seen, moments)?);
        interfaces.push(&encoder.interface);
    }
    let states = encoder_parts.as_ref().map_or(&[][..], |n| &n.layers[..]);
    let main = quantizer.network("", network, states, seen.as_ref(), moments.as_ref())?;
    interfaces.push(&network.interface);
    let vocabularies = vocabulary::vocabularies(network);
    let program = program::lower(encoder_parts, main, &vocabularies)?;
    let params = ModelParams {
        vocabularies,
        max_tokens: 0,
        fixed_steps: program.fixed_steps,
        steps_per_token: program.steps_per_token,
        layers: program.layers,
        outputs: vec![program.output],
        io_names: Interface::to_bytes(&interfaces),
        training: training_info(network),
    };
    let Quantizer {
        tensors,
        forms,
        grids,
        scales,
        assumed,
        ..
    } = quantizer;
    Ok(Quantized {
        params,
        tensors,
        forms,
        grids,
        scales,
        assumed,
    })
}

/// An encoder without what only its own outputs are made of: of an encoder nothing but its states is used.
fn headless(encoder: &Network) -> Network {
    Network {
        head: Head {
            reads: Reads::LastStep,
            ..Head::default()
        },
        ..encoder.clone()
    }
}

/// Whether states are made by dense layers or from a cell state.
fn makes_states(network: &Network) -> bool {
    let mut starts = network.starts.iter().flat_map(|s| [&s.hidden, &s.cell]);
    starts.any(|start| matches!(start, Start::Features(_) | Start::Encoder(..)))
}

/// That an image holds as many layers and as large ones, and has such cells.
fn check(network: &Network) -> Result<(), QuantizeError> {
    let limit = |what, found, limit| match found {
        n if n > limit => Err(QuantizeError::TooLarge { what, found, limit }),
        _ => Ok(()),
    };
    for network in network.encoder.as_deref().into_iter().chain([network]) {
        for (index, layer) in network.layers.iter().enumerate() {
            input::cell(index, layer)?;
            limit("units in a layer", layer.hidden(), MAX_DIM.into())?;
        }
        let most = match network.input {
            Input::Tokens { .. } => MAX_STEPS_PER_TOKEN,
            Input::Vectors { .. } | Input::Features { .. } => 1,
        };
        limit("steps per token", network.steps_per_token, most.into())?;
        match &network.input {
            Input::Tokens { count, embedding } => {
                let columns = embedding.as_ref().map_or(0, |e| e.columns);
                limit("tokens", *count, u16::MAX.into())?;
                limit("elements in the embedding", columns, MAX_DIM.into())?;
            }
            Input::Vectors { width, .. } => {
                limit("elements in an input vector", *width, MAX_DIM.into())?;
            }
            Input::Features { width, steps, .. } => {
                limit("elements in the feature vector", *width, MAX_DIM.into())?;
                limit("steps", *steps, u16::MAX.into())?;
            }
        }
    }
    if let Some(encoder) = &network.encoder {
        let both = |what: fn(&Network) -> bool| what(network) && what(encoder);
        if both(|network| network.features() > 0) {
            return shape(
                "a feature vector for the encoder and one for the decoder",
                "one of them",
            );
        }
        let mut outputs = encoder.interface.outputs.iter();
        if outputs.any(|port| port.role == Role::Head) {
            return shape(
                "an encoder with an output of its own",
                "one that gives its last states alone",
            );
        }
    }
    Ok(())
}

/// What is gathered on the way.
struct Quantizer<'o> {
    options: &'o Options<'o>,
    /// Recurrent layers of the networks before.
    layers: usize,
    grids: Vec<Grids>,
    /// Whether numbers from outside were measured, and heads too.
    is_measured: bool,
    tensors: Vec<TensorReport>,
    forms: Vec<Vec<TokenBytes>>,
    scales: Vec<Scales>,
    assumed: Vec<String>,
}

impl Quantizer<'_> {
    /// The formats of layer `index` of the next network.
    fn layer_width<'n>(&self, name: &'n str, network: &'n Network, index: usize) -> Width<'n> {
        let list = &self.options.layers;
        let asked = list.get(self.layers + index).or(list.last()).copied();
        width(name, network, asked, &format!("layer {index} "))
    }

    /// `name` begins the names of its tensors. `encoder` are the encoder's layers.
    fn network(
        &mut self,
        name: &str,
        network: &Network,
        encoder: &[RecurrentParts],
        seen: Option<&Seen>,
        moments: Option<&Moments>,
    ) -> Result<NetworkParts, QuantizeError> {
        let (first_tensor, prefix) = (self.tensors.len(), name);
        let head_width = width(
            name,
            network,
            self.options.head.map(|format| [format; 2]),
            "head",
        );
        let features = channels(seen.map_or(&[], |seen| &seen.features));
        let vectors = channels(seen.map_or(&[], |seen| &seen.vectors));
        self.assume(&format!("{name}features"), &features);
        self.assume(&format!("{name}inputs"), &vectors);

        let layer_name = |index: usize| format!("{name}layer {index}");
        // Dense layers before nothing are the head's.
        let moved = network.layers.is_empty() && network.head.reads != Reads::Mean;
        let raw = match &network.input {
            Input::Vectors { dense, .. } => {
                Some((dense, InputParts::Vectors(vectors.clone()), &vectors))
            }
            Input::Features { dense, steps, .. } => {
                let steps = *steps as u16;
                Some((dense, InputParts::Features { steps }, &features))
            }
            Input::Tokens { .. } => None,
        };
        let mut head_dense = network.head.dense.clone();
        let mut head_seen = seen.map(|seen| seen.head.clone());
        let (mut dense, mut source) = (Vec::new(), None);
        let mut input_parts = None;
        if let Some((list, parts, channels)) = raw {
            let x = Vector::of_channels(channels);
            let largest = seen.map(|seen| &seen.input[..]);
            if moved {
                head_dense.splice(..0, list.iter().cloned());
                if let (Some(head), Some(seen)) = (&mut head_seen, seen) {
                    head.splice(..0, seen.input.iter().copied());
                }
                source = Some(x);
            } else {
                let name = format!("{name}input");
                let tensors = &mut self.tensors;
                let (made, x) = dense::quantize_chain(
                    &name,
                    list,
                    x,
                    largest,
                    NORM_COST,
                    Width::INT8,
                    tensors,
                )?;
                (dense, source) = (made, Some(x));
            }
            input_parts = Some(parts);
        }

        let origins = start::Origins {
            encoder,
            features: &Vector::of_channels(&features),
        };
        let mut starts = Vec::new();
        let mut below = source.clone();
        for (index, layer) in network.layers.iter().enumerate() {
            // In 4 bits the groups over the input and over the state have scales of their own.
            let shares = self.layer_width(prefix, network, index).formats == INT8;
            let least = match &below {
                Some(x) if self.is_measured && shares => balance(layer, x),
                _ => 0,
            };
            let start = start::quantize_starts(
                &layer_name(index),
                network,
                index,
                origins,
                least,
                seen,
                &mut self.tensors,
            )?;
            below = Some(Vector::uniform(layer.hidden(), start.shift.into()));
            starts.push(start);
        }

        let top_shift = starts.last().map(|start| start.shift);
        // The embedding may be the head's rows, which are known only then: the head comes before the layers.
        let mut head_tensors = Vec::new();
        let mut head_of = |x: Vector| {
            let largest = head_seen.as_deref().filter(|_| self.is_measured);
            let name = format!("{name}head");
            let made = dense::quantize_chain(
                &name,
                &head_dense,
                x,
                largest,
                NORM_COST,
                head_width,
                &mut head_tensors,
            );
            made.map(|(parts, _)| parts)
        };
        let top = |shift: u8| {
            let units = network.layers.last().map_or(0, |top| top.hidden());
            Vector::uniform(units, shift.into())
        };
        let mut head = top_shift.map(|shift| head_of(top(shift))).transpose()?;

        let mut table = None;
        if let Input::Tokens { count, embedding } = &network.input {
            let first = network.layers.first();
            let tied = embedding.as_ref().is_some_and(|e| is_tied(e, &head_dense));
            // Rows of 4 bits are no embedding.
            let tied = tied && head_width.formats == INT8;
            let width = self.layer_width(name, network, 0);
            let forms = input::forms(first, *count, embedding.as_ref(), tied, width.formats[0]);
            let given = first.and_then(|first| width.reads_vector(first.hidden()));
            let form = input::choose(&forms, moments.is_some(), given);
            self.forms.push(forms);
            let (parts, x) = match (form, embedding, network.layers.first()) {
                (Some(TokenForm::Table), _, Some(first)) => {
                    let folded = if embedding.is_some() {
                        " (embedding folded)"
                    } else {
                        ""
                    };
                    let values = TokenTable::new(first, embedding.as_ref(), *count);
                    self.tensors
                        .push(values.report(format!("{name}token table{folded}")));
                    let parts = InputParts::Table(values.values.clone());
                    table = Some(values);
                    (parts, None)
                }
                (Some(TokenForm::Tied), Some(_), _) => {
                    let (parts, x) =
                        tied_input(head.as_deref().unwrap_or_default(), &head_dense, top_shift);
                    (parts, Some(x))
                }
                (Some(_), Some(embedding), _) => {
                    let name = format!("{name}embedding");
                    let (values, x, report) = input::quantize_embedding(name, embedding);
                    self.tensors.push(report);
                    let columns = embedding.columns;
                    (InputParts::Embedding { columns, values }, Some(x))
                }
                _ => {
                    return shape(
                        "one-hot tokens without a recurrent layer",
                        "an embedding, or a recurrent layer",
                    );
                }
            };
            (input_parts, source) = (Some(parts), x);
        }

        if head.is_none() {
            if head_dense.is_empty() {
                return shape(
                    "a network without layers",
                    "at least one dense layer in its head",
                );
            }
            head = Some(head_of(source.clone().unwrap_or_default())?);
        }
        let mut scales = Scales::default();
        let mut read = source.as_ref().map_or(vec![], |x| x.scales.clone());
        let mut layers = Vec::new();
        let mut from = match (table, source) {
            (Some(table), _) => Source::Table(table),
            (None, x) => Source::Vector(x.unwrap_or_default()),
        };
        for (index, (layer, start)) in network.layers.iter().zip(starts).enumerate() {
            let name = layer_name(index);
            let (shift, parts) = (start.shift, start.parts);
            let moment = moments.and_then(|moments| moments.layers[index].as_ref());
            let made = layer::quantize_layer(
                &name,
                index,
                layer,
                &from,
                (shift, parts),
                moment,
                self.layer_width(prefix, network, index),
                &mut self.tensors,
            )?;
            layers.push(made);
            let state = Vector::uniform(layer.hidden(), shift.into());
            let input = std::mem::replace(&mut read, state.scales.clone());
            scales.layers.push((input, state.bound()));
            from = Source::Vector(state);
        }
        for dense in head.iter().flatten() {
            let scale = 2f64.powi(15 - i32::from(dense.frac_bits));
            let made = vec![scale; dense.matrix.bias.len()];
            scales.head.push(std::mem::replace(&mut read, made));
        }
        self.scales.push(scales);
        self.tensors.append(&mut head_tensors);
        self.layers += network.layers.len();
        let made = self.tensors.iter().skip(first_tensor);
        let own = made.filter_map(|tensor| {
            let name = tensor.name.strip_prefix(prefix)?;
            Some((name.to_owned(), tensor.grid.clone()?))
        });
        self.grids.push(own.collect());
        Ok(NetworkParts {
            count: match &network.input {
                Input::Tokens { count, .. } => *count,
                Input::Vectors { width, .. } | Input::Features { width, .. } => *width,
            },
            input: input_parts.expect("every kind of input has its parts"),
            features,
            dense,
            layers,
            steps_per_token: network.steps_per_token as u8,
            head: head.unwrap_or_default(),
            reads: network.head.reads,
            normalization: network.head.normalization,
        })
    }

    fn assume(&mut self, name: &str, channels: &[i8]) {
        if let (Some(least), Some(most)) = (channels.iter().min(), channels.iter().max()) {
            let (least, most) = (2f64.powi((*least).into()), 2f64.powi((*most).into()));
            self.assumed.push(match least < most {
                true => format!(
                    "{name:<10} below {least} to {most}, each of {}",
                    channels.len()
                ),
                false => format!("{name:<10} below {most}"),
            });
        }
    }
}

/// The formats that are `asked` for, or those that the network has grids for, of tensors whose names begin with `tensors` after
/// `prefix`.
fn width<'n>(
    prefix: &'n str,
    network: &'n Network,
    asked: Option<WeightFormats>,
    tensors: &str,
) -> Width<'n> {
    let own = || {
        let mut grids = network.grids.iter();
        let own = grids.find(|(name, _)| name.starts_with(tensors));
        own.map_or(INT8, |(_, grid)| grid.formats())
    };
    Width {
        formats: asked.unwrap_or_else(own),
        grids: Some(&network.grids),
        prefix,
    }
}

/// The channels of elements of these ranges.
fn channels(ranges: &[f64]) -> Vec<i8> {
    let channel = |&range: &f64| match range {
        range if range > 0.0 => range.log2().ceil().clamp(-15.0, 15.0) as i8,
        _ => 0,
    };
    ranges.iter().map(channel).collect()
}

/// The shift of a state that brings its weights to the size of those of `x`, of at most [`BALANCE`] bits: they share a scale
/// in each row.
fn balance(layer: &Layer, x: &Vector) -> u8 {
    let (w, r, _, _) = layer.weights();
    let largest = |values: &[f32]| values.iter().fold(0.0, |a, v| v.abs().max(a));
    let input = (0..w.rows)
        .map(|row| largest(&x.fold(w.row(row))))
        .fold(0.0, f32::max);
    let ratio = input / largest(&r.data).max(1e-6);
    ratio.max(1.0).log2().round().min(BALANCE) as u8
}

/// A state with so many bits less is as exact as weights of 8 bits need it.
const BALANCE: f32 = 3.0;

/// Whether the rows of the head's last dense layer are the embedding, bit for bit.
fn is_tied(embedding: &Matrix, head: &[crate::network::Dense]) -> bool {
    head.last().is_some_and(|last| last.w == *embedding)
}

/// The embedding by the rows of the last dense layer of `head`, whose float form is `dense`.
fn tied_input(
    head: &[DenseParams],
    dense: &[crate::network::Dense],
    top_shift: Option<u8>,
) -> (InputParts, Vector) {
    let last = head.last().expect("a tied head has a dense layer");
    let shift = last
        .matrix
        .multiplier
        .iter()
        .map(|multiplier| multiplier.shift())
        .min()
        .unwrap_or(0);
    // The rows hold the scale of what they read.
    let read = match head {
        [.., before, _] => 2f64.powi(15 - i32::from(before.frac_bits)),
        _ => 2f64.powi(top_shift.unwrap_or(0).into()),
    };
    let scale = 2f64.powi(21 - shift as i32 - i32::from(last.frac_bits)) / read;
    let columns = dense.last().map_or(0, |last| last.w.columns);
    let min_shift = shift as u8;
    (
        InputParts::Tied { min_shift },
        Vector::scaled(vec![scale; columns]),
    )
}

/// The image keeps names of at most 64 bytes.
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

/// `n` as the image pads it.
fn padded(n: usize) -> usize {
    n.next_multiple_of(4)
}
