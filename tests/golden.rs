//! The runtime against `tests/golden/reference.py`, an implementation in another language that shares no code with it.
//!
//! Images of every kind of layer stand in `tests/golden` beside what the reference made of them. When the format or the
//! numbers change for a stated reason: `GOLDEN=write cargo test --release -p pipsqueak-suite --test golden` writes the images anew, and then
//! `python3 tests/golden/reference.py tests/golden/*.pip` the texts.

use pipsqueak::encode::{Parts, aligned, bytes, encode};
use pipsqueak::{Cell, Generator, Image, Layer, Settings, State, Temperature, selftest};
use std::fs;
use std::path::PathBuf;

fn path(name: &str, extension: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.{extension}"))
}

/// Name, tokens, embedding, layers.
fn shapes() -> Vec<(&'static str, usize, usize, Vec<Layer>)> {
    let after = |hidden| Layer {
        cell: Cell::GruResetAfter,
        hidden,
    };
    let before = |hidden| Layer {
        cell: Cell::GruResetBefore,
        hidden,
    };
    vec![
        ("table-after", 29, 0, vec![after(24)]),
        ("table-before", 29, 0, vec![before(17)]),
        ("embedding-after", 40, 6, vec![after(13)]),
        ("embedding-before", 5, 3, vec![before(9)]),
        ("stack", 27, 0, vec![after(12), before(7), after(10)]),
        ("single", 1, 0, vec![after(1)]),
    ]
}

fn numbers(line: &str) -> Vec<i16> {
    line.split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect()
}

#[test]
fn another_implementation_computes_the_same() {
    for (name, tokens, embedding, layers) in shapes() {
        let words = encode(&Parts::random(3, tokens, embedding, &layers)).unwrap();
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
        let mut workspace = vec![0; image.workspace_len()];
        let mut workspace2 = workspace.clone();
        let mut state = State::new(&image, &mut workspace).unwrap();
        let mut layer = 0;
        let (mut states, mut texts, mut digests) = (0, 0, 0);
        for line in fs::read_to_string(path(name, "txt")).unwrap().lines() {
            let (what, rest) = line.split_once(' ').unwrap();
            match what {
                "token" => {
                    state.step(rest.parse().unwrap());
                    layer = 0;
                }
                "hidden" => {
                    assert_eq!(state.hidden(layer), numbers(rest), "{name}, layer {layer}");
                    layer += 1;
                    states += 1;
                }
                "logits" => assert_eq!(state.logits(), numbers(rest), "{name}"),
                "digest" => {
                    let digest = u32::from_str_radix(rest, 16).unwrap();
                    assert_eq!(selftest::digest(&mut state), digest, "{name}");
                    assert_eq!(image.digest(), digest, "{name}");
                    digests += 1;
                }
                _ => {
                    let [temperature, top_k, text] = rest.splitn(3, ' ').collect::<Vec<_>>()[..]
                    else {
                        panic!("{line}")
                    };
                    let temperature = Temperature::parse(temperature).unwrap();
                    let settings = Settings {
                        temperature,
                        top_k: top_k.parse().unwrap(),
                        seed: 7,
                    };
                    let generator = Generator::new(&image, &mut workspace2, settings).unwrap();
                    assert_eq!(
                        generator.take(60).collect::<String>(),
                        text,
                        "{name} at {temperature}"
                    );
                    texts += 1;
                }
            }
        }
        assert_eq!(
            (states, texts, digests),
            (20 * layers.len(), 5, 1),
            "{name}: the golden file is cut off"
        );
    }
}
