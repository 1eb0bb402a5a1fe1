//! The batched model against PyTorch, against finite differences and against the plain step of the canonical network.

use chacha20::ChaCha8Rng;

use super::model_config::{ModelConfig, Pooling};
use super::network::{Batch, Sequences, TrainableNetwork};
use super::stack::DropoutRates;
use super::stack_config::StackConfig;
use super::to_network::{Vocabularies, from_network, to_network};
use crate::data::tokenizer::Vocabulary;
use crate::network::{Dense, Network, Op, Phase, Provenance, cross_entropy};
use crate::nn::random;
use crate::nn::rnn::Cells;
use crate::nn::softmax::Soft;

/// A language model in training whose states carry over, with its gradient.
struct Model {
    network: TrainableNetwork,
    rows: usize,
    state: Vec<f32>,
    gradient: Vec<f32>,
}

impl Model {
    fn new(config: ModelConfig, _steps: usize, rows: usize, dropout: f32) -> Self {
        let stack = &config.stack;
        let values: usize = (0..stack.cells.len())
            .map(|layer| stack.state_len(layer))
            .sum();
        let rates = DropoutRates {
            layers: dropout,
            embedding: 0.0,
        };
        Self {
            rows,
            state: vec![0.0; values * rows],
            gradient: vec![0.0; config.num_parameters()],
            network: TrainableNetwork::new(config, rates),
        }
    }

    fn state(&self) -> Vec<f32> {
        self.state.clone()
    }

    fn set_state(&mut self, state: &[f32]) {
        self.state = state.to_vec();
    }

    fn gradient(&self) -> &[f32] {
        &self.gradient
    }

    fn train(
        &mut self,
        parameters: &[f32],
        inputs: &[u16],
        targets: &[u16],
        random: &mut ChaCha8Rng,
    ) -> f64 {
        self.train_by(parameters, inputs, targets, None, random)
    }

    fn train_by(
        &mut self,
        parameters: &[f32],
        inputs: &[u16],
        targets: &[u16],
        soft: Option<&Soft>,
        random: &mut ChaCha8Rng,
    ) -> f64 {
        let batch = Batch {
            inputs: Sequences {
                tokens: inputs.to_vec(),
                lengths: vec![inputs.len() / self.rows; self.rows],
            },
            targets: targets.to_vec(),
            soft: soft.cloned(),
            ..Batch::default()
        };
        let (state, gradient) = (Some(&mut self.state), &mut self.gradient);
        self.network
            .loss_and_gradient(parameters, &batch, state, random, gradient)
    }
}

/// The canonical network of a language model.
fn canonical(config: &ModelConfig, parameters: &[f32], vocabulary: &Vocabulary) -> Network {
    let vocabularies = Vocabularies {
        input: vocabulary.clone(),
        ..Vocabularies::default()
    };
    to_network(config, parameters, &vocabularies, Provenance::default())
}

/// Sizes and parameters of a network.
fn back(network: &Network) -> Result<(ModelConfig, Vec<f32>), String> {
    from_network(network).map(|(config, parameters, _)| (config, parameters))
}

fn values(count: usize, phase: f64) -> Vec<f32> {
    (0..count)
        .map(|i| ((phase + 2.3 * (i * i) as f64).sin() * 0.5) as f32)
        .collect()
}

fn tokens(count: usize, v: usize, phase: usize) -> Vec<u16> {
    (0..count)
        .map(|i| ((i * i + 3 * i + phase) % v) as u16)
        .collect()
}

fn no_dropout() -> ChaCha8Rng {
    random::stream(0, random::Purpose::Dropout, 0, 0)
}

fn close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(
            error <= tolerance * (1.0 + expected.abs()),
            "{what} {i}: {found}, expected {expected}"
        );
    }
}

/// Without an embedding.
fn shape(tokens: usize, hidden: usize, cells: &str) -> ModelConfig {
    let cells: Cells = cells.parse().unwrap();
    ModelConfig {
        encoder: None,
        num_features: 0,
        stack: StackConfig {
            vocab_size: tokens,
            embedding_dim: None,
            hidden_size: hidden,
            cells: cells.stack(cells.len()).unwrap(),
        },
        output_size: tokens,
        pooling: Pooling::EveryStep,
        tie_embeddings: false,
        steps_per_token: 1,
    }
}

#[derive(serde::Deserialize)]
struct Golden {
    cells: String,
    tokens: usize,
    hidden: usize,
    steps: usize,
    batch: usize,
    inputs: Vec<u16>,
    targets: Vec<u16>,
    parameters: Vec<f32>,
    state: Vec<f32>,
    loss: f64,
    last_state: Vec<f64>,
    gradient: Vec<f64>,
}

/// `tests/golden/gradients.py` made the numbers.
#[test]
fn loss_states_and_gradients_are_those_of_pytorch() {
    let golden: Vec<Golden> =
        serde_json::from_str(include_str!("../../tests/golden/gradients.json")).unwrap();
    for golden in golden {
        let (cells, expected) = (&golden.cells, golden.loss);
        let shape = shape(golden.tokens, golden.hidden, cells);
        assert_eq!(shape.num_parameters(), golden.parameters.len(), "{cells}");
        let mut model = Model::new(shape, golden.steps, golden.batch, 0.0);
        model.set_state(&golden.state);
        let loss = model.train(
            &golden.parameters,
            &golden.inputs,
            &golden.targets,
            &mut no_dropout(),
        );
        assert!(
            (loss - expected).abs() < 1e-5,
            "{cells}: {loss}, expected {expected}"
        );
        let what = |what| format!("{cells}, {what}");
        close(&model.state(), &golden.last_state, 1e-6, &what("state"));
        close(model.gradient(), &golden.gradient, 2e-6, &what("gradient"));
    }
}

/// Sizes with and without remainders of vectors, 1 to 3 layers, and dropout, whose masks the same stream repeats.
#[test]
fn gradients_are_those_of_finite_differences() {
    for (v, hidden, cells, steps, batch, dropout, embedding, tied, steps_per_token) in [
        (5, 7, "gru", 5, 3, 0.0, None, false, 1),
        (1, 3, "gru,gru", 4, 1, 0.0, None, false, 1),
        (9, 16, "gru,gru", 3, 17, 0.0, None, false, 1),
        (4, 5, "gru,gru,gru", 4, 2, 0.5, None, false, 1),
        (17, 3, "gru", 2, 16, 0.3, None, false, 1),
        (5, 7, "lstm", 5, 3, 0.0, None, false, 1),
        (9, 16, "lstm,lstm", 3, 17, 0.0, None, false, 1),
        (17, 3, "lstm", 2, 16, 0.3, None, false, 1),
        (5, 7, "rnn", 5, 3, 0.0, None, false, 1),
        (9, 16, "rnn,rnn", 3, 17, 0.0, None, false, 1),
        (4, 5, "rnn,lstm,gru", 4, 2, 0.5, None, false, 1),
        (6, 5, "gru", 3, 4, 0.0, Some(3), false, 1),
        (6, 5, "gru", 3, 4, 0.0, Some(5), true, 1),
        (9, 7, "lstm,rnn", 3, 17, 0.3, Some(7), true, 1),
        (6, 5, "gru", 3, 4, 0.0, Some(3), true, 1),
        (9, 7, "rnn,gru", 3, 17, 0.3, Some(8), true, 2),
        (5, 3, "rnn,gru", 4, 2, 0.0, Some(9), false, 1),
        (6, 5, "gru", 3, 4, 0.3, Some(3), false, 2),
        (4, 5, "lstm,gru", 3, 2, 0.0, None, false, 3),
    ] {
        let mut shape = shape(v, hidden, cells);
        shape.stack.embedding_dim = embedding;
        (shape.tie_embeddings, shape.steps_per_token) = (tied, steps_per_token);
        let mut parameters = values(shape.num_parameters(), 1.0);
        let (inputs, targets) = (tokens(steps * batch, v, 1), tokens(steps * batch, v, 2));
        let mut model = Model::new(shape, steps, batch, dropout);
        let state = values(model.state().len(), 5.0);
        let mut loss = |parameters: &[f32]| {
            model.set_state(&state);
            let loss = model.train(parameters, &inputs, &targets, &mut no_dropout());
            (loss, model.gradient().to_vec())
        };
        let (_, gradient) = loss(&parameters);
        // Every part of the parameters, and within each every so many.
        let mut worst = 0f64;
        for i in (0..parameters.len()).step_by(1 + parameters.len() / 150) {
            let value = parameters[i];
            let step = 0.01;
            let mut at = |offset: f32| {
                parameters[i] = value + offset;
                let (loss, _) = loss(&parameters);
                parameters[i] = value;
                loss
            };
            // Five points: the error is of the fourth order, so that the step can be large against rounding.
            let slope = (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step)))
                / (12.0 * f64::from(step));
            worst = worst.max((slope - f64::from(gradient[i])).abs() / (1.0 + slope.abs()));
        }
        assert!(
            worst < 1e-3,
            "V {v}, H {hidden}, {cells}, dropout {dropout}, embedding {embedding:?}, tied {tied}: {worst}"
        );
    }
}

#[test]
fn heads_of_two_layers_that_are_not_trained_here_are_refused() {
    let mut shape = shape(6, 5, "gru");
    (shape.stack.embedding_dim, shape.tie_embeddings) = (Some(3), true);
    let vocabulary = Vocabulary::of_characters("abcdef").unwrap();
    let parameters = values(shape.num_parameters(), 1.0);
    let good = canonical(&shape, &parameters, &vocabulary);
    assert_eq!(back(&good), Ok((shape, parameters)));
    let refused = |change: fn(&mut [&mut Dense])| {
        let network = good.clone().with(|parts| {
            let dense = parts
                .layers
                .iter_mut()
                .filter_map(|layer| match &mut layer.op {
                    Op::Dense(dense) => Some(dense),
                    _ => None,
                });
            change(&mut dense.collect::<Vec<_>>());
        });
        back(&network.unwrap()).unwrap_err()
    };
    let said = refused(|dense| dense[0].b[1] = 0.5);
    assert!(said.contains("biases"), "{said}");
    let said = refused(|dense| dense[1].w.data[0] += 1.0);
    assert!(said.contains("two dense layers"), "{said}");
    let said = refused(|dense| dense[0].activation = crate::network::Activation::Tanh);
    assert!(said.contains("with activation Tanh"), "{said}");
}

/// The independent reading of the equations, one row at a time.
#[test]
fn the_batched_loss_is_that_of_the_plain_step() {
    let (v, hidden, steps, batch) = (6, 9, 11, 5);
    for (cells, embedding, tied, steps_per_token) in [
        ("gru,gru", None, false, 1),
        ("lstm,lstm", None, false, 1),
        ("rnn,rnn", None, false, 1),
        ("gru,rnn,lstm", None, false, 1),
        ("gru,lstm", Some(4), false, 1),
        ("lstm,gru", Some(9), true, 1),
        ("gru", Some(4), false, 2),
        ("gru", Some(4), true, 1),
        ("lstm,gru", Some(10), true, 2),
        ("lstm,rnn", None, false, 3),
    ] {
        let mut shape = shape(v, hidden, cells);
        shape.stack.embedding_dim = embedding;
        (shape.tie_embeddings, shape.steps_per_token) = (tied, steps_per_token);
        let parameters = values(shape.num_parameters(), 3.0);
        let vocabulary = Vocabulary::of_characters("abcdef").unwrap();
        let network = canonical(&shape, &parameters, &vocabulary);
        let again = back(&network).unwrap();
        assert_eq!(again, (shape.clone(), parameters.clone()), "{cells}");
        let (inputs, targets) = (tokens(steps * batch, v, 0), tokens(steps * batch, v, 4));
        let mut model = Model::new(shape, steps, batch, 0.0);
        // The second sequence goes on from the first one's states.
        let losses =
            [(); 2].map(|()| model.train(&parameters, &inputs, &targets, &mut no_dropout()));
        let mut expected = [0.0; 2];
        for row in 0..batch {
            let mut state = network.state();
            for expected in &mut expected {
                for t in 0..steps {
                    network.step(&mut state, inputs[t * batch + row]);
                    *expected += cross_entropy(&network.logits(&state), targets[t * batch + row]);
                }
            }
        }
        for (loss, expected) in losses.iter().zip(expected) {
            assert!(
                (loss - expected).abs() < 1e-4,
                "{cells}: {loss}, expected {expected}"
            );
        }
        assert!(
            (losses[0] - losses[1]).abs() > 1e-2,
            "{cells}: the state makes a difference"
        );
    }
}

/// The gradient is linear in what each prediction is told to be.
#[test]
fn soft_targets_are_the_mean_of_plain_ones() {
    let (v, steps, batch, weight) = (3, 4, 5, 0.75);
    let shape = shape(v, 6, "gru");
    let parameters = values(shape.num_parameters(), 2.0);
    let inputs = tokens(steps * batch, v, 0);
    let targets = tokens(steps * batch, v, 1);
    let gradient = |targets: &[u16], soft: Option<&Soft>| {
        let mut model = Model::new(shape.clone(), steps, batch, 0.0);
        model.train_by(&parameters, &inputs, targets, soft, &mut no_dropout());
        model.gradient().to_vec()
    };
    let said = [13107, 39321, 13107];
    let soft = Soft {
        weight,
        probabilities: vec![&said; steps * batch],
    };
    let found = gradient(&targets, Some(&soft));
    let mut expected: Vec<f32> = gradient(&targets, None);
    expected.iter_mut().for_each(|d| *d *= 1.0 - weight);
    for (token, p) in said.iter().enumerate() {
        let all = gradient(&vec![token as u16; steps * batch], None);
        let share = weight * f32::from(*p) / 65535.0;
        expected
            .iter_mut()
            .zip(all)
            .for_each(|(sum, d)| *sum += share * d);
    }
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    close(&found, &expected, 1e-5, "gradient");
}

#[test]
fn dropout_is_on_outputs_only_and_leaves_the_states() {
    let shape = shape(4, 8, "gru");
    let parameters = values(shape.num_parameters(), 2.0);
    let (inputs, targets) = (tokens(12, 4, 0), tokens(12, 4, 1));
    let run = |dropout| {
        let mut model = Model::new(shape.clone(), 4, 3, dropout);
        let loss = model.train(&parameters, &inputs, &targets, &mut no_dropout());
        (loss, model.state())
    };
    let (plain, dropped) = (run(0.0), run(0.5));
    assert_ne!(plain.0, dropped.0);
    assert_eq!(plain.1, dropped.1, "the recurrence itself is not dropped");
}

#[test]
fn first_weights_are_those_of_each_cell() {
    let (v, hidden) = (3, 70);
    let first = |cells: &str| {
        let shape = shape(v, hidden, cells);
        let vocabulary = Vocabulary::of_characters("abc").unwrap();
        canonical(&shape, &shape.initial_parameters(7), &vocabulary)
    };
    let bound = 1.0 / (hidden as f32).sqrt();
    let within = |values: &[f32]| values.iter().all(|value| value.abs() <= bound);
    let network = first("gru,lstm,rnn");
    let cells: Vec<_> = network.recurrent(Phase::Step).collect();
    let [gru, lstm, rnn] = [0, 1, 2].map(|layer| cells[layer].1.weights());
    assert!(within(&gru.0.data) && within(&gru.1.data) && within(gru.2) && within(gru.3));
    assert!(within(&lstm.0.data) && within(&lstm.1.data) && within(lstm.2));
    assert!(within(&rnn.0.data) && within(rnn.2));
    for i in 0..hidden {
        for j in 0..=i {
            let dot: f32 = rnn
                .1
                .row(i)
                .iter()
                .zip(rnn.1.row(j))
                .map(|(a, b)| a * b)
                .sum();
            let expected = f32::from(i == j);
            assert!((dot - expected).abs() < 1e-5, "rows {i} and {j}: {dot}");
        }
    }
}
