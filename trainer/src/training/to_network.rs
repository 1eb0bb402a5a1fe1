//! Flat parameters to the canonical network, and back.

use std::ops::Range;

use super::model_config::{ModelConfig, Pooling};
use super::stack_config::StackConfig;
use crate::data::examples::ExampleSet;
use crate::data::hash::sha256;
use crate::data::task::Task;
use crate::data::tokenizer::Vocabulary;
use crate::network::{
    Activation, Builder, Dense, Dim, ElementType, InitialState, Matrix, Network, Normalization, Op,
    Phase, Provenance, RecurrentCell, Signature, TensorRole, TensorSpec, VectorId,
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
    /// Those of the examples of a task on lines.
    pub fn of_examples(task: Task, examples: &ExampleSet) -> Self {
        let target = examples.target.clone();
        match (task, &examples.source) {
            (Task::Classifier, Some(source)) => Self {
                input: source.clone(),
                labels: Some(target),
                ..Self::default()
            },
            _ => Self {
                input: target,
                source: examples.source.clone(),
                labels: None,
                features: examples.feature_names.clone(),
            },
        }
    }

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
    const FITS: &str = "the lengths are those of the configuration";
    let (embedding, cells) = stack(&config.stack, &parameters[config.layout().stack]);
    let output = output_layers(config, parameters);
    let is_language_model = config.encoder.is_none()
        && config.num_features == 0
        && config.pooling == Pooling::EveryStep;
    if is_language_model {
        let vocabulary = vocabularies.input.clone();
        let steps = config.steps_per_token;
        let network =
            Network::language_model(vocabulary, embedding, cells, steps, output, provenance);
        return network.expect(FITS);
    }
    let mut builder = Builder::default();
    builder.steps_per_token(Phase::Step, config.steps_per_token);
    let inits = initial_states(config, parameters, &cells, &mut builder);
    let mut x = builder.tokens(Phase::Step, config.stack.vocab_size, embedding);
    for (cell, init) in cells.into_iter().zip(inits) {
        x = builder.recurrent(Phase::Step, x, cell, init);
    }
    let logits = builder.dense(Phase::Output, "head", x, output);
    let every_step = config.pooling == Pooling::EveryStep;
    builder.output(output_name(config), logits, every_step, Normalization::None);
    let network = builder
        .build()
        .and_then(|network| network.with_signatures(signatures(config)));
    let mut network = network.expect(FITS);
    network.source_vocabulary.clone_from(&vocabularies.source);
    network.vocabulary = Some(vocabularies.input.clone());
    network.labels.clone_from(&vocabularies.labels);
    network.feature_names.clone_from(&vocabularies.features);
    network.provenance = provenance;
    network
}

/// An embedding, if there is one, and recurrent cells.
fn stack(config: &StackConfig, parameters: &[f32]) -> (Option<Matrix>, Vec<RecurrentCell>) {
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

/// Adds what comes before the step: features and dense layers over them, or the encoder. Returns the initial states of `cells`:
/// zeros, results of the dense layers, or the encoder's last states.
fn initial_states(
    config: &ModelConfig,
    parameters: &[f32],
    cells: &[RecurrentCell],
    builder: &mut Builder,
) -> Vec<[InitialState; 2]> {
    let (hidden, num_features) = (config.stack.hidden_size, config.num_features);
    let layout = config.layout();
    let features = (num_features > 0).then(|| builder.features(Phase::Step, num_features));
    let mut encoder = Vec::new();
    if let Some(config) = &config.encoder {
        let (embedding, cells) = stack(config, &parameters[layout.encoder]);
        let mut x = builder.tokens(Phase::Source, config.vocab_size, embedding);
        for cell in cells {
            x = builder.recurrent(Phase::Source, x, cell, Default::default());
            encoder.push(x);
        }
    }
    let mut of_layer = |(number, cell): (usize, &RecurrentCell)| {
        let mut init = [InitialState::Zero; 2];
        let states = init.iter_mut().take(1 + usize::from(cell.has_cell()));
        for (state, init) in states.enumerate() {
            let is_cell_state = state == 1;
            if let Some(layer) = encoder.get(number) {
                *init = InitialState::Vector(VectorId {
                    is_cell_state,
                    ..*layer
                });
            } else if let (Some(x), Some((w, b))) = (features, layout.initial_states.get(number)) {
                // A layer's states are one behind the other: of each `hidden` rows.
                let w = w.start + state * hidden * num_features;
                let b = b.start + state * hidden;
                let weights = parameters[w..w + hidden * num_features].to_vec();
                let dense = Dense {
                    w: Matrix::new(hidden, num_features, weights),
                    b: parameters[b..b + hidden].to_vec(),
                    activation: Activation::Tanh,
                };
                let name = Builder::initial_name(Phase::Step, number, is_cell_state);
                *init = InitialState::Vector(builder.dense(Phase::Begin, &name, x, vec![dense]));
            }
        }
        init
    };
    cells.iter().enumerate().map(&mut of_layer).collect()
}

fn output_name(config: &ModelConfig) -> &'static str {
    match config.pooling {
        Pooling::LastStep => "scores",
        Pooling::EveryStep => "logits",
    }
}

/// The inputs and outputs of the ONNX file, of the encoder and of the network itself.
fn signatures(config: &ModelConfig) -> [Signature; 2] {
    let spec = |name: &str, element, shape: Vec<Dim>, role| TensorSpec {
        name: name.into(),
        element,
        shape,
        role,
    };
    let (one, float) = (Dim::Fixed(1), ElementType::Float);
    let tokens = |name| {
        let shape = vec![one, Dim::Steps];
        spec(name, ElementType::Int64, shape, TensorRole::Tokens)
    };
    let mut inputs = vec![tokens("tokens")];
    if config.num_features > 0 {
        let shape = vec![one, Dim::Fixed(config.num_features)];
        inputs.insert(0, spec("features", float, shape, TensorRole::Features));
    }
    let outputs = Dim::Fixed(config.output_size);
    let outputs = match config.pooling {
        Pooling::LastStep => vec![one, outputs],
        Pooling::EveryStep => vec![one, Dim::Steps, outputs],
    };
    let output = spec(output_name(config), float, outputs, TensorRole::Output);
    let source = config.encoder.iter().map(|_| tokens("source"));
    [
        Signature {
            inputs: source.collect(),
            outputs: Vec::new(),
        },
        Signature {
            inputs,
            outputs: vec![output],
        },
    ]
}

/// The sizes, the parameters and the texts of a network that could have been trained here.
///
/// # Errors
/// Says what stands in the way, such as layers of different sizes or a cell that is not trained here.
pub fn from_network(network: &Network) -> Result<(ModelConfig, Vec<f32>, Vocabularies), String> {
    let mut parameters = Vec::new();
    let encoder = match network.has_source() {
        true => Some(from_encoder(network, &mut parameters)?),
        false => None,
    };
    let num_features = from_initial_states(network, &mut parameters)?;
    let stack = from_stack(network, Phase::Step, &mut parameters)?;
    if encoder.as_ref().is_some_and(|encoder| {
        encoder.cells != stack.cells || encoder.hidden_size != stack.hidden_size
    }) {
        return Err("an encoder whose layers are not those of its decoder: expected the same cells and sizes".into());
    }
    let (output_size, tie_embeddings) = from_output(network, stack.hidden_size, &mut parameters)?;
    let config = ModelConfig {
        encoder,
        num_features,
        stack,
        output_size,
        pooling: match network.output().every_step {
            true => Pooling::EveryStep,
            false => Pooling::LastStep,
        },
        tie_embeddings,
        steps_per_token: network.steps_per_token(Phase::Step),
    };
    let Some(input) = network.vocabulary.clone() else {
        return Err("no vocabulary: expected one".into());
    };
    let vocabularies = Vocabularies {
        input,
        source: network.source_vocabulary.clone(),
        labels: network.labels.clone(),
        features: network.feature_names.clone(),
    };
    if vocabularies.input.len() != config.stack.vocab_size {
        return Err("a vocabulary of another size than the input: expected the same".into());
    }
    Ok((config, parameters, vocabularies))
}

fn from_encoder(network: &Network, parameters: &mut Vec<f32>) -> Result<StackConfig, String> {
    if network.steps_per_token(Phase::Source) != 1 {
        return Err("an encoder with several steps per token: expected one".into());
    }
    let inits = network.layers().iter().filter_map(|layer| match &layer.op {
        Op::Recurrent { init, .. } if layer.phase == Phase::Source => Some(init),
        _ => None,
    });
    if inits.flatten().any(|init| *init != InitialState::Zero) {
        return Err("an encoder with initial states: expected zeros".into());
    }
    from_stack(network, Phase::Source, parameters)
}

/// The embedding of the tokens that `phase` reads.
fn embedding(network: &Network, phase: Phase) -> Result<Option<&Matrix>, String> {
    match network.reader(phase).map(|(_, layer)| &layer.op) {
        Some(Op::Token { embedding, .. }) => Ok(embedding.as_ref()),
        _ => Err("an input of float vectors: expected tokens".into()),
    }
}

fn from_stack(
    network: &Network,
    phase: Phase,
    parameters: &mut Vec<f32>,
) -> Result<StackConfig, String> {
    let embedding = embedding(network, phase)?;
    let is_other = |op: &Op| !matches!(op, Op::Token { .. } | Op::Recurrent { .. });
    let mut layers = network.layers().iter().filter(|l| l.phase == phase);
    if let Some(other) = layers.find(|layer| is_other(&layer.op)) {
        return Err(format!(
            "the layer {:?}: expected tokens and recurrent layers alone, one after the other",
            other.name
        ));
    }
    let mut below = network.reader(phase).map(|(index, _)| index);
    let mut hidden_size = None;
    parameters.extend(embedding.iter().flat_map(|embedding| &embedding.data));
    let mut cells = Vec::new();
    for (number, (index, cell)) in network.recurrent(phase).enumerate() {
        let inputs = &network.layers()[index].inputs;
        if inputs.iter().map(|id| Some(id.layer)).ne([below]) {
            return Err(format!(
                "layer {number} does not read the layer below alone"
            ));
        }
        below = Some(index);
        let first = *hidden_size.get_or_insert(cell.hidden());
        if cell.hidden() != first {
            return Err(format!(
                "layer {number} has {} units and the first {first}: expected the same number in every layer",
                cell.hidden()
            ));
        }
        let (kind, weights) = Kind::of(cell).ok_or_else(|| {
            format!("layer {number} has a cell that is not trained here: expected a GRU that resets after the recurrent product, an LSTM or an RNN with tanh")
        })?;
        cells.push(kind);
        parameters.extend(weights);
    }
    Ok(StackConfig {
        vocab_size: network.vocab_size(phase),
        embedding_dim: embedding.map(|embedding| embedding.columns),
        hidden_size: hidden_size.ok_or("no recurrent layer: expected at least one")?,
        cells,
    })
}

/// The number of features.
fn from_initial_states(network: &Network, parameters: &mut Vec<f32>) -> Result<usize, String> {
    let encoder: Vec<usize> = network.recurrent(Phase::Source).map(|(i, _)| i).collect();
    let features = network.reader(Phase::Begin).map(|(index, _)| index);
    let mut has_features = false;
    for (number, (index, cell)) in network.recurrent(Phase::Step).enumerate() {
        let refused = |found: &str| {
            Err(format!(
                "layer {number} with {found} as its initial state: expected zeros, the encoder's last state, or one dense layer with tanh over the features"
            ))
        };
        let Op::Recurrent { init, .. } = &network.layers()[index].op else {
            return refused("something else");
        };
        let init = &init[..1 + usize::from(cell.has_cell())];
        let mut biases: Vec<f32> = Vec::new();
        for (state, init) in init.iter().enumerate() {
            match init {
                InitialState::Zero | InitialState::External if encoder.is_empty() => {}
                InitialState::Vector(id) if !encoder.is_empty() => {
                    if (Some(&id.layer), id.is_cell_state) != (encoder.get(number), state == 1) {
                        return refused("another state of the encoder");
                    }
                }
                InitialState::Vector(id) => {
                    let layer = &network.layers()[id.layer];
                    let reads_features =
                        layer.inputs.iter().map(|id| Some(id.layer)).eq([features]);
                    match &layer.op {
                        Op::Dense(dense)
                            if reads_features && dense.activation == Activation::Tanh =>
                        {
                            has_features = true;
                            parameters.extend(&dense.w.data);
                            biases.extend(&dense.b);
                        }
                        _ => return refused("other layers"),
                    }
                }
                _ => return refused("something else"),
            }
        }
        if has_features && biases.len() != init.len() * cell.hidden() {
            return refused("zeros beside features");
        }
        parameters.extend(biases);
    }
    Ok(if has_features { network.features() } else { 0 })
}

/// The number of outputs, and whether the output layer's weights are the embedding.
fn from_output(
    network: &Network,
    hidden_size: usize,
    parameters: &mut Vec<f32>,
) -> Result<(usize, bool), String> {
    let layers = network.layers().iter();
    let layers: Vec<_> = layers.filter(|l| l.phase == Phase::Output).collect();
    let dense: Vec<&Dense> = layers.iter().filter_map(|layer| layer.dense()).collect();
    let (projection, output) = match dense[..] {
        [output] => (None, output),
        [projection, output] => (Some(projection), output),
        _ => {
            return Err(format!(
                "an output of {} dense layers: expected one, or two",
                dense.len()
            ));
        }
    };
    if layers.len() != dense.len() || network.outputs().len() != 1 {
        return Err(
            "an output of other layers than dense ones: expected one dense layer, or two".into(),
        );
    }
    if let Some(dense) = dense
        .iter()
        .find(|dense| dense.activation != Activation::Linear)
    {
        return Err(format!(
            "an output layer with activation {:?}: expected none",
            dense.activation
        ));
    }
    let tied = embedding(network, Phase::Step)?.is_some_and(|embedding| *embedding == output.w);
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
