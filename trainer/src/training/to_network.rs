//! Flat parameters to the canonical network, and back.

use std::ops::Range;

use super::network::{ModelConfig, Pooling};
use super::stack_config::StackConfig;
use crate::data::hash::sha256;
use crate::data::tokenizer::Vocabulary;
use crate::network::{
    self, Activation, Dense, Dim, ElementType, Head, Input, Interface, Matrix, Network, Port,
    Provenance, Reads, Role, Start, Starts, StateId,
};
use crate::nn::rnn::Kind;

/// The texts of a network's tokens, classes and features.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vocabularies {
    /// Tokens that the network's own layers read.
    pub input: Vocabulary,
    /// Tokens that the encoder reads.
    pub source: Option<Vocabulary>,
    /// Classes, where the outputs are not the input's tokens.
    pub labels: Option<Vocabulary>,
    /// Names of the features.
    pub features: Vec<String>,
}

impl Vocabularies {
    /// SHA-256 of all texts, in hexadecimal.
    pub fn digest(&self) -> String {
        let texts = |vocabulary: &Vocabulary| {
            let tokens = vocabulary.tokens().join("\0");
            format!(
                "{:?}\0{:?}\0{tokens}\0",
                vocabulary.tokenizer(),
                vocabulary.specials()
            )
        };
        let all = [
            Some(&self.input),
            self.source.as_ref(),
            self.labels.as_ref(),
        ];
        let all = all.map(|vocabulary| vocabulary.map_or(String::new(), texts));
        sha256(format!("{}\0{}", all.join("\0"), self.features.join("\0")).as_bytes())
    }

    /// In what these differ from the `expected` ones, for an error; `None` if in nothing.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        let missing = |found: &Vocabulary, expected: &Vocabulary| {
            let missing = expected
                .tokens()
                .iter()
                .filter(|text| !found.tokens().contains(text));
            let some: Vec<String> = missing.take(5).map(|text| format!("{text:?}")).collect();
            match some.is_empty() {
                true => String::new(),
                false => format!(", without {}", some.join(", ")),
            }
        };
        let none = Vocabulary::default();
        let parts = [
            ("tokens", Some(&self.input), Some(&expected.input)),
            (
                "source tokens",
                self.source.as_ref(),
                expected.source.as_ref(),
            ),
            ("classes", self.labels.as_ref(), expected.labels.as_ref()),
        ];
        for (what, found, expected) in parts {
            if found != expected {
                let (found, expected) = (found.unwrap_or(&none), expected.unwrap_or(&none));
                return Some(format!(
                    "it has another vocabulary: {} {what}{}, expected the {} of the data",
                    found.len(),
                    missing(found, expected),
                    expected.len()
                ));
            }
        }
        (self.features != expected.features).then(|| {
            let (found, expected) = (self.features.join(", "), expected.features.join(", "));
            format!("it has the features {found:?}, expected {expected:?}")
        })
    }
}

/// The network of these parameters. A model without an encoder, features and labels is a language model, whose states can be
/// given.
///
/// # Panics
/// If the number of parameters, tokens or features is not that of `config`.
pub fn to_network(
    config: &ModelConfig,
    parameters: &[f32],
    vocabularies: &Vocabularies,
    provenance: Provenance,
) -> Network {
    assert_eq!(
        (parameters.len(), vocabularies.input.len()),
        (config.num_parameters(), config.stack.vocab_size),
        "parameters and tokens"
    );
    assert_eq!(vocabularies.features.len(), config.num_features, "features");
    let layout = config.layout();
    let (embedding, layers) = stack(&config.stack, &parameters[layout.stack.clone()]);
    let head = output_layers(config, parameters);
    let is_language_model = config.encoder.is_none()
        && config.num_features == 0
        && config.pooling == Pooling::EveryStep;
    if is_language_model {
        let vocabulary = vocabularies.input.clone();
        return Network {
            steps_per_token: config.steps_per_token,
            ..Network::language_model(vocabulary, embedding, layers, head, provenance)
        };
    }
    let encoder = config.encoder.as_ref().map(|encoder| {
        let parts = stack(encoder, &parameters[layout.encoder.clone()]);
        Box::new(encoder_network(parts, vocabularies.source.clone()))
    });
    let starts = initial_states(config, parameters, &layers);
    Network {
        vocabulary: Some(vocabularies.input.clone()),
        labels: vocabularies.labels.clone(),
        channels: vocabularies.features.clone(),
        input: Input::Tokens {
            count: config.stack.vocab_size,
            embedding,
        },
        layers,
        starts,
        steps_per_token: config.steps_per_token,
        grids: Default::default(),
        head: Head {
            reads: match config.pooling {
                Pooling::EveryStep => Reads::EveryStep,
                Pooling::LastStep => Reads::LastStep,
            },
            dense: head,
            ..Head::default()
        },
        encoder,
        interface: signature(config),
        provenance,
    }
}

/// An embedding, if there is one, and recurrent layers.
fn stack(config: &StackConfig, parameters: &[f32]) -> (Option<Matrix>, Vec<network::Layer>) {
    let (table, layers) = config.layout();
    let table = config
        .embedding_dim
        .map(|columns| Matrix::new(config.vocab_size, columns, parameters[table].to_vec()));
    let layer = |(i, range): (usize, Range<usize>)| {
        config.cells[i].layer(&parameters[range], config.input_size(i), config.hidden_size)
    };
    (table, layers.into_iter().enumerate().map(layer).collect())
}

/// The projection, if there is one, and the output layer.
fn output_layers(config: &ModelConfig, parameters: &[f32]) -> Vec<Dense> {
    let layout = config.layout();
    let columns = config.output_inputs();
    let dense = |w: Range<usize>, columns, b| {
        let w = Matrix::new(w.len() / columns, columns, parameters[w].to_vec());
        Dense::linear(w, b)
    };
    let biases = parameters[layout.output_bias].to_vec();
    let output = dense(layout.output, columns, biases);
    if layout.projection.is_empty() {
        return vec![output];
    }
    let hidden = config.stack.hidden_size;
    vec![dense(layout.projection, hidden, vec![0.0; columns]), output]
}

fn encoder_network(
    (embedding, layers): (Option<Matrix>, Vec<network::Layer>),
    vocabulary: Option<Vocabulary>,
) -> Network {
    Network {
        input: Input::Tokens {
            count: vocabulary.as_ref().map_or(0, Vocabulary::len),
            embedding,
        },
        vocabulary,
        labels: None,
        channels: Vec::new(),
        starts: vec![Starts::default(); layers.len()],
        steps_per_token: 1,
        grids: Default::default(),
        layers,
        head: Head {
            reads: Reads::LastStep,
            ..Head::default()
        },
        encoder: None,
        interface: Interface {
            inputs: vec![token_input("source")],
            outputs: Vec::new(),
        },
        provenance: Provenance::default(),
    }
}

/// Zeros, the encoder's last states, or dense layers over the features.
fn initial_states(
    config: &ModelConfig,
    parameters: &[f32],
    layers: &[network::Layer],
) -> Vec<Starts> {
    let (hidden, features) = (config.stack.hidden_size, config.num_features);
    let ranges = config.layout().initial_states;
    let of_layer = |(layer, kind): (usize, &network::Layer)| {
        let mut starts = Starts::default();
        let states = [&mut starts.hidden, &mut starts.cell];
        let states = states.into_iter().take(1 + usize::from(kind.has_cell()));
        for (cell, state) in states.enumerate() {
            if config.encoder.is_some() {
                let cell = cell == 1;
                *state = Start::Encoder(StateId { layer, cell }, Vec::new());
            } else if let Some((w, b)) = ranges.get(layer) {
                // A layer's states are one behind the other: of each `hidden` rows.
                let (w, b) = (w.start + cell * hidden * features, b.start + cell * hidden);
                let weights = parameters[w..w + hidden * features].to_vec();
                *state = Start::Features(vec![Dense {
                    w: Matrix::new(hidden, features, weights),
                    b: parameters[b..b + hidden].to_vec(),
                    activation: Activation::Tanh,
                }]);
            }
        }
        starts
    };
    layers.iter().enumerate().map(of_layer).collect()
}

fn token_input(name: &str) -> Port {
    port(
        name,
        ElementType::Int64,
        vec![Dim::Fixed(1), Dim::Steps],
        Role::Tokens,
    )
}

fn port(name: &str, element: ElementType, shape: Vec<Dim>, role: Role) -> Port {
    Port {
        name: name.into(),
        element,
        shape,
        role,
    }
}

/// The inputs and outputs of the ONNX file.
fn signature(config: &ModelConfig) -> Interface {
    let (one, float) = (Dim::Fixed(1), ElementType::Float);
    let mut inputs = vec![token_input("tokens")];
    if config.num_features > 0 {
        let shape = vec![one, Dim::Fixed(config.num_features)];
        inputs.insert(0, port("features", float, shape, Role::Features));
    }
    let outputs = Dim::Fixed(config.output_size);
    let output = match config.pooling {
        Pooling::LastStep => port("scores", float, vec![one, outputs], Role::Head),
        Pooling::EveryStep => port("logits", float, vec![one, Dim::Steps, outputs], Role::Head),
    };
    Interface {
        inputs,
        outputs: vec![output],
    }
}

/// The sizes, the parameters and the texts of a network that could have been trained here.
///
/// # Errors
/// Says what stands in the way, such as layers of different sizes or a cell that is not trained here.
pub fn from_network(network: &Network) -> Result<(ModelConfig, Vec<f32>, Vocabularies), String> {
    let Input::Tokens { count, embedding } = &network.input else {
        return Err("an input of float vectors: expected tokens".into());
    };
    let mut parameters = Vec::new();
    let encoder = match network.encoder.as_deref() {
        None => None,
        Some(encoder) => {
            if encoder.steps_per_token != 1 {
                return Err("an encoder with several steps per token: expected one".into());
            }
            let Input::Tokens { count, embedding } = &encoder.input else {
                return Err("an encoder of float vectors: expected tokens".into());
            };
            if encoder.starts.iter().any(|s| *s != Starts::default()) {
                return Err("an encoder with initial states: expected zeros".into());
            }
            Some(from_stack(
                *count,
                embedding.as_ref(),
                &encoder.layers,
                &mut parameters,
            )?)
        }
    };
    let num_features = from_initial_states(network, &mut parameters)?;
    let layers = &network.layers;
    let stack = from_stack(*count, embedding.as_ref(), layers, &mut parameters)?;
    if encoder.as_ref().is_some_and(|encoder| {
        encoder.cells != stack.cells || encoder.hidden_size != stack.hidden_size
    }) {
        return Err("an encoder whose layers are not those of its decoder: expected the same cells and sizes".into());
    }
    let (output_size, tie_embeddings) = from_output(
        network,
        embedding.as_ref(),
        stack.hidden_size,
        &mut parameters,
    )?;
    let config = ModelConfig {
        encoder,
        num_features,
        stack,
        output_size,
        pooling: match network.head.reads {
            Reads::EveryStep => Pooling::EveryStep,
            Reads::LastStep => Pooling::LastStep,
            Reads::Mean => return Err("mean pooling: expected the last step, or every step".into()),
        },
        tie_embeddings,
        steps_per_token: network.steps_per_token,
    };
    let Some(input) = network.vocabulary.clone() else {
        return Err("no vocabulary: expected one".into());
    };
    let vocabularies = Vocabularies {
        input,
        source: network.encoder.as_ref().and_then(|e| e.vocabulary.clone()),
        labels: network.labels.clone(),
        features: network.channels.clone(),
    };
    if vocabularies.input.len() != config.stack.vocab_size {
        return Err("a vocabulary of another size than the input: expected the same".into());
    }
    Ok((config, parameters, vocabularies))
}

fn from_stack(
    vocab_size: usize,
    embedding: Option<&Matrix>,
    layers: &[network::Layer],
    parameters: &mut Vec<f32>,
) -> Result<StackConfig, String> {
    let Some(first) = layers.first() else {
        return Err("no recurrent layer: expected at least one".into());
    };
    let hidden_size = first.hidden();
    parameters.extend(embedding.iter().flat_map(|embedding| &embedding.data));
    let mut cells = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        if layer.hidden() != hidden_size {
            return Err(format!(
                "layer {index} has {} units and the first {hidden_size}: expected the same number in every layer",
                layer.hidden()
            ));
        }
        let (kind, weights) = Kind::of(layer).ok_or_else(|| {
            format!("layer {index} has a cell that is not trained here: expected a GRU that resets after the recurrent product, an LSTM or an RNN with tanh")
        })?;
        cells.push(kind);
        parameters.extend(weights);
    }
    Ok(StackConfig {
        vocab_size,
        embedding_dim: embedding.map(|embedding| embedding.columns),
        hidden_size,
        cells,
    })
}

/// The number of features.
fn from_initial_states(network: &Network, parameters: &mut Vec<f32>) -> Result<usize, String> {
    let mut features = None;
    for (layer, (starts, kind)) in network.starts.iter().zip(&network.layers).enumerate() {
        let refused = |found: &str| {
            Err(format!(
                "layer {layer} with {found} as its initial state: expected zeros, the encoder's last state, or one dense layer with tanh over the features"
            ))
        };
        let states = [&starts.hidden, &starts.cell];
        let states = &states[..1 + usize::from(kind.has_cell())];
        let mut biases: Vec<f32> = Vec::new();
        for (cell, start) in states.iter().enumerate() {
            let expected = StateId {
                layer,
                cell: cell == 1,
            };
            match start {
                Start::Zero | Start::Given if network.encoder.is_none() => {}
                Start::Encoder(id, dense) if *id == expected && dense.is_empty() => {}
                Start::Features(dense) if network.encoder.is_none() => match &dense[..] {
                    [dense] if dense.activation == Activation::Tanh => {
                        features = Some(dense.w.columns);
                        parameters.extend(&dense.w.data);
                        biases.extend(&dense.b);
                    }
                    _ => return refused("other dense layers"),
                },
                _ => return refused("something else"),
            }
        }
        if features.is_some() && biases.len() != states.len() * kind.hidden() {
            return refused("zeros beside features");
        }
        parameters.extend(biases);
    }
    Ok(features.unwrap_or(0))
}

/// The number of outputs, and whether the output layer's weights are the embedding.
fn from_output(
    network: &Network,
    embedding: Option<&Matrix>,
    hidden_size: usize,
    parameters: &mut Vec<f32>,
) -> Result<(usize, bool), String> {
    let (projection, output) = match &network.head.dense[..] {
        [output] => (None, output),
        [projection, output] => (Some(projection), output),
        dense => {
            return Err(format!(
                "an output of {} dense layers: expected one, or two",
                dense.len()
            ));
        }
    };
    let mut all = projection.into_iter().chain([output]);
    if let Some(dense) = all.find(|dense| dense.activation != Activation::Linear) {
        return Err(format!(
            "an output layer with activation {:?}: expected none",
            dense.activation
        ));
    }
    let tied = embedding.is_some_and(|embedding| *embedding == output.w);
    if let Some(projection) = projection {
        if !tied || projection.w.rows == hidden_size {
            return Err("an output of two dense layers: expected one, or an embedding that is the second's weights too and has not hidden_size columns".into());
        }
        if projection.b.iter().any(|b| *b != 0.0) {
            return Err(
                "biases in the first of the output's two dense layers: expected none".into(),
            );
        }
        parameters.extend(&projection.w.data);
    }
    if !tied {
        parameters.extend(&output.w.data);
    }
    parameters.extend(&output.b);
    Ok((output.w.rows, tied))
}
