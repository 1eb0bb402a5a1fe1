//! Models of other frameworks: what is read computes what the framework itself computed, and what is not read is refused by
//! the name of the node that stands in the way.
//!
//! Runs over the files in `cases/`, which `cases/generate.py` made, and, where `PIPSQUEAK_DATA` names a folder with more of
//! them, over those too.

use pipsqueak::encode;
use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use trainer::cli::run;
use trainer::inference::integer::IntegerNetwork;
use trainer::inference::model::{Model, ModelFileError};
use trainer::network::{
    Array, Gru, Lstm, Matrix, Network, Op, Phase, RecurrentCell, Rnn, TensorRole, Values,
    run_arrays,
};
use trainer::quantize::quantize;

/// The largest difference to the framework's own outputs.
const TOLERANCE: f32 = 2e-5;

/// The largest difference of integers, as a part of the output's range.
const INTEGER_TOLERANCE: f32 = 0.01;

/// What became of a case.
#[derive(Debug)]
enum Outcome {
    /// With the largest difference, and what became of it in integers.
    Imported(f32, Integers),
    /// With the reason.
    Refused(String),
}

/// What became of a case in integers.
#[derive(Debug)]
enum Integers {
    /// The largest difference as a part of its output's range, in how many steps the largest output is the same one, and of
    /// how many; and bytes of the image.
    Run {
        error: f32,
        /// The same of the float network with nothing but its weights rounded to 8 bits.
        rounded: f32,
        same: [usize; 2],
        bytes: usize,
    },
    /// With the reason.
    Refused(String),
}

/// The largest difference as a part of the range of its output.
fn relative(found: &Array, expected: &Array) -> f32 {
    let (found, expected) = (floats(found), floats(expected));
    let fold = |f: fn(f32, f32) -> f32| expected.iter().copied().reduce(f).unwrap();
    let span = (fold(f32::max) - fold(f32::min)).max(1e-6);
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0, |error, (a, b)| error.max((a - b).abs() / span))
}

/// The network with the weights of its layers and its head rounded to 8 bits a row.
fn rounded(network: &Network) -> Network {
    let round = |matrix: &mut Matrix| {
        for row in matrix.data.chunks_mut(matrix.columns) {
            let step = row.iter().fold(0f32, |a, b| a.max(b.abs())) / 127.0;
            if step > 0.0 {
                row.iter_mut().for_each(|w| *w = (*w / step).round() * step);
            }
        }
    };
    let changed = network.clone().with(|parts| {
        for layer in &mut parts.layers {
            match &mut layer.op {
                Op::Recurrent {
                    cell:
                        RecurrentCell::Gru(Gru { w, r, .. })
                        | RecurrentCell::Lstm(Lstm { w, r, .. })
                        | RecurrentCell::Rnn(Rnn { w, r, .. }),
                    ..
                } => {
                    round(w);
                    round(r);
                }
                Op::Dense(dense) if layer.phase == Phase::Output => round(&mut dense.w),
                _ => {}
            }
        }
    });
    changed.unwrap()
}

/// Exports `network` and runs the image.
fn integers(
    network: &Network,
    inputs: &BTreeMap<String, Array>,
    expected: &BTreeMap<String, Array>,
) -> Integers {
    let quantized = match quantize(network) {
        Ok(quantized) => quantized,
        Err(error) => return Integers::Refused(error.to_string()),
    };
    let words = encode::encode(&quantized.params).unwrap();
    let model = pipsqueak::Model::parse(encode::as_bytes(&words)).unwrap();
    let runs = IntegerNetwork::new(&model).unwrap();
    let (mut error, mut same) = (0f32, [0, 0]);
    for (name, found) in run_arrays(&runs, inputs).unwrap() {
        let expected = &expected[&name];
        assert_eq!(found.shape, expected.shape, "shape of {name}");
        error = error.max(relative(&found, expected));
        let (found, expected) = (floats(&found), floats(expected));
        let head = network
            .output_specs()
            .any(|port| port.name == name && port.role == TensorRole::Output);
        let output = &network.layers()[network.output().vector.layer];
        if let (true, Some(last)) = (head, output.dense()) {
            let largest = |values: &[f32]| {
                let order = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
                (0..values.len()).max_by(order)
            };
            for (found, expected) in found.chunks(last.w.rows).zip(expected.chunks(last.w.rows)) {
                same[0] += usize::from(largest(found) == largest(expected));
                same[1] += 1;
            }
        }
    }
    let of_rounded = self::rounded(network).run_arrays(inputs).unwrap();
    let errors = of_rounded
        .iter()
        .map(|(name, found)| relative(found, &expected[name]));
    let rounded = errors.fold(0.0, f32::max);
    let bytes = model.len();
    Integers::Run {
        error,
        rounded,
        same,
        bytes,
    }
}

fn floats(array: &Array) -> &[f32] {
    match &array.values {
        Values::Float(values) => values,
        _ => panic!("outputs are floats"),
    }
}

/// The arrays of `io.npz` whose names begin with `side`.
fn arrays(io: &BTreeMap<String, Array>, side: &str) -> BTreeMap<String, Array> {
    let named = io
        .iter()
        .filter_map(|(name, array)| Some((name.strip_prefix(side)?.to_owned(), array.clone())));
    named.collect()
}

fn open(path: &Path) -> Result<Box<Network>, String> {
    match Model::open(path) {
        Ok(Model::Float(network)) => Ok(network),
        Ok(Model::Integer(_)) => panic!("{} is no image", path.display()),
        Err(error @ (ModelFileError::Onnx { .. } | ModelFileError::Check { .. })) => {
            Err(error.to_string())
        }
        Err(error) => panic!("{error}"),
    }
}

/// The largest difference of any output.
fn difference(
    network: &Network,
    inputs: &BTreeMap<String, Array>,
    expected: &BTreeMap<String, Array>,
) -> f32 {
    let found = network.run_arrays(inputs).unwrap();
    let mut largest = 0f32;
    for (name, found) in &found {
        let expected = &expected[name];
        assert_eq!(found.shape, expected.shape, "shape of {name}");
        for (found, expected) in floats(found).iter().zip(floats(expected)) {
            let difference = (found - expected).abs();
            largest = if difference.is_nan() {
                f32::INFINITY
            } else {
                largest.max(difference)
            };
        }
    }
    largest
}

fn outcome(folder: &Path) -> Outcome {
    match open(&folder.join("model.onnx")) {
        Err(reason) => Outcome::Refused(reason),
        Ok(network) => {
            let io = run::read(&folder.join("io.npz")).unwrap();
            let (inputs, expected) = (arrays(&io, "in::"), arrays(&io, "out::"));
            let names: Vec<String> = network
                .output_specs()
                .map(|port| port.name.clone())
                .collect();
            assert!(
                names.len() == expected.len()
                    && names.iter().all(|name| expected.contains_key(name)),
                "{names:?}"
            );
            let integers = integers(&network, &inputs, &expected);
            Outcome::Imported(difference(&network, &inputs, &expected), integers)
        }
    }
}

/// The folders of cases: with the prototype's verdict, where there is one.
fn cases(root: &Path) -> Vec<(PathBuf, String)> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    let named = folders
        .into_iter()
        .filter(|folder| folder.join("meta.json").exists());
    named
        .map(|folder| {
            let meta = std::fs::read_to_string(folder.join("meta.json")).unwrap();
            let meta: serde_json::Value = serde_json::from_str(&meta).unwrap();
            let verdict = meta["prototype"].as_str().unwrap_or("imports").to_owned();
            (folder, verdict)
        })
        .collect()
}

fn more() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("PIPSQUEAK_DATA")?).join("cases"))
}

/// Every case: those marked `imports` do; of the others as many do as `others` has.
fn check(root: &Path, others: impl RangeBounds<usize>) {
    let (mut wrong, mut extra, mut imported) = (Vec::new(), 0usize, 0);
    for (folder, verdict) in cases(root) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let outcome = outcome(&folder);
        match &outcome {
            Outcome::Imported(
                difference,
                Integers::Run {
                    error,
                    rounded,
                    same,
                    bytes,
                },
            ) => println!(
                "{name:<50} {difference:>8.1e} {:>7.3} % ({:.3} %) {:>3} of {:>3} {bytes:>7} bytes",
                100.0 * error,
                100.0 * rounded,
                same[0],
                same[1]
            ),
            Outcome::Imported(difference, Integers::Refused(reason)) => {
                println!("{name:<50} {difference:>8.1e} {reason}");
            }
            Outcome::Refused(reason) => println!("{name:<50} {reason}"),
        }
        match &outcome {
            Outcome::Imported(
                _,
                Integers::Run {
                    error,
                    rounded,
                    same,
                    ..
                },
            ) => {
                let trained = name.starts_with("trained_");
                let same = !trained || same[0] * 100 >= same[1] * 99;
                // Networks of random weights that make much of small changes do so in float, too.
                if *error > f32::max(INTEGER_TOLERANCE, 2.5 * rounded) || !same {
                    wrong.push(format!("{name} in integers: {outcome:?}"));
                }
            }
            Outcome::Imported(_, Integers::Refused(reason)) => {
                let named = ["layer ", "dense layer "]
                    .iter()
                    .any(|named| reason.contains(named));
                let lacks = reason.contains("Relu") || reason.contains("HardSigmoid");
                if !named || !lacks {
                    wrong.push(format!("{name} in integers: {reason}"));
                }
            }
            Outcome::Refused(_) => {}
        }
        match (&outcome, &*verdict) {
            (Outcome::Imported(difference, _), _) if *difference > TOLERANCE => {
                wrong.push(format!("{name}: {outcome:?}"))
            }
            (Outcome::Imported(..), "imports") => imported += 1,
            (Outcome::Imported(..), _) => extra += 1,
            (Outcome::Refused(_), "imports") => wrong.push(format!("{name}: {outcome:?}")),
            (Outcome::Refused(reason), _) => {
                let named = ["node \"", "node of \""]
                    .iter()
                    .any(|node| reason.contains(node));
                if !named || !reason.contains("expected") {
                    wrong.push(format!("{name}: no node in {reason:?}"));
                }
            }
        }
    }
    println!("{imported} imported, {extra} of the others too");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(imported > 0, "no cases");
    assert!(others.contains(&extra), "{extra} of the others");
}

#[test]
fn what_frameworks_export_computes_what_they_compute() {
    check(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"),
        ..=0,
    );
}

#[test]
fn more_of_what_frameworks_export() {
    match more() {
        Some(root) => check(&root, 10..),
        None => println!("PIPSQUEAK_DATA is not set"),
    }
}

#[test]
fn an_encoder_and_a_decoder_of_their_own() {
    let Some(folder) = more().map(|root| root.join("g2p_en")) else {
        println!("PIPSQUEAK_DATA is not set");
        return;
    };
    let io = run::read(&folder.join("io.npz")).unwrap();
    let (inputs, expected) = (arrays(&io, "in::"), arrays(&io, "out::"));
    let of = |all: &BTreeMap<String, Array>, names: &[&str]| -> BTreeMap<String, Array> {
        names
            .iter()
            .map(|&name| (name.to_owned(), all[name].clone()))
            .collect()
    };
    let encoder = open(&folder.join("encoder.onnx")).unwrap();
    let mut hn = expected["hn_encoder"].clone();
    let difference_of_encoder = difference(
        &encoder,
        &of(&inputs, &["letters"]),
        &BTreeMap::from([("hn".into(), hn.clone())]),
    );
    let decoder = open(&folder.join("decoder.onnx")).unwrap();
    hn.clone_from(&expected["hn"]);
    let outputs = BTreeMap::from([
        ("logits".into(), expected["logits"].clone()),
        ("hn".into(), hn),
    ]);
    let difference_of_decoder = difference(&decoder, &of(&inputs, &["phonemes", "h0"]), &outputs);
    assert!(
        difference_of_encoder.max(difference_of_decoder) <= TOLERANCE,
        "{difference_of_encoder} {difference_of_decoder}"
    );
}

#[test]
fn the_node_tests_of_onnx() {
    let Some(root) = more().map(|root| root.join("onnx_node_tests")) else {
        println!("PIPSQUEAK_DATA is not set");
        return;
    };
    for entry in std::fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let supported = ["defaults", "initial_bias", "seq_length"]
            .iter()
            .any(|kind| name.contains(kind));
        match open(&folder.join("model.onnx")) {
            Err(reason) => {
                assert!(!supported, "{name}: {reason}");
                assert!(
                    reason.contains("node of \"") || reason.contains("node \""),
                    "{name}: {reason}"
                );
                println!("{name}: {reason}");
            }
            Ok(network) => {
                assert!(supported, "{name} should be refused");
                let array = |file: String| {
                    let bytes = std::fs::read(folder.join(file)).unwrap();
                    run::decode(&bytes).unwrap()
                };
                let inputs = network
                    .input_specs()
                    .enumerate()
                    .map(|(i, port)| (port.name.clone(), array(format!("in_{i}.npy"))));
                let outputs = network
                    .output_specs()
                    .enumerate()
                    .map(|(i, port)| (port.name.clone(), array(format!("out_{i}.npy"))));
                let difference = difference(&network, &inputs.collect(), &outputs.collect());
                println!("{name}: {difference}");
                assert!(difference <= TOLERANCE, "{name}: {difference}");
            }
        }
    }
}
