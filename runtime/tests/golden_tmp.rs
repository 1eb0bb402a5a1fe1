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
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/golden/{name}.{extension}"))
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
        if std::env::var("UPDATE_GOLDEN").is_ok() {
            fs::write(path(name, "pip"), as_bytes(&words)).unwrap();
            continue;
        }
        let Ok(golden) = fs::read_to_string(path(name, "txt")) else {
            println!("{name}: no golden");
            let m = words;
            let model = Model::parse(as_bytes(&m)).unwrap();
            let mut w = vec![0; model.workspace_len()];
            let mut s = Session::new(&model, &mut w).unwrap();
            println!(
                "{:?}",
                selftest::verify_kernels(&mut s, selftest::Coverage::Full)
            );
            continue;
        };
        let model = Model::parse(as_bytes(&words)).unwrap();
        compare(name, &model, &golden);
    }
}
fn compare(name: &str, model: &Model, golden: &str) {
    let mut workspace = vec![0; model.workspace_len()];
    let mut workspace2 = workspace.clone();
    let mut session = Session::new(model, &mut workspace).unwrap();
    let recurrent = |phase: Phase| -> Vec<usize> {
        model
            .layers()
            .enumerate()
            .filter(|(_, l)| l.cell().is_some() && l.phase() == phase)
            .map(|(i, _)| i)
            .collect()
    };
    let mut phase = if model.has_source() {
        Phase::Source
    } else {
        Phase::Step
    };
    let mut layer = 0;
    for line in golden.lines() {
        let (what, rest) = line.split_once(' ').unwrap();
        if ["token", "vector", "again"].contains(&what) {
            layer = 0;
        }
        let mut push = |input| {
            if phase == Phase::Source {
                session.push_source(input)
            } else {
                session.push(input)
            }
        };
        match what {
            "features" => session.set_conditioning(&numbers(rest)).unwrap(),
            "hand" => phase = Phase::Step,
            "token" => push(StepInput::Token(rest.parse().unwrap())).unwrap(),
            "vector" => push(StepInput::Frame(&numbers::<i16>(rest))).unwrap(),
            "again" => push(StepInput::Repeat).unwrap(),
            "hidden" => {
                assert_eq!(
                    session.hidden(recurrent(phase)[layer]).unwrap(),
                    numbers::<i16>(rest),
                    "{name}, layer {layer}"
                );
                layer += 1;
            }
            "cell" => assert_eq!(
                session.cell_state(recurrent(phase)[layer - 1]).unwrap(),
                numbers::<i32>(rest),
                "{name}, layer {layer}"
            ),
            "logits" => {
                if phase == Phase::Step {
                    assert_eq!(session.logits().unwrap(), numbers::<i16>(rest), "{name}");
                }
            }
            "digest" => {
                let digest = u32::from_str_radix(rest, 16).unwrap();
                println!(
                    "{name}: digest same {}",
                    selftest::output_digest(&mut session) == Ok(digest)
                );
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
                if model.has_source() {
                    generator.encode_source("abcde").unwrap();
                }
                let found: Vec<u8> = generator.take(60).flatten().copied().collect();
                assert_eq!(
                    String::from_utf8(found).unwrap(),
                    text,
                    "{name} at {temperature}"
                );
            }
        }
    }
}
