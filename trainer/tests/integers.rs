//! Networks of every shape in integers, run by the boards' own code, against the float networks that they came from.

use pipsqueak::{Model, Pcg32, encode};
use rand_core::Rng;
use std::path::PathBuf;
use trainer::eval::perplexity;
use trainer::inference::integer::IntegerNetwork;
use trainer::network::{
    Activation, Activations, Builder, Dense, ElementType, Gru, InitialState, Inputs, Lstm, Matrix,
    Network, Normalization, Op, Outputs, Phase, RecurrentCell, Rnn, SequenceModel, Signature,
    StateId, TensorRole, TensorSpec, VectorId,
};
use trainer::quantize::{QuantizeError, quantize};

/// What is read at each step.
enum Input {
    Tokens {
        count: usize,
        embedding: Option<Matrix>,
    },
    Frames {
        width: usize,
        dense: Vec<Dense>,
    },
    Features {
        width: usize,
        dense: Vec<Dense>,
        steps: usize,
    },
}

impl Input {
    fn width(&self) -> usize {
        match self {
            Input::Tokens { count, embedding } => embedding.as_ref().map_or(*count, |e| e.columns),
            Input::Frames { width, dense } | Input::Features { width, dense, .. } => {
                dense.last().map_or(*width, |last| last.w.rows)
            }
        }
    }
}

/// What a state is before the first step.
#[derive(PartialEq)]
enum Start {
    Zero,
    Given,
    Constant(Vec<f32>),
    Features(Vec<Dense>),
    Encoder(StateId, Vec<Dense>),
}

#[derive(Clone, Copy, PartialEq)]
enum Pooling {
    EveryStep,
    LastStep,
    Mean,
}

/// The parts of a network, or of an encoder.
struct Parts {
    input: Input,
    cells: Vec<RecurrentCell>,
    starts: Vec<[Start; 2]>,
    pooling: Pooling,
    output: Vec<Dense>,
    steps_per_token: usize,
}

impl Parts {
    fn features(&self) -> usize {
        if let Input::Features { width, .. } = self.input {
            return width;
        }
        let starts = self.starts.iter().flatten();
        let mut sizes = starts.filter_map(|start| match start {
            Start::Features(dense) => Some(dense[0].w.columns),
            _ => None,
        });
        sizes.next().unwrap_or(0)
    }

    /// Adds the layers that run in `phase`, and those that begin them; returns their recurrent layers, and the last result.
    fn push(
        &self,
        builder: &mut Builder,
        phase: Phase,
        features: Option<VectorId>,
        encoder: &[VectorId],
    ) -> (Vec<VectorId>, VectorId) {
        builder.steps_per_token(phase, self.steps_per_token);
        let name = if phase == Phase::Source {
            "encoder input"
        } else {
            "input"
        };
        let is_moved = self.is_moved();
        let mut x = None;
        if let Input::Features { dense, steps, .. } = &self.input {
            builder.fixed_steps(*steps);
            let dense = if is_moved { vec![] } else { dense.clone() };
            x = Some(builder.dense(Phase::Begin, name, features.unwrap(), dense));
        }
        let mut inits = Vec::new();
        for (number, starts) in self.starts.iter().enumerate() {
            inits.push([0, 1].map(|state| {
                let name = Builder::initial_name(phase, number, state == 1);
                match &starts[state] {
                    Start::Zero => InitialState::Zero,
                    Start::Given => InitialState::External,
                    Start::Constant(values) => {
                        let op = Op::Constant(values.clone());
                        InitialState::Vector(builder.push(name, Phase::Begin, vec![], op))
                    }
                    Start::Features(dense) => {
                        let x = features.unwrap();
                        let x = builder.dense(Phase::Begin, &name, x, dense.clone());
                        InitialState::Vector(x)
                    }
                    Start::Encoder(id, dense) => {
                        let x = VectorId {
                            layer: encoder[id.layer].layer,
                            is_cell_state: id.cell,
                        };
                        let x = builder.dense(Phase::Begin, &name, x, dense.clone());
                        InitialState::Vector(x)
                    }
                }
            }));
        }
        let mut x = match (&self.input, x) {
            (_, Some(x)) => x,
            (Input::Tokens { count, embedding }, _) => {
                builder.tokens(phase, *count, embedding.clone())
            }
            (Input::Frames { width, dense }, _) => {
                let x = builder.frames(phase, *width);
                let dense = if is_moved { vec![] } else { dense.clone() };
                builder.dense(phase, name, x, dense)
            }
            (Input::Features { .. }, None) => unreachable!(),
        };
        let mut layers = Vec::new();
        for (cell, init) in self.cells.iter().zip(inits) {
            x = builder.recurrent(phase, x, cell.clone(), init);
            layers.push(x);
        }
        (layers, x)
    }

    /// Whether the dense layers of the input, which no recurrent layer follows, are the output's.
    fn is_moved(&self) -> bool {
        self.cells.is_empty() && self.pooling != Pooling::Mean
    }

    fn network(&self, encoder: Option<&Parts>) -> Network {
        let mut builder = Builder::default();
        let all = [(Phase::Source, encoder), (Phase::Step, Some(self))];
        let sizes = all.map(|(phase, parts)| (phase, parts.map_or(0, Parts::features)));
        let features = sizes.into_iter().find(|(_, size)| *size > 0);
        let features = features.map(|(phase, size)| builder.features(phase, size));
        let source =
            encoder.map(|encoder| encoder.push(&mut builder, Phase::Source, features, &[]));
        let source = source.map_or(vec![], |(layers, _)| layers);
        let (_, mut x) = self.push(&mut builder, Phase::Step, features, &source);
        if self.pooling == Pooling::Mean {
            x = builder.mean(x);
        }
        let mut dense = match &self.input {
            Input::Frames { dense, .. } | Input::Features { dense, .. } if self.is_moved() => {
                dense.clone()
            }
            _ => vec![],
        };
        dense.extend(self.output.iter().cloned());
        let phase = builder.output_phase();
        let y = builder.dense(phase, "head", x, dense);
        let every_step = self.pooling == Pooling::EveryStep;
        builder.output("head", y, every_step, Normalization::None);
        let output = TensorSpec {
            name: "head".into(),
            element: ElementType::Float,
            shape: vec![],
            role: TensorRole::Output,
        };
        let signature = Signature {
            inputs: vec![],
            outputs: vec![output],
        };
        let network = builder.build().unwrap();
        let signatures = [Signature::default(), signature];
        network.with_signatures(signatures).unwrap()
    }
}

/// Random parts of networks.
struct Random(Pcg32);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0.next_u32() as usize % end
    }

    /// Uniform numbers in -largest to largest.
    fn values(&mut self, count: usize, largest: f32) -> Vec<f32> {
        let unit = |x: u32| x as f32 / u32::MAX as f32 * 2.0 - 1.0;
        (0..count)
            .map(|_| unit(self.0.next_u32()) * largest)
            .collect()
    }

    fn matrix(&mut self, rows: usize, columns: usize) -> Matrix {
        let largest = 1.5 / (columns as f32).sqrt();
        let data = self.values(rows * columns, largest);
        Matrix::new(rows, columns, data)
    }

    fn layer(&mut self, inputs: usize) -> RecurrentCell {
        let units = 1 + self.below(9);
        let kind = self.below(4);
        let gates = [3, 3, 4, 1][kind];
        let (w, r) = (
            self.matrix(gates * units, inputs),
            self.matrix(gates * units, units),
        );
        let (wb, rb) = (
            self.values(gates * units, 0.5),
            self.values(gates * units, 0.5),
        );
        let activations = Activations::default();
        match kind {
            0 | 1 => RecurrentCell::Gru(Gru {
                w,
                r,
                wb,
                rb,
                linear_before_reset: kind == 0,
                activations,
            }),
            2 => RecurrentCell::Lstm(Lstm {
                w,
                r,
                wb,
                rb,
                activations,
            }),
            _ => RecurrentCell::Rnn(Rnn {
                w,
                r,
                wb,
                rb,
                activation: Activation::Tanh,
            }),
        }
    }

    /// Dense layers from `inputs` to `outputs`, or to anything.
    fn dense(&mut self, count: usize, mut inputs: usize, outputs: Option<usize>) -> Vec<Dense> {
        let mut list = Vec::new();
        for index in 0..count {
            let last = outputs.filter(|_| index + 1 == count);
            let rows = last.unwrap_or(1 + self.below(9));
            let activation = [
                Activation::Linear,
                Activation::Relu,
                Activation::Tanh,
                Activation::Sigmoid,
            ][self.below(4)];
            list.push(Dense {
                w: self.matrix(rows, inputs),
                b: self.values(rows, 0.5),
                activation,
            });
            inputs = rows;
        }
        list
    }

    fn start(&mut self, units: usize, features: usize, encoder: Option<&Parts>) -> Start {
        match self.below(4) {
            0 => Start::Zero,
            1 => Start::Given,
            2 => Start::Constant(self.values(units, 3.0)),
            _ if features > 0 => {
                let count = 1 + self.below(2);
                Start::Features(self.dense(count, features, Some(units)))
            }
            _ => {
                let Some(encoder) = encoder else {
                    return Start::Given;
                };
                let layer = self.below(encoder.cells.len());
                let from = &encoder.cells[layer];
                let cell = from.has_cell() && self.below(2) == 0;
                let count = usize::from(from.hidden() != units) + self.below(2);
                let dense = self.dense(count, from.hidden(), Some(units));
                Start::Encoder(StateId { layer, cell }, dense)
            }
        }
    }

    /// Parts of any shape; `encoder` is what they may begin with.
    fn parts(&mut self, encoder: Option<&Parts>) -> Parts {
        let features = [0, 1 + self.below(5)][self.below(2)] * usize::from(encoder.is_none());
        let count = 2 + self.below(9);
        let input = match self.below(5) {
            0 => Input::Tokens {
                count,
                embedding: None,
            },
            1 | 2 => {
                let columns = 1 + self.below(9);
                Input::Tokens {
                    count,
                    embedding: Some(Matrix::new(
                        count,
                        columns,
                        self.values(count * columns, 2.0),
                    )),
                }
            }
            3 if features > 0 => {
                let dense = self.below(3);
                Input::Features {
                    width: features,
                    dense: self.dense(dense, features, None),
                    steps: 1 + self.below(5),
                }
            }
            _ => {
                let (width, dense) = (1 + self.below(6), self.below(3));
                Input::Frames {
                    width,
                    dense: self.dense(dense, width, None),
                }
            }
        };
        let onehot = matches!(
            input,
            Input::Tokens {
                embedding: None,
                ..
            }
        );
        let layers = self.below(4).max(usize::from(onehot));
        let mut width = input.width();
        let layers: Vec<RecurrentCell> = (0..layers)
            .map(|_| {
                let layer = self.layer(width);
                width = layer.hidden();
                layer
            })
            .collect();
        let starts = layers
            .iter()
            .map(|layer| {
                let hidden = self.start(layer.hidden(), features, encoder);
                let cell = match layer.has_cell() {
                    true => self.start(layer.hidden(), features, encoder),
                    false => Start::Zero,
                };
                [hidden, cell]
            })
            .collect();
        let heads = self.below(3).max(usize::from(layers.is_empty()));
        let mut dense = self.dense(heads, width, None);
        if let (
            Input::Tokens {
                embedding: Some(embedding),
                ..
            },
            Some(last),
        ) = (&input, dense.last_mut())
        {
            // Where it may be, the embedding is the output layer's.
            if last.w.columns == embedding.columns {
                *last = Dense::linear(embedding.clone(), vec![0.0; embedding.rows]);
            }
        }
        let pooling = [Pooling::EveryStep, Pooling::LastStep, Pooling::Mean][self.below(3)];
        // A decoder generates at every step.
        let pooling = match encoder {
            Some(_) => Pooling::EveryStep,
            None => pooling,
        };
        Parts {
            steps_per_token: match input {
                Input::Tokens { .. } => 1 + count % 2,
                _ => 1,
            },
            input,
            cells: layers,
            starts,
            pooling,
            output: dense,
        }
    }

    fn inputs(&mut self, encoder: Option<&Parts>, own: &Parts) -> Inputs {
        let mut inputs = Inputs::default();
        let all = [(Phase::Step, Some(own)), (Phase::Source, encoder)];
        for (phase, parts) in all {
            let Some(parts) = parts else {
                continue;
            };
            let steps = 1 + self.below(6);
            let read = match phase {
                Phase::Source => &mut inputs.source,
                _ => &mut inputs.step,
            };
            match &parts.input {
                Input::Tokens { count, .. } => {
                    read.tokens = (0..steps).map(|_| self.below(*count)).collect();
                }
                Input::Frames { width, .. } => read.frames = self.values(steps * width, 3.0),
                Input::Features { .. } => {}
            }
            inputs.features.extend(self.values(parts.features(), 3.0));
            for (layer, starts) in parts.starts.iter().enumerate() {
                for (cell, start) in [false, true].into_iter().zip(starts) {
                    if *start == Start::Given {
                        let values = self.values(parts.cells[layer].hidden(), 2.0);
                        read.states.push((StateId { layer, cell }, values));
                    }
                }
            }
        }
        inputs
    }
}

/// The largest difference of any output or state, as a part of the largest value, or of 1.
fn difference(float: &Outputs, integer: &Outputs) -> f32 {
    let vectors = |outputs: &Outputs| -> Vec<Vec<f32>> {
        let states = outputs.states.iter();
        let states = states.flat_map(|states| states.hidden.iter().chain(&states.cell));
        outputs.values.iter().chain(states).cloned().collect()
    };
    let (float, integer) = (vectors(float), vectors(integer));
    assert_eq!(float.len(), integer.len());
    let mut worst = 0f32;
    for (float, integer) in float.iter().zip(&integer) {
        assert_eq!(float.len(), integer.len());
        let largest = float.iter().fold(1f32, |a, b| a.max(b.abs()));
        for (a, b) in float.iter().zip(integer) {
            worst = worst.max((a - b).abs() / largest);
        }
    }
    worst
}

#[test]
fn networks_of_every_shape_are_near_float() {
    let (mut sum, mut worst, mut run) = (0.0, 0f32, 0);
    for seed in 0..600 {
        let mut random = Random(Pcg32::new(seed, 3));
        let encoder = (random.below(3) == 0).then(|| {
            let mut encoder = random.parts(None);
            while encoder.cells.is_empty() {
                encoder = random.parts(None);
            }
            // Its states are all that a model has of it.
            encoder.pooling = Pooling::LastStep;
            encoder.output.clear();
            encoder
        });
        let parts = random.parts(encoder.as_ref());
        let network = parts.network(encoder.as_ref());
        let quantized = match quantize(&network) {
            // More layers than a model holds, or a mean that it lacks.
            Err(QuantizeError::TooLarge { .. }) => continue,
            Err(QuantizeError::Shape { found, .. }) if found.starts_with("a mean over") => continue,
            quantized => quantized.unwrap_or_else(|error| panic!("seed {seed}: {error}")),
        };
        let words = encode::encode(&quantized.params)
            .unwrap_or_else(|error| panic!("seed {seed}: {error} {network:?}"));
        let model = Model::parse(encode::as_bytes(&words)).unwrap();
        let inputs = random.inputs(encoder.as_ref(), &parts);
        let integer = IntegerNetwork::new(&model).unwrap().run_sequence(&inputs);
        let difference = difference(&network.run(&inputs), &integer);
        if difference > 0.05 {
            println!("seed {seed}: {difference} {:?}", quantized.assumptions);
        }
        sum += difference;
        run += 1;
        worst = worst.max(difference);
    }
    let mean = sum / run as f32;
    assert!(run > 400, "{run} networks");
    println!("{run} networks: mean {mean}, worst {worst}");
    assert!(mean < 0.01 && worst < 0.1, "mean {mean}, worst {worst}");
}

/// A text of about 60 KB that is always there: this crate's own.
const TEXT: &str = concat!(
    include_str!("../src/data/tokenizer/file.rs"),
    include_str!("../src/onnx/graph.rs"),
    include_str!("../src/quantize/mod.rs"),
);

#[test]
fn language_models_of_every_cell_lose_less_than_two_thousandths_of_a_nat() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("text.txt"), TEXT).unwrap();
    for cells in ["gru", "lstm", "rnn", "lstm,gru"] {
        let (text, out) = (path("text.txt"), path(cells));
        let layers = (1 + cells.matches(',').count()).to_string();
        let arguments = [
            "trainer",
            "train",
            &text,
            "--out",
            &out,
            "--quiet",
            "--cell",
            cells,
            "--layers",
            &layers,
            "--hidden-size",
            "32",
            "--steps",
            "400",
            "--batch-size",
            "16",
            "--seq-len",
            "32",
        ];
        let cli = <trainer::cli::Cli as clap::Parser>::try_parse_from(arguments).unwrap();
        cli.run().unwrap();
        let model = PathBuf::from(out).join("model.onnx");
        let trainer::inference::model::Model::Float(network) =
            trainer::inference::model::Model::open(&model).unwrap()
        else {
            panic!("a network");
        };
        let words = encode::encode(&quantize(&network).unwrap().params).unwrap();
        let model = Model::parse(encode::as_bytes(&words)).unwrap();
        let start = TEXT.ceil_char_boundary(TEXT.len() - TEXT.len() / 5);
        let tokens = network
            .vocabulary()
            .encode(&TEXT[start..], true)
            .unwrap()
            .tokens;
        let float = perplexity::float(&network, &tokens, || ()).nats_per_token;
        let integer = perplexity::integer(&model, &tokens, || ())
            .unwrap()
            .nats_per_token;
        println!(
            "{cells}: {float:.4} nats in float, {:+.5} in integers",
            integer - float
        );
        // It has learned something.
        assert!(float < 3.0, "{cells}: {float}");
        assert!(
            (integer - float).abs() <= 0.002,
            "{cells}: {float}, {integer}"
        );
    }
}

/// Insertions, deletions and replacements that make `b` of `a`.
fn edits(a: &[&str], b: &[&str]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j].min(row[j + 1]) + 1);
        }
    }
    row[b.len()]
}

/// A real encoder and decoder from two files of others, in one image, word by word.
#[test]
fn spelling_to_phonemes() {
    let Some(data) = std::env::var_os("PIPSQUEAK_DATA").map(PathBuf::from) else {
        println!("PIPSQUEAK_DATA is not set");
        return;
    };
    let folder = data.join("cases/g2p_en");
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("g2p.pip");
    let file = |name: &str| folder.join(name).display().to_string();
    let arguments = [
        "trainer".into(),
        "export".into(),
        file("encoder.onnx"),
        file("decoder.onnx"),
        "--vocab".into(),
        file("vocabulary.json"),
        "--json".into(),
        "--out".into(),
        out.display().to_string(),
    ];
    let cli = <trainer::cli::Cli as clap::Parser>::try_parse_from(arguments).unwrap();
    cli.run().unwrap();
    let trainer::inference::model::Model::Integer(bytes) =
        trainer::inference::model::Model::open(&out).unwrap()
    else {
        panic!("an image");
    };
    let image = bytes.model();
    let mut workspace = vec![0; image.workspace_len()];
    let settings = pipsqueak::SamplingParams {
        temperature: pipsqueak::Temperature::GREEDY,
        ..Default::default()
    };
    let mut generator = pipsqueak::Generator::new(&image, &mut workspace, settings).unwrap();
    let words = std::fs::read_to_string(folder.join("words.tsv")).unwrap();
    let (mut same, mut count) = (0, 0);
    // Of float and of integers, by the nearest pronunciation, and phonemes of that.
    let (mut errors, mut phonemes) = ([0, 0], [0, 0]);
    for line in words.lines() {
        let [word, float, dictionary] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        generator.reset(settings);
        generator.encode_source(word).unwrap();
        let said: Vec<u8> = generator.by_ref().flatten().copied().collect();
        let said = String::from_utf8(said).unwrap();
        same += usize::from(said == float);
        count += 1;
        if said != float {
            println!("{word}: {said}, in float {float}");
        }
        for (side, said) in [float, &said].into_iter().enumerate() {
            let said: Vec<&str> = said.split(' ').collect();
            let references = dictionary.split(" | ").map(|reference| {
                let reference: Vec<&str> = reference.split(' ').collect();
                (edits(&said, &reference), reference.len())
            });
            let (edits, length) = references.min().unwrap();
            errors[side] += edits;
            phonemes[side] += length;
        }
    }
    let rate = |side: usize| 100.0 * errors[side] as f64 / phonemes[side] as f64;
    let (float, integer) = (rate(0), rate(1));
    println!(
        "{same} of {count} words as in float; phoneme error {float:.2} % in float, {integer:.2} % in integers; {} bytes",
        image.len()
    );
    assert!(same * 1000 >= count * 975, "{same} of {count}");
    assert!((integer - float).abs() <= 0.2, "{float} {integer}");
    assert!(image.len() <= 520 * 1024, "{}", image.len());
}
