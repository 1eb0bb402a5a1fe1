//! The quantized network, run by the boards' own code, against the float network that it came from.

use pipsqueak::encode::{InputParts, Parts, Rows, bytes, encode};
use pipsqueak::image::Bits;
use pipsqueak::{Image, Pcg32, State};
use rand_core::Rng;
use trainer::cell::Cells;
use trainer::network::{
    Activation, Activations, Dense, Gru, Input, Layer, Matrix, Network, Provenance, TensorGrid,
};
use trainer::quantize::{Options, QuantizeError, quantize, quantize_with, rounded};
use trainer::train::sequence::data::Dataset;
use trainer::train::sequence::model::Shape;
use trainer::train::sequence::settings::Task;
use trainer::train::stack::StackShape;
use trainer::vocab::Vocabulary;

/// Uniform numbers in -largest to largest.
fn values(rng: &mut Pcg32, count: usize, largest: f32) -> Vec<f32> {
    (0..count)
        .map(|_| (rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) * largest)
        .collect()
}

fn gru(rng: &mut Pcg32, inputs: usize, hidden: usize, linear_before_reset: bool) -> Layer {
    let recurrent = 2.0 / (hidden as f32).sqrt();
    let input = if inputs > 8 {
        2.0 / (inputs as f32).sqrt()
    } else {
        1.5
    };
    Layer::Gru(Gru {
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

fn first(network: &mut Network) -> &mut Gru {
    let Layer::Gru(gru) = &mut network.layers[0] else {
        panic!("a GRU");
    };
    gru
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
        vec![Dense::linear(w, values(rng, tokens, 1.0))],
        Provenance::default(),
    )
}

/// Root of the mean squared difference of states and of logits over 24 steps.
fn differences(network: &Network) -> (f64, f64) {
    differences_of(network, &quantize(network).unwrap().parts)
}

fn differences_of(network: &Network, parts: &Parts) -> (f64, f64) {
    let words = encode(parts).unwrap();
    let image = Image::parse(bytes(&words)).unwrap();
    let mut workspace = vec![0; image.workspace_len()];
    let mut integer = State::new(&image, &mut workspace).unwrap();
    let mut float = network.state();
    let (mut states, mut logits) = (vec![], vec![]);
    for step in 0..24usize {
        let token = (step * 7919 % network.tokens()) as u16;
        network.step(&mut float, token);
        integer.step(token);
        for (layer, hidden) in float.hidden.iter().enumerate() {
            let pairs = hidden.iter().zip(integer.hidden(layer));
            states.extend(pairs.map(|(f, &i)| f64::from(*f) - f64::from(i) / 32768.0));
        }
        let one = f64::from(1 << image.logit_bits());
        let pairs = network
            .logits(&float)
            .into_iter()
            .zip(integer.logits().to_vec());
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
                let units = network.head.dense[0].w.columns as f64;
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
        let mut network = network(11, 20, embedding, layers);
        let mut once = network.state();
        [3, 3, 7, 7]
            .into_iter()
            .for_each(|token| network.step(&mut once, token));
        network.steps_per_token = 2;
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
        layers: vec![Bits::Four],
        head: Some(Bits::Four),
        ..Options::default()
    }
}

/// What rows of 4 bits stand for, `[rows][columns]`, by the units of their grid.
fn meant(rows: &Rows, units: &[f32]) -> Vec<f32> {
    let width = rows.columns.count();
    let groups = width.div_ceil(32);
    assert!(rows.columns.parts.contains(&0), "one part");
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
    let mut network = original.clone();
    let first_time = quantize_with(&original, &four()).unwrap();
    let (rows, grids) = (&first_time.parts.networks[0], &first_time.grids[0]);
    let names: Vec<&str> = grids.keys().map(String::as_str).collect();
    let gates = ["layer 0 gate h", "layer 0 gate r", "layer 0 gate z"];
    assert_eq!(names, [&["head"][..], &gates].concat());
    let on_grid = |gate: usize, letter: &str| {
        let grid = &grids[&format!("layer 0 gate {letter}")];
        meant(&rows.layers[0].gates[gate], &grid.units)
    };
    let recurrent = [on_grid(0, "z"), on_grid(1, "r"), on_grid(2, "h")].concat();
    let head = meant(&rows.head[0].rows, &grids["head"].units);
    // Rounding to 4 bits moves a weight by half a step at most, of about seven to the largest.
    let before = &first(&mut network).r.data;
    let pairs = || recurrent.iter().zip(before);
    let error: f32 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
    let squares: f32 = pairs().map(|(_, b)| b * b).sum();
    let relative = (error / squares).sqrt();
    assert!((0.02..0.1).contains(&relative), "{relative}");

    first(&mut network).r.data = recurrent;
    network.head.dense[0].w.data = head;
    network.grids = grids.clone();
    // Its own grids are enough.
    let again = quantize(&network).unwrap();
    assert_eq!(again.grids, first_time.grids);
    let (found, expected) = (&again.parts.networks[0], rows);
    for (found, expected) in found.layers[0].gates.iter().zip(&expected.layers[0].gates) {
        assert_eq!(
            (&found.weights, &found.scales),
            (&expected.weights, &expected.scales)
        );
    }
    assert_eq!(found.head[0].rows.weights, expected.head[0].rows.weights);
    let (states, logits) = differences_of(&network, &again.parts);
    assert!(
        states < 0.01 && logits < 0.012 * 70f64.sqrt() + 0.01,
        "{states} {logits}"
    );
    // 8 bits can be had all the same.
    let eight = Options {
        layers: vec![Bits::Eight],
        head: Some(Bits::Eight),
        ..Options::default()
    };
    let eight = quantize_with(&network, &eight).unwrap();
    assert!(eight.grids[0].is_empty());
    assert!(eight.parts.networks[0].layers[0].gates[0].scales.is_empty());
}

/// The bytes of the image of `network`.
fn image(network: &Network, options: &Options) -> Vec<u8> {
    let words = encode(&quantize_with(network, options).unwrap().parts).unwrap();
    bytes(&words).to_vec()
}

/// 8 bits over the input and 4 over the state: searched, on the grid that was found, and read from a file with that grid.
#[test]
fn mixed_widths_are_the_same_image_again_from_a_file() {
    for (tokens, embedding, layers) in [
        (30, 6, &[(40, true), (24, false)][..]),
        (90, 40, &[(40, false), (9, true)]),
    ] {
        let network = network(15, tokens, embedding, layers);
        let mixed = |layers: &[Bits]| Options {
            layers: layers.to_vec(),
            ..Options::default()
        };
        let options = mixed(&[Bits::Mixed, Bits::Four]);
        let once = quantize_with(&network, &options).unwrap();
        let found = &once.parts.networks[0];
        assert!(matches!(found.input, InputParts::Embedding { .. }));
        let widths = |parts: &Parts| {
            let layers = &parts.networks[0].layers;
            [layers[0].layer.bits, layers[1].layer.bits]
        };
        assert_eq!(widths(&once.parts), [Bits::Mixed, Bits::Four]);

        // The input's scale is the least that reaches its largest weight; the weights are to nearest.
        let Input::Tokens {
            embedding: Some(table),
            ..
        } = &network.input
        else {
            panic!("an embedding");
        };
        let largest = |column: usize| {
            let values = (0..table.rows).map(|row| table.row(row)[column].abs());
            values.fold(0.0, f32::max)
        };
        let scales: Vec<f64> = (0..embedding)
            .map(|column| f64::from(largest(column)) * 128.0 / 127.0)
            .collect();
        let Layer::Gru(gru) = &network.layers[0] else {
            panic!("a GRU");
        };
        let units = layers[0].0;
        let (rows, grid) = (&found.layers[0].gates[0], &once.grids[0]["layer 0 gate z"]);
        let groups = 1 + units.div_ceil(32);
        assert_eq!(grid.scales.len(), units * groups);
        assert!(grid.wide_input && !once.grids[0]["layer 1 gate z"].wide_input);
        for row in 0..units {
            let pairs = gru.w.row(row).iter().zip(&scales);
            let folded: Vec<f64> = pairs.map(|(w, s)| f64::from(*w) * s).collect();
            let largest = folded.iter().fold(0.0, |a: f64, w| a.max(w.abs()));
            let (unit, scale) = (f64::from(grid.units[row]), grid.scales[row * groups]);
            let reaches = |scale: u8| unit * f64::from(scale) * 127.0 >= largest * 0.999_999;
            assert!(reaches(scale) && (scale == 1 || !reaches(scale - 1)));
            let weights = &rows.weights[row * (embedding + units)..][..embedding];
            for (&found, wanted) in weights.iter().zip(&folded) {
                let wanted = wanted / unit / f64::from(scale);
                assert!((f64::from(found) - wanted).abs() < 0.500_1, "{wanted}");
            }
        }

        let expected = image(&network, &options);
        let rounded = rounded(&network, &options).unwrap();
        assert_eq!(image(&rounded, &Options::default()), expected);
        let file = trainer::onnx::write(&rounded);
        let read = trainer::onnx::read(&file).unwrap();
        assert_eq!(read.grids, rounded.grids);
        assert_eq!(image(&read, &Options::default()), expected);
        // Other widths can be had all the same.
        for bits in [Bits::Four, Bits::Eight] {
            let other = quantize_with(&read, &mixed(&[bits])).unwrap();
            assert_eq!(widths(&other.parts), [bits; 2]);
            encode(&other.parts).unwrap();
        }
        // 8 bits lose less than 4.
        let loss = |bits: &[Bits]| {
            let parts = quantize_with(&network, &mixed(bits)).unwrap().parts;
            differences_of(&network, &parts).0
        };
        let [mixed, four] = [loss(&options.layers), loss(&[Bits::Four])];
        assert!(mixed < 0.9 * four && four < 0.2, "{mixed} {four}");
    }
}

/// Two layers of 40 units and an embedding of 24; the second layer reads by weights that are `large` times the others.
fn task_network(task: Task, cells: &str, large: f32) -> Network {
    let stack = |tokens| StackShape {
        tokens,
        embedding: Some(24),
        hidden: 40,
        cells: cells.parse::<Cells>().unwrap().stack(2).unwrap(),
    };
    let letters = |count| Vocabulary::of_characters(&"abcdefghijklmnopqrstuvwxyz"[..count]);
    let (source, target) = (letters(20).unwrap(), letters(25).unwrap());
    let describes = task == Task::Describe;
    let shape = Shape {
        encoder: (task == Task::Translate).then(|| stack(20)),
        features: if describes { 2 } else { 0 },
        stack: stack(if task == Task::Classify { 20 } else { 25 }),
        outputs: 25,
        reads_last: task == Task::Classify,
    };
    let data = Dataset {
        source: (!describes).then_some(source),
        channels: ["a", "b"].map(String::from)[..shape.features].to_vec(),
        target,
        train: Vec::new(),
        validation: Vec::new(),
        left_out: 0,
    };
    let parameters = values(&mut Pcg32::new(17, 1), shape.parameters(), 0.4);
    let mut network =
        trainer::train::sequence::trainer::network(&shape, &parameters, &data, Default::default());
    let w = match &mut network.layers[1] {
        Layer::Gru(gru) => &mut gru.w,
        Layer::Lstm(lstm) => &mut lstm.w,
        Layer::Rnn(rnn) => &mut rnn.w,
    };
    w.data.iter_mut().for_each(|w| *w *= large);
    network
}

/// Whatever what weights read is worth in integers: an embedding, the rows of a tied head, states that share a row's scale.
#[test]
fn rounded_networks_are_the_images_that_their_grids_were_found_for() {
    let widths = [
        (vec![Bits::Four], Bits::Four),
        (
            vec![Bits::Mixed, Bits::Four, Bits::Mixed, Bits::Four],
            Bits::Four,
        ),
        (vec![Bits::Four], Bits::Eight),
        (vec![Bits::Eight], Bits::Four),
    ];
    let mut networks = Vec::new();
    for task in [Task::Classify, Task::Translate, Task::Describe] {
        for cells in ["gru", "lstm", "rnn,gru"] {
            networks.push(task_network(task, cells, 1.0));
            networks.push(task_network(task, cells, 6.0));
        }
    }
    // Tied, as it is and through a factor.
    for columns in [40, 24] {
        let mut tied = network(18, 90, columns, &[(40, true)]);
        let Input::Tokens {
            embedding: Some(table),
            ..
        } = &tied.input
        else {
            panic!("an embedding");
        };
        tied.head.dense[0].w = table.clone();
        if columns != 40 {
            let factor = values(&mut Pcg32::new(19, 1), columns * 40, 0.4);
            let factor = Dense::linear(Matrix::new(columns, 40, factor), vec![0.0; columns]);
            tied.head.dense.insert(0, factor);
        }
        networks.push(tied);
    }
    for (index, network) in networks.iter().enumerate() {
        for (layers, head) in &widths {
            let options = Options {
                layers: layers.clone(),
                head: Some(*head),
                ..Options::default()
            };
            let rounded = rounded(network, &options).unwrap();
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
    assert_eq!(of(Bits::Mixed), of(Bits::Four));
}

#[test]
fn a_grid_that_does_not_fit_is_refused_by_name() {
    let mut network = network(13, 9, 0, &[(8, true)]);
    let grids = quantize_with(&network, &four()).unwrap().grids[0].clone();
    let said = |change: fn(&mut TensorGrid), network: &mut Network| {
        network.grids = grids.clone();
        change(network.grids.get_mut("layer 0 gate r").unwrap());
        quantize(network).unwrap_err().to_string()
    };
    type Case = (fn(&mut TensorGrid), &'static str);
    let cases: [Case; 4] = [
        (
            |grid| grid.units.truncate(5),
            "row 5 of layer 0 gate r does not fit it: units or scales are missing",
        ),
        (
            |grid| grid.units[3] = 0.1,
            "row 3 of layer 0 gate r does not fit it: a unit or a scale is none",
        ),
        (|grid| grid.units[2] = f32::NAN, "row 2"),
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
        for bits in [[Bits::Four, Bits::Eight], [Bits::Eight, Bits::Four]] {
            let options = Options {
                layers: bits.to_vec(),
                ..Options::default()
            };
            let quantized = quantize_with(&network, &options).unwrap();
            let found = &quantized.parts.networks[0].layers;
            assert_eq!([found[0].layer.bits, found[1].layer.bits], bits);
            assert!(quantized.grids[0].keys().all(|name| {
                name.starts_with(if bits[0] == Bits::Four {
                    "layer 0"
                } else {
                    "layer 1"
                })
            }));
            // A weight of 4 bits errs by about a twentieth of it.
            let (states, _) = differences_of(&network, &quantized.parts);
            assert!(states < 0.12, "{states}");
        }
    }
}

#[test]
fn a_wide_embedding_folds_and_a_wide_vocabulary_does_not() {
    let kind = |network: &Network| match quantize(network).unwrap().parts.networks[0].input {
        InputParts::Table(_) => "table",
        InputParts::Embedding { .. } => "embedding",
        _ => "another",
    };
    assert_eq!(kind(&network(5, 60, 40, &[(16, true)])), "table");
    assert_eq!(kind(&network(5, 2000, 40, &[(64, true)])), "embedding");
}

#[test]
fn a_row_of_great_norm_gets_a_larger_scale() {
    let mut wide = network(6, 3, 0, &[(1024, true)]);
    let gru = first(&mut wide);
    // At 127 steps to the largest weight this row's norm would be 130,048.
    gru.r.data[..1024].fill(0.02);
    gru.r.data[1024..2048].fill(0.0);
    let quantized = quantize(&wide).unwrap();
    let row = &quantized.parts.networks[0].layers[0].gates[0].weights[..1024];
    let norm: u32 = row.iter().map(|w| u32::from(w.unsigned_abs())).sum();
    assert!((60_000..=65_535).contains(&norm), "{norm}");
    let (states, _) = differences(&wide);
    assert!(states < 0.02, "{states}");
}

#[test]
fn saturated_and_empty_networks_stay_right() {
    let mut zero = network(7, 4, 0, &[(8, true)]);
    let gru = first(&mut zero);
    for values in [&mut gru.w.data, &mut gru.r.data, &mut gru.wb, &mut gru.rb] {
        values.fill(0.0);
    }
    assert_eq!(differences(&zero).0, 0.0);
    let mut large = network(8, 4, 0, &[(8, true)]);
    let gru = first(&mut large);
    gru.w.data.iter_mut().for_each(|w| *w *= 100.0);
    let (states, _) = differences(&large);
    assert!(states < 0.02, "{states}");
}

#[test]
fn what_integers_cannot_hold_is_refused_by_name() {
    let mut network = network(9, 4, 0, &[(8, true)]);
    let gru = first(&mut network);
    gru.r.data[8] = 1e6;
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
    let said = |change: fn(&mut Network)| {
        let mut network = network(9, 4, 0, &[(8, true)]);
        change(&mut network);
        quantize(&network).unwrap_err().to_string()
    };
    let hard = said(|network| {
        first(network).activations.gate = Activation::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        };
    });
    assert!(
        hard.contains("layer 0 is a GRU with") && hard.contains("HardSigmoid"),
        "{hard}"
    );
}
