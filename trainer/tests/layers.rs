//! Networks that only the list of layers can express, in integers and in float.

use pipsqueak::{Model, encode};
use trainer::inference::integer::IntegerNetwork;
use trainer::network::formats::{INT4, INT8_INT4};
use trainer::network::{
    Dim, Inputs, Network, NetworkParts, Op, Phase, SequenceModel, VectorId, sample, sequences,
};
use trainer::quantize::{Options, project_to_grid, quantize_with};

/// A sequence of seven tokens.
fn inputs(network: &Network) -> Inputs {
    let specs = network.input_specs().enumerate();
    let arrays = specs.map(|(seed, spec)| {
        let size = |dim: &Dim| match dim {
            Dim::Fixed(size) => *size,
            Dim::Batch => 1,
            Dim::Steps => 7,
        };
        let shape: Vec<usize> = spec.shape.iter().map(size).collect();
        let array = network.random_array(&spec.name, &shape, seed as u64);
        (spec.name.clone(), array)
    });
    sequences(network, &arrays.collect()).unwrap().remove(0)
}

/// The largest difference of any output.
fn difference(network: &Network, options: &Options) -> f32 {
    let quantized = quantize_with(network, options).unwrap();
    let words = encode::encode(&quantized.params).unwrap();
    let model = Model::parse(encode::as_bytes(&words)).unwrap();
    let inputs = inputs(network);
    let float = network.run(&inputs).values;
    let integer = IntegerNetwork::new(&model).unwrap().run_sequence(&inputs);
    let sizes: Vec<usize> = float.iter().map(Vec::len).collect();
    assert_eq!(sizes, [7 * 6, 4, 2, 7 * 9]);
    let integer = integer.values;
    assert_eq!(integer.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
    let pairs = float.iter().flatten().zip(integer.iter().flatten());
    pairs.fold(0.0, |worst, (a, b)| worst.max((a - b).abs()))
}

#[test]
fn integers_follow_float_through_every_kind_of_layer() {
    for seed in 0..8 {
        let network = sample::every_layer(seed);
        let error = difference(&network, &Options::default());
        println!("seed {seed}: {error}");
        assert!(error < 0.03, "seed {seed}: {error}");
    }
}

/// Padding between joined vectors is no weight: the projected network is the same model file, in the formats with groups too.
#[test]
fn projected_weights_over_joined_vectors_are_found_again() {
    let bytes = |network: &Network, options: &Options| {
        let quantized = quantize_with(network, options).unwrap();
        encode::encode(&quantized.params).unwrap()
    };
    for formats in [INT4, INT8_INT4] {
        let options = Options {
            layers: vec![formats],
            ..Options::default()
        };
        // With known tokens weights are rounded to nearest, on both ways.
        let mut network = sample::every_layer(3);
        network.provenance.corpus = "corpus".into();
        let projected = project_to_grid(&network, &options).unwrap();
        assert!(projected != network);
        let found = quantize_with(&projected, &Options::default()).unwrap();
        let expected = quantize_with(&network, &options).unwrap();
        assert_eq!(found.group_scales, expected.group_scales);
        let weights = |layers: &[pipsqueak::encode::LayerParams]| -> Vec<Vec<i8>> {
            let recurrent = layers.iter().filter_map(|layer| match &layer.op {
                pipsqueak::encode::OpParams::Recurrent(recurrent) => Some(&recurrent.gates),
                _ => None,
            });
            recurrent
                .flatten()
                .map(|gate| gate.weights.clone())
                .collect()
        };
        assert_eq!(
            weights(&found.params.layers),
            weights(&expected.params.layers)
        );
        assert_eq!(
            bytes(&projected, &Options::default()).len(),
            bytes(&network, &options).len()
        );
    }
}

#[test]
fn a_list_that_is_no_network_is_refused_by_the_name_of_its_layer() {
    let said = |change: fn(&mut NetworkParts)| {
        let network = sample::every_layer(1);
        network.with(change).unwrap_err().to_string()
    };
    type Case = (fn(&mut NetworkParts), &'static [&'static str]);
    let cases: [Case; 10] = [
        (
            |parts| parts.layers[1].phase = Phase::Step,
            &["\"encoder input\"", "Source after a later one"],
        ),
        (
            |parts| parts.layers[2].inputs[0] = VectorId::result(2),
            &[
                "\"encoder input\"",
                "the vector of layer 2",
                "an earlier layer",
            ],
        ),
        (
            |parts| parts.layers[2].inputs.push(VectorId::result(0)),
            &["\"encoder input\"", "weights of shape [5, 4]", "[5, 7]"],
        ),
        (
            |parts| parts.layers[2].inputs[0] = VectorId::cell_state(1),
            &["\"encoder input\"", "the cell state", "an LSTM layer"],
        ),
        (
            |parts| parts.layers[0].op = Op::Frame { size: 0 },
            &["\"features\"", "no elements"],
        ),
        (
            |parts| parts.outputs[1].vector = VectorId::result(99),
            &["output \"scores\"", "the vector of layer 99"],
        ),
        (|parts| parts.outputs.clear(), &["no output"]),
        (
            |parts| parts.layers[2].name = "features".into(),
            &["layer 2", "a second layer of this name"],
        ),
        (
            |parts| parts.steps_per_token[0] = 2,
            &["2 steps per token", "Source"],
        ),
        (
            |parts| parts.layers.retain(|layer| layer.phase == Phase::Output),
            &["an earlier layer"],
        ),
    ];
    for (change, words) in cases {
        let found = said(change);
        assert!(words.iter().all(|word| found.contains(word)), "{found}");
    }
}
