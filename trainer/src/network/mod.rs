//! The canonical float network: what training and the ONNX reader give, what the ONNX writer and the quantizer take.
//!
//! Something is fed at every step ([`Input`]), goes through a stack of recurrent layers ([`Layer`]), each of which starts
//! from somewhere ([`Start`]), and is read at some steps by dense layers ([`Head`]). A sequence-to-sequence network is a
//! decoder that holds its [encoder](Network::encoder). How a file names all of this is in its [`Interface`].
//!
//! Every matrix is row-major, `[outputs][inputs]`. Gates stand in ONNX order: `z, r, h` for a GRU, `i, o, f, c` for an LSTM.
//! `cells` has the plain reading of the equations, `forward` runs whole networks: the float reference of everything else.

use crate::data::tokenizer::Vocabulary;

mod arrays;
mod cells;
mod forward;
mod grids;
mod interface;
mod join;
mod matrix;
pub mod sample;

pub use arrays::{Array, RunError, Sequences, Side, Values, run_arrays, sequences};
pub(crate) use cells::Signal;
pub use cells::{Activation, Activations, Gru, Layer, Lstm, Rnn};
pub use forward::{Feeds, FloatState, Results, nats};
pub(crate) use forward::{normalize, through};
pub use grids::{Grids, TensorGrid};
pub use interface::{Dim, ElementType, Interface, Port, Role, StateId};
pub use join::JoinError;
pub use matrix::Matrix;

/// A dense layer, `y = activation(w x + b)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dense {
    /// Weights, `[outputs][inputs]`.
    pub w: Matrix,
    /// Biases, `[outputs]`.
    pub b: Vec<f32>,
    /// What every output goes through.
    pub activation: Activation,
}

impl Dense {
    /// A dense layer without activation.
    pub fn linear(w: Matrix, b: Vec<f32>) -> Self {
        let activation = Activation::Linear;
        Self { w, b, activation }
    }
}

/// What a network is fed at every step.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A token of `count`; without an embedding the first layer takes it one-hot.
    Tokens {
        /// V
        count: usize,
        /// `[V][E]`
        embedding: Option<Matrix>,
    },
    /// A vector of `width` values, which goes through the dense layers.
    Vectors {
        /// Values that come in.
        width: usize,
        /// From the first to the last; none is usual.
        dense: Vec<Dense>,
    },
    /// The network's feature vector, the same at every one of `steps` steps, after the dense layers.
    Features {
        /// Values of the feature vector.
        width: usize,
        /// From the first to the last.
        dense: Vec<Dense>,
        /// Number of steps, T.
        steps: usize,
    },
}

impl Input {
    /// Values that the first layer (or the head, where there is no layer) gets at every step.
    pub fn width(&self) -> usize {
        match self {
            Input::Tokens { count, embedding } => embedding.as_ref().map_or(*count, |e| e.columns),
            Input::Vectors { width, dense } | Input::Features { width, dense, .. } => {
                dense.last().map_or(*width, |last| last.w.rows)
            }
        }
    }
}

/// Where a state is before the first step.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Start {
    /// Zeros.
    #[default]
    Zero,
    /// These values, learned in training, `[H]`.
    Constant(Vec<f32>),
    /// Given by the caller; zeros where nothing is given.
    Given,
    /// The network's feature vector after these dense layers, at least one.
    Features(Vec<Dense>),
    /// A last state of the encoder, after these dense layers, mostly none.
    Encoder(StateId, Vec<Dense>),
}

/// Where a layer's states are before the first step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Starts {
    /// The hidden state.
    pub hidden: Start,
    /// The cell state; [`Start::Zero`] in a layer that has none.
    pub cell: Start,
}

impl Starts {
    /// Both are given by the caller, as far as `layer` has them.
    pub fn given(layer: &Layer) -> Self {
        let cell = if layer.has_cell() {
            Start::Given
        } else {
            Start::Zero
        };
        let hidden = Start::Given;
        Self { hidden, cell }
    }
}

/// Which steps the head reads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Reads {
    /// Each one: one output a step.
    #[default]
    EveryStep,
    /// The last one: one output a sequence.
    LastStep,
    /// The mean over all: one output a sequence.
    Mean,
}

/// What the outputs go through at the end. Quantization needs none of it: the largest stays the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Normalization {
    /// Nothing: logits, or plain values.
    #[default]
    None,
    /// To probabilities.
    Softmax,
    /// To logarithms of probabilities.
    LogSoftmax,
}

/// What is made of the last layer's hidden state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// At which steps.
    pub reads: Reads,
    /// From the first to the last; none where the hidden state itself is the output, or only the states are.
    pub dense: Vec<Dense>,
    /// After the last of them.
    pub normalization: Normalization,
}

impl Head {
    /// One dense layer at every step, as language models have it.
    pub fn logits(dense: Dense) -> Self {
        let dense = vec![dense];
        Self {
            dense,
            ..Self::default()
        }
    }
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

/// A recurrent network in float.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The texts of the input's tokens, where they are known. A language model always has them.
    pub vocabulary: Option<Vocabulary>,
    /// The texts of the head's outputs, where they are known and are not the input's tokens: a classifier's classes.
    pub labels: Option<Vocabulary>,
    /// The names of the feature vector's values, in their order, where they are known.
    pub channels: Vec<String>,
    /// What it is fed.
    pub input: Input,
    /// The first has [`Input::width`] inputs, each next one the units of the one before. None: a plain dense network.
    pub layers: Vec<Layer>,
    /// One for each layer.
    pub starts: Vec<Starts>,
    /// How often all layers step for a token, with the same input; the head is read after the last time. 1 where vectors go in.
    pub steps_per_token: usize,
    /// What comes out.
    pub head: Head,
    /// The network that runs first, over its own input, and hands its last states to the starts of this one.
    pub encoder: Option<Box<Network>>,
    /// Names and shapes of what goes in and out.
    pub interface: Interface,
    /// The grids of weights that 4 bits hold exactly; empty where the network was not trained to have such. The encoder has
    /// its own.
    pub grids: Grids,
    /// Corpus, split, losses.
    pub provenance: Provenance,
}

/// A network that is a language model: tokens in, the same tokens' logits out at every step.
#[derive(Clone, Copy, Debug)]
pub struct LanguageModel<'n> {
    /// The V tokens.
    pub vocabulary: &'n Vocabulary,
    /// `[V][E]`, or none where the first layer's `w` takes a one-hot token (`E = V`).
    pub embedding: Option<&'n Matrix>,
    /// At least one.
    pub layers: &'n [Layer],
    /// What the head reads through, `[E][H]` of the last layer's units, without activation; mostly nothing.
    pub factor: Option<&'n Dense>,
    /// `[V][H]`, through a factor `[V][E]`, without activation.
    pub head: &'n Dense,
}

/// Why a network is no language model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the model is not a language model: found {found}, expected {expected}")]
pub struct NotLanguageModel {
    found: String,
    expected: &'static str,
}

impl Network {
    /// A language model of these parts whose states can be given. The head has one dense layer, or before it a factor.
    pub fn language_model(
        vocabulary: Vocabulary,
        embedding: Option<Matrix>,
        layers: Vec<Layer>,
        head: Vec<Dense>,
        provenance: Provenance,
    ) -> Self {
        let count = vocabulary.len();
        let interface = Interface::language_model(count, &layers);
        Self {
            vocabulary: Some(vocabulary),
            labels: None,
            channels: Vec::new(),
            input: Input::Tokens { count, embedding },
            starts: layers.iter().map(Starts::given).collect(),
            layers,
            steps_per_token: 1,
            head: Head {
                dense: head,
                ..Head::default()
            },
            encoder: None,
            interface,
            grids: Grids::new(),
            provenance,
        }
    }

    /// The parts of a language model.
    ///
    /// # Errors
    /// If the network is something else: the error says what stands in the way.
    pub fn as_language_model(&self) -> Result<LanguageModel<'_>, NotLanguageModel> {
        let refused = |found: String, expected| Err(NotLanguageModel { found, expected });
        let Input::Tokens { count, embedding } = &self.input else {
            return refused("an input of float vectors".into(), "tokens");
        };
        if self.layers.is_empty() {
            return refused("no recurrent layer".into(), "at least one");
        }
        if self.encoder.is_some() {
            return refused("an encoder and a decoder".into(), "one network");
        }
        let usual = |start: &Start| matches!(start, Start::Zero | Start::Given);
        if let Some(layer) = self
            .starts
            .iter()
            .position(|s| !usual(&s.hidden) || !usual(&s.cell))
        {
            return refused(
                format!("layer {layer} with an initial state of its own"),
                "states of zeros, or given",
            );
        }
        let (factor, head) = match &self.head.dense[..] {
            [head] => (None, head),
            [factor, head] => (Some(factor), head),
            dense => {
                return refused(
                    format!("a head of {} dense layers", dense.len()),
                    "one, or two",
                );
            }
        };
        let activations = [factor, Some(head)].into_iter().flatten();
        let activation = activations
            .map(|dense| dense.activation)
            .find(|activation| *activation != Activation::Linear);
        if self.head.reads != Reads::EveryStep || activation.is_some() {
            return refused(
                format!(
                    "a head that reads {:?}, with activation {:?}",
                    self.head.reads,
                    activation.unwrap_or_default()
                ),
                "logits at every step",
            );
        }
        if head.w.rows != *count {
            return refused(
                format!("{} outputs", head.w.rows),
                "as many as there are tokens",
            );
        }
        let Some(vocabulary) = &self.vocabulary else {
            return refused("no vocabulary".into(), "the tokens' texts");
        };
        Ok(LanguageModel {
            vocabulary,
            embedding: embedding.as_ref(),
            layers: &self.layers,
            factor,
            head,
        })
    }

    /// The texts of the tokens.
    ///
    /// # Panics
    /// If they are not known; those of a [language model](Self::as_language_model) are.
    pub fn vocabulary(&self) -> &Vocabulary {
        self.vocabulary
            .as_ref()
            .expect("the network has a vocabulary")
    }

    /// Number of input tokens, V; 0 where vectors go in.
    pub fn tokens(&self) -> usize {
        match self.input {
            Input::Tokens { count, .. } => count,
            _ => 0,
        }
    }

    /// Number of values that the head gives at a time.
    pub fn output_width(&self) -> usize {
        let below = || {
            let top = self.layers.last();
            top.map_or(self.input.width(), Layer::hidden)
        };
        self.head
            .dense
            .last()
            .map_or_else(below, |last| last.w.rows)
    }

    /// Number of values of the feature vector; 0 where there is none.
    pub fn features(&self) -> usize {
        if let Input::Features { width, .. } = self.input {
            return width;
        }
        let starts = self.starts.iter().flat_map(|s| [&s.hidden, &s.cell]);
        let mut widths = starts.filter_map(|start| match start {
            Start::Features(dense) => dense.first().map(|first| first.w.columns),
            _ => None,
        });
        widths.next().unwrap_or(0)
    }

    /// Number of float parameters, the encoder's included.
    pub fn parameters(&self) -> usize {
        let mut count = 0;
        self.each_tensor(&mut |values| count += values.len());
        count
    }

    /// Whether every parameter is a finite number.
    pub fn is_finite(&self) -> bool {
        let mut finite = true;
        self.each_tensor(&mut |values| finite &= values.iter().all(|value| value.is_finite()));
        finite
    }

    /// Every tensor of parameters, the encoder's included.
    fn each_tensor(&self, seen: &mut impl FnMut(&[f32])) {
        fn dense(layers: &[Dense], seen: &mut impl FnMut(&[f32])) {
            for layer in layers {
                seen(&layer.w.data);
                seen(&layer.b);
            }
        }
        match &self.input {
            Input::Tokens { embedding, .. } => embedding.iter().for_each(|e| seen(&e.data)),
            Input::Vectors { dense: d, .. } | Input::Features { dense: d, .. } => dense(d, seen),
        }
        for layer in &self.layers {
            let (w, r, wb, rb) = layer.weights();
            [&w.data[..], &r.data, wb, rb]
                .into_iter()
                .for_each(&mut *seen);
        }
        for start in self.starts.iter().flat_map(|s| [&s.hidden, &s.cell]) {
            match start {
                Start::Zero | Start::Given => {}
                Start::Constant(values) => seen(values),
                Start::Features(layers) | Start::Encoder(_, layers) => dense(layers, seen),
            }
        }
        dense(&self.head.dense, seen);
        if let Some(encoder) = &self.encoder {
            encoder.each_tensor(seen);
        }
    }
}
