//! A model run in integers on whole sequences, as the float network is: for comparison with it, and with the framework that it comes from.

use crate::network::{
    Feeds, FloatState, Interface, Normalization, Results, Role, Sequences, Side, StateId, normalize,
};
use pipsqueak::fixed::CELL_FRAC_BITS;
use pipsqueak::format::{self, Phase};
use pipsqueak::{Cell, Layer, ModelView, Session, StepInput};

/// A model and the names of its graph's arrays.
#[derive(Debug)]
pub struct IntegerNetwork<'m> {
    model: &'m ModelView<'m>,
    /// Of the encoder, if there is one, and of the network itself.
    interfaces: Vec<Interface>,
}

/// A model that does not say what its arrays are.
#[derive(Debug, thiserror::Error)]
#[error(
    "the model does not hold the names of its graph's arrays, as those that `trainer export` makes do: export it anew, or run the ONNX file that it came from"
)]
pub struct NoInterface;

impl<'m> IntegerNetwork<'m> {
    /// A model to run on arrays.
    ///
    /// # Errors
    /// If it does not hold the names of its graph's arrays, or other ones than it has networks and states.
    pub fn new(model: &'m ModelView<'m>) -> Result<Self, NoInterface> {
        let names = model.io_names().ok_or(NoInterface)?;
        let interfaces = Interface::from_bytes(names).ok_or(NoInterface)?;
        let fits = |(phase, interface): (&Phase, &Interface)| {
            let layers = recurrent(model, *phase);
            let ports = interface.inputs.iter().chain(&interface.outputs);
            ports.into_iter().all(|port| match &port.role {
                Role::States(ids) => ids.iter().all(|id| {
                    let layer = layers.get(id.layer).map(|(_, layer)| layer.cell());
                    layer.is_some_and(|cell| !id.cell || cell == Some(Cell::Lstm))
                }),
                _ => true,
            })
        };
        let phases = phases(model);
        let same = interfaces.len() == phases.len();
        match same && phases.iter().zip(&interfaces).all(fits) {
            true => Ok(Self { model, interfaces }),
            false => Err(NoInterface),
        }
    }

    /// The model.
    pub fn model(&self) -> &'m ModelView<'m> {
        self.model
    }

    /// Runs the layers of `phase`, whose initial states are set, on its part of `feeds`.
    fn run(&self, session: &mut Session, phase: Phase, feeds: &Feeds) -> Results {
        let layers = recurrent(self.model, phase);
        for (StateId { layer, cell }, values) in &feeds.states {
            let (index, layer) = layers[*layer];
            if *cell {
                let state = session.cell_state(index).expect("an LSTM layer");
                for (state, value) in state.iter_mut().zip(values) {
                    *state = fixed(*value, CELL_FRAC_BITS as i32);
                }
            } else {
                let bits = state_bits(layer);
                let state = session.hidden(index).expect("a recurrent layer");
                for (state, value) in state.iter_mut().zip(values) {
                    *state = half(*value, bits);
                }
            }
        }
        let output = self.model.output().expect("a model has an output");
        let interface = self.interfaces.last().expect("one for each network");
        let mut outputs = interface.outputs.iter();
        let wanted = phase == Phase::Step && outputs.any(|port| port.role == Role::Head);
        let mut head = Vec::new();
        let mut read = |session: &mut Session| {
            if wanted {
                let one = power(-(output.frac_bits() as i32));
                let outputs = session.logits().expect("a parsed model");
                let mut values: Vec<f32> = outputs.iter().map(|&v| f32::from(v) * one).collect();
                normalize(normalization(output.normalization()), &mut values);
                head.append(&mut values);
            }
        };
        let mut step = |input: StepInput| {
            let pushed = match phase {
                Phase::Source => session.push_source(input),
                _ => session.push(input),
            };
            pushed.expect("inputs of the network's kind and size");
            if output.every_step() {
                read(session);
            }
        };
        match self.model.input_of(phase) {
            None => (0..self.model.fixed_steps()).for_each(|_| step(StepInput::Repeat)),
            Some(layer) => match layer.exponents() {
                Some(exponents) => {
                    for vector in feeds.vectors.chunks(exponents.len()) {
                        step(StepInput::Frame(&with_exponents(vector, exponents)));
                    }
                }
                None => {
                    let tokens = feeds.tokens.iter();
                    tokens.for_each(|&token| step(StepInput::Token(token as u16)));
                }
            },
        }
        if !output.every_step() {
            read(session);
        }
        let mut state = FloatState::default();
        for (index, layer) in layers {
            let one = power(-state_bits(layer));
            let hidden = session.hidden(index).expect("a recurrent layer");
            state
                .hidden
                .push(hidden.iter().map(|&v| f32::from(v) * one).collect());
            let one = power(-(CELL_FRAC_BITS as i32));
            // Other layers than those of LSTM have none.
            let cell = session.cell_state(index).map_or(&[][..], |cell| cell);
            state
                .cell
                .push(cell.iter().map(|&v| v as f32 * one).collect());
        }
        Results {
            state,
            head,
            encoder: None,
        }
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

impl Sequences for IntegerNetwork<'_> {
    fn sides(&self) -> Vec<Side<'_>> {
        let model = self.model;
        let side = |(phase, interface): (Phase, _)| {
            let input = model.input_of(phase).or(model.conditioning());
            let count = input.map(|layer| layer.vocab_size().unwrap_or(layer.len()));
            let layers = recurrent(model, phase);
            Side {
                interface,
                tokens: count.unwrap_or(0),
                units: layers.iter().map(|(_, layer)| layer.len()).collect(),
                steps: match model.input_of(phase) {
                    None => Some(model.fixed_steps().into()),
                    Some(_) => None,
                },
            }
        };
        let sides = phases(model).into_iter().zip(&self.interfaces);
        sides.rev().map(side).collect()
    }

    fn run_sequence(&self, feeds: &Feeds) -> Results {
        let mut workspace = vec![0; self.model.workspace_len()];
        let mut session = Session::new(self.model, &mut workspace)
            .expect("the workspace has the length asked for");
        let encoder_feeds = feeds.encoder.as_deref();
        for feeds in [encoder_feeds, Some(feeds)].into_iter().flatten() {
            if let Some(layer) = self.model.conditioning()
                && let Some(exponents) = layer.exponents()
                && !feeds.features.is_empty()
            {
                let features = with_exponents(&feeds.features, exponents);
                let set = session.set_conditioning(&features);
                set.expect("as many features as the network has");
            }
        }
        let encoder =
            encoder_feeds.map(|feeds| Box::new(self.run(&mut session, Phase::Source, feeds)));
        session.begin_steps().expect("a parsed model");
        let results = self.run(&mut session, Phase::Step, feeds);
        Results { encoder, ..results }
    }
}

/// A vector as a model reads it: element i in Q15 of 2^exponent i.
pub fn with_exponents(vector: &[f32], exponents: &[i8]) -> Vec<i16> {
    let pairs = vector.iter().zip(exponents);
    pairs
        .map(|(value, exponent)| half(*value, 15 - i32::from(*exponent)))
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
fn fixed(value: f32, bits: i32) -> i32 {
    (f64::from(value) * 2f64.powi(bits)).round() as i32
}

fn half(value: f32, bits: i32) -> i16 {
    fixed(value, bits).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}
