//! The quantized network, run by the boards' own code, against the float network that it came from.

use pipsqueak::encode::{
    DenseParams, ModelParams, OpParams, QuantizedMatrix, RecurrentParams, TokenRows, as_bytes,
    encode,
};
use pipsqueak::{Model, Pcg32, Session, WeightFormat};
use rand_core::Rng;
use trainer::data::examples::ExampleSet;
use trainer::data::task::Task;
use trainer::data::tokenizer::Vocabulary;
use trainer::network::formats::{INT4, INT8, INT8_INT4, WeightFormats};
use trainer::network::{
    Activation, Activations, Dense, Gru, Matrix, Network, NetworkParts, Op, Phase, Provenance,
    RecurrentCell, TensorScales,
};
use trainer::nn::rnn::Cells;
use trainer::quantize::{Options, QuantizeError, project_to_grid, quantize, quantize_with};
use trainer::training::model_config::{ModelConfig, Pooling};
use trainer::training::stack_config::StackConfig;
use trainer::training::to_network::{Vocabularies, to_network};

/// Uniform numbers in -largest to largest.
fn values(rng: &mut Pcg32, count: usize, largest: f32) -> Vec<f32> {
    (0..count)
        .map(|_| (rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) * largest)
        .collect()
}

fn gru(rng: &mut Pcg32, inputs: usize, hidden: usize, linear_before_reset: bool) -> RecurrentCell {
    let recurrent = 2.0 / (hidden as f32).sqrt();
    let input = if inputs > 8 {
        2.0 / (inputs as f32).sqrt()
    } else {
        1.5
    };
    RecurrentCell::Gru(Gru {
        w: Matrix::new(3 * hidden, inputs, values(rng, 3 * hidden * inputs, input)),
        r: Matrix::new(
            3 * hidden,
            hidden,
            values(rng, 3 * hidden * hidden, recurrent),
        ),
        wb: values(rng, 3 * hidden, 0.5),
        rb: values(rng, 3 * hidden, 0.5),
        linear_before_reset,
        activations: Activations::default(),
    })
}

/// The first recurrent layer.
fn first(parts: &mut NetworkParts) -> &mut Gru {
    let mut ops = parts.layers.iter_mut().map(|layer| &mut layer.op);
    let cell = ops.find_map(|op| match op {
        Op::Recurrent { cell, .. } => Some(cell),
        _ => None,
    });
    match cell {
        Some(RecurrentCell::Gru(gru)) => gru,
        _ => panic!("a GRU"),
    }
}

/// The last dense layer.
fn output(parts: &mut NetworkParts) -> &mut Dense {
    match parts.layers.last_mut().map(|layer| &mut layer.op) {
        Some(Op::Dense(dense)) => dense,
        _ => panic!("a dense layer"),
    }
}

/// The network with other weights.
fn changed(network: &Network, change: impl FnOnce(&mut NetworkParts)) -> Network {
    network.clone().with(change).unwrap()
}

/// The embedding of the network's tokens.
fn table(network: &Network) -> &Matrix {
    match network.reader(Phase::Step).map(|(_, layer)| &layer.op) {
        Some(Op::Token {
            embedding: Some(table),
            ..
        }) => table,
        _ => panic!("an embedding"),
    }
}

/// A network over `tokens` characters; an `embedding` of 0 takes one-hot tokens.
fn network(seed: u64, tokens: usize, embedding: usize, layers: &[(usize, bool)]) -> Network {
    let rng = &mut Pcg32::new(seed, 1);
    let characters = (0..tokens as u32).map(|i| char::from_u32(0x100 + i).unwrap().to_string());
    let table = (embedding > 0)
        .then(|| Matrix::new(tokens, embedding, values(rng, tokens * embedding, 2.0)));
    let mut inputs = if embedding > 0 { embedding } else { tokens };
    let mut stack = Vec::new();
    for &(hidden, linear_before_reset) in layers {
        stack.push(gru(rng, inputs, hidden, linear_before_reset));
        inputs = hidden;
    }
    let w = Matrix::new(tokens, inputs, values(rng, tokens * inputs, 1.0));
    Network::language_model(
        Vocabulary::new(characters.collect()).unwrap(),
        table,
        stack,
        1,
        vec![Dense::linear(w, values(rng, tokens, 1.0))],
        Provenance::default(),
    )
    .unwrap()
}

/// Root of the mean squared difference of states and of logits over 24 steps.
fn differences(network: &Network) -> (f64, f64) {
    differences_of(network, &quantize(network).unwrap().params)
}

/// The recurrent layers of a model and their places in its list.
fn recurrent(params: &ModelParams) -> Vec<(usize, RecurrentParams)> {
    let layers = params.layers.iter().enumerate();
    let recurrent = layers.filter_map(|(index, layer)| match &layer.op {
        OpParams::Recurrent(recurrent) => Some((index, recurrent.clone())),
        _ => None,
    });
    recurrent.collect()
}

/// How a language model reads its tokens.
fn kind(params: &ModelParams) -> &'static str {
    let rows = params.layers.iter().find_map(|layer| match &layer.op {
        OpParams::Token { rows, .. } => Some(rows),
        _ => None,
    });
    match rows {
        Some(TokenRows::Gates(_)) => "table",
        Some(TokenRows::Embedding { .. }) => "embedding",
        _ => "another",
    }
}

/// The last layer of a language model.
fn head<'p>(params: &'p ModelParams) -> &'p DenseParams {
    match params.layers.last().map(|layer| &layer.op) {
        Some(OpParams::Dense(dense)) => dense,
        _ => panic!("a dense layer"),
    }
}

fn differences_of(network: &Network, params: &ModelParams) -> (f64, f64) {
    let words = encode(params).unwrap();
    let model = Model::parse(as_bytes(&words)).unwrap();
    let mut workspace = vec![0; model.workspace_len()];
    let mut integer = Session::new(&model, &mut workspace).unwrap();
    let layers = recurrent(params);
    let mut float = network.state();
    let (mut states, mut logits) = (vec![], vec![]);
    for step in 0..24usize {
        let token = (step * 7919 % network.tokens()) as u16;
        network.step(&mut float, token);
        integer.push_token(token).unwrap();
        for (layer, _) in &layers {
            let hidden = float.result(*layer).iter();
            let pairs = hidden.zip(integer.hidden(*layer).unwrap());
            states.extend(pairs.map(|(f, &mut i)| f64::from(*f) - f64::from(i) / 32768.0));
        }
        let one = f64::from(1 << model.output().unwrap().frac_bits());
        let pairs = network
            .logits(&float)
            .into_iter()
            .zip(integer.logits().unwrap().to_vec());
        logits.extend(pairs.map(|(f, i)| f64::from(f) - f64::from(i) / one));
    }
    let rms =
        |values: Vec<f64>| (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
    (rms(states), rms(logits))
}

#[test]
fn integers_follow_float_at_every_size() {
    for after in [true, false] {
        for size in [1usize, 3, 17, 24, 65, 100, 127, 1024] {
            let wide = size.min(127);
            for network in [
                network(1, size, 0, &[(wide, after)]),
                network(2, 20, 0, &[(size, after)]),
                network(3, size, 5, &[(9, after)]),
                network(4, 30, wide, &[(6, after), (wide, !after), (5, after)]),
            ] {
                let (states, logits) = differences(&network);
                let units = network.layers().last().unwrap().dense().unwrap().w.columns as f64;
                assert!(states < 0.01, "states {states}, size {size}, after {after}");
                assert!(
                    logits < 0.012 * units.sqrt() + 0.01,
                    "logits {logits}, {units} units"
                );
            }
        }
    }
}

#[test]
fn two_steps_for_a_token_are_two_steps() {
    for (embedding, layers) in [(0, &[(24, true)][..]), (5, &[(17, false), (9, true)])] {
        let network = network(11, 20, embedding, layers);
        let mut once = network.state();
        [3, 3, 7, 7]
            .into_iter()
            .for_each(|token| network.step(&mut once, token));
        let network = changed(&network, |parts| parts.steps_per_token[1] = 2);
        let mut twice = network.state();
        [3, 7]
            .into_iter()
            .for_each(|token| network.step(&mut twice, token));
        assert_eq!(once, twice);
        let (states, logits) = differences(&network);
        assert!(states < 0.01 && logits < 0.07, "{states} {logits}");
    }
}

/// Everything in 4 bits.
fn four<'s>() -> Options<'s> {
    Options {
        layers: vec![INT4],
        head: Some(WeightFormat::Int4),
        ..Options::default()
    }
}

/// What rows of 4 bits stand for, `[rows][columns]`, by the units of their grid.
fn meant(rows: &QuantizedMatrix, units: &[f32]) -> Vec<f32> {
    let width = rows.format.num_columns();
    let groups = width.div_ceil(32);
    assert!(rows.format.columns.contains(&0), "one part");
    let value = |i: usize| {
        let scale = rows.scales[i / width * groups + i % width / 32];
        units[i / width] * f32::from(scale) * f32::from(rows.weights[i])
    };
    (0..rows.weights.len()).map(value).collect()
}

/// A network whose weights stand on a grid loses as little as one of 8 bits does, and comes back to that grid exactly.
#[test]
fn weights_on_a_grid_are_found_on_it_again() {
    let original = network(12, 30, 0, &[(70, true)]);
    let first_time = quantize_with(&original, &four()).unwrap();
    let (layers, grids) = (recurrent(&first_time.params), &first_time.group_scales);
    let names: Vec<&str> = grids.keys().map(String::as_str).collect();
    let gates = ["layer 0 gate h", "layer 0 gate r", "layer 0 gate z"];
    assert_eq!(names, [&["head"][..], &gates].concat());
    let on_grid = |gate: usize, letter: &str| {
        let grid = &grids[&format!("layer 0 gate {letter}")];
        meant(&layers[0].1.gates[gate], &grid.row_scales)
    };
    let on_grids = [on_grid(0, "z"), on_grid(1, "r"), on_grid(2, "h")].concat();
    let head_on_grid = meant(&head(&first_time.params).matrix, &grids["head"].row_scales);
    // Rounding to 4 bits moves a weight by half a step at most, of about seven to the largest.
    let before = &original
        .recurrent(Phase::Step)
        .next()
        .unwrap()
        .1
        .weights()
        .1
        .data;
    let pairs = || on_grids.iter().zip(before);
    let error: f32 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
    let squares: f32 = pairs().map(|(_, b)| b * b).sum();
    let relative = (error / squares).sqrt();
    assert!((0.02..0.1).contains(&relative), "{relative}");

    let mut network = changed(&original, |parts| {
        first(parts).r.data = on_grids;
        output(parts).w.data = head_on_grid;
    });
    network.group_scales = grids.clone();
    // Its own grids are enough.
    let again = quantize(&network).unwrap();
    assert_eq!(again.group_scales, first_time.group_scales);
    let found = recurrent(&again.params);
    for (found, expected) in found[0].1.gates.iter().zip(&layers[0].1.gates) {
        assert_eq!(
            (&found.weights, &found.scales),
            (&expected.weights, &expected.scales)
        );
    }
    let weights = |params| head(params).matrix.weights.clone();
    assert_eq!(weights(&again.params), weights(&first_time.params));
    let (states, logits) = differences_of(&network, &again.params);
    assert!(
        states < 0.01 && logits < 0.012 * 70f64.sqrt() + 0.01,
        "{states} {logits}"
    );
    // 8 bits can be had all the same.
    let eight = Options {
        layers: vec![INT8],
        head: Some(WeightFormat::Int8),
        ..Options::default()
    };
    let eight = quantize_with(&network, &eight).unwrap();
    assert!(eight.group_scales.is_empty());
    assert!(recurrent(&eight.params)[0].1.gates[0].scales.is_empty());
}

/// The bytes of the image of `network`.
fn image(network: &Network, options: &Options) -> Vec<u8> {
    let words = encode(&quantize_with(network, options).unwrap().params).unwrap();
    as_bytes(&words).to_vec()
}

/// 8 bits over the input and 4 over the state: searched, on the grid that was found, and read from a file with that grid.
#[test]
fn mixed_widths_are_the_same_image_again_from_a_file() {
    for (tokens, embedding, layers) in [
        (30, 6, &[(40, true), (24, false)][..]),
        (90, 40, &[(40, false), (9, true)]),
    ] {
        let network = network(15, tokens, embedding, layers);
        let mixed = |layers: &[WeightFormats]| Options {
            layers: layers.to_vec(),
            ..Options::default()
        };
        let options = mixed(&[INT8_INT4, INT4]);
        let once = quantize_with(&network, &options).unwrap();
        let found = recurrent(&once.params);
        assert_eq!(kind(&once.params), "embedding");
        let widths = |params: &ModelParams| {
            let layers = recurrent(params);
            [layers[0].1.formats, layers[1].1.formats]
        };
        assert_eq!(widths(&once.params), [INT8_INT4, INT4]);

        // The input's scale is the least that reaches its largest weight; the weights are to nearest.
        let table = table(&network);
        let largest = |column: usize| {
            let values = (0..table.rows).map(|row| table.row(row)[column].abs());
            values.fold(0.0, f32::max)
        };
        let scales: Vec<f64> = (0..embedding)
            .map(|column| f64::from(largest(column)) * 128.0 / 127.0)
            .collect();
        let (w, _, _, _) = network.recurrent(Phase::Step).next().unwrap().1.weights();
        let units = layers[0].0;
        let (rows, grid) = (&found[0].1.gates[0], &once.group_scales["layer 0 gate z"]);
        let groups = 1 + units.div_ceil(32);
        assert_eq!(grid.scales.len(), units * groups);
        assert!(grid.input_8bit && !once.group_scales["layer 1 gate z"].input_8bit);
        for row in 0..units {
            let pairs = w.row(row).iter().zip(&scales);
            let folded: Vec<f64> = pairs.map(|(w, s)| f64::from(*w) * s).collect();
            let largest = folded.iter().fold(0.0, |a: f64, w| a.max(w.abs()));
            let (unit, scale) = (f64::from(grid.row_scales[row]), grid.scales[row * groups]);
            let reaches = |scale: u8| unit * f64::from(scale) * 127.0 >= largest * 0.999_999;
            assert!(reaches(scale) && (scale == 1 || !reaches(scale - 1)));
            let weights = &rows.weights[row * (embedding + units)..][..embedding];
            for (&found, wanted) in weights.iter().zip(&folded) {
                let wanted = wanted / unit / f64::from(scale);
                assert!((f64::from(found) - wanted).abs() < 0.500_1, "{wanted}");
            }
        }

        let expected = image(&network, &options);
        let rounded = project_to_grid(&network, &options).unwrap();
        assert_eq!(image(&rounded, &Options::default()), expected);
        let file = trainer::onnx::write(&rounded);
        let read = trainer::onnx::read(&file).unwrap();
        assert_eq!(read.group_scales, rounded.group_scales);
        assert_eq!(image(&read, &Options::default()), expected);
        // Other widths can be had all the same.
        for bits in [INT4, INT8] {
            let other = quantize_with(&read, &mixed(&[bits])).unwrap();
            assert_eq!(widths(&other.params), [bits; 2]);
            encode(&other.params).unwrap();
        }
        // 8 bits lose less than 4.
        let loss = |bits: &[WeightFormats]| {
            let params = quantize_with(&network, &mixed(bits)).unwrap().params;
            differences_of(&network, &params).0
        };
        let [mixed, four] = [loss(&options.layers), loss(&[INT4])];
        assert!(mixed < 0.9 * four && four < 0.2, "{mixed} {four}");
    }
}

/// Two layers of 40 units and an embedding of 24; the second layer reads by weights that are `large` times the others.
fn task_network(task: Task, cells: &str, large: f32) -> Network {
    let stack = |vocab_size| StackConfig {
        vocab_size,
        embedding_dim: Some(24),
        hidden_size: 40,
        cells: cells.parse::<Cells>().unwrap().stack(2).unwrap(),
    };
    let letters = |count| Vocabulary::of_characters(&"abcdefghijklmnopqrstuvwxyz"[..count]);
    let (source, target) = (letters(20).unwrap(), letters(25).unwrap());
    let has_features = task == Task::ConditionalGenerator;
    let is_classifier = task == Task::Classifier;
    let config = ModelConfig {
        encoder: (task == Task::SequenceToSequence).then(|| stack(20)),
        num_features: if has_features { 2 } else { 0 },
        stack: stack(if is_classifier { 20 } else { 25 }),
        output_size: 25,
        pooling: if is_classifier {
            Pooling::LastStep
        } else {
            Pooling::EveryStep
        },
        tie_embeddings: false,
        steps_per_token: 1,
    };
    let examples = ExampleSet {
        source: (!has_features).then_some(source),
        feature_names: ["a", "b"].map(String::from)[..config.num_features].to_vec(),
        target,
        train: Vec::new(),
        dev: Vec::new(),
        test: Vec::new(),
        skipped: 0,
        notices: Vec::new(),
    };
    let parameters = values(&mut Pcg32::new(17, 1), config.num_parameters(), 0.4);
    let vocabularies = Vocabularies::of_examples(task, &examples);
    let network = to_network(&config, &parameters, &vocabularies, Default::default());
    changed(&network, |parts| {
        let cells = parts
            .layers
            .iter_mut()
            .filter_map(|layer| match &mut layer.op {
                Op::Recurrent { cell, .. } if layer.phase == Phase::Step => Some(cell),
                _ => None,
            });
        let w = match cells.last().unwrap() {
            RecurrentCell::Gru(gru) => &mut gru.w,
            RecurrentCell::Lstm(lstm) => &mut lstm.w,
            RecurrentCell::Rnn(rnn) => &mut rnn.w,
        };
        w.data.iter_mut().for_each(|w| *w *= large);
    })
}

/// Whatever what weights read is worth in integers: an embedding, the rows of a tied head, states that share a row's scale.
#[test]
fn rounded_networks_are_the_images_that_their_grids_were_found_for() {
    let widths = [
        (vec![INT4], WeightFormat::Int4),
        (vec![INT8_INT4, INT4, INT8_INT4, INT4], WeightFormat::Int4),
        (vec![INT4], WeightFormat::Int8),
        (vec![INT8], WeightFormat::Int4),
    ];
    let mut networks = Vec::new();
    for task in [
        Task::Classifier,
        Task::SequenceToSequence,
        Task::ConditionalGenerator,
    ] {
        for cells in ["gru", "lstm", "rnn,gru"] {
            networks.push(task_network(task, cells, 1.0));
            networks.push(task_network(task, cells, 6.0));
        }
    }
    // Tied, as it is and through a factor.
    for columns in [40, 24] {
        let untied = network(18, 90, columns, &[(40, true)]);
        let b = &untied.layers().last().unwrap().dense().unwrap().b;
        let mut output = vec![Dense::linear(table(&untied).clone(), b.clone())];
        if columns != 40 {
            let projection = values(&mut Pcg32::new(19, 1), columns * 40, 0.4);
            let projection = Matrix::new(columns, 40, projection);
            output.insert(0, Dense::linear(projection, vec![0.0; columns]));
        }
        let cells = untied.recurrent(Phase::Step).map(|(_, cell)| cell.clone());
        let tied = Network::language_model(
            untied.vocabulary().clone(),
            Some(table(&untied).clone()),
            cells.collect(),
            1,
            output,
            Provenance::default(),
        );
        networks.push(tied.unwrap());
    }
    for (index, network) in networks.iter().enumerate() {
        for (layers, head) in &widths {
            let options = Options {
                layers: layers.clone(),
                head: Some(*head),
                ..Options::default()
            };
            let rounded = project_to_grid(network, &options).unwrap();
            let what = format!("network {index}, {layers:?}, {head:?}");
            assert!(rounded != *network, "{what}");
            let file = trainer::onnx::read(&trainer::onnx::write(&rounded)).unwrap();
            assert!(
                image(&file, &Options::default()) == image(network, &options),
                "{what}"
            );
        }
    }
}

#[test]
fn mixed_widths_over_a_table_are_four_bits() {
    let network = network(16, 20, 0, &[(12, true)]);
    let of = |bits| {
        let options = Options {
            layers: vec![bits],
            ..Options::default()
        };
        image(&network, &options)
    };
    assert_eq!(of(INT8_INT4), of(INT4));
}

#[test]
fn a_grid_that_does_not_fit_is_refused_by_name() {
    let mut network = network(13, 9, 0, &[(8, true)]);
    let grids = quantize_with(&network, &four()).unwrap().group_scales;
    let said = |change: fn(&mut TensorScales), network: &mut Network| {
        network.group_scales = grids.clone();
        change(network.group_scales.get_mut("layer 0 gate r").unwrap());
        quantize(network).unwrap_err().to_string()
    };
    type Case = (fn(&mut TensorScales), &'static str);
    let cases: [Case; 4] = [
        (
            |grid| grid.row_scales.truncate(5),
            "row 5 of layer 0 gate r does not fit the model's group scales: scales are missing",
        ),
        (
            |grid| grid.row_scales[3] = 0.1,
            "row 3 of layer 0 gate r does not fit the model's group scales: a scale is none",
        ),
        (|grid| grid.row_scales[2] = f32::NAN, "row 2"),
        (|grid| grid.scales[1] = 0, "row 1"),
    ];
    for (change, what) in cases {
        let found = said(change, &mut network);
        assert!(found.contains(what), "{found}");
    }
}

#[test]
fn layers_of_both_widths_follow_float_in_every_cell() {
    for (embedding, layers) in [
        (0, &[(40, true), (40, false)][..]),
        (6, &[(40, true), (40, true)]),
        (6, &[(40, false), (40, true)]),
    ] {
        let network = network(14, 20, embedding, layers);
        for bits in [[INT4, INT8], [INT8, INT4]] {
            let options = Options {
                layers: bits.to_vec(),
                ..Options::default()
            };
            let quantized = quantize_with(&network, &options).unwrap();
            let found = recurrent(&quantized.params);
            assert_eq!([found[0].1.formats, found[1].1.formats], bits);
            assert!(quantized.group_scales.keys().all(|name| {
                name.starts_with(if bits[0] == INT4 {
                    "layer 0"
                } else {
                    "layer 1"
                })
            }));
            // A weight of 4 bits errs by about a twentieth of it.
            let (states, _) = differences_of(&network, &quantized.params);
            assert!(states < 0.12, "{states}");
        }
    }
}

#[test]
fn a_wide_embedding_folds_and_a_wide_vocabulary_does_not() {
    let kind = |network: &Network| kind(&quantize(network).unwrap().params);
    assert_eq!(kind(&network(5, 60, 40, &[(16, true)])), "table");
    assert_eq!(kind(&network(5, 2000, 40, &[(64, true)])), "embedding");
}

#[test]
fn a_row_of_great_norm_gets_a_larger_scale() {
    let wide = changed(&network(6, 3, 0, &[(1024, true)]), |parts| {
        let gru = first(parts);
        // At 127 steps to the largest weight this row's norm would be 130,048.
        gru.r.data[..1024].fill(0.02);
        gru.r.data[1024..2048].fill(0.0);
    });
    let quantized = quantize(&wide).unwrap();
    let layers = recurrent(&quantized.params);
    let row = &layers[0].1.gates[0].weights[..1024];
    let norm: u32 = row.iter().map(|w| u32::from(w.unsigned_abs())).sum();
    assert!((60_000..=65_535).contains(&norm), "{norm}");
    let (states, _) = differences(&wide);
    assert!(states < 0.02, "{states}");
}

#[test]
fn saturated_and_empty_networks_stay_right() {
    let zero = changed(&network(7, 4, 0, &[(8, true)]), |parts| {
        let gru = first(parts);
        for values in [&mut gru.w.data, &mut gru.r.data, &mut gru.wb, &mut gru.rb] {
            values.fill(0.0);
        }
    });
    assert_eq!(differences(&zero).0, 0.0);
    let large = changed(&network(8, 4, 0, &[(8, true)]), |parts| {
        first(parts).w.data.iter_mut().for_each(|w| *w *= 100.0);
    });
    let (states, _) = differences(&large);
    assert!(states < 0.02, "{states}");
}

#[test]
fn what_integers_cannot_hold_is_refused_by_name() {
    let network = changed(&network(9, 4, 0, &[(8, true)]), |parts| {
        first(parts).r.data[8] = 1e6;
    });
    let error = quantize(&network).unwrap_err();
    assert!(
        matches!(&error, QuantizeError::Value { row: 1, .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .starts_with("row 1 of layer 0 gate z has values as large as 1000000")
    );
}

#[test]
fn what_the_runtime_lacks_is_refused_by_name() {
    let said = |change: fn(&mut NetworkParts)| {
        let network = changed(&network(9, 4, 0, &[(8, true)]), change);
        quantize(&network).unwrap_err().to_string()
    };
    let hard = said(|parts| {
        first(parts).activations.gate = Activation::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        };
    });
    assert!(
        hard.contains("layer 0 is a GRU with") && hard.contains("HardSigmoid"),
        "{hard}"
    );
}
