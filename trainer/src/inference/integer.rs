//! A model run in integers on whole sequences, as the float network is: for comparison with it, and with the framework that it comes from.

use crate::network::{
    Inputs, Normalization, Outputs, SequenceModel, Signature, StateId, States, SubnetInputs,
    SubnetView, TensorRole, normalize,
};
use pipsqueak::fixed::CELL_FRAC_BITS;
use pipsqueak::format::{self, Phase};
use pipsqueak::{Cell, Layer, ModelView, Session, StepInput};

/// A model and the names of its graph's arrays.
#[derive(Debug)]
pub struct IntegerNetwork<'m> {
    model: &'m ModelView<'m>,
    /// Of the encoder, if there is one, and of the network itself.
    signatures: Vec<Signature>,
}

/// A model file without the signature of its network.
#[derive(Debug, thiserror::Error)]
#[error(
    "the model does not hold the names of its graph's arrays, as those that `trainer export` makes do: export it anew, or run the ONNX file that it came from"
)]
pub struct MissingSignature;

impl<'m> IntegerNetwork<'m> {
    /// A model to run on arrays.
    ///
    /// # Errors
    /// If it does not hold the names of its graph's arrays, or other ones than it has networks and states.
    pub fn new(model: &'m ModelView<'m>) -> Result<Self, MissingSignature> {
        let names = model.io_names().ok_or(MissingSignature)?;
        let signatures = Signature::from_bytes(names).ok_or(MissingSignature)?;
        let fits = |(phase, signature): (&Phase, &Signature)| {
            let layers = recurrent(model, *phase);
            let specs = signature.inputs.iter().chain(&signature.outputs);
            specs.into_iter().all(|spec| match &spec.role {
                TensorRole::States(ids) => ids.iter().all(|id| {
                    let layer = layers.get(id.layer).map(|(_, layer)| layer.cell());
                    layer.is_some_and(|cell| !id.cell || cell == Some(Cell::Lstm))
                }),
                _ => true,
            })
        };
        let phases = phases(model);
        let same = signatures.len() == phases.len();
        match same && phases.iter().zip(&signatures).all(fits) {
            true => Ok(Self { model, signatures }),
            false => Err(MissingSignature),
        }
    }

    /// The model.
    pub fn model(&self) -> &'m ModelView<'m> {
        self.model
    }

    /// Runs the layers of `phase`, whose initial states are set, on its inputs; returns the outputs and the last states.
    fn run(
        &self,
        session: &mut Session,
        phase: Phase,
        inputs: &SubnetInputs,
    ) -> (Vec<Vec<f32>>, States) {
        let layers = recurrent(self.model, phase);
        for (StateId { layer, cell }, values) in &inputs.states {
            let (index, layer) = layers[*layer];
            if *cell {
                let state = session.cell_state(index).expect("an LSTM layer");
                for (state, value) in state.iter_mut().zip(values) {
                    *state = to_fixed(*value, CELL_FRAC_BITS as i32);
                }
            } else {
                let bits = state_bits(layer);
                let state = session.hidden(index).expect("a recurrent layer");
                for (state, value) in state.iter_mut().zip(values) {
                    *state = to_fixed_i16(*value, bits);
                }
            }
        }
        let signature = self.signatures.last().expect("one for each network");
        let mut outputs = signature.outputs.iter();
        let is_wanted =
            phase == Phase::Step && outputs.any(|spec| !matches!(spec.role, TensorRole::States(_)));
        let mut values = vec![Vec::new(); self.model.outputs().len()];
        let mut read = |session: &mut Session, every_step: bool| {
            let outputs = self.model.outputs().iter();
            if !is_wanted
                || outputs
                    .clone()
                    .all(|output| output.every_step() != every_step)
            {
                return;
            }
            let found = session.outputs().expect("a parsed model");
            for (index, (values, output)) in values.iter_mut().zip(outputs).enumerate() {
                if output.every_step() == every_step {
                    let one = power(-(output.frac_bits() as i32));
                    let found = found.get(index).expect("a parsed model").iter();
                    let mut found: Vec<f32> = found.map(|&v| f32::from(v) * one).collect();
                    normalize(normalization(output.normalization()), &mut found);
                    values.append(&mut found);
                }
            }
        };
        let mut step = |input: StepInput| {
            let pushed = match phase {
                Phase::Source => session.push_source(input),
                _ => session.push(input),
            };
            pushed.expect("inputs of the network's kind and size");
            read(session, true);
        };
        match self.model.input_of(phase) {
            None => (0..self.model.fixed_steps()).for_each(|_| step(StepInput::Repeat)),
            Some(layer) => match layer.exponents() {
                Some(exponents) => {
                    for frame in inputs.frames.chunks(exponents.len()) {
                        step(StepInput::Frame(&with_exponents(frame, exponents)));
                    }
                }
                None => {
                    let tokens = inputs.tokens.iter();
                    tokens.for_each(|&token| step(StepInput::Token(token as u16)));
                }
            },
        }
        read(session, false);
        let mut states = States::default();
        for (index, layer) in layers {
            let one = power(-state_bits(layer));
            let hidden = session.hidden(index).expect("a recurrent layer");
            let hidden = hidden.iter().map(|&v| f32::from(v) * one);
            states.hidden.push(hidden.collect());
            let one = power(-(CELL_FRAC_BITS as i32));
            // Other layers than those of LSTM have none.
            let cell = session.cell_state(index).map_or(&[][..], |cell| cell);
            states
                .cell
                .push(cell.iter().map(|&v| v as f32 * one).collect());
        }
        (values, states)
    }
}

/// The phases of a model that run step by step: an encoder's first.
fn phases(model: &ModelView) -> Vec<Phase> {
    match model.has_source() {
        true => vec![Phase::Source, Phase::Step],
        false => vec![Phase::Step],
    }
}

/// The recurrent layers of `phase`, each with its place in the list of all layers.
fn recurrent<'m>(model: &'m ModelView<'m>, phase: Phase) -> Vec<(usize, &'m Layer<'m>)> {
    let layers = model.layers().enumerate();
    layers
        .filter(|(_, layer)| layer.phase() == phase && layer.cell().is_some())
        .collect()
}

/// Fraction bits of a hidden state.
fn state_bits(layer: &Layer) -> i32 {
    layer.frac_bits().map_or(15, |bits| bits as i32)
}

impl SequenceModel for IntegerNetwork<'_> {
    fn subnets(&self) -> Vec<SubnetView<'_>> {
        let model = self.model;
        let view = |(phase, signature): (Phase, _)| {
            let input = model.input_of(phase).or(model.conditioning());
            let count = input.map(|layer| layer.vocab_size().unwrap_or(layer.len()));
            let layers = recurrent(model, phase);
            SubnetView {
                phase,
                signature,
                vocab_size: count.unwrap_or(0),
                hidden_sizes: layers.iter().map(|(_, layer)| layer.len()).collect(),
                steps: match model.input_of(phase) {
                    None => Some(model.fixed_steps().into()),
                    Some(_) => None,
                },
            }
        };
        let subnets = phases(model).into_iter().zip(&self.signatures);
        subnets.map(view).collect()
    }

    fn run_sequence(&self, inputs: &Inputs) -> Outputs {
        let mut workspace = vec![0; self.model.workspace_len()];
        let mut session = Session::new(self.model, &mut workspace)
            .expect("the workspace has the length asked for");
        if let Some(layer) = self.model.conditioning()
            && let Some(exponents) = layer.exponents()
            && !inputs.features.is_empty()
        {
            let features = with_exponents(&inputs.features, exponents);
            let set = session.set_conditioning(&features);
            set.expect("as many features as the network has");
        }
        let source = match self.model.has_source() {
            true => self.run(&mut session, Phase::Source, &inputs.source).1,
            false => States::default(),
        };
        session.begin_steps().expect("a parsed model");
        let (values, step) = self.run(&mut session, Phase::Step, &inputs.step);
        Outputs {
            values,
            states: [source, step],
        }
    }
}

/// A vector as a model reads it: element i in Q15 of 2^exponent i.
pub fn with_exponents(vector: &[f32], exponents: &[i8]) -> Vec<i16> {
    let pairs = vector.iter().zip(exponents);
    pairs
        .map(|(value, exponent)| to_fixed_i16(*value, 15 - i32::from(*exponent)))
        .collect()
}

fn normalization(of: format::Normalization) -> Normalization {
    match of {
        format::Normalization::Softmax => Normalization::Softmax,
        format::Normalization::LogSoftmax => Normalization::LogSoftmax,
        // No network of the trainer has another one after its head.
        format::Normalization::None | format::Normalization::Sigmoid => Normalization::None,
    }
}

fn power(exponent: i32) -> f32 {
    2f32.powi(exponent)
}

/// `value` with so many fraction bits, rounded to nearest. The cast saturates.
fn to_fixed(value: f32, bits: i32) -> i32 {
    (f64::from(value) * 2f64.powi(bits)).round() as i32
}

fn to_fixed_i16(value: f32, bits: i32) -> i16 {
    to_fixed(value, bits).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}
