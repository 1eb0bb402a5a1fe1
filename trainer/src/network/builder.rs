//! Making networks layer by layer.

use super::layer::{InitialState, Layer, Op, Output, Phase, VectorId};
use super::{
    Dense, Matrix, Network, NetworkError, NetworkParts, Normalization, Provenance, RecurrentCell,
    Signature, subnet,
};
use crate::data::tokenizer::Vocabulary;

/// Adds layers in execution order and names them: begin layers that the source needs, source layers, begin layers that the step needs,
/// step layers, output layers.
#[derive(Clone, Debug)]
pub struct Builder {
    parts: NetworkParts,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            parts: NetworkParts {
                layers: Vec::new(),
                outputs: Vec::new(),
                steps_per_token: [1; 2],
                fixed_steps: 0,
            },
        }
    }
}

/// What the names of layers of the source, and of the begin layers that it needs, begin with.
pub(crate) fn prefix(phase: Phase) -> &'static str {
    match phase {
        Phase::Source => "encoder ",
        _ => "",
    }
}

impl Builder {
    /// Adds a layer, and returns its result.
    pub fn push(&mut self, name: String, phase: Phase, inputs: Vec<VectorId>, op: Op) -> VectorId {
        self.parts.layers.push(Layer {
            name,
            phase,
            inputs,
            op,
        });
        VectorId::result(self.parts.layers.len() - 1)
    }

    /// Adds the conditioning features, which the source or the step (`reader`) needs.
    pub fn features(&mut self, reader: Phase, size: usize) -> VectorId {
        let name = format!("{}features", prefix(reader));
        self.push(name, Phase::Begin, vec![], Op::Frame { size })
    }

    /// Adds a layer that reads tokens.
    pub fn tokens(
        &mut self,
        phase: Phase,
        vocab_size: usize,
        embedding: Option<Matrix>,
    ) -> VectorId {
        let name = format!("{}tokens", prefix(phase));
        let op = Op::Token {
            vocab_size,
            embedding,
        };
        self.push(name, phase, vec![], op)
    }

    /// Adds a layer that reads frames of `size` elements.
    pub fn frames(&mut self, phase: Phase, size: usize) -> VectorId {
        let name = format!("{}inputs", prefix(phase));
        self.push(name, phase, vec![], Op::Frame { size })
    }

    /// Adds dense layers, each over the result of the one before and the first over `x`; returns the last result. They are named `name`,
    /// with their numbers if they are several.
    pub fn dense(&mut self, phase: Phase, name: &str, x: VectorId, list: Vec<Dense>) -> VectorId {
        let count = list.len();
        let add = |x, (index, dense)| {
            let name = match count {
                1 => name.to_owned(),
                _ => format!("{name} {index}"),
            };
            self.push(name, phase, vec![x], Op::Dense(dense))
        };
        list.into_iter().enumerate().fold(x, add)
    }

    /// The name of an initial state of the recurrent layer of `phase` with this number.
    pub fn initial_name(phase: Phase, number: usize, is_cell_state: bool) -> String {
        let letter = if is_cell_state { 'c' } else { 'h' };
        format!("{}{letter}0_{number}", prefix(phase))
    }

    /// Adds a recurrent layer.
    pub fn recurrent(
        &mut self,
        phase: Phase,
        x: VectorId,
        cell: RecurrentCell,
        init: [InitialState; 2],
    ) -> VectorId {
        let layers = self.parts.layers.iter();
        let number = layers
            .filter(|layer| layer.phase == phase && layer.cell().is_some())
            .count();
        let name = format!("{}layer {number}", prefix(phase));
        self.push(name, phase, vec![x], Op::Recurrent { cell, init })
    }

    /// Adds the mean over all steps.
    pub fn mean(&mut self, x: VectorId) -> VectorId {
        self.push("mean".into(), Phase::Step, vec![x], Op::Mean)
    }

    /// Adds an output.
    pub fn output(
        &mut self,
        name: &str,
        vector: VectorId,
        every_step: bool,
        normalization: Normalization,
    ) {
        self.parts.outputs.push(Output {
            name: name.into(),
            vector,
            every_step,
            normalization,
        });
    }

    /// Sets how often the recurrent layers of the source or of the step run per token; 1 without this.
    pub fn steps_per_token(&mut self, phase: Phase, steps: usize) {
        self.parts.steps_per_token[subnet(phase)] = steps;
    }

    /// Sets the number of steps of a source or a step that reads neither a token nor a frame.
    pub fn fixed_steps(&mut self, steps: usize) {
        self.parts.fixed_steps = steps;
    }

    /// The phase of dense layers over what the step computes: the output's, or the step's own where nothing else is in it.
    pub fn output_phase(&self) -> Phase {
        let layers = &self.parts.layers;
        match layers.iter().any(|layer| layer.phase == Phase::Step) {
            true => Phase::Output,
            false => Phase::Step,
        }
    }

    /// The network.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn build(self) -> Result<Network, NetworkError> {
        Network::new(self.parts)
    }
}

/// Initial states that the caller gives, as far as `cell` has them.
pub fn external(cell: &RecurrentCell) -> [InitialState; 2] {
    let cell_state = match cell.has_cell() {
        true => InitialState::External,
        false => InitialState::Zero,
    };
    [InitialState::External, cell_state]
}

impl Network {
    /// A language model whose states can be given. `output` are its output layer, or before it a low-rank projection.
    ///
    /// # Errors
    /// If the lengths of the parts differ.
    pub fn language_model(
        vocabulary: Vocabulary,
        embedding: Option<Matrix>,
        layers: Vec<RecurrentCell>,
        steps_per_token: usize,
        output: Vec<Dense>,
        provenance: Provenance,
    ) -> Result<Self, NetworkError> {
        let signature = Signature::language_model(vocabulary.len(), &layers);
        let mut builder = Builder::default();
        builder.steps_per_token(Phase::Step, steps_per_token);
        let mut x = builder.tokens(Phase::Step, vocabulary.len(), embedding);
        for cell in layers {
            let init = external(&cell);
            x = builder.recurrent(Phase::Step, x, cell, init);
        }
        let logits = builder.dense(Phase::Output, "head", x, output);
        builder.output("logits", logits, true, Normalization::None);
        let network = builder.build()?;
        let mut network = network.with_signatures([Signature::default(), signature])?;
        network.vocabulary = Some(vocabulary);
        network.provenance = provenance;
        Ok(network)
    }
}
