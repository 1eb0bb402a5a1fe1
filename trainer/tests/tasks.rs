//! What users do with networks other than language models, by the command line: classify, translate, describe, run on arrays.
//! The float network and the integer image of the same training judge each other.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use trainer::cli::run;
use trainer::inference::model::Model;
use trainer::network::{Array, Network, Values};

fn trainer(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trainer"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the trainer starts");
    let mut stdin = child.stdin.take().unwrap();
    // A command that has read enough closes it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Standard output of a command that must succeed.
fn said(arguments: &[&str]) -> String {
    said_to(arguments, "")
}

fn said_to(arguments: &[&str], input: &str) -> String {
    let output = trainer(arguments, input);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a command that must fail with 1.
fn refused(arguments: &[&str], input: &str) -> (String, String) {
    let output = trainer(arguments, input);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert!(error.starts_with("error: "), "{error}");
    (String::from_utf8(output.stdout).unwrap(), error)
}

/// A file of a shipped model.
fn shipped(name: &str, file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("models").join(name).join(file);
    path.to_str().unwrap().into()
}

#[test]
fn translate_takes_arguments_or_lines() {
    let (float, integer) = (shipped("g2p", "model.onnx"), shipped("g2p", "model.pip"));
    let words = ["hello", "network", "abbreviates"];
    let expected = said(&[&["translate", &integer][..], &words].concat());
    assert_eq!(expected.lines().count(), 3);
    assert!(expected.starts_with("HH "), "{expected}");
    assert_eq!(
        said(&[&["translate", &float][..], &words].concat()),
        expected
    );
    let lines = words.join("\n");
    assert_eq!(said_to(&["translate", &integer], &lines), expected);
    assert_eq!(
        said_to(&["translate", &integer], "\nhello\n"),
        "\nHH EH1 L OW0\n"
    );
    for model in [&float, &integer] {
        let json = said(&["translate", model, "--json", "hello"]);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["text"], "hello");
        assert_eq!(value["target"], expected.lines().next().unwrap());
        assert_eq!(value["tokens"].as_array().unwrap()[0], "HH");
    }
}

#[test]
fn translate_names_what_it_does_not_know() {
    for model in [shipped("g2p", "model.onnx"), shipped("g2p", "model.pip")] {
        let (printed, error) = refused(&["translate", &model], "tan\nna\u{ef}ve\ntan\n");
        let lines: Vec<&str> = printed.lines().collect();
        assert!(
            lines.len() == 3 && lines[1].is_empty() && lines[0] == lines[2],
            "the lines before and after are translated: {lines:?}"
        );
        assert!(
            error.contains("line 2 of standard input") && error.contains('\u{ef}'),
            "{error}"
        );
        assert!(error.contains("1 of 3 texts failed"), "{error}");
        let (_, error) = refused(&["translate", &model, ""], "");
        assert!(error.contains("empty"), "{error}");
    }
    let (_, error) = refused(&["translate", &shipped("news", "model.pip"), "tan"], "");
    assert!(
        error.contains("expected an encoder and a decoder"),
        "{error}"
    );
    let (_, error) = refused(&["classify", &shipped("g2p", "model.pip"), "tan"], "");
    assert!(error.contains("is not a classifier"), "{error}");
}

#[test]
fn classify_names_the_class() {
    let titles = ["Stocks rally as oil prices fall", "Team wins the cup final"];
    for model in [shipped("news", "model.onnx"), shipped("news", "model.pip")] {
        let classes = said(&[&["classify", &model][..], &titles].concat());
        assert_eq!(classes, "Business\nSports\n", "{model}");
        let json = said_to(&["classify", &model, "--json"], titles[0]);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["label"], "Business");
        let parts = value["probabilities"].as_array().unwrap().iter();
        let sum: f64 = parts.map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }
}

#[test]
fn generate_describes_features() {
    for model in [
        shipped("names", "model.onnx"),
        shipped("names", "model.pip"),
    ] {
        let name = |features: &str, seed: &str| {
            let arguments = ["generate", &model, "--features", features, "--seed", seed];
            said(&arguments)
        };
        let names: Vec<String> = (1..9)
            .map(|seed| name("length=0.6,k", &seed.to_string()))
            .collect();
        assert_eq!(
            names[0],
            name("k length=0.6", "1"),
            "the order does not matter"
        );
        let starts = names.iter().filter(|name| name.starts_with('k')).count();
        let lengths = names.iter().map(|name| name.trim().len() as i32 - 6);
        assert!(
            starts >= 7 && lengths.map(i32::abs).sum::<i32>() <= 12,
            "{names:?}"
        );
        let (_, error) = refused(&["generate", &model], "");
        assert!(error.contains("--features"), "{error}");
        let (_, error) = refused(&["generate", &model, "--features", "height=1"], "");
        assert!(error.contains("height=1"), "{error}");
    }
    let text = shipped("shakespeare", "model.pip");
    let (_, error) = refused(&["generate", &text, "--features", "a"], "");
    assert!(error.contains("takes no features"), "{error}");
}

fn case(name: &str) -> PathBuf {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    cases.join(name).join("model.onnx")
}

fn network(path: &Path) -> Box<Network> {
    match Model::open(path).unwrap() {
        Model::Float(network) => network,
        Model::Integer(_) => panic!("{} is an image", path.display()),
    }
}

fn floats(arrays: &std::collections::BTreeMap<String, Array>) -> Vec<f32> {
    let values = arrays.values().map(|array| match &array.values {
        Values::Float(values) => values.clone(),
        _ => panic!("outputs are floats"),
    });
    values.flatten().collect()
}

/// Sensor frames: what the image gives for arrays is what the float network gives, and nearer with a calibration.
#[test]
fn run_takes_images_and_calibration_helps() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let model = case("gru_vectors_last");
    let source = network(&model);
    let port = source.input_specs().next().unwrap().clone();
    let shape: Vec<usize> = port
        .shape
        .iter()
        .map(|dim| match dim {
            trainer::network::Dim::Fixed(size) => *size,
            trainer::network::Dim::Batch => 2,
            trainer::network::Dim::Steps => 9,
        })
        .collect();
    // Much larger than the normal numbers that are assumed: what is beyond them is cut.
    let mut array = source.random_array(&port.name, &shape, 1);
    if let Values::Float(values) = &mut array.values {
        values.iter_mut().for_each(|value| *value *= 16.0);
    }
    let arrays = [(port.name.clone(), array)];
    fs::write(at("in.npz"), run::encode(&arrays).unwrap()).unwrap();
    let onnx = model.to_str().unwrap();
    let outputs = |model: &str, out: &str| {
        said(&["run", model, "--inputs", &at("in.npz"), "--outputs", out]);
        floats(&run::read(Path::new(out)).unwrap())
    };
    let expected = outputs(onnx, &at("float.npz"));
    let error = |found: &[f32]| -> f32 {
        assert_eq!(found.len(), expected.len());
        let pairs = found.iter().zip(&expected);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let told = said(&["export", onnx, "--out", &at("plain.pip")]);
    assert!(told.contains("normal"), "what is assumed is said:\n{told}");
    said(&[
        "export",
        onnx,
        "--calibration",
        &at("in.npz"),
        "--out",
        &at("near.pip"),
    ]);
    let plain = error(&outputs(&at("plain.pip"), &at("plain.npz")));
    let near = error(&outputs(&at("near.pip"), &at("near.npz")));
    println!("largest error {plain} without, {near} with calibration");
    assert!(near < 0.02 && near < plain / 2.0, "{near}, {plain}");

    // Another name than the graph's.
    let arrays = [("nonesuch".to_owned(), arrays[0].1.clone())];
    fs::write(at("other.npz"), run::encode(&arrays).unwrap()).unwrap();
    let arguments = [
        "run",
        &at("plain.pip"),
        "--inputs",
        &at("other.npz"),
        "--outputs",
        &at("no.npz"),
    ];
    let (_, error) = refused(&arguments, "");
    assert!(error.contains("nonesuch"), "{error}");
    assert!(!Path::new(&at("no.npz")).exists());
}

#[test]
fn two_graphs_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.pip");
    let out = out.to_str().unwrap();
    let [model, translator] = ["gru_onehot", "gru_translator"].map(case);
    let (model, translator) = (model.to_str().unwrap(), translator.to_str().unwrap());
    for (encoder, decoder, expected) in [
        (model, translator, "the decoder has an encoder itself"),
        (translator, model, "the encoder has an encoder itself"),
        (model, model, "expected its last states"),
    ] {
        let (_, error) = refused(&["export", encoder, decoder, "--out", out], "");
        assert!(error.contains(expected), "{error}");
    }
    assert!(!Path::new(out).exists());
    let relu = refused(&["export", &shipped("g2p", "model.pip")], "").1;
    assert!(relu.contains("is a model file already"), "{relu}");
}
