//! Each layer of a network in integers.
//!
//! First the formats of all vectors in execution order, then the weights over them: a tied embedding has the scale of the output
//! layer's rows, so the dense layers come before the recurrent ones.

use super::calibrate::{self, ActivationRanges, NORMAL_CLIP, SAMPLES};
use super::dense::{self, DenseFormat, MAX_LOST_BITS, MAX_LOST_BITS_INIT};
use super::gptq::Hessians;
use super::operand::{Operand, Vector};
use super::outputs::{format_id, output_config};
use super::project::InputScales;
use super::recurrent::{LayerSource, RecurrentSource, quantize_recurrent};
use super::row::TensorFormat;
use super::token_input::{TokenBytes, TokenTable};
use super::{Options, QuantizeError, Quantized, TensorReport};
use crate::network::formats::INT8;
use crate::network::{
    GroupScales, InitialState, Layer, Network, Op, Phase, RecurrentCell, Signature, VectorId,
};
use pipsqueak::encode::{LayerParams, ModelParams, OpParams};

/// A cell state is read as a vector in Q5.10: 15 fraction bits less these.
const CELL_SHIFT: u32 = 5;
/// The most that a hidden state has less than 15 fraction bits.
const MAX_STATE_SHIFT: u8 = 8;
/// A state with so many bits less is as exact as int8 weights need it.
const MAX_BALANCE: f32 = 3.0;

/// A network on its way to integers.
pub(super) struct Quantizer<'n, 'o> {
    pub(super) network: &'n Network,
    pub(super) options: &'o Options<'o>,
    /// Where the network was run on samples.
    pub(super) ranges: Option<ActivationRanges>,
    pub(super) hessians: Option<Hessians>,
    /// Whether all ranges are measured; else those of initial states alone.
    pub(super) is_measured: bool,
    /// The result of each layer; of token layers only as an embedding.
    pub(super) vectors: Vec<Vector>,
    /// Of each recurrent layer's hidden state.
    pub(super) state_shifts: Vec<u8>,
    pub(super) dense_formats: Vec<Option<DenseFormat>>,
    pub(super) tables: Vec<Option<TokenTable>>,
    pub(super) ops: Vec<Option<OpParams>>,
    pub(super) tensors: Vec<Vec<TensorReport>>,
    pub(super) encodings: Vec<Vec<TokenBytes>>,
    pub(super) assumptions: Vec<String>,
}

impl<'n, 'o> Quantizer<'n, 'o> {
    /// Runs the network on samples, where its numbers have no bounds.
    pub fn new(network: &'n Network, options: &'o Options<'o>) -> Result<Self, QuantizeError> {
        let samples = options.samples;
        let is_measured = samples.is_some() || calibrate::has_float_inputs(network);
        let ranges = match is_measured || calibrate::has_computed_states(network) {
            true => Some(calibrate::measure(network, samples)?),
            false => None,
        };
        // Networks with known tokens are rounded to nearest, as they were when they were measured and shipped.
        let hessians = match samples {
            Some(samples) => Some(Hessians::of(network, samples)),
            None if calibrate::has_known_tokens(network, Phase::Step) => None,
            None => Some(Hessians::of(network, &calibrate::random_samples(network))),
        };
        let mut assumptions = Vec::new();
        if is_measured {
            assumptions.push(match samples {
                None => format!(
                    "inputs are standard normal numbers within {NORMAL_CLIP}, measured on {SAMPLES} random sequences: give typical ones with --calibrate"
                ),
                Some(samples) => {
                    format!("ranges are twice the largest of {} sequences", samples.len())
                }
            });
        }
        let count = network.layers().len();
        Ok(Self {
            network,
            options,
            ranges,
            hessians,
            is_measured,
            vectors: Vec::with_capacity(count),
            state_shifts: vec![0; count],
            dense_formats: vec![None; count],
            tables: (0..count).map(|_| None).collect(),
            ops: vec![None; count],
            tensors: vec![Vec::new(); count],
            encodings: Vec::new(),
            assumptions,
        })
    }

    /// The network in integers.
    pub fn quantize(mut self) -> Result<Quantized<'n>, QuantizeError> {
        let layers = self.network.layers();
        for (index, layer) in layers.iter().enumerate() {
            let vector = self.vector_of(index, layer)?;
            self.vectors.push(vector);
        }
        for index in 0..layers.len() {
            self.dense(index)?;
        }
        self.tied_embeddings();
        for index in 0..layers.len() {
            self.recurrent(index)?;
        }
        self.constants()?;
        let input_scales = (0..layers.len()).map(|index| self.input_scales(index));
        let input_scales = input_scales.collect();
        self.finish(input_scales)
    }

    fn finish(self, input_scales: Vec<InputScales>) -> Result<Quantized<'n>, QuantizeError> {
        let network = self.network;
        let vocabularies = super::vocabulary::vocabularies(network);
        let outputs = network.outputs().iter();
        let outputs = outputs.map(|output| output_config(network, output, &vocabularies));
        let signatures: Vec<&Signature> = network
            .step_phases()
            .map(|phase| network.signature(phase))
            .collect();
        let layers = network.layers().iter().zip(self.ops).map(|(layer, op)| {
            Ok(LayerParams {
                phase: layer.phase,
                inputs: layer.inputs.iter().copied().map(format_id).collect(),
                op: op.expect("every layer was quantized"),
            })
        });
        let steps = [Phase::Source, Phase::Step].map(|phase| network.steps_per_token(phase) as u8);
        let params = ModelParams {
            outputs: outputs.collect(),
            vocabularies,
            max_tokens: 0,
            fixed_steps: network.fixed_steps() as u16,
            steps_per_token: steps,
            layers: layers.collect::<Result<_, _>>()?,
            io_names: Signature::to_bytes(&signatures),
            training: super::training_info(network),
        };
        let mut scales = [GroupScales::new(), GroupScales::new()];
        for (layer, tensors) in network.layers().iter().zip(&self.tensors) {
            let own = &mut scales[usize::from(layer.phase != Phase::Source)];
            for tensor in tensors {
                let prefix = super::prefix(layer.phase);
                let name = tensor.name.strip_prefix(prefix).unwrap_or(&tensor.name);
                if let Some(group_scales) = &tensor.group_scales {
                    own.insert(name.to_owned(), group_scales.clone());
                }
            }
        }
        let [source_group_scales, group_scales] = scales;
        Ok(Quantized {
            params,
            tensors: self.tensors.into_iter().flatten().collect(),
            encodings: self.encodings,
            source_group_scales,
            group_scales,
            input_scales,
            assumptions: self.assumptions,
        })
    }

    /// The result of layer `index`, whose inputs are known.
    fn vector_of(&mut self, index: usize, layer: &Layer) -> Result<Vector, QuantizeError> {
        let ranges = self.ranges.as_ref();
        let size = self.network.size(VectorId::result(index));
        Ok(match &layer.op {
            Op::Token {
                vocab_size,
                embedding,
            } => return self.token(index, *vocab_size, embedding.as_ref()),
            Op::Frame { .. } => {
                let exponents = exponents(ranges.map_or(&[], |ranges| &ranges.frames[index]));
                self.assume(&layer.name, &exponents);
                let vector = Vector::of_exponents(&exponents);
                self.ops[index] = Some(OpParams::Frame { exponents });
                vector
            }
            Op::Constant(values) => Vector::uniform(size, shift_of(bound_of(values)).into()),
            Op::Dense(dense) => {
                let x = self.operand(index);
                let range = self.range(index);
                let max_lost_bits = match self.is_initial(index) {
                    true => MAX_LOST_BITS_INIT,
                    false => MAX_LOST_BITS,
                };
                let (format, vector) =
                    dense::dense_format(&layer.name, dense, &x.vector, range, max_lost_bits)?;
                self.dense_formats[index] = Some(format);
                vector
            }
            Op::Recurrent { cell, init } => {
                let shift = self.state_shift(index, layer, cell, init[0]);
                self.state_shifts[index] = shift;
                Vector::uniform(size, shift.into())
            }
            Op::Sum => {
                let vectors: Vec<Vector> = layer.inputs.iter().map(|id| self.vector(*id)).collect();
                let sum = |i: usize| vectors.iter().map(|vector| vector.bounds[i]).sum();
                let bounds: Vec<f64> = (0..size).map(sum).collect();
                let frac_bits = dense::choose_frac_bits(&bounds, self.range(index), MAX_LOST_BITS);
                self.ops[index] = Some(OpParams::Sum { frac_bits });
                let scale = f64::from(1u32 << (15 - frac_bits));
                Vector {
                    scales: vec![scale; size],
                    bounds: bounds.into_iter().map(|bound| bound.min(scale)).collect(),
                }
            }
            Op::Mean => {
                self.ops[index] = Some(OpParams::Mean);
                self.vector(layer.inputs[0])
            }
        })
    }

    /// A vector that a layer reads.
    pub(super) fn vector(&self, id: VectorId) -> Vector {
        match id.is_cell_state {
            // It is read in this range, and saturates at its ends.
            true => Vector::uniform(self.network.size(id), CELL_SHIFT),
            false => self.vectors[id.layer].clone(),
        }
    }

    /// What layer `index` reads.
    fn operand(&self, index: usize) -> Operand {
        let inputs = &self.network.layers()[index].inputs;
        Operand::join(inputs.iter().map(|id| self.vector(*id)))
    }

    /// The measured range of layer `index`'s result, if it counts.
    fn range(&self, index: usize) -> Option<f64> {
        let is_begin = self.network.layers()[index].phase == Phase::Begin;
        let ranges = self.ranges.as_ref();
        ranges
            .filter(|_| self.is_measured || is_begin)
            .map(|ranges| ranges.results[index])
    }

    /// Whether the result of layer `index` becomes an initial state, maybe through other layers of the begin phase.
    fn is_initial(&self, index: usize) -> bool {
        let layers = self.network.layers();
        let reads = |id: &VectorId| id.layer == index;
        layers[index].phase == Phase::Begin
            && layers
                .iter()
                .enumerate()
                .any(|(other, layer)| match &layer.op {
                    Op::Recurrent { init, .. } => init.iter().any(|init| match init {
                        InitialState::Vector(id) => reads(id),
                        _ => false,
                    }),
                    _ => {
                        layer.phase == Phase::Begin
                            && layer.inputs.iter().any(reads)
                            && self.is_initial(other)
                    }
                })
    }

    /// How many fraction bits less than 15 the hidden state of recurrent layer `index` has.
    fn state_shift(
        &self,
        index: usize,
        layer: &Layer,
        cell: &RecurrentCell,
        init: InitialState,
    ) -> u8 {
        let reads_token = |id: &VectorId| {
            let layer = &self.network.layers()[id.layer];
            matches!(layer.op, Op::Token { .. })
        };
        // Over int4 weights the groups over the input and over the state have scales of their own.
        let shares_scale = self.format(index).formats == INT8;
        let least = match self.is_measured && shares_scale {
            true if !layer.inputs.iter().any(reads_token) => balance(cell, &self.operand(index)),
            _ => 0,
        };
        let ranges = self.ranges.as_ref();
        // The cells compute hidden states below 1.
        let bound = match init {
            InitialState::Zero => 1.0,
            InitialState::External => match calibrate::is_unbounded_state(self.network, index) {
                true => ranges.map_or(0.0, |ranges| ranges.external[index]),
                false => 1.0,
            },
            InitialState::Vector(id) => match &self.network.layers()[id.layer].op {
                Op::Constant(values) => bound_of(values),
                Op::Recurrent { .. } if id.is_cell_state => {
                    let bound = self.vector(id).bound();
                    ranges.map_or(bound, |ranges| bound.min(ranges.cell_states[id.layer]))
                }
                _ => self.vector(id).bound(),
            },
        };
        shift_of(bound).max(least)
    }

    /// The format of the weights of layer `index`.
    pub(super) fn format(&self, index: usize) -> TensorFormat<'n> {
        let layers = self.network.layers();
        let layer = &layers[index];
        let group_scales = match layer.phase {
            Phase::Source => &self.network.source_group_scales,
            _ => &self.network.group_scales,
        };
        let name = super::name_in_group_scales(layer);
        let asked = match &layer.op {
            Op::Recurrent { .. } => {
                let before = layers[..index]
                    .iter()
                    .filter(|layer| layer.cell().is_some());
                let list = &self.options.layers;
                list.get(before.count()).or(list.last()).copied()
            }
            Op::Dense(_) if self.is_output_dense(index) => {
                self.options.head.map(|format| [format; 2])
            }
            _ => return TensorFormat::INT8,
        };
        let given = || {
            let own = |tensor: &&String| {
                let rest = tensor.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            };
            let tensor = group_scales.keys().find(own);
            tensor.map_or(INT8, |tensor| group_scales[tensor].formats())
        };
        TensorFormat {
            formats: asked.unwrap_or_else(given),
            group_scales: Some(group_scales),
            prefix: super::prefix(layer.phase),
        }
    }

    /// Whether dense layer `index` comes after all that runs step by step.
    fn is_output_dense(&self, index: usize) -> bool {
        let layers = self.network.layers();
        let mut steps = layers.iter().filter(|layer| layer.phase == Phase::Step);
        // Dense layers over features alone are the step.
        match layers[index].phase {
            Phase::Output => true,
            Phase::Step => steps.all(|layer| layer.dense().is_some()),
            _ => false,
        }
    }

    fn dense(&mut self, index: usize) -> Result<(), QuantizeError> {
        let layer = &self.network.layers()[index];
        if let (Some(dense), Some(result)) = (layer.dense(), self.dense_formats[index]) {
            let (x, format) = (self.operand(index), self.format(index));
            let tensors = &mut self.tensors[index];
            let params = dense::quantize_dense(&layer.name, dense, &x, result, format, tensors)?;
            self.ops[index] = Some(OpParams::Dense(params));
        }
        Ok(())
    }

    fn recurrent(&mut self, index: usize) -> Result<(), QuantizeError> {
        let layer = &self.network.layers()[index];
        let Op::Recurrent { cell, init } = &layer.op else {
            return Ok(());
        };
        let mut before = self.network.recurrent(layer.phase);
        let number = before.position(|(other, _)| other == index);
        let table = self.tables[layer.inputs[0].layer].as_ref();
        let hessians = self.hessians.as_ref();
        let source = RecurrentSource {
            name: &layer.name,
            number: number.expect("a recurrent layer of its phase"),
            cell,
            source: match table {
                Some(table) => LayerSource::Gates(table),
                None => LayerSource::Vector(self.operand(index)),
            },
            state_shift: self.state_shifts[index],
            hessian: hessians.and_then(|hessians| hessians.get(index)),
            format: self.format(index),
        };
        let mut params = quantize_recurrent(source, &mut self.tensors[index])?;
        params.init = init.map(|init| match init {
            InitialState::Vector(id) => Some(format_id(self.initial_vector(id))),
            InitialState::Zero | InitialState::External => None,
        });
        self.ops[index] = Some(OpParams::Recurrent(params));
        Ok(())
    }

    fn input_scales(&self, index: usize) -> InputScales {
        let layer = &self.network.layers()[index];
        let reads_gates = |id: &VectorId| self.tables[id.layer].is_some();
        InputScales {
            input: match layer.inputs.iter().any(reads_gates) {
                true => Operand::default(),
                false => self.operand(index),
            },
            state: f64::from(1u32 << self.state_shifts[index]),
        }
    }

    fn assume(&mut self, name: &str, exponents: &[i8]) {
        if let (Some(least), Some(most)) = (exponents.iter().min(), exponents.iter().max()) {
            let (least, most) = (2f64.powi((*least).into()), 2f64.powi((*most).into()));
            self.assumptions.push(match least < most {
                true => format!(
                    "{name:<10} below {least} to {most}, each of {}",
                    exponents.len()
                ),
                false => format!("{name:<10} below {most}"),
            });
        }
    }
}

/// The exponents of elements with these ranges.
fn exponents(ranges: &[f64]) -> Vec<i8> {
    let exponent = |&range: &f64| match range {
        range if range > 0.0 => range.log2().ceil().clamp(-15.0, 15.0) as i8,
        _ => 0,
    };
    ranges.iter().map(exponent).collect()
}

/// The shift of a hidden state that brings its weights to the size of those over `x`, of at most [`MAX_BALANCE`] bits: they share
/// a scale in each row.
fn balance(cell: &RecurrentCell, x: &Operand) -> u8 {
    let (w, r, _, _) = cell.weights();
    let largest = |values: &[f32]| values.iter().fold(0.0, |a, v| v.abs().max(a));
    let input = (0..w.rows)
        .map(|row| largest(&x.fold(w.row(row))))
        .fold(0.0, f32::max);
    let ratio = input / largest(&r.data).max(1e-6);
    ratio.max(1.0).log2().round().min(MAX_BALANCE) as u8
}

/// What no constant exceeds; values at the bound itself fit, too.
pub(super) fn bound_of(values: &[f32]) -> f64 {
    let largest: f64 = values.iter().fold(0f32, |a, v| v.abs().max(a)).into();
    largest * (32768.0 / 32767.0)
}

/// The shift of a state below `bound`.
pub(super) fn shift_of(bound: f64) -> u8 {
    (bound.log2().ceil().max(0.0) as u8).min(MAX_STATE_SHIFT)
}
