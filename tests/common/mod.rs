//! What several tests of the suite need.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};
use trainer::corpus::Corpus;
use trainer::generate::FloatGenerator;
use trainer::model::{ImageBytes, Model};
use trainer::network::Network;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The shipped models' names.
pub const MODELS: [&str; 2] = ["shakespeare", "shakespeare-256"];

/// A shipped model in float and in integers.
pub fn shipped(name: &str) -> (Box<Network>, ImageBytes) {
    let open = |file: &str| {
        Model::open(&root().join("models").join(name).join(file)).expect("a shipped model")
    };
    match (open("model.onnx"), open("model.pip")) {
        (Model::Float(network), Model::Integer(image)) => (network, image),
        _ => panic!("{name}: model.onnx is the float network, model.pip the image"),
    }
}

/// The folder of larger data, where the environment names one.
pub fn data(file: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("PIPSQUEAK_DATA")?)
        .join("data")
        .join(file);
    assert!(
        path.exists(),
        "PIPSQUEAK_DATA is set, but {} is not there",
        path.display()
    );
    Some(path)
}

/// Text that the shipped models never saw, as tokens: the last 10 % of their corpus where it can be had,
/// else 20,000 characters that the float network makes up.
pub fn unseen(network: &Network) -> Vec<u16> {
    let text = match data("tinyshakespeare.txt") {
        Some(path) => {
            println!("text: the last 10 % of {}", path.display());
            let corpus = Corpus::read(&path).expect("the corpus can be read");
            corpus.split(0.1).1.to_owned()
        }
        None => {
            println!("text: made up by the float network, since PIPSQUEAK_DATA is not set");
            let temperature = pipsqueak::Temperature::parse("1").expect("a temperature");
            let settings = pipsqueak::SamplingParams {
                temperature,
                ..Default::default()
            };
            let tokens: Vec<u16> = FloatGenerator::new(network, network.state(), &[], settings)
                .take(20_000)
                .collect();
            network.vocabulary().decode(&tokens)
        }
    };
    network
        .vocabulary()
        .encode(&text, false)
        .expect("the model knows its corpus")
        .tokens
}
