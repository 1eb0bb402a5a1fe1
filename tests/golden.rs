//! The runtime against `tests/golden/reference.py`, an implementation in another language that shares no code with it.
//!
//! `tests/golden` holds models of every kind and what the reference computed with them. When the format or the numbers change for
//! a stated reason: `UPDATE_GOLDEN=1 cargo test --release -p pipsqueak-suite --test golden` writes the models again, and then
//! `python3 tests/golden/reference.py tests/golden/*.pip` the texts.

use pipsqueak::encode::{ModelParams, as_bytes, encode, sample_configs, to_words};
use pipsqueak::format::Phase;
use pipsqueak::{
    Cell, Generator, Model, RecurrentLayerConfig, SamplingParams, Session, StepInput, Temperature,
    selftest,
};
use std::fs;
use std::path::PathBuf;

fn path(name: &str, extension: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.{extension}"))
}

fn models() -> Vec<(&'static str, ModelParams<'static>)> {
    let after = |size| RecurrentLayerConfig::new(Cell::GruResetAfter, size);
    let before = |size| RecurrentLayerConfig::new(Cell::GruResetBefore, size);
    let models = [
        ("table-after", 29, 0, vec![after(24)]),
        ("table-before", 29, 0, vec![before(17)]),
        ("embedding-after", 40, 6, vec![after(13)]),
        ("embedding-before", 5, 3, vec![before(9)]),
        ("stack", 27, 0, vec![after(12), before(7), after(10)]),
        ("single", 1, 0, vec![after(1)]),
    ];
    let models = models.map(|(name, tokens, embedding, layers)| {
        let params = ModelParams::random_language_model(3, tokens, embedding, &layers);
        (name, params)
    });
    let others = sample_configs()
        .into_iter()
        .map(|(name, config)| (name, ModelParams::random(3, &config)));
    models.into_iter().chain(others).collect()
}

fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(line: &str) -> Vec<T> {
    line.split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect()
}

#[test]
fn another_implementation_computes_the_same() {
    for (name, params) in models() {
        let words = encode(&params).unwrap();
        if std::env::var("UPDATE_GOLDEN").is_ok_and(|v| v == "1") {
            fs::write(path(name, "pip"), as_bytes(&words)).unwrap();
            continue;
        }
        let file = fs::read(path(name, "pip")).unwrap();
        assert!(
            file == as_bytes(&words),
            "{name}: the encoder writes other bytes than it did"
        );
        let words = to_words(&file);
        let model = Model::parse(as_bytes(&words)).unwrap();
        let golden = fs::read_to_string(path(name, "txt")).unwrap();
        let [hidden, outputs, texts, digests] = compare(name, &model, &golden);
        let recurrent = model
            .layers()
            .filter(|layer| layer.cell().is_some())
            .count();
        let generates = model.is_autoregressive();
        let expected = [
            20 * recurrent,
            20 * model.outputs().len(),
            5 * usize::from(generates),
            1,
        ];
        let found = [hidden, outputs, texts, digests];
        assert_eq!(found, expected, "{name}: the golden file is cut off");
    }
}

/// Runs `model` along the lines of a golden file. Returns how many hidden states, outputs, texts and digests there were.
fn compare(name: &str, model: &Model, golden: &str) -> [usize; 4] {
    let mut workspace = vec![0; model.workspace_len()];
    let mut workspace2 = workspace.clone();
    let mut session = Session::new(model, &mut workspace).unwrap();
    let [mut hidden, mut outputs, mut texts, mut digests] = [0; 4];
    for line in golden.lines() {
        let (what, rest) = line.split_once(' ').unwrap();
        let words: Vec<&str> = what.split('.').collect();
        let index = |at: usize| words[at].parse::<usize>().unwrap();
        match words[0] {
            "features" => session.set_conditioning(&numbers(rest)).unwrap(),
            "source" | "step" => {
                let frame: Vec<i16>;
                let input = match words[1] {
                    "token" => StepInput::Token(rest.parse().unwrap()),
                    "frame" => {
                        frame = numbers(rest);
                        StepInput::Frame(&frame)
                    }
                    _ => StepInput::Repeat,
                };
                match words[0] {
                    "source" => session.push_source(input).unwrap(),
                    _ => session.push(input).unwrap(),
                }
            }
            "hidden" => {
                let found = session.hidden(index(1)).unwrap();
                assert_eq!(found, numbers::<i16>(rest), "{name}, layer {}", words[1]);
                hidden += 1;
            }
            "cell" => {
                let found = session.cell_state(index(1)).unwrap();
                assert_eq!(found, numbers::<i32>(rest), "{name}, layer {}", words[1]);
            }
            "output" => {
                let found = session.outputs().unwrap();
                let found = found.get(index(1)).unwrap();
                assert_eq!(found, numbers::<i16>(rest), "{name}, output {}", words[1]);
                outputs += 1;
            }
            "digest" => {
                let digest = u32::from_str_radix(rest, 16).unwrap();
                assert_eq!(selftest::output_digest(&mut session), Ok(digest), "{name}");
                assert_eq!(model.digest(), digest, "{name}");
                digests += 1;
            }
            _ => {
                let [temperature, top_k, text] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                    panic!("{line}")
                };
                let params = SamplingParams {
                    temperature: Temperature::parse(temperature).unwrap(),
                    top_k: top_k.parse().unwrap(),
                    seed: 7,
                };
                let mut generator = Generator::new(model, &mut workspace2, params).unwrap();
                if model.input_of(Phase::Source).is_some() {
                    generator.encode_source("abcde").unwrap();
                }
                let found: Vec<u8> = generator.take(60).flatten().copied().collect();
                let found = String::from_utf8(found).unwrap();
                assert_eq!(found, text, "{name} at {temperature}");
                texts += 1;
            }
        }
    }
    [hidden, outputs, texts, digests]
}
