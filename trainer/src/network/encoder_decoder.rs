//! One network of an encoder and a decoder from two graphs.

use super::layer::{InitialState, Layer, Op, Phase, VectorId};
use super::{Network, NetworkError, NetworkParts, Signature, StateId, TensorRole, TensorSpec};

/// Why two networks are no encoder and its decoder.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JoinError {
    /// One of them is a pair already.
    #[error("the {0} has an encoder itself: expected two graphs of one network each")]
    Nested(&'static str),
    /// There is no state to hand over.
    #[error(
        "the encoder's outputs are {}: expected its last states, or nothing but its last hidden state", .0.join(", ")
    )]
    NoState(Vec<String>),
    /// The decoder begins at zero.
    #[error(
        "the decoder's inputs are {}: expected initial states, which the encoder's last states become; is the order encoder, decoder?", .0.join(", ")
    )]
    NoStart(Vec<String>),
    /// As many states on both sides are needed.
    #[error(
        "the encoder gives {found} {kind} states, but the decoder takes {expected}: expected as many"
    )]
    Count {
        /// Hidden or cell states.
        kind: &'static str,
        /// Of the encoder.
        found: usize,
        /// Of the decoder.
        expected: usize,
    },
    /// A state of another size.
    #[error(
        "the encoder's {kind} state {index} has {found} units, but the decoder's has {expected}"
    )]
    Size {
        /// Hidden or cell states.
        kind: &'static str,
        /// Which one, from 0 in the order of the graphs.
        index: usize,
        /// Of the encoder.
        found: usize,
        /// Of the decoder.
        expected: usize,
    },
    /// Both have conditioning features.
    #[error("both graphs have a feature vector: expected at most one of them to have one")]
    Features,
    /// The layers of both make no network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A name that both graphs have.
    #[error("both graphs have an input {0:?}: rename one of them")]
    Name(String),
}

impl Network {
    /// The network that `self`, a decoder whose states are given, makes with its encoder: the encoder's last states, in the
    /// order of its graph, become the decoder's initial ones. Of the encoder's outputs no other is kept.
    ///
    /// # Errors
    /// If the states of the two do not fit.
    pub fn with_encoder(self, encoder: Network) -> Result<Self, JoinError> {
        for (which, network) in [("encoder", &encoder), ("decoder", &self)] {
            if network.has_source() {
                return Err(JoinError::Nested(which));
            }
        }
        let pairs = self.state_pairs(&encoder)?;
        if self.features() > 0 && encoder.features() > 0 {
            return Err(JoinError::Features);
        }
        let own = self.signature(Phase::Step);
        let mut source = encoder.signature(Phase::Step).clone();
        source.outputs.clear();
        let is_state = |spec: &&TensorSpec| matches!(spec.role, TensorRole::States(_));
        let step = Signature {
            inputs: own
                .inputs
                .iter()
                .filter(|s| !is_state(s))
                .cloned()
                .collect(),
            outputs: own.outputs.clone(),
        };
        let mut names = source.inputs.iter().map(|spec| &spec.name);
        if let Some(name) = names.find(|name| step.inputs.iter().any(|spec| spec.name == **name)) {
            return Err(JoinError::Name(name.clone()));
        }
        let mut joined = Network::new(join(&self, &encoder, &pairs))?;
        joined = joined.with_signatures([source, step])?;
        joined.source_vocabulary = encoder.vocabulary;
        joined.source_group_scales = encoder.group_scales;
        joined.vocabulary = self.vocabulary;
        joined.labels = self.labels;
        joined.feature_names = match self.feature_names.is_empty() {
            true => encoder.feature_names,
            false => self.feature_names,
        };
        joined.group_scales = self.group_scales;
        joined.provenance = self.provenance;
        Ok(joined)
    }

    /// The states of `encoder`, and the states of the decoder `self` that begin as them.
    fn state_pairs(&self, encoder: &Network) -> Result<Vec<(VectorId, VectorId)>, JoinError> {
        let (inputs, outputs) = (
            &self.signature(Phase::Step).inputs,
            &encoder.signature(Phase::Step).outputs,
        );
        let given = states(inputs);
        let mut computed = states(outputs);
        let output = encoder.output();
        if computed.is_empty() && !output.every_step {
            // The last step's output of a recurrent layer is its hidden state.
            let mut layers = encoder.recurrent(Phase::Step);
            let layer = layers.position(|(index, _)| index == output.vector.layer);
            computed.extend(layer.map(|layer| StateId { layer, cell: false }));
        }
        let names = |specs: &[TensorSpec]| specs.iter().map(|spec| spec.name.clone()).collect();
        if computed.is_empty() {
            return Err(JoinError::NoState(names(outputs)));
        }
        if given.is_empty() {
            return Err(JoinError::NoStart(names(inputs)));
        }
        let mut pairs = Vec::new();
        for (kind, cell) in [("hidden", false), ("cell", true)] {
            let of = |network: &Network, all: &[StateId]| -> Vec<VectorId> {
                let all = all.iter().filter(|id| id.cell == cell);
                all.map(|id| network.state_vector(Phase::Step, *id))
                    .collect()
            };
            let (from, to) = (of(encoder, &computed), of(self, &given));
            let (found, expected) = (from.len(), to.len());
            if found != expected {
                return Err(JoinError::Count {
                    kind,
                    found,
                    expected,
                });
            }
            for (index, (from, to)) in from.into_iter().zip(to).enumerate() {
                let (found, expected) = (encoder.size(from), self.size(to));
                if found != expected {
                    return Err(JoinError::Size {
                        kind,
                        index,
                        found,
                        expected,
                    });
                }
                pairs.push((from, to));
            }
        }
        Ok(pairs)
    }
}

/// The layers of a decoder and its encoder. The decoder's features come first, since they are given before the source.
fn join(decoder: &Network, encoder: &Network, pairs: &[(VectorId, VectorId)]) -> NetworkParts {
    let is_features = |layer: &Layer| layer.phase == Phase::Begin && layer.reads_caller();
    let last = encoder.recurrent(Phase::Step).last();
    let end = last.map_or(0, |(index, _)| index + 1);
    // Layers with their indices in their own networks, and whether they are the encoder's.
    let own = || decoder.layers().iter().enumerate();
    let source = encoder.layers().iter().enumerate().take(end);
    let source = source.filter(|(_, layer)| !matches!(layer.op, Op::Mean));
    let order: Vec<(bool, usize, &Layer)> = own()
        .filter(|(_, layer)| is_features(layer))
        .map(|(index, layer)| (false, index, layer))
        .chain(source.map(|(index, layer)| (true, index, layer)))
        .chain(
            own()
                .filter(|(_, layer)| !is_features(layer))
                .map(|(index, layer)| (false, index, layer)),
        )
        .collect();
    let place = |of_encoder: bool, id: VectorId| {
        let mut all = order.iter();
        let layer = all.position(|(side, index, _)| (*side, *index) == (of_encoder, id.layer));
        VectorId {
            layer: layer.expect("a layer reads those before it"),
            ..id
        }
    };
    let layers = order.iter().map(|&(of_encoder, index, layer)| {
        let mut layer = layer.clone();
        let inputs = layer.inputs.iter_mut();
        inputs.for_each(|id| *id = place(of_encoder, *id));
        if of_encoder {
            layer.name = format!("encoder {}", layer.name);
            if layer.phase == Phase::Step {
                layer.phase = Phase::Source;
            }
        }
        if let Op::Recurrent { init, .. } = &mut layer.op {
            let states = [VectorId::result(index), VectorId::cell_state(index)];
            for (init, state) in init.iter_mut().zip(states) {
                let from = pairs.iter().find(|(_, to)| !of_encoder && *to == state);
                *init = match (from, *init) {
                    (Some((from, _)), _) => InitialState::Vector(place(true, *from)),
                    (None, InitialState::Vector(id)) => InitialState::Vector(place(of_encoder, id)),
                    (None, init) => init,
                };
            }
        }
        layer
    });
    let outputs = decoder.outputs().iter().cloned().map(|mut output| {
        output.vector = place(false, output.vector);
        output
    });
    NetworkParts {
        layers: layers.collect(),
        outputs: outputs.collect(),
        steps_per_token: [encoder, decoder].map(|network| network.steps_per_token(Phase::Step)),
        fixed_steps: decoder.fixed_steps().max(encoder.fixed_steps()),
    }
}

/// The states of arrays, in their order.
fn states(specs: &[TensorSpec]) -> Vec<StateId> {
    let of = |spec: &TensorSpec| match &spec.role {
        TensorRole::States(ids) => ids.clone(),
        _ => vec![],
    };
    specs.iter().flat_map(of).collect()
}
