//! The runtime against `tests/golden/reference.py`, an implementation in another language that shares no code with it.
//!
//! Images of every kind stand in `tests/golden` beside what the reference made of them. When the format or the
//! numbers change for a stated reason: `GOLDEN=write cargo test --release -p pipsqueak-suite --test golden` writes the images anew, and then
//! `python3 tests/golden/reference.py tests/golden/*.pip` the texts.

use pipsqueak::encode::{Parts, aligned, bytes, encode, shapes};
use pipsqueak::{Cell, Feed, Generator, Image, Layer, Settings, State, Temperature, selftest};
use std::fs;
use std::path::PathBuf;

fn path(name: &str, extension: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.{extension}"))
}

fn images() -> Vec<(&'static str, Parts<'static>)> {
    let after = |hidden| Layer::new(Cell::GruResetAfter, hidden);
    let before = |hidden| Layer::new(Cell::GruResetBefore, hidden);
    let models = [
        ("table-after", 29, 0, vec![after(24)]),
        ("table-before", 29, 0, vec![before(17)]),
        ("embedding-after", 40, 6, vec![after(13)]),
        ("embedding-before", 5, 3, vec![before(9)]),
        ("stack", 27, 0, vec![after(12), before(7), after(10)]),
        ("single", 1, 0, vec![after(1)]),
    ];
    let models = models.map(|(name, tokens, embedding, layers)| {
        (name, Parts::random(3, tokens, embedding, &layers))
    });
    let others = shapes()
        .into_iter()
        .map(|(name, shapes)| (name, Parts::random_of(3, &shapes)));
    models.into_iter().chain(others).collect()
}

fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(line: &str) -> Vec<T> {
    line.split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect()
}

#[test]
fn another_implementation_computes_the_same() {
    for (name, parts) in images() {
        let words = encode(&parts).unwrap();
        if std::env::var("GOLDEN").is_ok_and(|v| v == "write") {
            fs::write(path(name, "pip"), bytes(&words)).unwrap();
            continue;
        }
        let file = fs::read(path(name, "pip")).unwrap();
        assert!(
            file == bytes(&words),
            "{name}: the encoder writes other bytes than it did"
        );
        let words = aligned(&file);
        let image = Image::parse(bytes(&words)).unwrap();
        let golden = fs::read_to_string(path(name, "txt")).unwrap();
        let [hidden, texts, digests] = compare(name, &image, &golden);
        let layers: usize = parts.networks.iter().map(|n| n.layers.len()).sum();
        let generates = 5 * usize::from(image.generates());
        assert_eq!(
            (hidden, texts, digests),
            (20 * layers, generates, 1),
            "{name}: the golden file is cut off"
        );
    }
}

/// Runs `image` along the lines of a golden file. Gives back how many hidden states, texts and digests there were.
fn compare(name: &str, image: &Image, golden: &str) -> [usize; 3] {
    let mut workspace = vec![0; image.workspace_len()];
    let mut workspace2 = workspace.clone();
    let mut state = State::new(image, &mut workspace).unwrap();
    // The network that runs and its next layer.
    let (mut network, mut layer) = (0, 0);
    let [mut hidden, mut texts, mut digests] = [0; 3];
    for line in golden.lines() {
        let (what, rest) = line.split_once(' ').unwrap();
        if ["token", "vector", "again"].contains(&what) {
            layer = 0;
        }
        match what {
            "features" => state.features(&numbers(rest)),
            "hand" => {
                state.hand_over();
                network = 1;
            }
            "token" => state.feed(network, Feed::Token(rest.parse().unwrap())),
            "vector" => state.feed(network, Feed::Vector(&numbers(rest))),
            "again" => state.feed(network, Feed::Again),
            "hidden" => {
                let found = state.hidden_of(network, layer);
                assert_eq!(found, numbers::<i16>(rest), "{name}, layer {layer}");
                layer += 1;
                hidden += 1;
            }
            "cell" => {
                let found = state.cell_of(network, layer - 1);
                assert_eq!(found, numbers::<i32>(rest), "{name}, layer {layer}");
            }
            "logits" => assert_eq!(state.outputs_of(network), numbers::<i16>(rest), "{name}"),
            "digest" => {
                let digest = u32::from_str_radix(rest, 16).unwrap();
                assert_eq!(selftest::digest(&mut state), digest, "{name}");
                assert_eq!(image.digest(), digest, "{name}");
                digests += 1;
            }
            _ => {
                let [temperature, top_k, text] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                    panic!("{line}")
                };
                let temperature = Temperature::parse(temperature).unwrap();
                let settings = Settings {
                    temperature,
                    top_k: top_k.parse().unwrap(),
                    seed: 7,
                };
                let mut generator = Generator::new(image, &mut workspace2, settings).unwrap();
                if image.networks() > 1 {
                    generator.source("abcde").unwrap();
                }
                let found: Vec<u8> = generator.take(60).flatten().copied().collect();
                assert_eq!(
                    String::from_utf8(found).unwrap(),
                    text,
                    "{name} at {temperature}"
                );
                texts += 1;
            }
        }
    }
    [hidden, texts, digests]
}
