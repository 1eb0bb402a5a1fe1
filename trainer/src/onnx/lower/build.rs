//! From the parts that were found in a graph to the list of layers of a network.

use crate::network::{
    Builder, Dense, InitialState, Matrix, Network, NetworkError, Normalization, Op, Phase,
    RecurrentCell, StateId, VectorId,
};

/// What is read at every step.
pub enum Input {
    /// A token of `count`, one-hot or by an embedding `[V][E]`.
    Tokens {
        count: usize,
        embedding: Option<Matrix>,
    },
    /// A frame of `width` elements, through dense layers.
    Frames { width: usize, dense: Vec<Dense> },
    /// The feature vector through dense layers, the same at each of `steps` steps.
    Features {
        width: usize,
        dense: Vec<Dense>,
        steps: usize,
    },
}

/// What a state is before the first step.
pub enum Start {
    Zero,
    /// Given by the caller.
    Given,
    Constant(Vec<f32>),
    /// The feature vector after these dense layers.
    Features(Vec<Dense>),
    /// A last state of the encoder after these dense layers, if any.
    Encoder(StateId, Vec<Dense>),
}

/// Which steps the outputs are computed of.
#[derive(Clone, Copy, PartialEq)]
pub enum Pooling {
    EveryStep,
    LastStep,
    /// The mean of all steps.
    Mean,
}

/// What the output is made of: the last layer's hidden states, pooled, through dense layers.
pub struct Head {
    pub pooling: Pooling,
    pub dense: Vec<Dense>,
    pub normalization: Normalization,
}

/// An encoder, or a network without its encoder and without its outputs.
pub struct Subnet {
    pub input: Input,
    pub cells: Vec<RecurrentCell>,
    /// The initial hidden state and the initial cell state of each.
    pub starts: Vec<[Start; 2]>,
    pub steps_per_token: usize,
}

impl Subnet {
    /// Number of conditioning features; 0 if it reads none.
    fn features(&self) -> usize {
        if let Input::Features { width, .. } = self.input {
            return width;
        }
        let mut sizes = self
            .starts
            .iter()
            .flatten()
            .filter_map(|start| match start {
                Start::Features(dense) => dense.first().map(|first| first.w.columns),
                _ => None,
            });
        sizes.next().unwrap_or(0)
    }
}

/// The network of these parts, whose output is called `name`.
///
/// # Errors
/// If they make no network.
pub fn build(
    encoder: Option<Subnet>,
    own: Subnet,
    head: Head,
    name: &str,
) -> Result<Network, NetworkError> {
    let mut builder = Lowered {
        builder: Builder::default(),
        features: None,
        encoder: Vec::new(),
    };
    let both = [(Phase::Source, encoder.as_ref()), (Phase::Step, Some(&own))];
    for (phase, subnet) in both {
        // A second feature vector is one too many, which the network refuses.
        if let Some(size) = subnet.map(Subnet::features).filter(|size| *size > 0) {
            builder.features = Some(builder.builder.features(phase, size));
        }
    }
    if let Some(encoder) = encoder {
        builder.subnet(encoder, Phase::Source);
    }
    let mut x = builder.subnet(own, Phase::Step);
    let mut builder = builder.builder;
    if head.pooling == Pooling::Mean {
        x = builder.mean(x);
    }
    let phase = builder.output_phase();
    let y = builder.dense(phase, "head", x, head.dense);
    let every_step = head.pooling == Pooling::EveryStep;
    builder.output(name, y, every_step, head.normalization);
    builder.build()
}

struct Lowered {
    builder: Builder,
    features: Option<VectorId>,
    /// The recurrent layers of the encoder.
    encoder: Vec<VectorId>,
}

impl Lowered {
    /// Adds the layers of a subnet; returns the last one's result.
    fn subnet(&mut self, subnet: Subnet, phase: Phase) -> VectorId {
        self.builder.steps_per_token(phase, subnet.steps_per_token);
        let name = match phase {
            Phase::Source => "encoder input",
            _ => "input",
        };
        let features = self.features;
        let repeated = match &subnet.input {
            Input::Features { dense, steps, .. } => {
                self.builder.fixed_steps(*steps);
                let x = features.expect("features that are read are a layer");
                Some(self.builder.dense(Phase::Begin, name, x, dense.clone()))
            }
            _ => None,
        };
        let starts = subnet.starts.into_iter().enumerate();
        let inits: Vec<[InitialState; 2]> = starts
            .map(|(number, [hidden, cell])| {
                let hidden = self.initial(hidden, Builder::initial_name(phase, number, false));
                [
                    hidden,
                    self.initial(cell, Builder::initial_name(phase, number, true)),
                ]
            })
            .collect();
        let builder = &mut self.builder;
        let mut x = match (subnet.input, repeated) {
            (_, Some(x)) => x,
            (Input::Tokens { count, embedding }, None) => builder.tokens(phase, count, embedding),
            (Input::Frames { width, dense }, None) => {
                let x = builder.frames(phase, width);
                builder.dense(phase, name, x, dense)
            }
            (Input::Features { .. }, None) => unreachable!("features are repeated"),
        };
        for (cell, init) in subnet.cells.into_iter().zip(inits) {
            x = builder.recurrent(phase, x, cell, init);
            if phase == Phase::Source {
                self.encoder.push(x);
            }
        }
        x
    }

    /// Adds the layers of an initial state, whose name is `name`.
    fn initial(&mut self, start: Start, name: String) -> InitialState {
        let builder = &mut self.builder;
        InitialState::Vector(match start {
            Start::Zero => return InitialState::Zero,
            Start::Given => return InitialState::External,
            Start::Constant(values) => {
                builder.push(name, Phase::Begin, vec![], Op::Constant(values))
            }
            Start::Features(dense) => {
                let x = self.features.expect("features that are read are a layer");
                builder.dense(Phase::Begin, &name, x, dense)
            }
            Start::Encoder(StateId { layer, cell }, dense) => {
                let from = VectorId {
                    layer: self.encoder[layer].layer,
                    is_cell_state: cell,
                };
                builder.dense(Phase::Begin, &name, from, dense)
            }
        })
    }
}
