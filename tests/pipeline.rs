//! The whole pipeline on small texts in several scripts: corpus, training, ONNX, model file, text.

mod common;

use clap::Parser;
use pipsqueak::{Generator, Pcg32, SamplingParams, Temperature};
use rand_core::Rng;
use std::fs;
use std::path::Path;
use trainer::cli::Cli;
use trainer::data::corpus::{Corpus, CorpusOptions};
use trainer::inference::model::Model;

/// Runs a command line in this process.
fn run(arguments: &[&str]) -> Result<(), String> {
    let cli = Cli::try_parse_from([&["trainer"], arguments].concat()).map_err(|e| e.to_string())?;
    cli.run().map_err(|e| format!("{e:#}"))
}

/// Sentences of random words, some 6,000 characters.
fn corpus(words: &[&str], end: &str) -> String {
    let mut rng = Pcg32::new(11, 1);
    let mut text = String::new();
    while text.chars().count() < 6000 {
        let sentence: Vec<&str> = (0..4)
            .map(|_| words[rng.next_u32() as usize % words.len()])
            .collect();
        text += &format!("{}{end}\n", sentence.join(" "));
    }
    text
}

/// Trains, exports and generates: returns the model's text after `prompt`.
fn pipeline(folder: &Path, text: &str, prompt: &str) -> String {
    let corpus = folder.join("corpus.txt");
    fs::write(&corpus, text).unwrap();
    let (corpus, out) = (corpus.to_str().unwrap(), folder.join("model"));
    let out = out.to_str().unwrap();
    let settings = [
        "--hidden-size",
        "32",
        "--steps",
        "150",
        "--seq-len",
        "16",
        "--batch-size",
        "16",
        "--split",
        "90/10/0",
        "--quiet",
    ];
    run(&[&["train", corpus, "--out", out], &settings[..]].concat()).unwrap();
    let (onnx, pip) = (format!("{out}/model.onnx"), format!("{out}/model.pip"));
    run(&["export", &onnx, "--data", corpus, "--split", "dev"]).unwrap();

    let vocabulary = Model::open(Path::new(&onnx)).unwrap().vocabulary().unwrap();
    let text = Corpus::open(Path::new(corpus), CorpusOptions::default()).unwrap();
    let [_, last] = text.parts(0.1, false).unwrap();
    let last = text.text(last).unwrap();
    let tokens = vocabulary.encode(&last, false).unwrap().tokens;
    let Model::Float(network) = Model::open(Path::new(&onnx)).unwrap() else {
        panic!("an ONNX file is float")
    };
    let Model::Integer(bytes) = Model::open(Path::new(&pip)).unwrap() else {
        panic!("a .pip is an image")
    };
    let image = bytes.model();
    let float = trainer::eval::perplexity::float(&network, &tokens, || ()).nats_per_char;
    let integer = trainer::eval::perplexity::integer(&image, &tokens, || ())
        .unwrap()
        .nats_per_char;
    assert!(
        float < 0.6 * (vocabulary.len() as f64).ln(),
        "nothing was learnt: {float} nats/char"
    );
    assert!(
        (float - integer).abs() < 0.005,
        "float {float}, integer {integer}"
    );
    assert_eq!(image.training_info().unwrap().corpus, "corpus.txt");

    let settings = SamplingParams {
        temperature: Temperature::parse("0.5").unwrap(),
        top_k: 0,
        seed: 3,
    };
    let mut workspace = vec![0; image.workspace_len()];
    let mut generator = Generator::new(&image, &mut workspace, settings).unwrap();
    generator.prompt(prompt).unwrap();
    let text = |pieces: Vec<&[u8]>| String::from_utf8(pieces.concat()).unwrap();
    let written = text(generator.by_ref().take(200).collect());
    assert_eq!(written.chars().count(), 200, "a token is a character");
    // Again, after other texts, it is the same.
    generator.reset(settings);
    generator.prompt(prompt).unwrap();
    assert_eq!(text(generator.take(200).collect()), written);
    written
}

/// How many of the text's whole words are words of the corpus.
fn known_words(text: &str, words: &[&str], end: &str) -> f64 {
    let found: Vec<&str> = text
        .split_whitespace()
        .skip(1)
        .map(|w| w.trim_end_matches(end))
        .collect();
    found.iter().filter(|w| words.contains(w)).count() as f64 / found.len() as f64
}

#[test]
fn english() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["the", "mouse", "eats", "cheese", "and", "squeaks", "softly"];
    let text = pipeline(folder.path(), &corpus(&words, "."), "the mou");
    assert!(known_words(&text, &words, ".") > 0.7, "{text}");
}

#[test]
fn hebrew() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["שלום", "עולם", "עכבר", "גבינה", "קטן", "שר"];
    let text = pipeline(folder.path(), &corpus(&words, "׃"), "עכב");
    assert!(known_words(&text, &words, "׃") > 0.7, "{text}");
}

#[test]
fn emoji() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["🐭🧀", "🎵🎶🎵", "🌙⭐", "🐱💨", "🏠"];
    let text = pipeline(folder.path(), &corpus(&words, "❗"), "🐭");
    assert!(known_words(&text, &words, "❗") > 0.7, "{text}");
}

#[test]
fn a_prompt_outside_the_vocabulary_is_named() {
    let folder = tempfile::tempdir().unwrap();
    pipeline(folder.path(), &corpus(&["one", "two", "three"], "."), "one");
    let pip = folder.path().join("model/model.pip");
    let error = run(&["generate", pip.to_str().unwrap(), "--prompt", "zero ☃"]).unwrap_err();
    assert!(
        error.contains("2 characters are not in the vocabulary")
            && error.contains("U+2603")
            && error.contains("--skip-unknown"),
        "{error}"
    );
    run(&[
        "generate",
        pip.to_str().unwrap(),
        "--prompt",
        "zero ☃",
        "--length",
        "5",
        "--skip-unknown",
    ])
    .unwrap();
}
