//! A network in float: what training and the ONNX reader make, what the ONNX writer and the quantizer take.
//!
//! A network is a list of [layers](Layer) in execution order, the same list as in a model file: each layer reads vectors of earlier
//! layers and computes one, in its [phase](Phase). [`Network::new`] checks the list once; [`Builder`] makes the usual ones. Names,
//! shapes and roles of the ONNX file's inputs and outputs are in a [`Signature`].
//!
//! Every matrix is row-major, `[outputs][inputs]`. Gates are in ONNX order: `z, r, h` for a GRU, `i, o, f, c` for an LSTM.
//! `cells` has the equations in their plain form, `forward` runs whole networks: the float reference of everything else.

use crate::data::tokenizer::Vocabulary;
use crate::data::tokenizer::file::{VocabularyFile, VocabularyFileError};

mod arrays;
mod builder;
mod cells;
mod check;
mod encoder_decoder;
pub mod formats;
mod forward;
mod group_scales;
mod language_model;
mod layer;
mod matrix;
mod run_arrays;
pub mod sample;
mod signature;

pub use arrays::{Array, RunError, Values};
pub use builder::{Builder, external};
pub(crate) use cells::LayerInput;
pub use cells::{Activation, Activations, Gru, Lstm, RecurrentCell, Rnn};
pub use check::{NetworkError, NetworkParts};
pub use encoder_decoder::JoinError;
pub(crate) use forward::{Hook, normalize};
pub use forward::{Inputs, Outputs, State, States, SubnetInputs, cross_entropy};
pub use group_scales::{GroupScales, TensorScales};
pub use language_model::{LanguageModel, NotLanguageModel};
pub use layer::{InitialState, Layer, Op, Output, Phase, VectorId};
pub use matrix::Matrix;
pub use run_arrays::{SequenceModel, SubnetView, run_arrays, sequences};
pub use signature::{Dim, ElementType, Signature, StateId, TensorRole, TensorSpec};

/// A dense layer, `y = activation(w x + b)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dense {
    /// Weights, `[outputs][inputs]`.
    pub w: Matrix,
    /// Biases, `[outputs]`.
    pub b: Vec<f32>,
    /// Applied to each element.
    pub activation: Activation,
}

impl Dense {
    /// `y = w x + b`
    pub fn linear(w: Matrix, b: Vec<f32>) -> Self {
        let activation = Activation::Linear;
        Self { w, b, activation }
    }
}

/// What is applied to an output. Quantization leaves it out: the largest value stays the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Normalization {
    /// Nothing: logits, or values.
    #[default]
    None,
    /// To probabilities.
    Softmax,
    /// To the logarithms of probabilities.
    LogSoftmax,
}

/// Where a network comes from, as its files carry it. Losses are in nats per token, of a classifier per class.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    /// The corpus' file name, without its folder.
    pub corpus: String,
    /// Which part of the corpus was trained on, such as `first 90 %`.
    pub split: String,
    /// Optimizer steps done.
    pub steps: u64,
    /// Seed of the training.
    pub seed: u64,
    /// Loss on the training part, smoothed, at the end.
    pub train_loss: Option<f32>,
    /// Loss on the validation part at the end, as one stream.
    pub validation_loss: Option<f32>,
}

/// A network in float: a list of layers in execution order, whose order, phases and lengths were checked when it was made.
///
/// A sequence-to-sequence network has layers of the phase [`Phase::Source`], its encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    parts: NetworkParts,
    /// Elements of each layer's result.
    sizes: Vec<usize>,
    segments: check::Segments,
    signatures: [Signature; 2],
    /// The texts of the source's tokens, where they are known.
    pub source_vocabulary: Option<Vocabulary>,
    /// The texts of the step's tokens, where they are known. A language model always has them.
    pub vocabulary: Option<Vocabulary>,
    /// The texts of the outputs, where they are known and are not the input's tokens: a classifier's classes.
    pub labels: Option<Vocabulary>,
    /// The names of the conditioning features in their order, where they are known.
    pub feature_names: Vec<String>,
    /// The scales of groups of 4-bit weights that the source's weights are multiples of; empty for other weights.
    pub source_group_scales: GroupScales,
    /// The same of all other layers.
    pub group_scales: GroupScales,
    /// Corpus, split, losses.
    pub provenance: Provenance,
}

/// The index of a phase in `[source, step]`.
pub(crate) fn subnet(phase: Phase) -> usize {
    usize::from(phase != Phase::Source)
}

impl Network {
    /// A network of these layers, without vocabularies and without a signature.
    ///
    /// # Errors
    /// If an order, a phase or a length is wrong; the error names the layer.
    pub fn new(parts: NetworkParts) -> Result<Self, NetworkError> {
        let (sizes, segments) = check::check(&parts)?;
        Ok(Self {
            parts,
            sizes,
            segments,
            signatures: Default::default(),
            source_vocabulary: None,
            vocabulary: None,
            labels: None,
            feature_names: Vec::new(),
            source_group_scales: GroupScales::new(),
            group_scales: GroupScales::new(),
            provenance: Provenance::default(),
        })
    }

    /// The network with its layers changed by `change`, checked again.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(mut self, change: impl FnOnce(&mut NetworkParts)) -> Result<Self, NetworkError> {
        change(&mut self.parts);
        (self.sizes, self.segments) = check::check(&self.parts)?;
        Ok(self)
    }

    /// The network with these names, shapes and roles of what its ONNX file reads and gives: of the source and of the step.
    ///
    /// # Errors
    /// If a signature names a state that no layer has.
    pub fn with_signatures(mut self, signatures: [Signature; 2]) -> Result<Self, NetworkError> {
        for (phase, signature) in [Phase::Source, Phase::Step].into_iter().zip(&signatures) {
            check::check_states(self.recurrent(phase), signature)?;
        }
        self.signatures = signatures;
        Ok(self)
    }

    /// Whether layers and outputs are the same.
    pub(crate) fn has_same_layers(&self, other: &Self) -> bool {
        self.parts == other.parts
    }

    /// The layers in execution order.
    pub fn layers(&self) -> &[Layer] {
        &self.parts.layers
    }

    /// The outputs, at least one.
    pub fn outputs(&self) -> &[Output] {
        &self.parts.outputs
    }

    /// The first output.
    pub fn output(&self) -> &Output {
        &self.parts.outputs[0]
    }

    /// How often the recurrent layers of the source or of the step run per token.
    pub fn steps_per_token(&self, phase: Phase) -> usize {
        self.parts.steps_per_token[subnet(phase)]
    }

    /// Steps of a source or a step that reads neither a token nor a frame; 0 where there is none such.
    pub fn fixed_steps(&self) -> usize {
        self.parts.fixed_steps
    }

    /// Names, shapes and roles of what the ONNX file reads and gives for the source or for the step.
    pub fn signature(&self, phase: Phase) -> &Signature {
        &self.signatures[subnet(phase)]
    }

    /// Number of elements of a vector.
    pub fn size(&self, id: VectorId) -> usize {
        self.sizes[id.layer]
    }

    /// Number of elements of all vectors that layer `index` reads.
    pub fn input_size(&self, index: usize) -> usize {
        let inputs = self.parts.layers[index].inputs.iter();
        inputs.map(|id| self.size(*id)).sum()
    }

    /// Whether there are source layers, an encoder.
    pub fn has_source(&self) -> bool {
        !self.segments.source.is_empty()
    }

    /// The phases that run step by step: the source, if there is one, and the step.
    pub fn step_phases(&self) -> impl Iterator<Item = Phase> {
        let source = self.has_source().then_some(Phase::Source);
        source.into_iter().chain([Phase::Step])
    }

    /// The recurrent layers of the source or of the step, each with its index among all layers.
    pub fn recurrent(&self, phase: Phase) -> impl Iterator<Item = (usize, &RecurrentCell)> {
        let layers = self.parts.layers.iter().enumerate();
        layers
            .filter(move |(_, layer)| layer.phase == phase)
            .filter_map(|(index, layer)| Some((index, layer.cell()?)))
    }

    /// The vector of a state, which a signature names by the number of its layer among the recurrent ones of `phase`.
    pub(crate) fn state_vector(&self, phase: Phase, id: StateId) -> VectorId {
        let (layer, _) = self
            .recurrent(phase)
            .nth(id.layer)
            .expect("a signature's states exist");
        VectorId {
            layer,
            is_cell_state: id.cell,
        }
    }

    /// The layer that reads what the caller gives in `phase`, and its index.
    pub fn reader(&self, phase: Phase) -> Option<(usize, &Layer)> {
        let layers = self.parts.layers.iter().enumerate();
        layers
            .filter(|(_, layer)| layer.reads_caller())
            .find(|(_, layer)| layer.phase == phase)
    }

    /// Number of tokens that the source or the step reads; 0 where it reads none.
    pub fn vocab_size(&self, phase: Phase) -> usize {
        match self.reader(phase).map(|(_, layer)| &layer.op) {
            Some(Op::Token { vocab_size, .. }) => *vocab_size,
            _ => 0,
        }
    }

    /// Number of tokens that the step reads, V; 0 where it reads none.
    pub fn tokens(&self) -> usize {
        self.vocab_size(Phase::Step)
    }

    /// Number of values of the first output.
    pub fn output_width(&self) -> usize {
        self.size(self.output().vector)
    }

    /// Number of conditioning features; 0 where there are none.
    pub fn features(&self) -> usize {
        let features = self.reader(Phase::Begin);
        features.map_or(0, |(index, _)| self.sizes[index])
    }

    /// The texts of the step's tokens.
    ///
    /// # Panics
    /// If they are not known; those of a [language model](Self::as_language_model) are.
    pub fn vocabulary(&self) -> &Vocabulary {
        self.vocabulary
            .as_ref()
            .expect("the network has a vocabulary")
    }

    /// Gives the network the vocabularies of a file.
    ///
    /// # Errors
    /// As [`VocabularyFile::check_sizes`].
    pub fn set_vocabularies(&mut self, file: &VocabularyFile) -> Result<(), VocabularyFileError> {
        let source = self.has_source().then(|| self.vocab_size(Phase::Source));
        file.check_sizes(source, self.tokens())?;
        self.source_vocabulary.clone_from(&file.source);
        self.vocabulary = Some(file.target.clone());
        Ok(())
    }

    /// The same network whose first output is not normalized.
    pub fn without_normalization(mut self) -> Self {
        for output in &mut self.parts.outputs {
            output.normalization = Normalization::None;
        }
        self
    }

    /// Number of float parameters.
    pub fn parameters(&self) -> usize {
        let tensors = self.parts.layers.iter().flat_map(Layer::tensors);
        tensors.map(<[f32]>::len).sum()
    }

    /// Whether every parameter is a finite number.
    pub fn is_finite(&self) -> bool {
        let mut tensors = self.parts.layers.iter().flat_map(Layer::tensors);
        tensors.all(|values| values.iter().all(|value| value.is_finite()))
    }

    /// The weights over the input and over the hidden state of recurrent layer `index`, or of dense layer `index` the weights alone. Their
    /// shapes stay as they are.
    pub(crate) fn weights_mut(&mut self, index: usize) -> [&mut [f32]; 2] {
        match &mut self.parts.layers[index].op {
            Op::Dense(dense) => [&mut dense.w.data, &mut []],
            Op::Recurrent { cell, .. } => {
                let (w, r) = cell.weights_mut();
                [&mut w.data, &mut r.data]
            }
            _ => [&mut [], &mut []],
        }
    }
}
